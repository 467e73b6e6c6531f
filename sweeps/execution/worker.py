"""A worker process: its main function, and the process as its driver sees it."""

import gc
import multiprocessing
import os
import signal
import statistics
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from paribus.core.errors import ParibusError
from paribus.core.run_spec import RunSpec
from paribus.core.sources.reads import given_environment
from paribus.sweeps.execution.forkserver import ctrl_c_ignored

_STOP = "stop"


class Task(NamedTuple):
    """What a worker is sent: arguments of `paribus.core.training.job.train_job`."""

    runs: tuple[RunSpec, ...]
    attempts: dict[str, Path]
    checkpoint_every: float
    loader_workers: int = 0
    alone: bool = False  # nothing else is to use its GPU; no argument

    @property
    def arguments(self) -> tuple[tuple[RunSpec, ...], dict[str, Path], float, int]:
        return self[:4]

    @property
    def takes_gpu(self) -> bool:
        """Whether it has its GPU alone: as a cohort, or what another has run out of memory."""
        return self.alone or len(self.runs) > 1


def worker_main(
    pipe: Connection,
    lifeline: Connection,
    environment: dict[str, str],
    output: Connection | None = None,
) -> None:
    """Train tasks and call functions for the driver, until it closes the pipe.

    `lifeline` is closed when the driver ends; `environment` are the driver's variables now, as the
    server that forks may be older. Without an `output` it prints to standard error.
    """
    os.environ.clear()
    os.environ.update(environment)
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver handles them
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, args=(lifeline,), daemon=True).start()
    if output is not None:
        os.dup2(output.fileno(), 2)
        output.close()
    os.dup2(2, 1)  # what the user's code prints; standard output is the driver's own
    gc.freeze()  # what the server imported is no garbage, and its memory stays shared
    gc.enable()
    # Both import torch; a forked worker has it from its server.
    from paribus.core.components.optim import skip_compiler_import
    from paribus.core.training.job import train_job

    # Here, and not on import, which must change nothing in a user's process: 1.6 to 2.2 s.
    skip_compiler_import()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, ConnectionError):
            return
        if isinstance(message, Task):
            for event in train_job(*message.arguments, stop=pipe.poll):
                _send(pipe, event)
            _send(pipe, None)
        elif message != _STOP:  # else the task had ended already
            function, arguments = message
            try:
                result, fault = function(*arguments), None
            except ParibusError as error:
                result, fault = None, error
            _send(pipe, (result, fault))


def _send(pipe: Connection, message: Any) -> None:
    try:
        pipe.send(message)
    except ConnectionError:  # the driver hung up: a traceback would go to its terminal
        os._exit(1)


def _end_with_driver(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


_PATIENCE = 60.0  # seconds that a worker may always be silent
_UNKNOWN = 3600.0  # the same before any epoch is known
_LONGEST = 1 << 14  # bytes of a line that has no end yet, such as a progress bar's


class Worker:
    """The driver's handle of a worker process, which has a GPU or none."""

    def __init__(self, context: Any, gpu: str | None) -> None:
        self.pipe, theirs = context.Pipe()
        self.lifeline, their_lifeline = context.Pipe()
        self._printed: threading.Thread | None = None
        their_output = None
        if sys.stderr.isatty():
            # A worker that wrote to the terminal itself would write into the table drawn there.
            output, their_output = context.Pipe(duplex=False)
            self._printed = threading.Thread(target=_print_lines, args=(output,), daemon=True)
            self._printed.start()
        # No daemon, which could have no loader workers; its lifeline ends it with this process.
        self.process = context.Process(
            target=worker_main,
            args=(theirs, their_lifeline, given_environment(), their_output),
            daemon=False,
        )
        with _from_any_process(), ctrl_c_ignored():
            self.process.start()
        for end in (theirs, their_lifeline, their_output):
            if end is not None:
                end.close()
        self.gpu = gpu
        self.task: Task | None = None  # None: it is idle
        self.done: set[str] = set()  # runs of the task that have ended
        self.epochs: list[float] = []  # seconds of the task's
        self.low_on_memory = False  # then it is replaced after the task
        self.note_sign_of_life()

    def note_sign_of_life(self) -> None:
        self.silent, self._looked = 0.0, time.monotonic()  # seconds since it sent something

    def is_silent(self, epochs: list[float], timeout: float | None) -> bool:
        """Return whether it has sent nothing for too long, given the seconds of all epochs."""
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

    def begin(self, task: Task) -> None:
        """Send a task to an idle worker."""
        self.task, self.done, self.epochs = task, set(), []
        self.note_sign_of_life()
        with suppress(OSError):  # it has died; receiving from it shows that
            self.pipe.send(task)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function returns in an idle worker, or raise what it raises."""
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
            self.pipe.send(_STOP)

    def death(self) -> str:
        """Return how the process ended."""
        self.process.join(5)
        code = self.process.exitcode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return f"worker process {self.process.pid} died ({how})"

    def hang_up(self) -> None:
        """Let an idle worker return, and end a busy one at once."""
        self.pipe.close()
        if self.task is not None:
            self.lifeline.close()

    def close(self) -> None:
        """End the process, at the latest after five seconds."""
        self.hang_up()
        self.process.join(5)
        self.lifeline.close()
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self._printed is not None:
            self._printed.join(1)  # no longer: what it started may live on, and print


def _print_lines(output: Connection) -> None:
    """Write a worker's output to standard error in whole lines, until it ends."""

    def write(lines: list[bytes]) -> None:
        text = "".join(f"{line.decode(errors='replace')}\n" for line in lines)
        with suppress(OSError, ValueError):  # the terminal has gone; a worker must not wait for it
            sys.stderr.write(text)
            sys.stderr.flush()

    rest = b""
    while chunk := os.read(output.fileno(), 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        write(lines)
        if len(rest) > _LONGEST:  # a line without an end is written in parts
            write([rest])
            rest = b""
        time.sleep(0.05)  # many lines at once: each time the table is drawn anew
    write([rest] if rest else [])
    output.close()


@contextmanager
def _from_any_process() -> Iterator[None]:
    """Let multiprocessing start a worker whatever this process is.

    A script without a ``__main__`` guard would start over in the worker, which needs nothing of it.
    A daemonic process (of multiprocessing.Pool, Celery, Airflow) may have no children, lest they
    outlive it; a worker has its lifeline.
    """
    real = sys.modules["__main__"]
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    daemon = config.pop("daemon", None)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real
        if daemon is not None:
            config["daemon"] = daemon
