"""`plot`: pictures of runs and studies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from core.errors import Faults, RequestError, did_you_mean, nearest, shown
from core.files import write_bytes
from core.run_folder import RunFolder
from sweeps.cli.common import json_option, print_json, root_option, say, trust_option, warn
from sweeps.root import Root

if TYPE_CHECKING:
    from core.surface import Surface
    from sweeps.plots.figure import Picture
    from sweeps.study import Study

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
    context: click.Context, name: str, output: str | None, trust: bool, root: Root, as_json: bool
) -> None:
    """Draw a RUN (curves, confusion matrix, its answers) or a STUDY (curves and responses)."""
    faults, subject = Faults(), None
    with faults.collecting():
        subject = _find(root, name)
    file = Path(f"{_name(subject)}.svg" if output is None else output)
    with faults.collecting():
        file = _checked(file)
    faults.check()
    from sweeps.plots.figure import figure_of, rendered

    damaged: Mapping[str, str] = {}
    if isinstance(subject, RunFolder):
        kind, picture = "run", _picture_of_run(subject, trust)
    else:
        assert subject
        kind, damaged, picture = "study", subject.outcomes.damaged, _picture_of_study(subject)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    try:
        write_bytes(file, content)
    except OSError as error:
        raise _unwritable(file, shown(error.strerror or error, 200)) from error
    panels = [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: _name(subject), "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {_name(subject)}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    context.exit(1 if damaged else 0)


def _find(root: Root, text: str) -> RunFolder | Study:
    """The study of this name, or the run that it means.

    Raises:
        RequestError: If there is neither, or the run is not finished.
    """
    from sweeps.lookup import find_run
    from sweeps.study import Study

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


def _checked(file: Path) -> Path:
    """The file with ``~`` resolved, if it can be drawn to: before anything is computed.

    Raises:
        RequestError: If its suffix names no format, or its folder is not there.
    """
    if file.suffix.lower() not in _SUFFIXES:
        raise RequestError(
            f"--output {shown(file, 200)}: its suffix is to say the format.",
            "Take .svg or .png.",
            "plot-format",
        )
    try:
        file = file.expanduser()
        folder = file.parent
        if "\0" in str(file):
            raise _unwritable(file, "its name holds a null byte")
        if file.is_dir():
            raise _unwritable(file, "it is a folder")
        if not folder.is_dir():
            raise _unwritable(file, f"there is no folder {shown(folder, 200)}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _unwritable(file, f"this user may not write to {shown(folder.absolute(), 200)}")
    except (OSError, ValueError, RuntimeError) as error:  # too long, no such home
        raise _unwritable(file, shown(getattr(error, "strerror", None) or error, 200)) from error
    return file


def _unwritable(file: Path, why: str) -> RequestError:
    return RequestError(
        f"The picture {shown(file, 200)} cannot be written: {why}.",
        "Name another place with --output FILE.",
        "plot-file",
    )


def _picture_of_run(folder: RunFolder, trust: bool) -> Picture:
    from sweeps.run_picture import asks_model, picture_of_run

    record = folder.verified_record()
    surface = _surface(folder, record, trust) if asks_model(record) else None
    has_model = record["status"] == "complete" and record["weights_sha256"]
    predictions = folder.predictions() if has_model else None
    return picture_of_run(record, folder.history(), predictions, surface)


def _picture_of_study(study: Study) -> Picture:
    from sweeps.study_picture import picture_of_study

    results = study.results()
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    return picture_of_study(study, results)


def _surface(folder: RunFolder, record: Mapping[str, Any], trust: bool) -> Surface | None:
    """What the run's model answers; None, and a sentence, where it cannot be asked."""
    from core.surface import surface_of_run
    from sweeps.workplace import Workplace

    try:
        with Workplace(record["configuration"]["data"]["name"], 1) as workplace:
            return workplace.plan(surface_of_run, folder.folder, trust)
    except RequestError as error:
        warn(f"What the model answers is left out: {error}")
        return None


def _name(subject: RunFolder | Study | None) -> str:
    if subject is None:
        return "plot"
    return subject.id if isinstance(subject, RunFolder) else subject.name


COMMANDS = (plot_command,)
