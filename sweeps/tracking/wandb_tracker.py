"""Writes runs and studies into W&B: what is there already is not written again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.sweeps.tracking import run_layout, study_layout
from paribus.sweeps.tracking.ledger import LEDGER, Folders, Ledger, Line, run_line, study_line
from paribus.sweeps.tracking.session import LostFileError, Session, project_name, reason
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy

if TYPE_CHECKING:
    import wandb


_TYPED = 100  # rows from which the types of a table's columns are taken


@dataclass
class OpenRun:
    """A run that is open in W&B.

    Attributes:
        opened: The run.
        rows: How many rows it has: the first lines of its history, in order.
        there: The summary that the server had when it was opened; empty for a new run.
        new: Whether something was written that was not there.
    """

    opened: wandb.Run
    rows: int
    there: dict[str, Any]
    new: bool = field(default=False)

    def log(self, epoch: dict[str, Any]) -> None:
        """Writes an epoch that follows the last one.

        Others are left to `complete`: only where rows are in order does their number tell, after
        a kill, which are there.
        """
        if epoch["epoch"] == self.rows + 1:
            self.complete([epoch])

    def complete(self, epochs: list[dict[str, Any]]) -> None:
        """Writes epochs in order."""
        for epoch in epochs:
            self.rows += 1
            self.new = True
            self.opened.log(run_layout.row(epoch))


def open_run(session: Session, run: TrackedRun, project: str | None = None) -> OpenRun:
    """Opens a run in its project; None: this command's."""
    opened = session.open(project=project, config=run_layout.config(run), **run_layout.names(run))
    opened.define_metric("epoch")
    opened.define_metric("*", step_metric="epoch")
    there = dict(opened.summary) if opened.resumed else {}
    return OpenRun(opened, _rows(opened, there), there)


def finish_run(
    session: Session,
    run: OpenRun,
    document: dict[str, Any] | None,
    history: list[dict[str, Any]],
    *,
    again: bool = False,
) -> None:
    """Writes what is missing of a run, and closes it; without a document as interrupted.

    Args:
        session: Where to.
        run: The run.
        document: The run document.
        history: All of it.
        again: Whether files of it were lost, so that the matrices are written once more.

    Raises:
        TimeoutError, UploadError: It did not reach the server as a whole.
    """
    run.complete(history[run.rows :])
    summary = run_layout.summary(document or {"status": "interrupted"})
    run.new |= any(run.there.get(key) != value for key, value in summary.items())
    run.opened.summary.update(summary)
    matrices = run_layout.confusion_matrices(document or {})
    there = () if again else run.there
    charts = {k: _chart(k, rows) for k, rows in matrices.items() if f"{k}_table" not in there}
    if charts:
        run.new = True
        run.opened.log(charts)
    session.finish(run.opened, 0 if document and document.get("status") == "complete" else 1)


def write_study(
    session: Session,
    study: TrackedStudy,
    project: str | None = None,
    *,
    page: bool = True,
    again: bool = False,
) -> tuple[Path, bool]:
    """Writes the summary run of a study, or brings it up to date by one more row.

    Args:
        session: Where to.
        study: The study.
        project: Where it was logged before; None: this command's.
        page: Whether its page is another than the one that was given last.
        again: Whether files of it were lost, so that it is written once more.

    Returns:
        wandb's own file of it, and whether something was written that was not there.

    Raises:
        TimeoutError, UploadError: It did not reach the server as a whole.
    """
    import wandb

    given = study_layout.names(study)
    opened = session.open(project=project, config=study_layout.config(study), **given)
    contents = study_layout.contents(study)
    there = dict(opened.summary).get(study_layout.CONTENTS) if opened.resumed else None
    new = again or there != contents
    if new:
        tables = {
            "settings": _table(study_layout.SETTINGS, study_layout.settings_table(study)),
            "linter": _table(study_layout.WARNINGS, study_layout.warnings_table(study)),
        }
        with tempfile.TemporaryDirectory(dir=session.folder) as folder:
            if study.picture:
                picture = Path(folder, "effects.png")
                picture.write_bytes(study.picture)
                tables["effects"] = wandb.Image(str(picture))
            opened.log(tables)
        opened.summary.update(study_layout.summary(study) | {study_layout.CONTENTS: contents})
        if study.page and page:
            _log_page(opened, study.page, study_layout.artifact_name(study.study))
    session.finish(opened, 0)
    return Path(opened.settings.sync_file), new


