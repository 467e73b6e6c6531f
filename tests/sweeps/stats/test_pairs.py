"""Paired differences, held to scipy's own paired test."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from paribus.sweeps.stats.variance import step_of
from paribus.sweeps.stats.verdicts import Pairs, Standard, judge, mean_and_std

# Of metrics: thousandths, so that ties are common.
VALUES = st.integers(0, 2000).map(lambda n: n / 1000)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12)


def close(a, b):
    return a == pytest.approx(b, rel=1e-9, abs=1e-9)


def judged(level, baseline, **standard):
    (one,) = judge([Pairs.of(level, baseline)], Standard(0.0, 1, **standard))
    return one


@given(PAIRS)
def test_as_scipy_has_it(pairs):
    level, baseline = np.array(pairs).T
    assume(np.std(level - baseline) > 1e-9)
    theirs = ttest_rel(level, baseline)
    interval = theirs.confidence_interval(0.95)
    ours = judged(level, baseline)
    assert ours.pairs.n == len(pairs)
    assert ours.new_data is None
    assert close(ours.pairs.mean, (level - baseline).mean())
    assert close(ours.validation.low, interval.low)
    assert close(ours.validation.high, interval.high)
    assert close(ours.validation.p, theirs.pvalue)
    assert ours.validation.p_holm == ours.validation.p


@given(PAIRS)
def test_the_other_way_round_is_the_same_with_the_other_sign(pairs):
    level, baseline = zip(*pairs, strict=True)
    one, other = judged(level, baseline), judged(baseline, level)
    assert one.pairs.mean == -other.pairs.mean
    one, other = one.validation, other.validation
    assert (one.low, one.high, one.p) == (-other.high, -other.low, other.p)


@given(PAIRS)
def test_the_interval_excludes_zero_where_p_is_below_a_twentieth(pairs):
    found = judged(*zip(*pairs, strict=True)).validation
    assume(abs(found.p - 0.05) > 1e-6)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_nothing_is_said_of_fewer_than_two_pairs():
    for values in ([], [0.5]):
        one = judged(values, [0.25] * len(values))
        assert (one.pairs.n, one.validation, one.verdict) == (len(values), None, None)
    assert one.pairs.mean == 0.25


def test_equal_in_every_pair():
    found = judged([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (found.pairs.mean, found.validation.low, found.validation.high) == (0, 0, 0)
    assert found.validation.p == 1


def test_values_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"2 values .* 3"):
        Pairs.of([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"1 values .* 3"):
        Pairs.of([1], [1, 2, 3])


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
    found = judged([0.9 + 1 / m] * 3, [0.9] * 3, resolution=1 / m).validation
    assert found.low < 0 < found.high
    assert found.p == pytest.approx(0.074, abs=0.001)


def test_a_spread_wider_than_one_example_is_left_alone():
    level, baseline = [0.91, 0.95, 0.93], [0.90, 0.90, 0.90]
    assert judged(level, baseline, resolution=0.001) == judged(level, baseline)


@given(PAIRS)
def test_what_pairing_was_worth(pairs):
    level, baseline = np.array(pairs).T
    found = Pairs.of(level, baseline)
    assume(len(pairs) > 2 and np.ptp(level) and np.ptp(baseline) and np.ptp(level - baseline))
    # As many unpaired seeds have the standard error that these pairs have.
    unpaired = (level.var(ddof=1) + baseline.var(ddof=1)) / found.unpaired_worth
    assert close(unpaired, (level - baseline).var(ddof=1) / len(pairs))


def test_no_worth_of_what_does_not_vary():
    assert Pairs.of([1, 2, 3], [1, 2, 3]).unpaired_worth is None


@given(st.lists(st.integers(0, 270), min_size=1, max_size=30))
def test_accuracies_that_differ_by_an_example_move_in_its_steps(right):
    values = [count / 270 for count in (*right, right[0] + 1)]
    assert step_of(values) == pytest.approx(1 / 270)


def test_values_printed_with_four_digits_have_steps_too():
    values = [round(count / 270, 4) for count in (250, 252, 255, 259, 261)]
    assert step_of(values) == pytest.approx(1 / 270, rel=0.02)


def test_losses_have_no_steps():
    assert step_of([0.5, 0.6, 0.7, 0.4901, 0.5899, 0.69]) < 1e-6
    assert step_of([]) < 1e-6
    assert step_of([0.25, 0.25]) < 1e-6
