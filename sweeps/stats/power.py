"""What a number of seeds can find out, how many a question needs, and adding them by looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from paribus.sweeps.stats.variance import Uncertainty, Variances, root
from paribus.sweeps.stats.verdicts import (
    ALPHA,
    Judgement,
    Pairs,
    Standard,
    judgements,
    spread_of,
    threshold,
    variances_of,
)

POWER = 0.8
_TURNS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)  # rotations of the folds that are proposed
MOST_SEEDS = 100  # of a fixed part; beyond, more seeds are no advice


@lru_cache(maxsize=4096)
def detectable(n: int, df: float, alpha: float) -> float:
    """Return the smallest true mean difference that a two-sided t test finds with 80 % power.

    By the noncentral t distribution; the usual sum of two quantiles is up to 17 % too low. Of `n`
    pairs, whose variance has `df` degrees of freedom; in standard deviations of their differences.
    """
    from scipy import special

    critical = -float(special.stdtrit(df, alpha / 2))

    def short(shift: float) -> float:
        above = 1 - float(special.nctdtr(df, shift, critical))
        below = float(special.nctdtr(df, shift, -critical))
        # Far out on that side the function may be NaN, where the probability is next to nothing.
        return above + (0.0 if math.isnan(below) else below) - POWER

    high = critical + 1.0
    while short(high) < 0:
        high *= 1.5
    return root(short, 0.0, high) / math.sqrt(n)


def smallest_difference(uncertainty: Uncertainty, alpha: float) -> float:
    """Return what `detectable` says, in the metric's units, with the part of the examples.

    Both parts are added as in the interval: in squares.
    """
    from scipy import special

    by_seeds = detectable(1, uncertainty.df, alpha) * uncertainty.error
    z = -float(special.ndtri(alpha / 2)) + float(special.ndtri(POWER))
    return math.hypot(by_seeds, z * math.sqrt(uncertainty.examples))


def seeds_to_decide(
    judged: Sequence[Judgement], standard: Standard, folds: int
) -> list[int | None]:
    """Return how many seeds would decide each undecided setting, were its true difference as seen.

    All of the settings `judged` get as many. Each is then found better or worse, or shown to be
    within the margin, with a probability of 80 %, by the study's own threshold; None if
    `MOST_SEEDS` are not enough. Of several `folds` whole rotations are proposed. How much of the
    spread between them comes from their examples is not known: it counts as the seeds', so the
    numbers are the least there can be.
    """
    decided = sum(one.verdict in ("better", "worse") for one in judged)
    found: list[int | None] = [None] * len(judged)
    for seeds in (turns * (folds if folds > 1 else _ROTATION) for turns in _TURNS):
        places = [
            place
            for place, one in enumerate(judged)
            if one.verdict == "undecided" and one.pairs.n < seeds
        ]
        later = [_with_seeds(judged[place], standard, seeds, folds) for place in places]
        limit = ALPHA / max(1, standard.planned)
        if not standard.strict:
            limit = threshold(np.array([p for p, _ in later]), standard.planned, ALPHA, decided)
        for place, (p, is_equivalent) in zip(places, later, strict=True):
            if found[place] is None and (p <= limit or is_equivalent):
                found[place] = seeds
    return found


def _with_seeds(one: Judgement, standard: Standard, seeds: int, folds: int) -> tuple[float, bool]:
    """Return an undecided setting's p, and whether it is equivalent, with so many seeds.

    Both as they are at least in four of five such studies. Arguments as of `seeds_to_decide`.
    """
    from scipy import special

    assert one.headline is not None
    assert one.pairs.mean is not None
    now, mean = one.headline.uncertainty, abs(one.pairs.mean)
    units = min(folds, seeds) if one.pairs.over_folds else seeds
    df = now.df * (units - 1) / (one.pairs.units - 1)
    later = Uncertainty(now.error * math.sqrt(one.pairs.n / seeds), df, now.examples)
    p = later.p(max(0.0, mean - later.reach(2 * (1 - POWER))))
    # Two one-sided tests both have to succeed at a true difference of 0, hence the halved miss.
    t = special.stdtrit(df, 1 - ALPHA) + special.stdtrit(df, 1 - (1 - POWER) / 2)
    by_seeds = float(t) * later.error
    z = -float(special.ndtri(ALPHA)) - float(special.ndtri((1 - POWER) / 2))
    needs = math.hypot(by_seeds, z * math.sqrt(later.examples))
    return p, needs <= standard.margin - mean


# Add seeds until it is decided, without deciding too often by chance.
#
# Looking after every seed and stopping at p < 0.05 calls 16 % of changes that do nothing better or
# worse. Here the 5 % are spent over a few looks, by Bonferroni's inequality: any parts that are
# fixed beforehand and add up to 5 % would do.


_SPENT = {3: 0.01, 5: 0.02, 10: 0.01, 15: 0.01}  # seeds to the error rate of this look
_ROTATION = 5  # from look to look, beyond those


def looks(most: int) -> tuple[int, ...]:
    """Return after how many seeds the data are looked at, up to `most`, which is 3 or more.

    Raises:
        ValueError: If there are fewer than three.
    """
    usual = (*_SPENT, *range(max(_SPENT) + _ROTATION, most, _ROTATION))
    if most < usual[0]:
        raise ValueError(f"{most} seeds: there is no verdict before the third")
    return (*(n for n in usual if n < most), most)


def spending(planned: Sequence[int]) -> list[float]:
    """Return the error rate of each planned look; they add up to `ALPHA`.

    Those of `looks` have their own; the last one has what fewer looks leave, and those beyond the
    usual ones share its part. Others, of earlier versions, have it by the seeds that each adds.
    """
    most = planned[-1]
    if tuple(planned) != looks(most):
        return [ALPHA * (b - a) / most for a, b in zip((0, *planned), planned, strict=False)]
    usual = [n for n in planned if n < min(most, max(_SPENT))]
    rest = len(planned) - len(usual)
    spent = [_SPENT[n] for n in usual]
    return [*spent, *[(ALPHA - sum(spent)) / rest] * rest]


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
    for look, spent in zip(found, spending(planned), strict=False):
        places = []
        for place, pairs in enumerate(look.settings):
            if pairs is not None and not judged[place].decided:
                latest[place] = pairs
                places.append(place)
        spreads = [spread_of(pairs, standard) for pairs in latest]
        variances = variances_of(spreads, standard)
        new = judgements(
            [latest[place] for place in places],
            [spreads[place] for place in places],
            Variances(variances.values[places], variances.df[places]),
            standard,
            spent,
            sum(one.verdict in ("better", "worse") for one in judged),
        )
        for place, one in zip(places, new, strict=True):
            judged[place] = replace(one, look=look.seeds)
    return judged


def seeds_can_decide(judgement: Judgement, standard: Standard) -> bool:
    """Return whether more seeds may still decide a setting, however many there will be.

    With endless seeds only the draw of examples is left. Where no difference that the seeds so far
    allow would then be found, or shown to be within the margin, more seeds are spent in vain. What
    folds cannot tell from seeds counts as seeds.
    """
    from scipy import special

    headline = judgement.headline
    if headline is None or judgement.decided:
        return False
    here = judgement.validation or headline
    left = math.sqrt(headline.uncertainty.examples)
    largest = max(abs(here.low), abs(here.high))
    smallest = 0.0 if here.low <= 0 <= here.high else min(abs(here.low), abs(here.high))
    found = largest > -float(special.ndtri(ALPHA / 2)) * left
    return found or smallest - float(special.ndtri(ALPHA)) * left < standard.margin
