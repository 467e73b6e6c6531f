"""Settings: the baseline, or the baseline with exactly one hyperparameter changed."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import (
    INTERVAL,
    check_components,
    known_keys,
    resolve_component,
    with_defaults,
)
from paribus.core.config.schema import (
    COMPONENTS,
    Configuration,
    accept_value,
    full_key,
    get,
    split_override,
)
from paribus.core.config.signatures import check_keyword
from paribus.core.config.values import show_value
from paribus.core.errors import Faults, RequestError, rewording

BASELINE = "baseline"
Requested = str | tuple[str, Any]  # KEY=VALUE as it is typed, or a key and a value
_EITHER_OR = (
    ("train.epochs", "train.updates", "are one hyperparameter in two units"),
    ("split.folds", "split.val_fraction", "both say what validates"),
)


@dataclass(frozen=True)
class Setting:
    """The baseline with at most one hyperparameter changed."""

    label: str  # ``baseline`` or ``optimizer.lr=0.0001``
    key: str | None  # the changed hyperparameter, None for the baseline
    level: Any  # its value; a component's as text
    changed: dict[str, list[Any]]  # ``{key: [baseline, level]}``
    configuration: Configuration = field(repr=False)  # the whole one as requested
    derived: dict[str, list[Any]] = field(default_factory=dict)  # what follows, as `changed`
    stated: tuple[str, ...] = ()  # where the level is a component, the keywords that it names

    @property
    def text(self) -> str:
        """The level as it is typed."""
        return self.label.partition("=")[2]


def baseline_setting(configuration: Configuration) -> Setting:
    """Return the baseline itself."""
    return Setting(BASELINE, None, None, {}, configuration)


def level_setting(key: str, baseline: Any, level: Any, configuration: Configuration) -> Setting:
    """Return the setting of one level of an axis, given the whole configuration with it.

    A level that is a component is a dict of its name and the keywords that were stated.
    """
    text, stated = show_value(level), ()
    if key in COMPONENTS:
        level, stated = text, tuple(level)
    return Setting(f"{key}={text}", key, level, {key: [baseline, level]}, configuration, {}, stated)


# How one configuration is made from another.


def changed(
    baseline: Configuration, key: str, value: Any, experiment: Experiment, *, whole: bool = True
) -> Configuration:
    """Return a configuration with one hyperparameter changed.

    A changed component keeps the keywords that its new signature also has and drops the others.
    Where `whole` is false, keywords that it requires may be set later.
    """
    kind, _, inner = key.partition(".")
    if key in COMPONENTS:
        new = resolve_component(key, value["name"], experiment)
        before = baseline.component(key).keywords
        kept = new.signature.parameters.keys() - {INTERVAL}  # that one is of one scheduler
        value = {**{k: v for k, v in before.items() if k in kept}, **value}
    elif kind in COMPONENTS:
        name = baseline.component(kind).name
        if parameter := resolve_component(kind, name, experiment).parameter(inner):
            value = check_keyword(parameter, value, key)
    faults = Faults()
    checked = check_components(baseline.replace(key, value), experiment, faults)
    if not whole:
        faults.found = [fault for fault in faults.found if fault.kind != "missing-keyword"]
    faults.check()
    return checked


def apply_overrides(
    baseline: Configuration, overrides: Sequence[Requested], experiment: Experiment
) -> Configuration:
    """Return a configuration with each ``KEY=VALUE`` or (key, value) set; report all faults."""
    faults = Faults()
    split = (split_override(e, faults) if isinstance(e, str) else e for e in overrides)
    # Components before their keywords; a direction after the metric that it belongs to.
    pairs = sorted(
        (pair for pair in split if pair),
        key=lambda pair: (pair[0] not in COMPONENTS, pair[0].endswith("direction")),
    )
    seen: set[str] = set()
    full = None  # with the keywords of the present components
    for key, given in pairs:
        with faults.collecting():
            full = full or with_defaults(baseline, experiment)
            key = full_key(key, known_keys(full, experiment))
            if key in seen:
                raise RequestError(f"{key} is set twice.", "Set it once.")
            seen.add(key)
            for one, other, why in _EITHER_OR:
                if {one, other} <= seen:
                    raise RequestError(f"{one} and {other} {why}.", "Set one.")
            with with_example(key, get(full, key)):
                # A keyword that a component needs may be among the pairs that follow.
                value = accept_value(key, given)
                baseline = changed(baseline, key, value, experiment, whole=False)
            if key in COMPONENTS:
                full = None
    faults.check()
    return baseline


def with_full_keys(requested: Sequence[Requested], known: Sequence[str]) -> tuple[Requested, ...]:
    """Return valid requests with the full key in place of a short one."""

    def full(each: Requested) -> Requested:
        if not isinstance(each, str):
            return (full_key(each[0], known), each[1])
        key, equals, value = each.partition("=")
        return f"{full_key(key.strip(), known)}{equals}{value}"

    return tuple(map(full, requested))


def with_example(key: str, value: Any) -> AbstractContextManager[None]:
    """Add a valid value to the faults of the block that have no hint."""
    if value is None or isinstance(value, Mapping):
        return nullcontext()
    hint = f"Such as {key}={show_value(value)}."
    return rewording(lambda fault: fault if fault.hint else replace(fault, hint=hint))
