"""Where pictures and pages are written, and the page of a run or a study."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paribus.core.errors import RequestError, shown
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.study.study import Study

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes:
        kind: What it shows.
        name: The study's name or the run's id.
        file: Where it is, absolute.
        bytes: How large it is.
    """

    kind: Literal["study", "run"]
    name: str
    file: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus report --json`` prints."""
        return {self.kind: self.name, "file": str(self.file), "bytes": self.bytes}


def write_report(
    subject: RunFolder | Study, file: Path, warn: Warn, *, trust: bool = False
) -> Report:
    """Write the page of a study or a run: one self-contained HTML file.

    Args:
        subject: The study or the run.
        file: As `report_file` returns it.
        warn: Called with a sentence on what is left out.
        trust: Whether whatever a run's record names may be imported and executed.

    Raises:
        DamagedError: If a file of the run is not what was written.
        RequestError: If there is nothing to show, or the file cannot be written.
    """
    if isinstance(subject, RunFolder):
        from paribus.sweeps.report.run_report import load_run_view, write_run_page

        run_view = load_run_view(subject, trust)
        if run_view.left_out:
            warn(run_view.left_out)
        write_run_page(run_view, file)
        return Report("run", subject.id, file.absolute(), file.stat().st_size)
    from paribus.sweeps.report.study_plots import StudyView
    from paribus.sweeps.report.study_report import write_study_page

    view = StudyView(subject)
    warn_of_damage(subject, warn)
    write_study_page(view, file)
    return Report("study", subject.name, file.absolute(), file.stat().st_size)


def warn_of_damage(study: Study, warn: Warn) -> None:
    """Name the damaged runs of a study, once its results were read."""
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")


def report_file(subject: RunFolder | Study | None, output: str | Path | None) -> Path | None:
    """Return where a page is to be written; None where nothing is known of it.

    Raises:
        RequestError: If it cannot be written there.
    """
    if output is None:
        if not isinstance(subject, RunFolder):
            return subject.folder / "report.html" if subject else None
        output = f"{subject.id}.html"
    return checked_output(Path(output), (".html",), "The page")


def checked_output(file: Path, suffixes: Sequence[str], what: str) -> Path:
    """Return the file with ``~`` resolved if it can be written: before anything is computed.

    Args:
        file: As it was typed.
        suffixes: Those that it may have, with their dots.
        what: What it is, for the error: ``The picture``.

    Raises:
        RequestError: If its suffix names no format, or its folder is not there.
    """
    if file.suffix.lower() not in suffixes:
        raise RequestError(
            f"--output {shown(file, 200)}: its suffix must name the format.",
            f"Take {' or '.join(suffixes)}.",
            "output-format",
        )
    try:
        file = file.expanduser()
        folder = file.parent
        if "\0" in str(file):
            raise unwritable(what, file, "its name holds a null byte")
        if file.is_dir():
            raise unwritable(what, file, "it is a folder")
        if not folder.is_dir():
            raise unwritable(what, file, f"there is no folder {shown(folder, 200)}")
        if not os.access(folder, os.W_OK | os.X_OK):
            where = shown(folder.absolute(), 200)
            raise unwritable(what, file, f"this user may not write to {where}")
    except (OSError, ValueError, RuntimeError) as error:  # too long, no such home
        why = shown(getattr(error, "strerror", None) or error, 200)
        raise unwritable(what, file, why) from error
    return file


def unwritable(what: str, file: Path, why: str) -> RequestError:
    """Return the error for a file that cannot be written."""
    return RequestError(
        f"{what} {shown(file, 200)} cannot be written: {why}.",
        "Name another place with --output FILE.",
        "output-file",
    )
