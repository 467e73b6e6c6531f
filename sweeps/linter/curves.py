"""Curves over epochs, as the rules read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paribus.sweeps.linter.evidence import Evidence, History, SettingSeen

Curve = NDArray[np.float64]

LENGTH = ("train.epochs", "train.updates")  # the keys of the length of training
FEWEST = 5  # epochs, below which a curve has no form


def curve_of(history: History, metric: str, fewest: int) -> Curve | None:
    """A metric over epochs `[E]`; None if it has a gap or is too short."""
    values = [line.get(metric) for line in history]
    if len(values) < fewest or not all(isinstance(value, int | float) for value in values):
        return None
    found = np.array(values, dtype=np.float64)
    return found if np.isfinite(found).all() else None


def curves_of(setting: SettingSeen, evidence: Evidence) -> list[Curve]:
    """The selection metric over epochs, one `[E]` per seed; higher is better."""
    curves = (curve_of(h, evidence.metric, FEWEST) for h in setting.histories.values())
    return [evidence.sign * curve for curve in curves if curve is not None]


def fifth(curve: Curve) -> int:
    """The epochs of a fifth of a curve, at least one."""
    return max(1, len(curve) // 5)
