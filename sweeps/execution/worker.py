"""What a worker process does: it trains tasks and calls functions, as its driver says."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from paribus.core.errors import ParibusError
from paribus.core.run_spec import RunSpec, WorkerEvent

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
    # Here and not on import, which must change nothing in a user's process. Imports torch, which
    # the server has done already where workers are forked.
    from paribus.core.components.optim import skip_compiler_import

    skip_compiler_import()
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


def train_task(task: Task, stop: Callable[[], bool]) -> Iterator[WorkerEvent]:
    """Trains a task to its end, or to a clean stop after an epoch."""
    from paribus.core.training.job import train_job  # here, so that a driver need not import torch

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


def unfinished(task: Task, ended: set[str], reason: str) -> Iterator[WorkerEvent]:
    """What is left of a task by what was not the runs' own doing."""
    for run in task.runs:
        if run.id not in ended:
            yield WorkerEvent(run.id, int(run.facts["epochs"]), None, "attempt", reason)


def _end_with_driver(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


# A worker process as its driver sees it.


_PATIENCE = 60.0  # seconds that a worker may always be silent
_UNKNOWN = 3600.0  # the same before any epoch is known
_LONGEST = 1 << 14  # bytes of a line that has no end yet, such as a bar's


class Worker:
    """One worker process as the driver sees it."""

    def __init__(self, context: Any, gpu: str | None) -> None:
        self.pipe, theirs = context.Pipe()
        self.lifeline, their_lifeline = context.Pipe()
        self._printed, their_output = _output(context)
        # No daemon, which could have no loader workers; its lifeline ends it with this process.
        self.process = context.Process(target=work, args=(theirs, their_lifeline, their_output))
        with _no_main_module():
            self.process.start()
        for end in (theirs, their_lifeline, their_output):
            if end is not None:
                end.close()
        self.gpu = gpu
        self.task: Task | None = None
        self.done: set[str] = set()
        self.epochs: list[float] = []
        self.shaken = False
        self.heard()

    def heard(self) -> None:
        self.silent, self._looked = 0.0, time.monotonic()

    def is_silent(self, epochs: list[float], timeout: float | None) -> bool:
        """Whether it has said nothing for too long, given the seconds of all workers' epochs."""
        now = time.monotonic()
        # A machine that slept, or a command that was put to the background, was not silent.
        self.silent += min(now - self._looked, 1.0)
        self._looked = now
        if timeout is None:
            if self.silent < _PATIENCE:
                return False
            known = self.epochs or epochs  # its own run's, else how long others take
            timeout = max(_PATIENCE, 10 * statistics.median(known)) if known else _UNKNOWN
        return self.silent > timeout and not self.pipe.poll()

    def start(self, task: Task) -> None:
        self.task, self.done, self.epochs = task, set(), []
        self.heard()
        with suppress(OSError):  # it died; hearing from it says so
            self.pipe.send(task)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            self.pipe.send((function, arguments))
            result, error = self.pipe.recv()
        except (EOFError, OSError):
            raise ParibusError(
                f"A call ended early: {self.death()}.",
                "Is the machine out of memory? See: paribus doctor",
            ) from None
        if error is not None:
            raise error
        return result

    def ask_to_stop(self) -> None:
        with suppress(OSError):
            self.pipe.send(STOP)

    def death(self) -> str:
        """How the process ended."""
        self.process.join(5)
        code = self.process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return f"worker process {self.process.pid} died ({how})"

    def hang_up(self) -> None:
        """Lets an idle worker return, and ends a busy one at once."""
        self.pipe.close()
        if self.task is not None:
            self.lifeline.close()

    def close(self) -> None:
        self.hang_up()
        self.process.join(5)
        self.lifeline.close()
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self._printed is not None:
            self._printed.join(1)  # no longer: what it started may live on, and print


def _output(context: Any) -> tuple[threading.Thread | None, Connection | None]:
    """What writes a worker's output to a terminal, and where the worker writes it.

    A worker that wrote there itself would write into the table that is drawn. Elsewhere it does.
    """
    if not sys.stderr.isatty():
        return None, None
    output, theirs = context.Pipe(duplex=False)
    thread = threading.Thread(target=_write_on, args=(output,), daemon=True)
    thread.start()
    return thread, theirs


def _write_on(output: Connection) -> None:
    """Writes whole lines to standard error until nobody is left to print any."""
    rest = b""
    while chunk := os.read(output.fileno(), 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        _write(lines)
        if len(rest) > _LONGEST:  # a line without an end is written in parts
            _write([rest])
            rest = b""
        time.sleep(0.05)  # many lines at once: each time the table is drawn anew
    _write([rest] if rest else [])
    output.close()


def _write(lines: list[bytes]) -> None:
    text = "".join(f"{line.decode(errors='replace')}\n" for line in lines)
    with suppress(OSError, ValueError):  # the terminal has gone; a worker must not wait for it
        sys.stderr.write(text)
        sys.stderr.flush()


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps multiprocessing from running the caller's script again in the worker.

    Workers need nothing of it, and a script without a ``__main__`` guard would start over.
    """
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real
