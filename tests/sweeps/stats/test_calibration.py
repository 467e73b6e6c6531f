"""Verdicts are wrong as seldom as they say, on simulated studies.

`python tests/benchmarks/calibration.py` is the long form. The bounds here are what is promised plus
four standard errors of the share that so many studies give.
"""

import math

import numpy as np
import pytest
from simulations import (
    SCENARIOS,
    coverage,
    false_equivalence,
    false_verdicts,
    found_effects,
    new_data,
    until_decided,
)

STUDIES = 250


def at_most(share, promised, studies=STUDIES):
    return share <= promised + 4 * math.sqrt(promised * (1 - promised) / studies)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_few_null_studies_have_a_better_or_worse_setting(rng, scenario):
    assert at_most(false_verdicts(rng, scenario, 5, 3, pooled=True, studies=STUDIES), 0.05)
    assert at_most(false_verdicts(rng, scenario, 1, 3, pooled=False, studies=STUDIES), 0.05)


def test_intervals_hold_the_truth(rng):
    # Settings of a study share a baseline, so only studies count as independent.
    for scenario in (SCENARIOS[0], SCENARIOS[2]):
        assert at_most(1 - coverage(rng, scenario, 5, 3, pooled=True, studies=STUDIES), 0.07)


def test_a_difference_of_the_margin_is_seldom_called_equivalent(rng):
    assert at_most(false_equivalence(rng, SCENARIOS[0], 5, 5, pooled=True, studies=STUDIES), 0.05)


def test_borrowed_variances_find_more(rng):
    own, borrowed = (
        found_effects(rng, SCENARIOS[0], 5, 3, pooled=pooled, studies=STUDIES, effect=3.0)
        for pooled in (False, True)
    )
    assert borrowed > own + 0.2  # 68 % and 24 % are expected


def test_on_new_data_where_seeds_alone_are_far_off(rng):
    new, here = new_data(rng, 10, 100, studies=STUDIES, gaussian=True)
    assert at_most(1 - new, 0.06)
    assert here < 0.5


def test_looking_often_does_not_decide_by_chance(rng):
    found = until_decided(rng, SCENARIOS[0], 5, pooled=True, studies=100)
    assert at_most(found.wrong, 0.05, 100)
    real = until_decided(rng, SCENARIOS[0], 1, pooled=False, studies=100, effect=3.0)
    assert real.found > 0.95
    assert real.seeds < 8  # of 20
