"""The rule on the form of curves: whom the choice of the best epoch favours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from paribus.core.config import get
from paribus.sweeps.linter.curves import FEWEST, Curve, curves_of, fifth
from paribus.sweeps.linter.evidence import NO_BASELINE, Evidence
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import figure, listed, sweep_again

_NEAR = 2  # epochs on either side
_SHARE = 1 / 5  # of a difference


def different_curves(evidence: Evidence) -> list[Seen]:
    """Settings that the choice of the best epoch favours more, or less, than the baseline.

    The best of many epochs that jump lies above what the model is worth; the best of a smooth
    curve does not. This optimism of a setting is, mean over seeds, the best value less the mean of
    the last fifth of the epochs, or less the straight line through the two epochs on either side
    of the best, whichever is smaller: the first is fooled by curves that still rise or that fall
    again, the second by curves that bend sharply. A setting counts if its optimism is further from
    the baseline's than half the margin and than one validation example, and makes out at least a
    fifth of the difference between them, unless the one that is favoured loses all the same.
    """
    baseline = evidence.baseline
    if baseline is None:
        return not_judged(NO_BASELINE)
    if evidence.margin is None:
        return not_judged("what difference would matter is not known")
    own = _optimism(curves_of(baseline, evidence))
    if own is None:
        return not_judged(f"the baseline has no curve of {FEWEST} epochs")
    least = max(evidence.margin / 2, _one_example(evidence))
    favoured: dict[str, float] = {}
    for setting in evidence.settings:
        gain = evidence.gain(setting)
        other = _optimism(curves_of(setting, evidence))
        if setting is baseline or gain is None or other is None:
            continue
        bias = other - own
        loses_anyway = bias * gain < 0 and abs(gain) > evidence.margin
        if abs(bias) > least and abs(bias) > _SHARE * abs(gain) and not loses_anyway:
            favoured[setting.label] = bias
    if not favoured:
        return []
    label = max(favoured, key=lambda name: abs(favoured[name]))
    way = "in its favour" if favoured[label] > 0 else "in the baseline's favour"
    others = [name for name in favoured if name != label]
    also = f" (so it is with {listed(others)})" if others else ""
    return [Seen(
        f"the curves of {label} and the baseline differ in form, and choosing the best epoch "
        f"shifts {evidence.metric} by about {figure(abs(favoured[label]))} {way}{also}. "
        f"{_smoother(evidence, favoured)}",
        label if len(favoured) == 1 else None,
    )]  # fmt: skip


def _optimism(curves: Sequence[Curve]) -> float | None:
    """How far the best epoch is likely to lie above what it stands for; curves: higher is better.

    None without curves.
    """
    if not curves:
        return None
    above_end = np.mean([curve.max() - curve[-fifth(curve) :].mean() for curve in curves])
    above_line = np.mean([_above_neighbours(curve) for curve in curves])
    return max(0.0, float(min(above_end, above_line)))


def _above_neighbours(curve: Curve) -> float:
    """The best value less the straight line through the epochs around it, at its place."""
    best = int(curve.argmax())
    at = np.arange(max(0, best - _NEAR), min(len(curve), best + _NEAR + 1))
    at = at[at != best]
    x, y = (at - best).astype(np.float64), curve[at]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(curve[best] - (y.mean() - slope * x.mean()))


def _one_example(evidence: Evidence) -> float:
    """What a single validation example adds to accuracy; 0 for other metrics."""
    matrix = evidence.confusion_matrix
    if not matrix or evidence.metric.split("/")[-1] != "accuracy":
        return 0.0
    return 1 / max(1.0, float(np.sum(matrix)))


def _smoother(evidence: Evidence, labels: Iterable[str]) -> str:
    """How the bias can be seen, and made smaller."""
    confirm = "Confirm it where no epoch was chosen: on the test part, once, when all is decided"
    if get(evidence.configuration, "scheduler.name") != "constant":
        return confirm
    keys = [setting.key for setting in evidence.settings if setting.label in set(labels)]
    calmer = sweep_again(evidence, keys, "--set", "scheduler=cosine")
    return f"{confirm}. Or let the curves end calmly: {calmer}"
