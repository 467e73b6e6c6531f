"""Batches: in memory and through a data set with its own random transform."""

from __future__ import annotations

import multiprocessing
import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from paribus.core.config.schema import Split
from paribus.core.data.arrays import standardized
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError

N = 10


class Noisy(Dataset):
    """Adds noise from all three global generators, each time it is read."""

    classes = ("cat", "dog")

    def __init__(self, examples=N, kind=torch.tensor, target=lambda row: row % 2):
        self.examples, self.kind, self.target, self.reads = examples, kind, target, 0

    def __len__(self):
        return self.examples

    def __getitem__(self, row):
        self.reads += 1
        noise = [random.random(), np.random.rand(), float(torch.rand(()))]
        return self.kind([10.0 * row + value for value in noise]), self.target(row)


def prepared(returned, method="none", standardize=None, targets="classes"):
    source = load(lambda: returned, {}, name="noisy", seed=0, targets=targets)
    return prepare(source, Split(method=method, val_fraction=0.3, test_fraction=0.2), standardize)


def table():
    return np.arange(2.0 * N).reshape(N, 2), [0, 1] * (N // 2)


def joined(batches):
    inputs, targets = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(targets)


class OwnGenerator(Noisy):
    """Draws from a generator that paribus cannot seed: loader workers would draw otherwise."""

    def __init__(self, place):
        super().__init__()
        self.place, self.generator = place, np.random.default_rng(0)

    def __getitem__(self, row):
        x, y = torch.tensor([float(row)]), row % 2
        draw = self.generator.random()
        return (x + draw, y) if self.place == "x" else (x, y + 2 * int(draw < 0.5))


@pytest.mark.parametrize("place", ["x", "y"])
def test_a_dataset_that_draws_from_a_generator_of_its_own_is_refused(place):
    with pytest.raises(RequestError, match=r"noisy: item \d is another one when it is read again"):
        prepared(OwnGenerator(place))


@pytest.mark.parametrize("returned", [table(), Noisy()], ids=["in_memory", "dataset"])
def test_batches_follow_the_order_and_keep_the_rest(returned):
    part = prepared(returned, "random", standardize=False).train
    order = torch.tensor([4, 0, 3, 1, 2])
    batches = list(part.batches(2, order))
    assert [len(x) for x, _ in batches] == [2, 2, 1]
    assert all(isinstance(batch, tuple) for batch in batches)
    inputs, targets = joined(batches)
    as_they_stand, all_targets = joined(part.batches(3))
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, as_they_stand[order])
    assert torch.equal(targets, all_targets[order])
    assert torch.equal(all_targets, part.targets)
    few, their_targets = part.inputs_of(2)
    assert torch.equal(few, as_they_stand[:2])
    assert torch.equal(their_targets, part.targets[:2])
    assert len(part.inputs_of(99)[0]) == len(part) == 5


def test_changing_a_batch_in_place_changes_no_data():
    part = prepared(table()).train
    before = part.inputs.clone()
    for order in (None, torch.arange(len(part))):
        for inputs, targets in part.batches(4, order):
            inputs.zero_(), targets.zero_()
    assert torch.equal(part.inputs, before)
    assert part.targets.any()


def test_an_empty_part_has_no_batches():
    for returned in (table(), Noisy()):
        source = load(lambda r=returned: r, {}, name="d", seed=0, targets="classes")
        split = Split(method="random", val_fraction=0.3, test_fraction=0.0)
        data = prepare(source, split, standardize=None)
        assert list(data.test.batches(2)) == []
        with pytest.raises(RequestError, match="has no examples"):
            data.test.inputs_of(1)


# ------------------------------------------------------------------- data sets


def test_draws_follow_from_seed_epoch_and_example_alone():
    part = prepared(Noisy()).train
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))

    def read(draw, order=None, batch_size=3):
        return joined(part.batches(batch_size, order, draw))[0]

    first = read((0, 1))
    torch.manual_seed(99), random.seed(99), np.random.seed(99)
    assert torch.equal(first, read((0, 1)))
    assert torch.equal(first, read((0, 1), batch_size=7))
    assert torch.equal(first[order], read((0, 1), order))
    for other in ((0, 2), (1, 1), None):
        assert (first != read(other)).all()
    assert torch.equal(read(None), read(None))
    noise = first - 10 * torch.arange(N)[:, None]
    assert ((noise >= -1e-4) & (noise <= 1.001)).all()
    assert len(noise[:, 0].unique()) == N


