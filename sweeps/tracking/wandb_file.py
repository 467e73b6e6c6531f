"""A run in W&B's own file, written as a whole: no service, a tenth of the time of `wandb.init`.

The messages are wandb's own classes. They say what wandb's file of the run says, but once: wandb
writes a summary with each row.
"""

import hashlib
import json
import platform
import secrets
import shutil
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from wandb.plot.custom_chart import CustomChartSpec
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
from wandb.sdk.artifacts._internal_artifact import sanitize_artifact_name
from wandb.sdk.lib.telemetry import list_telemetry_imports
from wandb.util import get_core_path

from paribus.sweeps.analysis.wandb_records import framed
from paribus.sweeps.tracking.wandb_layout import Table, WandbRun, artifact_name

CHECK_SECONDS = 10.0
# Those of its features that wandb notes of each run that `WandbWriter` writes with it.
FEATURES = ("offline", "finish", "finish_timeout", "finish_timeout_raises", "metric", "set_init_id",
            "set_init_name", "set_init_tags", "set_init_config", "set_summary")  # fmt: skip


def write_file(
    contents: WandbRun, project: str, settings: wandb.Settings, folder: Path, *, check: bool
) -> Path:
    """Write a run, or a study's summary run, to a new folder; return its ``.wandb`` file.

    Args:
        contents: All of it.
        project: W&B's.
        settings: wandb's, of this process.
        folder: Where the new one is made.
        check: Let wandb's own program read it, which takes 20 ms.

    Raises:
        OSError: It cannot be written.
        ValueError: wandb reads something else.
    """
    place = folder / f"{time.strftime('offline-run-%Y%m%d_%H%M%S')}-{contents.id}"
    while place.exists():
        place = place.with_name(f"{place.name}-1")
    file = place / f"run-{contents.id}.wandb"
    try:
        # What `wandb sync` makes of a run, it uploads only where there is a folder for it.
        Path(place, "files").mkdir(parents=True)
        run = _Run(contents, project, settings, place)
        records = [Record(num=at, **record) for at, record in enumerate(run.records(), 1)]
        file.write_bytes(framed(records))
        if check and _read(file) != [record.WhichOneof("record_type") for record in records]:
            raise ValueError("wandb does not read what was written")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return file


def _read(file: Path) -> list[str]:
    """Return the types of all records that wandb's own program decodes in a file."""
    words = (get_core_path(), "leet", "inspect", "-no-observability", "-json", "-run-file")
    done = subprocess.run([*words, str(file)], capture_output=True, timeout=CHECK_SECONDS)
    return [json.loads(line)["type"] for line in done.stdout.splitlines()]


