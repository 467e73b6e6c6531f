"""`plot` and `report`: a picture or a page of a run or a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from paribus.core.errors import Faults, RequestError, did_you_mean, nearest, shown
from paribus.core.fileio import write_bytes
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.cli.console import print_json, say, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.report.run_report import RunView
    from paribus.sweeps.report.study_plots import StudyView
    from paribus.sweeps.study.study import Study


def find_subject(root: ResultsDir, text: str) -> RunFolder | Study:
    """Return the study of this name, or the run that it means.

    Raises:
        RequestError: If there is neither, or the run is not finished.
    """
    from paribus.sweeps.study.lookup import find_run
    from paribus.sweeps.study.study import Study

    if text in root.study_names():
        return Study.load(root, text)
    try:
        return find_run(root, text)
    except RequestError as error:
        if error.kind != "unknown-run" or "/" in text:
            raise
        if unfinished := [run for run in root.interrupted() if text and run.startswith(text)]:
            raise RequestError(
                f"{unfinished[0]} is not finished, so there is nothing to draw yet.",
                "Give the command that trained it again; it continues.",
                "unfinished-run",
            ) from None
        known = [*root.study_names(), *root.run_ids()]
        raise RequestError(
            f"There is no run or study '{shown(text)}' in {root.path}.",
            did_you_mean(text, known) if nearest(text, known) else
            "See: paribus studies, and paribus runs",
            "unknown-name",
        ) from None  # fmt: skip


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


def _run_view(folder: RunFolder, trust: bool) -> RunView:
    """Read what a run's picture and page show; warn where its model could not be loaded."""
    from paribus.sweeps.report.run_report import load_run_view

    view = load_run_view(folder, trust)
    if view.left_out:
        warn(view.left_out)
    return view


def _study_view(study: Study) -> StudyView:
    """Read what a study's picture and page show; warn of damaged runs."""
    from paribus.sweeps.report.study_plots import StudyView

    view = StudyView(study)
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    return view


def _kind_and_name(subject: RunFolder | Study) -> tuple[str, str]:
    return ("run", subject.id) if isinstance(subject, RunFolder) else ("study", subject.name)


@click.command("plot")
@click.argument("name", metavar="RUN|STUDY")
@click.option("--output", "-o", metavar="FILE",
              help="The file: .svg or .png. Default: NAME.svg in this folder.")  # fmt: skip
@trust_option
@root_option
@json_option
@click.pass_context
def plot_command(
    context: click.Context,
    name: str,
    output: str | None,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Draw a RUN (curves, confusion matrix, its answers) or a STUDY (curves and responses)."""
    faults, subject = Faults(), None
    with faults.collecting():
        subject = find_subject(root, name)
    # Without a subject any name will do: the file's other faults are found too.
    file = Path(output if output is not None else f"{_kind_and_name(subject)[1]}.svg"
                if subject else "output.svg")  # fmt: skip
    with faults.collecting():
        file = checked_output(file, (".svg", ".png"), "The picture")
    faults.check()
    assert subject
    from paribus.sweeps.report.figure import figure_of, rendered
    from paribus.sweeps.report.run_report import run_picture
    from paribus.sweeps.report.study_plots import study_picture

    if isinstance(subject, RunFolder):
        picture, damaged = run_picture(_run_view(subject, trust)), False
    else:
        picture = study_picture(_study_view(subject))
        damaged = bool(subject.outcomes.damaged)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    try:
        write_bytes(file, content)
    except OSError as error:
        raise unwritable("The picture", file, shown(error.strerror or error, 200)) from error
    (kind, found), panels = _kind_and_name(subject), [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: found, "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {found}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    context.exit(1 if damaged else 0)


@click.command("report")
@click.argument("name", metavar="[STUDY | RUN]", required=False)
@click.option("--output", "-o", metavar="FILE",
              help="The file, .html. Default: report.html in the study's folder, RUN.html in this "
              "one.")  # fmt: skip
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@trust_option
@root_option
@json_option
@click.pass_context
def report_command(
    context: click.Context,
    name: str | None,
    output: str | None,
    show: bool,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Write a page on a STUDY (the latest, if none is named) or a RUN: one self-contained file."""
    from paribus.sweeps.study.study import latest_study

    faults, subject = Faults(), None
    with faults.collecting():
        subject = find_subject(root, latest_study(root) if name is None else name)
    file = None if output is None else Path(output)
    if file is None and isinstance(subject, RunFolder):
        file = Path(f"{subject.id}.html")
    if file is not None:
        with faults.collecting():
            file = checked_output(file, (".html",), "The page")
    faults.check()
    assert subject
    from paribus.sweeps.report.run_report import write_run_page
    from paribus.sweeps.report.study_report import write_study_page

    if isinstance(subject, RunFolder):
        assert file
        write_run_page(_run_view(subject, trust), file)
        damaged = False
    else:
        file = write_study_page(_study_view(subject), file)
        damaged = bool(subject.outcomes.damaged)
    kind, found = _kind_and_name(subject)
    if as_json:
        print_json({kind: found, "file": str(file.absolute()), "bytes": file.stat().st_size})
    else:
        say(f"{kind} {found}")
        say(f"page: {file}")
    if show:
        click.launch(str(file.absolute()))
    context.exit(1 if damaged else 0)


COMMANDS = (plot_command, report_command)
