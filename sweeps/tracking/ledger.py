"""What W&B has been given: `tracked.jsonl`, and the folders that wandb wrote offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paribus.core.files import append_line, read_lines, sha256_file
from paribus.sweeps.tracking import layout, study_layout
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
        "wandb_id": layout.wandb_id(run),
        "epochs": len(history),
        "status": document.get("status", "complete"),
        "digest": layout.digest(layout.summary(document)),
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
