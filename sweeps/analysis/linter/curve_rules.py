"""Rules on training: whether it was too short, or too long."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from paribus.core.config.schema import get
from paribus.sweeps.analysis.linter.evidence import (
    LENGTH,
    NO_BASELINE,
    Evidence,
    History,
    Seen,
    ended_by_patience,
    figure,
    named,
    not_judged,
    span,
)

TRAIN_LOSS, VAL_LOSS = "train/loss", "val/loss"

_OF_RANGE = 0.005  # of a curve's whole improvement, below which more of it is not worth having
_RISE = 0.05  # of the smallest validation loss, and of how far it fell before
_SURE = 2.0  # standard errors
_ZERO = 1e-12  # a loss of which no share can be given
_FEWEST = 5  # epochs, below which a curve has no form
_NEAR = 2  # epochs on either side of the best one
_SHARE = 1 / 5  # of a difference

Curve = NDArray[np.float64]  # one value per epoch: `[E]`


def still_improving(evidence: Evidence) -> list[Seen]:
    """Find settings whose selection metric was still getting better when training ended.

    The mean of the last fifth of the epochs has to be better than that of the fifth before by more
    than the margin and half a percent of all that the curves gained, and most seeds have their best
    epoch there. Runs that patience ended, and levels of the length itself, are not judged.
    """
    gains: dict[str, float] = {}
    keys: list[str | None] = []
    judged = False
    patience = False
    for one in evidence.results:
        if one.setting.key in LENGTH:
            continue
        complete = evidence.complete(one)
        runs = [run for run, record in complete.items() if not ended_by_patience(record)]
        patience = patience or len(runs) < len(complete)
        curves = _curves_of(evidence, runs, 2)
        judged = judged or bool(curves)
        gain = _late_gain(curves, evidence.margin or 0.0)
        if gain is not None:
            gains[one.label] = gain
            keys.append(one.setting.key)
    if not judged:
        no_curve = f"no complete run has {evidence.metric} of two epochs"
        return not_judged("patience ended the runs" if patience else no_curve)
    if not gains:
        return []
    remedy = "Train for more epochs"
    for key in LENGTH:  # a function has neither
        if isinstance(length := get(evidence.configuration, key), int):
            remedy = f"Train longer: {evidence.sweep_again(keys, '--set', f'{key}={2 * length}')}"
            break
    were = "was" if len(gains) == 1 else "were"
    return [Seen(
        f"{named([*gains])} {were} still improving when training ended: in the last fifth of "
        f"the epochs {evidence.metric} was better by {span(list(gains.values()))} than in the "
        f"fifth before. {remedy}",
        next(iter(gains)) if len(gains) == 1 else None,
    )]  # fmt: skip


def overfitting(evidence: Evidence) -> list[Seen]:
    """Find settings whose validation loss rises again while the training loss goes on falling.

    The rise, the mean of the last fifth of the epochs less the smallest mean of any fifth, has to
    be above 5 % of that smallest loss and of how far the loss had fallen, and above two standard
    errors over seeds.
    """
    rises: dict[str, float] = {}
    judged = False
    for one in evidence.results:
        histories = [evidence.histories[run] for run in evidence.complete(one)]
        pairs = [
            (train, val)
            for history in histories
            if (train := _curve_of(history, TRAIN_LOSS, _FEWEST)) is not None
            and (val := _curve_of(history, VAL_LOSS, _FEWEST)) is not None
        ]
        judged = judged or bool(pairs)
        rise = _rise(pairs)
        if rise is not None:
            rises[one.label] = rise
    if not judged:
        return not_judged(f"no complete run has {TRAIN_LOSS} and {VAL_LOSS} of {_FEWEST} epochs")
    if not rises:
        return []
    worst = max(rises, key=lambda label: rises[label])
    times = span([1 + rise for rise in rises.values()])
    return [Seen(
        f"at {named([*rises])} {VAL_LOSS} ended at {times} times its minimum while {TRAIN_LOSS} "
        f"went on falling. {_against_overfitting(evidence, worst)}",
        worst if len(rises) == 1 else None,
    )]  # fmt: skip


def _late_gain(curves: Sequence[Curve], margin: float) -> float | None:
    """Return the gain of the last fifth over the one before, if training was too short."""
    if not curves:
        return None
    gains, ranges, late = [], [], 0
    for curve in curves:
        part = _fifth(curve)
        gains.append(curve[-part:].mean() - curve[-2 * part : -part].mean())
        ranges.append(curve.max() - curve[0])
        late += int(curve.argmax()) >= len(curve) - part
    gain = float(np.mean(gains))
    enough = gain > max(margin, _OF_RANGE * float(np.mean(ranges)))
    return gain if enough and late > len(curves) / 2 else None


def _rise(pairs: Sequence[tuple[Curve, Curve]]) -> float | None:
    """Return by what share of its smallest the validation loss rose again, if it did for sure.

    Args:
        pairs: Training and validation loss, one pair per seed.
    """
    if not pairs:
        return None
    found = []
    for train, val in pairs:
        part = _fifth(val)
        window = np.full(part, 1 / part)
        val_means, train_means = (np.convolve(curve, window, "valid") for curve in (val, train))
        lowest = int(val_means.argmin())
        rise = val_means[-1] - val_means[lowest]
        fell = train_means[lowest] - train_means[-1]
        found.append((rise, abs(val_means[lowest]), val[0] - val_means[lowest], fell))
    rises = np.array([row[0] for row in found])
    rise, smallest, fallen, trained = np.mean(found, axis=0)
    error = rises.std(ddof=1) / np.sqrt(len(rises)) if len(rises) > 1 else 0.0
    enough = rise > max(_RISE * smallest, _RISE * fallen, _SURE * error)
    return float(rise / smallest) if enough and trained > 0 and smallest > _ZERO else None


def _against_overfitting(evidence: Evidence, label: str) -> str:
    """Return what to try at a setting that overfits."""
    key = next(one.setting.key for one in evidence.results if one.label == label)
    at = [] if key is None else ["--set", label]
    if get(evidence.configuration, "model.dropout") is not None and key != "model":
        tries = ("model.dropout", "model.dropout=0.2,0.5")
    elif get(evidence.configuration, "optimizer.weight_decay") is not None:
        tries = ("optimizer.weight_decay", "optimizer.weight_decay=0.001,0.01,0.1")
    else:
        return "Regularize it, or take a smaller model"
    if key == tries[0]:
        return "Regularize it more, or take a smaller model"
    return f"Regularize it: {evidence.sweep([tries[1]], *at)}"


def different_curves(evidence: Evidence) -> list[Seen]:
    """Find settings that the choice of the best epoch favours more, or less, than the baseline.

    The best of many epochs that jump lies above what the model is worth; the best of a smooth
    curve does not. This optimism of a setting is, mean over seeds, the best value less the mean of
    the last fifth of the epochs, or less the straight line through the two epochs on either side
    of the best, whichever is smaller: the first is too large on curves that still rise or that
    fall again, the second on curves that bend sharply. A setting counts if its optimism differs
    from the baseline's by more than half the margin, by more than one validation example, and by at
    least a fifth of the difference between them, unless the one that is favoured loses anyway.
    """
    baseline = evidence.baseline
    if baseline is None:
        return not_judged(NO_BASELINE)
    if evidence.margin is None:
        return not_judged("what difference would matter is not known")
    own = _optimism(_curves_of(evidence, evidence.complete(baseline), _FEWEST))
    if own is None:
        return not_judged(f"the baseline has no curve of {_FEWEST} epochs")
    least = evidence.margin / 2
    counts = evidence.supports(baseline)
    if counts is not None and evidence.metric.split("/")[-1] == "accuracy":
        least = max(least, 1 / max(1, int(counts.sum())))
    favoured: dict[str, float] = {}
    for one in evidence.results:
        gain = evidence.gain(one)
        other = _optimism(_curves_of(evidence, evidence.complete(one), _FEWEST))
        if one is baseline or gain is None or other is None:
            continue
        bias = other - own
        loses_anyway = bias * gain < 0 and abs(gain) > evidence.margin
        if abs(bias) > least and abs(bias) > _SHARE * abs(gain) and not loses_anyway:
            favoured[one.label] = bias
    if not favoured:
        return []
    label = max(favoured, key=lambda name: abs(favoured[name]))
    way = "in its favour" if favoured[label] > 0 else "in the baseline's favour"
    others = [name for name in favoured if name != label]
    also = f" (likewise {named(others)})" if others else ""
    remedy = "Confirm it where no epoch was chosen: on the test part, once, when all is decided"
    if get(evidence.configuration, "scheduler.name") == "constant":
        keys = [one.setting.key for one in evidence.results if one.label in favoured]
        calmer = evidence.sweep_again(keys, "--set", "scheduler=cosine")
        remedy += f". Or decay the learning rate, which smooths the curves: {calmer}"
    return [Seen(
        f"the curves of {label} and the baseline differ in form, and choosing the best epoch "
        f"shifts {evidence.metric} by about {figure(abs(favoured[label]))} {way}{also}. {remedy}",
        label if len(favoured) == 1 else None,
    )]  # fmt: skip


def _optimism(curves: Sequence[Curve]) -> float | None:
    """Return how far the best epoch is likely to lie above what it stands for.

    Curves: higher is better; None without any.
    """
    if not curves:
        return None
    above_end = np.mean([curve.max() - curve[-_fifth(curve) :].mean() for curve in curves])
    above_line = np.mean([_above_neighbours(curve) for curve in curves])
    return max(0.0, float(min(above_end, above_line)))


def _above_neighbours(curve: Curve) -> float:
    """Return the best value less the straight line through the epochs around it, at its place."""
    best = int(curve.argmax())
    at = np.arange(max(0, best - _NEAR), min(len(curve), best + _NEAR + 1))
    at = at[at != best]
    x, y = (at - best).astype(np.float64), curve[at]
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(curve[best] - (y.mean() - slope * x.mean()))


def _curve_of(history: History, metric: str, fewest: int) -> Curve | None:
    """Return a metric over epochs `[E]`; None if it has a gap or is too short."""
    values = [line.get(metric) for line in history]
    if len(values) < fewest or not all(isinstance(value, int | float) for value in values):
        return None
    found = np.array(values, dtype=np.float64)
    return found if np.isfinite(found).all() else None


def _curves_of(evidence: Evidence, runs: Iterable[str], fewest: int) -> list[Curve]:
    """Return the selection metric over epochs, one `[E]` per run; higher is better."""
    curves = (_curve_of(evidence.histories[run], evidence.metric, fewest) for run in runs)
    return [evidence.sign * curve for curve in curves if curve is not None]


def _fifth(curve: Curve) -> int:
    """Return the epochs of a fifth of a curve, at least one."""
    return max(1, len(curve) // 5)
