"""What a cohort computes: a chain of dense layers, activations and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from paribus.core.models import Dropout


class NoChain(Exception):
    """Why a module is no chain. One clause, for `show`."""


@dataclass(frozen=True)
class Dense:
    """A linear layer by the names of its parameters; `bias` may be None."""

    weight: str
    bias: str | None
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Activation:
    """An elementwise function of `layers.ACTIVATIONS`, with its numbers."""

    kind: str
    numbers: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Drop:
    """Dropout by the name of its layer and of its stream; how much of it is each lane's own."""

    layer: str
    stream: str


Step = Dense | Activation | Drop


@dataclass(frozen=True)
class Chain:
    """What a module computes from flat inputs `[N, inputs]` to outputs `[N, outputs]`."""

    inputs: int
    outputs: int
    steps: tuple[Step, ...]


def dropout_rates(model: nn.Module) -> dict[str, int]:
    """Of each dropout layer by name: of 65536 numbers, how many are dropped."""
    return {
        name: min(round(module.p * 65536), 65535)
        for name, module in model.named_modules()
        if type(module) in (Dropout, nn.Dropout)
    }
