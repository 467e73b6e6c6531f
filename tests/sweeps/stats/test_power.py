"""What a number of seeds can find out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, t

from paribus.sweeps.stats.power import MOST_SEEDS, detectable, seeds_to_decide, smallest_difference
from paribus.sweeps.stats.variance import Uncertainty


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
    assert smallest_difference(many, 1000, 0.05) > 0.028  # (1.96 + 0.84) * 0.01
    assert smallest_difference(few, 3, 0.05) > smallest_difference(many, 1000, 0.05)
    assert seeds_to_decide(few, 3, 0.02, 0.001, 0.05, 0.05) is None


@given(st.floats(0.0, 3.0), st.floats(0.05, 1.0))
def test_so_many_seeds_decide_it_and_one_less_does_not(mean, margin):
    spread = Uncertainty(1 / math.sqrt(3), 2)
    needed = seeds_to_decide(spread, 3, mean, margin, 0.05, 0.05)
    if needed is None:
        assert detectable(MOST_SEEDS, MOST_SEEDS - 1, 0.05) > mean
        return
    finds = [detectable(n, n - 1, 0.05) <= mean for n in (needed, max(3, needed - 1))]
    if mean > margin:  # only a difference can be shown
        assert finds[0]
        assert needed == 4 or not finds[1]
