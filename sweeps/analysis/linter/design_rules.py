"""Rules on the design: what else changed with an axis, and what should have changed with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from paribus.core.config.schema import flatten
from paribus.core.config.values import show_value
from paribus.sweeps.analysis.linter.evidence import (
    LENGTH,
    NO_BASELINE,
    AxisSeen,
    Evidence,
    Seen,
    SettingSeen,
    asked,
    figure,
    levels,
    listed,
    not_judged,
    sweep,
    sweep_again,
)

# Keywords that make a model wider.
_WIDTHS = (
    *("hidden", "hidden_dim", "hidden_size", "hidden_units", "units", "width", "dim", "d_model"),
    *("channels", "filters", "num_filters", "embedding_dim", "embed_dim"),
)
_RATES = ("lr", "learning_rate")
_FACTORS = (0.3, 3.0)  # learning rates to try where the axis shifts the best one a little,
_WIDE_FACTORS = (0.1, 10.0, 100.0)  # and where each level has a scale of its own


def derived_quantity(evidence: Evidence) -> list[Seen]:
    """Find an axis along which the number of updates, or the engine, changed as well.

    Other derived quantities, such as the parameters of a wider model, are the axis itself.
    """
    seen = []
    for axis in evidence.axes:
        on_axis = evidence.on(axis.key)
        if axis.key not in LENGTH and (more := _derived(on_axis, "updates")):
            again = sweep(evidence, [asked(axis)], "--set", f"train.updates={more[0][0]}")
            seen.append(Seen(
                f"{axis.key} changed the number of updates too: {_pairs(more)}. "
                f"To keep their number: {again}",
                axis.key,
            ))  # fmt: skip
        if other := _derived(on_axis, "engine"):
            again = sweep(evidence, [asked(axis)], "--engine", "loop")
            seen.append(Seen(
                f"{axis.key} changed the engine too: {_pairs(other)}. "
                f"To train all by the same: {again}",
                axis.key,
            ))  # fmt: skip
    return seen


def not_tuned_again(evidence: Evidence) -> list[Seen]:
    """Find levels that lost with the baseline's learning rate where another may be best.

    Such axes are the batch size, the width of the model, the model and the optimizer. A level that
    loses by more than the margin may only want another learning rate; one that does as well, or
    better, has nothing to prove, and one that brings its own was given it.
    """
    rate = _learning_rate(evidence)
    axes = [axis for axis in evidence.axes if _shifts_rate(axis.key)]
    if rate is None or not axes:
        return []
    if evidence.baseline is None:
        return not_judged(NO_BASELINE)
    return [seen for axis in axes if (seen := _untuned(axis, rate, evidence))]


def _untuned(axis: AxisSeen, rate: tuple[str, float], evidence: Evidence) -> Seen | None:
    key, value = rate
    lost: dict[str, float] = {}
    for setting in evidence.on(axis.key):
        gain = evidence.gain(setting)
        own = key in setting.derived or any(f"{name}=" in show_value(setting.level)
                                            for name in _RATES)  # fmt: skip
        if gain is not None and gain < -(evidence.margin or 0.0) and not own:
            lost[setting.label] = gain
    if not lost:
        return None
    nearest = max(lost, key=lambda label: lost[label])
    factors = _WIDE_FACTORS if axis.key in ("optimizer", "model") else _FACTORS
    rates = [float(f"{value * factor:.1g}") for factor in factors]
    tune = sweep(evidence, [levels(key, rates)], "--set", nearest)
    did = "does" if len(lost) == 1 else "do"
    return Seen(
        f"{listed([*lost])} {did} worse than the baseline, all with its {key} "
        f"{show_value(value)}, which usually has to be tuned again along {axis.key}. "
        f"Tune it there: {tune}",
        axis.key,
    )


def _learning_rate(evidence: Evidence) -> tuple[str, float] | None:
    """Return the key of the baseline's learning rate, and its level."""
    for key, value in flatten(evidence.configuration).items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key.split(".")[-1] in _RATES and number and value > 0:
            return key, value
    return None


