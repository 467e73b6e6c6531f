"""How a study looks in W&B: one summary run with its tables, its picture and its page."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.config.values import null_if_not_finite, show_value
from paribus.core.fileio import sha256_file
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.tracking.run_layout import (
    NAME_LENGTH,
    TABLE_ROWS,
    TAG_LENGTH,
    cut,
    digest,
    undotted,
)
from paribus.sweeps.tracking.tracker import TrackedStudy

VERDICTS = ("better", "worse", "equivalent", "undecided", "identical")
SETTINGS = (
    "setting", "changed", "mean", "standard error", "sd", "seeds", "difference", "low", "high",
    "confidence", "verdict", "question", "p (Holm)", "derived",
)  # fmt: skip
WARNINGS = ("rule", "about", "sentence", "reason")
CONTENTS = "contents"  # the key of the digest: what the server has need not be logged again


def wandb_id(study: str) -> str:
    """The summary run's id in W&B; no run's, as none has an empty name."""
    return hashlib.sha256(f"study\n\n{study}".encode()).hexdigest()[:16]


def names(study: TrackedStudy) -> dict[str, Any]:
    """Arguments of ``wandb.init`` under which the summary run is found."""
    return {
        "id": wandb_id(study.study),
        "name": study.study,
        "group": study.study,
        "job_type": "study",
        "tags": list(
            dict.fromkeys(cut(tag, TAG_LENGTH) for tag in (study.study, study.experiment))
        ),
    }


def artifact_name(study: str) -> str:
    """What the page is called; a study's name holds nothing that an artifact's may not."""
    return cut(f"report-{study}", NAME_LENGTH)


def config(study: TrackedStudy) -> dict[str, Any]:
    """The baseline's configuration as nested dictionaries, and what the study is, above it."""
    comparison = study.comparison
    settings = comparison["settings"]
    nested: dict[str, Any] = undotted(study.baseline)
    return nested | {
        "study": study.study,
        "experiment": study.experiment,
        "metric": comparison["metric"]["name"],
        "direction": comparison["metric"]["direction"],
        "margin": comparison["margin"],
        "question": comparison["question"],
        "settings": len(settings),
        "seeds": len({seed for setting in settings for seed in setting["seeds"]}),
        "runs": sum(len(setting["runs"]) for setting in settings),
    }


def settings_table(study: TrackedStudy) -> list[list[Any]]:
    """A row of `SETTINGS` for each setting; None where a number is not known."""
    return [_row(setting) for setting in study.comparison["settings"][:TABLE_ROWS]]


def warnings_table(study: TrackedStudy) -> list[list[Any]]:
    """A row of `WARNINGS` for each thing that the linter saw."""
    judged = [found for found in study.comparison["linter"] if found["judged"]]
    return [[found[column] for column in WARNINGS] for found in judged[:TABLE_ROWS]]


def summary(study: TrackedStudy) -> dict[str, Any]:
    """Flat keys; each is always there, as W&B keeps what an update leaves out."""
    settings = study.comparison["settings"]
    best = _best(settings, study.comparison["metric"]["direction"])
    verdicts = Counter(setting["verdict"] for setting in settings)
    return {
        "best/setting": best["label"],
        "best/delta": best["delta"] or 0.0,
        "best/verdict": best["verdict"] or "none",
        "baseline/mean": next(s["mean"] for s in settings if s["label"] == BASELINE),
        **{f"verdicts/{verdict}": verdicts[verdict] for verdict in VERDICTS},
        "warnings": len(warnings_table(study)),
    }


def contents(study: TrackedStudy) -> str:
    """The digest of all that the summary run holds."""
    return digest(
        null_if_not_finite([
            config(study),
            settings_table(study),
            warnings_table(study),
            summary(study),
            hashlib.sha256(study.picture).hexdigest() if study.picture else None,
            sha256_file(study.page) if study.page else None,
        ])
    )  # fmt: skip


def _row(setting: Mapping[str, Any]) -> list[Any]:
    low, high = setting["interval"] or (None, None)
    seeds, sd = len(setting["seeds"]), setting["std"]
    row = {
        "setting": setting["label"],
        "changed": ", ".join(setting["changed"]),
        "mean": setting["mean"],
        "standard error": None if sd is None else sd / math.sqrt(seeds),
        "sd": sd,
        "seeds": seeds,
        "difference": setting["delta"],
        "low": low,
        "high": high,
        "confidence": setting["confidence"],
        "verdict": setting["verdict"],
        "question": setting["question"],
        "p (Holm)": setting["p_holm"],
        "derived": "; ".join(
            f"{key}: {show_value(before)} → {show_value(after)}"
            for key, (before, after) in setting["derived"].items()
        ),
    }
    return [null_if_not_finite(row[column]) for column in SETTINGS]


def _best(settings: Sequence[Mapping[str, Any]], direction: str) -> Mapping[str, Any]:
    """The complete setting with the largest gain; the baseline's own is 0."""
    sign = 1 if direction == "maximize" else -1
    complete = [
        s for s in settings
        if s["label"] == BASELINE or (s["status"] == "complete" and s["delta"] is not None)
    ]  # fmt: skip
    return max(complete, key=lambda s: (sign * (s["delta"] or 0.0), s["label"] == BASELINE))
