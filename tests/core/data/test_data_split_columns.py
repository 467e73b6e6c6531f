"""Splits by columns: whole groups, the order of time with a gap, shares of a column's values."""

import math
from itertools import chain

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError

TABLE = "who,day,x,y\n" + "".join(f"p{n % 12},2026-01-{n + 1:02},{n},{n % 2}\n" for n in range(24))


def parts_of(columns, labels=None, fold=0, **split):
    """Positions of train, val and test: each example's feature is its position."""
    n = len(next(iter(columns.values())))
    x, y = np.arange(n, dtype=float)[:, None], np.zeros(n) if labels is None else labels
    kind = "values" if labels is None else "classes"
    source = load(lambda: (x, y, columns), {}, name="data d", seed=0, targets=kind)
    usual = "random" if labels is None else "stratified"
    data = prepare(source, Split(**split).resolved(usual, ready_made=False), False, fold=fold)
    return [part.inputs[:, 0].long().tolist() for part in (data.train, data.val, data.test)]


many_groups = st.lists(st.integers(0, 30), min_size=30, max_size=150).filter(
    lambda groups: len(set(groups)) > 7
)


@given(many_groups, st.integers(2, 6), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_no_group_is_in_two_parts_and_folds_are_as_equal_as_groups_allow(groups, folds, seed):
    split = {"group_on": "g", "folds": folds, "seed": seed}
    found = [parts_of({"g": groups}, fold=fold, **split) for fold in range(folds)]
    for train, val, test in found:
        assert sorted(chain(train, val, test)) == list(range(len(groups)))
        of = [{groups[row] for row in part} for part in (train, val, test)]
        assert all(of)
        assert not (of[0] & of[1] | of[0] & of[2] | of[1] & of[2])
        assert test == found[0][2]
    sizes = [len(val) for _, val, _ in found]
    assert max(sizes) - min(sizes) <= np.bincount(groups).max()
    validated = [row for _, val, _ in found for row in val]
    assert len(set(validated)) == len(validated) == len(groups) - len(found[0][2])
    assert found == [parts_of({"g": groups}, fold=fold, **split) for fold in range(folds)]


def test_groups_are_drawn_and_keep_the_shares_of_classes_as_far_as_they_can():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 4)
    labels = (draw.permutation(100) < 20).astype(int)[groups]
    found = [parts_of({"g": groups}, labels, fold, group_on="g") for fold in range(5)]
    shares = [np.mean(labels[rows]) for parts in found for rows in parts[1:]]
    assert max(shares) - min(shares) < 0.08  # of 17 groups of which 3 or 4 are of the rare class
    assert found[0] != parts_of({"g": groups}, labels, group_on="g", seed=1)
    one = parts_of({"g": groups}, labels, group_on="g", val_fraction=0.2)
    assert [round(len(rows) / 400, 2) for rows in one] == [0.65, 0.2, 0.15]


times = st.lists(st.integers(0, 40), min_size=20, max_size=100).filter(lambda t: len(set(t)) > 5)


@given(times, st.integers(0, 5), st.sampled_from([0.0, 0.2]))
@settings(max_examples=60, deadline=None)
def test_validation_lies_after_training_and_test_after_validation(when, gap, test):
    split = {"time_on": "t", "gap": float(gap), "test_fraction": test}
    try:
        train, val, final = ([when[r] for r in rows] for rows in parts_of({"t": when}, **split))
    except RequestError:  # nothing is left of a part
        assume(gap > 0)
        return
    assert max(train) <= min(val) - max(gap, 1)
    assert not final if not test else max(val) <= min(final) - max(gap, 1)
    if gap == 0:
        assert len(train) + len(val) + len(final) == len(when)
    whole, nothing, last = parts_of({"t": when}, fold=None, **split)
    assert (nothing, [when[r] for r in last]) == ([], final)
    assert len(whole) == len(when) if not test else {when[r] for r in whole} >= {*train, *val}


