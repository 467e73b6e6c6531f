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
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import ConcatDataset, DataLoader, Dataset, default_collate

from paribus.core.data.arrays import Array, Scaling, float32, standardized
from paribus.core.data.tables import Table
from paribus.core.data.texts import Texts, Tokens
from paribus.core.errors import ProcessEnded, bad_data
from paribus.core.rng import derive, seed_globals, seeded_globals
from paribus.core.sources.reads import Reads, add_from_worker, observing

PARTS = ("train", "val", "test")
Draw = tuple[int, int]
Batch = tuple[Any, torch.Tensor]  # inputs are a tensor, or a dict or tuple of tensors
Augment = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Items:
    """Examples that a map-style data set reads one by one, each time they are needed."""

    dataset: Dataset[Any]  # what reads them; an item is `(x, y)`
    rows: torch.Tensor  # indices into `dataset`: int64 `[N]`
    encode: Callable[[object], torch.Tensor]  # from an item's `y` to what the model needs
    dtype: torch.dtype = torch.float32  # of the inputs: float32 or int64

    def __len__(self) -> int:
        return len(self.rows)

    def index_select(self, rows: torch.Tensor) -> Items:
        """Return the examples at these positions: int64 `[M]`."""
        return replace(self, rows=self.rows.index_select(0, rows))

    def joined(self, other: Items) -> Items:
        """Return the items of two whole data sets."""
        both: ConcatDataset[Any] = ConcatDataset([self.dataset, other.dataset])
        return replace(self, dataset=both, rows=torch.arange(len(both)))


@dataclass(frozen=True, eq=False)
class Fields:
    """Several tensors for each example: a dict or tuple of float32, int64 or bool `[N, ...]`."""

    tensors: Any

    def __len__(self) -> int:
        return len(tree_leaves(self.tensors)[0])

    def index_select(self, rows: torch.Tensor) -> Fields:
        """Return the examples at these positions: int64 `[M]`."""
        return Fields(tree_map(lambda tensor: tensor.index_select(0, rows), self.tensors))

    def joined(self, other: Fields) -> Fields:
        """Return the examples of both."""
        return Fields(tree_map(lambda *both: torch.cat(both), self.tensors, other.tensors))


def moved(tensors: Any, device: torch.device) -> Any:
    """Return a tensor, or a dict or tuple of tensors, on a device."""
    return tree_map(lambda tensor: tensor.to(device), tensors)


