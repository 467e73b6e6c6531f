"""From what ``--data`` names to the problem that it poses."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.registry import resolve_component
from paribus.core.config.schema import split_override
from paribus.core.errors import Faults, RequestError, nearest, shown
from paribus.core.training.dry_run import try_fit
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import make_train_state
from paribus.sweeps.scaffold.from_images import image_problem
from paribus.sweeps.scaffold.from_tables import file_problem
from paribus.sweeps.scaffold.guess import Problem
from paribus.sweeps.scaffold.page import TASK, WHY, literal, write_page, write_template


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


# Checks a request for a new experiment, tries the file and writes it.


LONGEST_NAME = 80


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        experiment: Its name.
        file: Where it lies.
        task: The task that was guessed.
        why: The reason.
        notes: What the person should know before a study.
    """

    experiment: str
    file: Path
    task: str
    why: str
    notes: tuple[str, ...]


def write_experiment(
    name: str,
    folder: Path,
    data: str | None = None,
    target: str | None = None,
    model: str | None = None,
    overrides: Sequence[str] = (),
) -> Written:
    """Writes ``NAME.py`` after its text has been tried on the data.

    Args:
        name: The experiment's name.
        folder: Where the file goes.
        data: A table, a file of texts or a folder of images; None: a template.
        target: The column to predict.
        model: A model's name; None: one that suits the data.
        overrides: ``data.missing=mean`` or ``data.missing=drop``.

    Raises:
        RequestError: With all faults of the request; then nothing is written.
    """
    faults, missing, problem = Faults(), None, None
    file = folder / f"{name}.py"
    with faults.collecting():
        _check_name(name, file)
    with faults.collecting():
        if model is not None:
            _check_model(model, folder)
    with faults.collecting():
        missing = _read_missing(overrides)
    with faults.collecting():
        problem = _find(data, target, missing)
    faults.check()
    if problem is not None:
        problem = _warned(problem, model)

    with TemporaryDirectory(prefix="paribus-new-") as elsewhere:
        _try(Path(elsewhere) / file.name, _text(name, problem, model, Path(elsewhere)), folder)
    _create(file, _text(name, problem, model, folder))
    if problem is None:
        return Written(name, file, TASK, WHY, ())
    return Written(name, file, problem.guess.task, problem.guess.why, problem.notes)


def _warned(problem: Problem, model: str | None) -> Problem:
    """With a note where a model was asked for that hardly reaches the values of the target."""
    if problem.guess.task != "regression" or problem.model != "linear" or model in (None, "linear"):
        return problem
    note = (
        f"The target's values are far from 0 and 1, where a network such as {shown(model)} begins: "
        "it hardly reaches them. Divide the column in the file, or take --model linear."
    )
    return replace(problem, notes=(*problem.notes, note))


def _check_name(name: str, file: Path) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        stem = re.sub(r"\W+", "_", Path(name).name.removesuffix(".py")).strip("_")
        better = stem if stem.isidentifier() and not keyword.iskeyword(stem) else "mine"
        raise RequestError(
            f"'{shown(name)}' cannot be an experiment's name: take up to {LONGEST_NAME} letters, "
            "digits and '_', not beginning with a digit; the file is written here.",
            f"Such as: paribus new {better[:LONGEST_NAME]}",
            "name",
        )
    if name in catalogue():
        raise RequestError(
            f"The catalogue has an experiment '{name}', which this name would go on to mean.",
            "Choose another name.",
            "name",
        )
    if file.exists() or file.is_symlink():
        raise _there_already(file)
    module = find_spec(name)
    if module is not None and module.origin is not None:  # a mere folder hides behind the file
        raise RequestError(
            f"There is a module '{name}', which {file.name} would hide from what runs here.",
            "Choose another name.",
            "name",
        )


def _there_already(file: Path) -> RequestError:
    return RequestError(
        f"{file.name} is there already, and is never overwritten.", "Choose another name.", "name"
    )


def _check_model(model: str, folder: Path) -> None:
    """Looks a model up as in an experiment's file here: any will do, as it gives no names."""
    resolve_component("model", model, load_experiment(catalogue()["line"], (folder,)))


def _read_missing(overrides: Sequence[str]) -> str | None:
    """``data.missing``, the only key that a file cannot be written without."""
    faults = Faults()
    pairs = [pair for text in overrides if (pair := split_override(text, faults))]
    found = dict(pairs)
    if len(found) < len(pairs):
        faults.add("data.missing is set twice.", "Set it once.", "key-twice")
    missing = found.pop("data.missing", None)
    for key in found:
        faults.add(
            f"{shown(key)}: paribus new takes data.missing alone.",
            "All else stands in the file, to be changed there.",
            "unknown-key",
        )
    if missing not in (None, "mean", "drop"):
        faults.add(f"data.missing={shown(missing)}: must be mean or drop.", kind="bad-value")
    faults.check()
    return missing


def _find(data: str | None, target: str | None, missing: str | None) -> Problem | None:
    if data is not None:
        return find_problem(data, target, missing)
    if target is not None or missing is not None:
        raise RequestError(
            f"{'--target' if target is not None else 'data.missing'} is about the columns of a "
            "table, and there is none.",
            "Give --data FILE.csv too.",
        )
    return None


def _text(name: str, problem: Problem | None, model: str | None, folder: Path) -> str:
    if problem is None:
        return write_template(name, None if model is None else literal(model))
    return write_page(name, problem, model, folder)


def _try(file: Path, text: str, import_path: Path) -> None:
    """Loads the data and sends two examples through the model, as a run would.

    Raises:
        RequestError: Whatever a run would be refused for.
    """
    file.write_text(text, encoding="utf-8")
    experiment = load_experiment(file, (import_path,))
    resolver, asked = Resolver(experiment), experiment.baseline
    hints = {
        "split": "Leave classes of so few examples out of the data, or join them.",
        "missing-keyword": "Take a model that suits this data, or leave --model out.",
    }
    try:
        resolved = resolver.configuration(asked)
    except RequestError as error:
        if error.kind not in hints:
            raise
        raise RequestError(error.message, hints[error.kind], error.kind) from None
    try_fit(make_train_state(resolved, experiment, resolver.data(asked), seed=0))


def _create(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise _there_already(file) from None
    except OSError as error:
        with suppress(OSError):  # what a full disk left of it
            file.unlink()
        raise RequestError(
            f"{shown(file, 200)} cannot be written: {error.strerror}.",
            "Change to a folder of your own.",
            "disk",
        ) from error
