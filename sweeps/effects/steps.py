"""In which steps values move, where nobody says of how many examples they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PARTS = (1, 2, 3)  # of the smallest gap that is seen, which the true step may be
_ROUNDED = 0.05  # how far multiples may be off, in steps: values are often printed with few digits


def step_of(values: Sequence[float]) -> float:
    """The step that all gaps between values are multiples of: 1/m for accuracies of m examples.

    Args:
        values: Of all settings and seeds.

    Returns:
        The resolution of float32 where there is no such step, as for losses.
    """
    found = np.unique(np.asarray(values, dtype=np.float64))
    gaps = np.diff(found)
    gaps = gaps[gaps > 1e-9 * np.abs(found).max(initial=0.0)]
    if len(gaps):
        for parts in _PARTS:
            multiples = gaps / (gaps.min() / parts)
            if (np.abs(multiples - np.rint(multiples)) <= _ROUNDED).all():
                return float(gaps.min() / parts)
    return float(np.spacing(np.float32(np.abs(found).max(initial=0.0))))
