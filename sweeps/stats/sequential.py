"""Add seeds until it is decided, without deciding too often by chance.

Looking after every seed and stopping at p < 0.05 calls 16 % of changes that do nothing better or
worse. Here the 5 % are spent over the looks in proportion to the seeds that each adds (linear
spending; K. K. G. Lan and D. L. DeMets 1983, by Bonferroni's inequality), and over the settings
by Holm's procedure with what was rejected taken out (W. Maurer and F. Bretz 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from paribus.sweeps.stats.variance import Variances
from paribus.sweeps.stats.verdicts import (
    ALPHA,
    Judgement,
    Pairs,
    Standard,
    judgements,
    variances_of,
)

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
