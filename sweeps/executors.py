"""Executors: where jobs are trained. In this process, or in a pool of worker processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import statistics
import sys
import threading
import time
import types
from atexit import register, unregister
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import ParibusError
from core.process import is_pinned, pinned_environment
from core.spec import Progress, RunSpec

Result = TypeVar("Result")
_STOP = "stop"
_PATIENCE = 60.0  # seconds that a worker may always be silent
_UNKNOWN = 3600.0  # the same before any epoch is known
_PRELOAD = "core.preload"


@dataclass(frozen=True)
class Task:
    """What an executor is given: a job's runs and their attempts' folders."""

    runs: tuple[RunSpec, ...]
    attempts: dict[str, Path]
    checkpoint_every: float
    loader_workers: int = 0


class Executor(Protocol):
    """Trains tasks and says how each goes.

    Attributes:
        size: How many tasks at the same time.
    """

    size: int

    def execute(
        self, tasks: Iterable[Task], stop: Callable[[], bool], run_timeout: float | None = None
    ) -> Iterator[Progress]:
        """Yields each run's epochs as they end, and each run's end exactly once.

        Tasks are taken from the iterable when there is room for them. Where `stop` becomes true
        the epoch at hand is finished, resume states are written, and nothing more is begun: such a
        run has no end. Closing the iterator ends the training at once.

        Args:
            tasks: What to train.
            stop: Asked between epochs.
            run_timeout: Seconds without an epoch after which a worker is ended; None: ten times
                the median epoch, at least 60, and 3600 before one is known.
        """

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function of a module in a process in which runs could be trained."""

    def close(self) -> None:
        """Ends all processes."""


class InProcess:
    """Trains in this process, which the console script must have pinned.

    What the user's code prints goes to standard error, as it does from a worker: standard output
    is the command's own. A step that hangs, hangs this process: there is no timeout.
    """

    size = 1

    def execute(
        self,
        tasks: Iterable[Task],
        stop: Callable[[], bool],
        run_timeout: float | None = None,  # noqa: ARG002
    ) -> Iterator[Progress]:
        waiting = iter(tasks)
        while not stop() and (task := next(waiting, None)):
            reports = _train(task, stop)
            while True:
                with redirect_stdout(sys.stderr):
                    progress = next(reports, None)
                if progress is None:
                    break
                yield progress

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        with redirect_stdout(sys.stderr):
            return function(*arguments)

    def close(self) -> None:
        pass