def test_dates_of_any_form_are_ordered_and_their_gap_is_a_duration():
    days = pd.Series(pd.date_range("2025-12-01", periods=100)).sample(frac=1, random_state=0)
    forms = [days.to_numpy(), days, days.dt.strftime("%Y-%m-%d").tolist(), list(days.dt.date)]
    forms += [
        days.dt.strftime("%d/%m/%Y"),
        days.dt.strftime("%m/%d/%Y"),
        days.dt.tz_localize("CET"),
    ]
    found = [parts_of({"t": form}, time_on="t", gap="7d") for form in forms]
    assert all(one == found[0] for one in found)
    assert [len(rows) for rows in found[0]] == [
        64,
        9,
        15,
    ]  # of 70 and 15, six days of each left out
    later = days.to_numpy()[found[0][1]].min() - days.to_numpy()[found[0][0]].max()
    assert later == np.timedelta64(7, "D")


AGES = [f"{n}-06-01" for n in range(1500, 1540)]


@pytest.mark.parametrize(
    ("when", "gap"),
    [
        ([*(f"2020-01-{n:02}" for n in range(1, 32)), *["9999-12-31"] * 9], "1d"),
        ([f"31/12/{n}" for n in range(2250, 2290)], "1d"),
        (AGES, "300d"),
        (np.array(AGES, dtype="datetime64[D]"), "300d"),
        (np.array(AGES, dtype="datetime64[s]"), "1ns"),
        (np.arange(2**63 - 20, 2**63 + 20, dtype=np.uint64), 3.0),
        (np.arange(-(2**63), -(2**63) + 40), 2.5),
        (np.arange(2**62, 2**62 + 40), 3.0),
        (np.arange(-128, -88, dtype=np.int8), 3.0),
    ],
)
def test_times_of_any_size_are_in_their_order(when, gap):
    for length in (None, gap):
        train, val, test = parts_of({"t": when}, time_on="t", gap=length)
        assert max(train) < min(val) <= max(val) < min(test)
        assert max(test) == 39


def test_a_gap_that_no_time_can_have_is_refused():
    for when, gap in (([1, 2, 3, 4], math.inf), (AGES, "999999999d")):
        with pytest.raises(RequestError, match=r"split\.gap=.* does not fit split\.time_on=t"):
            parts_of({"t": when}, time_on="t", gap=gap)


def test_a_column_is_stratified_by_in_place_of_the_class():
    where = ["north"] * 20 + ["south"] * 80
    for fold in range(5):
        train, val, test = parts_of({"w": where}, fold=fold, stratify_on="w")
        assert [sum(row < 20 for row in rows) for rows in (train, val, test)] in (
            [13, 4, 3], [14, 3, 3],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"group_on": "gruop"}, "no such column; it has group, text, odd, hole, day, late. Did"),
        ({"group_on": "hole"}, "split.group_on=hole: empty cells in the column: 1."),
        ({"group_on": "group"}, "split.group_on=group has 5 values for 6 parts. Lower split.folds"),
        ({"group_on": "group", "val_fraction": 0.6, "test_fraction": 0.6}, "are more than 1"),
        ({"time_on": "text"}, "'word' (row 1) is neither a number nor a date. Write dates as 2026"),
        ({"time_on": "late"}, "=late: 'unknown' (row 3) is neither a number nor a date."),
        ({"time_on": "odd"}, "'01/02/2026' may have its day or its month first"),
        ({"time_on": "group", "gap": "7d"}, "split.gap=7d does not fit split.time_on=group"),
        ({"time_on": "day", "gap": 7.0}, "Give a duration, such as 7d or 12h."),
        ({"time_on": "group", "gap": 9.0}, "split.gap=9.0 leaves nothing to train or validate on."),
        ({"time_on": "group", "group_on": "odd"}, "split.time_on=group divides 1 of the 1 values"),
    ],
)  # fmt: skip
def test_columns_that_cannot_divide_are_refused(split, words):
    columns = {
        "group": np.arange(30) % 5, "text": ["word"] * 30, "odd": ["01/02/2026"] * 30,
        "hole": [None, *range(29)], "day": [f"2026-01-{n + 1:02}" for n in range(30)],
        "late": ["2026-01-01", "2026-01-02", "unknown"] * 10,
    }  # fmt: skip
    with pytest.raises(RequestError) as caught:
        parts_of(columns, **split)
    assert words in str(caught.value)


