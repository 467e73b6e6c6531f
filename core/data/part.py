"""One part of the data, and how its batches are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from core.data.arrays import float32
from core.errors import RequestError
from core.seeding import derive, seed_globals, seeded_globals

Draw = tuple[int, int]
Batch = tuple[torch.Tensor, torch.Tensor]


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


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the data: training, validation or test.

    Attributes:
        inputs: float32 `[N, *input_shape]` in memory, or items that a data set reads.
        targets: int64 `[N]` or float32 `[N, outputs]`; always in memory.
    """

    inputs: torch.Tensor | Items
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batches(
        self, batch_size: int, order: torch.Tensor | None = None, draw: Draw | None = None
    ) -> Iterator[Batch]:
        """Inputs float32 `[B, *input_shape]` and targets, batch by batch; the last may be smaller.

        Args:
            batch_size: Examples in a batch, at least 1.
            order: Positions in this part, in the order of the visit: int64 `[N]`. Without it the
                examples come as they stand; batches in memory are then views, not copies.
            draw: (seed, epoch) of the random draws that a data set's own transforms make; each
                example has a stream of its own. Without it every reading makes the same draws.
                Parts in memory draw nothing.

        Yields:
            Pairs of inputs and targets.
        """
        if isinstance(self.inputs, Items):
            return self._read(self.inputs, batch_size, order, draw)
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
        if isinstance(self.inputs, Items):
            inputs: torch.Tensor | Items = self.inputs.index_select(rows)
        else:
            inputs = self.inputs.index_select(0, rows)
        return Part(inputs, self.targets.index_select(0, rows))

    def _indexed(
        self, inputs: torch.Tensor, batch_size: int, order: torch.Tensor | None
    ) -> Iterator[Batch]:
        for start in range(0, len(self) if order is None else len(order), batch_size):
            some = slice(start, start + batch_size)
            if order is None:
                yield inputs[some], self.targets[some]
            else:
                rows = order[some]
                yield inputs.index_select(0, rows), self.targets.index_select(0, rows)

    def _read(
        self, items: Items, batch_size: int, order: torch.Tensor | None, draw: Draw | None
    ) -> Iterator[Batch]:
        rows = items.rows if order is None else items.rows.index_select(0, order)
        loader = DataLoader(
            _Reader(items, draw),
            batch_size,
            sampler=rows.tolist(),
            generator=torch.Generator(),  # else the loader draws from the global one
        )
        batches = iter(loader)
        for _ in range(len(loader)):
            with seeded_globals(0, "data"):  # restores them once for all items of the batch
                inputs, targets = next(batches)
            yield inputs, targets


class _Reader(Dataset[Batch]):
    """Items as the default collate needs them: float32 inputs and encoded targets."""

    def __init__(self, items: Items, draw: Draw | None) -> None:
        self.items = items
        self.draw = draw

    def __getitem__(self, row: int) -> Batch:
        x, y = read_item(self.items.dataset, row, self.draw)
        return as_input(x), self.items.encode(y)


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
