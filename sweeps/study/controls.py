"""The proof on the record that all else was equal: code, machine, initial weights, batch order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from paribus.core.config.schema import SCRIPT
from paribus.core.records.record import Epoch, RunRecord

# A change under these may give other initial weights; any other change may not.
_OTHER_WEIGHTS = ("model", "data", "split", "task", "train.start_from")
# A change under these may give another batch order; any other change may not.
_OTHER_ORDER = ("data", "split")

History = Callable[[], Sequence[Epoch]]


def sameness(*configurations: Mapping[str, Any]) -> Literal["proven", "not proven"]:
    """Return whether runs can be proved to differ in nothing but the changed hyperparameter.

    A function keeps its model, data and order of examples to itself: nobody can tell.
    """
    return "not proven" if any(SCRIPT in one for one in configurations) else "proven"


def same_surroundings(one: Mapping[str, Any], other: Mapping[str, Any], *, data: bool) -> bool:
    """Return whether two identities differ in nothing but configuration, engine and seed.

    Args:
        one: Identity of a run.
        other: Identity of another. Sources and packages that only one of them uses may differ.
        data: Whether the data's bytes have to be the same.
    """
    fields = ["format", "numerics", "environment", *(["data"] if data else [])]
    return all(one[field] == other[field] for field in fields) and all(
        one[field].get(name, digest) == digest
        for field in ("sources", "distributions")
        for name, digest in other[field].items()
    )


def disagreement(
    key: str,
    baseline: RunRecord,
    run: RunRecord,
    baseline_history: History,
    history: History,
) -> str | None:
    """Return why a run is not the baseline's run with one hyperparameter changed; None if it is.

    Args:
        key: The changed hyperparameter.
        baseline: Record of the baseline's run with the same seed.
        run: Record of the setting's run.
        baseline_history: Reads the baseline's epochs.
        history: Reads the run's epochs.
    """
    group = key.split(".")[0]
    makes_weights = group in _OTHER_WEIGHTS or key in _OTHER_WEIGHTS
    same_start = baseline.initial_weights == run.initial_weights
    if not makes_weights and not same_start:
        return "initial weights differ from the baseline's though nothing that makes them changed"
    if group in _OTHER_ORDER or key == "train.batch_size":
        return None
    pairs = zip(baseline_history(), history(), strict=False)
    for ours, theirs in pairs:
        if ours.order_sha256 != theirs.order_sha256 and not _cut_short(baseline, run, ours):
            return (
                f"the batch order of epoch {ours.epoch} differs from the baseline's though "
                "nothing that makes it changed"
            )
    return None


def shared_tensors(baseline: RunRecord, run: RunRecord) -> tuple[int, int]:
    """Return (tensors that began equal by name and bytes, tensors of the run)."""
    ours, theirs = baseline.initial_weights or {}, run.initial_weights or {}
    return sum(ours.get(name) == digest for name, digest in theirs.items()), len(theirs)


def _cut_short(baseline: RunRecord, run: RunRecord, line: Epoch) -> bool:
    """Return whether this is the last epoch of one of them, ended early by a number of updates."""
    by_updates = [r for r in (baseline, run) if r.configuration["train"]["updates"] is not None]
    return any(line.epoch == r.facts.epochs for r in by_updates)
