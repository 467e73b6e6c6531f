"""Every accepted form of data gives the same parts, and every other is refused with a reason."""

from __future__ import annotations

import json
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets
from sklearn.utils import Bunch
from torch.utils.data import TensorDataset

from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.data.targets import ENCODERS

X = np.arange(24.0).reshape(12, 2)
Y = np.array([0, 1, 2] * 4)


def loaded(returned, targets="classes", **keywords):
    return load(lambda: returned, {}, name="mydata", seed=0, targets=targets, **keywords)


def prepared(returned, targets="classes", method="none", standardize=False, **keywords):
    fractions = {"val_fraction": 0.25, "test_fraction": 0.25, "seed": 0} | keywords
    source = loaded(returned, targets)
    return prepare(source, Split(method=method, **fractions), standardize)


FORMS = {
    "arrays": (X, Y),
    "strided": (np.asfortranarray(X), Y),
    "big_endian": (X.astype(">f8"), Y.astype(">i4")),
    "tensors": (torch.tensor(X), torch.tensor(Y)),
    "bfloat16": (torch.tensor(X, dtype=torch.bfloat16), torch.tensor(Y)),
    "needs_grad": (torch.tensor(X, requires_grad=True), torch.tensor(Y)),
    "uint8": (X.astype(np.uint8), Y.astype(np.uint8)),
    "lists": (X.tolist(), Y.tolist()),
    "list_of_tensors": (X, [torch.tensor(int(y)) for y in Y]),
    "tuple_of_labels": (X, tuple(Y.tolist())),
    "column_of_labels": (X, Y[:, None]),
    "frame": (pd.DataFrame(X, columns=["a", "b"]), pd.Series(Y)),
    "frame_of_kinds": (
        pd.DataFrame({"a": X[:, 0].astype(int), "b": pd.array(X[:, 1], dtype="Float64")}),
        pd.DataFrame({"y": Y}),
    ),
    "bunch": Bunch(data=X, target=Y, feature_names=["a", "b"], target_names=np.array(list("uvw"))),
    "bunch_of_frames": Bunch(data=pd.DataFrame(X, columns=["a", "b"]), target=pd.Series(Y)),
    "tensor_dataset": TensorDataset(torch.tensor(X), torch.tensor(Y)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_table(form):
    data = prepared(FORMS[form])
    assert data.train.inputs.dtype == torch.float32
    assert data.train.inputs.is_contiguous()
    assert torch.equal(data.train.inputs, torch.tensor(X, dtype=torch.float32))
    assert data.train.targets.dtype == torch.int64
    assert data.train.targets.tolist() == Y.tolist()
    assert (data.input_shape, data.outputs) == ((2,), 3)
    assert data.class_names == (("u", "v", "w") if form == "bunch" else ("0", "1", "2"))
    named = form in ("frame", "frame_of_kinds", "bunch", "bunch_of_frames")
    assert data.columns == (("a", "b") if named else None)


def test_users_array_is_copied():
    features = X.astype(np.float32)
    data = prepared((features, Y))
    features[:] = -1
    assert torch.equal(data.train.inputs, torch.tensor(X, dtype=torch.float32))


def test_features_without_dimensions_are_one_column():
    data = prepared((X[:, 0], Y))
    assert data.input_shape == (1,)
    assert len(data.val) == 12


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c"), [1, 0, 1, 2]),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c"), [1, 0, 1, 2]),
        (pd.Series(["b", "a", "b", "c"], dtype="category"), ("a", "b", "c"), [1, 0, 1, 2]),
        ([10, 9, 10, -1], ("-1", "9", "10"), [2, 1, 2, 0]),
        (np.array([10.0, 9.0, 10.0, -1.0]), ("-1", "9", "10"), [2, 1, 2, 0]),
        ([10, 9.0, 10, 9], ("9", "10"), [1, 0, 1, 0]),
        ([True, False, True, True], ("False", "True"), [1, 0, 1, 1]),
        (np.array([True, False, True, True], dtype=object), ("False", "True"), [1, 0, 1, 1]),
        (torch.tensor([True, False, True, True]), ("False", "True"), [1, 0, 1, 1]),
    ],
)
def test_labels_become_codes_in_order_of_value(labels, names, codes):
    data = prepared((X[:4], labels))
    assert data.class_names == names
    assert data.train.targets.tolist() == codes
    assert data.outputs == len(names)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 2, 0, 2], ("u", "w")),  # a class without examples has no output
        (["0", "1", "0", "1"], ("0", "1")),
    ],
)
def test_target_names_name_the_labels_from_zero_on(labels, names):
    bunch = Bunch(data=X[:4], target=np.array(labels), target_names=["u", "v", "w"])
    assert prepared(bunch).class_names == names


