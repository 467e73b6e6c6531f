"""Batches read ahead by processes of their own: torch's loader workers, which change no bit."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from paribus.core.errors import ParibusError


class ReaderDied(ParibusError):
    """A loader worker ended in the middle of its work; whoever ended it was not the data set."""


def read_ahead(
    dataset: Dataset[Any], batch_size: int | None, rows: Sequence[int], workers: int
) -> Iterator[Any]:
    """The batches of a data set, read by so many processes.

    Args:
        dataset: What they read; forked with them, where that is possible.
        batch_size: Items in a batch; None: items are batches.
        rows: Indices of the items, in order.
        workers: Processes, at least 1.

    Raises:
        ReaderDied: One of them was ended.
        Exception: What reading an item raised, with the frames it came through as `frames`.
    """
    loader = DataLoader(
        _Caught(dataset),
        batch_size,
        sampler=rows,
        num_workers=workers,
        collate_fn=_unchanged if batch_size is None else _collated,
        worker_init_fn=_begin,
        # What an experiment's file defines can be forked, but not always pickled.
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    before = signal.getsignal(signal.SIGCHLD)
    try:
        batches = iter(loader)
        if threading.current_thread() is threading.main_thread():
            # torch's would raise a worker's death anywhere; the loader finds out by itself.
            signal.signal(signal.SIGCHLD, before)
        for batch in batches:
            if isinstance(batch, _Raised):
                raise batch.error
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise ReaderDied("A loader worker ended early.", "Is the machine out of memory?") from error


@dataclass(frozen=True)
class _Raised:
    """What reading raised, on its way to the process that trains."""

    error: BaseException

    @classmethod
    def by(cls, error: Exception) -> _Raised:
        """The exception itself, or one that says the same where it cannot be sent."""
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
        try:
            sent: BaseException = pickle.loads(pickle.dumps(error))
        except Exception:
            sent = RuntimeError(f"{type(error).__name__}: {error}")
        sent.frames = frames  # type: ignore[attr-defined]
        return cls(sent)


class _Caught(Dataset[Any]):
    """A data set whose exceptions are items: torch would send just their text."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, row: int) -> Any:
        try:
            return self.dataset[row]
        except Exception as error:
            return _Raised.by(error)


def _collated(items: list[Any]) -> Any:
    raised = next((item for item in items if isinstance(item, _Raised)), None)
    return raised or default_collate(items)


def _unchanged(batch: Any) -> Any:
    return batch


def _begin(_: int) -> None:
    """Called first in each process: it ends with the one that trains, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # It holds what that one has open, also its locks: they must not outlive it.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        trainer = multiprocessing.parent_process()
        if trainer is None or os.getppid() != trainer.pid:
            os._exit(1)
