"""Axes: one hyperparameter and the levels to try, from the command line or an experiment's file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import (
    FROM_DATA,
    FROM_LENGTH,
    known_keys,
    resolve_component,
    with_defaults,
)
from paribus.core.config.schema import (
    COMPONENTS,
    Configuration,
    accept_value,
    annotation_of,
    full_key,
    get,
    read_value,
)
from paribus.core.config.signatures import accepts
from paribus.core.config.values import parse_component, parse_value, show_value, split_commas
from paribus.core.errors import Faults, RequestError, one_of, shown
from paribus.sweeps.study.settings import Requested, Setting, changed, level_setting, with_example

_RANGE = re.compile(r"\s*([^:,\[\]()]+):([^:,\[\]()]+)((?::[^:,]*)*)\s*")


@dataclass(frozen=True)
class Range:
    """Where a sampler proposes levels, ends included; of some keys whole numbers only."""

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def text(self) -> str:
        return f"{show_value(self.low)} to {show_value(self.high)}{', log' * self.log}"


@dataclass(frozen=True)
class Axis:
    """One hyperparameter, the baseline's level and the levels to try."""

    key: str
    baseline: Any
    baseline_text: str  # how it is shown
    levels: tuple[Setting, ...]  # in the order requested, without the baseline; none of a range
    log: bool = False  # they were requested as a logarithmic range
    range: Range | None = None  # where a sampler proposes the levels


def read_axes(
    requested: Sequence[Requested], baseline: Configuration, experiment: Experiment, faults: Faults
) -> list[Axis]:
    """Return the axes of a sweep, their levels compared with a baseline.

    Each is requested as ``KEY=LEVELS``, as (key, levels), or as a ``KEY`` whose levels the file's
    `AXES` give. None at all takes all axes of the file, but for those of a component that the
    baseline has another of.
    """
    own, full = experiment.axes, with_defaults(baseline, experiment)
    known = known_keys(full, experiment)
    wanted = list(requested)
    if not requested:
        before = known_keys(with_defaults(experiment.baseline, experiment), experiment)
        wanted += [(key, own[key]) for key in own if key in known or key not in before]
        if not wanted:
            faults.add(
                f"{experiment.path.name} has no AXES{' of this baseline' if own else ''}, "
                "and none were given.",
                f"Name one, such as {_example(full, known)}.",
            )
    found: dict[str, Axis] = {}
    for each in wanted:
        key, equals, levels = (
            each.partition("=") if isinstance(each, str) else (each[0], "=", each[1])
        )
        with faults.collecting():
            key = _axis_key(key.strip(), known)
            if not equals:
                if key not in own:
                    raise RequestError(
                        f"{key}: {experiment.path.name} has no levels for this axis.",
                        f"Write {key}=LEVELS" + (f", or take {one_of(own)}." if own else "."),
                    )
                levels = own[key]
            if key in found:
                raise RequestError(
                    f"The axis {key} is given twice.", "Put all levels into one list."
                )
            found[key] = axis = _read_axis(key, levels, full, baseline, experiment)
            if requested and not axis.levels and not axis.range:
                raise only_the_baseline(axis)
    return [axis for axis in found.values() if axis.levels or axis.range]


def _example(full: Mapping[str, Any], known: Sequence[str]) -> str:
    """Return an axis that is valid here: the learning rate, else the first that is a number."""
    lr = next((key for key in known if key.rpartition(".")[2] == "lr"), None)
    if lr is not None:
        return f"{lr}=1e-3,1e-2"
    numbers = ((key, get(full, key)) for key in known)
    key, value = next(((k, v) for k, v in numbers if type(v) in (int, float)), ("KEY", 1))
    return f"{key}={show_value(value)},{show_value(value * 2)}"


def _axis_key(key: str, known: list[str]) -> str:
    """Return the dotted key that is meant, if its levels can be compared with each other."""
    key = full_key(key, known)
    group, _, last = key.partition(".")
    if (group == "model" and last in FROM_DATA) or (group == "scheduler" and last in FROM_LENGTH):
        raise RequestError(
            f"{key} follows from the rest of the configuration and cannot be an axis.",
            "Leave it out.",
        )
    if group in ("select", "metrics"):
        raise RequestError(
            f"{key} decides what is measured, so its levels cannot be compared.",
            f"Set it for all: --set {key}=VALUE.",
        )
    if group == "split" or key == "task":
        raise RequestError(
            f"The axis {key} changes the validation examples: there is no pairing then.",
            "To train with several seeds: --seeds 1,2,3."
            if key == "split.seed"
            else f"Change it for all settings with --set {key}=VALUE, as a study of its own.",
        )
    return key


