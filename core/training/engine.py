"""The seam between how runs are trained and everything else: the Engine Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from paribus.core.components.tasks import Matrix
from paribus.core.data.prepare import PartName
from paribus.core.run_spec import RunSpec
from paribus.core.training.resolve import Resolver

State = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a worker gets: one run for the loop, several of the same shape for a cohort.

    Attributes:
        runs: The runs.
        resolver: Gives their configurations and data.
        loader_workers: Processes that read and augment batches ahead; 0: the trainer itself does.
    """

    runs: tuple[RunSpec, ...]
    resolver: Resolver = field(repr=False)
    loader_workers: int = 0


@dataclass(frozen=True)
class Best:
    """The best epoch so far: the earliest of those with the best selection metric.

    Attributes:
        epoch: Counted from 1.
        metrics: The epoch's metrics.
        confusion_matrix: Counts of (target, prediction) on validation, for several labels one
            matrix each, or None.
        weights: The model's state, on the CPU; empty where a function keeps it to itself.
        outputs: The model's outputs on the validation part: float `[N, …]`, on the CPU.
    """

    epoch: int
    metrics: dict[str, float | None]
    confusion_matrix: Matrix | None
    weights: dict[str, Tensor]
    outputs: Tensor


@dataclass(frozen=True)
class Report:
    """One run after one epoch.

    Attributes:
        run: The run's id.
        line: The epoch's line of the history: epoch, metrics, order and weights hashes (None where
            a function keeps them to itself), seconds.
        best: The best epoch so far; None if the run failed before there was one.
        finished: Whether this is the run's last report.
        failure: Why the run failed by itself, if it did.
        initial_weights: Name to sha256 of each tensor before the first step.
        state: Makes the resume state as of this epoch; None: it can only begin again.
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
        confusion_matrix: Counts of (target, prediction), for several labels one matrix each, or
            None.
    """

    metrics: dict[str, float | None]
    outputs: Tensor
    targets: Tensor
    confusion_matrix: Matrix | None


class Engine(Protocol):
    """Trains jobs and evaluates weights.

    Every engine takes initial weights, batch order and dropout masks of our own layers from the
    same streams (`seeding`), and yields the same reports: nothing behind it knows which one
    trained.
    """

    name: str

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        """Trains the job's runs, yielding after an epoch one report of each run that had it.

        Closing the iterator after a report is the clean stop.

        Args:
            job: The runs.
            states: Run id to the resume state to go on from; runs without one begin anew.
        """

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        """The job's one run with these weights on one part: the code that made the record."""