class _Run:
    """Makes a run's records, as arguments of `Record`, and writes the files that they name."""

    def __init__(
        self, contents: WandbRun, project: str, settings: wandb.Settings, place: Path
    ) -> None:
        self._contents, self._place, self._settings = contents, place, settings
        self._whose = {"run_id": contents.id, "entity": settings.entity, "project": project}
        self._media: dict[str, dict[str, Any]] = {}  # of the last row, by key

    def records(self) -> Iterator[dict[str, Any]]:
        contents, now = self._contents, time.time()
        version = {"producer": wandb.__version__, "min_consumer": "0.70.0"}
        yield {"header": {"version_info": version}}
        yield {"run": self._run(now)}
        defined = {"defined": True}
        yield {"metric": {"name": "epoch", "options": defined}}
        every = {"glob_name": "*", "step_metric": "epoch"}
        yield {"metric": every | {"options": defined | {"step_sync": True}}}
        for key, table in contents.tables.items():
            yield from self._table(key, table)
        if png := contents.picture:
            width, height = struct.unpack(">II", png[16:24])
            kind = {"_type": "image-file", "format": "png", "width": width, "height": height}
            yield self._medium("effects", "images", "png", png, kind)
        rows = contents.rows
        if self._media:  # wandb adds the step metric to a row without it
            rows = [*rows, {"epoch": rows[-1]["epoch"] if rows else 0} | self._media]
        summary: dict[str, Any] = {}
        for step, row in enumerate(rows):
            row = row | {"_timestamp": now, "_runtime": 0, "_step": step}
            summary |= row
            yield {"history": {"item": _items(row), "step": {"num": step}}}
        summary |= contents.summary | {"_runtime": 0, "_wandb": {"runtime": 0}}
        yield {"summary": {"update": _items(summary)}}
        if page := contents.page:
            name = artifact_name(contents.study or "")
            yield self._artifact(name, "report", page.name, page.read_bytes())
        yield {"exit": {"exit_code": 0 if contents.status == "complete" else 1}}

    def _run(self, now: float) -> dict[str, Any]:
        names, config = self._contents.names, self._contents.config.items()
        imported = dict.fromkeys(list_telemetry_imports(only_imported=True), True)
        return self._whose | {
            "config": {"update": [{"key": k, "value_json": json.dumps(v)} for k, v in config]},
            "run_group": names["group"],
            "job_type": names["job_type"],
            "display_name": names["name"],
            "tags": names["tags"],
            "notes": self._settings.run_notes,
            "host": self._settings.host,
            "start_time": {"seconds": int(now), "nanos": int(now % 1 * 1e9)},
            "telemetry": {  # a server that is asked for a run without it takes it for absent
                "cli_version": wandb.__version__,
                "python_version": platform.python_version(),
                "platform": f"{platform.system()}-{platform.machine()}".lower(),
                "huggingface_version": getattr(sys.modules.get("transformers"), "__version__", ""),
                "imports_init": imported,
                "imports_finish": imported,
                "feature": dict.fromkeys(FEATURES, True) | {"table": bool(self._contents.tables)},
            },
            "resume": True,
        }

    def _table(self, key: str, table: Table) -> Iterator[dict[str, Any]]:
        columns = list(table.columns)
        if table.title:
            fields, title = {name: name for name in columns}, {"title": table.title}
            chart = CustomChartSpec("wandb/confusion_matrix/v1", fields, title, key)
            drawn = {"nested_key": chart.config_key, "value_json": json.dumps(chart.config_value)}
            yield {"config": {"update": [drawn]}}
            key = chart.table_key
        plain = {"columns": columns, "data": table.rows}
        size = {"ncols": len(columns), "nrows": len(table.rows), "log_mode": "IMMUTABLE"}
        types = {name: _type([row[at] for row in table.rows]) for at, name in enumerate(columns)}
        typed = {"params": {"type_map": types}, "wb_type": "typedDict"}
        whole = {"_type": "table", "column_types": typed} | plain | size
        name, path = sanitize_artifact_name(f"run-{self._contents.id}-{key}"), f"{key}.table.json"
        record = self._artifact(name, "run_table", path, json.dumps(whole, sort_keys=True).encode())
        yield record
        at, ids = "wandb-client-artifact:/", record["artifact"]
        kind = {
            "_type": "table-file",
            "artifact_path": f"{at}/{ids['client_id']}/{path}",
            "_latest_artifact_path": f"{at}/{ids['sequence_client_id']}:latest/{path}",
        }
        content = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
        yield self._medium(key, "table", "table.json", content, kind | size)

    def _medium(
        self, key: str, folder: str, extension: str, content: bytes, kind: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write a file of the run, to which its last row refers."""
        sha256, step = hashlib.sha256(content).hexdigest(), len(self._contents.rows)
        path = f"media/{folder}/{key}_{step}_{sha256[:20]}.{extension}"
        self._write(f"files/{path}", content)
        self._media[key] = {"path": path, "sha256": sha256, "size": len(content), **kind}
        return {"files": {"files": [{"path": path}]}}

    def _artifact(self, name: str, kind: str, path: str, content: bytes) -> dict[str, Any]:
        """Write an artifact of one file."""
        local = self._write(path, content)
        md5 = b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        text = f"wandb-artifact-manifest-v1\n{path}:{md5}\n".encode()
        entry = {"path": path, "digest": md5, "size": len(content), "local_path": str(local)}
        artifact = {
            "type": kind,
            "name": name,
            "digest": hashlib.md5(text, usedforsecurity=False).hexdigest(),
            "digest_algorithm": "MANIFEST_MD5",
            "aliases": ["latest"],
            "finalize": True,
            "client_id": secrets.token_hex(64),
            "sequence_client_id": secrets.token_hex(64),
            "manifest": {
                "version": 1,
                "storage_policy": "wandb-storage-policy-v1",
                "storage_policy_config": [{"key": "storageLayout", "value_json": '"V2"'}],
                "contents": [entry],
            },
        }
        return {"artifact": self._whose | artifact}

    def _write(self, name: str, content: bytes) -> Path:
        path = self._place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def _items(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a row or a summary; a medium has one for each of its entries."""
    return [
        {"nested_key": (key, *inner), "value_json": json.dumps(leaf)}
        for key, value in values.items()
        for *inner, leaf in (value.items() if isinstance(value, dict) else [(value,)])
    ]


def _type(cells: Sequence[Any]) -> dict[str, Any]:
    """Return a column's type as wandb infers it, of texts and numbers that may be missing."""
    known = {"string" if isinstance(cell, str) else "number" for cell in cells if cell is not None}
    allowed = [{"wb_type": name} for name in sorted({"none", *(known or {"unknown"})})]
    return {"params": {"allowed_types": allowed}, "wb_type": "union"}
