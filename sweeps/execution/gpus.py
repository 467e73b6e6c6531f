"""The GPUs of a machine: which of them train, and how many runs at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from paribus.core.errors import RequestError, many


@dataclass(frozen=True)
class Gpu:
    """A GPU: what ``CUDA_VISIBLE_DEVICES`` calls it, and its kind, which is part of a run's id."""

    name: str
    kind: str


@dataclass(frozen=True)
class GpuOptions:
    """`--gpus` and `--per-gpu`: which GPUs, and how many runs of the loop each trains at a time."""

    wanted: str | None = None  # ``all``, ``none`` or numbers with commas; None: all of one kind
    per_gpu: int = 1


def find_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use; called in a worker, as it imports torch."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = named[:count] or [str(number) for number in range(count)]
    return [Gpu(name, torch.cuda.get_device_name(n)) for n, name in enumerate(names)]


def choose_gpus(found: Sequence[Gpu], wanted: str | None) -> list[Gpu]:
    """Return the GPUs that train: of one kind, as runs on two kinds have other bits.

    Raises:
        RequestError: If one is wanted that is not there, or two of different kinds are.
    """
    if wanted in (None, "all"):
        kinds = Counter(gpu.kind for gpu in found)
        most = max(kinds, key=lambda kind: kinds[kind], default=None)
        if wanted == "all" and len(kinds) != 1:
            _refuse_kinds(found, "all")
        return [gpu for gpu in found if gpu.kind == most]
    assert wanted is not None
    numbers = [] if wanted == "none" else [int(number) for number in wanted.split(",")]
    if missing := [number for number in numbers if number >= len(found)]:
        there = f"its {many(len(found), 'GPU')}: 0 to {len(found) - 1}" if found else "it has none"
        raise RequestError(
            f"--gpus {wanted}: this machine has no GPU {missing[0]} ({there}).",
            "paribus doctor lists the GPUs; --gpus none trains on the CPU.",
        )
    chosen = [found[number] for number in numbers]
    if len({gpu.kind for gpu in chosen}) > 1:
        _refuse_kinds(chosen, wanted)
    return chosen


def _refuse_kinds(gpus: Sequence[Gpu], wanted: str) -> None:
    if not gpus:
        raise RequestError(f"--gpus {wanted}: this machine has no GPU.", "Leave it out.")
    kinds = "; ".join(f"{gpu.name}: {gpu.kind}" for gpu in gpus)
    raise RequestError(
        f"--gpus {wanted}: these are GPUs of different kinds ({kinds}), and runs are compared on "
        "one kind.",
        "Name those of one kind: --gpus 0,1.",
    )
