"""Rules on training: whether it was too short, or too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paribus.core.config import get
from paribus.sweeps.linter.curves import FEWEST, LENGTH, Curve, curve_of, fifth
from paribus.sweeps.linter.evidence import Evidence
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import listed, span, sweep, sweep_again

TRAIN_LOSS, VAL_LOSS = "train/loss", "val/loss"

_OF_RANGE = 0.005  # of a curve's whole improvement, below which more of it is not worth having
_RISE = 0.05  # of the smallest validation loss, and of how far it fell before
_SURE = 2.0  # standard errors
_ZERO = 1e-12  # a loss of which no share can be told


def still_improving(evidence: Evidence) -> list[Seen]:
    """Settings whose selection metric was still getting better when training ended.

    For each seed the mean of the last fifth of the epochs is set against the mean of the fifth
    before it. A setting counts if that gain, mean over seeds, is above the margin and above half a
    percent of all that the curves gained, and if most seeds have their best epoch in the last
    fifth. Runs that patience ended, and levels of the length itself, are not judged.
    """
    gains: dict[str, float] = {}
    keys: list[str | None] = []
    judged = False
    for setting in evidence.settings:
        if setting.key in LENGTH:
            continue
        curves = [
            evidence.sign * curve
            for seed, history in setting.histories.items()
            if seed not in setting.stopped and (curve := curve_of(history, evidence.metric, 2))
            is not None
        ]  # fmt: skip
        judged = judged or bool(curves)
        gain = _late_gain(curves, evidence.margin or 0.0)
        if gain is not None:
            gains[setting.label] = gain
            keys.append(setting.key)
    if not judged:
        return not_judged(_why_no_curves(evidence))
    if not gains:
        return []
    longer = _twice_as_long(evidence)
    remedy = (
        f"Train longer: {sweep_again(evidence, keys, '--set', longer)}"
        if longer
        else "Train for more epochs"
    )
    were = "was" if len(gains) == 1 else "were"
    return [Seen(
        f"{listed([*gains])} {were} still improving when training ended: in the last fifth of "
        f"the epochs {evidence.metric} was better by {span(list(gains.values()))} than in the "
        f"fifth before. {remedy}",
        next(iter(gains)) if len(gains) == 1 else None,
    )]  # fmt: skip


def overfitting(evidence: Evidence) -> list[Seen]:
    """Settings whose validation loss rises again while the training loss goes on falling.

    For each seed: the mean of the last fifth of the epochs less the smallest mean of any fifth. A
    setting counts if this rise, mean over seeds, is above 5 % of that smallest loss and of how far
    the loss had fallen from the first epoch, above two standard errors over seeds, and if the
    training loss fell meanwhile.
    """
    rises: dict[str, float] = {}
    judged = False
    for setting in evidence.settings:
        pairs = [
            (train, val)
            for history in setting.histories.values()
            if (train := curve_of(history, TRAIN_LOSS, FEWEST)) is not None
            and (val := curve_of(history, VAL_LOSS, FEWEST)) is not None
        ]
        judged = judged or bool(pairs)
        rise = _rise(pairs)
        if rise is not None:
            rises[setting.label] = rise
    if not judged:
        return not_judged(f"no complete run has {TRAIN_LOSS} and {VAL_LOSS} of {FEWEST} epochs")
    if not rises:
        return []
    worst = max(rises, key=lambda label: rises[label])
    times = span([1 + rise for rise in rises.values()])
    return [Seen(
        f"at {listed([*rises])} {VAL_LOSS} ended at {times} times its smallest while "
        f"{TRAIN_LOSS} went on falling. {_against_overfitting(evidence, worst)}",
        worst if len(rises) == 1 else None,
    )]  # fmt: skip


def _late_gain(curves: Sequence[Curve], margin: float) -> float | None:
    """What the last fifth is above the one before it, if that shows that training was too short."""
    if not curves:
        return None
    gains, ranges, late = [], [], 0
    for curve in curves:
        part = fifth(curve)
        gains.append(curve[-part:].mean() - curve[-2 * part : -part].mean())
        ranges.append(curve.max() - curve[0])
        late += int(curve.argmax()) >= len(curve) - part
    gain = float(np.mean(gains))
    enough = gain > max(margin, _OF_RANGE * float(np.mean(ranges)))
    return gain if enough and late > len(curves) / 2 else None


def _rise(pairs: Sequence[tuple[Curve, Curve]]) -> float | None:
    """By what share of its smallest the validation loss rose again, if it did for sure.

    Args:
        pairs: Training and validation loss, one pair per seed.
    """
    if not pairs:
        return None
    found = []
    for train, val in pairs:
        part = fifth(val)
        val_means, train_means = _moving_mean(val, part), _moving_mean(train, part)
        lowest = int(val_means.argmin())
        rise = val_means[-1] - val_means[lowest]
        fell = train_means[lowest] - train_means[-1]
        found.append((rise, abs(val_means[lowest]), val[0] - val_means[lowest], fell))
    rises = np.array([row[0] for row in found])
    rise, smallest, fallen, trained = np.mean(found, axis=0)
    error = rises.std(ddof=1) / np.sqrt(len(rises)) if len(rises) > 1 else 0.0
    enough = rise > max(_RISE * smallest, _RISE * fallen, _SURE * error)
    return float(rise / smallest) if enough and trained > 0 and smallest > _ZERO else None


def _moving_mean(curve: Curve, width: int) -> Curve:
    return np.convolve(curve, np.full(width, 1 / width), "valid")


def _why_no_curves(evidence: Evidence) -> str:
    if any(s.stopped for s in evidence.settings):
        return "patience ended the runs"
    return f"no complete run has {evidence.metric} of two epochs"


def _twice_as_long(evidence: Evidence) -> str | None:
    """``train.epochs=40`` where the baseline trains for 20; None if its function decides that."""
    for key in LENGTH:
        length = get(evidence.configuration, key)
        if isinstance(length, int):
            return f"{key}={2 * length}"
    return None


def _against_overfitting(evidence: Evidence, label: str) -> str:
    """What to try at a setting that overfits."""
    setting = next(s for s in evidence.settings if s.label == label)
    at = [] if setting.key is None else ["--set", label]
    if get(evidence.configuration, "model.dropout") is not None and setting.key != "model":
        tries = ("model.dropout", "model.dropout=0.2,0.5")
    elif get(evidence.configuration, "optimizer.weight_decay") is not None:
        tries = ("optimizer.weight_decay", "optimizer.weight_decay=0.001,0.01,0.1")
    else:
        return "Regularize it, or take a smaller model"
    if setting.key == tries[0]:
        return "Regularize it more, or take a smaller model"
    return f"Regularize it, as by {sweep(evidence, [tries[1]], *at)}"
