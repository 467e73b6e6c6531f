"""Rules on the design: what else changed with an axis, and what should have changed with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paribus.core.config import flatten
from paribus.core.values import show_value
from paribus.sweeps.linter.curves import LENGTH
from paribus.sweeps.linter.evidence import NO_BASELINE, AxisSeen, Evidence, SettingSeen
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import asked, levels, listed, sweep

# Keywords that make a model wider.
_WIDTHS = (
    *("hidden", "hidden_dim", "hidden_size", "hidden_units", "units", "width", "dim", "d_model"),
    *("channels", "filters", "num_filters", "embedding_dim", "embed_dim"),
)
_RATES = ("lr", "learning_rate")
_FACTORS = (0.3, 3.0)  # learning rates to try where the axis shifts the best one a little,
_WIDE_FACTORS = (0.1, 10.0, 100.0)  # and where each level has a scale of its own


def derived_quantity(evidence: Evidence) -> list[Seen]:
    """An axis along which the number of updates, or the engine, changed as well.

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
    """Levels that lost with the baseline's learning rate, on an axis that shifts the best one.

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
    """The key of the baseline's learning rate, and its level."""
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
    """(baseline's, level's) of a derived quantity, of the settings where it changed."""
    pairs = [setting.derived[name] for setting in settings if name in setting.derived]
    return [pair for pair in pairs if None not in pair and 0 not in pair]


def _pairs(pairs: Sequence[Sequence[Any]]) -> str:
    """``1000 → 8000 and 200``"""
    others = list(dict.fromkeys(show_value(pair[1]) for pair in pairs))
    return f"{show_value(pairs[0][0])} → {listed(others)}"
