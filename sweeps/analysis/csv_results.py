"""Compare the results of any tool: a CSV file with the columns setting, seed and value."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paribus.core.config.schema import Direction
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.fileio import user_path
from paribus.sweeps.analysis.compare import Comparison, SettingComparison
from paribus.sweeps.analysis.judge import judge_observed
from paribus.sweeps.analysis.observed import Observed
from paribus.sweeps.stats.variance import step_of
from paribus.sweeps.stats.verdicts import Standard, mean_and_std
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Metric

_COLUMNS = ("setting", "seed", "value")
_FORM = "The first line is setting,seed,value, and each further one a run; one setting is baseline."
_MOST_FAULTS = 5
_LARGEST = 1e100  # whose squares are numbers still


class CsvComparison(Comparison):
    """The comparison of a file of results, with the smallest step between its values."""

    results: str
    step: float


def compare_results(
    path: str | Path, direction: Direction, margin: float | None = None, *, strict: bool = False
) -> CsvComparison:
    """Compare the settings of a file of results.

    A value that is empty, or no finite number, is a failed run. Without a margin it is half a point
    of values that are maximized, 0.005 of those up to 1 and 0.5 of those up to 100, else 2 % of the
    baseline's mean.

    Raises:
        RequestError: With all that is wrong with the file.
    """
    path = user_path(path)
    found, seeds = _read(path)
    baseline = found.pop(BASELINE, Observed(BASELINE, {}))
    settings = list(found.values())
    _check(path, baseline, settings)
    values = [value for one in (baseline, *settings) for value in one.values.values()]
    higher = direction == "maximize"
    shares = higher and min(values) >= 0 and max(values) <= 100  # or percentages
    if margin is None:
        margin = 0.02 * abs(sum(baseline.values.values()) / len(baseline.values))
        if shares:
            margin = 0.005 if max(values) <= 1 else 0.5
    standard = Standard(
        margin, len(settings), higher, step_of(values), pooled=shares, strict=strict
    )
    judged = judge_observed(baseline, settings, standard)
    return CsvComparison(
        study=None,
        results=str(path),
        metric=Metric(name="value", direction=direction),
        sameness="not proven",
        question=judged.question,
        margin=standard.margin,
        tests=standard.planned,
        examples=None,
        looks=[],
        strict=strict,
        step=standard.resolution,
        settings=[_setting(one, seeds, judged.effect(one.label)) for one in (baseline, *settings)],
    )


def _read(path: Path) -> tuple[dict[str, Observed], list[str]]:
    """Return the settings by label, and the names of their seeds, which are numbered in order."""
    name = shown(path, 200)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise _refusal(f"{name}: cannot be read ({reason}).") from error
    lines = csv.DictReader(text.splitlines())
    lines.fieldnames = columns = [column.strip() for column in lines.fieldnames or ()]
    missing = [column for column in _COLUMNS if columns.count(column) != 1]
    if missing:
        there = ", ".join(shown(column, 40) for column in columns) or "none"
        raise _refusal(f"{name}: needs one column {' and '.join(missing)} each; it has {there}.")
    runs: dict[tuple[str, str], float | None] = {}  # (label, seed) to value; None: it failed
    faults = Faults()
    try:
        for line in lines:
            if len(faults.found) < _MOST_FAULTS:
                with faults.collecting():
                    _add(line, runs, f"{name}, line {lines.line_num}")
    except csv.Error as error:
        raise _refusal(f"{name}, line {lines.line_num}: cannot be read ({error}).") from error
    faults.check()
    numbers = {seed: number for number, seed in enumerate(dict.fromkeys(s for _, s in runs))}
    settings = {}
    for label in dict.fromkeys(label for label, _ in runs):
        own = {numbers[seed]: value for (name, seed), value in runs.items() if name == label}
        values = {seed: value for seed, value in own.items() if value is not None}
        failed = tuple(seed for seed, value in own.items() if value is None)
        settings[label] = Observed(label, values, failed)
    return settings, list(numbers)


def _add(
    line: Mapping[str, str | None], runs: dict[tuple[str, str], float | None], where: str
) -> None:
    """Add the run of a line; `where` is the place that a message names."""
    if None in line or None in line.values():
        many = "many" if None in line else "few"
        raise _refusal(f"{where}: has too {many} fields.")
    label, seed, text = ((line[name] or "").strip() for name in _COLUMNS)
    if not label or not seed:
        missing = "seed" if label else "setting"
        raise _refusal(f"{where}: has no {missing}.")
    if (label, seed) in runs:
        raise _refusal(
            f"{where}: a second value of setting {shown(label)} and seed {shown(seed, 40)}.",
            "Give each run one line: the metric of its chosen epoch.",
        )
    try:
        value = float(text) if text else math.nan
    except ValueError:
        raise _refusal(
            f"{where}: value {shown(text, 40)} is no number.",
            "Leave the value of a failed run empty.",
        ) from None
    if math.isfinite(value) and abs(value) > _LARGEST:
        raise _refusal(f"{where}: value {shown(text, 40)} is too large.")
    runs[label, seed] = value if math.isfinite(value) else None


def _check(path: Path, baseline: Observed, settings: list[Observed]) -> None:
    """Refuse a file that no verdict can come from."""
    name = shown(path, 200)
    if not baseline.values:
        what = "has no complete run" if baseline.failed else "is not there"
        raise _refusal(f"{name}: the setting called baseline {what}.")
    if not settings:
        raise _refusal(f"{name}: has no setting besides the baseline.")
    most = max(len(one.values.keys() & baseline.values.keys()) for one in settings)
    if most < 2:
        many = "one seed" if most else "no seed"
        raise RequestError(
            f"{name}: each setting has {many} in common with the baseline; a verdict needs two.",
            "Train settings and baseline with the same seeds, three or more.",
        )


def _refusal(message: str, hint: str = _FORM) -> RequestError:
    return RequestError(message, hint)


def _setting(one: Observed, names: Sequence[str], effect: Mapping[str, Any]) -> SettingComparison:
    """Return a setting with its verdict. A label ``key=level`` names its axis."""
    values = list(one.values.values())
    mean, std = mean_and_std(values)
    key, equals, level = one.label.partition("=")
    return SettingComparison(
        label=one.label,
        changed={key: [None, level]} if equals else {},
        derived={},
        runs=[],
        seeds=[names[number] for number in one.values],
        values=values,
        mean=mean,
        std=std,
        status="failed" if one.failed else "complete",
        reason=None,
        **effect,
    )
