"""One part of the data, and how its batches are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from paribus.core.data.ahead import read_ahead
from paribus.core.data.arrays import float32
from paribus.core.data.standardize import standardized
from paribus.core.data.tables import Table
from paribus.core.data.texts import Texts, Tokens
from paribus.core.errors import RequestError
from paribus.core.seeding import derive, seed_globals, seeded_globals

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
        """The examples at these positions."""
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
        """Inputs float32 `[B, *input_shape]` and targets, batch by batch; the last may be smaller.

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
        """The first `rows` examples as one batch (all of them where there are fewer).

        Raises:
            RequestError: The part is empty.
        """
        for batch in self.batches(rows):
            return batch
        raise RequestError("This part of the data has no examples.", kind="data")

    def select(self, rows: torch.Tensor) -> Part:
        """The examples at these positions: int64 `[M]`."""
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
    """One item of a data set, its random draws taken from the example's own stream.

    Leaves the global generators seeded: restoring them costs more than many an item, so whoever
    reads several restores them once.
    """
    seed_globals(
        derive(0, "data", row) if draw is None else derive(draw[0], "augment", draw[1], row)
    )
    return dataset[row]


def as_input(x: Any) -> torch.Tensor:
    """An item's `x` as float32 with at least one dimension."""
    tensor = x.detach().to("cpu", torch.float32) if isinstance(x, torch.Tensor) else float32(x)
    return tensor.reshape(1) if tensor.ndim == 0 else tensor