class Pool:
    """Worker processes, each with one thread, from a forkserver that has torch imported.

    Workers share no lock, thread or tracker with this process, ignore its Ctrl-C, and end when
    its pipe closes, however it dies.

    Args:
        workers: How many.
        preload: Modules that the forkserver imports once for all workers.
        gpus: Names of GPUs (as in ``CUDA_VISIBLE_DEVICES``), one for each worker. Such workers are
            started anew each: CUDA cannot be forked.
    """

    def __init__(
        self, workers: int, preload: tuple[str, ...] = (), *, gpus: Sequence[str] = ()
    ) -> None:
        self.size = min(workers, len(gpus)) if gpus else workers
        self._gpus = gpus
        self._workers: list[_Worker] = []
        self._context: Any = multiprocessing.get_context("spawn" if gpus else "forkserver")
        if not gpus:
            with pinned_environment(), _deaf_to_ctrl_c():
                self._context.set_forkserver_preload([_PRELOAD, *preload])
                forkserver.ensure_running()
        # Workers ignore SIGTERM, by which multiprocessing would end them when this process exits.
        register(self.close)

    def execute(
        self, tasks: Iterable[Task], stop: Callable[[], bool], run_timeout: float | None = None
    ) -> Iterator[Progress]:
        waiting = iter(tasks)
        told = False
        epochs: list[float] = []  # seconds, of all workers
        try:
            while True:
                while not stop() and len(self._busy()) < self.size:
                    task = next(waiting, None)
                    if task is None:
                        break
                    self._free_worker().start(task)
                busy = self._busy()
                if not busy:
                    return
                if stop() and not told:
                    told = True
                    for worker in busy:
                        worker.ask_to_stop()
                for worker in _wait_for(busy, timeout=0.2):
                    for progress in self._hear(worker):
                        if progress.line is not None and worker.task is not None:
                            # Lanes share an epoch: each was told its part of the time.
                            lanes = len(worker.task.runs) - len(worker.done)
                            seconds = progress.line["seconds"] * max(1, lanes)
                            epochs.append(seconds)
                            worker.epochs.append(seconds)
                        yield progress
                for worker in self._busy():
                    if worker.is_silent(epochs, run_timeout):
                        yield from self._give_up(worker)
        finally:
            for worker in self._busy():
                self._drop(worker)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        found: Result = self._free_worker().call(function, *arguments)
        return found

    def close(self) -> None:
        unregister(self.close)
        for worker in self._workers:
            worker.hang_up()
        while self._workers:
            self._workers.pop().close()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _free_worker(self) -> _Worker:
        for worker in [worker for worker in self._workers if worker.task is None]:
            if not worker.pipe.poll():  # an idle one has nothing to say, but that it died
                return worker
            self._drop(worker)
        worker = self._new_worker()
        if not self._workers and not worker.call(is_pinned):
            # Something else in this process had started the one forkserver before, not pinned.
            worker.close()
            self._context = multiprocessing.get_context("spawn")
            worker = self._new_worker()
        self._workers.append(worker)
        return worker

    def _new_worker(self) -> _Worker:
        taken = [worker.gpu for worker in self._workers]
        gpu = next((name for name in self._gpus if name not in taken), None)
        with pinned_environment({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}):
            return _Worker(self._context, gpu)

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.close()

    def _hear(self, worker: _Worker) -> Iterator[Progress]:
        """What a worker has said; of one that died, that its runs stay attempts."""
        assert worker.task is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            task, reason = worker.task, f"killed: {worker.death()}"
            self._drop(worker)
            yield from _attempts(task, worker.done, reason)
            return
        worker.heard()
        if message is None:
            worker.task = None
            if worker.shaken:
                self._drop(worker)
            return
        if message.ended:
            worker.done.add(message.run)
            # What ran out of memory once may be short of it for good.
            worker.shaken |= message.ended == "attempt"
        yield message

    def _give_up(self, worker: _Worker) -> Iterator[Progress]:
        """Ends a worker that hangs, or was stopped: whatever it was about to write is lost."""
        assert worker.task is not None
        task = worker.task
        reason = f"timeout: no epoch ended for {worker.silent:.0f} s; see --run-timeout"
        worker.process.kill()  # one that is stopped hears nothing gentler
        self._drop(worker)
        yield from _attempts(task, worker.done, reason)


class _Worker:
    """One worker process as the driver sees it."""

    def __init__(self, context: Any, gpu: str | None) -> None:
        self.pipe, theirs = context.Pipe()
        self.lifeline, their_lifeline = context.Pipe()
        # No daemon, which could have no loader workers; its lifeline ends it with this process.
        self.process = context.Process(target=_work, args=(theirs, their_lifeline))
        with _no_main_module():
            self.process.start()
        theirs.close()
        their_lifeline.close()
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
            self.pipe.send(_STOP)

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


def _wait_for(workers: list[_Worker], timeout: float) -> list[_Worker]:
    """The workers that have something to say within the time."""
    by_pipe = {id(worker.pipe): worker for worker in workers}
    ready = wait([worker.pipe for worker in workers], timeout)
    return [by_pipe[id(pipe)] for pipe in ready]


def _work(pipe: Connection, lifeline: Connection) -> None:
    """The main function of a worker process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver hears them, and asks for a stop
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, args=(lifeline,), daemon=True).start()
    os.dup2(2, 1)  # what the user's code prints; standard output is the driver's own
    gc.freeze()  # what the server imported is no garbage; left alone its memory stays shared
    gc.enable()
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if message == _STOP:  # the task had ended by itself
            continue
        if isinstance(message, Task):
            for progress in _train(message, pipe.poll):
                pipe.send(progress)
            pipe.send(None)
            continue
        function, arguments = message
        try:
            pipe.send((function(*arguments), None))
        except ParibusError as error:
            pipe.send((None, error))


def _train(task: Task, stop: Callable[[], bool]) -> Iterator[Progress]:
    """Trains a task to its end, or to a clean stop after an epoch."""
    from core.train import train_job  # here, so that a driver need not import torch

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
                yield from _attempts(task, ended, f"disk: the resume state is not saved: {error}")
            return


def _attempts(task: Task, ended: set[str], reason: str) -> Iterator[Progress]:
    """What is left of a task by what was not the runs' own doing."""
    for run in task.runs:
        if run.id not in ended:
            yield Progress(run.id, int(run.facts["epochs"]), None, "attempt", reason)


def _end_with_driver(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Lets processes that start in the block ignore the terminal's Ctrl-C: it is the driver's.

    The forkserver ignores it by itself only once it has imported all that it preloads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


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
