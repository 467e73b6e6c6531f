"""Verdicts are wrong as seldom as they say, on simulated studies.

`python tests/benchmarks/calibration.py` is the long form. The bounds here are what is promised plus
four standard errors of the share that so many studies give.
"""

import math

import numpy as np
import pytest
from simulations import FOLDS, LATENT, VALUES, false_equivalence, rates, until_decided

STUDIES = 150


def at_most(share, promised, studies=STUDIES):
    return share <= promised + 4 * math.sqrt(promised * (1 - promised) / studies)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("scenario", VALUES, ids=lambda s: s.name)
def test_few_null_studies_have_a_better_or_worse_setting(rng, scenario):
    assert at_most(rates(rng, scenario, 5, 3, studies=STUDIES).any_wrong, 0.05)
    assert at_most(rates(rng, scenario, 1, 3, studies=STUDIES, pooled=False).any_wrong, 0.05)


@pytest.mark.parametrize("scenario", LATENT[:8], ids=lambda s: s.name)
@pytest.mark.parametrize("folds", [1, FOLDS])
def test_few_null_studies_over_folds_have_one(rng, scenario, folds):
    assert at_most(rates(rng, scenario, 6, 5, studies=60, folds=folds).any_wrong, 0.05, 60)


def test_of_what_is_called_better_or_worse_little_is_wrong(rng):
    for scenario, how in ((VALUES[2], {}), (LATENT[1], {"folds": FOLDS})):
        found = rates(rng, scenario, 20, 5, studies=60, mixed=True, **how)
        assert at_most(found.false, 0.05, 60)
        assert at_most(found.likely, 0.20, 60)
        assert at_most(found.uncovered, 0.10, 60)
        assert found.coverage > 0.9


def test_folds_find_more_than_one_part(rng):
    """With as many seeds: the examples' part of the variance shrinks too."""
    one, five = (
        rates(rng, LATENT[5], 20, 5, studies=60, mixed=True, folds=folds) for folds in (1, FOLDS)
    )
    assert five.found > one.found


def test_the_strict_procedure_finds_less(rng):
    usual, strict = (
        rates(rng, VALUES[0], 20, 5, studies=60, mixed=True, strict=strict)
        for strict in (False, True)
    )
    assert usual.found > strict.found + 0.05
    assert at_most(strict.any_wrong, 0.05, 60)


def test_a_difference_of_the_margin_is_seldom_called_equivalent(rng):
    assert at_most(false_equivalence(rng, VALUES[0], 5, 5, studies=60), 0.05, 300)


def test_looking_often_does_not_decide_by_chance(rng):
    found = until_decided(rng, VALUES[0], 5, studies=100)
    assert at_most(found.wrong, 0.05, 100)
    real = until_decided(rng, VALUES[0], 20, studies=40, mixed=True)
    assert real.found > 0.6
    assert real.seeds < 13
    assert at_most(real.false, 0.05, 40)
