"""Verdicts: in which order, over how many settings, for which question."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ttest_1samp

from paribus.sweeps.stats.variance import Uncertainty, half_pooled, spread_of_seeds
from paribus.sweeps.stats.verdicts import Pairs, Standard, holm, judge

NOISE = np.array([[0.3, -0.1, -0.2], [-0.2, 0.3, -0.1], [0.1, 0.1, -0.2], [0.2, -0.3, 0.1]])
SIZES = st.floats(0.01, 100).map(lambda x: round(x, 3))


def study(*means, scale=0.01, n=3):
    """One setting for each mean, with noise of its own."""
    return [
        Pairs.of(mean + scale * np.resize(NOISE[i % 4], n), np.zeros(n))
        for i, mean in enumerate(means)
    ]


def verdicts(settings, margin=0.0, **keywords):
    return [one.verdict for one in judge(settings, Standard(margin, len(settings), **keywords))]


def test_better_and_worse_follow_the_direction():
    assert verdicts(study(1.0, -1.0)) == ["better", "worse"]
    assert verdicts(study(1.0, -1.0), higher_is_better=False) == ["worse", "better"]


def test_what_is_surely_too_small_to_matter_is_equivalent_however_significant():
    (found,) = judge(study(1.0), Standard(margin=2.0, planned=1))
    assert found.verdict == "equivalent"
    assert found.headline.p_holm < 0.001
    assert verdicts(study(1.0), margin=1.0) == ["better"]


def test_equivalence_is_two_one_sided_tests():
    d = np.array([0.2, -0.1, 0.3, 0.0])
    for margin in np.linspace(0.1, 0.6, 26):
        below = ttest_1samp(d, margin, alternative="less").pvalue
        above = ttest_1samp(d, -margin, alternative="greater").pvalue
        found = verdicts([Pairs.of(d, np.zeros(4))], margin=margin)
        assert (found == ["equivalent"]) == (max(below, above) < 0.05)


def test_the_same_setting_is_less_sure_among_many():
    d = study(0.012)  # p is 0.02
    assert verdicts(d) == ["better"]
    (found,) = judge(d, Standard(0.0, planned=5))
    assert found.verdict == "undecided"
    assert found.headline.p_holm == pytest.approx(5 * found.headline.p)
    assert found.headline.threshold < found.headline.p


def test_the_example_that_the_docs_work_out_by_hand():
    base = np.array([0.90, 0.88, 0.91, 0.89, 0.92])
    changes = [[0.03, 0.01, 0.02, 0.03, 0.01], [-0.01, 0.02, 0.0, 0.01, -0.01]]
    pairs = [Pairs.of(base + np.array(change), base, folds=range(5)) for change in changes]
    a, b = judge(pairs, Standard(0.005, 2, resolution=0.01, pooled=True))
    assert (a.verdict, b.verdict, b.headline.grade) == ("better", "undecided", None)
    assert a.headline.p == pytest.approx(0.011, abs=5e-4)
    assert a.headline.threshold == pytest.approx(0.05 / 1.05)
    assert (a.headline.low, a.headline.high) == pytest.approx((0.007, 0.033), abs=5e-4)
    assert (a.validation, a.new_data) == (None, a.headline)


# --- what is said of the undecided


@pytest.mark.parametrize(
    ("change", "margin", "higher", "grade"),
    [
        ([0.022, 0.01, 0.002, 0.03, 0.02], 0.0, True, "likely better"),
        ([0.022, 0.01, 0.002, 0.03, 0.02], 0.0, False, "likely worse"),
        ([0.01, -0.05, -0.03, -0.02, 0.03], 0.03, True, "no better"),
        ([0.01, -0.05, -0.03, -0.02, 0.03], 0.03, False, "no worse"),
        ([0.05, -0.05, -0.03, -0.02, 0.03], 0.01, True, None),
    ],
)
def test_grades(change, margin, higher, grade):
    """Among five settings, of which the others do nothing."""
    rng = np.random.default_rng(0)
    others = [Pairs.of(rng.normal(0, 0.02, 5), np.zeros(5), folds=range(5)) for _ in range(4)]
    one = Pairs.of(change, np.zeros(5), folds=range(5))
    found = judge([one, *others], Standard(margin, 5, higher_is_better=higher))[0]
    assert (found.verdict, found.headline.grade) == ("undecided", grade)


def test_a_decided_setting_has_no_grade():
    assert [one.headline.grade for one in judge(study(1.0, -1.0), Standard(0.0, 2))] == [None] * 2


# --- folds


def test_pairs_of_one_fold_are_judged_as_on_one_part():
    d = np.array([0.02, 0.03, 0.01])
    (one,) = judge([Pairs.of(d, np.zeros(3), folds=[2, 2, 2])], Standard(0.0, 1))
    (fixed,) = judge([Pairs.of(d, np.zeros(3))], Standard(0.0, 1))
    assert (one.validation, one.new_data) == (fixed.validation, None)


def test_two_folds_have_one_degree_of_freedom():
    (one,) = judge([Pairs.of([0.02, 0.03], np.zeros(2), folds=[0, 1])], Standard(0.0, 1))
    assert one.headline.uncertainty.df == 1
    assert one.validation is None


def test_a_lost_seed_lowers_the_weight_of_no_other_fold():
    """Folds count alike, however many seeds they have."""
    d, folds = np.array([0.04, 0.02, 0.02, 0.02, 0.02, 0.02]), [0, 1, 2, 3, 4, 0]
    (one,) = judge([Pairs.of(d, np.zeros(6), folds=folds)], Standard(0.0, 1))
    assert one.pairs.mean == pytest.approx((0.03 + 4 * 0.02) / 5)
    assert one.pairs.units == 5


def test_strict_verdicts_and_intervals_are_each_setting_s_own():
    d = study(0.012, 0.0, 0.0, 0.0, 1.0)
    usual, strict = (judge(d, Standard(0.0, 5, strict=strict)) for strict in (False, True))
    assert [one.verdict for one in usual][::4] == ["better", "better"]
    assert [one.verdict for one in strict][::4] == ["undecided", "better"]
    for one in strict:
        assert one.headline.threshold is None
        assert one.headline.confidence == 0.95
        assert (one.verdict == "better") == (one.headline.p_holm <= 0.05)


def test_settings_without_a_pair_count_too():
    settings = [*study(0.012), *[Pairs.of([], [])] * 4]
    assert verdicts(settings) == ["undecided", None, None, None, None]


def test_identical_needs_equal_outputs_in_every_pair():
    same = Pairs.of([0.5, 0.6], [0.5, 0.6], identical=True)
    assert verdicts([same]) == ["identical"]
    assert verdicts([Pairs.of([0.5, 0.6], [0.5, 0.6])], margin=0.1) == ["equivalent"]
    assert verdicts([Pairs.of([0.5], [0.5], identical=True)]) == [None]


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)), st.integers(0, 5))
def test_holm_as_it_is_defined(p, more):
    found = holm(p, len(p) + more)
    ordered = np.sort(p)
    for one, adjusted in zip(p, found, strict=True):
        least = [min(1.0, (len(p) + more - j) * q) for j, q in enumerate(ordered) if q <= one]
        assert adjusted == max(least)


# --- variance borrowed from other settings


def test_fewer_than_five_settings_stand_for_themselves():
    own, df = np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 2.0)
    found = half_pooled(own, df)
    assert found.values.tolist() == own.tolist()
    assert found.df.tolist() == df.tolist()


@given(st.lists(SIZES, min_size=5, max_size=9), st.sampled_from([2.0, 4.0]))
def test_a_borrowed_variance_lies_between_the_own_and_the_common_one(variances, df):
    own, all_df = np.array(variances), np.full(len(variances), df)
    found = half_pooled(own, all_df)
    assert ((found.df >= df) & (found.df <= 2 * df)).all()
    rounding = 1e-12 * max(own)
    assert ((found.values <= max(own) + rounding) & (found.values >= min(own) - rounding)).all()
    assert (np.diff(found.values[np.argsort(own)]) >= -1e-9).all() or (found.df == df).any()
    again = half_pooled(100 * own[::-1], all_df)  # units and order do not matter
    assert again.values[::-1] == pytest.approx(100 * found.values)


def test_equal_variances_agree_completely():
    found = half_pooled(np.full(6, 2.0), np.full(6, 2.0))
    assert found.values == pytest.approx(np.full(6, 2.0))
    assert found.df == pytest.approx(np.full(6, 4.0))


def test_a_much_noisier_setting_keeps_its_own_variance():
    own = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 400.0])
    found = half_pooled(own, np.full(6, 2.0))
    assert (found.values[-1], found.df[-1]) == (400.0, 2.0)
    assert found.values[0] < 10


def test_a_setting_with_two_pairs_borrows_nothing():
    found = half_pooled(np.array([1.0, 1.1, 0.9, 1.0, 1.05, 3.0]), np.array([2.0] * 5 + [1.0]))
    assert (found.values[-1], found.df[-1]) == (3.0, 1.0)
    assert found.df[0] > 2


# --- on new data


def test_examples_that_always_differ_make_new_data_less_sure():
    rng = np.random.default_rng(0)
    by_example = rng.normal(0, 1, 200)
    d = np.stack([by_example + 0.01 * rng.normal(size=200) for _ in range(4)])
    found = spread_of_seeds(d.mean(1), 0.0, d).examples
    assert found == pytest.approx(by_example.var(ddof=1) / 200, rel=0.05)
    (one,) = judge([Pairs.of(d.mean(1), np.zeros(4), d)], Standard(0.0, 1))
    assert one.headline is one.new_data
    wide = one.new_data.high - one.new_data.low
    assert wide > 10 * (one.validation.high - one.validation.low)


def test_noise_of_examples_that_seeds_average_out_is_not_counted_twice():
    rng = np.random.default_rng(1)
    drawn = [rng.normal(size=(5, 300)) for _ in range(200)]
    found = [spread_of_seeds(d.mean(1), 0.0, d).examples for d in drawn]
    assert np.mean(found) < 0.1 / 300  # of 1 / (5 * 300), what the average over seeds has


@given(st.floats(0.001, 10), st.integers(1, 19), st.floats(0, 1), st.floats(0.001, 20))
def test_p_is_the_alpha_whose_interval_just_reaches_zero(error, df, examples, mean):
    found = Uncertainty(error, df, examples)
    p = found.p(mean)
    if 1e-200 < p < 1:
        assert found.reach(p) == pytest.approx(mean, rel=1e-6)
    assert found.p(-mean) == p
