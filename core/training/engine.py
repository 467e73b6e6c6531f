"""The engine: how runs are trained and evaluated, and what is reported of them after an epoch.

Training is a generator: it yields reports, and the caller acts. Nothing behind `Engine` knows which
engine trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from paribus.core.components.metrics import is_better
from paribus.core.components.models import load_weights, tensor_hashes, weights_hash
from paribus.core.components.tasks import Matrix
from paribus.core.data.prepare import PartName
from paribus.core.run_spec import RunSpec
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import TrainState, updates_per_epoch

State = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What an engine trains: one run in the loop, several of the same shape in a cohort.

    Attributes:
        runs: Of one experiment.
        resolver: Of that experiment.
        loader_workers: Processes that read and augment batches ahead; 0: this one does.
        folders: Run id to its attempt's folder; none where it is only tried.
    """

    runs: tuple[RunSpec, ...]
    resolver: Resolver = field(repr=False)
    loader_workers: int = 0
    folders: Mapping[str, Path] = field(default_factory=dict)

    def with_weights(self, weights: Mapping[str, Tensor]) -> TrainState:
        """Build the job's one run with the weights that another process trained."""
        (spec,) = self.runs
        train_state = self.resolver.train_state(spec.requested, spec.seed, pretrained=False)
        load_weights(train_state.model, weights, spec.id)
        train_state.ema = None  # it is in them
        return train_state


@dataclass(frozen=True)
class Best:
    """The best epoch so far: the earliest of those with the best selection metric.

    Of a final run, where nothing validates, it is the last one.

    Attributes:
        epoch: Counted from 1.
        metrics: The epoch's metrics.
        confusion_matrix: On validation; like `confusion_counts` as `Task.confusion` gives it.
        weights: The model's state, on the CPU; empty for a function, whose weights are unknown.
        outputs: Of the model on the validation part: float `[N, …]`, on the CPU; None without one.
    """

    epoch: int
    metrics: dict[str, float | None]
    confusion_matrix: Matrix | None
    weights: dict[str, Tensor]
    outputs: Tensor | None
    confusion_counts: Matrix | None = None


@dataclass(frozen=True)
class Report:
    """One run after one epoch.

    Attributes:
        run: The run's id.
        line: The epoch's line of the history: epoch, metrics, learning rate of its last update,
            hashes of order and weights (None for a function), seconds.
        best: The best epoch so far; None if the run failed before there was one.
        finished: Whether this is the run's last report.
        failure: Why the run itself failed, if it did.
        initial_weights: Name to sha256 of each tensor before the first step.
        state: Makes the resume state as of this epoch; None: the run can only begin again.
    """

    run: str
    line: dict[str, Any]
    best: Best | None
    finished: bool
    failure: str | None
    initial_weights: dict[str, str]
    state: Callable[[], State] | None


@dataclass(frozen=True)
class Evaluation:
    """A model on one part.

    Attributes:
        metrics: Loss and the task's metrics, without the part's prefix.
        outputs: float `[N, …]`, on the CPU.
        targets: As the part has them, on the CPU.
    """

    metrics: dict[str, float | None]
    outputs: Tensor
    targets: Tensor


class Engine(Protocol):
    """Trains jobs and evaluates weights.

    Every engine takes initial weights, batch order and dropout masks of our own layers from the
    same streams (`paribus.core.rng`).
    """

    name: str

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        """Train the job's runs, yielding after an epoch one report of each run that had it.

        Runs go on from their resume states, by id; those without one begin anew. Closing the
        iterator after a report is the clean stop.
        """

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        """Evaluate the job's one run with these weights on one part, as its record was made."""


