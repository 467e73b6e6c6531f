"""The table of all settings, for the page: what is shown, and what it is sorted by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paribus.core.config.values import show_value
from paribus.core.errors import shown
from paribus.sweeps.analysis.verdict_text import (
    QUESTIONS,
    derived_text,
    in_order,
    interval_text,
    seeds_text,
    verdict_text,
)
from paribus.sweeps.formatting import duration, number, signed
from paribus.sweeps.report.figure import many
from paribus.sweeps.report.html import THEME
from paribus.sweeps.report.view import View
from paribus.sweeps.study.settings import BASELINE

_DASHES = {"-": "none", "--": "5 3", ":": "2 2", "-.": "6 2 2 2"}


@dataclass(frozen=True)
class Cell:
    """What stands in a column.

    Attributes:
        text: What is shown.
        order: What rows are sorted by: a number, or a word; None goes last.
    """

    text: str
    order: float | str | None


@dataclass(frozen=True)
class Row:
    """A setting.

    Attributes:
        verdict: Gives its mark; empty without one.
        colour: Variable of the stylesheet: that of its lines in the plots.
        dashes: Those of its lines, as SVG has them.
        cells: In the order of the table's columns.
    """

    verdict: str
    colour: str
    dashes: str
    cells: tuple[Cell, ...]


def settings_table(view: View) -> tuple[list[str], list[Row]]:
    """Headings, and a row for each setting: the baseline, then by axis the best first."""
    comparison = view.comparison
    on_new = comparison["question"] == "new data"
    interval = "interval" if comparison["looks"] else "95 % interval"
    columns = [f"{view.study.metric}, mean ± sd", "difference", interval, "verdict"]
    columns += [*(["on this part"] if on_new else []), "seeds", "failed", "time of a run"]
    rows = [_row(view, setting, on_new) for setting in in_order(comparison)]
    return ["setting", *columns, "what else followed"], rows


def _row(view: View, setting: Mapping[str, Any], on_new: bool) -> Row:
    label, result = setting["label"], view.by_label[setting["label"]]
    verdict, here = setting["verdict"], setting["this_part"]
    spread = "" if setting["std"] is None else f" ± {number(setting['std'])}"
    ends, seconds = setting["interval"], _seconds(view, label)
    derived, most = derived_text(setting["derived"]), len(view.comparison["settings"][0]["runs"])
    cells = [
        Cell(shown(label, 200), None if label == BASELINE else label),
        Cell(f"{number(setting['mean'])}{spread}", setting["mean"]),
        Cell(signed(setting["delta"]), setting["delta"]),
        Cell(interval_text(ends), ends and ends[0]),
        Cell(_verdict(view, setting), verdict),
        *([Cell(here["verdict"], here["verdict"]) if here else Cell("–", None)] if on_new else []),
        Cell(seeds_text(setting, most), len(setting["seeds"])),
        Cell(_failed(result.failed, setting["reason"]), len(result.failed)),
        Cell("–" if seconds is None else duration(seconds), seconds),
        Cell(derived, derived or None),
    ]
    look = view.looks[label]
    return Row(verdict or "", THEME[look["color"]], _DASHES[look["linestyle"]], tuple(cells))


def _verdict(view: View, setting: Mapping[str, Any]) -> str:
    """The verdict; without one, what became of the setting."""
    if setting["verdict"] is None and setting["status"] != "complete":
        return str(setting["status"])
    return verdict_text(view.comparison, setting)


def _failed(seeds: tuple[int, ...], reason: str | None) -> str:
    if not seeds:
        return "0"
    return f"{len(seeds)}: {shown(reason, 160)}" if reason else str(len(seeds))


def _seconds(view: View, label: str) -> float | None:
    """Mean seconds of training of its complete runs."""
    seeds = view.by_label[label].seeds
    found = [float(view.record(label, seed).seconds) for seed in seeds]
    return sum(found) / len(found) if found else None


def baseline_configuration(view: View) -> list[tuple[str, str]]:
    """Key and value of the baseline, all defaults filled in where one of its runs is complete."""
    from paribus.core.config.schema import flatten

    seeds = view.by_label[BASELINE].seeds if BASELINE in view.by_label else ()
    given = view.study.asked["baseline"]
    configuration = view.record(BASELINE, seeds[0]).configuration if seeds else given
    return [(key, show_value(value)) for key, value in flatten(configuration).items()]


# The result of a study in one sentence: what was tried, what helped, by how much, how sure.


_COUNTED = {
    "worse": ("made it worse", "made it worse"),
    "equivalent": ("makes no difference that matters", "make no difference that matters"),
    "identical": ("changed no output at all", "changed no output at all"),
    "undecided": ("is undecided", "are undecided"),
}


def headline(view: View) -> str:
    """What a reader should take away, if it is but one sentence (or two)."""
    levels = [row for label, row in view.rows.items() if label != BASELINE]
    axes = len(view.study.asked["axes"])
    tried = f"Of {many(len(levels), 'change')} to {shown(view.study.experiment)}"
    tried += f", one at a time on {many(axes, 'hyperparameter')},"
    verdicts = Counter(row["verdict"] for row in levels)
    better, rest = verdicts["better"], _rest(verdicts)
    if not any(verdict is not None for verdict in verdicts):
        return f"{tried} none has a verdict yet{_why(view)}."
    if not better or view.chosen is None:
        return f"{tried} none surely helped; {rest}.{_most_promising(view)}"
    helped = "one helped" if better == 1 else f"{better} helped"
    most = "it" if better == 1 else "the most"
    others = f" Of the others, {rest}." if rest else ""
    return f"{tried} {helped}; {most}: {_effect(view, view.chosen)}.{others}"


def _effect(view: View, label: str) -> str:
    """``optimizer.lr=0.01 raises val/accuracy by 0.0119 (…) from 0.9652 to 0.9770``"""
    row, base = view.rows[label], view.rows[BASELINE]
    way = "raises" if row["delta"] > 0 else "lowers"
    return (
        f"{shown(row['label'])} {way} {view.study.metric} by {number(abs(row['delta']))}, from "
        f"{number(base['mean'])} ({_sure(view, label)})"
    )


def _sure(view: View, label: str) -> str:
    row = view.rows[label]
    if row["interval"] is None:
        return "one seed: it may be chance"
    low, high = (signed(end) for end in row["interval"])
    sure = f"{100 * row['confidence']:.3g} % interval {low} to {high}"
    return f"{sure} {QUESTIONS[row['question']]}, {many(row['pairs'], 'seed')}"


def _most_promising(view: View) -> str:
    """The best level of those that are undecided."""
    if view.chosen is None or view.rows[view.chosen]["verdict"] != "undecided":
        return ""
    row = view.rows[view.chosen]
    if view.sign * row["delta"] <= 0:
        return ""
    return (
        f" The most promising, {shown(row['label'])}, is at {signed(row['delta'])} "
        f"{view.study.metric} ({_sure(view, view.chosen)}), which may be chance."
    )


def _rest(verdicts: Counter[str | None]) -> str:
    parts = [
        f"{verdicts[verdict]} {words[verdicts[verdict] > 1]}"
        for verdict, words in _COUNTED.items()
        if verdicts[verdict]
    ]
    if verdicts[None]:
        parts.append(f"{verdicts[None]} without a verdict")
    return ", ".join(parts)


def _why(view: View) -> str:
    why = next((row["no_verdict"] for row in view.rows.values() if row["no_verdict"]), None)
    return f": {shown(why, 200)}" if why else ""
