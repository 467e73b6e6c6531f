"""Numbers that float32 cannot keep apart: standardized before they are rounded, or refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset

from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.errors import RequestError

N = 64
SECONDS = np.arange(N) * 0.5  # float32 holds two of these once they are counted from 1970
STAMPS = 1.7e9 + SECONDS
Y = np.arange(N) % 2


def prepared(returned, standardize=None, targets="classes", **keywords):
    source = load(lambda: returned, {}, name="mydata", seed=0, targets=targets)
    return prepare(source, Split(method="none"), standardize, **keywords)


def refusal(returned, *arguments, **keywords):
    with pytest.raises(RequestError) as caught:
        prepared(returned, *arguments, **keywords)
    return str(caught.value)


def frame(**columns):
    return pd.DataFrame({"z": np.sin(SECONDS), "time": STAMPS} | columns)


def parts(features):
    """Three ready-made parts, of which only the training part shows that float32 is too coarse."""
    far = features[:2] * np.array([1.0, 2.0])
    return {"train": (features, Y), "val": (np.concatenate([features[:2], far]), Y[:4])}


FORMS = {
    "frame": (frame(), Y),
    "array": (frame().to_numpy(), Y),
    "table_with_words": (frame(word=["u", "v"] * (N // 2)), Y),
    "integers": (np.stack([Y, STAMPS * 2], 1).astype(np.int64), Y),
    "parts": parts(frame().to_numpy()),
}


@pytest.mark.parametrize("form", FORMS)
def test_far_from_zero_columns_are_standardized_before_they_are_rounded(form):
    expected = (SECONDS - SECONDS.mean()) / SECONDS.std()
    found = prepared(FORMS[form]).train.inputs
    assert found.dtype == torch.float32
    assert found[:, 1].numpy() == pytest.approx(expected, abs=1e-5)


def test_ready_made_parts_are_rounded_alike():
    inputs = prepared(FORMS["parts"]).val.inputs
    assert inputs[1, 1] - inputs[0, 1] == pytest.approx(0.5 / SECONDS.std(), abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_without_standardization_such_a_column_is_refused_by_name(form):
    name = "column 'time'" if form in ("frame", "table_with_words") else "column 1"
    assert refusal(FORMS[form], False) == (
        f"mydata: {name} varies by less than float32 can keep at its size, such as the seconds of "
        "an hour, counted from 1970. Subtract an offset in the data function, or set "
        "standardize=true, which is computed in float64."
    )


def test_images_far_from_zero():
    images = 1e9 + np.arange(N * 2 * 4 * 4.0).reshape(N, 2, 4, 4)
    assert refusal((images, Y)).startswith("mydata: channel 0, channel 1 varies by less than")
    assert len(prepared((images, Y), True).train.inputs.unique()) == images.size / 2
    hint = refusal((images, Y), True, augment=lambda x: x)
    assert hint.endswith("Subtract an offset in the data function.")


def test_targets_far_from_zero_are_refused():
    returned = (SECONDS, STAMPS)
    message = "mydata: targets vary by less than float32 can keep at their size. Subtract an offset"
    assert refusal(returned, targets="values").startswith(message)


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_items_far_from_zero_are_refused(kind):
    class Stamps(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, row):
            return np.array([row % 7, 1.7e9 + row], kind), row % 2

    message = "mydata: 1 of the 2 numbers of an item vary by less than float32 can keep"
    assert refusal(Stamps()).startswith(message)


@pytest.mark.parametrize(
    "column",
    [
        np.full(N, 1.7e9 + 0.1),  # all the same: nothing to keep
        0.1 + np.arange(N) % 2 * 2e-17,  # the same but for rounding
        np.where(Y, 0.1 + 0.2, 0.3),
        1.7e9 + SECONDS * 1e6,  # a year of seconds: float32 keeps it well enough
        np.sin(SECONDS),
        SECONDS,
    ],
)
def test_other_columns_are_as_they_were(column):
    data = prepared((np.stack([column, SECONDS], 1), Y), False)
    assert torch.equal(data.train.inputs[:, 0], torch.tensor(column).float())
    assert "dtype" not in data.preprocessing


def test_columns_that_are_the_same_but_for_rounding_are_not_blown_up():
    constants = np.stack([STAMPS, np.where(Y, 0.1 + 0.2, 0.3), np.full(N, 0.1)], 1)
    found = prepared((constants, Y)).train.inputs
    assert found[:, 1:].abs().max() < 1e-6
