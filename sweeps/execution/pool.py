"""The pool: worker processes that plan and train, or the console script's own process."""

from __future__ import annotations

import multiprocessing
import os
import sys
from atexit import register, unregister
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from paribus.core.config.schema import get
from paribus.core.run_spec import RunSpec, WorkerEvent, unfinished
from paribus.core.runtime import is_pinned, pinned_environment
from paribus.sweeps.execution import forkserver
from paribus.sweeps.execution.gpus import Gpu, GpuOptions, choose_gpus, find_gpus
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
    which `resize_for` sets. With GPUs each has one of them, or one for each process of its runs;
    `GpuOptions.per_gpu` workers have the same one; a cohort has it alone. `find` lists the GPUs.
    """

    def __init__(
        self,
        workers: int | None = None,
        gpus: GpuOptions | None = None,
        find: Callable[[], list[Gpu]] = find_gpus,
    ) -> None:
        self.workers = self.size = workers or cores()
        self.gpu_options = gpus or GpuOptions()
        self.gpus: list[Gpu] | None = None  # those that train; None: not looked for yet
        self._find = find
        self._places: list[str] = []  # what CUDA_VISIBLE_DEVICES is for runs on GPUs; or none
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
        if self.gpus:  # CUDA cannot be forked
            self._context = multiprocessing.get_context("spawn")
        else:
            try:
                forkserver.start()
                self._context = multiprocessing.get_context("forkserver")
            except ChildProcessError:  # this process is a fork of one that has a forkserver
                self._context = multiprocessing.get_context("spawn")
        # When this process exits multiprocessing would wait for its workers, which wait for it.
        register(self.close)

    def choose_gpus(self) -> list[Gpu]:
        """Return the GPUs that train, looked for once; workers that are begun from now on see them.

        Raises:
            RequestError: If those that are wanted are not there, or not of one kind.
        """
        if self.gpus is None:
            found = [] if self.gpu_options.wanted == "none" else self.call(self._find)
            self.gpus = choose_gpus(found, self.gpu_options.wanted)
            if self.gpus or self.gpu_options.wanted == "none":
                self.close()
                self.start()
        return self.gpus

    def resize_for(self, runs: Sequence[RunSpec]) -> None:
        """Set the size for these runs: at most as many workers as runs, and as GPUs have room."""
        gpus = self.choose_gpus() if _on_gpu(runs) else []
        size, self._places = room_for(runs, self.workers, gpus, self.gpu_options.per_gpu)
        self.size = max(1, min(size, len(runs)))

    def prepare(self) -> None:
        self.choose_gpus()

    def check(self, run: RunSpec) -> None:
        """Accept any run: it was planned here."""

    def summary(self, runs: Sequence[RunSpec]) -> list[str]:
        self.resize_for(runs)
        if not self._places:
            return []
        names, most = ", ".join(self._places), self.gpu_options.per_gpu
        each = "one run at a time" if most == 1 else f"{most} runs at a time, or a cohort"
        return [f"GPU {names} ({self.choose_gpus()[0].kind}): {each} on each"]

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function of a module in a process in which runs could be trained."""
        if self._context is None and is_pinned():
            with redirect_stdout(sys.stderr):  # standard output is the command's own
                return function(*arguments)
        self.start()
        return self._idle_worker().call(function, *arguments)

    def execute(
        self,
        tasks: Iterable[Task],
        stop: Stop,
        run_timeout: float | None = None,
        woken: Connection | None = None,
    ) -> Iterator[WorkerEvent]:
        """Train tasks; yield each run's epochs as they end, and each run's end exactly once.

        Tasks are taken from the iterable when there is room for them. Where `stop`, which is asked
        between epochs, becomes true, the epoch is finished, resume states are written, and nothing
        more is begun: such a run has no end. Closing the iterator ends the training at once.
        `woken` can be read when tasks have another one, after they had none.
        """
        waiting = iter(tasks)
        if self._context is None and is_pinned() and self.size == 1 and not self._places:
            while not stop() and (own := next(waiting, None)):
                yield from _train_here(own, stop)
            return
        self.start()
        stopping = False
        task: Task | None = None  # the next one, once it is taken
        epochs: list[float] = []  # seconds, of all workers
        try:
            while True:
                while not stop() and len(self._busy()) < self.size:
                    task = task or next(waiting, None)
                    if task is None or not (places := self._places_for(task)):
                        break
                    if task.takes_gpu and self._places:  # idle ones hold memory of their GPU
                        for idle in [w for w in self._processes if w.task is None]:
                            if idle.gpu in (None, places[0]):
                                self._drop(idle)
                    self._idle_worker(places[0]).begin(task)
                    task = None
                busy = self._busy()
                if not busy:
                    return
                if stop() and not stopping:
                    stopping = True
                    for worker in busy:
                        worker.ask_to_stop()
                pipes = [worker.pipe for worker in busy]
                ready = wait([*pipes, *([woken] if woken else [])], timeout=0.2)
                if woken in ready:
                    woken.recv()
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
        self._context = None

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._processes if worker.task is not None]

    def _places_for(self, task: Task) -> list[str | None]:
        """Return the GPUs on which a task can begin now, the emptiest first; None is the CPU."""
        if not self._places:
            return [None]
        load: dict[str | None, int] = {}
        for place in self._places:
            tasks = [w.task for w in self._busy() if w.gpu == place and w.task is not None]
            whole = task.takes_gpu or any(other.takes_gpu for other in tasks)
            if len(tasks) < (1 if whole else self.gpu_options.per_gpu):
                load[place] = len(tasks)
        return sorted(load, key=lambda place: load[place])

    def _idle_worker(self, gpu: str | None = None) -> Worker:
        """Return a worker that is idle: on this GPU, or any."""
        for worker in [worker for worker in self._processes if worker.task is None]:
            if worker.pipe.poll():  # an idle worker sends nothing: it has died
                self._drop(worker)
            elif gpu in (None, worker.gpu):
                return worker
        worker = self._new_worker(gpu)
        if not self._processes and not worker.call(is_pinned):
            # Something else in this process had started the one forkserver before, not pinned.
            worker.close()
            self._context = multiprocessing.get_context("spawn")
            worker = self._new_worker(gpu)
        self._processes.append(worker)
        return worker

    def _new_worker(self, gpu: str | None) -> Worker:
        visible = {}
        if gpu or self.gpus or self.gpu_options.wanted == "none":
            names = [each.name for each in self.gpus or []]
            visible = {"CUDA_VISIBLE_DEVICES": gpu or ",".join(names)}
        with pinned_environment(visible):
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

    events = train_job(*task.arguments, stop)
    while True:
        with redirect_stdout(sys.stderr):  # what the user's code prints, as from a worker
            event = next(events, None)
        if event is None:
            return
        yield event


def room_for(
    runs: Sequence[RunSpec], workers: int, gpus: Sequence[Gpu], per_gpu: int
) -> tuple[int, list[str]]:
    """Return how many of these runs a machine trains at a time, and on which GPUs.

    The processes of a run divide the cores, and have a GPU each: a place is what
    ``CUDA_VISIBLE_DEVICES`` is for one of the runs.
    """
    each = max((get(run.configuration, "train.processes") for run in runs), default=1)
    size = max(1, workers // each)
    if not _on_gpu(runs):
        return size, []
    names = [gpu.name for gpu in gpus]
    places = [",".join(names[at : at + each]) for at in range(0, len(names) - each + 1, each)]
    return min(size, len(places) * per_gpu), places


def _on_gpu(runs: Sequence[RunSpec]) -> bool:
    return any(run.configuration["device"] == "cuda" for run in runs)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
