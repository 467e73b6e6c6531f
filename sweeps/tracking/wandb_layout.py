"""How runs and studies look in W&B: ids, names, configuration, rows, summary, tables."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.config.values import canonical_json, null_if_not_finite, show_value
from paribus.core.errors import shown
from paribus.core.fileio import sha256_file
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy

TAG_LENGTH = 64  # W&B refuses longer ones
NAME_LENGTH = 128
TABLE_ROWS = 10_000  # W&B's limit for a logged table
MATRIX = "best/confusion_matrix"
MOST_LABELS = 50  # each matrix is a file to upload and a panel on the page
KEY_LENGTH = 48  # of a label in a key: it becomes part of a file's and an artifact's name
VERDICTS = ("better", "worse", "equivalent", "undecided", "identical")
SETTINGS = (
    "setting", "changed", "mean", "standard error", "sd", "seeds", "difference", "low", "high",
    "confidence", "verdict", "question", "p (Holm)", "derived",
)  # fmt: skip
WARNINGS = ("rule", "about", "sentence", "reason")
CONTENTS = "contents"  # summary key of a study's digest: equal contents are not logged again

Rows = list[list[Any]]


@dataclass(frozen=True)
class WandbRun:
    """Everything that one run in W&B holds: of a run, or the summary run of a study.

    Attributes:
        study: The study; None: a run of its own.
        run: The run; None: it is the study's summary run.
        names: Arguments of ``wandb.init`` under which it is found and grouped, with its ``id``.
        config: Nested dictionaries without dots in their keys.
        rows: One row per epoch, in order.
        summary: Flat keys.
        tables: Key to columns and rows.
        matrices: Key to rows (actual, predicted, count) of a confusion matrix.
        picture: A PNG, logged as ``effects``.
        page: An HTML file, logged as the artifact ``report-STUDY``.
        status: ``complete`` or ``failed``; ``interrupted`` for a run that is not recorded.
        digest: Distinguishes contents: what has the same digest need not be logged again.
    """

    study: str | None
    run: str | None
    names: dict[str, Any]
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    tables: dict[str, tuple[Sequence[str], Rows]]
    matrices: dict[str, Rows]
    picture: bytes | None
    page: Path | None
    status: str
    digest: str

    @property
    def id(self) -> str:
        """Its id in W&B."""
        return str(self.names["id"])


def run_id(study: str | None, run: str) -> str:
    """Return a run's id in W&B: a hash of study and run, or of the run alone."""
    return _hash(run if study is None else f"{study}\n{run}")


def study_id(study: str) -> str:
    """Return the summary run's id in W&B; no run's, as no run has an empty name."""
    return _hash(f"study\n\n{study}")


def run_layout(
    run: TrackedRun,
    document: Mapping[str, Any] | None = None,
    history: Sequence[dict[str, Any]] = (),
) -> WandbRun:
    """Lay out a run.

    Args:
        run: The run.
        document: The run document; None: it is not recorded.
        history: The lines of its history.
    """
    document = document or {"status": "interrupted"}
    alone = run.study is None
    summary = run_summary(document)
    nested: dict[str, Any] = _undotted(run.configuration)
    return WandbRun(
        study=run.study,
        run=run.run,
        names={
            "id": run_id(run.study, run.run),
            "name": _cut(run.run if alone else f"{run.label}-s{run.seed}", NAME_LENGTH),
            "group": _cut(run.experiment if alone else f"{run.study}: {run.label}", NAME_LENGTH),
            "job_type": "run",
            "tags": _tags(run.study, run.changed or "baseline", run.experiment),
        },
        config=nested
        | {
            "study": run.study,
            "setting": run.label,
            "changed": run.changed,
            "seed": run.seed,
            "run": run.run,
            "environment": _undotted(run.environment),
        },
        rows=[epoch_row(epoch) for epoch in history],
        summary=summary,
        tables={},
        matrices=confusion_matrices(document),
        picture=None,
        page=None,
        status=document.get("status", "complete"),
        digest=_hash(canonical_json(summary)),
    )


def epoch_row(epoch: dict[str, Any]) -> dict[str, Any]:
    """Return a line of history as W&B's row: numbers only, what is not known is left out."""
    metrics = epoch.get("metrics") or {}
    return {"epoch": epoch["epoch"]} | {k: v for k, v in metrics.items() if v is not None}


