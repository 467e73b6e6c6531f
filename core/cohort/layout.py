"""Where a chain's parameters lie in a lane's flat row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from paribus.core.cohort.chain import Chain, Dense
from paribus.core.cohort.layers import padded

_SEGMENT = 32  # floats


@dataclass(frozen=True)
class Place:
    """A parameter's place: its beginning, its shape, and its shape with padding."""

    begin: int
    shape: tuple[int, ...]
    room: tuple[int, ...]

    @property
    def length(self) -> int:
        found = 1
        for side in self.room:
            found *= side
        return found

    def of(self, rows: Tensor) -> Tensor:
        """`[lanes, *room]` of rows `[lanes, parameters]`: a view."""
        part = rows[:, self.begin : self.begin + self.length]
        return part.view(len(rows), *self.room)


class Layout:
    """The places of all parameters, by name, in the order of the chain.

    Attributes:
        places: Name to place.
        length: Floats in a row.
    """

    def __init__(self, chain: Chain) -> None:
        self.places: dict[str, Place] = {}
        self.length = 0
        for step in chain.steps:
            if isinstance(step, Dense):
                self._put(step.weight, (step.outputs, step.inputs))
                if step.bias is not None:
                    self._put(step.bias, (step.outputs,))

    def _put(self, name: str, shape: tuple[int, ...]) -> None:
        place = Place(self.length, shape, tuple(padded(side) for side in shape))
        self.places[name] = place
        self.length += padded(place.length, _SEGMENT)

    def write(self, row: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Puts a lane's parameters into its row `[parameters]`."""
        for name, place in self.read(row).items():
            place.copy_(tensors[name])

    def read(self, row: Tensor) -> dict[str, Tensor]:
        """A lane's parameters, without padding: views of its row."""
        return {
            name: _inside(place.of(row.unsqueeze(0))[0], place.shape)
            for name, place in self.places.items()
        }


def _inside(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor[tuple(slice(side) for side in shape)]
