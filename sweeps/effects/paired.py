"""Differences between a setting and the baseline, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairedDifference:
    """Level minus baseline over the seeds that both have.

    Attributes:
        n: Pairs.
        mean: Mean difference, in the metric's own units; None without a pair.
        low: Lower end of the interval; None with fewer than two pairs.
        high: Upper end.
        p: Two-sided p of the paired t test whose interval this is; None where it is not defined.
    """

    n: int
    mean: float | None
    low: float | None
    high: float | None
    p: float | None


def paired_difference(
    level: Sequence[float],
    baseline: Sequence[float],
    confidence: float = 0.95,
    resolution: float = 0.0,
) -> PairedDifference:
    """Mean difference with Student's t interval for paired observations.

    Args:
        level: Values of the setting, one per seed: `[n]`.
        baseline: Values of the baseline for the same seeds, in the same order: `[n]`.
        confidence: Coverage of the interval under normal differences.
        resolution: Smallest step of the values, 1/m for an accuracy over m examples. The variance
            is not taken below a quarter of its square: three equal differences of one example
            are no certainty (chosen by simulation).

    Raises:
        ValueError: If the lengths differ.
    """
    if len(level) != len(baseline):  # numpy would repeat a single value
        raise ValueError(f"{len(level)} values of the level, {len(baseline)} of the baseline")
    d = np.asarray(level, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    n = len(d)
    if n == 0:
        return PairedDifference(0, None, None, None, None)
    mean = float(d.mean())
    if n == 1:
        return PairedDifference(1, mean, None, None, None)
    from scipy import special

    error = math.sqrt(max(float(d.var(ddof=1)), resolution**2 / 4) / n)
    reach = float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * error
    p: float | None
    if error > 0:
        p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    else:  # equal in every pair: no evidence of a difference, or an undefined test
        p = 1.0 if mean == 0 else None
    return PairedDifference(n, mean, mean - reach, mean + reach, p)


def mean_and_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and standard deviation with n - 1; None where there are too few values."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if len(array) else None
    return mean, float(array.std(ddof=1)) if len(array) > 1 else None
