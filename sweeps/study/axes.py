"""Axes: one hyperparameter and the levels to try, from the command line or an experiment's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import (
    FROM_DATA,
    FROM_LENGTH,
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
from paribus.core.errors import Faults, RequestError, one_of
from paribus.sweeps.study.levels import Range, read_levels

Requested = str | tuple[str, Any]  # KEY=VALUE as it is typed, or a key and a value
_VALUE = ("bad-value", "not-finite")  # kinds of faults that an example helps against


@dataclass(frozen=True)
class Level:
    """One value of an axis: as it is set, its text, and the whole configuration it makes."""

    value: Any
    text: str
    configuration: Configuration


@dataclass(frozen=True)
class Axis:
    """One hyperparameter, the baseline's level and the levels to try.

    Attributes:
        key: The dotted name.
        baseline: The baseline's level.
        baseline_text: How it is shown.
        levels: What to try, in the order asked, without the baseline's own; none of a range.
        log: Whether the levels were asked for as a logarithmic range.
        range: Where a sampler proposes the levels.
    """

    key: str
    baseline: Any
    baseline_text: str
    levels: tuple[Level, ...]
    log: bool = False
    range: Range | None = None


def read_axes(
    asked: Sequence[Requested], baseline: Configuration, experiment: Experiment, faults: Faults
) -> list[Axis]:
    """The axes of a sweep.

    Args:
        asked: ``KEY=LEVELS``, ``KEY`` or (key, levels); none at all takes all axes of the
            experiment's file, but for those of a component that the baseline has another of.
        baseline: What the levels are compared with.
        experiment: Its `AXES` give the levels of a bare ``KEY``.
        faults: Takes everything that is wrong.
    """
    pairs: list[tuple[str, Any]] = []
    own = experiment.axes
    full = with_defaults(baseline, experiment)
    known = known_keys(full, experiment)
    if not asked:
        before = known_keys(with_defaults(experiment.baseline, experiment), experiment)
        own = {key: own[key] for key in own if key in known or key not in before}
    if not asked and not own:
        faults.add(
            f"{experiment.path.name} has no AXES{' of this baseline' if experiment.axes else ''}, "
            "and none were asked for.",
            f"Name one, such as {_an_example(full, known)}.",
        )
    for each in asked:
        levels: Any = None  # the experiment's own
        if isinstance(each, str):
            key, equals, text = each.partition("=")
            levels = text if equals else None
        else:
            key, levels = each
        with faults.collecting():
            key = axis_key(key.strip(), known)
            if levels is None and key not in own:
                raise RequestError(
                    f"{key}: {experiment.path.name} has no levels for this axis.",
                    f"Write {key}=LEVELS" + (f", or take {one_of(own)}." if own else "."),
                )
            pairs.append((key, own[key] if levels is None else levels))
    found: list[Axis] = []
    for key, levels in pairs if asked else own.items():
        with faults.collecting():
            key = axis_key(key, known)
            if key in [axis.key for axis in found]:
                raise RequestError(
                    f"The axis {key} is given twice.", "Put all levels into one list.", "axis-twice"
                )
            found.append(_read_axis(key, levels, full, baseline, experiment, asked=bool(asked)))
    return [axis for axis in found if axis.levels or axis.range]


def _an_example(full: Mapping[str, Any], known: Sequence[str]) -> str:
    """An axis that could be asked for: the learning rate, else the first that is a number."""
    lr = next((key for key in known if key.rpartition(".")[2] == "lr"), None)
    if lr is not None:
        return f"{lr}=1e-3,1e-2"
    numbers = ((key, get(full, key)) for key in known)
    key, value = next(((k, v) for k, v in numbers if type(v) in (int, float)), ("KEY", 1))
    return f"{key}={show_value(value)},{show_value(value * 2)}"


@contextmanager
def with_example(key: str, value: Any) -> Iterator[None]:
    """Adds a value that is valid to the faults of the block that name none."""
    try:
        yield
    except RequestError as error:
        if value is None or isinstance(value, Mapping):
            raise
        hint = f"Such as {key}={show_value(value)}."
        raise RequestError.of(
            replace(fault, hint=hint) if fault.kind in _VALUE and not fault.hint else fault
            for fault in error.faults
        ) from error


def changed(
    baseline: Configuration, key: str, value: Any, experiment: Experiment, *, whole: bool = True
) -> Configuration:
    """The baseline with one hyperparameter changed.

    A changed component keeps the keywords that its new signature also has and drops the others.

    Args:
        baseline: What is changed.
        key: The dotted name.
        value: What it is set to.
        experiment: Components may come from its file.
        whole: Whether all keywords that the component requires must be there already.

    Raises:
        RequestError: If the value does not fit the key.
    """
    kind, _, inner = key.partition(".")
    if key in COMPONENTS:
        new = resolve_component(key, value["name"], experiment)
        before = baseline.component(key).keywords
        value = {**{k: v for k, v in before.items() if k in new.signature.parameters}, **value}
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
    """The baseline with each ``KEY=VALUE`` or (key, value) set: components first, then keywords.

    Raises:
        RequestError: With all faults of all overrides.
    """
    faults = Faults()
    split = (split_override(e, faults) if isinstance(e, str) else e for e in overrides)
    pairs = [pair for pair in split if pair]
    pairs.sort(key=lambda pair: pair[0].endswith("direction"))  # after the metric that it is of
    seen: set[str] = set()
    for names_first in (True, False):
        full = None
        for key, given in pairs:
            if (key in COMPONENTS) is not names_first:
                continue
            with faults.collecting():
                if full is None or names_first:
                    full = with_defaults(baseline, experiment)
                key = full_key(key, known_keys(full, experiment))
                if key in seen:
                    raise RequestError(f"{key} is set twice.", "Set it once.", "key-twice")
                seen.add(key)
                if {"train.epochs", "train.updates"} <= seen:
                    raise RequestError(
                        "train.epochs and train.updates are one hyperparameter in two units.",
                        "Set one of them.",
                        "key-twice",
                    )
                with with_example(key, get(full, key)):
                    # A keyword that a component needs may be among the pairs that follow.
                    new = accept_value(key, given)
                    baseline = changed(baseline, key, new, experiment, whole=False)
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


def axis_key(key: str, known: list[str]) -> str:
    """The dotted key meant, if it can be an axis.

    Raises:
        RequestError: If there is no such key, or its levels cannot be compared with each other.
    """
    key = full_key(key, known)
    group, _, last = key.partition(".")
    if (group == "model" and last in FROM_DATA) or (group == "scheduler" and last in FROM_LENGTH):
        raise RequestError(
            f"{key} follows from the rest of the configuration and cannot be an axis.",
            "Leave it out.",
            "axis",
        )
    if group in ("select", "metrics"):
        raise RequestError(
            f"{key} decides what is measured, so its levels cannot be compared.",
            f"Set it for all: --set {key}=VALUE.",
            "axis",
        )
    if group == "split" or key == "task":
        raise RequestError(
            f"The axis {key} changes the validation examples: there is no pairing then.",
            f"Change it for all settings with --set {key}=VALUE, as a study of its own.",
            "axis-examples",
        )
    return key


def _read_axis(
    key: str,
    levels: Any,
    full: Mapping[str, Any],
    baseline: Configuration,
    experiment: Experiment,
    *,
    asked: bool,
) -> Axis:
    if key in ("train.epochs", "train.updates") and get(full, key) is None:
        other = "train.updates" if key == "train.epochs" else "train.epochs"
        raise RequestError(
            f"The baseline's length is given by {other}, so {key} cannot be an axis.",
            f"Put the baseline in this unit with --set {key}=N, or name the axes without this one.",
            "axis-unit",
        )
    current = get(full, key)
    with with_example(key, current):
        read = read_levels(key, levels, full, experiment)
    kept: list[Level] = []
    faults = Faults()
    for value in (read.range.low, read.range.high) if read.range else read.values:
        with faults.collecting():
            with with_example(key, current):
                configuration = changed(baseline, key, value, experiment)
            if read.range or with_defaults(configuration, experiment) == full:
                continue
            level = value if key in COMPONENTS else get(configuration.to_dict(), key)
            text = show_value(level)
            if text not in [other.text for other in kept]:
                kept.append(Level(level, text, configuration))
    faults.check()
    text = show_value(current)
    if key in COMPONENTS:  # its keywords only where a level differs in nothing else
        same = any(level.value["name"] == current["name"] for level in kept)
        text = show_value(baseline.to_dict()[key]) if same else current["name"]
    if not kept and asked and not read.range:
        raise only_the_baseline(key, text)
    value = text if key in COMPONENTS else current
    return Axis(key, value, text, tuple(kept), read.log, read.range)


def only_the_baseline(key: str, text: str) -> RequestError:
    """What an axis is refused with that has no level but the baseline's."""
    return RequestError(
        f"{key}: {text} is the baseline's own level, so there is nothing to compare.",
        "Name at least one other level; the baseline itself is always trained.",
        "levels",
    )