def test_loader_workers_read_the_same_and_leave_generators_alone():
    dataset = Noisy()
    part = prepared(dataset).train
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    here = joined(part.batches(3, order, (0, 1)))
    reads, drawn = dataset.reads, (random.getstate(), torch.get_rng_state().tolist())
    there = joined(part.batches(3, order, (0, 1), workers=2))
    assert dataset.reads == reads  # not in this process
    assert all(map(torch.equal, here, there))
    assert (random.getstate(), torch.get_rng_state().tolist()) == drawn


def test_draws_belong_to_the_example_not_to_its_place_in_the_part():
    dataset = Noisy()
    whole = joined(prepared(dataset).train.batches(4, draw=(0, 1)))[0]
    part = prepared(dataset, "random").val
    rows = (joined(part.batches(4))[0][:, 0] / 10).floor().long()
    assert len(rows) == 3
    assert torch.equal(joined(part.batches(4, draw=(0, 1)))[0], whole[rows])


def test_global_generators_are_untouched_before_between_and_after_batches():
    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    before = state()
    part = prepared(Noisy()).train
    assert state() == before
    for _ in part.batches(3, torch.arange(N), draw=(0, 1)):
        assert state() == before
    assert state() == before


def test_a_dataset_is_read_at_load_and_then_only_for_batches():
    dataset = Noisy()
    data = prepared(dataset, "stratified")
    assert dataset.reads == N + 8  # the first ones twice
    dataset.reads = 0
    list(data.val.batches(2))
    assert dataset.reads == len(data.val)


