"""A finished run's best weights: its model, and its metrics on a part of its data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from torch import Tensor

from paribus.core.components.adapter import Adapter
from paribus.core.components.models import load_weights
from paribus.core.components.tasks import Task
from paribus.core.config.experiment import load_experiment
from paribus.core.config.schema import difference
from paribus.core.config.values import null_if_not_finite
from paribus.core.data.prepare import Data
from paribus.core.errors import DamagedError, RequestError
from paribus.core.fingerprint import environment
from paribus.core.inference.load_run import naming_sources, recorded_run
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec
from paribus.core.training.engine import Job
from paribus.core.training.job import engine_of, resolver_for_file
from paribus.core.training.resolve import Resolver, choose_device
from paribus.core.training.train_state import make_architecture


def trained_model(run: RunSpec, weights: Mapping[str, Tensor]) -> tuple[Task, Adapter]:
    """Return a run's task, and what calls its model with these weights, on the CPU, evaluating.

    Its data need not be there, unless the data function sets globals, which a model may use.

    Raises:
        DamagedError: If the weights are another model's.
        RequestError: If task or model cannot be built.
    """
    with naming_sources(run):
        experiment = load_experiment(run.path, run.import_paths)
        if run.noted.get("globals"):
            resolver = Resolver(experiment)
            resolver.data(run.requested, run.seed)
            experiment = resolver.experiment
        task, call = make_architecture(run.configuration, experiment)
    load_weights(call.model, weights, run.id)
    call.model.eval()
    return task, call


def device_of(run: RunSpec) -> str:
    """Return the device that a run was trained on; the CPU where that is not there."""
    return "cpu" if run.configuration["device"] == "cpu" else choose_device("auto")


@dataclass(frozen=True)
class Evaluation:
    """A run's best checkpoint on a part of its data, by the code that made the record.

    Attributes:
        metrics: ``<split>/<metric>`` to its value.
        report: Class or label to precision, recall, f1 and support; None for values.
        environment: What of machine and versions is not as it was: ``{name: [then, now]}``.
        differs: On validation, the metrics that are not the recorded ones: ``{name: [then, now]}``.
        outputs: The model's, one row per example: `[m, C]`.
        targets: As the data has them: `[m]` or `[m, L]`.
        confusion_matrix: Counts of (target, prediction), for several labels one matrix each; None
            for values and for many classes.
        confusion_counts: Of many classes (target, prediction, count) of what occurs.
        readings: How often the run's test part was read.
    """

    run: str
    split: Literal["val", "test"]
    metrics: dict[str, float | None]
    report: dict[str, dict[str, float]] | None
    environment: dict[str, list[Any]]
    differs: dict[str, list[Any]]
    outputs: NDArray[Any] = field(repr=False)
    targets: NDArray[Any] = field(repr=False)
    confusion_matrix: list[Any] | None = None
    confusion_counts: list[Any] | None = None
    readings: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus evaluate RUN --json`` prints."""
        hidden = {"outputs", "targets"}
        if not self.confusion_counts:
            hidden.add("confusion_counts")
        return {name: value for name, value in vars(self).items() if name not in hidden}


def evaluate_run(path: Path, split: Literal["val", "test"], trust: bool = False) -> Evaluation:
    """Evaluate the best checkpoint of the run in a folder on a part of its data.

    With `trust` whatever the record names may be imported and executed.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If the run failed, or the part is empty.
    """
    run, resolver, data, weights = reopened(path, trust)
    if not len(data.part(split)):
        final = split == "val" and "final_epoch" in run.configuration
        raise RequestError(
            f"{run.id} is a final run, trained on all but the test part: it has no val part."
            if final
            else f"{run.id} has no {split} part (split.{split}_fraction is 0).",
            "Evaluate it with --split test, once." if final else "",
        )
    found = engine_of(run.engine).evaluate(Job((run,), resolver), weights, split)
    metrics = null_if_not_finite({f"{split}/{k}": v for k, v in found.metrics.items()})
    recorded, report, task = RunFolder(path).record().metrics, None, resolver.task(run.requested)
    columns = task.report(found.outputs, found.targets)
    confusion: dict[str, Any] = {**task.confusion(found.outputs, found.targets)}
    if data.class_names is not None and columns is not None:
        report = {
            name: {metric: column[code].item() for metric, column in columns.items()}
            for code, name in enumerate(data.class_names)
        }
    return Evaluation(
        run=run.id,
        split=split,
        metrics=metrics,
        **confusion,
        report=report,
        environment=difference(run.identity["environment"], environment(device_of(run))),
        differs={
            k: [recorded[k], v] for k, v in metrics.items() if k in recorded and recorded[k] != v
        },
        outputs=found.outputs.numpy(),
        targets=found.targets.numpy(),
    )


def reopened(path: Path, trust: bool) -> tuple[RunSpec, Resolver, Data, dict[str, Tensor]]:
    """Return a finished run on the device that is here, with its data and its best weights.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If the run failed, or its data cannot be loaded.
    """
    folder = RunFolder(path)
    run = recorded_run(folder, folder.verified_record(), trust=trust)
    run = replace(run, requested=run.requested.model_copy(update={"device": device_of(run)}))
    weights = folder.weights()
    with naming_sources(run):
        resolver = resolver_for_file(run.path, run.import_paths)
        data = resolver.data(run.requested, run.seed)
    if data.fingerprint != run.identity["data"]:
        raise DamagedError(
            f"{run.id}: the data is not what the run was trained on (its fingerprint differs).",
            "Bring the data back, or train again: paribus run.",
        )
    return run, resolver, data, weights
