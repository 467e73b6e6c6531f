"""One part of the data and how its batches are read, also ahead of their use by loader workers."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from paribus.core.data.arrays import float32, standardized
from paribus.core.data.tables import Table
from paribus.core.data.texts import Texts, Tokens
from paribus.core.errors import ParibusError, bad_data
from paribus.core.rng import derive, seed_globals, seeded_globals


class ReaderDied(ParibusError):
    """A loader worker was ended in the middle of its work, and not by the data set."""


def read_ahead(
    dataset: Dataset[Any], batch_size: int | None, rows: Sequence[int], workers: int
) -> Iterator[Any]:
    """Read the batches of a data set by so many processes, which change no bit.

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
        """Return the exception itself, or one with its message where it cannot be sent."""
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
    """Prepare a process: it ends with the one that trains, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # It holds what that one has open, also its locks: they must not outlive it.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        trainer = multiprocessing.parent_process()
        if trainer is None or os.getppid() != trainer.pid:
            os._exit(1)


Draw = tuple[int, int]
Batch = tuple[torch.Tensor, torch.Tensor]
Augment = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Items:
    """Examples that a map-style data set reads one by one, each time they are needed.

    Attributes:
        dataset: What reads them; an item is `(x, y)`.
        rows: Indices into `dataset`: int64 `[N]`.
        encode: From an item's `y` to its target as the model needs it.
    """

    dataset: Dataset[Any]
    rows: torch.Tensor
    encode: Callable[[object], torch.Tensor]

    def __len__(self) -> int:
        return len(self.rows)

    def index_select(self, rows: torch.Tensor) -> Items:
        """Return the examples at these positions."""
        return Items(self.dataset, self.rows.index_select(0, rows), self.encode)


Inputs = torch.Tensor | Items | Tokens | Table | Texts


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the data: training, validation or test.

    Attributes:
        inputs: float32 `[N, *input_shape]` in memory, sequences of tokens, or items that a data
            set reads; before preprocessing is fitted also a table or texts.
        targets: int64 `[N]` or `[N, labels]`, or float32 `[N, outputs]`; always in memory.
        augment: Changes an input `[C, H, W]` at random, in training only.
        recipe: Mean and scale that are still to be applied, after `augment`.
    """

    inputs: Inputs
    targets: torch.Tensor
    augment: Augment | None = None
    recipe: Mapping[str, Sequence[float]] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def batches(
        self,
        batch_size: int,
        order: torch.Tensor | None = None,
        draw: Draw | None = None,
        *,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield inputs float32 `[B, *input_shape]` and targets; the last batch may be smaller.

        Sequences of tokens are filled up to the longest of the batch: int64 `[B, longest]`.

        Args:
            batch_size: Examples in a batch, at least 1.
            order: Positions in this part, in the order of the visit: int64 `[N]`. Without it the
                examples come as they stand; batches in memory are then views, not copies.
            draw: (seed, epoch) of the random draws of augmentation and of a data set's own
                transforms; each example has a stream of its own. Without it nothing is augmented,
                and every reading makes the same draws.
            workers: Processes that read items of a data set, or augment, ahead of their use: the
                same examples, to the bit. What is simply indexed needs none.

        Yields:
            Pairs of inputs and targets.
        """
        if isinstance(self.inputs, Items):
            return self._read(self.inputs, batch_size, order, draw, workers)
        if isinstance(self.inputs, Tokens):
            return self._padded(self.inputs, batch_size, order)
        if not isinstance(self.inputs, torch.Tensor):
            raise TypeError("This part's preprocessing was not fitted yet.")
        if self.augment is not None:
            return self._augmented(self.inputs, batch_size, order, draw, workers)
        return self._indexed(self.inputs, batch_size, order)

    def inputs_of(self, rows: int) -> Batch:
        """Return the first `rows` examples as one batch (all of them where there are fewer).

        Raises:
            RequestError: The part is empty.
        """
        for batch in self.batches(rows):
            return batch
        raise bad_data("This part of the data has no examples.")

    def select(self, rows: torch.Tensor) -> Part:
        """Return the examples at these positions: int64 `[M]`."""
        if isinstance(self.inputs, torch.Tensor):
            inputs: Inputs = self.inputs.index_select(0, rows)
        else:
            inputs = self.inputs.index_select(rows)
        return replace(self, inputs=inputs, targets=self.targets.index_select(0, rows))

    def _indexed(
        self, inputs: torch.Tensor, batch_size: int, order: torch.Tensor | None
    ) -> Iterator[Batch]:
        for start in range(0, len(self) if order is None else len(order), batch_size):
            some = slice(start, start + batch_size)
            if order is None:
                # Copies: a model may change its inputs in place.
                yield inputs[some].clone(), self.targets[some].clone()
            else:
                rows = order[some]
                yield inputs.index_select(0, rows), self.targets.index_select(0, rows)

    def _augmented(
        self,
        inputs: torch.Tensor,
        batch_size: int,
        order: torch.Tensor | None,
        draw: Draw | None,
        workers: int,
    ) -> Iterator[Batch]:
        rows = torch.arange(len(self)) if order is None else order
        batches = _Augmented(self, inputs, torch.split(rows, batch_size), draw)
        if workers:
            return read_ahead(batches, None, range(len(batches)), workers)
        return map(batches.__getitem__, range(len(batches)))

    def _padded(
        self, tokens: Tokens, batch_size: int, order: torch.Tensor | None
    ) -> Iterator[Batch]:
        rows = torch.arange(len(self)) if order is None else order
        for start in range(0, len(rows), batch_size):
            some = rows[start : start + batch_size]
            yield tokens.index_select(some).padded(), self.targets.index_select(0, some)

    def _read(
        self,
        items: Items,
        batch_size: int,
        order: torch.Tensor | None,
        draw: Draw | None,
        workers: int,
    ) -> Iterator[Batch]:
        rows = items.rows if order is None else items.rows.index_select(0, order)
        reader = _Reader(items, draw, self.augment)
        if workers:
            yield from map(tuple, read_ahead(reader, batch_size, rows.tolist(), workers))
            return
        loader = DataLoader(
            reader,
            batch_size,
            sampler=rows.tolist(),
            generator=torch.Generator(),  # else the loader draws from the global one
        )
        batches = iter(loader)
        for _ in range(len(loader)):
            with seeded_globals(0, "data"):  # restores them once for all items of the batch
                inputs, targets = next(batches)
            yield inputs, targets


class _Augmented(Dataset[Batch]):
    """Whole batches of what lies in memory, each example augmented in its own stream."""

    def __init__(
        self, part: Part, inputs: torch.Tensor, rows: Sequence[torch.Tensor], draw: Draw | None
    ) -> None:
        self.part, self.inputs, self.rows, self.draw = part, inputs, rows, draw

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Batch:
        part, some = self.part, self.rows[number]
        batch = self.inputs.index_select(0, some)
        if self.draw is not None and part.augment is not None:
            seed, epoch = self.draw
            with seeded_globals(0, "augment"):  # restores them once for the batch
                drawn = []
                for row, x in zip(some.tolist(), batch, strict=True):
                    seed_globals(derive(seed, "augment", epoch, row))
                    drawn.append(part.augment(x))
            batch = torch.stack(drawn)
        return standardized(batch, part.recipe), part.targets.index_select(0, some)


class _Reader(Dataset[Batch]):
    """Items as the default collate needs them: float32 inputs and encoded targets."""

    def __init__(self, items: Items, draw: Draw | None, augment: Augment | None) -> None:
        self.items, self.draw, self.augment = items, draw, augment

    def __getitem__(self, row: int) -> Batch:
        x, y = read_item(self.items.dataset, row, self.draw)
        inputs = as_input(x)
        if self.augment is not None and self.draw is not None:
            inputs = self.augment(inputs)  # goes on in the example's stream
        return inputs, self.items.encode(y)


def read_item(dataset: Dataset[Any], row: int, draw: Draw | None = None) -> Any:
    """Return one item of a data set, its random draws taken from the example's own stream.

    Leaves the global generators seeded: restoring them costs more than many an item, so callers
    restore them once for several.
    """
    seed_globals(
        derive(0, "data", row) if draw is None else derive(draw[0], "augment", draw[1], row)
    )
    return dataset[row]


def as_input(x: Any) -> torch.Tensor:
    """Return an item's `x` as float32 with at least one dimension."""
    tensor = x.detach().to("cpu", torch.float32) if isinstance(x, torch.Tensor) else float32(x)
    return tensor.reshape(1) if tensor.ndim == 0 else tensor
