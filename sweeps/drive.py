"""Drives runs: reuses what is finished, trains the rest, makes verified attempts into runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from core.errors import DamagedError, RequestError
from core.resolve import RunSpec
from core.train import Progress
from sweeps.executors import Executor, Task
from sweeps.root import Root


@dataclass(frozen=True)
class Step:
    """What the driver has to say of a run.

    Attributes:
        run: The run.
        progress: After an epoch or at its end; None for a run that is reused.
        record: Its record, once it is finished.
        reused: Whether it was finished before.
    """

    run: RunSpec
    progress: Progress | None = None
    record: dict[str, Any] | None = None
    reused: bool = False


def drive(
    runs: Sequence[RunSpec],
    root: Root,
    executor: Executor,
    *,
    checkpoint_every: float = 5.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Brings runs to their end, yielding every epoch and every end.

    Runs that another driver has out are looked at again when one's own work is done.

    Args:
        runs: What is wanted; each once.
        root: Where results live.
        executor: Trains.
        checkpoint_every: Seconds between saves of a run's resume state.
        stop: Asked between epochs; true makes a clean stop.
    """
    by_id = {run.id: run for run in runs}
    left = list(by_id.values())
    while left and not stop():
        elsewhere: list[RunSpec] = []
        with ExitStack() as locks:
            free: list[RunSpec] = []
            for run in left:
                if record := root.finished(run.id):
                    yield Step(run, record=record, reused=True)
                elif _locked(run, root, locks):
                    free.append(run)
                else:
                    elsewhere.append(run)
            yield from _train(free, by_id, root, executor, checkpoint_every, stop)
        left = elsewhere
        if left and not free:
            time.sleep(0.5)


def _locked(run: RunSpec, root: Root, locks: ExitStack) -> bool:
    try:
        locks.enter_context(root.lock(run.id, run.id))
    except RequestError:
        return False
    return True


def _train(
    runs: Sequence[RunSpec],
    by_id: dict[str, RunSpec],
    root: Root,
    executor: Executor,
    checkpoint_every: float,
    stop: Callable[[], bool],
) -> Iterator[Step]:
    attempts = {}

    def tasks() -> Iterator[Task]:
        for run in runs:
            attempts[run.id] = root.new_attempt(run.id)
            yield Task((run,), {run.id: attempts[run.id]}, checkpoint_every)

    for progress in executor.execute(tasks(), stop):
        record = None
        if progress.ended in ("complete", "failed"):
            try:
                record = root.accept(progress.run, attempts[progress.run])
            except DamagedError as error:
                progress = Progress(progress.run, progress.epochs, None, "attempt", str(error))
        yield Step(by_id[progress.run], progress, record)
