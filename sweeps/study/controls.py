"""The proof that only one thing changed: before training on configurations, after it on records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from paribus.core.config.registry import FROM_DATA, FROM_LENGTH, FROM_LR, INTERVAL, NO_DECAY
from paribus.core.config.schema import COMPONENTS, SCRIPT, Configuration, difference
from paribus.core.errors import RequestError, one_of
from paribus.core.records.record import Epoch, RunRecord, folds_of
from paribus.core.run_spec import RunSpec
from paribus.sweeps.study.settings import Setting

if TYPE_CHECKING:
    from paribus.core.training.resolve import Resolver

# A change under these may give other initial weights; any other change may not.
_OTHER_WEIGHTS = ("model", "data", "split", "task", "train.start_from")
# A change under these may give another batch order; any other change may not.
_OTHER_ORDER = ("data", "split")

History = Callable[[], Sequence[Epoch]]


def sameness(*configurations: Mapping[str, Any]) -> Literal["proven", "not proven"]:
    """Return whether runs can be proved to differ in nothing but the changed hyperparameter.

    A function keeps its model, data and order of examples to itself, so nothing can be checked.
    """
    return "not proven" if any(SCRIPT in one for one in configurations) else "proven"


def same_surroundings(one: Mapping[str, Any], other: Mapping[str, Any], *, data: bool) -> bool:
    """Return whether two identities differ in nothing but configuration, engine and seed.

    Sources and packages that only one of them uses may differ; `data`: whether the data's bytes
    have to be the same.
    """
    fields = ["format", "numerics", "environment", *(["data"] if data else [])]
    return all(one[field] == other[field] for field in fields) and all(
        one.get(field, {}).get(name, digest) == digest
        for field in ("sources", "distributions", "files", "variables")
        for name, digest in other.get(field, {}).items()
    )


def disagreement(
    key: str,
    baseline: RunRecord,
    run: RunRecord,
    baseline_history: History,
    history: History,
) -> str | None:
    """Return why a run is not the baseline's run with one hyperparameter changed; None if it is.

    Both are of the same seed; their epochs are read where they are needed.
    """
    group = key.split(".")[0]
    makes_weights = group in _OTHER_WEIGHTS or key in _OTHER_WEIGHTS
    same_start = baseline.initial_weights == run.initial_weights
    if not makes_weights and not same_start:
        return "initial weights differ from the baseline's though nothing that makes them changed"
    if group in _OTHER_ORDER or key == "train.batch_size":
        return None
    orders = {epoch.epoch: epoch.order_sha256 for epoch in baseline_history()}
    for epoch in history():
        if orders.get(epoch.epoch, epoch.order_sha256) == epoch.order_sha256:
            continue  # of a script's epochs there is none
        # Of runs whose length is a number of updates, the last epoch may be a part of one.
        short = {r.facts.epochs for r in (baseline, run) if r.configuration["train"]["updates"]}
        if epoch.epoch not in short:
            return (
                f"the batch order of epoch {epoch.epoch} differs from the baseline's though "
                "nothing that makes it changed"
            )
    return None


def shared_tensors(baseline: RunRecord, run: RunRecord) -> tuple[int, int]:
    """Return (tensors that began equal by name and bytes, tensors of the run)."""
    ours, theirs = baseline.initial_weights or {}, run.initial_weights or {}
    return sum(ours.get(name) == digest for name, digest in theirs.items()), len(theirs)


# Before training: a setting's configuration and data against the baseline's.


def prove_one_change(setting: Setting, baseline: RunSpec, run: RunSpec) -> dict[str, list[Any]]:
    """Return what follows from a setting's change: ``{key: [baseline, level]}``.

    Everything in which the two configurations differ must be the changed key, a keyword of the
    changed component, or a value that is computed from the rest; nothing else, and something.
    """
    assert setting.key is not None
    units = {"train.epochs", "train.updates"}  # of one hyperparameter
    own = units if setting.key in units else {setting.key}

    def belongs(key: str) -> bool:
        return key in own or (setting.key in COMPONENTS and key.startswith(f"{setting.key}."))

    def is_computed(key: str) -> bool:
        kind, _, keyword = key.partition(".")
        return (
            (kind == "model" and keyword in FROM_DATA)
            or (kind == "scheduler" and keyword in (*FROM_LENGTH, *FROM_LR))
            or key == "optimizer.fused"
        )

    requested = difference(baseline.requested.to_dict(), run.requested.to_dict())
    resolved = difference(baseline.configuration, run.configuration)
    stated = {setting.key, *(f"{setting.key}.{keyword}" for keyword in setting.stated)}
    derived = {
        key: pair
        for key, pair in resolved.items()
        if key not in stated and pair != [None, None]  # a keyword unset, and none there
    }
    stray = [key for key in requested if not belongs(key)]
    stray += [key for key in derived if not belongs(key) and not is_computed(key)]
    if stray:
        raise RequestError(
            f"{setting.label} would also change {', '.join(dict.fromkeys(stray))}.",
            "Only one hyperparameter may differ from the baseline.",
        )
    if not resolved:
        raise RequestError(
            f"{setting.label} changes nothing: it resolves to the baseline's configuration.",
            "Leave it out; the baseline is trained anyway.",
        )
    for name in dict.fromkeys([*baseline.facts, *run.facts]):
        before, value = baseline.facts.get(name), run.facts.get(name)
        if value != before and f"train.{name}" != setting.key:
            derived[name] = [before, value]
    if run.engine != baseline.engine:
        derived["engine"] = [baseline.engine, run.engine]
    return derived


def refuse_overridden(
    key: str, label: str, one: Configuration, other: Configuration, resolver: Resolver
) -> None:
    """Refuse a level of the optimizer that its scheduler, or who makes it, overrides.

    Then the optimizer's options are the same at all updates. `one` is the baseline, or the other
    end of a range.
    """
    if key.partition(".")[0] != "optimizer" and key != f"scheduler.{INTERVAL}":
        return
    before, after = (resolver.configuration(each, 0)["optimizer"] for each in (one, other))
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    if not changed - {NO_DECAY} <= next(resolver.schedule(other))[0].keys():
        return  # another optimizer, or a keyword of which it makes something else
    schedules = zip(resolver.schedule(one), resolver.schedule(other), strict=False)
    if any(a != b for a, b in schedules):
        return
    scheduler = resolver.configuration(other, 0)["scheduler"]
    own = [
        f"scheduler.{name}"
        for name in scheduler
        if name not in ("name", INTERVAL) and any(keyword in name for keyword in changed)
    ]
    hint = f"Vary {one_of(own)} instead" if own else "Leave the axis out"
    given = [name for name in FROM_LR if name in other.component("scheduler").keywords]
    if "lr" in changed and given:
        hint += f", or leave scheduler.{given[0]} out: it follows optimizer.lr"
    raise RequestError(
        f"{label} changes nothing: with scheduler {scheduler['name']} each update is made with the "
        "same options of the optimizer.",
        f"{hint}.",
    )


def refuse_other_examples(
    setting: Setting, baseline: RunSpec, run: RunSpec, seeds: Sequence[int], resolver: Resolver
) -> None:
    """Refuse a change of data that changes the validation examples of one of these seeds."""
    if run.identity["data"] == baseline.identity["data"]:
        return
    folds = folds_of(baseline.configuration)
    plain = [spec.requested.replace("standardize", False) for spec in (baseline, run)]
    parts = [
        [resolver.data(each, fold).val.inputs_of(10**9) for each in plain]
        for fold in {seed % folds for seed in seeds}
    ]
    if not all(a.equal(b) for pair in parts for a, b in zip(*pair, strict=True)):
        raise RequestError(
            f"{setting.label} changes the validation examples: there is no pairing then.",
            f"Change it for all settings with --set {setting.label}, as a study of its own.",
        )
