"""The baseline, and one hyperparameter changed at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.config import Direction
from paribus.sweeps.axes import Axis
from paribus.sweeps.designs.axis_rounds import AxisRounds
from paribus.sweeps.designs.design import Values, Wanted
from paribus.sweeps.search import USUAL_SEARCH, Search
from paribus.sweeps.settings import BASELINE, baseline_setting


class OneAtATime:
    """The baseline, and for each axis its levels with all else left alone.

    Levels of a list are all tried, those of a range are proposed by a sampler. No axis informs
    another.

    Args:
        baseline: The baseline's configuration as asked.
        axes: What to try.
        seeds: Of each setting.
        direction: ``maximize`` or ``minimize``.
        search: How levels are proposed and settings pruned.
    """

    def __init__(
        self,
        baseline: Mapping[str, Any],
        axes: Sequence[Axis],
        seeds: Sequence[int],
        direction: Direction,
        search: Search = USUAL_SEARCH,
    ) -> None:
        self._baseline, self._seeds = baseline_setting(baseline), seeds
        self._axes = [AxisRounds(axis, baseline, seeds, direction, search) for axis in axes]
        self.size = 1 + sum(axis.size for axis in self._axes)

    def propose(self, values: Values) -> Wanted:
        missing = tuple(seed for seed in self._seeds if seed not in values.get(BASELINE, {}))
        wanted = [(self._baseline, missing)] if missing else []
        return wanted + [each for axis in self._axes for each in axis.wanted(values)]

    def pruned(self, values: Values) -> list[str]:
        return [label for axis in self._axes for label in axis.pruned(values)]
