"""Reads the files that wandb writes on disk."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32768


@dataclass
class OfflineRun:
    """What one ``.wandb`` file says about its run."""

    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)  # name to type
    exit_code: int | None = None


def offline_runs(root: Path) -> list[OfflineRun]:
    """The runs of all offline folders, by name."""
    files = sorted((root / "wandb").glob("offline-run-*/*.wandb"))
    return sorted((read(file) for file in files), key=lambda run: run.name)


def read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.project, run.group = record.run.project, record.run.run_group
            run.job_type, run.tags = record.run.job_type, list(record.run.tags)
            run.config |= _values(record.run.config.update)
        elif kind == "history":
            run.rows.append(_values(record.history.item))
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "metric":
            run.steps[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif kind == "artifact":
            run.artifacts[record.artifact.name] = record.artifact.type
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(path: Path) -> Any:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, at, buffer = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if kind == 0 or at + 7 + length > len(data):
            break
        buffer += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield Record.FromString(buffer)
            buffer = b""