def _log_page(opened: wandb.Run, page: Path, name: str) -> None:
    import wandb

    # A copy beside wandb's own file lives as long as that: a later upload reads it. The page
    # itself may be another by then, and wandb's own copies are never cleared.
    copy = Path(opened.settings.sync_dir, page.name)
    copy.write_bytes(page.read_bytes())
    artifact = wandb.Artifact(name, type="report")
    artifact.add_file(str(copy), name=page.name, policy="immutable")
    opened.log_artifact(artifact)


def _rows(opened: wandb.Run, there: dict[str, Any]) -> int:
    """How many epochs the server has of a run."""
    # A summary may be ahead of the rows when the process that sent it was killed, and be missing
    # where an upload was cut off. After the epochs there may be a row of matrices.
    epoch, steps = there.get("epoch"), opened.starting_step
    return min(int(epoch), steps) if isinstance(epoch, int | float) else steps


def _table(columns: tuple[str, ...], rows: list[list[Any]]) -> Any:
    import wandb

    table = wandb.Table(columns=list(columns), data=rows[:_TYPED])
    table.data += rows[_TYPED:]  # wandb would infer the types of each anew, for long
    return table


def _chart(key: str, rows: list[list[Any]]) -> Any:
    import wandb

    label = key.removeprefix(run_layout.MATRIX).replace("/", ": ", 1)
    columns: list[str | int] = ["Actual", "Predicted", "nPredictions"]
    table = wandb.Table(columns=columns, data=rows[:1])
    table.data += rows[1:]  # as above
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=table,
        fields={str(name): str(name) for name in columns},
        string_fields={"title": f"Confusion matrix of the best epoch{label}"},
    )


# Runs in Weights & Biases: live where its server can be reached, else in offline folders.


_LATER = "(upload later: paribus sync)"


