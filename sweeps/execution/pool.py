"""The pool: worker processes that plan and train, or the console script's own process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from atexit import register, unregister
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from multiprocessing.connection import wait
from typing import Any, TypeVar

from paribus.core.config.schema import get
from paribus.core.run_spec import RunSpec, WorkerEvent, unfinished
from paribus.core.runtime import is_pinned, pinned_environment
from paribus.sweeps.execution import forkserver
from paribus.sweeps.execution.worker import Task, Worker

Result = TypeVar("Result")
Stop = Callable[[], bool]  # asked between epochs; true makes a clean stop


def never() -> bool:
    """Go on to the end: what is asked where nobody stops a training."""
    return False


class Pool:
    """Plans and trains in worker processes, or in this one where it is pinned and one is enough.

    Workers come from a forkserver that has torch imported, have one thread each, share no lock,
    thread or tracker with this process, ignore its Ctrl-C, and end when its pipe closes, however it
    dies. Workers also plan: this process then needs no torch, and where it is not pinned (a
    notebook, pytest) ids and bits are those of the command line. In this process a step that hangs,
    hangs the command: a sweep calls `start` even for one worker.

    There are as many as the machine has cores, or `workers`; `size` of them train at the same time,
    which `resize_for` sets.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = self.size = workers or cores()
        self._gpus: list[str] = []
        self._processes: list[Worker] = []
        self._context: Any = None  # of multiprocessing; None: nothing is started

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server that workers are forked from; the console script did so earlier."""
        if self._context is not None:
            return
        if self._gpus:  # CUDA cannot be forked
            self._context = multiprocessing.get_context("spawn")
        else:
            try:
                forkserver.start()
                self._context = multiprocessing.get_context("forkserver")
            except ChildProcessError:  # this process is a fork of one that has a forkserver
                self._context = multiprocessing.get_context("spawn")
        # When this process exits multiprocessing would wait for its workers, which wait for it.
        register(self.close)

    def resize_for(self, runs: Sequence[RunSpec]) -> None:
        """Set the size for these runs: at most as many workers as runs, on CUDA one per GPU."""
        self.size = self.at_once(runs)
        if any(run.configuration["device"] == "cuda" for run in runs):
            if not self._gpus:
                self.close()
                self._gpus = _gpus()
            self.size = min(self.size, max(1, len(self._gpus)))
            self.start()

    def at_once(self, runs: Sequence[RunSpec]) -> int:
        """Return how many of these runs can be trained at the same time, each by its processes."""
        # The processes of a run divide the cores; of GPUs a worker is to have as many.
        processes = max((get(run.configuration, "train.processes") for run in runs), default=1)
        return max(1, min(self.workers // processes, len(runs)))

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function of a module in a process in which runs could be trained."""
        if self._context is None and is_pinned():
            with redirect_stdout(sys.stderr):  # standard output is the command's own
                return function(*arguments)
        self.start()
        return self._idle_worker().call(function, *arguments)

    def execute(
        self, tasks: Iterable[Task], stop: Stop, run_timeout: float | None = None
    ) -> Iterator[WorkerEvent]:
        """Train tasks; yield each run's epochs as they end, and each run's end exactly once.

        Tasks are taken from the iterable when there is room for them. Where `stop`, which is asked
        between epochs, becomes true, the epoch is finished, resume states are written, and nothing
        more is begun: such a run has no end. Closing the iterator ends the training at once.
        """
        waiting = iter(tasks)
        if self._context is None and is_pinned() and self.size == 1:
            while not stop() and (task := next(waiting, None)):
                yield from _train_here(task, stop)
            return
        self.start()
        stopping = False
        epochs: list[float] = []  # seconds, of all workers
        try:
            while True:
                while not stop() and len(self._busy()) < self.size:
                    task = next(waiting, None)
                    if task is None:
                        break
                    self._idle_worker().begin(task)
                busy = self._busy()
                if not busy:
                    return
                if stop() and not stopping:
                    stopping = True
                    for worker in busy:
                        worker.ask_to_stop()
                ready = wait([worker.pipe for worker in busy], timeout=0.2)
                for worker in busy:
                    if worker.pipe in ready:
                        for event in self._receive(worker):
                            if event.line is not None and worker.task is not None:
                                # Members share an epoch: each line has its share of the seconds.
                                members = len(worker.task.runs) - len(worker.done)
                                seconds = event.line["seconds"] * max(1, members)
                                epochs.append(seconds)
                                worker.epochs.append(seconds)
                            yield event
                for worker in self._busy():
                    if worker.is_silent(epochs, run_timeout):
                        reason = f"timeout: no epoch ended for {worker.silent:.0f} s; see "
                        worker.process.kill()  # SIGTERM would wait in a process that is stopped
                        yield from self._lose(worker, reason + "--run-timeout")
        finally:
            for worker in self._busy():
                self._drop(worker)

    def close(self) -> None:
        """End all workers."""
        unregister(self.close)
        for worker in self._processes:
            worker.hang_up()
        while self._processes:
            self._processes.pop().close()
        self._context, self._gpus = None, []

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._processes if worker.task is not None]

    def _idle_worker(self) -> Worker:
        for worker in [worker for worker in self._processes if worker.task is None]:
            if not worker.pipe.poll():  # an idle worker sends nothing: it has died
                return worker
            self._drop(worker)
        worker = self._new_worker()
        if not self._processes and not worker.call(is_pinned):
            # Something else in this process had started the one forkserver before, not pinned.
            worker.close()
            self._context = multiprocessing.get_context("spawn")
            worker = self._new_worker()
        self._processes.append(worker)
        return worker

    def _new_worker(self) -> Worker:
        taken = [worker.gpu for worker in self._processes]
        gpu = next((name for name in self._gpus if name not in taken), None)
        with pinned_environment({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}):
            return Worker(self._context, gpu)

    def _drop(self, worker: Worker) -> None:
        self._processes.remove(worker)
        worker.close()

    def _receive(self, worker: Worker) -> Iterator[WorkerEvent]:
        """Yield what a worker has sent; where it has died, that its runs stay attempts."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._lose(worker, f"killed: {worker.death()}")
            return
        worker.note_sign_of_life()
        if message is None:
            worker.task = None
            if worker.low_on_memory:
                self._drop(worker)
            return
        if message.ended:
            worker.done.add(message.run)
            # What ran out of memory once may be short of it for good.
            worker.low_on_memory |= message.ended == "attempt"
        yield message

    def _lose(self, worker: Worker, reason: str) -> Iterator[WorkerEvent]:
        assert worker.task is not None
        left = [run for run in worker.task.runs if run.id not in worker.done]
        self._drop(worker)
        yield from unfinished(left, reason)


def _train_here(task: Task, stop: Stop) -> Iterator[WorkerEvent]:
    from paribus.core.training.job import train_job  # here, so that a driver need not import torch

    events = train_job(*task, stop)
    while True:
        with redirect_stdout(sys.stderr):  # what the user's code prints, as from a worker
            event = next(events, None)
        if event is None:
            return
        yield event


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """Return the GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]
