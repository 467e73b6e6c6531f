"""What every design keeps to, and how a setting ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from paribus.sweeps.study.settings import Setting

# Label to seed to the selection metric of that seed's finished run; None: the run failed.
Values = Mapping[str, Mapping[int, float | None]]
Wanted = list[tuple[Setting, tuple[int, ...]]]


class Design(Protocol):
    """Proposes settings in rounds.

    Attributes:
        size: How many settings it proposes at most.
    """

    size: int

    def propose(self, values: Values) -> Wanted:
        """The settings at hand, each with those of its seeds that have no value yet.

        It follows from the design and the values alone: the same values give the same answer,
        whatever was asked before. So what has been trained without a result is wanted again, and
        who asks decides whether to try again.

        Args:
            values: What has been found.

        Returns:
            Nothing when the design is done.
        """

    def pruned(self, values: Values) -> Collection[str]:
        """Labels of the settings that get no more seeds, as their first ones lose."""


@dataclass(frozen=True)
class Ended:
    """A setting that gets no more seeds, as Optuna is told of it.

    Attributes:
        level: As Optuna knows it: a number of a range, else the level's text.
        values: The selection metric of its first seeds, in order.
        state: ``failed`` if one of its seeds did.
    """

    level: float | str | None
    values: tuple[float, ...]
    state: Literal["complete", "failed", "pruned"]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)
