"""What a number of seeds can find out, how many a question needs, and adding them by looks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from paribus.sweeps.stats.variance import Uncertainty, Variances, root
from paribus.sweeps.stats.verdicts import (
    ALPHA,
    Judgement,
    Pairs,
    Standard,
    judgements,
    variances_of,
)

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


# Add seeds until it is decided, without deciding too often by chance.
#
# Looking after every seed and stopping at p < 0.05 calls 16 % of changes that do nothing better or
# worse. Here the 5 % are spent over the looks in proportion to the seeds that each adds (linear
# spending; K. K. G. Lan and D. L. DeMets 1983, by Bonferroni's inequality), and over the settings
# by Holm's procedure with what was rejected taken out (W. Maurer and F. Bretz 2013).


_USUAL = (3, 5, 8, 12, 20)
_GROWTH = 1.6  # from look to look, beyond the usual ones


def looks(most: int) -> tuple[int, ...]:
    """Return after how many seeds the data are looked at, up to `most`, which is 3 or more.

    Raises:
        ValueError: If there are fewer than three.
    """
    if most < _USUAL[0]:
        raise ValueError(f"{most} seeds: there is no verdict before the third")
    found = [n for n in _USUAL if n < most]
    while (after := round(found[-1] * _GROWTH) if found else 0) >= _USUAL[-1] and after < most:
        found.append(after)
    return (*found, most)


@dataclass(frozen=True, eq=False)
class Look:
    """The data after a number of seeds.

    A setting's pairs are None where its runs with these seeds are not all finished: it is not
    looked at.
    """

    seeds: int
    settings: Sequence[Pairs | None]


def judge_looks(
    found: Sequence[Look], planned: Sequence[int], standard: Standard
) -> list[Judgement]:
    """Return verdicts on a study to which seeds were added, look by look. Decided settings stay so.

    The looks there were are the first ones of those `planned`, the numbers of seeds of all looks.
    """
    number = len(found[0].settings) if found else 0
    latest = [Pairs.of([], [])] * number  # each setting's, as of the last look at it
    judged = [Judgement(pairs) for pairs in latest]
    before = 0
    for look in found:
        spent = ALPHA * (look.seeds - before) / planned[-1]
        before = look.seeds
        places = []
        for place, pairs in enumerate(look.settings):
            if pairs is not None and not judged[place].decided:
                latest[place] = pairs
                places.append(place)
        spreads = variances_of(latest, standard)
        new = judgements(
            [latest[place] for place in places],
            Variances(spreads.values[places], spreads.df[places]),
            standard,
            spent,
            standard.planned - sum(one.verdict in ("better", "worse") for one in judged),
        )
        for place, one in zip(places, new, strict=True):
            judged[place] = replace(one, look=look.seeds)
    return judged


def seeds_can_decide(judgement: Judgement, standard: Standard) -> bool:
    """Return whether more seeds may still decide a setting, however many there will be.

    With endless seeds only the draw of examples is left. Where no difference that the seeds so far
    allow would then be found, or shown to be within the margin, more seeds are spent in vain.
    """
    from scipy import special

    here, headline = judgement.validation, judgement.headline
    if here is None or headline is None or judgement.decided:
        return False
    left = math.sqrt(headline.uncertainty.examples)
    largest = max(abs(here.low), abs(here.high))
    smallest = 0.0 if here.low <= 0 <= here.high else min(abs(here.low), abs(here.high))
    found = largest > -float(special.ndtri(ALPHA / 2)) * left
    return found or smallest - float(special.ndtri(ALPHA)) * left < standard.margin