def run_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the final comparables as flat keys: ``best/accuracy``, ``last/accuracy``, ``delta``"""
    values = {
        f"{which}/{name.removeprefix('val/')}": value
        for which in ("best", "last")
        for name, value in ((document.get(which) or {}).get("metrics") or {}).items()
    }
    values["best/epoch"] = (document.get("best") or {}).get("epoch")
    values |= {key: document.get(key) for key in ("delta", "status", "reason", "weights_sha256")}
    return {k: v for k, v in null_if_not_finite(values).items() if v is not None}


def confusion_matrices(document: Mapping[str, Any]) -> dict[str, Rows]:
    """Return key to rows (actual, predicted, count) of the best epoch's matrix, or of each label's.

    What is too large for W&B is left out.
    """
    matrix = (document.get("best") or {}).get("confusion_matrix") or []
    names = [str(name) for name in document.get("class_names") or range(len(matrix))]
    if matrix and isinstance(matrix[0][0], list):
        pairs = list(zip(names, matrix, strict=True))[:MOST_LABELS]
        return {f"{MATRIX}/{_key(name)}": _cells([f"not {name}", name], one) for name, one in pairs}
    return {MATRIX: _cells(names, matrix)} if 0 < len(matrix) ** 2 <= TABLE_ROWS else {}


def study_layout(study: TrackedStudy) -> WandbRun:
    """Lay out the summary run of a study."""
    comparison = study.comparison
    metric, settings = comparison["metric"], comparison["settings"]
    nested: dict[str, Any] = _undotted(study.baseline)
    config = nested | {
        "study": study.study,
        "experiment": study.experiment,
        "metric": metric["name"],
        "direction": metric["direction"],
        "margin": comparison["margin"],
        "question": comparison["question"],
        "settings": len(settings),
        "seeds": len({seed for setting in settings for seed in setting["seeds"]}),
        "runs": sum(len(setting["runs"]) for setting in settings),
    }
    rows = [_setting_row(setting) for setting in settings[:TABLE_ROWS]]
    judged = [found for found in comparison["linter"] if found["judged"]]
    warnings = [[found[column] for column in WARNINGS] for found in judged[:TABLE_ROWS]]
    best = _best(settings, metric["direction"])
    verdicts = Counter(setting["verdict"] for setting in settings)
    summary = {  # each key is always there, as W&B keeps what an update leaves out
        "best/setting": best["label"],
        "best/delta": best["delta"] or 0.0,
        "best/verdict": best["verdict"] or "none",
        "baseline/mean": next(s["mean"] for s in settings if s["label"] == BASELINE),
        **{f"verdicts/{verdict}": verdicts[verdict] for verdict in VERDICTS},
        "warnings": len(warnings),
    }
    picture = hashlib.sha256(study.picture).hexdigest() if study.picture else None
    page = sha256_file(study.page) if study.page else None
    contents = [config, rows, warnings, summary, picture, page]
    digest = _hash(canonical_json(null_if_not_finite(contents)))
    return WandbRun(
        study=study.study,
        run=None,
        names={
            "id": study_id(study.study),
            "name": study.study,
            "group": study.study,
            "job_type": "study",
            "tags": _tags(study.study, study.experiment),
        },
        config=config,
        rows=[],
        summary=summary | {CONTENTS: digest},
        tables={"settings": (SETTINGS, rows), "linter": (WARNINGS, warnings)},
        matrices={},
        picture=study.picture,
        page=study.page,
        status="complete",
        digest=digest,
    )


def artifact_name(study: str) -> str:
    """Return the page's name; a study's name holds nothing that an artifact's may not."""
    return _cut(f"report-{study}", NAME_LENGTH)


def _setting_row(setting: Mapping[str, Any]) -> list[Any]:
    """Return a row of `SETTINGS`; None where a number is not known."""
    sd = setting["std"]
    values = (
        setting["label"],
        ", ".join(setting["changed"]),
        setting["mean"],
        None if sd is None else sd / math.sqrt(len(setting["seeds"])),
        sd,
        len(setting["seeds"]),
        setting["delta"],
        *(setting["interval"] or (None, None)),
        setting["confidence"],
        setting["verdict"],
        setting["question"],
        setting["p_holm"],
        "; ".join(
            f"{key}: {show_value(before)} → {show_value(after)}"
            for key, (before, after) in setting["derived"].items()
        ),
    )
    return [null_if_not_finite(value) for value in values]


def _best(settings: Sequence[Mapping[str, Any]], direction: str) -> Mapping[str, Any]:
    """Return the complete setting with the largest gain; the baseline's own is 0."""
    sign = 1 if direction == "maximize" else -1
    complete = [
        s for s in settings
        if s["label"] == BASELINE or (s["status"] == "complete" and s["delta"] is not None)
    ]  # fmt: skip
    return max(complete, key=lambda s: (sign * (s["delta"] or 0.0), s["label"] == BASELINE))


def _cells(names: list[str], matrix: list[list[int]]) -> Rows:
    return [
        [names[actual], names[predicted], count]
        for actual, counts in enumerate(matrix)
        for predicted, count in enumerate(counts)
    ]


def _tags(*tags: str | None) -> list[str]:
    return list(dict.fromkeys(_cut(tag, TAG_LENGTH) for tag in tags if tag))


def _cut(text: str, length: int) -> str:
    """Shorten a name to one line that W&B accepts; names that differ still do."""
    plain = shown(text, len(text) + 1)
    if plain == text and len(text) <= length:
        return text
    end = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{plain[: length - 9]}-{end}"


def _key(label: str) -> str:
    # Such a path would lead out of wandb's folder, and wandb gives up on it.
    inside = all(part not in ("", ".", "..") for part in label.split("/"))
    return _cut(label if inside else "\0" + label.replace("/", "_"), KEY_LENGTH)


def _undotted(value: Any) -> Any:
    """Replace dots in keys: W&B shows nested keys joined by dots."""
    if isinstance(value, dict):
        return {str(key).replace(".", "_"): _undotted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_undotted(item) for item in value]
    return value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
