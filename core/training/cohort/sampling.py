"""What members read and draw: the padded data, the order of examples, the noise of dropout.

Order and noise come from the streams that the loop takes them from (`paribus.core.rng`), and equal
seeds share them. Noise is drawn for some steps at a time: drawing it step by step would take twice
as long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from paribus.core.components.tasks import Task
from paribus.core.data.loader import Draw, Part
from paribus.core.rng import epoch_order, stream
from paribus.core.training.cohort.kernels import padded


@dataclass(frozen=True, eq=False)
class PaddedPart:
    """A part of the data as members read it: each its own rows of one tensor of examples.

    Attributes:
        x: float32 `[M, inputs]`, its columns padded; the data's own memory where it fits.
        loss_targets: As losses take them: int64 `[M]`, or float32 `[M, outputs]`, padded likewise.
        targets: As the part has them.
        rows: The members' rows, int64 `[members, N]`; `[1, N]` where all have the same.
    """

    x: Tensor
    loss_targets: Tensor
    targets: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return self.rows.shape[1]

    def of(self, members: Sequence[int]) -> PaddedPart:
        """Return the part as some of its members read it."""
        return self if len(self.rows) == 1 else replace(self, rows=self.rows[list(members)])

    def targets_of(self, members: int) -> Tensor:
        """Return the targets of so many members, each in the order of its part: `[members, …]`."""
        targets = self.targets[self.rows]
        return targets.expand(members, *targets.shape[1:])

    def rows_of(self, positions: Tensor) -> Tensor:
        """Return the rows of positions in the part: both int64 `[steps, members, B]`."""
        return self.rows.expand(len(positions), positions.shape[1], -1).gather(2, positions)

    def batch(self, begin: int, size: int, filled: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of some positions, filled up with zeros to so many rows.

        Both are `[members, rows, …]`, or `[1, rows, …]` where all members have the same.
        """
        rows = self.rows[:, begin : begin + size]
        found = []
        for values in (self.x, self.loss_targets):
            chosen = values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])
            shape = [len(rows), filled, *values.shape[1:]]
            found.append(chosen if filled == size else _padded_copy(chosen, shape))
        return found[0], found[1]


def padded_parts(
    parts: Sequence[Sequence[Part]], task: Task, device: torch.device
) -> list[PaddedPart]:
    """Return parts as members read them.

    Args:
        parts: For each part that is wanted, such as training and validation, that of each member;
            equally large.
        task: Of all of them.
        device: Where they are to lie.
    """
    begins: dict[int, int] = {}  # by identity: the parts of a fold share a store
    inputs: list[Tensor] = []
    for part in chain.from_iterable(parts):
        assert isinstance(part.store, Tensor)
        if id(part.store) not in begins:
            begins[id(part.store)] = sum(map(len, inputs))
            inputs.append(part.store.flatten(1))
    x = _pad_units(inputs[0] if len(inputs) == 1 else torch.cat(inputs)).to(device)
    first = parts[0][0].targets
    targets = first.new_zeros(len(x), *first.shape[1:])
    tables = []
    for members in parts:
        found: dict[int, Tensor] = {}
        for part in members:
            if id(part) not in found:
                found[id(part)] = part.rows_of(torch.arange(len(part))) + begins[id(part.store)]
                targets[found[id(part)]] = part.targets
        rows = [found[id(part)] for part in members] if len(found) > 1 else [*found.values()]
        tables.append(torch.stack(rows).to(device))
    loss_targets = _pad_units(task.loss_targets(targets)).to(device)
    targets = targets.to(device)
    return [PaddedPart(x, loss_targets, targets, rows) for rows in tables]


def _pad_units(values: Tensor) -> Tensor:
    """Return `[N]`, or `[N, units]` with padded units, beginning at a multiple of 64 bytes."""
    shape = [len(values), *(padded(side) for side in values.shape[1:])]
    if list(values.shape) == shape and values.is_contiguous() and values.data_ptr() % 64 == 0:
        return values
    return _padded_copy(values, shape)