def test_a_dataset_is_described_like_a_table():
    data = prepared(Noisy(), "stratified")
    assert (data.input_shape, data.outputs, data.class_names) == ((3,), 2, ("cat", "dog"))
    assert data.preprocessing["standardize"] is None
    assert [len(data.train), len(data.val), len(data.test)] == [5, 3, 2]


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (lambda x: np.array(x), (3,)),
        (lambda x: torch.tensor(x).int(), (3,)),
        (list, (3,)),
        (lambda x: x[0], (1,)),
        (lambda x: torch.tensor(x[0]), (1,)),
        (lambda x: np.array(x[0]), (1,)),
        (lambda x: np.float64(x[0]), (1,)),
    ],
)
def test_items_of_all_kinds_become_float32(kind, shape):
    data = prepared(Noisy(kind=kind))
    assert data.input_shape == shape
    inputs, _ = data.train.inputs_of(4)
    assert inputs.shape == (4, *shape)
    assert inputs.dtype == torch.float32


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (lambda row: ["b", "a"][row % 2], ("a", "b")),
        (lambda row: torch.tensor(1 - row % 2), ("cat", "dog")),
        (lambda row: torch.tensor([1.0 - row % 2]), ("cat", "dog")),
        (lambda row: np.int64(1 - row % 2), ("cat", "dog")),
        (lambda row: row % 2 == 0, ("False", "True")),
    ],
)
def test_labels_of_items_are_encoded_in_batches_too(target, names):
    data = prepared(Noisy(target=target))
    assert data.class_names == names
    _, targets = joined(data.train.batches(4))
    assert targets.tolist() == data.train.targets.tolist() == [1, 0] * (N // 2)
    assert targets.dtype == data.train.targets.dtype == torch.int64


@pytest.mark.parametrize("target", [float, lambda r: torch.tensor(r), lambda r: np.array([r])])
def test_quantities_of_items(target):
    data = prepared(Noisy(target=target), targets="values")
    _, targets = joined(data.train.batches(4))
    assert torch.equal(targets, torch.arange(N, dtype=torch.float32)[:, None])
    assert torch.equal(targets, data.train.targets)
    two = prepared(Noisy(target=lambda r: torch.tensor([r, -r])), targets="values")
    assert two.outputs == 2
    assert torch.equal(joined(two.train.batches(3))[1], two.train.targets)


def test_a_label_that_comes_up_later_is_refused():
    dataset = Noisy()
    part = prepared(dataset).train
    dataset.target = lambda row: 5
    with pytest.raises(RequestError, match="gave the label 5, which no example had"):
        list(part.batches(2))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_ends_an_iteration_is_an_error_not_the_end_of_the_part(workers):
    dataset = Noisy()
    part = prepared(dataset).train
    dataset.target = lambda row: row % 2 if row < 5 else next(iter(()))
    before = {*multiprocessing.active_children()}  # such as workers of other tests
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(part.batches(2, workers=workers))
    assert {*multiprocessing.active_children()} <= before


def test_fingerprint_of_a_dataset_sees_items_and_class_names():
    def fingerprint(dataset):
        return load(lambda: dataset, {}, name="d", seed=0, targets="classes").fingerprint

    renamed = Noisy()
    renamed.classes = ["cat", "wolf"]
    seen = [
        fingerprint(Noisy()),
        fingerprint(Noisy(examples=N - 1)),
        fingerprint(Noisy(target=lambda row: int(row == 3))),
        fingerprint(Noisy(kind=lambda x: torch.tensor(x) + (x[0] > 80))),
        fingerprint(renamed),
    ]
    assert len(set(seen)) == len(seen)
    assert fingerprint(Noisy()) == seen[0]


def test_parts_of_data_sets():
    data = prepared({"train": Noisy(), "val": Noisy(4)})
    assert [len(data.train), len(data.val), len(data.test)] == [10, 4, 0]
    assert len(joined(data.val.batches(3))[0]) == 4


# ------------------------------------------------------------- standardization


def test_tables_are_standardized_by_their_training_part_alone():
    features = np.random.default_rng(0).normal(5, 3, (N, 2))
    features[:, 1] = 0.1  # a constant column
    data = prepared((features, table()[1]), "in_order")
    exact = features[:5].astype(np.float32).astype(np.float64)
    recipe = data.preprocessing["standardize"]
    assert recipe["mean"] == pytest.approx([exact[:, 0].mean(), np.float32(0.1)], rel=1e-12)
    assert recipe["scale"] == pytest.approx([exact[:, 0].std(), 1.0], rel=1e-12)
    assert data.train.inputs[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert data.train.inputs[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert (data.train.inputs[:, 1] == 0).all()
    expected = (features[5:8] - recipe["mean"]) / recipe["scale"]
    assert data.val.inputs.numpy() == pytest.approx(expected, abs=1e-5)
    assert data.val.inputs.dtype == torch.float32
    again = standardized(torch.tensor(features, dtype=torch.float32), recipe)
    assert torch.equal(again, torch.cat([data.train.inputs, data.val.inputs, data.test.inputs]))


def test_values_of_other_parts_do_not_change_the_training_part():
    features, labels = table()
    shifted = features.copy()
    shifted[5:] *= 1000
    first, second = (prepared((x, labels), "in_order") for x in (features, shifted))
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert not torch.equal(first.val.inputs, second.val.inputs)


def test_standardize_can_be_declined():
    data = prepared(table(), standardize=False)
    assert data.preprocessing["standardize"] is None
    assert torch.equal(data.train.inputs, torch.tensor(table()[0], dtype=torch.float32))
    assert standardized(data.train.inputs, None) is data.train.inputs


def test_images_are_standardized_by_channel_and_only_when_asked():
    images = np.random.default_rng(0).normal(5, 3, (N, 2, 4, 4))
    images[:, 1] *= 10
    assert prepared((images, table()[1])).preprocessing["standardize"] is None
    data = prepared((images, table()[1]), standardize=True)
    assert len(data.preprocessing["standardize"]["mean"]) == 2
    channels = data.train.inputs.transpose(0, 1).flatten(1)
    assert channels.mean(1).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert channels.std(1, correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_a_dataset_is_not_standardized():
    with pytest.raises(RequestError, match="the data set's own transform should do it"):
        prepared(Noisy(), standardize=True)
