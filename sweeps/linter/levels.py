"""Rules on the levels that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from paribus.core.values import show_value
from paribus.sweeps.linter.evidence import NO_BASELINE, AxisSeen, Evidence
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import figure, levels, sweep

# Hyperparameters that stay below 1.
_BELOW_ONE = ("dropout", "momentum", "label_smoothing")
_FACTOR = 2  # from this ratio of the last two on, levels are taken to be factors apart
_MOST, _MOST_WHOLE = math.sqrt(10), 4  # the largest factor to go on by


def edge_of_axis(evidence: Evidence) -> list[Seen]:
    """A numeric axis whose best level is the first or the last of those tried.

    It must be better than the baseline's by more than the margin: a hair's breadth at the edge
    promises nothing beyond it. Levels that failed count as tried. Where the hyperparameter cannot
    go further, at 0 or at a single unit, nothing is said.
    """
    axes = [axis for axis in evidence.axes if _all_numbers([axis.baseline, *axis.levels])]
    if axes and evidence.baseline is None:
        return not_judged(NO_BASELINE)
    return [seen for axis in axes if (seen := _edge(axis, evidence))]


def _edge(axis: AxisSeen, evidence: Evidence) -> Seen | None:
    on_axis = evidence.on(axis.key)
    tried = sorted({axis.baseline, *[s.level for s in on_axis if s.values or s.failures]})
    gains = {s.level: gain for s in on_axis if (gain := evidence.gain(s)) is not None}
    if not gains:
        return None
    best = max(gains, key=lambda level: gains[level])
    if gains[best] <= (evidence.margin or 0.0) or best not in (tried[0], tried[-1]):
        return None
    beyond = _beyond(axis, tried if best == tried[-1] else tried[::-1])
    if not beyond:
        return None
    go_on = sweep(evidence, [levels(axis.key, beyond)], "--study", evidence.study)
    which = "highest" if best == tried[-1] else "lowest"
    return Seen(
        f"the best level of {axis.key}, {show_value(best)}, is the {which} one tried "
        f"({evidence.metric} better by {figure(gains[best])} than the baseline's "
        f"{show_value(axis.baseline)}). Go on: {go_on}",
        axis.key,
    )


def _beyond(axis: AxisSeen, tried: Sequence[Any]) -> list[Any]:
    """Two levels further on than the last one; fewer where there is no more room.

    Args:
        axis: The axis.
        tried: Its levels in the order in which they lead to the edge.
    """
    whole = all(isinstance(level, int) for level in tried)
    floor = (1 if whole else 0) if min(tried) >= 0 else -math.inf
    before, last = tried[-2:]
    found: list[Any] = []
    for number in (1, 2):
        if axis.key.split(".")[-1] in _BELOW_ONE and before < tried[-1] < 1:
            new = 1 - (1 - tried[-1]) / 2**number
        elif min(tried) > 0 and (axis.log or max(before, tried[-1]) >= _FACTOR * min(tried[-2:])):
            most = _MOST_WHOLE if whole else _MOST
            new = tried[-1] * min(max(tried[-1] / before, 1 / most), most) ** number
        else:
            new = tried[-1] + number * (tried[-1] - before)
        new = max(round(new), floor) if whole else _rounded(new, last)
        if new == last or new < floor:
            break
        found.append(new)
        last = new
    return found


def _rounded(value: float, before: float) -> float:
    """The shortest number near a value that is still beyond the one before."""
    for digits in range(1, 6):
        short = float(f"{value:.{digits}g}")
        if (short > before) is (value > before) and short != before:
            return short
    return value


def _all_numbers(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
