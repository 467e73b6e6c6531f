"""What a number of seeds can find out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, t

from paribus.sweeps.stats.power import MOST_SEEDS, detectable, seeds_to_decide, smallest_difference
from paribus.sweeps.stats.variance import Uncertainty
from paribus.sweeps.stats.verdicts import Pairs, Standard, judge


@pytest.mark.parametrize(
    ("n", "settings", "df", "expected"),
    [(2, 1, 1, 11.6), (3, 1, 2, 3.26), (5, 1, 4, 1.68), (10, 1, 9, 1.00), (3, 5, 2, 7.32),
     (5, 5, 4, 2.63), (3, 20, 2, 14.65), (10, 20, 9, 1.64)],
)  # fmt: skip
def test_the_exact_figures(n, settings, df, expected):
    assert detectable(n, df, 0.05 / settings) == pytest.approx(expected, abs=0.06)


@given(st.integers(3, 40), st.sampled_from([0.05, 0.01, 0.0025]))
def test_a_difference_of_this_size_is_found_four_times_in_five(n, alpha):
    shift = detectable(n, n - 1, alpha) * math.sqrt(n)
    critical = t.isf(alpha / 2, n - 1)
    assert nct.sf(critical, n - 1, shift) == pytest.approx(0.8, abs=1e-5)


@given(st.integers(2, 60), st.integers(1, 200), st.floats(1, 2))
def test_more_seeds_find_less_and_more_settings_more(n, settings, worth):
    one = detectable(n, (n - 1) * worth, 0.05 / settings)
    assert detectable(n + 1, n * worth, 0.05 / settings) < one
    assert detectable(n, (n - 1) * worth, 0.05 / (settings + 1)) > one


def test_examples_set_a_floor_that_seeds_do_not_lower():
    few, many = (Uncertainty(0.01 / math.sqrt(n), n - 1, 0.01**2) for n in (3, 1000))
    assert smallest_difference(many, 0.05) > 0.028  # (1.96 + 0.84) * 0.01
    assert smallest_difference(few, 0.05) > smallest_difference(many, 0.05)


NOISE = np.array([0.9, -1.1, 0.2, 0.4, -0.4])  # of mean 0, standard deviation 0.77


def needed(means, *, folds=1, margin=0.0, examples=None):
    of_seeds = range(5) if folds > 1 else None
    pairs = [Pairs.of(m + NOISE, np.zeros(5), examples, folds=of_seeds) for m in means]
    standard = Standard(margin, len(means))
    return seeds_to_decide(judge(pairs, standard), standard, folds)


@given(st.floats(0.02, 0.9))
def test_so_many_seeds_would_decide_a_difference_like_the_one_seen(mean):
    (seeds,) = needed([mean])
    if seeds is None:
        assert detectable(MOST_SEEDS, MOST_SEEDS - 1, 0.05) * NOISE.std(ddof=1) > mean
        return
    assert seeds % 5 == 0
    assert detectable(seeds, seeds - 1, 0.05) * NOISE.std(ddof=1) <= mean * 1.03


def test_whole_rotations_are_proposed():
    for folds in (3, 5):
        (seeds,) = needed([0.8], folds=folds)
        assert seeds % folds == 0
        assert seeds > 5


def test_equal_settings_need_seeds_until_they_are_within_the_margin():
    few, many = needed([0.0], margin=0.6)[0], needed([0.0], margin=0.3)[0]
    assert 5 < few < many
    assert needed([0.0], margin=0.001) == [None]


def test_no_seeds_help_where_examples_are_too_few():
    rng = np.random.default_rng(0)
    examples = 0.3 + NOISE[:, None] + rng.normal(0, 30, 200)
    assert needed([0.3], examples=examples - examples.mean() + 0.3) == [None]


def test_what_is_decided_needs_no_seeds():
    assert needed([50.0, 0.8])[0] is None
    assert needed([50.0, 0.8])[1] is not None
