"""The effects of all settings, for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.values import show_value
from paribus.sweeps.numbers import number, signed
from paribus.sweeps.plots.effects import MOST_EFFECTS, Effect, effects_panel
from paribus.sweeps.plots.figure import Panel
from paribus.sweeps.plots.words import explained, many
from paribus.sweeps.report.graphic import Graphic, Numbers, graphic
from paribus.sweeps.report.view import View
from paribus.sweeps.settings import BASELINE
from paribus.sweeps.verdicts.words import in_order, interval_text, verdict_text, where


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