def _padded_copy(values: Tensor, shape: Sequence[int]) -> Tensor:
    copy = values.new_zeros(shape)
    copy[tuple(slice(side) for side in values.shape)] = values
    return copy


class Orders:
    """The members' orders in an epoch.

    Args:
        draws: Seed and epoch of each member.
        train: Examples of the training part.
        used: Examples of the epoch.
        batch_size: Examples of a full batch.
        rows: Of each batch, filled up.

    Attributes:
        rows: int64 `[steps, members, rows]`: positions in the training part. What fills up a batch
            is its first example, whose copies count nothing.
        sizes: The examples in each step's batch.
        digests: sha256 of each member's order.
    """

    def __init__(
        self, draws: Sequence[Draw], train: int, used: int, batch_size: int, rows: int
    ) -> None:
        distinct = list(dict.fromkeys(draws))
        orders = torch.stack([epoch_order(seed, epoch, train)[:used] for seed, epoch in distinct])
        members = [distinct.index(draw) for draw in draws]
        digests = [hashlib.sha256(order.numpy().tobytes()).hexdigest() for order in orders]
        self.digests = [digests[member] for member in members]
        self.sizes = [min(batch_size, used - at) for at in range(0, used, batch_size)]
        filled = orders[:, ::batch_size].unsqueeze(2).repeat(1, 1, rows)
        full = used // batch_size  # batches
        batches = orders[:, : full * batch_size].view(len(distinct), full, batch_size)
        filled[:, :full, :batch_size] = batches
        if full < len(self.sizes):
            filled[:, full, : self.sizes[-1]] = orders[:, full * batch_size :]
        self.rows = filled.transpose(0, 1)[:, members].contiguous()


_BYTES = 1 << 24  # of noise that is kept


def noise(
    name: str, draws: Sequence[Draw], sizes: Sequence[int], shape: tuple[int, int, int]
) -> Iterator[Tensor]:
    """Yield the noise of one dropout layer, step by step: int16 `[draws, rows, units]`.

    It is drawn as `models.Dropout` draws it: for each batch 16 bits per element that is no padding,
    four to a 64-bit draw.

    Args:
        name: Of the layer's stream.
        draws: Seeds and epochs, each once.
        sizes: The examples in each step's batch.
        shape: Rows and units with their padding, and units without.
    """
    rows, padded_units, units = shape
    generators = [stream(seed, "dropout", epoch, name) for seed, epoch in draws]
    bytes_per_step = 2 * rows * padded_units * len(draws)
    steps = min(max(1, _BYTES // bytes_per_step), len(sizes))
    kept = torch.zeros(len(draws), steps, rows, padded_units, dtype=torch.int16)
    for start in range(0, len(sizes), steps):
        block = sizes[start : start + steps]
        for of_draw, generator in zip(kept, generators, strict=True):
            _draw(of_draw, block, units, generator)
        for step in range(len(block)):
            yield kept[:, step]


def _draw(kept: Tensor, sizes: Sequence[int], units: int, generator: torch.Generator) -> None:
    """Draw the noise of some steps' batches into `[steps, rows, units]`."""
    # All batches are of one size, but for an epoch's last.
    full = next((i for i, size in enumerate(sizes) if size != sizes[0]), len(sizes))
    for some, size in ((kept[:full], sizes[0]), (kept[full : len(sizes)], sizes[-1])):
        in_place = some.shape[1:] == (size, units)  # without padding
        draws = (size * units + 3) // 4
        bits = (
            some.view(torch.int64) if in_place else torch.empty(len(some), draws, dtype=torch.int64)
        )
        bits.random_(-(2**63), None, generator=generator)
        if not in_place:
            drawn = bits.view(torch.int16)[:, : size * units]
            some[:, :size, :units] = drawn.view(len(some), size, units)