def test_columns_beside_the_features_have_a_value_for_each_example():
    with pytest.raises(
        RequestError, match="column 'g' has shape \\[3\\], and there are 4 examples"
    ):
        load(lambda: ([[1.0]] * 4, [0.0] * 4, {"g": [1, 2, 3]}), {}, name="d", seed=0,
             targets="values")  # fmt: skip


# --- through the resolver, from a table


@pytest.fixture
def asked(small, tmp_path):
    """Asks for a split of a table, with columns left out or kept."""
    (tmp_path / "t.csv").write_text(TABLE)

    def ask(split, seed=0, **data):
        table = {"name": "table", "path": str(tmp_path / "t.csv"), "target": "y", **data}
        return small.run(seed, data=table, split=split)

    return ask


def test_a_group_among_the_features_is_refused_unless_it_is_kept(asked):
    with pytest.raises(RequestError) as caught:
        asked({"group_on": "who"})
    assert str(caught.value) == (
        "split.group_on=who: the column is a feature too, which a model could go by. "
        "data.leave_out=[who] takes it out, data.keep=[who] keeps it."
    )
    out = asked({"group_on": "who"}, leave_out=["who", "day"])
    assert out.configuration["model"]["in_features"] == 1
    kept = asked({"group_on": "who"}, leave_out=["who", "day"], keep=["who"])
    assert kept.configuration["model"]["in_features"] > 1


def test_keys_that_nobody_gives_are_not_recorded_and_columns_decide_the_id(asked, tmp_path):
    plain = asked({}, leave_out=["who", "day"])
    assert plain.configuration["split"].keys() == {"method", "seed", "folds", "test_fraction"}
    assert "keep" not in plain.configuration["data"]
    assert "group_on" not in plain.requested.to_dict()["split"]
    grouped = asked({"group_on": "who"}, leave_out=["who", "day"])
    assert grouped.identity["data"] != plain.identity["data"]


def test_folds_of_unequal_size_are_not_trained_in_one_program(write_small):
    more = """
def grouped():
    x, kind = waves()
    return x, kind, {"who": [0] * 14 + [n // 2 for n in range(14, 60)]}
"""
    small = write_small(more)
    runs = [small.run(seed, data="grouped", split={"group_on": "who"}) for seed in range(5)]
    sizes = {}
    for run in runs:
        data = small.resolver.data(run.requested, run.seed)
        sizes.setdefault(run.group, set()).add((len(data.train), len(data.val)))
    assert len(sizes) > 1
    assert all(len(of_group) == 1 for of_group in sizes.values())


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"time_on": "day", "folds": 5, "stratify_on": "who", "method": "random"},
         [f"{key} contradicts split.time_on" for key in
          ("split.folds=5", "split.stratify_on=who", "split.method=random")]),
        ({"gap": 3.0}, ["split.gap is a length of time, and there is no split.time_on."]),
        ({"group_on": "who", "method": "in_order"},
         ["split.group_on=who needs examples that are drawn, and split.method is in_order."]),
        ({"stratify_on": "who", "method": "random"},
         ["=who needs examples that are stratified, and split.method is random."]),
    ],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_refused_together(asked, split, words):
    with pytest.raises(RequestError) as caught:
        asked(split, leave_out=["who", "day"])
    assert all(some in str(caught.value) for some in words)


def test_ready_made_parts_are_not_divided_by_a_column(write_small):
    more = "\ndef parts():\n    return {'train': waves(), 'val': waves(30)}\n"
    with pytest.raises(RequestError, match=r"so split\.group_on=who would change nothing"):
        write_small(more).run(data="parts", split={"group_on": "who"})
