"""Data that cannot be used is refused: what, where, what is valid."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.utils import Bunch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from paribus.core.data.load import load
from paribus.core.data.tables import table
from paribus.core.errors import RequestError

X = np.arange(24.0).reshape(12, 2)
Y = np.array([0, 1, 2] * 4)


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        if isinstance(self.items[row], Exception):
            raise self.items[row]
        return self.items[row]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(2), 0)])


def changed(array, position, value):
    array = np.array(array)
    array[position] = value
    return array


def frame(**columns):
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1]} | columns)


FORMS = {
    "none": (None, "mydata returned None. Return (features, targets), a scikit-learn Bunch"),
    "array": (X, "mydata returned an object of type ndarray."),
    "list": ([X, Y], "mydata returned a list of 2."),
    "four": ((X, X, Y, Y), "mydata returned a tuple of 4."),
    "mapping": ({"x": X, "y": Y}, "mydata returned a mapping with keys x, y."),
    "lone_frame": (frame(), "mydata returned an object of type DataFrame."),
    "stream": (Stream(), "Stream, a data set without length or indices"),
    "three_tensors": (TensorDataset(*[torch.zeros(3)] * 3), "mydata returned a tuple of 3."),
    "pair_of_pairs": (((X, Y), (X, Y)), "a pair of tuple and tuple; a pair is (features, targets)"),
    "pair_of_datasets": ((Items(), Items()), "Ready-made parts: return a dict with train, val"),
    "no_val": ({"train": (X, Y), "test": (X, Y)}, "ready-made parts without val; train and val"),
    "no_train": ({"val": (X, Y)}, "ready-made parts without train"),
    "tuple_no_val": (((X, Y), None, (X, Y)), "ready-made parts without val"),
    "misspelt_part": (
        {"train": (X, Y), "vall": (X, Y)},
        "'vall'; valid are train, val and test. Did you mean 'val'?",
    ),
    "bad_part": ({"train": (X, Y), "val": X}, "mydata, val returned an object of type ndarray"),
    "other_columns": (
        {"train": (frame(), Y), "val": (frame()[["b", "a"]], Y)},
        "mydata: part val has columns ['b', 'a'], part train has ['a', 'b']",
    ),
    "words_in_one_part": (
        {"train": (frame(b=["u", "v"] * 6), Y), "val": (frame(), Y)},
        "part val has words in the columns [], part train has ['b']",
    ),
    "other_words_in_one_part": (
        {"train": (frame(w=["u"] * 12), Y), "val": (frame(b=["u"] * 12, w=["u"] * 12), Y)},
        "part val has words in the columns ['b', 'w'], part train has ['w']",
    ),
    "other_shape": (
        {"train": (X, Y), "val": (X[:, :1], Y)},
        "part val has an input shape [1], part train has [2]",
    ),
    "lengths": ((X, Y[:-1]), "mydata: 12 examples have features and 11 have targets"),
    "empty": ((X[:0], Y[:0]), "mydata: there are no examples"),
    "empty_list": (([], []), "mydata: there are no examples"),
    "empty_dataset": (Items(), "mydata: there are no examples"),
    "no_features": ((X[:, :0], Y), "an example has no features (shape [12, 0])"),
    "sparse": ((csr_matrix(X), Y), "the features are of type csr_matrix; valid are an array"),
    "ragged": (([[1], [1, 2]], [0, 1]), "the features cannot be one array"),
    "masked": ((np.ma.masked_equal(X, 3), Y), "it has masked values"),
    "words": (
        ([["1", "b"]] * 2, [0, 1]),
        "not numbers (dtype <U1): example 0, column 0 is '1'",
    ),
    "words_and_numbers": (
        (np.array(["a", 1.0] * 6, dtype=object), Y),
        "mydata: the features are not numbers (dtype object): example 0 is 'a'. Encode or drop",
    ),
    "words_and_numbers_listed": (
        (["a", 1.0] * 6, Y),
        "the features are not numbers (dtype <U32): example 0 is 'a'. Encode or drop",
    ),
    "objects": (([[1, None]] * 2, [0, 1]), "(dtype object): example 0, column 1 is None"),
    "complex": ((X + 1j, Y), "the features are not numbers (dtype complex128)"),
    "word_column": (
        (frame(name=["x"] * 12, when=pd.to_datetime(["2020"] * 12)), Y),
        "column 'when' holds Timestamp('2020-01-01 00:00:00') (datetime64[us]), which is neither",
    ),
    "object_column": (
        (frame(o=np.array([1] * 12, dtype=object)), Y),
        "mydata: column 'o' holds 1 (object), which is neither a number nor a word",
    ),
    "columns_of_one_name": (
        (pd.DataFrame([["u", 1, 2, 3, 4]] * 12, columns=["w", 1, "1", "b", "b"]), Y),
        "mydata: several columns are called '1', 'b'. Give each column a name of its own.",
    ),
    "nan": (
        (changed(X, ([3, 5], 1), np.nan), Y),
        "mydata: 2 of the features are NaN or infinite as float32, first in example 3",
    ),
    "inf": ((changed(X, (4, 0), np.inf), Y), "1 of the features is NaN or infinite"),
    "beyond_float32": ((changed(X, (4, 0), 1e300), Y), "1 of the features is NaN or infinite"),
    "nan_column": (
        (frame(b=changed(X[:, 1], [1, 2], np.nan)), Y),
        "2 of the features are NaN or infinite as float32, in column 'b' (2).",
    ),
    "na_column": ((frame(b=pd.array([None] + [1] * 11, "Int64")), Y), "in column 'b' (1)."),
    "feature_names": (
        Bunch(data=X, target=Y, feature_names=["a"]),
        "mydata: 1 feature_names for 2 columns",
    ),
    "raising_item": (
        Items((X[0], 0), KeyError("gone")),
        "mydata: reading item 1 fails: KeyError: 'gone'",
    ),
    "item_no_pair": (
        Items((X[0], 0), X[1]),
        "item 1 is an object of type ndarray; an item has to be",
    ),
    "item_shapes": (Items((X[0], 0), (X, 1)), "item 1 has shape [12, 2], item 0 has [2]"),
    "item_words": (
        Items(("word", 0)),
        "x of item 0 is str; valid are a tensor, an array or a number",
    ),
    "item_word_array": (Items((np.array(["w"]), 0)), "x of item 0 is of dtype <U1"),
    "channels_last": (
        (np.zeros((12, 16, 16, 3)), Y),
        "channels last, and would be read as 16 channels of 16×3 pixels. Channels come first: nump",
    ),
    "grey_channel_last": ((np.zeros((12, 8, 8, 1)), Y), "an image with its 1 channel last"),
    "item_channels_last": (Items((np.zeros((9, 7, 4)), 0)), "an image with its 4 channels last"),
    "item_nan": (
        Items((X[0], 0), (X[1] * np.nan, 1)),
        "mydata, item 1: 2 of the features are NaN",
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_forms(case):
    returned, message = FORMS[case]
    with pytest.raises(RequestError, match=re.escape(message)) as caught:
        load(lambda: returned, {}, name="mydata", seed=0, targets="classes")
    assert "mydata" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 3), (8, 16, 1), (3, 4, 4), (12, 12, 8)])
def test_shapes_that_are_no_image_with_its_channels_last(shape):
    load(lambda: (np.zeros((12, *shape)), Y), {}, name="mydata", seed=0, targets="classes")


LABELS = {
    "missing": ([0, 1, None] * 4, "4 labels are missing"),
    "nan": (np.array([0, 1, np.nan] * 4), "4 labels are missing"),
    "one_nan": (changed(Y.astype(float), 0, np.nan), "mydata: 1 label is missing"),
    "na": (pd.Series([0, 1, None] * 4, dtype="Int64"), "4 labels are missing"),
    "one_class": (["a"] * 12, "mydata: there is only one class, 'a'; at least two"),
    "halves": (Y + 0.5, "labels are numbers that are not whole, such as 0.5; this looks like reg"),
    "halves_listed": ((Y + 0.5).tolist(), "Set task=regression."),
    "mixed": ([0, "a", 1] * 4, "mydata: labels are of different types: number, str."),
    "mixed_truth": ([0, True, 1] * 4, "labels are of different types: bool, number."),
    "dates": (pd.to_datetime(["2020"] * 12), "labels of dtype datetime64"),
    "bytes": ([b"a", b"b", b"c"] * 4, "labels of type bytes; valid are numbers, strings and bools"),
    "one_hot": (np.eye(3)[Y], "labels have shape [12, 3]; valid is one label per example"),
    "scalar": (3, "the targets are of type int; valid are an array"),
    "nothing": (None, "the targets are of type NoneType"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels(case):
    labels, message = LABELS[case]
    with pytest.raises(RequestError, match=re.escape(message)):
        load(lambda: (X, labels), {}, name="mydata", seed=0, targets="classes")


def test_label_types_that_differ_between_parts():
    parts = {"train": (X, Y), "val": (X, Y.astype(str))}
    with pytest.raises(RequestError, match="labels are of different types: number, str"):
        load(lambda: parts, {}, name="mydata", seed=0, targets="classes")


VALUES = {
    "class_words": (["u", "v"] * 6, "not class words such as 'u'. For classes set task=binary or"),
    "word_array": (np.array(["u", "v"] * 6), "not class words such as 'u'"),
    "one_word": ([1.0, "v"] * 6, "not class words such as 'v'"),
    "numbers_as_words": (["1.5"] * 12, "not class words such as '1.5'"),
    "lists": ([[1], [1, 2]] * 6, "regression targets have to be numbers, not list such as [1]"),
    "dates": (
        pd.to_datetime(["2020"] * 12),
        "regression targets have to be numbers, not datetime",
    ),
    "nan": (changed(Y / 2, [0, 3], np.nan), "mydata: 2 of the targets are NaN or infinite"),
    "none": ([1, None] * 6, "6 of the targets are NaN or infinite as float32, first in example 1"),
    "cubes": (np.zeros((12, 1, 1)), "regression targets have shape [12, 1, 1]; valid are [N] and"),
}


@pytest.mark.parametrize("case", VALUES)
def test_quantities(case):
    values, message = VALUES[case]
    with pytest.raises(RequestError, match=re.escape(message)):
        load(lambda: (X, values), {}, name="mydata", seed=0, targets="values")


MARKS = {
    "words": ([["u", "v"]] * 12, "labels have shape [12, 2] and values such as 'u'; task multilab"),
    "word_array": (
        np.array([["1", "0"]] * 12),
        "and values such as '1'; task multilabel needs a c",
    ),
    "frame": (pd.DataFrame({"a": [0, 1] * 6, "b": ["u", "v"] * 6}), "and values such as 'u'; task"),
    "missing": ([[0, 1], [1, None]] * 6, "and values such as None; task multilabel needs a column"),
    "counts": (
        [[0.0, 2.0]] * 12,
        "labels have shape [12, 2] and values such as 2; task multilabel",
    ),
    "one_word_each": (
        ["u", "v"] * 6,
        "labels have shape [12]; task multilabel needs a column of 0",
    ),
    "ragged": ([[0], [0, 1]] * 6, "labels have shape [12]; task multilabel needs a column of 0"),
    "arrays": (
        [np.array([0, 1]), np.array([1])] * 6,
        "labels have shape [12]; task multilabel needs a column of 0",
    ),
    "one_number_each": ([0, 1] * 6, "labels have shape [12]; task multilabel needs a column of 0"),
    "cubes": (np.zeros((12, 2, 2)), "labels have shape [12, 2, 2]; task multilabel needs a col"),
}


@pytest.mark.parametrize("case", MARKS)
def test_marks_of_several_labels(case):
    marks, message = MARKS[case]
    with pytest.raises(RequestError, match=re.escape(message)):
        load(lambda: (X, marks), {}, name="mydata", seed=0, targets="labels")


def test_parts_with_other_target_columns():
    parts = {"train": (X, X), "val": (X, Y)}
    with pytest.raises(RequestError, match=r"differ in target columns: \{'train': 2, 'val': 1\}"):
        load(lambda: parts, {}, name="mydata", seed=0, targets="values")


def test_a_function_that_raises():
    def broken(path):
        raise FileNotFoundError(f"no file {path}")

    with pytest.raises(
        RequestError,
        match=r"^mydata fails: FileNotFoundError: no file x\.csv.* Correct it, or give it",
    ) as e:
        load(broken, {"path": "x.csv"}, name="mydata", seed=0, targets="classes")
    assert isinstance(e.value.__cause__, FileNotFoundError)
    assert e.value.exit_code == 2


def test_lines_with_more_cells_than_the_header_has_names(tmp_path):
    """They would be read one column to the left."""
    path = tmp_path / "shifted.csv"
    path.write_text("a,b,y\n1,2,3,0\n4,5,6,1\n")
    with pytest.raises(RequestError, match=r"the header has fewer names than lines have cells\."):
        table(str(path), "y")


def test_a_function_that_refuses_speaks_for_itself():
    def refusing():
        raise RequestError("No such table.", "Choose a or b.")

    with pytest.raises(RequestError, match=r"^No such table\. Choose a or b\.$"):
        load(refusing, {}, name="mydata", seed=0, targets="classes")