class WandbTracker:
    """A tracker whose calls may take seconds; `BackgroundTracker` keeps them off training.

    It starts online or offline, goes from online to offline at the first trouble, and from
    offline to nothing at the next. Runs that were not noted in the ledger by then are logged by
    the same command when it is given again.

    Attributes:
        given: W&B's id to what became of it: ``logged``, ``amended`` or ``unchanged``.
        mode: ``online``, ``offline``, ``disabled``, ``off``; None: not known before the first run.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.given: dict[str, str] = {}
        self.mode: str | None = None
        self._warn = warn
        self._warned = False
        self._session = Session(root)
        self._runs: dict[str, TrackedRun] = {}
        self._live: dict[str, OpenRun] = {}
        self._deadline = float("inf")
        try:
            self._ledger = Ledger(root / LEDGER)
            self._folders = Folders(root / "wandb")
        except OSError as error:
            self._give_up(error)

    def begin(self, run: TrackedRun) -> None:
        if self.mode == "off" or run.run in self._live:
            return
        self._runs[run.run] = run
        if not self._before(run_layout.wandb_id(run)):  # else it may just be shown again
            self._attempt("online", lambda: self._open(run))

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        known = self._runs.get(run)
        if known is None or self._before(run_layout.wandb_id(known)).get("status") == "complete":
            return
        self._attempt("online", lambda: self._open(known).log(epoch))

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        known = self._runs.pop(run, None)
        if known is None or self.mode == "off":
            return
        line = run_line(known, document, history)
        if run not in self._live and self._is_given(line):
            return
        for mode in ("online", "offline"):
            if self._attempt(mode, lambda: self._write(known, line, document, history)):
                return

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        if self.mode == "off" or (found := study()) is None:
            return
        line = study_line(found)
        if self._is_given(line):
            return
        for mode in ("online", "offline"):
            if self._attempt(mode, lambda: self._write_study(found, line)):
                return

    def close(self) -> None:
        for live in list(self._live.values()):
            if not self._attempt("online", partial(finish_run, self._session, live, None, [])):
                break
        self._live.clear()
        self._session.stop()

    def hurry(self, seconds: float) -> None:
        """What has not reached the server within `seconds` is written offline."""
        self._deadline = time.monotonic() + seconds

    def abandon(self) -> None:
        """Ends wandb though a call of it hangs."""
        self._trouble("it did not finish in time; the same command logs what is missing")
        self.mode = "off"
        self._session.stop(seconds=2)

    def trouble(self, error: Exception) -> None:
        """Tells of what went wrong on the way here."""
        self._trouble(reason(error))

    def _open(self, run: TrackedRun) -> OpenRun:
        if run.run not in self._live:
            self._live[run.run] = open_run(
                self._session, run, self._project(run_layout.wandb_id(run))
            )
        return self._live[run.run]

    def _write(
        self,
        run: TrackedRun,
        line: Line,
        document: dict[str, Any],
        history: list[dict[str, Any]],
    ) -> None:
        wandb_id = line["wandb_id"]
        if self.mode == "offline" and self._server_has(wandb_id):
            # A whole file would write every row there again, one of the summary alone would take
            # what that leaves out away.
            self._note(line, "owed")
            return
        live = self._open(run)
        file = Path(live.opened.settings.sync_file)
        del self._live[run.run]
        with self._noting_lost_files(line):
            again = self._before(wandb_id).get("lost", False)
            finish_run(self._session, live, document, history, again=again)
        self._written(line, file)

    def _write_study(self, study: TrackedStudy, line: Line) -> None:
        before = self._before(line["wandb_id"])
        same_page = (before.get("mode"), before.get("page")) == ("online", line.get("page"))
        new_page = self.mode == "offline" or not same_page
        project, again = self._project(line["wandb_id"]), before.get("lost", False)
        with self._noting_lost_files(line):
            file, _ = write_study(self._session, study, project, page=new_page, again=again)
        self._written(line, file)

    @contextmanager
    def _noting_lost_files(self, line: Line) -> Iterator[None]:
        """What is written offline next is written once more when it is uploaded."""
        try:
            yield
        except LostFileError:
            line["lost"] = True
            raise

    def _written(self, line: Line, file: Path) -> None:
        if self.mode == "online":
            self._folders.mark_uploaded(line["wandb_id"])
        else:
            self._folders.replace(line["wandb_id"], file)
        self._note(line, self.mode or "")

    def _is_given(self, line: Line) -> bool:
        before = self._before(line["wandb_id"])
        same = all(before.get(key) == line[key] for key in ("digest", "status") if key in line)
        if same:
            self.given[line["wandb_id"]] = "unchanged"
        return same

    def _server_has(self, wandb_id: str) -> bool:
        noted = self._before(wandb_id).get("mode") in ("online", "owed")
        return noted or self._folders.was_uploaded(wandb_id)

    def _project(self, wandb_id: str) -> str | None:
        return self._before(wandb_id).get("project")

    def _before(self, wandb_id: str) -> Line:
        return self._ledger.line(wandb_id) or {}

    def _note(self, line: Line, mode: str) -> None:
        wandb_id = line["wandb_id"]
        self.given[wandb_id] = "amended" if self._before(wandb_id) else "logged"
        project = self._project(wandb_id) or project_name()
        try:
            self._ledger.add(line | {"mode": mode, "project": project})
        except OSError as error:
            del self.given[wandb_id]
            self._give_up(error)

    def _attempt(self, mode: str, action: Callable[[], object]) -> bool:
        """Does something if this is the mode, and says whether it was done."""
        try:
            if self._current_mode() == mode:
                action()
                return True
        except Exception as error:
            self._step_back(error)
        return False

    def _current_mode(self) -> str:
        if self.mode is None:
            self.mode = "online"  # what fails from here on may still work offline
            why = self._session.start()
            self.mode = self._session.mode
            if why:
                self._say(f"W&B: {why}, logging offline to {self._session.folder} {_LATER}")
        if self.mode == "online" and time.monotonic() > self._deadline:
            self._step_back(TimeoutError("not everything reached the server in time"))
        return self.mode

    def _step_back(self, error: Exception) -> None:
        self._live.clear()
        if self.mode != "online":
            self._give_up(error)
            return
        try:
            self._session.stop()  # a fresh service, in case the old one is what fails
            if self.mode == "off":  # abandoned in the meantime
                return
            self._session.start(only="offline")
        except Exception as second:
            self._give_up(second)
            return
        self.mode = self._session.mode
        self._trouble(f"{reason(error)}; logging offline to {self._session.folder} {_LATER}")

    def _give_up(self, error: Exception) -> None:
        self.mode = "off"
        self._trouble(f"{reason(error)}; the same command logs later what is missing")

    def _trouble(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._say(f"W&B: {text}")

    def _say(self, line: str) -> None:
        try:
            self._warn(line)
        except Exception:  # a tracker raises nothing, not even where standard error is closed
            self._warned = True