def test_sklearn_data_sets_work_as_they_stand():
    wine = prepared(datasets.load_wine(), method="stratified")
    assert wine.class_names == ("class_0", "class_1", "class_2")
    assert wine.columns[:2] == ("alcohol", "malic_acid")
    assert wine.filled(3) == {
        "in_features": 13,
        "out_features": 3,
        "num_classes": 3,
        "input_shape": [13],
    }
    assert prepared(datasets.load_wine(as_frame=True)).columns == wine.columns
    linnerud = prepared(datasets.load_linnerud(), "values", "random")
    assert (linnerud.outputs, linnerud.class_names) == (3, None)
    diabetes = prepared(datasets.load_diabetes(return_X_y=True), "values", "random")
    assert diabetes.train.targets.shape == (442 - 2 * 110, 1)
    assert diabetes.train.targets.dtype == torch.float32


def test_regression_targets_of_all_forms():
    for targets in ([1, 2.5, 3, 4], np.array([1, 2.5, 3, 4]), torch.tensor([1, 2.5, 3, 4])):
        data = prepared((X[:4], targets), "values")
        assert data.train.targets.tolist() == [[1], [2.5], [3], [4]]
        assert data.filled(1) == {"in_features": 2, "out_features": 1, "input_shape": [2]}
    two = pd.DataFrame({"p": [1, 2, 3, 4], "q": [5.0, 6, 7, 8]})
    assert prepared((X[:4], two), "values").train.targets.tolist() == two.to_numpy().tolist()
    assert prepared((X[:4], two.to_numpy().tolist()), "values").outputs == 2


def test_images():
    images = np.arange(4 * 3 * 5 * 6, dtype=np.uint8).reshape(4, 3, 5, 6)
    data = prepared((images, [0, 1, 0, 1]), standardize=None)
    assert torch.equal(data.train.inputs, torch.tensor(images).float())
    assert data.filled(2) == {
        "in_features": 90,
        "out_features": 2,
        "num_classes": 2,
        "input_shape": [3, 5, 6],
        "in_channels": 3,
    }


def test_ready_made_parts_stay_as_they_are():
    parts = [
        (X[:6], Y[:6] * 2),
        (X[6:9], [4, 0, 2]),
        TensorDataset(torch.tensor(X[9:]), torch.full((3,), 4.0)),
    ]
    for form in (tuple(parts), dict(zip(("train", "val", "test"), parts, strict=True))):
        data = prepared(form, method="stratified")
        assert [len(data.part(name)) for name in ("train", "val", "test")] == [6, 3, 3]
        assert data.class_names == ("0", "2", "4")
        assert data.val.targets.tolist() == [2, 0, 1]
        assert torch.equal(data.test.inputs, torch.tensor(X[9:]).float())


def test_ready_made_parts_without_test():
    for form in ({"train": (X, Y), "val": (X[:3], Y[:3])}, ((X, Y), (X[:3], Y[:3]), None)):
        data = prepared(form)
        assert len(data.test) == 0
        assert list(data.test.batches(2)) == []
        assert data.sizes()["classes"]["1"] == {"train": 4, "val": 1, "test": 0}


def test_ready_made_quantities():
    data = prepared({"train": (X, Y), "val": (X[:3], [0.5, 1, 2])}, "values", standardize=True)
    assert data.val.targets.tolist() == [[0.5], [1], [2]]
    assert data.test.targets.shape == (0, 1)


