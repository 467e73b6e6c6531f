"""Folds: cut once, equally large; the run of seed j validates on fold j mod folds."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from paribus.core.config.schema import Configuration
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError
from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Job


def folds_of(labels, folds=5, method="stratified", seed=0, test=0.15):
    """Positions of (train, val, test) for each fold: each example's feature is its position."""
    from paribus.core.config.schema import Split

    x = np.arange(len(labels), dtype=float)[:, None]
    kind = "classes" if method == "stratified" else "values"
    source = load(lambda: (x, labels), {}, name="d", seed=0, targets=kind)
    split = Split(method=method, seed=seed, folds=folds, test_fraction=test)
    found = []
    for fold in range(folds):
        data = prepare(source, split, standardize=False, fold=fold)
        parts = (data.train, data.val, data.test)
        found.append([part.inputs[:, 0].long().tolist() for part in parts])
        for part, rows in zip(parts, found[-1], strict=True):
            assert torch.equal(part.targets, source.parts["all"].targets[torch.tensor(rows).long()])
    return found


sizes = st.integers(2, 7)
fractions = st.floats(0, 0.4)


@given(st.integers(8, 150), sizes, st.integers(0, 9), fractions)
def test_folds_are_disjoint_equally_large_and_together_all_but_test_and_a_few(n, folds, seed, test):
    left = n - round(n * test)
    assume(left >= folds)
    found = folds_of(np.linspace(0, 1, n), folds, "random", seed, test)
    validated = [row for _, val, _ in found for row in val]
    assert len(set(validated)) == len(validated) == left // folds * folds
    assert {len(val) for _, val, _ in found} == {left // folds}
    for train, val, kept in found:
        assert sorted(chain(train, val, kept)) == list(range(n))
        assert kept == found[0][2]
        assert len(kept) == round(n * test)
    assert found == folds_of(np.linspace(0, 1, n), folds, "random", seed, test)


@given(st.lists(st.integers(10, 40), min_size=2, max_size=6), sizes, st.integers(0, 9), fractions)
def test_stratified_folds_differ_by_one_example_of_a_class(counts, folds, seed, test):
    labels = np.repeat(np.arange(len(counts)), counts)
    assume(all(n - n * test >= folds + 1 for n in counts))
    found = folds_of(labels, folds, seed=seed, test=test)
    of_classes = np.array([np.bincount(labels[val], minlength=len(counts)) for _, val, _ in found])
    assert np.ptp(of_classes, axis=0).max() <= 1
    assert of_classes.min() >= 1
    assert len(set(of_classes.sum(1))) == 1
    share = np.bincount(labels[found[0][2]], minlength=len(counts)) / np.array(counts)
    assert np.abs(share * counts - test * np.array(counts)).max() < 1 + 1e-9


def test_other_split_seeds_give_other_folds():
    labels = [0, 1] * 40
    assert folds_of(labels)[0] != folds_of(labels, seed=1)[0]


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ([0] * 30 + [1] * 4, 5, ("split.folds=5 cannot have each class in each fold beside 5 test "
         "examples; too few examples in class '1' (4). Set split.folds=3, or use "
         "split.method=random.")),
        ([0] * 40 + [1] * 2, 5, "Set split.folds=2, or use split.method=random."),
        ([0] * 30 + [1], 5, "in class '1' (1). Give more examples of it, or leave it out."),
        (list(range(30)) * 2, 5, "Then task=regression."),
        ([0, 1, 0], 4, ("of 3 examples 3 are left, too few for so many folds. Lower them; "
         "split.folds=1 has one validation part for all seeds.")),
    ],
)  # fmt: skip
def test_too_few_examples_are_refused_with_the_remedy(labels, folds, message):
    with pytest.raises(RequestError) as caught:
        folds_of(labels, folds)
    assert message in str(caught.value)


# --- through the resolver


