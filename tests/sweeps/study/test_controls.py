"""The proof that all else was equal, on records as they would be if something were not."""

import pytest

from paribus.core.records.record import Epoch, Facts, RunRecord
from paribus.sweeps.study.controls import disagreement, same_surroundings, shared_tensors

START = {"a": "1", "b": "2"}
IDENTITY = {
    "format": 1, "numerics": 1, "environment": {"torch": "2"}, "data": "d0",
    "sources": {"mine.py:Net": "n0", "mine.py:data": "s0"}, "distributions": {"timm": "1"},
    "files": {}, "variables": {},
}  # fmt: skip


def record(start=START, epochs=3, updates=None):
    return RunRecord.model_construct(
        initial_weights=start,
        facts=Facts(epochs=epochs, parameters=1),
        configuration={"train": {"updates": updates}},
    )


def history(*orders):
    return lambda: [Epoch(epoch=n, metrics={}, order_sha256=o) for n, o in enumerate(orders, 1)]


def said(key, run=None, orders="xyz", base=None, base_orders="xyz"):
    both = base or record(), run or record()
    return disagreement(key, *both, history(*base_orders), history(*orders))


@pytest.mark.parametrize(
    ("key", "may_differ"),
    [
        ("optimizer.lr", False), ("loss", False), ("scheduler", False), ("train.batch_size", False),
        ("standardize", False), ("model.hidden_dim", True), ("model", True), ("data.n", True),
        ("task", True), ("split.seed", True), ("train.start_from", True), ("train.only", False),
        ("augment", False),
    ],
)  # fmt: skip
def test_initial_weights(key, may_differ):
    assert said(key) is None
    found = said(key, record({"a": "1", "b": "3"}))
    assert (found is None) == may_differ
    assert may_differ or "initial weights differ" in found


@pytest.mark.parametrize(
    ("key", "may_differ"),
    [
        ("optimizer.lr", False), ("model.hidden_dim", False), ("train.epochs", False),
        ("train.batch_size", True), ("data", True), ("data.n", True), ("split.val_fraction", True),
    ],
)  # fmt: skip
def test_batch_order(key, may_differ):
    found = said(key, orders="xYz")
    assert (found is None) == may_differ
    assert may_differ or "epoch 2 differs" in found


def test_order_is_compared_over_the_epochs_that_both_have():
    assert said("train.epochs", record(epochs=5), orders="xyzuv") is None
    assert said("train.epochs", record(epochs=1), orders="x") is None
    assert "epoch 3" in said("train.epochs", record(epochs=5), orders="xyZuv")


def test_orders_are_paired_by_epoch():
    both, epochs = (record(), record()), history(*"xyz")()
    assert disagreement("optimizer.lr", *both, lambda: epochs, lambda: epochs[1:]) is None
    assert disagreement("optimizer.lr", *both, lambda: epochs[1:], lambda: epochs) is None


def test_an_epoch_that_a_number_of_updates_cut_short_is_another():
    ten, five = record(epochs=3, updates=10), record(epochs=2, updates=5)
    assert said("train.updates", five, orders="xY", base=ten) is None
    assert "epoch 1" in said("train.updates", five, orders="XY", base=ten)


def test_shared_tensors():
    wider = record({"a": "1", "b": "9", "c": "3"})
    assert shared_tensors(record(), wider) == (1, 3)
    assert shared_tensors(record(None), wider) == (0, 3)


def same(data=True, **changes):
    return same_surroundings(IDENTITY, IDENTITY | changes, data=data)


def test_surroundings():
    assert same()
    assert same(seed=3, configuration={"x": 1})
    assert not same(format=2)
    assert not same(numerics=2)
    assert not same(environment={"torch": "3"})
    assert not same(distributions={"timm": "2"})
    assert not same(sources={"mine.py:Net": "n1"})


def test_sources_that_one_side_alone_uses_may_differ():
    assert same(sources={"mine.py:Net": "n0", "mine.py:loss": "l0"})
    assert same(sources={}, distributions={})


def test_data_counts_unless_it_is_what_changed():
    assert not same_surroundings(IDENTITY, IDENTITY | {"data": "d1"}, data=True)
    assert same_surroundings(IDENTITY, IDENTITY | {"data": "d1"}, data=False)
