"""The proof that only one thing changed: before training on configurations, after it on records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from paribus.core.config.registry import FROM_DATA, FROM_LENGTH, FROM_LR
from paribus.core.config.schema import COMPONENTS, SCRIPT, difference
from paribus.core.errors import RequestError
from paribus.core.run_spec import RunSpec
from paribus.sweeps.study.settings import Setting

if TYPE_CHECKING:
    from paribus.core.training.resolve import Resolver
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


# Before training: a setting's configuration and data against the baseline's.


def prove_one_change(setting: Setting, baseline: RunSpec, run: RunSpec) -> dict[str, list[Any]]:
    """Check that a setting changes one hyperparameter, and return what follows from the change.

    Everything in which the two resolved configurations differ must be the changed key, or a value
    that the harness computed from it.

    Returns:
        What is derived: ``{key: [baseline, level]}``.

    Raises:
        RequestError: If anything else differs, or nothing does.
    """
    assert setting.key is not None
    asked = difference(baseline.requested.to_dict(), run.requested.to_dict())
    stray = [key for key in asked if not _belongs(key, setting.key)]
    resolved = difference(baseline.configuration, run.configuration)
    follows = {
        key: pair
        for key, pair in resolved.items()
        if not _is_change(key, setting) and pair != [None, None]  # a keyword unset, and none there
    }
    stray += [key for key in follows if not _belongs(key, setting.key) and not _computed(key)]
    if stray:
        raise RequestError(
            f"{setting.label} would also change {', '.join(dict.fromkeys(stray))}.",
            "Only one hyperparameter may differ from the baseline.",
            "not-one-change",
        )
    if not resolved:
        raise RequestError(
            f"{setting.label} changes nothing: it resolves to the baseline's configuration.",
            "Leave it out; the baseline is trained anyway.",
            "levels",
        )
    for name in dict.fromkeys([*baseline.facts, *run.facts]):
        before, value = baseline.facts.get(name), run.facts.get(name)
        if value != before and f"train.{name}" != setting.key:
            follows[name] = [before, value]
    if run.engine != baseline.engine:
        follows["engine"] = [baseline.engine, run.engine]
    return follows


def _belongs(key: str, changed: str) -> bool:
    """Whether a key is the changed one, or a keyword of the changed component."""
    if {key, changed} == {"train.epochs", "train.updates"}:
        return True
    return key == changed or (changed in COMPONENTS and key.startswith(f"{changed}."))


def _is_change(key: str, setting: Setting) -> bool:
    """Whether a difference is what was asked for, and so not derived."""
    if key == setting.key:
        return True
    kind, _, keyword = key.partition(".")
    return kind == setting.key and keyword in setting.stated


def _computed(key: str) -> bool:
    kind, _, keyword = key.partition(".")
    return (
        (kind == "model" and keyword in FROM_DATA)
        or (kind == "scheduler" and keyword in (*FROM_LENGTH, *FROM_LR))
        or key == "optimizer.fused"
    )


def refuse_other_examples(
    setting: Setting, baseline: RunSpec, run: RunSpec, resolver: Resolver
) -> None:
    """Refuse a change of data after which other examples are validated on.

    Raises:
        RequestError: If the validation examples of the two runs differ.
    """
    if run.identity["data"] == baseline.identity["data"]:
        return
    parts = [
        resolver.data(spec.requested.replace("standardize", False)).val.inputs_of(10**9)
        for spec in (baseline, run)
    ]
    if not all(a.equal(b) for a, b in zip(*parts, strict=True)):
        raise RequestError(
            f"{setting.label} changes the validation examples: there is no pairing then.",
            f"Change it for all settings with --set {setting.label}, as a study of its own.",
            "axis-examples",
        )