def _read_axis(
    key: str,
    levels: Any,
    full: Mapping[str, Any],
    baseline: Configuration,
    experiment: Experiment,
) -> Axis:
    current = get(full, key)
    if key in ("train.epochs", "train.updates") and current is None:
        other = "train.updates" if key == "train.epochs" else "train.epochs"
        raise RequestError(
            f"The baseline's length is given by {other}, so {key} cannot be an axis.",
            f"Put the baseline in this unit with --set {key}=N, or name the axes without this one.",
        )
    with with_example(key, current):
        values, log, range = _read_levels(key, levels, full, experiment)
    kept: dict[str, tuple[Any, Configuration]] = {}  # by its text
    faults = Faults()
    for value in (range.low, range.high) if range else values:
        with faults.collecting():
            with with_example(key, current):
                configuration = changed(baseline, key, value, experiment)
            if not range and with_defaults(configuration, experiment) != full:
                level = value if key in COMPONENTS else get(configuration.to_dict(), key)
                kept.setdefault(show_value(level), (level, configuration))
    faults.check()
    text = show_value(current)
    if key in COMPONENTS:  # its keywords only where a level differs in nothing else
        same = any(level["name"] == current["name"] for level, _ in kept.values())
        current = text = show_value(baseline.to_dict()[key]) if same else current["name"]
    settings = tuple(level_setting(key, current, *each) for each in kept.values())
    return Axis(key, current, text, settings, log, range)


def only_the_baseline(axis: Axis) -> RequestError:
    """Return the error of an axis that has no level but the baseline's."""
    return RequestError(
        f"{axis.key}: {axis.baseline_text} is the baseline's own level, so there is nothing to "
        "compare.",
        "Name at least one other level; the baseline itself is always trained.",
    )


# LEVELS as they are typed: a list, the points of a range, or a range for a sampler.

Levels = tuple[Sequence[Any], bool, Range | None]  # values, whether they are logarithmic, range


def _read_levels(key: str, levels: Any, full: Mapping[str, Any], experiment: Experiment) -> Levels:
    if not (levels.strip(" ,") if isinstance(levels, str) else levels):
        raise RequestError(f"{key}: the list of levels is empty.", f"Write {key}=a,b,c.")
    if not isinstance(levels, str):
        # Of a keyword, a text is a value already.
        typed = key in COMPONENTS or key.partition(".")[0] not in COMPONENTS
        return [accept_value(key, value) if typed else value for value in levels], False, None
    parts = split_commas(levels)
    if not all(part.strip() for part in parts):
        raise RequestError(f"{key}={shown(levels)}: a level is empty.", "Take out the extra comma.")
    if key in COMPONENTS:
        return [parse_component(part, key) for part in parts], False, None
    match = _RANGE.fullmatch(levels)
    ends = [parse_value(match.group(number), key) for number in (1, 2)] if match else []
    if match and all(type(end) in (int, float) for end in ends):
        return _read_range(key, match, *ends, whole=_is_whole(key, full, experiment))
    return [read_value(key, part) for part in parts], False, None


def _read_range(key: str, match: re.Match[str], low: float, high: float, *, whole: bool) -> Levels:
    """Read ``low:high[:log][:n]``: its points, or a range to explore."""
    words = [word for word in match.group(3).split(":") if word]
    counts = [word for word in words if word != "log"]
    log, where = "log" in words, f"{key}={shown(match.group(0))}"
    if len(counts) > 1 or any(not word.isdigit() for word in counts):
        raise RequestError(f"{where} is not low:high[:log][:n].", f"Such as {key}=1e-4:1e-1:log:4.")
    if not low < high:
        turned = f"{match.group(2)}:{match.group(1)}{match.group(3)}".replace(" ", "")
        raise RequestError(
            f"{where}: the range is {'reversed' if high < low else 'empty'}, its low end must be "
            "below its high end.",
            f"Write {key}={turned}." if high < low else f"For one level write {key}={low}.",
        )
    if log and low <= 0:
        raise RequestError(
            f"{where}: a logarithmic range must begin above 0.",
            "Take a higher low end, or leave out :log.",
        )
    if not counts:
        low, high = (int(x) if whole and x == int(x) else x if whole else float(x)
                     for x in (low, high))  # fmt: skip
        return (), log, Range(low, high, log, whole)
    number = int(counts[0])
    if not 2 <= number <= 1000:
        raise RequestError(
            f"{where}: a range has 2 to 1000 points.", f"Such as {key}={low}:{high}:5."
        )
    import numpy as np  # here, so that --help needs none

    points = np.geomspace(low, high, number) if log else np.linspace(low, high, number)
    rounded = (int(np.rint(x)) if whole else float(f"{x:.10g}") for x in points)
    return list(dict.fromkeys(rounded)), log, None


def _is_whole(key: str, full: Mapping[str, Any], experiment: Experiment) -> bool:
    """Return whether a hyperparameter takes whole numbers only."""
    kind, _, inner = key.partition(".")
    annotation = annotation_of(key)
    if kind in COMPONENTS:
        parameter = resolve_component(kind, full[kind]["name"], experiment).parameter(inner)
        if parameter is None:
            return False
        annotation = parameter.accepted
    return not any(accepts(annotation, number) for number in (0.5, 2.5))
