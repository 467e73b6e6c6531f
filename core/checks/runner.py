"""Can it learn anything at all? A sequence of checks, each of which names one kind of fault."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from paribus.core.checks import data_checks, optimization_checks
from paribus.core.checks.subject import SEED, Skipped, Subject
from paribus.core.components.models import tensor_hashes, weights_hash
from paribus.core.config.schema import Configuration
from paribus.core.errors import RequestError, shown
from paribus.core.inference.evaluate import evaluate_run
from paribus.core.records.record import folds_of
from paribus.core.runtime import settle
from paribus.core.training.engine import Best, Job, Report
from paribus.core.training.job import engine_of
from paribus.core.training.resolve import Resolver
from paribus.core.training.run_writer import RunWriter
from paribus.core.training.script import ScriptResolver


@dataclass(frozen=True)
class Check:
    """One check, done; its name says what has to be true."""

    name: str
    passed: bool | None  # None: it does not apply
    detail: str  # what was found, with advice where it failed; or why it was skipped


def _is_evaluated_again(subject: Subject) -> str:
    """Check that the record of the first weights, written and read again, gives their metrics."""
    resolver, run = subject.resolver, subject.resolver.specify(subject.requested, SEED)
    state = subject.train_state().model.state_dict()
    weights = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
    found = engine_of(run.engine).evaluate(Job((run,), resolver), weights, "val")
    metrics = {f"val/{name}": value for name, value in found.metrics.items()}
    best = Best(1, metrics, None, weights, found.outputs)
    line = {
        "epoch": 1,
        "metrics": metrics,
        "order_sha256": None,
        "weights_sha256": weights_hash(weights),
        "seconds": 0.0,
    }
    report = Report(run.id, line, best, True, None, tensor_hashes(weights), None)
    with tempfile.TemporaryDirectory(prefix="paribus-check-") as scratch:
        folder = Path(scratch, run.id)
        data = resolver.data_record(subject.requested, SEED)
        writer = RunWriter(folder, run, data, 0)
        writer.add(report)
        writer.persist()
        again = evaluate_run(folder, "val", trust=True)
    for name, (then, now) in again.differs.items():
        raise RequestError(
            f"{name} of the same weights is {then}, and {now} when they are read from a record.",
            "Let the model keep in its state_dict all that its outputs depend on.",
        )
    return f"val/loss {metrics['val/loss']:.4g} twice, the second time from the record's files"


SHAPES, LOSS = "shapes agree", "loss fits the task"
FITTED, FALLS = "one batch can be overfitted", "loss falls from the first updates"

# Name, check, and the checks without which it would name the wrong fault.
Table = tuple[tuple[str, Callable[[Subject], str], tuple[str, ...]], ...]
CHECKS: Table = (
    (SHAPES, optimization_checks.shapes, ()),
    (LOSS, optimization_checks.loss_fits, (SHAPES,)),
    ("inputs are finite and normalised", data_checks.inputs, ()),
    ("labels are in range", data_checks.labels, ()),
    ("no example in training and validation", data_checks.no_shared_example, ()),
    ("loss at the start is chance", optimization_checks.starts_at_chance, (SHAPES, LOSS)),
    ("every parameter gets a gradient", optimization_checks.gradients, (SHAPES, LOSS)),
    (FITTED, optimization_checks.overfits_one_batch, (SHAPES, LOSS)),
    (FALLS, optimization_checks.falls_in_one_epoch, (SHAPES, LOSS)),
    ("labels follow from inputs", data_checks.labels_follow, (SHAPES, LOSS, FITTED)),
    ("same seed, same weights", optimization_checks.repeats, (SHAPES, LOSS)),
    ("other seed, other weights", optimization_checks.seeds_differ, (SHAPES, LOSS)),
    # The last: it leaves the user's modules as the record carries them.
    ("a run can be evaluated again", _is_evaluated_again, (SHAPES, LOSS)),
)
YIELDS = "it yields metrics"
CHECKS_OF_SCRIPT: Table = (
    (YIELDS, optimization_checks.yields_metrics, ()),
    ("same seed, same metrics", optimization_checks.repeats_metrics, (YIELDS,)),
    ("other seed, other metrics", optimization_checks.metrics_differ, (YIELDS,)),
)


def check(resolver: Resolver, requested: Configuration) -> Iterator[Check]:
    """Check a configuration of the resolver's experiment, yielding each check as it is done.

    A request that is wrong, or data that cannot be had, is refused at once.
    """
    subject = Subject(resolver, requested)
    checks = CHECKS_OF_SCRIPT if isinstance(resolver, ScriptResolver) else CHECKS
    for seed in range(folds_of(resolver.configuration(requested, SEED))):
        resolver.configuration(requested, seed)  # faults of other folds are found here, too
    if checks is CHECKS:
        subject.train_state()
    settle()  # the user's modules, imported by now, may have changed threads or precision
    done: dict[str, bool | None] = {}
    for name, function, needs in checks:
        missing = [f"'{need}'" for need in needs if done[need] is False]
        try:
            if missing:
                raise Skipped(f"it needs {' and '.join(missing)}")
            found = Check(name, True, function(subject))
        except Skipped as reason:
            found = Check(name, None, str(reason))
        except RequestError as error:
            found = Check(name, False, str(error))
        except (Exception, SystemExit) as error:  # of the experiment's code
            found = Check(name, False, f"{type(error).__name__}: {shown(error, 300)}.")
        done[name] = found.passed
        yield found