def test_descriptions_are_json():
    fifths = {"val_fraction": 0.2, "test_fraction": 0.2}
    data = prepared(datasets.load_iris(), method="stratified", standardize=True, **fifths)
    assert json.loads(json.dumps(data.sizes())) == data.sizes()
    assert data.sizes()["classes"]["setosa"] == {"train": 30, "val": 10, "test": 10}
    assert (data.sizes()["train"], data.sizes()["input_shape"]) == (90, [4])
    assert json.loads(json.dumps(data.preprocessing)) == data.preprocessing
    assert data.preprocessing["class_names"] == ["setosa", "versicolor", "virginica"]
    assert data.preprocessing["input_shape"] == [4]
    assert data.preprocessing["columns"] == list(data.columns)


# ------------------------------------------------------------------- the call


def test_function_gets_its_keywords_and_draws_from_the_split_seed():
    def noisy(scale):
        x = np.random.rand(8, 1) + torch.rand(8, 1).numpy() + random.random()
        return x * scale, [0, 1] * 4

    def features(seed, scale=1.0):
        source = load(noisy, {"scale": scale}, name="noisy", seed=seed, targets="classes")
        return source.parts["all"].inputs

    np.random.seed(5)
    first = features(0)
    np.random.seed(6)
    assert torch.equal(first, features(0))
    assert not torch.equal(first, features(1))
    assert torch.allclose(first * 2, features(0, scale=2.0))


def test_load_leaves_the_global_generators_alone():
    def state():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()

    def greedy():
        random.random(), np.random.rand(), torch.rand(1)
        return X, Y

    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    before = state()
    load(greedy, {}, name="greedy", seed=0, targets="classes")
    assert state() == before


# ---------------------------------------------------------------- fingerprint


def fingerprint(returned, targets="classes"):
    return loaded(returned, targets).fingerprint


def bunch(**changed):
    names = {"feature_names": ["a", "b"], "target_names": ["u", "v", "w"]}
    return Bunch(**({"data": X, "target": Y} | names | changed))


def test_fingerprint_is_that_of_the_content():
    assert fingerprint(bunch()) == fingerprint(bunch(data=X.copy(), target=Y.tolist()))
    assert fingerprint((X, Y)) == fingerprint((np.asfortranarray(X), Y))
    assert len(fingerprint((X, Y))) == 64


def test_fingerprint_sees_every_change():
    value, label = X.copy(), Y.copy()
    value[3, 1] = np.nextafter(value[3, 1], 99)  # below float32's resolution
    label[3] = 1
    parts = {"train": (X, Y), "val": (X[:3], Y[:3])}
    seen = [
        fingerprint(bunch()),
        fingerprint(bunch(data=value)),
        fingerprint(bunch(data=X.astype(np.float32))),
        fingerprint(bunch(data=X.reshape(12, 1, 2))),
        fingerprint(bunch(target=label)),
        fingerprint(bunch(target_names=["u", "v", "x"])),
        fingerprint(bunch(feature_names=["a", "c"])),
        fingerprint(bunch(feature_names=None)),
        fingerprint(bunch(), "values"),
        fingerprint(bunch(target=np.nextafter(Y + 1.0, 99)), "values"),
        fingerprint(parts),
        fingerprint(parts | {"val": (X[1:4], Y[1:4])}),
        fingerprint(parts | {"test": (X[:3], Y[:3])}),
    ]
    assert len(set(seen)) == len(seen)


def test_fingerprint_does_not_depend_on_the_preparation():
    data = [
        prepared((X, Y), method=method, standardize=standardize, seed=seed)
        for method, standardize, seed in (("none", True, 0), ("random", False, 1))
    ]
    assert data[0].fingerprint == data[1].fingerprint == fingerprint((X, Y))


@pytest.mark.parametrize(
    ("targets", "array", "item"),
    [
        ("classes", np.array(["b", "a", "c"]), "c"),
        ("classes", np.array([3, 1, 2]), np.int64(3)),
        ("labels", np.array([[0, 1], [1, 0], [1, 1]]), [0, 1]),
        ("values", np.array([[0.5, 1], [2, 3], [4, 5]]), (0.5, 1)),
        ("values", np.array([1, 2, 3]), 2),
    ],
)
def test_what_encodes_targets_can_be_sent_to_another_process(targets, array, item):
    code, _ = ENCODERS[targets]({"all": (array, "mine")}, None)
    here, there = code.encode(item), pickle.loads(pickle.dumps(code.encode))(item)
    assert torch.equal(here, there)
    assert here.dtype == there.dtype == (torch.float32 if targets == "values" else torch.int64)
