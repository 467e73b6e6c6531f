"""What was recorded of a study's settings, as verdicts take it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.core.config import Direction
from paribus.core.run_folder import PREDICTIONS
from paribus.sweeps.effects.verdicts import Standard
from paribus.sweeps.outcomes import SettingResult
from paribus.sweeps.study import Study
from paribus.sweeps.verdicts.judgement import Observed, standard_for
from paribus.sweeps.verdicts.scores import example_scores

Array = NDArray[np.float64]


def observed(study: Study, result: SettingResult, metric: str) -> Observed:
    """A setting's values by seed, and its recorded outputs, read when they are asked for.

    Args:
        study: Its study. The records were verified when `result` was made.
        result: What happened with the setting.
        metric: What the result is of.
    """
    values = dict(zip(result.seeds, result.values, strict=True))

    @cache
    def scores(seed: int) -> Array | None:
        run = result.setting.runs[seed]
        record, found = study.outcomes.record(run), _predictions(study, run)
        if record is None or found is None:
            return None
        configuration = record["configuration"]
        return example_scores(
            metric, values[seed], configuration, found["outputs"], found["targets"]
        )

    def outputs(seed: int) -> bytes | None:
        found = _predictions(study, result.setting.runs[seed])
        return None if found is None else found["outputs"].tobytes()

    return Observed(result.setting.label, values, result.failed, scores, outputs)


def standard_of(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    direction: Direction,
    margin: float | None = None,
) -> Standard:
    """What the settings of a study are held to.

    Args:
        study: The study.
        results: Of all its settings; the baseline is among them.
        metric: What the results are of.
        direction: Which way of it is better.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
    """
    baseline = next(result for result in results if result.setting.key is None)
    if margin is None and metric == study.metric:
        margin = study.asked.get("margin")
    values = baseline.values
    if looks := study.asked.get("looks"):  # what follows from it must not move from look to look
        values = tuple(v for s, v in zip(baseline.seeds, values, strict=True) if s < looks[0])
    return standard_for(
        metric,
        direction,
        values,
        len(results) - 1,
        values=[value for result in results for value in result.values],
        examples=decisions(study, baseline),
        margin=margin,
    )


def decisions(study: Study, result: SettingResult) -> int | None:
    """How many decisions an accuracy counts: validation examples, times the labels of each."""
    run = result.setting.runs[result.seeds[0]] if result.seeds else None
    record = study.outcomes.record(run) if run else None
    if record is None or not record["data"]["val"]:
        return None
    matrix = record["best"]["confusion_matrix"] if record["best"] else None
    labels = len(matrix) if matrix and isinstance(matrix[0][0], list) else 1
    return int(record["data"]["val"]) * labels


def _predictions(study: Study, run: str) -> dict[str, NDArray[Any]] | None:
    """Outputs and targets of the best epoch; None where a function kept them to itself."""
    file = study.root.run(run).folder / PREDICTIONS
    if not file.is_file():
        return None
    from safetensors.numpy import load_file

    return load_file(file)
