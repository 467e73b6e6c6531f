"""Brings W&B up to what a record, or a running attempt, holds; keeps the ledger of what it has."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.fileio import append_line, read_lines
from paribus.sweeps.tracking.wandb_layout import CONTENTS, Table, WandbRun, artifact_name
from paribus.sweeps.tracking.wandb_session import LostFileError, Session

if TYPE_CHECKING:
    import wandb

TYPED_ROWS = 100  # from which the types of a table's columns are inferred


class Ledger:
    """``tracked.jsonl``: which runs and studies W&B has, and what of them the server confirmed.

    The last line of an id counts. Its ``mode`` is ``online`` where the server has confirmed the
    contents with this ``digest``, else ``offline``: `paribus sync` brings them. A line holds
    ``study``, ``run`` (None: the study's summary run), ``wandb_id``, ``status``, ``digest``,
    ``mode``, ``project``, and ``lost`` where tables or pictures have to be written again.

    Args:
        root: Where results live. wandb's offline folders are looked for too.

    Raises:
        OSError: The ledger cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "tracked.jsonl"
        self._lines: dict[str, dict[str, Any]] = {}
        self._confirmed: set[str] = set()
        self._files: dict[str, list[Path]] = defaultdict(list)
        for file in sorted((root / "wandb").glob("offline-run-*/run-*.wandb")):
            self._files[file.stem.removeprefix("run-")].append(file)
        for line in read_lines(self._path):
            if isinstance(line, dict) and isinstance(line.get("wandb_id"), str):
                self._take(line)

    def ids(self) -> list[str]:
        """Return W&B's ids of all that was noted, then of wandb's folders that were not."""
        return [*self._lines, *(i for i in self._files if i not in self._lines and self.files(i))]

    def line(self, wandb_id: str) -> dict[str, Any]:
        """Return what was noted last; empty where nothing was."""
        return self._lines.get(wandb_id, {})

    def files(self, wandb_id: str) -> list[Path]:
        """Return wandb's own offline files that have not been uploaded."""
        return [file for file in self._files[wandb_id] if not _mark(file).exists()]

    def server_has(self, wandb_id: str) -> bool:
        """Return whether the server has been sent a run, be it by the user's `wandb sync`."""
        return wandb_id in self._confirmed or len(self.files(wandb_id)) < len(self._files[wandb_id])

    def note(
        self,
        contents: WandbRun,
        mode: str,
        project: str,
        *,
        file: Path | None = None,
        lost: bool = False,
    ) -> None:
        """Note durably where contents are now.

        Args:
            contents: What was written.
            mode: ``online`` or ``offline``.
            project: W&B's.
            file: wandb's own file, if it was written offline; it replaces those before.
            lost: Whether a table, a picture or a page was lost on the way.
        """
        old = self.files(contents.id)
        if file:
            for other in old:
                shutil.rmtree(other.parent, ignore_errors=True)
            self._files[contents.id].append(file)
        elif mode == "online":
            for other in old:  # `wandb sync` would write every row again
                _mark(other).touch()
        line = {
            "study": contents.study,
            "run": contents.run,
            "wandb_id": contents.id,
            "status": contents.status,
            "digest": contents.digest,
            "mode": mode,
            "project": project,
        } | ({"lost": True} if lost else {})
        if line != self.line(contents.id):
            append_line(self._path, line)
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        self._lines[line["wandb_id"]] = line
        if line.get("mode") in ("online", "owed"):  # the latter in ledgers of old
            self._confirmed.add(line["wandb_id"])


@dataclass
class _OpenRun:
    """A run that is open in W&B."""

    opened: wandb.Run
    there: dict[str, Any]  # the summary that the server had when it was opened
    rows: int  # how many it has: the first lines of its history, in order


class WandbWriter:
    """Writes to W&B what it lacks; `live` holds the runs that are open, by W&B's id."""

    def __init__(self, session: Session, ledger: Ledger) -> None:
        self.session, self.ledger = session, ledger
        self.live: dict[str, _OpenRun] = {}
        self._checked = False  # whether wandb has read a file that was written here

    def log(self, contents: WandbRun, epoch: dict[str, Any] | None = None) -> None:
        """Open a run that trains, and write an epoch's row that follows its last one.

        Other rows are left to `write`: only where rows are in order does their number show,
        after a kill, which are there.
        """
        live = self._open(contents)
        if epoch and epoch["epoch"] == live.rows + 1:
            live.opened.log(epoch)
            live.rows += 1

    def write(self, contents: WandbRun) -> bool:
        """Bring a run or a study's summary run up to its contents, close it, note it in the ledger.

        Online, the server is asked which rows it has, and the others are written. Offline, all goes
        to a new folder ``wandb/offline-run-…``.

        Returns:
            Whether anything was written that was not there.

        Raises:
            TimeoutError, UploadError: It did not reach the server as a whole.
        """
        mode, project = self.session.mode, self._project(contents)
        lost = self.ledger.line(contents.id).get("lost", False)
        if mode == "offline" and self.ledger.server_has(contents.id):
            # `wandb sync` of a file would write every row again. `paribus sync` writes the rest.
            self.ledger.note(contents, mode, project, lost=lost)
            return True
        if mode == "offline" and (file := self._write_file(contents, project)):
            self.ledger.note(contents, mode, project, file=file, lost=lost)
            return True
        live = self._open(contents)
        del self.live[contents.id]
        opened, there = live.opened, live.there
        missing = contents.rows[live.rows :]
        for row in missing:
            opened.log(row)
        again = lost or contents.summary.get(CONTENTS) != there.get(CONTENTS)
        media = {
            key: _chart(table) if table.title else _table(table)
            for key, table in contents.tables.items()
            if again or (f"{key}_table" if table.title else key) not in there
        }
        if contents.picture and again:
            import wandb

            picture = Path(opened.settings.sync_dir, "effects.png")
            picture.write_bytes(contents.picture)
            media["effects"] = wandb.Image(str(picture))
        if media:
            opened.log(media)
        opened.summary.update(contents.summary)
        if contents.page and again:
            _log_page(opened, contents.page, artifact_name(contents.study or ""))
        try:
            self.session.finish(opened, 0 if contents.status == "complete" else 1)
        except LostFileError:
            self.ledger.note(contents, "offline", project, lost=True)
            raise
        if contents.status != "interrupted":
            file = None if mode == "online" else Path(opened.settings.sync_file)
            self.ledger.note(contents, mode, project, file=file, lost=lost and mode != "online")
        differs = any(there.get(key) != value for key, value in contents.summary.items())
        return bool(missing) or bool(media) or differs

    def _write_file(self, contents: WandbRun, project: str) -> Path | None:
        """Write W&B's own file without its service; None where that cannot be done."""
        if (settings := self.session.file_settings) is None:
            return None
        try:
            from paribus.sweeps.tracking.wandb_file import write_file

            self.session.check_folder()
            folder, check = self.session.folder, not self._checked
            file = write_file(contents, project, settings, folder, check=check)
        except Exception:  # wandb tries it, and says what is wrong
            self.session.file_settings = None
            return None
        self._checked = True
        return file

    def _project(self, contents: WandbRun) -> str:
        """Return the project that has a run, else the one that this command logs to."""
        known = self.ledger.line(contents.id).get("project")
        return known or os.environ.get("WANDB_PROJECT") or "paribus"

    def _open(self, contents: WandbRun) -> _OpenRun:
        if contents.id not in self.live:
            opened = self.session.open(contents.names, contents.config, self._project(contents))
            there = dict(opened.summary) if opened.resumed else {}
            # A summary may be ahead of the rows when the process that sent it was killed, and be
            # missing where an upload was cut off. After the epochs there may be a row of matrices.
            rows = opened.starting_step
            if isinstance(epoch := there.get("epoch"), int | float):
                rows = min(int(epoch), rows)
            self.live[contents.id] = _OpenRun(opened, there, rows)
        return self.live[contents.id]


def _mark(file: Path) -> Path:
    """Return the marker of an uploaded file: `wandb sync` creates it and skips such files."""
    return file.with_name(f"{file.name}.synced")


def _log_page(opened: wandb.Run, page: Path, name: str) -> None:
    import wandb

    # A copy beside wandb's own file lives as long as that: a later upload reads it. The page
    # itself may be another by then, and wandb's own copies are never cleared.
    copy = Path(opened.settings.sync_dir, page.name)
    copy.write_bytes(page.read_bytes())
    artifact = wandb.Artifact(name, type="report")
    artifact.add_file(str(copy), name=page.name, policy="immutable")
    opened.log_artifact(artifact)


def _table(table: Table) -> wandb.Table:
    import wandb

    written = wandb.Table(columns=list(table.columns), data=table.rows[:TYPED_ROWS])
    written.data += table.rows[TYPED_ROWS:]  # wandb would infer the types of each anew, for long
    return written


def _chart(matrix: Table) -> Any:
    import wandb

    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=_table(matrix),
        fields={name: name for name in matrix.columns},
        string_fields={"title": matrix.title},
    )
