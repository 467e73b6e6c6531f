"""Effects, held to scipy's own paired test."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from sweeps.effects.paired import mean_and_std, paired_difference

# Of metrics: thousandths, so that ties are common.
VALUES = st.integers(0, 2000).map(lambda n: n / 1000)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12)


def close(a, b):
    return a == pytest.approx(b, rel=1e-9, abs=1e-9)


@given(PAIRS, st.sampled_from([0.8, 0.95, 0.99]))
def test_as_scipy_has_it(pairs, confidence):
    level, baseline = np.array(pairs).T
    assume(np.std(level - baseline) > 1e-9)
    theirs = ttest_rel(level, baseline)
    interval = theirs.confidence_interval(confidence)
    ours = paired_difference(level, baseline, confidence)
    assert ours.n == len(pairs)
    assert close(ours.mean, (level - baseline).mean())
    assert close(ours.low, interval.low)
    assert close(ours.high, interval.high)
    assert close(ours.p, theirs.pvalue)


@given(PAIRS)
def test_the_other_way_round_is_the_same_with_the_other_sign(pairs):
    level, baseline = zip(*pairs, strict=True)
    one, other = paired_difference(level, baseline), paired_difference(baseline, level)
    assert (one.mean, one.low, one.high, one.p) == (-other.mean, -other.high, -other.low, other.p)


@given(PAIRS)
def test_the_interval_excludes_zero_where_p_is_below_a_twentieth(pairs):
    found = paired_difference(*zip(*pairs, strict=True))
    assume(found.p is not None and abs(found.p - 0.05) > 1e-6)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_nothing_is_said_of_no_pair_and_no_interval_of_one():
    assert vars(paired_difference([], [])) == {
        "n": 0, "mean": None, "low": None, "high": None, "p": None
    }  # fmt: skip
    assert vars(paired_difference([0.5], [0.25])) == {
        "n": 1, "mean": 0.25, "low": None, "high": None, "p": None
    }  # fmt: skip


def test_equal_in_every_pair():
    found = paired_difference([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_same_difference_in_every_pair_has_an_interval_of_no_width():
    found = paired_difference([0.75, 1.0, 0.5], [0.5, 0.75, 0.25])
    assert (found.mean, found.low, found.high, found.p) == (0.25, 0.25, 0.25, None)


def test_values_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"2 values .* 3"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"1 values .* 3"):
        paired_difference([1], [1, 2, 3])


@given(st.lists(VALUES, max_size=8))
def test_mean_and_std(values):
    mean, std = mean_and_std(values)
    if not values:
        assert mean is None
    else:
        assert close(mean, math.fsum(values) / len(values))
    if len(values) < 2:
        assert std is None
    else:
        assert close(std, np.std(values, ddof=1))
    json.dumps([mean, std], allow_nan=False)


def test_equal_differences_of_one_example_are_no_certainty():
    m = 270
    found = paired_difference([0.9 + 1 / m] * 3, [0.9] * 3, resolution=1 / m)
    assert found.low < 0 < found.high
    assert 0.05 < found.p < 0.1


def test_a_spread_wider_than_one_example_is_left_alone():
    level, baseline = [0.91, 0.95, 0.93], [0.90, 0.90, 0.90]
    assert paired_difference(level, baseline, resolution=0.001) == paired_difference(
        level, baseline
    )
