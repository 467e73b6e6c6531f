"""What trains runs: worker processes of this machine, or of a Ray cluster's nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from paribus.core.errors import RequestError
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.sweeps.execution.gpus import GpuOptions
from paribus.sweeps.execution.pool import Pool, Result, Stop
from paribus.sweeps.execution.worker import Task


@dataclass(frozen=True)
class Placement:
    """Where runs are trained: `--workers`, `--gpus`, `--per-gpu`, `--on` and `--strict-class`."""

    workers: int | None = None  # None: as many as there are cores
    gpus: GpuOptions | None = None
    on: str | None = None  # ``ray`` or ``ray:HOST:PORT``; None: this machine
    strict_class: bool = False


HERE = Placement()


def make_executor(placement: Placement) -> Executor:
    """Return what trains there; nothing is started yet.

    Raises:
        RequestError: If Ray is wanted and not installed.
    """
    if placement.on is None:
        return Pool(placement.workers, placement.gpus)
    try:
        from paribus.sweeps.execution.ray_cluster import RayCluster
    except ImportError as error:
        text = f"--on ray needs Ray, which is not installed ({error})."
        raise RequestError(text, "pip install 'paribus[ray]'") from None
    address = placement.on.partition(":")[2]
    return RayCluster(address, placement.workers, placement.gpus, strict=placement.strict_class)


class Executor(Protocol):
    """Plans and trains; `size` runs or cohorts are trained at the same time."""

    size: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End all that was started."""

    def start(self) -> None:
        """Start what trains, if it is not running."""

    def prepare(self) -> None:
        """Wait for what trains.

        Raises:
            RequestError: If what the command wants of GPUs or hosts is not there.
        """

    def resize_for(self, runs: Sequence[RunSpec]) -> None:
        """Set `size` for these runs."""

    def check(self, run: RunSpec) -> None:
        """Raise a RequestError unless a run can be trained wherever runs are trained."""

    def summary(self, runs: Sequence[RunSpec]) -> list[str]:
        """Return lines on where these runs would be trained, if that is not just this machine."""

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function of a module in a process in which runs could be trained."""

    def execute(
        self, tasks: Iterable[Task], stop: Stop, run_timeout: float | None = None
    ) -> Iterator[WorkerEvent]:
        """Train tasks; yield each run's epochs as they end, and each run's end exactly once.

        Tasks are taken from the iterable when there is room for them. Where `stop`, which is asked
        between epochs, becomes true, the epoch is finished, resume states are written, and nothing
        more is begun: such a run has no end. Closing the iterator ends the training at once.
        """
