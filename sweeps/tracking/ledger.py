"""What W&B has been given: `tracked.jsonl`, and the folders that wandb wrote offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.errors import DamagedError
from paribus.core.fileio import append_line, read_lines, sha256_file
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking import run_layout, study_layout
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy

Line = dict[str, Any]  # study, run (None: the summary run), wandb_id, mode, project, digest, …
LEDGER = "tracked.jsonl"  # its name below the root


class Ledger:
    """``tracked.jsonl``: which runs, and which studies, W&B has been given as a whole.

    The last line of an id counts. Its ``mode`` says where that is: ``online``, ``offline``, or
    ``owed``: the server has the run, but not what has become known since. ``digest`` is that of
    the summary given; lines of old have none, nor a ``project``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, Line] = {}
        for line in read_lines(path):
            if _is_line(line):
                self._lines[line["wandb_id"]] = line

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def line(self, wandb_id: str) -> Line | None:
        """What was noted last of a run or a study; None: nothing."""
        return self._lines.get(wandb_id)

    def add(self, line: Line) -> None:
        """Notes a run or a study, durably."""
        append_line(self._path, line)
        self._lines[line["wandb_id"]] = line


def run_line(run: TrackedRun, document: dict[str, Any], history: list[dict[str, Any]]) -> Line:
    """What the ledger notes of a run, but for where it went."""
    return {
        "study": run.study,
        "run": run.run,
        "wandb_id": run_layout.wandb_id(run),
        "epochs": len(history),
        "status": document.get("status", "complete"),
        "digest": run_layout.digest(run_layout.summary(document)),
    }


def study_line(study: TrackedStudy) -> Line:
    """What the ledger notes of a study's summary run, but for where it went."""
    return {
        "study": study.study,
        "run": None,
        "wandb_id": study_layout.wandb_id(study.study),
        "digest": study_layout.contents(study),
        "page": sha256_file(study.page) if study.page else None,
    }


class Folders:
    """wandb's offline folders, by the id of their run; read once."""

    def __init__(self, wandb_folder: Path) -> None:
        self._files: dict[str, list[Path]] = {}
        for file in sorted(wandb_folder.glob("offline-run-*/run-*.wandb")):
            self._files.setdefault(file.stem.removeprefix("run-"), []).append(file)

    def ids(self) -> list[str]:
        """The ids of which a file has not been uploaded."""
        return [wandb_id for wandb_id in self._files if self.waiting(wandb_id)]

    def waiting(self, wandb_id: str) -> list[Path]:
        """A run's files that have not been uploaded."""
        return [file for file in self._files.get(wandb_id, []) if not mark_of(file).exists()]

    def was_uploaded(self, wandb_id: str) -> bool:
        """Whether wandb's own `wandb sync` has uploaded one of a run's files, or says so."""
        return len(self.waiting(wandb_id)) < len(self._files.get(wandb_id, []))

    def mark_uploaded(self, wandb_id: str) -> None:
        """Lets `wandb sync` skip what the server has by now: it would write every row again."""
        for file in self.waiting(wandb_id):
            mark_of(file).touch()

    def replace(self, wandb_id: str, file: Path) -> None:
        """Puts a file in the place of those that have not been uploaded, and removes them."""
        for old in self.waiting(wandb_id):
            if old != file:
                shutil.rmtree(old.parent, ignore_errors=True)
        uploaded = [old for old in self._files.get(wandb_id, []) if mark_of(old).exists()]
        self._files[wandb_id] = [*uploaded, file]


def _is_line(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("wandb_id"), str):
        return False
    return all(isinstance(line.get(key), str | None) for key in ("study", "run", "project"))


def mark_of(file: Path) -> Path:
    """What says that `wandb sync` has uploaded a file."""
    return file.with_name(f"{file.name}.synced")


# What is offline: of all that was logged to W&B, by the ledger and by wandb's folders.


@dataclass(frozen=True)
class Waiting:
    """A run, or the summary run of a study, that is not on the server as a whole.

    Attributes:
        study: Its study; None: it has none.
        run: Its id; None: it is the study's summary run, or nobody knows.
        wandb_id: Its id in W&B.
        line: What the ledger says of it; empty where it says nothing.
        files: wandb's own, as far as they are there.
    """

    study: str | None
    run: str | None
    wandb_id: str
    line: Line
    files: tuple[Path, ...]

    def document(self) -> dict[str, Any]:
        """What `--json` says it is."""
        return {"study": self.study, "run": self.run, "wandb_id": self.wandb_id}


@dataclass(frozen=True)
class Offline:
    """What the ledger and the folder ``wandb`` say is offline, and how much is not."""

    waiting: list[Waiting]
    unchanged: int


def find_offline(root: ResultsDir, study: str | None) -> Offline:
    """What waits to be uploaded.

    Args:
        root: Where results live.
        study: Only what is of this study.

    Raises:
        RequestError: There is no such study, and none was logged.
    """
    ledger, folders = Ledger(root.path / LEDGER), Folders(root.path / "wandb")
    if study is not None and all(line.get("study") != study for line in ledger):
        root.require_study(study)
    lines = {line["wandb_id"]: line for line in ledger}
    unknown = [wandb_id for wandb_id in folders.ids() if wandb_id not in lines]
    named = _names(root) if unknown else {}
    waiting, unchanged = [], 0
    for wandb_id in (*lines, *unknown):
        line = lines.get(wandb_id, {})
        of, run = (
            (line.get("study"), line.get("run")) if line else named.get(wandb_id, (None, None))
        )
        if study not in (None, of):
            continue
        files = tuple(folders.waiting(wandb_id))
        if line.get("mode") == "online" and not files:
            unchanged += 1
        else:
            waiting.append(Waiting(of, run, wandb_id, line, files))
    return Offline(waiting, unchanged)


def _names(root: ResultsDir) -> dict[str, tuple[str | None, str | None]]:
    """W&B's ids of all that there is to what they are of: study and run."""
    names: dict[str, tuple[str | None, str | None]] = {
        run_layout.id_of(None, run): (None, run) for run in root.run_ids()
    }
    for name in root.study_names():
        names[study_layout.wandb_id(name)] = (name, None)
        with suppress(DamagedError):
            for setting in Study.load(root, name).settings:
                names |= {run_layout.id_of(name, run): (name, run) for run in setting.runs.values()}
    return names
