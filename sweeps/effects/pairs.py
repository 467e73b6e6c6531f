"""What a setting and the baseline gave for the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Values of a setting and of the baseline, paired by seed.

    Attributes:
        level: The setting's values, one per seed: `[n]`.
        baseline: The baseline's for the same seeds, in the same order: `[n]`.
        examples: Level minus baseline for each example, where the metric is a mean over examples:
            `[n, m]`; else None.
        identical: Whether all recorded outputs are equal, bit for bit, in every pair.
    """

    level: Array
    baseline: Array
    examples: Array | None = None
    identical: bool = False

    @classmethod
    def of(
        cls,
        level: Sequence[float] | Array,
        baseline: Sequence[float] | Array,
        examples: Array | None = None,
        *,
        identical: bool = False,
    ) -> Pairs:
        """Pairs of plain numbers.

        Raises:
            ValueError: If the lengths differ.
        """
        ours = np.asarray(level, dtype=np.float64)
        theirs = np.asarray(baseline, dtype=np.float64)
        if len(ours) != len(theirs):  # numpy would repeat a single value
            raise ValueError(f"{len(ours)} values of the level, {len(theirs)} of the baseline")
        return cls(ours, theirs, examples, identical)

    @property
    def n(self) -> int:
        """How many pairs."""
        return len(self.level)

    @property
    def differences(self) -> Array:
        """Level minus baseline, in the metric's own units: `[n]`."""
        return self.level - self.baseline

    @property
    def mean(self) -> float | None:
        """Of the differences; None without a pair."""
        return float(self.differences.mean()) if self.n else None

    @property
    def std(self) -> float | None:
        """Of the differences, with n - 1; None with fewer than two pairs."""
        return float(self.differences.std(ddof=1)) if self.n > 1 else None

    @property
    def correlation(self) -> float | None:
        """Pearson's, between level and baseline over seeds; None where one of them is constant."""
        if self.n < 3 or not (np.ptp(self.level) and np.ptp(self.baseline)):
            return None
        return float(np.corrcoef(self.level, self.baseline)[0, 1])

    @property
    def unpaired_worth(self) -> float | None:
        """How many seeds of each, unpaired, would give a difference as precise as these pairs.

        Unpaired, the variance of the difference is that of both added up.
        """
        if self.n < 3 or not (spread := float(self.differences.var(ddof=1))):
            return None
        apart = float(self.level.var(ddof=1) + self.baseline.var(ddof=1))
        return self.n * apart / spread


def mean_and_std(values: Sequence[float] | Array) -> tuple[float | None, float | None]:
    """Mean, and standard deviation with n - 1; None where there are too few values."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if len(array) else None
    return mean, float(array.std(ddof=1)) if len(array) > 1 else None
