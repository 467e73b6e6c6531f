"""Where a command's work is done: in this process, or in workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from paribus.core.components import NAMES
from paribus.core.process import is_pinned
from paribus.core.spec import RunSpec
from paribus.sweeps.executors import Executor, InProcess, Pool

Result = TypeVar("Result")


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
