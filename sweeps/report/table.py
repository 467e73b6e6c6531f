"""The table of all settings, for the page: what is shown, and what it is sorted by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paribus.core.errors import shown
from paribus.core.values import show_value
from paribus.sweeps.numbers import duration, number, signed
from paribus.sweeps.report.graphic import THEME
from paribus.sweeps.report.view import View
from paribus.sweeps.settings import BASELINE
from paribus.sweeps.verdicts.words import (
    derived_text,
    in_order,
    interval_text,
    seeds_text,
    verdict_text,
)

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
    found = [float(view.record(label, seed)["seconds"]) for seed in seeds]
    return sum(found) / len(found) if found else None


def baseline_configuration(view: View) -> list[tuple[str, str]]:
    """Key and value of the baseline, all defaults filled in where one of its runs is complete."""
    from paribus.core.config import flatten

    seeds = view.by_label[BASELINE].seeds if BASELINE in view.by_label else ()
    given = view.study.asked["baseline"]
    configuration = view.record(BASELINE, seeds[0])["configuration"] if seeds else given
    return [(key, show_value(value)) for key, value in flatten(configuration).items()]
