"""The cells of the confusion matrix that a setting changed most, by the classes' names."""

from __future__ import annotations

from typing import Any

import numpy as np

from paribus.core.records.record import RunRecord
from paribus.sweeps.stats.confusion_cells import changed_cells
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study


def cells_document(
    study: Study, result: SettingResult, baseline: SettingResult, look: int | None = None
) -> list[dict[str, Any]] | None:
    """Three cells as ``{"true", "predicted", "mean", "interval"}``, for labels ``"label"`` too.

    Args:
        study: Their study.
        result: The setting.
        baseline: What it is compared with.
        look: The first so many seeds are what it was decided by; None: all.

    Returns:
        None where there is no confusion matrix, or there are fewer than two pairs.
    """
    shared = sorted(set(result.seeds) & set(baseline.seeds))
    shared = [seed for seed in shared if look is None or seed < look]
    pairs = [[_record(study, r, seed) for seed in shared] for r in (result, baseline)]
    matrices = [[record.confusion_matrix for record in records] for records in pairs]
    if len(shared) < 2 or any(matrix is None for part in matrices for matrix in part):
        return None
    level, base = (np.asarray(part, dtype=np.float64) for part in matrices)
    if level.shape != base.shape:
        return None
    names = pairs[0][0].class_names
    return [
        {
            **_named(cell.place, names),
            "mean": cell.mean,
            "interval": [cell.low, cell.high],
        }
        for cell in changed_cells(level, base)
    ]


def _record(study: Study, result: SettingResult, seed: int) -> RunRecord:
    record = study.outcomes.record(result.setting.runs[seed])
    assert record is not None  # a value of it is in the result
    return record


def _named(place: tuple[int, ...], names: list[str] | None) -> dict[str, str]:
    def name(code: int) -> str:
        return str(names[code]) if names and code < len(names) else str(code)

    if len(place) == 2:
        return {"true": name(place[0]), "predicted": name(place[1])}
    words = ("no", "yes")
    return {"label": name(place[0]), "true": words[place[1]], "predicted": words[place[2]]}
