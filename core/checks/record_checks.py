"""The check of a run's record: what `evaluate` and `reproduce` will need after training."""

from __future__ import annotations

import tempfile
from pathlib import Path

from paribus.core.checks.subject import SEED, Subject
from paribus.core.components.models import tensor_hashes, weights_hash
from paribus.core.errors import RequestError
from paribus.core.inference.evaluate import evaluate_run
from paribus.core.training.engine import Best, Job, Report
from paribus.core.training.job import engine_of
from paribus.core.training.run_writer import RunWriter


def is_evaluated_again(subject: Subject) -> str:
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
        RunWriter(folder, run, data, 0).write(report)
        again = evaluate_run(folder, "val", trust=True)
    for name, (then, now) in again.differs.items():
        raise RequestError(
            f"{name} of the same weights is {then}, and {now} when they are read from a record.",
            "Let the model keep in its state_dict all that its outputs depend on.",
        )
    return f"val/loss {metrics['val/loss']:.4g} twice, the second time from the record's files"
