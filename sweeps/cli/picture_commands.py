"""What `plot` and `report` share: what is meant, where it is written, what a model answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.errors import Faults, RequestError, did_you_mean, nearest, shown
from paribus.core.fileio import write_bytes
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.cli.console import print_json, say, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Surface
    from paribus.sweeps.report.figure import Picture
    from paribus.sweeps.study.study import Study


def find_subject(root: ResultsDir, text: str) -> RunFolder | Study:
    """The study of this name, or the run that it means.

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
    """The file with ``~`` resolved, if it can be written: before anything is computed.

    Args:
        file: As it was typed.
        suffixes: Those that it may have, with their dots.
        what: What it is, for the error: ``The picture``.

    Raises:
        RequestError: If its suffix names no format, or its folder is not there.
    """
    if file.suffix.lower() not in suffixes:
        raise RequestError(
            f"--output {shown(file, 200)}: its suffix is to say the format.",
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
    """The refusal of a file."""
    return RequestError(
        f"{what} {shown(file, 200)} cannot be written: {why}.",
        "Name another place with --output FILE.",
        "output-file",
    )


def shown_run(folder: RunFolder, trust: bool) -> tuple[Any, Any, Any, Surface | None]:
    """What a run's picture and page are made of: record, history, predictions, answers."""
    from paribus.sweeps.report.run_figure import asks_model

    record = folder.verified_record()
    surface = _surface_of(folder, record, trust) if asks_model(record) else None
    has_model = record.status == "complete" and record.weights_sha256
    predictions = folder.predictions() if has_model else None
    return record, folder.history(), predictions, surface


def _surface_of(folder: RunFolder, record: RunRecord, trust: bool) -> Surface | None:
    """What the run's model answers; None, and a sentence, where it cannot be asked."""
    from paribus.core.inference.decision_surface import surface_of_run
    from paribus.sweeps.execution.pool import Pool

    try:
        with Pool(1, record.configuration["data"]["name"]) as pool:
            return pool.call(surface_of_run, folder.folder, trust)
    except RequestError as error:
        warn(f"What the model answers is left out: {error}")
        return None


def name_of(subject: RunFolder | Study | None) -> str:
    """The run's id or the study's name; of nothing, so that other faults can be looked for, any."""
    if subject is None:
        return "output"
    return subject.id if isinstance(subject, RunFolder) else subject.name


# `plot`: pictures of runs and studies.


_SUFFIXES = (".svg", ".png")


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
    file = Path(f"{name_of(subject)}.svg" if output is None else output)
    with faults.collecting():
        file = checked_output(file, _SUFFIXES, "The picture")
    faults.check()
    from paribus.sweeps.report.figure import figure_of, rendered
    from paribus.sweeps.report.run_figure import picture_of_run

    damaged: Mapping[str, str] = {}
    if isinstance(subject, RunFolder):
        kind, picture = "run", picture_of_run(*shown_run(subject, trust))
    else:
        assert subject
        kind, damaged, picture = "study", subject.outcomes.damaged, _picture_of_study(subject)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    try:
        write_bytes(file, content)
    except OSError as error:
        raise unwritable("The picture", file, shown(error.strerror or error, 200)) from error
    panels = [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: name_of(subject), "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {name_of(subject)}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    context.exit(1 if damaged else 0)


def _picture_of_study(study: Study) -> Picture:
    from paribus.sweeps.report.study_figure import picture_of_study

    results = study.results()
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    return picture_of_study(study, results)


# `report`: one page that shows a study or a run, to look at and to send.


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
    damaged: Mapping[str, str] = {}
    if isinstance(subject, RunFolder):
        assert file
        kind, written = "run", _write_run(subject, file, trust)
    else:
        assert subject
        kind, damaged, written = "study", subject.outcomes.damaged, _write_study(subject, file)
    document = {kind: name_of(subject), "file": str(written.absolute())}
    if as_json:
        print_json({**document, "bytes": written.stat().st_size})
    else:
        say(f"{kind} {name_of(subject)}")
        say(f"page: {written}")
    if show:
        click.launch(str(written.absolute()))
    context.exit(1 if damaged else 0)


def _write_study(study: Study, file: Path | None) -> Path:
    from paribus.sweeps.report.study_page import view_of, write_page

    view = view_of(study)
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    if not any(result.runs for result in view.results):
        raise RequestError(
            f"The study {study.name} has no finished run to show.",
            f"Run its sweep again, which goes on; see: paribus runs {study.name}",
            "nothing",
        )
    return write_page(view, file)


def _write_run(folder: RunFolder, file: Path, trust: bool) -> Path:
    from paribus.sweeps.report.html import write
    from paribus.sweeps.report.run_page import run_page

    write(file, run_page(*shown_run(folder, trust)))
    return file


COMMANDS = (plot_command, report_command)
