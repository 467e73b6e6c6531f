"""A resume state is whole or refused; at every moment there is a good one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.core.errors import DamagedError
from paribus.core.records.run_dir import (
    BEFORE,
    LAST,
    CheckpointClock,
    load_state,
    read_state,
    save_state,
)

modest = settings(max_examples=60, deadline=None)


def state(epoch):
    return {"epoch": epoch, "model": {"w": torch.full((3,), float(epoch))}, "history": [None, 0.5]}


def test_a_state_comes_back(tmp_path):
    save_state(tmp_path, state(1))
    found = load_state(tmp_path / LAST)
    assert found["epoch"] == 1
    assert found["history"] == [None, 0.5]
    assert torch.equal(found["model"]["w"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_the_one_before_stays(tmp_path):
    for epoch in (1, 2, 3):
        save_state(tmp_path, state(epoch))
    assert load_state(tmp_path / LAST)["epoch"] == 3
    assert load_state(tmp_path / BEFORE)["epoch"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEFORE, LAST]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    save_state(folder, state(1))
    return folder / "damaged.pt", (folder / LAST).read_bytes()


@modest
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_state_is_refused(saved, where):
    path, content = saved
    path.write_bytes(content[: int(where * len(content))])
    with pytest.raises(DamagedError, match=r"damaged\.pt"):
        load_state(path)


@modest
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(saved, where, bit):
    path, content = saved
    flipped = bytearray(content)
    flipped[int(where * len(content))] ^= 1 << bit
    path.write_bytes(flipped)
    with pytest.raises(DamagedError, match=r"damaged\.pt"):
        load_state(path)


def test_more_behind_it_or_nothing_at_all_is_refused(saved, tmp_path):
    path, content = saved
    for other in (content + b"\0", content * 2, b"", b"\0" * 200):
        path.write_bytes(other)
        with pytest.raises(DamagedError):
            read_state(path)
    with pytest.raises(DamagedError, match="cannot be read"):
        read_state(tmp_path / "missing.pt")


def test_nothing_but_tensors_and_plain_values_is_unpickled(tmp_path):
    save_state(tmp_path, {"path": tmp_path})  # a class of the standard library
    with pytest.raises(DamagedError, match="holds more than tensors and plain values"):
        load_state(tmp_path / LAST)


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    save_state(tmp_path, state(1))
    with pytest.raises(Exception, match="pickle"):
        save_state(tmp_path, {"made": lambda: 0})
    assert load_state(tmp_path / LAST)["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_the_clock():
    assert CheckpointClock(0).due()
    always = CheckpointClock(0)
    always.saved(1000)
    assert always.due()
    assert not CheckpointClock(3600).due()
    slow = CheckpointClock(1e-9)
    assert slow.due()
    slow.saved(1000)  # a save that took so long is not repeated at once
    assert not slow.due()
