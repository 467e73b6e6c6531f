"""Drives runs: reuses what is finished, trains the rest, makes verified attempts into runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from core.errors import DamagedError, RequestError
from core.spec import Progress, RunSpec
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
    left = {run.id: run for run in runs}
    while left and not stop():
        for run in list(left.values()):
            if record := root.finished(run.id) or _adopted(run, root):
                del left[run.id]
                yield Step(run, record=record, reused=True)
        began = 0
        for step in _train(list(left.values()), root, executor, checkpoint_every, stop):
            began += 1
            if step.progress and step.progress.ended:
                del left[step.run.id]
            yield step
        if left and not began:
            time.sleep(0.5)


def _adopted(run: RunSpec, root: Root) -> dict[str, Any] | None:
    """The record of a finished attempt that was never renamed, made the run now."""
    if not root.has_finished_attempt(run.id):
        return None
    try:
        with root.lock(run.id, run.id):  # else this is another driver's, about to be renamed
            return root.finished(run.id) or root.adopt(run.id)
    except RequestError:
        return None


def _train(
    runs: Sequence[RunSpec],
    root: Root,
    executor: Executor,
    checkpoint_every: float,
    stop: Callable[[], bool],
) -> Iterator[Step]:
    """Trains the runs that no other driver has out or has finished meanwhile."""
    by_id = {run.id: run for run in runs}
    attempts: dict[str, Path] = {}
    lost: list[Progress] = []  # runs for which there is no room on the disk
    with ExitStack() as everything:
        locks = {run.id: everything.enter_context(ExitStack()) for run in runs}

        def tasks() -> Iterator[Task]:
            for run in runs:
                try:
                    locks[run.id].enter_context(root.lock(run.id, run.id))
                except RequestError:
                    continue
                except OSError as error:
                    lost.append(Progress(run.id, 0, None, "attempt", f"disk: {error}"))
                    continue
                if root.finished(run.id):
                    locks[run.id].close()
                    continue
                try:
                    attempts[run.id] = root.new_attempt(run.id)
                except (OSError, RequestError) as error:
                    lost.append(Progress(run.id, 0, None, "attempt", f"disk: {error}"))
                    continue
                yield Task((run,), {run.id: attempts[run.id]}, checkpoint_every)

        for progress in chain(executor.execute(tasks(), stop), lost):
            record = None
            if progress.ended in ("complete", "failed"):
                try:
                    record = root.accept(progress.run, attempts[progress.run])
                except (DamagedError, OSError) as error:
                    progress = replace(progress, line=None, ended="attempt", reason=str(error))
            if progress.ended:
                locks[progress.run].close()
            yield Step(by_id[progress.run], progress, record)
