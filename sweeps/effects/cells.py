"""Which cells of the confusion matrix a setting changed most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """The cells whose counts changed most, the largest change first.

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