def test_a_seed_decides_the_fold_and_each_fold_is_standardized_by_its_own_training(small):
    asked = small.asked()
    found = [small.resolver.data(asked, seed) for seed in range(6)]
    assert len({data.preprocessing["standardize"]["mean"][0] for data in found}) == 5
    assert found[0] is found[5]
    for data in found:
        assert data.train.inputs.mean(0) == pytest.approx(torch.zeros(4), abs=1e-5)
        assert [len(data.train), len(data.val), len(data.test)] == [41, 10, 9]


def test_one_fold_is_what_it_was_before_there_were_folds(small):
    """It has the identity of a run that was recorded then, whose configuration has a share."""
    one = small.run(split={"folds": 1})
    before = small.run(split={"method": None, "seed": 0, "val_fraction": 0.15})
    assert one.id == before.id
    assert one.configuration["split"] == {
        "method": "stratified", "seed": 0, "val_fraction": 0.15, "test_fraction": 0.15,
    }  # fmt: skip
    five = small.run()
    assert five.id != one.id
    assert five.configuration["split"] == {
        "method": "stratified", "seed": 0, "folds": 5, "test_fraction": 0.15,
    }  # fmt: skip
    assert five.id == small.run(split=five.configuration["split"]).id


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"folds": 5, "val_fraction": 0.2}, "give either split.folds or split.val_fraction"),
        ({"folds": 0}, "split.folds=0: must be a whole number of at least 1"),
        ({"folds": 5, "method": "in_order"}, ("split.folds=5 needs examples that are drawn, and "
         "split.method is in_order. Leave split.folds out, or set split.method=random.")),
    ],
)  # fmt: skip
def test_what_contradicts_folds_is_refused(small, split, words):
    with pytest.raises(RequestError) as caught:
        small.run(split=split)
    assert words in str(caught.value)


def test_folds_and_a_share_replace_each_other(small):
    share = small.asked().replace("split.val_fraction", 0.2)
    assert small.resolver.split(share).folds == 1
    again = share.replace("split.folds", 3)
    assert (again.split.folds, again.split.val_fraction) == (3, None)
    kept = share.replace("split.folds", 1)  # the share is that of the one part
    assert (kept.split.folds, kept.split.val_fraction) == (1, 0.2)
    assert isinstance(kept, Configuration)


def test_in_order_and_no_split_have_one_part(small):
    for method in ("in_order", "none"):
        assert small.resolver.split(small.asked(split={"method": method})).folds == 1


def bits(small, runs):
    found = {run.id: [] for run in runs}
    for reports in Cohort().train(Job(tuple(runs), small.resolver), {}):
        for report in reports:
            line = {k: v for k, v in report.line.items() if k != "seconds"}
            found[report.run].append((line, report.best.outputs.tolist()))
    return found


@pytest.mark.parametrize("standardize", [True, False])
def test_members_of_different_folds_have_their_bits_alone_and_together(small, standardize):
    dropout = {"model": {"name": "mlp", "hidden_dim": 8, "dropout": 0.3}}
    runs = [
        small.run(seed, standardize=standardize, **change)
        for seed in (0, 3, 1, 5) for change in ({}, dropout)
    ]  # fmt: skip
    assert len({run.group for run in runs}) == 1
    together = bits(small, runs)
    for run in runs:
        assert bits(small, [run])[run.id] == together[run.id]
    assert len({str(found) for found in together.values()}) == len(runs)


WORDS = """
import pandas


def cells():
    kind = [row % 3 for row in range(60)]
    rare = ["rare" if row < 3 else "often" for row in range(60)]
    return pandas.DataFrame({"x": [float(row) for row in range(60)], "word": rare}), kind
"""


def test_a_fold_whose_training_lacks_a_word_is_resolved_and_trained_on_its_own(write_small):
    small = write_small(WORDS)
    runs = [small.run(seed, data="cells") for seed in range(5)]
    widths = [run.configuration["model"]["in_features"] for run in runs]
    assert len({run.group for run in runs}) == len(set(widths))
    for run, width in zip(runs, widths, strict=True):
        assert small.resolver.data(run.requested, run.seed).input_shape == (width,)
        assert bits(small, [run])[run.id]
