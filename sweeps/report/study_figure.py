"""The picture of a study: from its results and its runs' histories to panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, shown
from paribus.sweeps.report.curve_plots import curves_panel, mean_and_band
from paribus.sweeps.report.effect_plots import Level, response_panel
from paribus.sweeps.report.figure import BASELINE, Panel, Picture, explained, line_look, many, short
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study

_Histories = list[list[float | None]]  # for each seed, the selection metric of each epoch


def picture_of_study(study: Study, results: Sequence[SettingResult]) -> Picture:
    """For each axis the learning curves of its settings, and the response to its levels.

    Raises:
        RequestError: If no run is complete.
    """
    there = [result for result in results if result.values]
    if not there:
        raise RequestError(
            f"The study {study.name} has no complete run to draw.",
            "Run its sweep again; see: paribus compare.",
            "nothing",
        )
    looks = looks_of(results)
    histories = {result.setting.label: _histories(study, result) for result in there}
    panels: list[Panel] = []
    for axis in study.asked["axes"]:
        panels += _axis_panels(study, axis, there, histories, looks)
    counts = sorted({len(result.seeds) for result in there})
    count = many(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    several = counts[-1] > 1
    band = "mean over seeds, band from lowest to highest" if several else "by epoch"
    said = [
        f"{shown(study.experiment)}, {count} each; {explained(study.metric, study.direction)}.",
        f"Left: {band}.",
        f"Right: each seed's best epoch{'; stroke: mean' * several}; dotted: the baseline's mean.",
    ]
    if any(len(set(map(len, seeds))) > 1 for seeds in histories.values()):
        said.append("Each curve ends where its shortest seed does.")
    left_out = [f"{r.setting.label} ({r.status})" for r in results if not r.values]
    if left_out:
        said.append(f"Left out: {shown(', '.join(left_out), 300)}.")
    return Picture(f"study {study.name}", " ".join(said), panels)


def looks_of(results: Sequence[SettingResult]) -> dict[str, dict[str, Any]]:
    """Label to colour and dashes: by place on its axis, so that a study that grows keeps them."""
    looks: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for result in results:
        key = result.setting.key
        if key is None:
            looks[result.setting.label] = {"color": BASELINE, "linestyle": "-"}
        else:
            looks[result.setting.label] = line_look(counts.get(key, 0))
            counts[key] = counts.get(key, 0) + 1
    return looks


def _axis_panels(
    study: Study,
    axis: Mapping[str, Any],
    there: Sequence[SettingResult],
    histories: Mapping[str, _Histories],
    looks: Mapping[str, Mapping[str, Any]],
) -> list[Panel]:
    key, levels = axis["key"], levels_of(axis, there, looks)
    if not levels:
        return []
    labels = [r.setting.label for r in there if r.setting.key in (None, key)]
    curves = [
        mean_and_band(
            f"{short(level.text, 11)} (baseline)" if level.baseline else level.text,
            level.look,
            histories[label],
        )
        for level, label in zip(levels, labels, strict=True)
    ]
    metric = short(study.metric, 16)
    return [
        curves_panel(f"curves: {key}", f"{short(key, 22)}: {metric}", curves),
        response_panel(f"response: {key}", f"best {metric}", key, levels, log=axis["log"]),
    ]


def levels_of(
    axis: Mapping[str, Any],
    there: Sequence[SettingResult],
    looks: Mapping[str, Mapping[str, Any]],
) -> list[Level]:
    """The baseline's level and those of an axis, of settings with a value."""
    levels = []
    for result in there:
        setting = result.setting
        if setting.key in (None, axis["key"]):
            is_baseline = setting.key is None
            value = axis["baseline"] if is_baseline else setting.level
            look = looks[setting.label]
            levels.append(Level(show_value(value), value, result.values, look, is_baseline))
    return levels


def _histories(study: Study, result: SettingResult) -> _Histories:
    """The selection metric of each epoch, for each complete seed."""
    runs = [study.root.run(result.setting.runs[seed]) for seed in result.seeds]
    return [[line.metrics.get(study.metric) for line in run.history()] for run in runs]
