"""What `plot` and `report` share: what is meant, where it is written, what a model answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.errors import RequestError, did_you_mean, nearest, shown
from paribus.core.run_folder import RunFolder
from paribus.sweeps.cli.common import warn
from paribus.sweeps.root import Root

if TYPE_CHECKING:
    from paribus.core.surface import Surface
    from paribus.sweeps.study import Study


def find_subject(root: Root, text: str) -> RunFolder | Study:
    """The study of this name, or the run that it means.

    Raises:
        RequestError: If there is neither, or the run is not finished.
    """
    from paribus.sweeps.lookup import find_run
    from paribus.sweeps.study import Study

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
    from paribus.sweeps.run_picture import asks_model

    record = folder.verified_record()
    surface = _surface_of(folder, record, trust) if asks_model(record) else None
    has_model = record["status"] == "complete" and record["weights_sha256"]
    predictions = folder.predictions() if has_model else None
    return record, folder.history(), predictions, surface


def _surface_of(folder: RunFolder, record: Mapping[str, Any], trust: bool) -> Surface | None:
    """What the run's model answers; None, and a sentence, where it cannot be asked."""
    from paribus.core.surface import surface_of_run
    from paribus.sweeps.workplace import Workplace

    try:
        with Workplace(record["configuration"]["data"]["name"], 1) as workplace:
            return workplace.plan(surface_of_run, folder.folder, trust)
    except RequestError as error:
        warn(f"What the model answers is left out: {error}")
        return None


def name_of(subject: RunFolder | Study | None) -> str:
    """The run's id or the study's name; of nothing, so that other faults can be looked for, any."""
    if subject is None:
        return "output"
    return subject.id if isinstance(subject, RunFolder) else subject.name
