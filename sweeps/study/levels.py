"""LEVELS as they are typed: a list, the points of a range, or a range for a sampler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import resolve_component
from paribus.core.config.schema import COMPONENTS, WORDS, accept_value, form_of, read_value
from paribus.core.config.signatures import check_keyword
from paribus.core.config.values import parse_component, parse_value, show_value, split_commas
from paribus.core.errors import RequestError, shown

_RANGE = re.compile(r"\s*([^:,\[\]()]+):([^:,\[\]()]+)((?::[^:,]*)*)\s*")


@dataclass(frozen=True)
class Range:
    """Where levels are proposed, ends included.

    Attributes:
        low: The lowest level.
        high: The highest.
        log: Whether it is logarithmic.
        whole: Whether its levels are whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def text(self) -> str:
        return f"{show_value(self.low)} to {show_value(self.high)}{', log' * self.log}"


@dataclass(frozen=True)
class Levels:
    """What LEVELS says: values, or a range to explore."""

    values: tuple[Any, ...] = ()
    log: bool = False
    range: Range | None = None


def read_levels(key: str, levels: Any, full: Mapping[str, Any], experiment: Experiment) -> Levels:
    """What LEVELS says: a list, the points of a range, or a range without points.

    Raises:
        RequestError: If it is no list and no range, or there are no levels.
    """
    if not (levels.strip(" ,") if isinstance(levels, str) else levels):
        raise RequestError(f"{key}: the list of levels is empty.", f"Write {key}=a,b,c.", "levels")
    if not isinstance(levels, str):
        text = key in (*COMPONENTS, *WORDS)  # of other keys, a text is a value
        return Levels(tuple(accept_value(key, v) if text else v for v in levels))
    parts = split_commas(levels)
    if not all(part.strip() for part in parts):
        raise RequestError(
            f"{key}={shown(levels)}: a level is empty.", "Take out the extra comma.", "levels"
        )
    if key in COMPONENTS:
        return Levels(tuple(parse_component(part, key) for part in parts))
    whole = _is_whole(key, full, experiment)
    if (match := _RANGE.fullmatch(levels)) and (found := _range(key, match, whole)):
        return found
    return Levels(tuple(read_value(key, part) for part in parts))


def _range(key: str, match: re.Match[str], whole: bool) -> Levels | None:
    """``low:high[:log][:n]``: its points, or a range to explore; None if it is none of numbers."""
    low, high = (parse_value(match.group(i), key) for i in (1, 2))
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in (low, high)):
        return None
    rest = [word for word in match.group(3).split(":") if word]
    log = "log" in rest
    counts = [word for word in rest if word != "log"]
    where = f"{key}={shown(match.group(0))}"
    if len(counts) > 1 or any(not word.isdigit() for word in counts):
        raise RequestError(
            f"{where} is not low:high[:log][:n].", f"Such as {key}=1e-4:1e-1:log:4.", "range"
        )
    if not low < high:
        turned = f"{match.group(2)}:{match.group(1)}{match.group(3)}".replace(" ", "")
        raise RequestError(
            f"{where}: the range is {'reversed' if high < low else 'empty'}, its low end must be "
            "below its high end.",
            f"Write {key}={turned}." if high < low else f"For one level write {key}={low}.",
            "range",
        )
    if log and low <= 0:
        raise RequestError(
            f"{where}: a logarithmic range must begin above 0.",
            "Take a higher low end, or leave out :log.",
            "range",
        )
    if not counts:
        ends = [int(x) if whole and x == int(x) else x if whole else float(x) for x in (low, high)]
        return Levels(log=log, range=Range(ends[0], ends[1], log, whole))
    number = int(counts[0])
    if not 2 <= number <= 1000:
        raise RequestError(
            f"{where}: a range has 2 to 1000 points.", f"Such as {key}={low}:{high}:5.", "range"
        )
    import numpy as np  # here, so that --help needs none

    space = np.geomspace(low, high, number) if log else np.linspace(low, high, number)
    if whole:
        return Levels(tuple(dict.fromkeys(int(x) for x in np.rint(space))), log)
    return Levels(tuple(float(f"{x:.10g}") for x in space), log)


def _is_whole(key: str, full: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether the hyperparameter takes whole numbers only."""
    kind, _, inner = key.partition(".")
    if kind not in COMPONENTS:
        fields = getattr(form_of(full).model_fields[kind].annotation, "model_fields", {})
        types = get_args(fields[inner].annotation) if inner in fields else ()
        return inner in fields and float not in (fields[inner].annotation, *types)
    parameter = resolve_component(kind, full[kind]["name"], experiment).parameter(inner)
    if parameter is None:
        return False
    try:
        check_keyword(parameter, 0.5, key)
    except RequestError:
        try:
            check_keyword(parameter, 2.5, key)
        except RequestError:
            return True
    return False
