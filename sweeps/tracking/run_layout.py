"""How a run looks in W&B: its id, names, configuration, rows and summary."""

from __future__ import annotations

import hashlib
from typing import Any

from paribus.core.config.values import canonical_json, null_if_not_finite
from paribus.core.errors import shown
from paribus.sweeps.tracking.tracker import TrackedRun

TAG_LENGTH = 64  # W&B refuses longer ones
NAME_LENGTH = 128
TABLE_ROWS = 10_000  # W&B's limit for a logged table
MATRIX = "best/confusion_matrix"
MOST_LABELS = 50  # each is a file to upload and a panel on the page
KEY_LENGTH = 48  # of a label in a key: it becomes part of a file's and an artifact's name


def wandb_id(run: TrackedRun) -> str:
    """The run's id in W&B."""
    return id_of(run.study, run.run)


def id_of(study: str | None, run: str) -> str:
    """An id in W&B: a hash of study and run, or of the run alone."""
    identity = run if study is None else f"{study}\n{run}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def names(run: TrackedRun) -> dict[str, Any]:
    """Arguments of ``wandb.init`` under which the run is found and grouped."""
    alone = run.study is None
    tags = [run.study, run.changed or "baseline", run.experiment]
    return {
        "id": wandb_id(run),
        "name": cut(run.run if alone else f"{run.label}-s{run.seed}", NAME_LENGTH),
        "group": cut(run.experiment if alone else f"{run.study}: {run.label}", NAME_LENGTH),
        "job_type": "run",
        "tags": list(dict.fromkeys(cut(tag, TAG_LENGTH) for tag in tags if tag)),
    }


def config(run: TrackedRun) -> dict[str, Any]:
    """The whole configuration as nested dictionaries, and what the run is, at the top level."""
    nested: dict[str, Any] = undotted(run.configuration)
    return nested | {
        "study": run.study,
        "setting": run.label,
        "changed": run.changed,
        "seed": run.seed,
        "run": run.run,
        "environment": undotted(run.environment),
    }


def row(epoch: dict[str, Any]) -> dict[str, Any]:
    """One line of history as W&B's row: numbers only, what is not known is left out."""
    metrics = epoch.get("metrics") or {}
    return {"epoch": epoch["epoch"]} | {k: v for k, v in metrics.items() if v is not None}


def summary(document: dict[str, Any]) -> dict[str, Any]:
    """Final comparables as flat keys: ``best/accuracy``, ``last/accuracy``, ``delta``, …"""
    values = {
        f"{which}/{name.removeprefix('val/')}": value
        for which in ("best", "last")
        for name, value in ((document.get(which) or {}).get("metrics") or {}).items()
    }
    values["best/epoch"] = (document.get("best") or {}).get("epoch")
    values |= {key: document.get(key) for key in ("delta", "status", "reason", "weights_sha256")}
    return {k: v for k, v in null_if_not_finite(values).items() if v is not None}


def digest(content: Any) -> str:
    """Tells contents apart: what has the same need not be given again."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def confusion_matrices(document: dict[str, Any]) -> dict[str, list[list[Any]]]:
    """Key to rows (actual, predicted, count) of the best epoch's matrix, of each label its own.

    What is too large for W&B is left out.
    """
    matrix = (document.get("best") or {}).get("confusion_matrix") or []
    names = [str(name) for name in document.get("class_names") or range(len(matrix))]
    if matrix and isinstance(matrix[0][0], list):
        pairs = list(zip(names, matrix, strict=True))[:MOST_LABELS]
        return {f"{MATRIX}/{_key(name)}": _rows([f"not {name}", name], m) for name, m in pairs}
    return {MATRIX: _rows(names, matrix)} if 0 < len(matrix) ** 2 <= TABLE_ROWS else {}


def _rows(names: list[str], matrix: list[list[int]]) -> list[list[Any]]:
    return [
        [names[actual], names[predicted], count]
        for actual, counts in enumerate(matrix)
        for predicted, count in enumerate(counts)
    ]


def cut(text: str, length: int) -> str:
    """A name on one line, no longer than W&B takes; names that differ still do."""
    plain = shown(text, len(text) + 1)
    if plain == text and len(text) <= length:
        return text
    end = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{plain[: length - 9]}-{end}"


def _key(label: str) -> str:
    # Such a path would lead out of wandb's folder, and wandb gives up on it.
    inside = all(part not in ("", ".", "..") for part in label.split("/"))
    return cut(label if inside else "\0" + label.replace("/", "_"), KEY_LENGTH)


def undotted(value: Any) -> Any:
    """Dictionaries without dots in their keys: W&B shows nested keys joined by dots."""
    if isinstance(value, dict):
        return {str(key).replace(".", "_"): undotted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [undotted(item) for item in value]
    return value
