"""Executors: where jobs are trained. In this process, or in a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.errors import ParibusError
from core.process import is_pinned, pinned_environment
from core.spec import Progress, RunSpec

Result = TypeVar("Result")


@dataclass(frozen=True)
class Task:
    """What an executor is given: a job's runs and their attempts' folders."""

    runs: tuple[RunSpec, ...]
    attempts: dict[str, Path]
    checkpoint_every: float


class Executor(Protocol):
    """Trains tasks and says how each goes."""

    def execute(self, tasks: Iterable[Task], stop: Callable[[], bool]) -> Iterator[Progress]:
        """Yields each run's epochs as they end, and each run's end exactly once.

        Tasks are taken from the iterable when there is room for them. Where `stop` becomes true
        the epoch at hand is finished, resume states are written, and nothing more is begun.
        """

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function of a module in a process in which runs could be trained."""

    def close(self) -> None:
        """Ends all processes."""


class InProcess:
    """Trains in this process, which the console script must have pinned."""

    def execute(self, tasks: Iterable[Task], stop: Callable[[], bool]) -> Iterator[Progress]:
        for task in tasks:
            if stop():
                return
            reports = _train(task)
            for progress in reports:
                yield progress
                if stop():
                    reports.close()  # type: ignore[attr-defined]
                    break

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
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
        spawn: Start each worker anew instead (CUDA cannot be forked).
    """

    def __init__(self, workers: int, preload: tuple[str, ...] = (), *, spawn: bool = False) -> None:
        self.size = workers
        self._context: Any = multiprocessing.get_context("spawn" if spawn else "forkserver")
        self._workers: list[_Worker] = []
        with pinned_environment():
            if not spawn:
                self._context.set_forkserver_preload(["core.train", "core.loop", *preload])
                forkserver.ensure_running()

    def execute(self, tasks: Iterable[Task], stop: Callable[[], bool]) -> Iterator[Progress]:
        waiting = iter(tasks)
        told = False
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
            for worker in wait_for(busy, timeout=0.2):
                yield from self._hear(worker)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        found: Result = self._free_worker().call(function, *arguments)
        return found

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _free_worker(self) -> _Worker:
        for worker in self._workers:
            if worker.task is None:
                return worker
        with pinned_environment():
            worker = _Worker(self._context)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> Iterator[Progress]:
        """What a worker has said; of one that died, that its runs stay attempts."""
        assert worker.task is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            reason = f"killed: worker process {worker.process.pid} died ({worker.ended()})"
            for run in worker.task.runs:
                if run.id not in worker.done:
                    yield Progress(run.id, int(run.facts["epochs"]), None, "attempt", reason)
            return
        if message is None:
            worker.task = None
            return
        if message.ended:
            worker.done.add(message.run)
        yield message


class _Worker:
    """One worker process as the driver sees it."""

    def __init__(self, context: Any) -> None:
        self.pipe, theirs = context.Pipe()
        self.lifeline, their_lifeline = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, their_lifeline), daemon=True)
        with _no_main_module():
            self.process.start()
        theirs.close()
        their_lifeline.close()
        self.task: Task | None = None
        self.done: set[str] = set()

    def start(self, task: Task) -> None:
        self.task, self.done = task, set()
        with suppress(OSError):  # it died; hearing from it says so
            self.pipe.send((_train, (task,), True))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.pipe.send((function, arguments, False))
        try:
            result, error = self.pipe.recv()
        except EOFError:
            raise ParibusError(
                f"The worker process died ({self.ended()}).",
                "Is the machine out of memory? See: paribus doctor",
            ) from None
        if error is not None:
            raise error
        return result

    def ask_to_stop(self) -> None:
        with suppress(OSError):
            self.pipe.send("stop")

    def ended(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}"

    def close(self) -> None:
        self.pipe.close()
        self.lifeline.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def wait_for(workers: list[_Worker], timeout: float) -> list[_Worker]:
    """The workers that have something to say within the time."""
    by_pipe = {id(worker.pipe): worker for worker in workers}
    ready = wait([worker.pipe for worker in workers], timeout)
    return [by_pipe[id(pipe)] for pipe in ready]


def open_executor(workers: int, preload: tuple[str, ...] = ()) -> Executor:
    """This process where it is pinned and one worker is enough, else a pool."""
    if workers == 1 and is_pinned():
        return InProcess()
    return Pool(workers, preload)


def _work(pipe: Connection, lifeline: Connection) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_driver, args=(lifeline,), daemon=True).start()
    while True:
        try:
            function, arguments, streams = pipe.recv()
        except EOFError:
            return
        except ValueError:  # "stop" after the task had ended by itself
            continue
        if streams:
            _stream(pipe, function(*arguments))
        else:
            try:
                pipe.send((function(*arguments), None))
            except ParibusError as error:
                pipe.send((None, error))


def _train(task: Task) -> Iterator[Progress]:
    from core.train import train_job  # here, so that a driver need not import torch

    return train_job(task.runs, task.attempts, task.checkpoint_every)


def _stream(pipe: Connection, reports: Any) -> None:
    for progress in reports:
        pipe.send(progress)
        if pipe.poll():
            pipe.recv()
            reports.close()
            break
    pipe.send(None)


def _end_with_driver(lifeline: Connection) -> None:
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)


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
