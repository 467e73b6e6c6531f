"""How the metric responds to each axis, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.sweeps.lookup import study_command
from paribus.sweeps.numbers import number
from paribus.sweeps.outcomes import SettingResult
from paribus.sweeps.plots.response import Level, response_panel
from paribus.sweeps.plots.style import short
from paribus.sweeps.plots.words import explained
from paribus.sweeps.report.graphic import Graphic, Numbers, graphic
from paribus.sweeps.report.view import View
from paribus.sweeps.study_picture import levels_of
from paribus.sweeps.verdicts.words import axis_said


@dataclass(frozen=True)
class AxisShown:
    """An axis on the page.

    Attributes:
        graphic: Its levels against the metric.
        sentence: What was best, by how much, how sure.
        command: Makes the best level the baseline; None where no level is better.
    """

    graphic: Graphic
    sentence: str
    command: str | None


def axes_shown(view: View) -> list[AxisShown]:
    """Every axis of which a level has a value."""
    there = [result for result in view.results if result.values]
    paste = study_command(view.study)
    found = []
    for place, axis in enumerate(view.study.asked["axes"]):
        if graphic := _response(view, place, axis, there):
            said = axis_said(view.comparison, axis["key"])
            command = paste(*said.change) if said.change else None
            found.append(AxisShown(graphic, said.sentence, command))
    return found


def _response(
    view: View, place: int, axis: Mapping[str, Any], there: Sequence[SettingResult]
) -> Graphic | None:
    levels = levels_of(axis, there, view.looks)
    if all(level.baseline for level in levels):
        return None
    key, log = axis["key"], bool(axis.get("log"))
    panel = response_panel(
        f"response: {key}", f"{short(key, 30)}: {view.study.metric}", key, levels, log=log
    )
    metric = explained(view.study.metric, view.study.direction)
    caption = (
        f"Each seed's best epoch by {metric}, {view.seeds()}; stroke: mean; dotted: the baseline's."
    )
    return graphic(
        panel, f"response-{place}", _alt(view, key, levels), caption, _numbers(view, axis, levels)
    )


def _alt(view: View, key: str, levels: Sequence[Level]) -> str:
    means = ", ".join(
        f"{level.text}{' (baseline)' if level.baseline else ''} {number(_mean(level))}"
        for level in levels
    )
    return f"Mean {view.study.metric} at each level of {key}: {means}."


def _numbers(view: View, axis: Mapping[str, Any], levels: Sequence[Level]) -> Numbers:
    """Each level's mean, and its value for each seed."""
    results = [r for r in view.results if r.values and r.setting.key in (None, axis["key"])]
    seeds = sorted({seed for result in results for seed in result.seeds})
    rows = []
    for level, result in zip(levels, results, strict=True):
        name = f"{level.text} (baseline)" if level.baseline else level.text
        by_seed = dict(zip(result.seeds, result.values, strict=True))
        rows.append([name, number(_mean(level)), *[number(by_seed.get(seed)) for seed in seeds]])
    return Numbers(["level", "mean", *[f"seed {seed}" for seed in seeds]], rows)


def _mean(level: Level) -> float:
    return sum(level.seeds) / len(level.seeds)
