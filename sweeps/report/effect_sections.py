"""The effects of all settings, for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.core.config.values import show_value
from paribus.sweeps.analysis.verdict_text import (
    axis_said,
    in_order,
    interval_text,
    verdict_text,
    where,
)
from paribus.sweeps.formatting import number, signed
from paribus.sweeps.report.effect_plots import (
    MOST_EFFECTS,
    Effect,
    Level,
    effects_panel,
    response_panel,
)
from paribus.sweeps.report.figure import Panel, explained, many, short
from paribus.sweeps.report.html import Graphic, Numbers, graphic
from paribus.sweeps.report.study_figure import levels_of
from paribus.sweeps.report.view import View
from paribus.sweeps.study.lookup import study_command
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE


def effects_graphic(view: View) -> Graphic | None:
    """Every setting's difference to the baseline; None where there is none yet."""
    effects = _effects(view)
    if not effects:
        return None
    comparison, drawn = view.comparison, _most(effects)
    metric = explained(view.study.metric, view.study.direction)
    said = [f"Setting minus baseline in {metric}, {view.seeds()}, {where(comparison)}."]
    looked = bool(comparison["looks"])
    said.append(f"Lines: {'intervals' if looked else '95 % intervals'} of each setting alone.")
    if comparison["margin"] is not None:
        said.append(f"Band: differences within {number(comparison['margin'])} do not matter.")
    said.append("Arrow: it goes on beyond the edge.")
    if len(drawn) < len(effects):
        said.append(f"{len(effects) - len(drawn)} more settings are in the table below.")
    return graphic(_panel(view, drawn), "effects", _alt(effects), " ".join(said), _numbers(view))


def effects_panel_of(view: View) -> Panel | None:
    """The same plot for where no page is."""
    effects = _effects(view)
    return _panel(view, _most(effects)) if effects else None


def _effects(view: View) -> list[Effect]:
    """Those settings that have a difference, by axis, the best of each first."""
    return [
        _effect(view, row)
        for row in in_order(view.comparison)
        if row["label"] != BASELINE and row["delta"] is not None
    ]


def _effect(view: View, row: Mapping[str, Any]) -> Effect:
    label = row["label"]
    (axis,) = row["changed"]
    low, high = row["interval"] or (None, None)
    return Effect(
        axis=axis,
        level=view.level(label),
        mean=row["delta"],
        interval=None if low is None or high is None else (low, high),
        verdict=row["verdict"],
        look=view.looks[label],
        said=f"{signed(row['delta'])}  {verdict_text(view.comparison, row)}",
    )


def _panel(view: View, effects: Sequence[Effect]) -> Panel:
    baselines = {axis["key"]: show_value(axis["baseline"]) for axis in view.study.asked["axes"]}
    title = f"{view.study.metric}: setting minus baseline"
    return effects_panel("effects", title, effects, view.comparison["margin"], baselines)


def _most(effects: Sequence[Effect]) -> list[Effect]:
    """As many as can be read: the first of each axis, and its last, which is the worst."""
    if len(effects) <= MOST_EFFECTS:
        return list(effects)
    axes = list(dict.fromkeys(effect.axis for effect in effects))
    each = max(2, MOST_EFFECTS // len(axes))
    found = []
    for axis in axes:
        own = [effect for effect in effects if effect.axis == axis]
        found += own if len(own) <= each else [*own[: each - 1], own[-1]]
    return found


def _alt(effects: Sequence[Effect]) -> str:
    counts = Counter(effect.verdict or "without a verdict" for effect in effects)
    first = max(effects, key=lambda effect: abs(effect.mean))
    return (
        f"Differences of {many(len(effects), 'setting')} to the baseline with their intervals: "
        f"{', '.join(f'{count} {verdict}' for verdict, count in counts.items())}. "
        f"The largest: {first.axis} {first.level}, {signed(first.mean)}."
    )


def _numbers(view: View) -> Numbers:
    rows = []
    for row in in_order(view.comparison):
        if row["label"] != BASELINE:
            numbers = [signed(row["delta"]), interval_text(row["interval"]), _p(row)]
            rows.append([row["label"], *numbers, verdict_text(view.comparison, row)])
    return Numbers(["setting", "difference", "interval", "p (Holm)", "verdict"], rows)


def _p(row: Mapping[str, Any]) -> str:
    return "–" if row["p_holm"] is None else f"{row['p_holm']:.2g}"


# How the metric responds to each axis, for the page.


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
        panel,
        f"response-{place}",
        _response_alt(view, key, levels),
        caption,
        _response_numbers(view, axis, levels),
    )


def _response_alt(view: View, key: str, levels: Sequence[Level]) -> str:
    means = ", ".join(
        f"{level.text}{' (baseline)' if level.baseline else ''} {number(_mean(level))}"
        for level in levels
    )
    return f"Mean {view.study.metric} at each level of {key}: {means}."


def _response_numbers(view: View, axis: Mapping[str, Any], levels: Sequence[Level]) -> Numbers:
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