Inputs = torch.Tensor | Items | Fields | Tokens | Table | Texts


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the data: training, validation or test.

    Attributes:
        store: Where inputs are: float32 or, for an embedding, int64 `[M, *input_shape]` in memory,
            fields, sequences of tokens, or items that a data set reads; before preprocessing is
            fitted also float64, a table or texts.
        targets: int64 `[N]` or `[N, labels]`, or float32 `[N, outputs]`; always in memory.
        rows: Which of a store in memory are the part's: int64 `[N]`; None: all. The parts of all
            folds share one tensor, or fields.
        augment: Changes an input `[C, H, W]` at random, in training only.
        scaling: Mean and scale that are still to be applied, after `augment`.
        beside: Columns that are no inputs, by name: `[N]` of any dtype.
    """

    store: Inputs
    targets: torch.Tensor
    rows: torch.Tensor | None = None
    augment: Augment | None = None
    scaling: Scaling | None = None
    beside: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> Inputs:
        """The part's own inputs, in its order; a copy where they are rows of a tensor."""
        if self.rows is None or not isinstance(self.store, torch.Tensor | Fields):
            return self.store
        if isinstance(self.store, Fields):
            return self.store.index_select(self.rows)
        return self.store.index_select(0, self.rows)

    def batches(
        self,
        batch_size: int,
        order: torch.Tensor | None = None,
        draw: Draw | None = None,
        *,
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield inputs `[B, *input_shape]` and targets; the last batch may be smaller.

        Sequences of tokens are filled up to the longest of the batch: int64 `[B, longest]`. A model
        may change a batch in place: it shares no memory with the part.

        Args:
            batch_size: Examples in a batch, at least 1.
            order: Positions in this part as they are visited: int64 `[N]`; None: in its own order.
            draw: (seed, epoch) of the random draws of augmentation and of a data set's transforms;
                each example has a stream of its own. None: nothing is augmented, and every reading
                makes the same draws.
            workers: Processes that read or augment items ahead of their use: the same examples, to
                the bit. What is simply indexed needs none.
        """
        rows = torch.arange(len(self)) if order is None else order
        chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        batches = _Batches(self, chunks, draw)
        if workers and (self.augment is not None or isinstance(self.store, Items)):
            return read_ahead(batches, len(chunks), workers)
        # No map: a StopIteration of a data set would end it, as if there were no more examples.
        return (batches[number] for number in range(len(chunks)))

    def inputs_of(self, rows: int) -> Batch:
        """Return the first `rows` examples, or all, as one batch; refuse an empty part."""
        for batch in self.batches(rows, torch.arange(min(rows, len(self)))):
            return batch
        raise bad_data("This part of the data has no examples.")

    def select(self, rows: torch.Tensor) -> Part:
        """Return the examples at these positions: int64 `[M]`."""
        targets = self.targets.index_select(0, rows)
        beside = {name: cells[rows.numpy()] for name, cells in self.beside.items()}
        if isinstance(self.store, torch.Tensor | Fields):
            return replace(self, rows=self.rows_of(rows), targets=targets, beside=beside)
        store = self.store.index_select(rows)
        return replace(self, store=store, targets=targets, beside=beside)

    def joined(self, other: Part) -> Part:
        """Return all examples of two parts of one source, as it was loaded: `rows` are None."""
        one, two = cast("Any", self.store), cast("Any", other.store)
        both = torch.cat([one, two]) if isinstance(one, torch.Tensor) else one.joined(two)
        targets = torch.cat([self.targets, other.targets])
        return replace(self, store=both, targets=targets, beside={})

    def rows_of(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows of a store in memory of these positions in the part: int64 `[M]`."""
        return positions if self.rows is None else self.rows.index_select(0, positions)


class _Batches(Dataset[Batch]):
    """Whole batches of a part; what is drawn at random has a stream for each example."""

    def __init__(self, part: Part, chunks: Sequence[torch.Tensor], draw: Draw | None) -> None:
        self.part, self.chunks, self.draw = part, chunks, draw

    def __getitem__(self, number: int) -> Batch:
        part, rows = self.part, self.chunks[number]
        inputs, targets = part.store, part.targets
        if isinstance(inputs, Items):
            with seeded_globals(0, "data"):  # restores them once for all items of the batch
                items = [self._item(inputs, row) for row in inputs.rows[rows].tolist()]
            x, y = default_collate(items)
            return tuple(x) if isinstance(x, list) else x, y
        if isinstance(inputs, Fields):
            return inputs.index_select(part.rows_of(rows)).tensors, targets.index_select(0, rows)
        if isinstance(inputs, Tokens):
            return inputs.index_select(rows).padded(), targets.index_select(0, rows)
        assert isinstance(inputs, torch.Tensor)  # else its preprocessing was not fitted yet
        batch = inputs.index_select(0, part.rows_of(rows))
        if self.draw is not None and part.augment is not None:
            seed, epoch = self.draw
            with seeded_globals(0, "augment"):  # restores them once for the batch
                drawn = []
                for row, x in zip(rows.tolist(), batch, strict=True):
                    seed_globals(derive(seed, "augment", epoch, row))
                    drawn.append(part.augment(x))
            batch = torch.stack(drawn)
        return standardized(batch, part.scaling), targets.index_select(0, rows)

    def _item(self, items: Items, row: int) -> Batch:
        x, y = read_item(items.dataset, row, self.draw)
        if isinstance(x, Mapping | tuple):
            return tree_map(as_field, x if isinstance(x, tuple) else dict(x)), items.encode(y)
        inputs = as_input(x, items.dtype)
        if self.part.augment is not None and self.draw is not None:
            inputs = self.part.augment(inputs)  # goes on in the example's stream
        return inputs, items.encode(y)


def read_item(dataset: Dataset[Any], row: int, draw: Draw | None = None) -> Any:
    """Return one item of a data set, its random draws taken from the example's own stream.

    Leaves the global generators seeded: restoring them costs more than many an item, so callers
    restore them once for several.
    """
    if draw is None:
        seed_globals(derive(0, "data", row))
    else:
        seed_globals(derive(draw[0], "augment", draw[1], row))
    return dataset[row]


def as_input(x: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return an item's `x` as float32 or int64, with at least one dimension."""
    if isinstance(x, torch.Tensor):
        tensor = x.detach().to("cpu", dtype)
    else:
        tensor = float32(x) if dtype == torch.float32 else torch.as_tensor(np.asarray(x, np.int64))
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def as_field(values: Any) -> torch.Tensor:
    """Return one of an input's tensors: bool, int64 or float32."""
    tensor = torch.as_tensor(values).detach().cpu()
    if tensor.is_floating_point():
        return tensor.float()
    return tensor if tensor.dtype == torch.bool else tensor.long()


def read_ahead(batches: Dataset[Batch], count: int, workers: int) -> Iterator[Batch]:
    """Read whole batches by so many processes, which change no bit.

    Raises:
        ProcessEnded: One of them was ended.
        Exception: What reading an item raised, with the frames it came through as `frames`.
    """
    loader = DataLoader(
        _Caught(batches),
        batch_size=None,
        sampler=range(count),
        num_workers=workers,
        collate_fn=tuple,  # which an item is already: it stays
        worker_init_fn=end_with_trainer,
        # What an experiment's file defines can be forked, but not always pickled.
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        generator=torch.Generator(),  # else the loader draws from the global one
    )
    before = signal.getsignal(signal.SIGCHLD)
    read: Any = None
    try:
        read = iter(loader)
        if threading.current_thread() is threading.main_thread():
            # torch's would raise a worker's death anywhere; the loader notices it too.
            signal.signal(signal.SIGCHLD, before)
        for batch, reads in read:
            add_from_worker(reads)
            if not isinstance(batch, tuple):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise ProcessEnded(
            "A loader worker ended early.", "Is the machine out of memory?"
        ) from error
    finally:
        # Ends the processes: by the garbage collector, from an error's frames, it takes torch 5 s.
        read = None


class _Caught(Dataset[Any]):
    """A data set whose exceptions are items: torch would send just their text.

    Each item comes with what the user's code read for it.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, row: int) -> tuple[Any, Reads]:
        with observing(reads := Reads()):
            return self._item(row), reads

    def _item(self, row: int) -> Any:
        try:
            return self.dataset[row]
        except Exception as error:
            return portable(error)


def portable(error: BaseException) -> BaseException:
    """Return an exception that can be sent, with the frames it came through as `frames`."""
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    try:
        sent: BaseException = pickle.loads(pickle.dumps(error))
    except Exception:  # it cannot be sent: its message can
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.frames = getattr(error, "frames", frames)  # type: ignore[attr-defined]
    return sent


def end_with_trainer(_worker: int = 0) -> None:
    """Prepare a process: it ends with the one that trains, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # It holds what that one has open, also its locks: they must not outlive it.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        trainer = multiprocessing.parent_process()
        if trainer is None or os.getppid() != trainer.pid:
            os._exit(1)
