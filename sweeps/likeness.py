"""Whether two finished runs are the same, bit for bit; and where they first differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from paribus.core.run_folder import BEST, PREDICTIONS, RunFolder


@dataclass(frozen=True)
class Difference:
    """Where two runs first differ.

    Attributes:
        epoch: Counted from 1; 0 is before the first step.
        quantity: ``initial weights``, ``batch order``, a metric, ``weights``, …
        then: The first run's.
        now: The second run's.
    """

    epoch: int
    quantity: str
    then: Any
    now: Any


def first_difference(
    then: RunFolder, now: RunFolder, record: Mapping[str, Any]
) -> Difference | None:
    """The first difference: epoch by epoch, then the end, then the best epoch's files.

    Args:
        then: The one recorded.
        now: The one trained again.
        record: The record of the first, as it is read.
    """
    return next(_differences(then, now, record, now.record()), None)


def _differences(
    then: RunFolder, now: RunFolder, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Difference]:
    if before.get("initial_weights") != after["initial_weights"]:
        a, b = before.get("initial_weights") or {}, after["initial_weights"] or {}
        name = next((k for k in {**a, **b} if a.get(k) != b.get(k)), "")
        yield Difference(0, f"initial weights {name}".strip(), a.get(name), b.get(name))
    for number, (a, b) in enumerate(zip_longest(then.history(), now.history()), 1):
        yield from _of_epoch(number, a, b)
    last = after["epochs"]
    for key in ("status", "reason", "epochs", "weights_sha256"):
        if before.get(key) != after[key]:
            yield Difference(last, key, before.get(key), after[key])
    if before.get("best") != after["best"]:
        yield Difference(last, "best epoch", before.get("best"), after["best"])
    if after["status"] == "complete":
        epoch = after["best"]["epoch"]
        for file in (PREDICTIONS, BEST):
            if not any((run.folder / file).exists() for run in (then, now)):
                continue  # a function keeps them to itself
            name = _differing_tensor(then.folder / file, now.folder / file)
            if name is not None:
                yield Difference(epoch, f"{file} {name}".strip(), None, None)


def _of_epoch(number: int, then: Any, now: Any) -> Iterator[Difference]:
    if not isinstance(then, Mapping) or now is None:
        yield Difference(number, "history", then and "a line", now and "a line")
        return
    if then.get("order_sha256") != now["order_sha256"]:
        yield Difference(number, "batch order", then.get("order_sha256"), now["order_sha256"])
    a, b = then.get("metrics") or {}, now["metrics"]
    for name in sorted({**a, **b}, key=lambda name: (not name.startswith("train/"), name)):
        if a.get(name) != b.get(name):
            yield Difference(number, name, a.get(name), b.get(name))
    if then.get("weights_sha256") != now["weights_sha256"]:
        yield Difference(number, "weights", then.get("weights_sha256"), now["weights_sha256"])


def _differing_tensor(then: Path, now: Path) -> str | None:
    """The first tensor of two files that differs; "" if a file cannot be read. None if none does.

    Their metadata may differ: it names the run, and a run's id its environment.
    """
    from safetensors import SafetensorError

    try:
        old, new = (_tensors(path) for path in (then, now))
    except (OSError, SafetensorError):
        return ""
    return next((name for name in sorted({**old, **new}) if old.get(name) != new.get(name)), None)


def _tensors(path: Path) -> dict[str, Any]:
    from safetensors import deserialize

    return dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
