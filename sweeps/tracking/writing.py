"""Writes runs and studies into W&B: what is there already is not written again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.sweeps.tracking import layout, study_layout
from paribus.sweeps.tracking.session import Session
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
            self.opened.log(layout.row(epoch))


def open_run(session: Session, run: TrackedRun, project: str | None = None) -> OpenRun:
    """Opens a run in its project; None: this command's."""
    opened = session.open(project=project, config=layout.config(run), **layout.names(run))
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
    summary = layout.summary(document or {"status": "interrupted"})
    run.new |= any(run.there.get(key) != value for key, value in summary.items())
    run.opened.summary.update(summary)
    matrices = layout.confusion_matrices(document or {})
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

    label = key.removeprefix(layout.MATRIX).replace("/", ": ", 1)
    columns: list[str | int] = ["Actual", "Predicted", "nPredictions"]
    table = wandb.Table(columns=columns, data=rows[:1])
    table.data += rows[1:]  # as above
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=table,
        fields={str(name): str(name) for name in columns},
        string_fields={"title": f"Confusion matrix of the best epoch{label}"},
    )
