"""How runs and studies look in W&B: ids, names, configuration, rows, summary, tables."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from paribus.core.config.values import canonical_json, null_if_not_finite, show_value
from paribus.core.errors import shown
from paribus.core.fileio import sha256_file
from paribus.core.records.record import Epoch, RunRecord, folds_of
from paribus.sweeps.analysis.compare import SettingComparison
from paribus.sweeps.stats.confusion import between, most_confused
from paribus.sweeps.stats.verdicts import Verdict
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy

TAG_LENGTH = 64  # W&B refuses longer ones
NAME_LENGTH = 128
TABLE_ROWS = 10_000  # W&B's limit for a logged table
MATRIX = "best/confusion_matrix"
MOST_LABELS = 50  # each matrix is a file to upload and a panel on the page
KEY_LENGTH = 48  # of a label in a key: it becomes part of a file's and an artifact's name
VERDICTS = get_args(Verdict)
SETTINGS: dict[str, Callable[[SettingComparison], Any]] = {  # heading to cell
    "setting": lambda s: s.label,
    "changed": lambda s: ", ".join(s.changed),
    "mean": lambda s: s.mean,
    "standard error": lambda s: None if s.std is None else s.std / math.sqrt(len(s.seeds)),
    "sd": lambda s: s.std,
    "seeds": lambda s: len(s.seeds),
    "difference": lambda s: s.delta,
    "low": lambda s: s.interval and s.interval[0],
    "high": lambda s: s.interval and s.interval[1],
    "confidence": lambda s: s.confidence,
    "verdict": lambda s: s.verdict,
    "grade": lambda s: s.grade,
    "question": lambda s: s.question,
    "p": lambda s: s.p,
    "threshold": lambda s: s.threshold,
    "p (Holm)": lambda s: s.p_holm,
    "derived": lambda s: "; ".join(
        f"{key}: {show_value(before)} → {show_value(after)}"
        for key, (before, after) in s.derived.items()
    ),
}
WARNINGS = ("rule", "about", "sentence", "reason")
CONTENTS = "contents"  # summary key of a study's digest: equal contents are not logged again

Rows = list[list[Any]]


class Table(NamedTuple):
    """A table in W&B; with a title it is drawn as a confusion matrix."""

    columns: Sequence[str]
    rows: Rows
    title: str = ""


@dataclass(frozen=True)
class WandbRun:
    """Everything that one run in W&B holds: of a run, or the summary run of a study.

    Attributes:
        study: The study; None: a run of its own.
        run: The run; None: it is the study's summary run.
        names: Arguments of ``wandb.init`` under which it is found and grouped, with its ``id``.
        config: Nested dictionaries without dots in their keys.
        summary: Flat keys.
        digest: Distinguishes contents: what has the same digest need not be logged again.
        rows: One row per epoch, in order.
        tables: Key to table.
        picture: A PNG, logged as ``effects``.
        page: An HTML file, logged as the artifact ``report-STUDY``.
        status: ``complete`` or ``failed``; ``interrupted`` for a run that is not recorded.
    """

    study: str | None
    run: str | None
    names: dict[str, Any]
    config: dict[str, Any]
    summary: dict[str, Any]
    digest: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    picture: bytes | None = None
    page: Path | None = None
    status: str = "complete"

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
    record: RunRecord | None = None,
    history: Sequence[Epoch] = (),
    delta: float | None = None,
) -> WandbRun:
    """Lay out a run; without a record as one that was interrupted."""
    alone = run.study is None
    summary = run_summary(record, delta) if record else {"status": "interrupted"}
    folds, final = folds_of(run.configuration), "final_epoch" in run.configuration
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
        config={
            **_undotted(run.configuration),
            "study": run.study,
            "setting": run.label,
            "changed": run.changed,
            "seed": run.seed,
            **({"fold": run.seed % folds} if folds > 1 and not final else {}),
            "run": run.run,
            "environment": _undotted(run.environment),
        },
        summary=summary,
        digest=_hash(canonical_json(summary)),
        rows=[epoch_row(epoch.to_json()) for epoch in history],
        tables=confusion_matrices(record) if record else {},
        status=summary["status"],
    )


def epoch_row(epoch: dict[str, Any]) -> dict[str, Any]:
    """Return a line of history as W&B's row: numbers only, what is not known is left out."""
    metrics = {name: value for name, value in epoch["metrics"].items() if value is not None}
    rate = {"lr": epoch["lr"]} if epoch.get("lr") is not None else {}
    return {"epoch": epoch["epoch"]} | rate | metrics


