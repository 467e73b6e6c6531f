"""How far a mean difference may be off: by the draw of seeds, and by the draw of examples.

Two questions are kept apart. *On this validation part*: would other seeds give the same answer on
these examples? Only seeds are drawn. *On new data*: would other seeds give the same answer on
other examples of the same kind? Seeds and examples are drawn, and the part of either is added: the
modified large-sample method of F. A. Graybill and C.-M. Wang (1980), Confidence intervals on
nonnegative linear combinations of variances, JASA 75, 869-873.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paribus.sweeps.effects.roots import root

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Uncertainty:
    """Of one setting's mean difference.

    Attributes:
        error: Standard error over seeds.
        df: Its degrees of freedom.
        examples: Variance of the mean that examples bring; 0 where they are not drawn.
    """

    error: float
    df: float
    examples: float = 0.0

    def reach(self, alpha: float) -> float:
        """Half the width of the interval that covers the truth but for `alpha`."""
        from scipy import special

        t = float(special.stdtrit(self.df, alpha / 2))
        z = float(special.ndtri(alpha / 2))
        return math.hypot(t * self.error, z * math.sqrt(self.examples))

    def p(self, mean: float) -> float:
        """Two-sided p of a mean difference: the alpha whose interval just reaches 0."""
        from scipy import special

        if mean == 0:
            return 1.0
        if not self.examples:
            tail = float(special.stdtr(self.df, -abs(mean) / self.error)) if self.error else 0.0
            return 2 * tail
        least = -300.0  # of ln alpha
        if self.reach(math.exp(least)) <= abs(mean):
            return 0.0
        return math.exp(root(lambda x: abs(mean) - self.reach(math.exp(x)), least, 0.0))


def examples_variance(differences: Array) -> float:
    """Variance that the draw of examples brings to a mean difference over seeds and examples.

    The seeds' own part, which averages over examples contain too, is taken out (two-way analysis
    of variance without replication; J. Cornfield and J. W. Tukey 1956).

    Args:
        differences: Level minus baseline, one row per seed, one column per example: `[n, m]`.
    """
    n, m = differences.shape
    if n < 2 or m < 2:
        return 0.0
    by_example, by_seed = differences.mean(0), differences.mean(1)
    left = differences - by_example - by_seed[:, None] + differences.mean()
    residual = float((left**2).sum()) / ((n - 1) * (m - 1))
    brought: float = float(by_example.var(ddof=1)) / m - residual / (n * m)
    return max(0.0, brought)
