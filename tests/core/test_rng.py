"""Streams follow from their names alone, and leave the process's generators as they were."""

import random
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paribus.core.rng import derive, epoch_order, seed_globals, seeded_globals, stream

modest = settings(max_examples=50, deadline=None)
PURPOSES = ("init", "shuffle", "dropout", "augment", "data")


def state():
    numpy = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_streams_differ_by_every_part_of_their_name():
    names = [
        (s, p, *rest) for s in (0, 1) for p in PURPOSES for rest in ((), (1,), (2,), ("1",), (1, 1))
    ]
    values = {name: derive(*name) for name in names}
    assert len(set(values.values())) == len(names)
    first = {name: stream(*name).initial_seed() for name in names}
    assert first == values
    for a, b in combinations([stream(*name) for name in names[:6]], 2):
        assert not torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b))


@modest
@given(st.integers(0, 2**70), st.sampled_from(PURPOSES), st.text(max_size=5))
def test_every_seed_and_name_makes_a_stream(seed, purpose, name):
    assert 0 <= derive(seed, purpose, name) < 2**63
    first, second = stream(seed, purpose, name), stream(seed, purpose, name)
    assert torch.equal(torch.rand(3, generator=first), torch.rand(3, generator=second))


def test_global_state_is_restored_after_the_block_and_after_an_error():
    seed_globals(5)
    before = state()
    with seeded_globals(0, "init"):
        first = draws()
        inside = state()
    assert state() == before
    assert inside != before
    with pytest.raises(KeyError), seeded_globals(0, "init"):
        raise KeyError(draws())
    assert state() == before
    with seeded_globals(0, "init"):
        assert draws() == first
    with seeded_globals(1, "init"):
        assert draws() != first


def test_blocks_nest():
    with seeded_globals(0, "init"):
        first = draws()
        with seeded_globals(0, "data"):
            other = draws()
        second = draws()
    assert len({first, other, second}) == 3
    with seeded_globals(0, "init"):
        assert (draws(), draws()) == (first, second)


@modest
@given(st.integers(0, 10**9), st.integers(1, 1000), st.integers(1, 200))
def test_an_epochs_order_is_a_permutation(seed, epoch, examples):
    before = torch.get_rng_state()
    order = epoch_order(seed, epoch, examples)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(examples))
    assert torch.equal(order, epoch_order(seed, epoch, examples))
    assert torch.equal(torch.get_rng_state(), before)


def test_orders_differ_by_epoch_and_seed():
    orders = [epoch_order(seed, epoch, 50).tolist() for seed in (0, 1) for epoch in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 6
