"""The documents that `--json` prints: built from records, never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.config import Direction
from core.run_folder import RunFolder
from sweeps.effects.paired import paired_difference
from sweeps.outcomes import SettingResult
from sweeps.sameness import sameness
from sweeps.settings import BASELINE
from sweeps.study import Study


def run_document(
    folder: RunFolder,
    record: Mapping[str, Any],
    *,
    study: Study | None = None,
    studies: Sequence[str] = (),
    reused: bool = False,
) -> dict[str, Any]:
    """A run, with its setting if a study is asked about."""
    place = study.place_of(folder.id) if study else None
    return {
        "run": record["run"],
        "experiment": record["experiment"],
        "study": study.name if study and place else None,
        "studies": list(studies),
        "setting": {"label": place[0].label, "changed": place[0].changed} if place else None,
        "seed": record["seed"],
        "status": record["status"],
        "reason": record["reason"],
        "engine": record["engine"],
        "dir": str(folder.folder.absolute()),
        "reused": reused,
        "epochs": record["epochs"],
        "best": record["best"],
        "last": record["last"],
        "weights_sha256": record["weights_sha256"],
        "seconds": record["seconds"],
        "class_names": record["data"]["preprocessing"]["class_names"],
    }


def best_setting(results: Sequence[SettingResult], direction: Direction) -> SettingResult | None:
    """The complete setting with the best mean; of equals the first."""
    complete = [r for r in results if r.status == "complete" and r.mean is not None]
    if not complete:
        return None
    sign = 1 if direction == "maximize" else -1
    return max(complete, key=lambda r: sign * (r.mean or 0.0))


def compare_document(
    study: Study, results: Sequence[SettingResult], metric: str | None = None
) -> dict[str, Any]:
    """Every setting against the baseline, on the seeds that both have.

    Args:
        study: The study.
        results: Of its settings.
        metric: What the results are of; None: the selection metric.

    Raises:
        RequestError: If the runs have no such metric.
    """
    metric = metric or study.metric
    by_label = {result.setting.label: result for result in results}
    baseline = by_label.get(BASELINE)
    step = _resolution(study, baseline, metric)
    return {
        "study": study.name,
        "metric": {"name": metric, "direction": study.direction_of(metric)},
        "sameness": sameness(study.asked["baseline"]),
        "settings": [{**r.document(), **effect(r, baseline, step)} for r in results],
    }


def effect(
    result: SettingResult, baseline: SettingResult | None, resolution: float = 0.0
) -> dict[str, Any]:
    """Delta, 95 % paired t interval and p; null for the baseline and where not known."""
    unknown = {"delta": None, "interval": None, "p": None, "p_holm": None, "verdict": None,
               "pairs": None}  # fmt: skip
    if baseline is None or result.setting.label == BASELINE:
        return unknown
    ours = dict(zip(result.seeds, result.values, strict=True))
    theirs = dict(zip(baseline.seeds, baseline.values, strict=True))
    shared = sorted(ours.keys() & theirs.keys())
    found = paired_difference(
        [ours[s] for s in shared], [theirs[s] for s in shared], resolution=resolution
    )
    return {
        **unknown,
        "delta": found.mean,
        "interval": None if found.low is None else [found.low, found.high],
        "p": found.p,
        "pairs": found.n,
    }


def _resolution(study: Study, baseline: SettingResult | None, metric: str) -> float:
    """The smallest step of a metric: one example's worth of accuracy, else 0."""
    if metric != "val/accuracy" or baseline is None or not baseline.runs:
        return 0.0
    record = study.outcomes.record(baseline.runs[0])
    examples = record["data"]["val"] if record else 0
    return 1 / examples if examples else 0.0
