"""A part of the data, where all lanes read it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paribus.core.cohort.layers import padded
from paribus.core.data.part import Part
from paribus.core.tasks import Task


class Inputs:
    """A part of the data as all lanes read it.

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
