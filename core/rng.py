"""Random streams: every random draw comes from a stream named by its purpose.

A stream follows from (seed, purpose, epoch or name) alone: not from workers, order, attempts or
time. Streams are made anew for each epoch, so a run resumed at an epoch's end needs no generator
state, and two settings that share a seed share every draw that both of them make.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch

Purpose = Literal["init", "shuffle", "dropout", "augment", "data", "script"]


def derive(seed: int, purpose: Purpose, *rest: int | str) -> int:
    """Return a 63-bit seed for the stream (seed, purpose, *rest)."""
    text = json.dumps([seed, purpose, *rest])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, purpose: Purpose, *rest: int | str) -> torch.Generator:
    """Return a torch generator (CPU) at the start of the stream (seed, purpose, *rest)."""
    return torch.Generator().manual_seed(derive(seed, purpose, *rest))


Generators = tuple[Any, Any, torch.Tensor]  # states of Python's, numpy's and torch's (CPU)


def seed_globals(value: int) -> None:
    """Seed the global generators of Python, numpy and torch (CPU).

    Not `torch.manual_seed`: it reseeds every GPU as well, and takes a hundred times as long.
    """
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.default_generator.manual_seed(value)


def globals_now() -> Generators:
    """Return the states of the global generators of Python, numpy and torch (CPU)."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def some_equal(one: Generators, other: Generators) -> bool:
    """Return whether at least one of the global generators has the same state in both."""
    (python, numpy, torch_cpu), (python_2, numpy_2, torch_cpu_2) = one, other
    same_numpy = numpy[2] == numpy_2[2] and np.array_equal(numpy[1], numpy_2[1])
    return python == python_2 or same_numpy or torch_cpu.equal(torch_cpu_2)


def digest_of_globals() -> str:
    """Return the sha256 over the states of the global generators; any draw changes it."""
    python, numpy, torch_cpu = globals_now()
    plain = [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy]
    found = hashlib.sha256(json.dumps([python, plain]).encode())
    found.update(torch_cpu.numpy().data)
    return found.hexdigest()


def put_globals(states: Generators) -> None:
    """Set the global generators to states that `globals_now` returned."""
    python, numpy, torch_cpu = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torch_cpu)


@contextmanager
def seeded_globals(seed: int, purpose: Purpose, *rest: int | str) -> Iterator[None]:
    """Set the global generators to the start of a stream for the block, and restore them after."""
    before = globals_now()
    seed_globals(derive(seed, purpose, *rest))
    try:
        yield
    finally:
        put_globals(before)


def epoch_order(seed: int, epoch: int, examples: int) -> torch.Tensor:
    """Return the order in which an epoch visits the training part: int64 `[examples]`."""
    return torch.randperm(examples, generator=stream(seed, "shuffle", epoch))
