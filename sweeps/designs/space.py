"""Where a sampler proposes levels: a range of numbers, or the levels of a list as categories."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from paribus.core.config import with_value
from paribus.core.values import show_value
from paribus.sweeps.axes import Axis, Level
from paribus.sweeps.levels import Range


class Space(Protocol):
    """The possible levels of an axis.

    Attributes:
        distribution: Optuna's.
        baseline: The baseline's level as Optuna knows it; None where it lies outside.
    """

    distribution: Any
    baseline: float | str | None

    def around(self, proposed: Any) -> Iterator[Any]:
        """The level that is nearest to a proposal, then the others, nearest first."""

    def level(self, chosen: Any) -> Level:
        """The level that is known to Optuna by this."""


class Numbers:
    """A range: whole numbers, or numbers of three digits, so that labels read well."""

    def __init__(self, axis: Axis, range: Range, configuration: Mapping[str, Any]) -> None:
        from optuna.distributions import FloatDistribution, IntDistribution

        self._key, self._range, self._configuration = axis.key, range, configuration
        self.distribution: Any
        if range.whole:
            self.distribution = IntDistribution(int(range.low), int(range.high), log=range.log)
        else:
            self.distribution = FloatDistribution(range.low, range.high, log=range.log)
        number = type(axis.baseline) in (int, float)
        self.baseline = (
            axis.baseline if number and range.low <= axis.baseline <= range.high else None
        )
        # A narrow range far from zero needs more: 0.99:0.9999 has two numbers of three digits.
        widest = max(abs(range.low), abs(range.high))
        self._digits = 3 + math.floor(math.log10(max(1.0, widest / (range.high - range.low))))

    def around(self, proposed: float) -> Iterator[float]:
        low, high = self._range.low, self._range.high
        yield self._rounded(proposed)
        size = abs(proposed) or high - low
        step = 1 if self._range.whole else 10 ** (1 - self._digits + math.floor(math.log10(size)))
        for steps in itertools.count(1):
            both = (proposed - steps * step, proposed + steps * step)
            inside = [number for number in both if low <= number <= high]
            if not inside:
                return
            yield from map(self._rounded, inside)

    def level(self, chosen: float) -> Level:
        return Level(chosen, show_value(chosen), with_value(self._configuration, self._key, chosen))

    def _rounded(self, number: float) -> float:
        if self._range.whole:
            return int(number)
        rounded = float(f"{number:.{self._digits}g}")
        return min(max(rounded, self._range.low), self._range.high)


class Categories:
    """The levels of a list, and the baseline's."""

    def __init__(self, axis: Axis) -> None:
        from optuna.distributions import CategoricalDistribution

        self._by_text = {level.text: level for level in axis.levels}
        self.baseline: float | str | None = axis.baseline_text
        self.distribution: Any = CategoricalDistribution([self.baseline, *self._by_text])

    def around(self, proposed: str) -> Iterator[str]:
        yield proposed
        yield from self._by_text

    def level(self, chosen: str) -> Level:
        return self._by_text[chosen]
