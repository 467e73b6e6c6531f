"""Read runs that another tool recorded: CSV, JSON lines, Weights & Biases, TensorBoard."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.errors import RequestError, shown
from paribus.core.fileio import existing, user_path
from paribus.core.records.run_dir import RECORD
from paribus.core.training.metric_files import read_rows, read_scalars
from paribus.sweeps.analysis.wandb_records import read_records

_FILES, _PROJECT = (".csv", ".jsonl"), "wandb:"
_OFFLINE, _EVENTS = "*.wandb", "*.tfevents.*"
# KEY=VALUE in a path ends at a separator, or where the next KEY= begins.
_WORD = re.compile(r"([A-Za-z][\w.]*)=(.*?)(?=[,;\s/]|[_-][A-Za-z]\w*=|$)")


@dataclass(frozen=True)
class ReadRun:
    """A run, of the line or folder `where`; of a file both `config` and `metrics` are its line."""

    where: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    state: str = ""  # as W&B has it


@dataclass(frozen=True)
class ReadResults:
    """All runs of a source; `columns` of a file as they stand there, `value` which one was read."""

    runs: list[ReadRun]
    columns: Sequence[str] = ()
    value: str = ""


def is_results(text: str) -> bool:
    """Return whether a text names another tool's results: a file, a folder or a W&B project."""
    if text.lower().endswith(_FILES) or text.startswith(_PROJECT):
        return True
    path = existing(text) if text else None
    if path is None or not path.is_dir() or (path / RECORD).exists():
        return False
    return any(next(path.rglob(kind), None) for kind in (_OFFLINE, _EVENTS))


def read_results(source: str) -> ReadResults:
    """Read all runs of a source; a `RequestError` says what is wrong with it."""
    if source.startswith(_PROJECT):
        return ReadResults(_project_runs(source.removeprefix(_PROJECT)), value="summary")
    path = user_path(source)
    if not path.is_dir():
        return _lines(path)
    if files := sorted(path.rglob(_OFFLINE)):
        return ReadResults([_offline_run(file) for file in files], value="summary")
    if folders := sorted({file.parent for file in path.rglob(_EVENTS)}):
        return ReadResults(_event_runs(path, folders), value="last value")
    raise RequestError(
        f"{shown(path, 200)}: holds no offline runs of W&B and no events of TensorBoard.",
        "Name a folder of them, a CSV or JSON lines file, or wandb:ENTITY/PROJECT.",
    )


def _lines(path: Path) -> ReadResults:
    """Return a run for each line of a CSV or JSON lines file."""
    columns, rows = read_rows(path, shown(path, 200))
    for where, row in rows:
        if columns and (None in row or None in row.values()):
            raise RequestError(f"{where}: has too {'many' if None in row else 'few'} fields.")
    lines = [(where, row if columns else _flat(row.items())) for where, row in rows]
    names = columns or [*dict.fromkeys(key for _, cells in lines for key in cells)]
    state = "State" in columns
    runs = [ReadRun(where, row, row, row["State"] if state else "") for where, row in lines]
    return ReadResults(runs, names)


def _flat(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return nested dictionaries as one, by dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in items:
        inner = value.items() if isinstance(value, dict) else ()
        flat |= _flat((f"{key}.{name}", item) for name, item in inner) if inner else {key: value}
    return flat


def _project_runs(project: str) -> list[ReadRun]:
    """Return the runs of a project on the W&B server for which a key is configured."""
    import wandb

    try:
        runs = wandb.Api().runs(project, lazy=False)
        return [_wandb_run(run.url, run.config, dict(run.summary), run.state) for run in runs]
    except (wandb.Error, ValueError, OSError) as error:
        hint = "Log in (wandb login), and name it as the address of its page does: ENTITY/PROJECT."
        raise RequestError(f"{_PROJECT}{shown(project)}: {shown(error, 200)}", hint) from error


def _offline_run(file: Path) -> ReadRun:
    from google.protobuf.message import DecodeError

    found: dict[str, dict[str, Any]] = {"config": {}, "summary": {}}
    state = "crashed"  # as W&B calls a run whose end was never written
    try:
        for record in read_records(file):
            kind = record.WhichOneof("record_type")
            if kind == "exit":
                state = "failed" if record.exit.exit_code else "finished"
            elif kind in ("run", "config", "summary"):
                part = record.run.config if kind == "run" else getattr(record, kind)
                found["summary" if kind == "summary" else "config"] |= {
                    ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in part.update
                }
    except (DecodeError, ValueError) as error:
        raise RequestError(f"{shown(file, 200)}: is damaged.", "Leave it out.") from error
    return _wandb_run(str(file.parent), found["config"], found["summary"], state)


def _wandb_run(where: str, config: Any, summary: Any, state: str) -> ReadRun:
    """Return a run without what W&B itself adds, whose names begin with an underscore."""
    config, summary = (
        {key: value for key, value in _flat(part.items()).items() if key[0] != "_"}
        for part in (config, summary)
    )
    return ReadRun(where, config, summary, state)


def _event_runs(source: Path, folders: Iterable[Path]) -> list[ReadRun]:
    """Return a run for each folder of events that has hyperparameters."""
    found = {folder: _events(source, folder) for folder in folders}
    # `SummaryWriter.add_hparams` writes into a folder of its own below that of the curves.
    inner = Counter(folder.parent for folder, (_, _, of_hparams) in found.items() if of_hparams)
    for folder, (config, metrics, of_hparams) in list(found.items()):
        if of_hparams and inner[folder.parent] == 1 and folder.parent in found:
            outer, curves, _ = found[folder.parent]
            found[folder.parent] = ({**outer, **config}, {**curves, **metrics}, False)
            del found[folder]
    if not any(config for config, _, _ in found.values()):
        raise RequestError(
            f"{shown(source, 200)}: no run has hyperparameters: neither of add_hparams nor as "
            "KEY=VALUE in its folder's name."
        )
    return [ReadRun(str(f), config, metrics) for f, (config, metrics, _) in found.items() if config]


def _events(source: Path, folder: Path) -> tuple[dict[str, Any], dict[str, float], bool]:
    """Return a folder's hyperparameters, its scalars' last values, and if the plugin has the first.

    The others are the ``key=value`` words of its path below the source.
    """
    scalars, of_plugins = read_scalars(folder)
    config: dict[str, Any] = dict(_WORD.findall(folder.relative_to(source).as_posix()))
    metrics = {tag: values[-1][1] for tag, values in scalars.items()}
    session = of_plugins.get("_hparams_/session_start_info")
    if session:
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        start = HParamsPluginData.FromString(session.plugin_data.content).session_start_info
        config |= {key: getattr(v, v.WhichOneof("kind")) for key, v in start.hparams.items()}
    return config, metrics, bool(session)
