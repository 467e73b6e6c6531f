"""Seeds added until it is decided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paribus.sweeps.stats.power import Look, judge_looks, looks, spending
from paribus.sweeps.stats.verdicts import ALPHA, Pairs, Standard


def study(rng, means, n=20):
    return rng.normal(size=(len(means), n)) + np.array(means)[:, None]


def judged(d, seeds, standard):
    found = [Look(n, [Pairs.of(row[:n], np.zeros(n)) for row in d]) for n in seeds]
    return judge_looks(found, looks(15), standard)


@given(st.integers(3, 500))
def test_looks_grow_to_the_most_seeds(most):
    found = looks(most)
    assert found[-1] == most
    assert list(found) == sorted(set(found))
    assert set(found[:-1]) <= {3, 5, 10} or most > 15
    spent = spending(found)
    assert sum(spent) == pytest.approx(ALPHA)
    assert min(spent) > 0


def test_fewer_than_three_seeds_have_no_look():
    with pytest.raises(ValueError, match="2 seeds"):
        looks(2)


def test_each_look_spends_its_share():
    d = study(np.random.default_rng(0), [0.0])
    found = [judged(d, looks(15)[:n], Standard(0.0, 1))[0].headline for n in range(1, 5)]
    assert [1 - one.confidence for one in found] == pytest.approx([0.01, 0.02, 0.01, 0.01])


def test_fewer_looks_leave_their_share_to_the_last_and_more_share_it():
    assert spending(looks(3)) == pytest.approx([0.05])
    assert spending(looks(8)) == pytest.approx([0.01, 0.02, 0.02])
    assert looks(25) == (3, 5, 10, 15, 20, 25)
    assert spending(looks(25)) == pytest.approx([0.01, 0.02, 0.01, *[0.01 / 3] * 3])


def test_studies_begun_with_other_looks_keep_their_shares():
    old = spending((3, 5, 8, 12, 20))
    assert old == pytest.approx([0.0075, 0.005, 0.0075, 0.01, 0.02])


@given(st.integers(0, 10_000))
def test_what_is_decided_stays_so_whatever_comes(seed):
    rng = np.random.default_rng(seed)
    means = [0.0, 0.5, 1.0, 2.0, 4.0, -4.0]
    d, held = study(rng, means), Standard(1.5, len(means), pooled=True)
    before = judged(d, [3], held)
    for reached in ([3, 5], [3, 5, 10], [3, 5, 10, 15]):
        after = judged(d, reached, held)
        for one, two in zip(before, after, strict=True):
            if one.decided:
                assert (two, two.pairs.n) == (one, one.pairs.n)
            else:
                assert two.look > one.look
        before = after


def test_a_setting_whose_seeds_are_not_finished_keeps_its_last_look():
    rng = np.random.default_rng(1)
    d, held = study(rng, [0.0, 0.0]), Standard(0.0, 2)
    whole = [Look(n, [Pairs.of(row[:n], np.zeros(n)) for row in d]) for n in (3, 5)]
    part = [whole[0], Look(5, [whole[1].settings[0], None])]
    first, second = judge_looks(part, looks(15), held)
    assert (first.look, second.look) == (5, 3)
    assert second.pairs.n == 3


def test_a_rejected_setting_makes_the_next_ones_easier():
    d = study(np.random.default_rng(2), [50.0, 0.0])
    alone = judged(d[1:], [3, 5], Standard(0.0, 2))[0].headline
    beside = judged(d, [3, 5], Standard(0.0, 2))[1].headline
    assert beside.p_holm == beside.p == alone.p
    assert alone.p_holm == min(1.0, 2 * alone.p)


@given(st.integers(0, 10_000))
def test_strict_looks_adjust_for_the_settings_that_are_left(seed):
    d = study(np.random.default_rng(seed), [8.0, 0.0, 1.0, 2.0, 4.0])
    held = Standard(0.0, 5, strict=True)
    before, after = judged(d, [3], held), judged(d, [3, 5], held)
    left = [place for place, one in enumerate(before) if not one.decided]
    for judgements, places, share in ((before, range(5), 0.01), (after, left, 0.02)):
        answers = [judgements[place].headline for place in places]
        smallest = min(one.p for one in answers)
        assert min(one.p_holm for one in answers) == min(1.0, len(answers) * smallest)
        assert [one.verdict != "undecided" for one in answers] == [
            one.p_holm <= share for one in answers
        ]
