"""What members read and draw: the data padded, the order of examples, the noise of dropout.

Order and noise come from the streams that the loop takes them from (`paribus.core.rng`), and equal
seeds share them. Noise is drawn for some steps at a time: drawing for each step would take twice as
long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from paribus.core.components.tasks import Task
from paribus.core.data.loader import Draw, Part
from paribus.core.rng import epoch_order, stream
from paribus.core.training.cohort.layer_kernels import padded


class PaddedPart:
    """A part of the data as all members read it.

    Attributes:
        x: float32 `[N, inputs]`, its columns padded; where they need not be, the part's own.
        aims: The targets as losses take them: int64 `[N]`, or float32 `[N, outputs]`, so padded.
        targets: As the part has them.
    """

    def __init__(self, part: Part, task: Task, device: torch.device) -> None:
        assert isinstance(part.inputs, Tensor)
        aims = task.aims(part.targets)
        self.x = _wide(part.inputs.flatten(1)).to(device)
        self.aims = _wide(aims).to(device)
        self.targets = part.targets.to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, begin: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs and aims of some rows, filled up with rows of zeros."""
        rows = slice(begin, begin + size)
        return _long(self.x[rows]), _long(self.aims[rows])


def _wide(values: Tensor) -> Tensor:
    """`[N]`, or `[N, units]` with its units filled up, beginning at a multiple of 64 bytes."""
    shape = [len(values), *(padded(side) for side in values.shape[1:])]
    if list(values.shape) == shape and values.is_contiguous() and values.data_ptr() % 64 == 0:
        return values
    return _within(values, shape)


def _long(values: Tensor) -> Tensor:
    """The same with its rows filled up."""
    rows = padded(len(values))
    return values if rows == len(values) else _within(values, [rows, *values.shape[1:]])


def _within(values: Tensor, shape: Sequence[int]) -> Tensor:
    room = values.new_zeros(shape)
    room[tuple(slice(side) for side in values.shape)] = values
    return room


_BYTES = 1 << 24  # of noise that is kept


class Orders:
    """The members' orders in an epoch.

    Attributes:
        rows: int64 `[steps, members, rows]`: positions in the training part; a batch that is filled
            up repeats its first example, which then counts nothing.
        sizes: The examples in each step's batch.
        digests: sha256 of each member's order.
    """

    def __init__(self, draws: Sequence[Draw], train: int, used: int, batch_size: int) -> None:
        distinct = list(dict.fromkeys(draws))
        orders = torch.stack([epoch_order(seed, epoch, train)[:used] for seed, epoch in distinct])
        members = [distinct.index(draw) for draw in draws]
        digests = [hashlib.sha256(order.numpy().tobytes()).hexdigest() for order in orders]
        self.digests = [digests[member] for member in members]
        self.sizes = [min(batch_size, used - at) for at in range(0, used, batch_size)]
        filled = orders[:, ::batch_size].unsqueeze(2).repeat(1, 1, padded(batch_size))
        whole = used // batch_size
        filled[:, :whole, :batch_size] = orders[:, : whole * batch_size].view(
            len(distinct), whole, batch_size
        )
        if whole < len(self.sizes):
            filled[:, whole, : self.sizes[-1]] = orders[:, whole * batch_size :]
        self.rows = filled.transpose(0, 1)[:, members].contiguous()


def noise(
    name: str, draws: Sequence[Draw], sizes: Sequence[int], shape: tuple[int, int, int]
) -> Iterator[Tensor]:
    """The noise of one dropout layer, step by step: int16 `[members, rows, units]`.

    As `models.Dropout` draws it: for each batch 16 bits per element that is no padding, four
    to a 64-bit draw.

    Args:
        name: Of the layer's stream.
        draws: Seed and epoch of each member.
        sizes: The examples in each step's batch.
        shape: Rows and units with their padding, and units without.
    """
    rows, wide, units = shape
    distinct = list(dict.fromkeys(draws))
    members = None if distinct == list(draws) else torch.tensor([*map(distinct.index, draws)])
    generators = [stream(seed, "dropout", epoch, name) for seed, epoch in distinct]
    some = min(max(1, _BYTES // (2 * rows * wide * len(distinct))), len(sizes))
    room = torch.zeros(some, len(distinct), rows, wide, dtype=torch.int16)
    for start in range(0, len(sizes), some):
        block = sizes[start : start + some]
        for member, generator in enumerate(generators):
            _fill(room[:, member], block, units, generator)
        for step in range(len(block)):
            yield room[step] if members is None else room[step].index_select(0, members)


def _fill(room: Tensor, sizes: Sequence[int], units: int, generator: torch.Generator) -> None:
    """Draws for the batches of some steps into `[steps, rows, units]`."""
    draws = [(size * units + 3) // 4 for size in sizes]
    bits = torch.empty(sum(draws), dtype=torch.int64)
    bits.random_(-(2**63), None, generator=generator)
    drawn = bits.view(torch.int16)
    whole = next((i for i, size in enumerate(sizes) if size != sizes[0]), len(sizes))
    size, used = sizes[0], 4 * draws[0]
    many = drawn[: whole * used].view(whole, used)[:, : size * units].view(whole, size, units)
    room[:whole, :size, :units] = many
    if whole < len(sizes):
        last = drawn[whole * used :][: sizes[whole] * units]
        room[whole, : sizes[whole], :units] = last.view(sizes[whole], units)