def run_summary(record: RunRecord, delta: float | None) -> dict[str, Any]:
    """Return the final comparables as flat keys: ``best/accuracy``, ``last/accuracy``, ``delta``"""
    values = {
        f"{which}/{name.removeprefix('val/')}": value
        for which, epoch in (("best", record.best), ("last", record.last))
        for name, value in (epoch.metrics if epoch else {}).items()
    }
    values |= {"best/epoch": record.best.epoch if record.best else None, "delta": delta}
    values |= {key: getattr(record, key) for key in ("status", "reason", "weights_sha256")}
    return {k: v for k, v in null_if_not_finite(values).items() if v is not None}


def confusion_matrices(record: RunRecord) -> dict[str, Table]:
    """Return the best epoch's confusion matrix, or each label's, by key.

    Of many classes it is that of the most confused, and of many labels those of the first.
    """
    matrix = record.confusion
    if matrix is None:
        return {}
    names = [str(name) for name in record.class_names or range(matrix.shape[0])]
    if isinstance(matrix, np.ndarray):
        return {
            f"{MATRIX}/{_key(name)}": _matrix([f"not {name}", name], counts, f": {_key(name)}")
            for name, counts in list(zip(names, matrix.tolist(), strict=True))[:MOST_LABELS]
        }
    kept = most_confused(matrix)
    which = f": {len(kept)} of {len(names)} classes" if len(kept) < len(names) else ""
    drawn = between(matrix, kept).tolist()
    return {MATRIX: _matrix([names[code] for code in kept], drawn, which)}


def _matrix(names: list[str], matrix: list[list[int]], label: str) -> Table:
    rows = [
        [names[actual], names[predicted], count]
        for actual, counts in enumerate(matrix)
        for predicted, count in enumerate(counts)
    ]
    title = f"Confusion matrix of the best epoch{label}"
    return Table(("Actual", "Predicted", "nPredictions"), rows, title)


def study_layout(study: TrackedStudy) -> WandbRun:
    """Lay out the summary run of a study."""
    comparison = study.comparison
    metric, settings = comparison.metric, comparison.settings
    config = {
        **_undotted(study.baseline),
        "study": study.study,
        "experiment": study.experiment,
        "metric": metric.name,
        "direction": metric.direction,
        "margin": comparison.margin,
        "question": comparison.question,
        "settings": len(settings),
        "seeds": len({seed for setting in settings for seed in setting.seeds}),
        "runs": sum(len(setting.runs) for setting in settings),
    }
    cells = SETTINGS.values()
    rows = [[null_if_not_finite(cell(s)) for cell in cells] for s in settings[:TABLE_ROWS]]
    judged = [finding for finding in comparison.linter or () if finding.judged]
    warnings = [[getattr(found, column) for column in WARNINGS] for found in judged[:TABLE_ROWS]]
    best = comparison.best or comparison[BASELINE]
    verdicts = Counter(setting.verdict for setting in settings)
    summary = {  # each key is always there, as W&B keeps what an update leaves out
        "best/setting": best.label,
        "best/delta": best.delta or 0.0,
        "best/verdict": best.verdict or "none",
        "baseline/mean": comparison[BASELINE].mean,
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
        summary=summary | {CONTENTS: digest},
        digest=digest,
        tables={"settings": Table(tuple(SETTINGS), rows), "linter": Table(WARNINGS, warnings)},
        picture=study.picture,
        page=study.page,
    )


def artifact_name(study: str) -> str:
    """Return the page's name; a study's name holds nothing that an artifact's may not."""
    return _cut(f"report-{study}", NAME_LENGTH)


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