def _shifts_rate(key: str) -> bool:
    group, last = key.split(".")[0], key.split(".")[-1]
    wider = last in _WIDTHS and group in ("model", "script")
    return key in ("optimizer", "model") or last == "batch_size" or wider


def _derived(settings: Sequence[SettingSeen], name: str) -> list[Sequence[Any]]:
    """Return (baseline's, level's) of a derived quantity, of the settings where it changed."""
    pairs = [setting.derived[name] for setting in settings if name in setting.derived]
    return [pair for pair in pairs if None not in pair and 0 not in pair]


def _pairs(pairs: Sequence[Sequence[Any]]) -> str:
    """Return ``1000 → 8000 and 200``"""
    others = list(dict.fromkeys(show_value(pair[1]) for pair in pairs))
    return f"{show_value(pairs[0][0])} → {listed(others)}"


# Rules on the levels that were tried.


# Hyperparameters that stay below 1.
_BELOW_ONE = ("dropout", "momentum", "label_smoothing")
_FACTOR = 2  # from this ratio of the last two on, levels are taken to be factors apart
_MOST, _MOST_WHOLE = math.sqrt(10), 4  # the largest factor to go on by


def edge_of_axis(evidence: Evidence) -> list[Seen]:
    """Find a numeric axis whose best level is the first or the last of those tried.

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
    """Return two levels further on than the last one; fewer where there is no more room.

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
    """Return the shortest number near a value that is still beyond the one before."""
    for digits in range(1, 6):
        short = float(f"{value:.{digits}g}")
        if (short > before) is (value > before) and short != before:
            return short
    return value


def _all_numbers(values: Sequence[Any]) -> bool:
    return len(values) > 1 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


# Rules on the data.


_OF_TWO = 2.0  # times as frequent, from which on guessing the same class always looks good
_OF_MANY = 3.0


def accuracy_alone(evidence: Evidence) -> list[Seen]:
    """Find that accuracy chooses the best epoch and the winner, and the classes are unbalanced.

    The validation examples are counted by the rows of the baseline's confusion matrix. Of two
    classes one must be more than twice as frequent as the other, of more the most frequent more
    than three times as the rarest. Of several labels, yes and no are counted over all of them.
    """
    if evidence.metric.split("/")[-1] != "accuracy":
        return []
    if evidence.baseline is None:
        return not_judged(NO_BASELINE)
    counts = _counts(evidence.confusion_matrix)
    if counts is None:
        return not_judged("the runs do not say how many examples each class has")
    most, least = max(counts), min(counts)
    if most <= (_OF_TWO if len(counts) == 2 else _OF_MANY) * least:
        return []
    share = most / sum(counts)
    again = sweep_again(evidence, [None], "--set", "select.metric=val/f1")
    return [Seen(
        f"{evidence.metric} chooses, and the classes are unbalanced: {most} validation examples "
        f"of the most frequent, {least} of the rarest. Always naming the most frequent gives "
        f"{figure(share)}. Choose by F1, as a study of its own: {again}"
    )]  # fmt: skip


def _counts(matrix: Sequence[Sequence[object]] | None) -> list[int] | None:
    """Return validation examples of each class; of several labels those of no and of yes."""
    if not matrix or not matrix[0]:
        return None
    if isinstance(matrix[0][0], Sequence):
        rows: list[list[int]] = [[_sum(row) for row in label] for label in matrix]  # type: ignore[arg-type]
        counts = [sum(column) for column in zip(*rows, strict=True)]
    else:
        counts = [_sum(row) for row in matrix]
    return counts if len(counts) > 1 and sum(counts) else None


def _sum(row: Sequence[object]) -> int:
    return sum(int(count) for count in row)  # type: ignore[call-overload]
