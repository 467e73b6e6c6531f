"""From what ``--data`` names to the problem that it poses."""

from __future__ import annotations

from pathlib import Path

from paribus.core.errors import RequestError, nearest, shown
from paribus.sweeps.new.images import image_problem
from paribus.sweeps.new.problem import Problem
from paribus.sweeps.new.tables import file_problem


def find_problem(data: str, target: str | None, missing: str | None) -> Problem:
    """The problem that data poses.

    Args:
        data: A CSV or TSV file, or a folder of images.
        target: The column to predict, for a file.
        missing: What happens to empty cells of a table: ``mean`` or ``drop``; None: refused.

    Raises:
        RequestError: If there is no such data, or nothing can be learned from it.
    """
    path = _located(data)
    if path.is_file():
        return file_problem(path, target, missing)
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, siblings)
        raise RequestError(
            f"There is no file or folder {shown(data)} (looked for {shown(path, 200)}).",
            f"Did you mean '{shown(Path(data).with_name(near))}'?"
            if near
            else "Give --data a CSV or TSV file, or a folder with one folder of images for each "
            "class.",
            "data",
        )
    if target is not None or missing is not None:
        raise RequestError(
            f"{'--target' if target is not None else 'data.missing'} is about the columns of a "
            f"table, and {shown(data)} is a folder of images.",
            "Leave it out.",
            "data",
        )
    return image_problem(path)


def _located(data: str) -> Path:
    """The full path. Its own name is kept if that is a link."""
    try:
        data.encode()  # a name that is no text could not stand in a file
        path = Path(data).expanduser()
        path.is_file()
        return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
    except (ValueError, RuntimeError, OSError) as error:
        raise RequestError(
            f"--data {shown(data)} is no path: {shown(error)}.", kind="data"
        ) from error