@dataclass
class RunState:
    """A run over its epochs, of which `epoch` are done: what every engine keeps and reports."""

    spec: RunSpec
    train_state: TrainState
    initial_weights: dict[str, str] = field(default_factory=dict)
    epoch: int = 0
    best: Best | None = None

    @classmethod
    def begin(cls, job: Job, spec: RunSpec) -> RunState:
        """Build a run of a job, at its first step."""
        train_state = job.resolver.train_state(spec.requested, spec.seed)
        return cls(spec, train_state, tensor_hashes(train_state.model.state_dict()))

    def resume(self, state: State) -> None:
        """Go on from what `report` put into a resume state."""
        self.epoch = state["epoch"]
        self.best = state["best"] and Best(**state["best"])

    @property
    def seed(self) -> int:
        return self.spec.seed

    @property
    def examples(self) -> int:
        """Examples of the next epoch: all, or fewer in the last one of `train.updates`."""
        train = len(self.train_state.data.train)
        steps = updates_per_epoch(self.train_state.configuration["train"], train)
        left = self.train_state.updates - self.epoch * steps
        size = self.train_state.batch_size * self.train_state.update_batches
        return train if left >= steps else left * size

    def report(
        self,
        train_means: Mapping[str, float | None],
        validation: Evaluation | None,
        weights: Mapping[str, Tensor],
        order_sha256: str,
        engine_state: Callable[[], State],
    ) -> Report:
        """End an epoch: decide whether it is the best, the last or a failure, and report it.

        Args:
            train_means: The running means of loss and accuracy as trained.
            validation: Of the model as it is now; None in a final run.
            weights: The model's state as it is now.
            order_sha256: Digest of the order of the examples.
            engine_state: Makes what the engine itself needs to go on from here.
        """
        self.epoch = epoch = self.epoch + 1
        train_state = self.train_state
        metric, direction = (
            train_state.configuration["select"][key] for key in ("metric", "direction")
        )
        measured = validation.metrics if validation else {}
        if validation:
            train_state.step_scheduler("validation", measured["loss"])
        metrics = {**train_means, **{f"val/{k}": v for k, v in measured.items()}}
        failure, best = None, self.best
        for name in (metric, "val/loss", "train/loss"):
            value = metrics.get(name)
            if value is not None and not math.isfinite(value):
                failure = f"non-finite: {name} is {value} at epoch {epoch}"
        if failure is None and (
            validation is None
            or best is None
            or is_better(direction, metrics[metric], best.metrics[metric])
        ):
            copied = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            found: dict[str, Any] = {"outputs": None, "confusion_matrix": None}
            if validation:
                outputs = validation.outputs
                confusion = train_state.task.confusion(outputs, validation.targets)
                found = {"outputs": outputs, **confusion}
            best = Best(epoch, metrics, weights=copied, **found)
        self.best = best
        patience = train_state.configuration["train"]["patience"]
        since_best = epoch - (best.epoch if best else 0)
        out_of_patience = patience is not None and since_best >= patience
        return Report(
            run=self.spec.id,
            line={
                "epoch": epoch,
                "metrics": metrics,
                "lr": train_state.lr,
                "order_sha256": order_sha256,
                "weights_sha256": weights_hash(weights),
            },
            best=best,
            finished=failure is not None or epoch == train_state.last_epoch or out_of_patience,
            failure=failure,
            initial_weights=self.initial_weights,
            state=lambda: {**engine_state(), "epoch": epoch, "best": best and vars(best)},
        )


def evaluate_outputs(
    train_state: TrainState, loss: float, outputs: Tensor, targets: Tensor
) -> Evaluation:
    """Return an evaluation of a part by its mean loss, outputs float `[N, …]`, and targets."""
    return evaluate_runs([train_state], [loss], outputs.unsqueeze(0), targets.unsqueeze(0))[0]


def evaluate_runs(
    train_states: Sequence[TrainState], losses: Sequence[float], outputs: Tensor, targets: Tensor
) -> list[Evaluation]:
    """Return `evaluate_outputs` of several runs of one task, whose tensors begin with `[R, …]`."""
    outputs, targets = outputs.cpu(), targets.cpu()
    measured = train_states[0].task.measure_runs(outputs, targets)
    evaluations = []
    for run, train_state in enumerate(train_states):
        metrics: dict[str, float | None] = {"loss": losses[run], **measured[run]}
        own = outputs[run].clone()
        for extra in train_state.extra_metrics:
            metrics[extra.key] = extra.measure(own, targets[run])
        evaluations.append(Evaluation(metrics, own, targets[run]))
    return evaluations
