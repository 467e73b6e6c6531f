"""What a number of seeds can find out, and how many seeds a question needs."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache

from paribus.sweeps.stats.variance import Uncertainty, root

POWER = 0.8
MOST_SEEDS = 1000  # beyond, more seeds are no advice


@lru_cache(maxsize=4096)
def detectable(n: int, df: float, alpha: float, power: float = POWER) -> float:
    """Return the smallest true mean difference that a two-sided t test finds with this power.

    By the noncentral t distribution; the usual sum of two quantiles is up to 17 % too low.

    Args:
        n: Pairs, at least 2.
        df: Degrees of freedom of the variance.
        alpha: Of the test: divided by the number of settings.
        power: The probability.

    Returns:
        In standard deviations of the paired differences.
    """
    from scipy import special

    critical = -float(special.stdtrit(df, alpha / 2))

    def short(shift: float) -> float:
        above = 1 - float(special.nctdtr(df, shift, critical))
        below = float(special.nctdtr(df, shift, -critical))
        # Far out on that side the function may be NaN, where the probability is next to nothing.
        return above + (0.0 if math.isnan(below) else below) - power

    high = critical + 1.0
    while short(high) < 0:
        high *= 1.5
    return root(short, 0.0, high) / math.sqrt(n)


@lru_cache(maxsize=4096)
def equivalence_needs(n: int, df: float, alpha: float, power: float = POWER) -> float:
    """Return the smallest margin within which equal settings are shown to lie (power).

    Two one-sided tests both have to succeed at a true difference of 0, hence the halved miss. In
    standard deviations of the paired differences.
    """
    from scipy import special

    t = special.stdtrit(df, 1 - alpha) + special.stdtrit(df, 1 - (1 - power) / 2)
    return float(t) / math.sqrt(n)


def smallest_difference(
    uncertainty: Uncertainty, n: int, alpha: float, power: float = POWER
) -> float:
    """Return what `detectable` says, in the metric's units, with the part of the examples.

    Both parts are added as in the interval: in squares.
    """
    from scipy import special

    by_seeds = detectable(n, uncertainty.df, alpha, power) * uncertainty.error * math.sqrt(n)
    z = -float(special.ndtri(alpha / 2)) + float(special.ndtri(power))
    return math.hypot(by_seeds, z * math.sqrt(uncertainty.examples))


def seeds_to_decide(
    uncertainty: Uncertainty, n: int, mean: float, margin: float, alpha: float, equivalence: float
) -> int | None:
    """Return how many seeds would decide it, were the true difference the one seen.

    Either it is large enough to be found, or it lies within the margin and that can be shown, with
    a probability of 80 %; whichever needs fewer seeds.

    Args:
        uncertainty: With `n` seeds.
        n: Pairs there are.
        mean: The difference seen.
        margin: What does not matter.
        alpha: Of the test: divided by the number of settings.
        equivalence: Of each of the two one-sided tests.

    Returns:
        None if `MOST_SEEDS` are not enough: the examples are too few, or the difference is too
        close to the margin.
    """
    from scipy import special

    spread = uncertainty.error * math.sqrt(n)

    def decides(seeds: int) -> bool:
        df = uncertainty.df * (seeds - 1) / (n - 1)
        then = Uncertainty(spread / math.sqrt(seeds), df, uncertainty.examples)
        if smallest_difference(then, seeds, alpha) <= abs(mean):
            return True
        by_seeds = equivalence_needs(seeds, df, equivalence) * then.error * math.sqrt(seeds)
        z = -float(special.ndtri(equivalence)) - float(special.ndtri((1 - POWER) / 2))
        return math.hypot(by_seeds, z * math.sqrt(then.examples)) <= margin - abs(mean)

    if n >= MOST_SEEDS or not decides(MOST_SEEDS):
        return None
    return n + 1 + bisect_left(range(n + 1, MOST_SEEDS), True, key=decides)
