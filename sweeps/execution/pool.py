"""Executors: where jobs are trained. In this process, or in a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from atexit import register, unregister
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

from paribus.core.config.registry import NAMES
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.core.runtime import is_pinned, pinned_environment
from paribus.sweeps.execution.worker import Task, Worker, train_task, unfinished

Result = TypeVar("Result")
_PRELOAD = "paribus.core.training.forkserver_preload"


class Executor(Protocol):
    """Trains tasks and says how each goes.

    Attributes:
        size: How many tasks at the same time.
    """

    size: int

    def execute(
        self, tasks: Iterable[Task], stop: Callable[[], bool], run_timeout: float | None = None
    ) -> Iterator[WorkerEvent]:
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
    ) -> Iterator[WorkerEvent]:
        waiting = iter(tasks)
        while not stop() and (task := next(waiting, None)):
            reports = train_task(task, stop)
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
        self._workers: list[Worker] = []
        self._context: Any = multiprocessing.get_context("spawn" if gpus else "forkserver")
        if not gpus:
            with pinned_environment(), _deaf_to_ctrl_c():
                self._context.set_forkserver_preload([_PRELOAD, *preload])
                forkserver.ensure_running()
        # When this process exits multiprocessing would wait for its workers, which wait for it.
        register(self.close)

    def execute(
        self, tasks: Iterable[Task], stop: Callable[[], bool], run_timeout: float | None = None
    ) -> Iterator[WorkerEvent]:
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
                            members = len(worker.task.runs) - len(worker.done)
                            seconds = progress.line["seconds"] * max(1, members)
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

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _free_worker(self) -> Worker:
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

    def _new_worker(self) -> Worker:
        taken = [worker.gpu for worker in self._workers]
        gpu = next((name for name in self._gpus if name not in taken), None)
        with pinned_environment({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}):
            return Worker(self._context, gpu)

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.close()

    def _hear(self, worker: Worker) -> Iterator[WorkerEvent]:
        """What a worker has said; of one that died, that its runs stay attempts."""
        assert worker.task is not None
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            task, reason = worker.task, f"killed: {worker.death()}"
            self._drop(worker)
            yield from unfinished(task, worker.done, reason)
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

    def _give_up(self, worker: Worker) -> Iterator[WorkerEvent]:
        """Ends a worker that hangs, or was stopped: whatever it was about to write is lost."""
        assert worker.task is not None
        task = worker.task
        reason = f"timeout: no epoch ended for {worker.silent:.0f} s; see --run-timeout"
        worker.process.kill()  # one that is stopped hears nothing gentler
        self._drop(worker)
        yield from unfinished(task, worker.done, reason)


def _wait_for(workers: list[Worker], timeout: float) -> list[Worker]:
    """The workers that have something to say within the time."""
    by_pipe = {id(worker.pipe): worker for worker in workers}
    ready = wait([worker.pipe for worker in workers], timeout)
    return [by_pipe[id(pipe)] for pipe in ready]


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


# Where a command's work is done: in this process, or in workers.


class Workplace:
    """Plans and trains: in workers, or in this process where it is pinned and none were begun.

    Workers also plan: this process then needs no torch, and where it is not pinned (a notebook,
    pytest) ids and bits are those of the command line. They end with the `with` block.
    A sweep begins them even for one at a time: a run that hangs, or takes all memory, ends alone.

    Args:
        data: The name of the data component; decides what workers import beforehand.
        workers: Worker processes; None takes the machine's cores.
    """

    def __init__(self, data: str, workers: int | None) -> None:
        self.workers = workers if workers is not None else cores()
        data = NAMES["data"].get(data, data)
        self._preload = ("sklearn.datasets",) if data.startswith("sklearn.") else ()
        self._executor: Executor | None = None

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def begin(self) -> None:
        """Starts the forkserver, whose imports then overlap this process's own."""
        if self._executor is None:
            self._executor = Pool(self.workers, self._preload)

    def plan(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a planning function in a process that runs could be trained in."""
        return self._begun().call(function, *arguments)

    def executor(self, runs: Sequence[RunSpec]) -> Executor:
        """What trains these runs: at most as many workers as runs, on CUDA one per GPU."""
        size = max(1, min(self.workers, len(runs)))
        if any(run.configuration["device"] == "cuda" for run in runs):
            self.close()
            self._executor = Pool(size, gpus=_gpus())
            return self._executor
        executor = self._begun(alone=size == 1)
        if isinstance(executor, Pool):
            executor.size = size
        return executor

    def _begun(self, *, alone: bool = True) -> Executor:
        """What was begun; else this process, where one pinned process is all that is needed."""
        if self._executor is None:
            if alone and is_pinned():
                return InProcess()
            self.begin()
        assert self._executor is not None
        return self._executor

    def close(self) -> None:
        """Ends all workers."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]
