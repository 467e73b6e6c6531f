"""Which cells of the confusion matrix a setting changed most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paribus.sweeps.stats.variance import Uncertainty, floored
from paribus.sweeps.stats.verdicts import ALPHA, holm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One cell, level minus baseline.

    Attributes:
        place: Its indices: (true, predicted), or (label, true, predicted).
        mean: Mean difference of the count over seeds.
        low: Lower end of the 95 % interval over seeds, of this cell alone.
        high: Upper end.
    """

    place: tuple[int, ...]
    mean: float
    low: float
    high: float


def changed_cells(level: Array, baseline: Array, most: int = 3) -> list[Cell]:
    """Return the cells whose counts changed most, the largest change first.

    Args:
        level: Confusion matrices of a setting, one per seed: `[n, C, C]` or `[n, L, 2, 2]`, n > 1.
        baseline: The baseline's for the same seeds.
        most: How many.
    """
    from scipy import special

    d = np.asarray(level, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    n = len(d)
    mean, error = d.mean(0), d.std(0, ddof=1) / np.sqrt(n)
    reach = float(special.stdtrit(n - 1, 0.975)) * error
    order = np.argsort(-np.abs(mean), axis=None, kind="stable")[:most]
    places = [tuple(int(i) for i in np.unravel_index(flat, mean.shape)) for flat in order]
    return [
        Cell(at, float(mean[at]), float(mean[at] - reach[at]), float(mean[at] + reach[at]))
        for at in places
        if mean[at]
    ]


def surely_changed(level: Array, baseline: Array) -> NDArray[np.bool_]:
    """Return where counts changed by more than chance over seeds would have it: `[C, C]`.

    A paired t-test of each cell, adjusted for all cells that ever count anything (S. Holm 1979): at
    most one study in twenty marks any cell where nothing changed. Counts are whole numbers, so
    that three equal differences are no certainty: variances have a floor, as those of accuracies.

    Args:
        level: Confusion matrices of a setting, one per seed: `[n, C, C]`, n > 1.
        baseline: The baseline's for the same seeds.
    """
    d = np.asarray(level, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    n, mean = len(d), d.mean(0)
    alive = (np.asarray(level) + np.asarray(baseline)).any(0)
    errors = np.sqrt(floored(d.var(0, ddof=1), 1.0) / n)
    p = [
        Uncertainty(float(error), n - 1).p(float(m))
        for m, error in zip(mean[alive], errors[alive], strict=True)
    ]
    changed = np.zeros(mean.shape, dtype=bool)
    changed[alive] = holm(np.array(p), len(p)) <= ALPHA
    return changed
