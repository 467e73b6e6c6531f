"""The documents that `--json` prints: built from records, never stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from paribus.core.config.schema import Direction
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.analysis.changed_cells import cells_document
from paribus.sweeps.analysis.judge import EFFECT, Judged, judge_observed, observed, standard_of
from paribus.sweeps.analysis.linter.lint import linter_document
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study


def run_document(
    folder: RunFolder,
    record: RunRecord,
    *,
    study: Study | None = None,
    studies: Sequence[str] = (),
    reused: bool = False,
) -> dict[str, Any]:
    """A run, with its setting if a study is asked about."""
    place = study.place_of(folder.id) if study else None
    return {
        "run": record.run,
        "experiment": record.experiment,
        "study": study.name if study and place else None,
        "studies": list(studies),
        "setting": {"label": place[0].label, "changed": place[0].changed} if place else None,
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        "engine": record.engine,
        "dir": str(folder.folder.absolute()),
        "reused": reused,
        "epochs": record.epochs,
        "best": record.best.model_dump() if record.best else None,
        "last": record.last.model_dump() if record.last else None,
        "weights_sha256": record.weights_sha256,
        "seconds": record.seconds,
        "class_names": record.class_names,
    }


def best_setting(results: Sequence[SettingResult], direction: Direction) -> SettingResult | None:
    """The complete setting that is best on the seeds it shares with the baseline; else the first.

    Without the baseline, by its mean.
    """
    complete = [r for r in results if r.status == "complete" and r.mean is not None]
    if not complete:
        return None
    sign = 1 if direction == "maximize" else -1
    baseline = next((r for r in complete if r.setting.label == BASELINE), None)
    base = dict(zip(baseline.seeds, baseline.values, strict=True)) if baseline else {}

    def gain(result: SettingResult) -> float:
        values = zip(result.seeds, result.values, strict=True)
        pairs = [value - base[seed] for seed, value in values if seed in base]
        if baseline is None:
            return sign * (result.mean or 0.0)
        return sign * sum(pairs) / len(pairs) if pairs else -math.inf

    return max(complete, key=gain)


def compare_document(
    study: Study,
    results: Sequence[SettingResult],
    metric: str | None = None,
    *,
    margin: float | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Every setting against the baseline, on the seeds that both have.

    Args:
        study: The study.
        results: Of all its settings: each verdict is held to how many there are.
        metric: What the results are of; None: the selection metric.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
        labels: Only these settings are told of.

    Raises:
        RequestError: If the runs have no such metric.
    """
    metric = metric or study.metric
    direction = study.direction_of(metric)
    judged = judge_study(study, results, metric, direction, margin)
    told = [r for r in results if labels is None or r.setting.label in labels]
    return {
        "study": study.name,
        "metric": {"name": metric, "direction": direction},
        "sameness": sameness(study.asked["baseline"]),
        "question": judged.question if judged else None,
        "margin": judged.standard.margin if judged else None,
        "tests": judged.standard.planned if judged else None,
        "examples": _examples(study, results),
        "looks": list(judged.looks) if judged else [],
        "settings": [
            {**r.document(), **_effect(r, judged), "cells": _cells(study, r, results, judged)}
            for r in told
        ],
    }


def study_document(study: Study) -> dict[str, Any]:
    """The whole study compared, with what the linter says: what a page or W&B shows of it."""
    return {**compare_document(study, study.results()), "linter": linter_document(study)}


def judge_study(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    direction: Direction,
    margin: float | None = None,
) -> Judged | None:
    """Verdicts on all settings of a study; None where the baseline is not planned."""
    by_label = {result.setting.label: result for result in results}
    if BASELINE not in by_label:
        return None
    standard = standard_of(study, results, metric, direction, margin)
    baseline = by_label.pop(BASELINE)
    looks = tuple(study.asked.get("looks") or ())
    settings = [
        observed(study, result, metric)
        for result in by_label.values()
        if not _has_other_units(result, metric)
    ]
    return judge_observed(
        observed(study, baseline, metric),
        settings,
        standard,
        planned_looks=looks,
        seeds=range(looks[-1]) if looks else (),
    )


def _effect(result: SettingResult, judged: Judged | None) -> dict[str, Any]:
    """What a verdict says of a setting; null for the baseline."""
    nothing: dict[str, Any] = dict.fromkeys(EFFECT)
    if judged is None or result.setting.label == BASELINE:
        return nothing
    if result.setting.label not in judged.by_label:
        why = "a change of the loss gives val/loss other units"
        return {**nothing, "pairs": 0, "lost": [], "no_verdict": why}
    return judged.document(result.setting.label)


def _has_other_units(result: SettingResult, metric: str) -> bool:
    """Whether a setting's metric is none that the baseline's can be subtracted from."""
    key = result.setting.key or ""
    return key.split(".")[0] == "loss" and metric.rpartition("/")[2] == "loss"


def _cells(
    study: Study,
    result: SettingResult,
    results: Sequence[SettingResult],
    judged: Judged | None,
) -> list[dict[str, Any]] | None:
    """What changed most in the confusion matrix, of a setting that is better or worse."""
    label = result.setting.label
    found = judged.by_label.get(label) if judged else None
    if found is None or found.verdict not in ("better", "worse"):
        return None
    baseline = next(r for r in results if r.setting.label == BASELINE)
    return cells_document(study, result, baseline, found.look)


def _examples(study: Study, results: Sequence[SettingResult]) -> int | None:
    baseline = next((r for r in results if r.setting.label == BASELINE and r.runs), None)
    record = study.outcomes.record(baseline.runs[0]) if baseline else None
    return record.data.val if record else None
