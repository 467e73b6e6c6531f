"""What a worker process does: it trains tasks and calls functions, as its driver says."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from paribus.core.errors import ParibusError
from paribus.core.spec import Progress, RunSpec

STOP = "stop"


@dataclass(frozen=True)
class Task:
    """What an executor is given: a job's runs and their attempts' folders."""

    runs: tuple[RunSpec, ...]
    attempts: dict[str, Path]
    checkpoint_every: float
    loader_workers: int = 0


def work(pipe: Connection, lifeline: Connection, output: Connection | None = None) -> None:
    """The main function of a worker process.

    Args:
        pipe: To and from the driver.
        lifeline: Closed when the driver ends.
        output: Where to print; None: to standard error.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver hears them, and asks for a stop
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, args=(lifeline,), daemon=True).start()
    if output is not None:
        os.dup2(output.fileno(), 2)
        output.close()
    os.dup2(2, 1)  # what the user's code prints; standard output is the driver's own
    gc.freeze()  # what the server imported is no garbage; left alone its memory stays shared
    gc.enable()
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if message == STOP:  # the task had ended by itself
            continue
        if isinstance(message, Task):
            for progress in train_task(message, pipe.poll):
                pipe.send(progress)
            pipe.send(None)
            continue
        function, arguments = message
        try:
            pipe.send((function(*arguments), None))
        except ParibusError as error:
            pipe.send((None, error))


def train_task(task: Task, stop: Callable[[], bool]) -> Iterator[Progress]:
    """Trains a task to its end, or to a clean stop after an epoch."""
    from paribus.core.train import train_job  # here, so that a driver need not import torch

    reports = train_job(task.runs, task.attempts, task.checkpoint_every, task.loader_workers)
    ended: set[str] = set()
    for progress in reports:
        if progress.ended:
            ended.add(progress.run)
        yield progress
        if stop():
            try:
                reports.close()  # type: ignore[attr-defined]
            except OSError as error:
                yield from unfinished(task, ended, f"disk: the resume state is not saved: {error}")
            return


def unfinished(task: Task, ended: set[str], reason: str) -> Iterator[Progress]:
    """What is left of a task by what was not the runs' own doing."""
    for run in task.runs:
        if run.id not in ended:
            yield Progress(run.id, int(run.facts["epochs"]), None, "attempt", reason)


def _end_with_driver(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
