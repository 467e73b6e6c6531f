"""How far another run of a setting may lie from those there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def prediction_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Where one more value of the same normal distribution lies with this confidence.

    mean ± t · s · √(1 + 1/n); G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991), 4.8.

    Args:
        values: `[n]`, one per seed.
        confidence: The probability.

    Returns:
        Low and high, in the values' units; None for fewer than three values, of which the interval
        would exclude nothing.
    """
    from scipy import stats

    n = len(values)
    if n < 3:
        return None
    array = np.asarray(values, dtype=np.float64)
    t = stats.t.ppf((1 + confidence) / 2, n - 1)
    half = float(t * array.std(ddof=1) * np.sqrt(1 + 1 / n))
    mean = float(array.mean())
    return mean - half, mean + half
