"""Write a new experiment's file: the request is checked, the file tried on the data, then kept."""

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
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.training.dry_run import dry_run
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import make_train_state
from paribus.sweeps.scaffold.from_data import find_problem
from paribus.sweeps.scaffold.problem import Problem
from paribus.sweeps.scaffold.render import SPIRALS, render_experiment

LONGEST_NAME = 80


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        experiment: Its name.
        file: Where it lies.
        task: The task that was guessed.
        why: The reason.
        notes: What to know before a study.
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
    """Write ``NAME.py`` after its text has been tried on the data.

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
        if model is not None:  # any model will do, as it is named nowhere in the file
            resolve_component("model", model, load_experiment(catalogue()["line"], (folder,)))
    with faults.collecting():
        missing = _read_missing(overrides)
    with faults.collecting():
        if data is not None:
            problem = find_problem(data, target, missing)
        elif target is not None or missing is not None:
            raise RequestError(
                f"{'--target' if target is not None else 'data.missing'} is about the columns of a "
                "table, and there is none.",
                "Give --data FILE.csv too.",
            )
    faults.check()
    if problem is not None and model not in (None, "linear"):
        problem = _warned(problem, shown(model))

    with TemporaryDirectory(prefix="paribus-new-") as scratch:
        trial = Path(scratch) / file.name
        trial.write_text(render_experiment(name, problem, model, trial.parent), encoding="utf-8")
        _try(trial, folder)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(render_experiment(name, problem, model, folder))
    except FileExistsError:
        raise _exists_already(file) from None
    except OSError as error:
        with suppress(OSError):  # what a full disk left of it
            file.unlink()
        raise RequestError(
            f"{shown(file, 200)} cannot be written: {error.strerror}.",
            "Change to a folder of your own.",
            "disk",
        ) from error
    guess = SPIRALS if problem is None else problem.guess
    return Written(name, file, guess.task, guess.why, problem.notes if problem else ())


def _warned(problem: Problem, model: str) -> Problem:
    """Add a note where a model was asked for that hardly reaches the values of the target."""
    if problem.guess.task != "regression" or problem.model != "linear":
        return problem
    note = (
        f"The target's values are far from 0 and 1, where a network such as {model} begins: "
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
        raise _exists_already(file)
    module = find_spec(name)
    if module is not None and module.origin is not None:  # a mere folder hides behind the file
        raise RequestError(
            f"There is a module '{name}', which {file.name} would hide from what runs here.",
            "Choose another name.",
            "name",
        )


def _exists_already(file: Path) -> RequestError:
    return RequestError(
        f"{file.name} is there already, and is never overwritten.", "Choose another name.", "name"
    )


def _read_missing(overrides: Sequence[str]) -> str | None:
    """Return ``data.missing``, the only key that decides whether a file can be written."""
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


def _try(file: Path, import_path: Path) -> None:
    """Load the data and send two examples through the model, as a run would.

    Raises:
        RequestError: Whatever a run would be refused for.
    """
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
    dry_run(make_train_state(resolved, experiment, resolver.data(asked), seed=0))
