"""What an experiment on some data is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paribus.core.errors import RequestError, shown

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Constant:
    """A name in capitals, with its value and why it is that."""

    name: str
    value: str | int | Path
    why: str = ""


@dataclass(frozen=True)
class Problem:
    """Data, and the baseline that it asks for.

    Attributes:
        guess: The task, and why.
        question: What the experiment asks.
        facts: What was found in the data: a sentence.
        data: The data component's name.
        constants: What the data component is given, by keyword.
        model: The model to begin with.
        examples: How many there are.
        standardize: Whether the file has to ask for it; tables are standardized anyway.
        notes: What the person should know before a study; also stands in the file.
    """

    guess: Guess
    question: str
    facts: str
    data: str
    constants: dict[str, Constant]
    model: str
    examples: int
    standardize: bool = False
    notes: tuple[str, ...] = ()


def counted(number: int, what: str) -> str:
    """``1 column``, ``4 columns``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


# The task that a column of targets asks for, and why: pure functions.


FEW_VALUES = 20  # different whole numbers that may be classes,
ROWS_PER_VALUE = 10  # if there are so many rows for each of them,
FEWEST_ROWS = 3  # and none has fewer than this: training, validation and test need one
UNBALANCED = 5  # times as many of the commonest class as of the rarest


@dataclass(frozen=True)
class Guess:
    """A task and the reason for it.

    Attributes:
        task: Its short name.
        why: The reason, to stand beside it in the file.
        rare: That a class is rare, as a sentence; empty where none is.
        size: Of the values to predict: their root mean square; 1 for classes.
    """

    task: str
    why: str
    rare: str = ""
    size: float = 1.0


def guess_task(targets: pandas.Series, what: str) -> Guess:
    """Words and two values are classes, so are few whole numbers; all else are quantities.

    Args:
        targets: One for each example `[N]`, none of them empty.
        what: What messages and the reason call them: ``the column 'kind'``.

    Raises:
        RequestError: If there is nothing to predict, or a class has too few examples.
    """
    counts = targets.value_counts()
    if len(counts) < 2:
        raise RequestError(
            f"{what[0].upper()}{what[1:]} has the same value in every row, "
            f"{_quoted(counts.index)}: there is nothing to predict.",
            "Name another with --target.",
            "data",
        )
    if targets.dtype.kind in "iuf" and (why := _why_quantity(counts, what)):
        values = targets.to_numpy(dtype=np.float64)
        finite = values[np.isfinite(values)]  # others are refused where the data is loaded
        return Guess("regression", why, size=float(np.sqrt(np.mean(finite**2))))
    _refuse_rare(counts, what)
    if len(counts) == 2:
        why = f"{what} has 2 values: {_quoted(sorted(counts.index, key=str))}"
        return Guess("binary", why, _rare(counts))
    kind = "words" if targets.dtype.kind not in "iuf" else f"whole numbers in {len(targets)} rows"
    return Guess("multiclass", f"{what} has {len(counts)} different {kind}", _rare(counts))


def guess_by_folders(classes: pandas.Series) -> Guess:
    """The task of images in a folder for each class.

    Args:
        classes: Each image's `[N]`.

    Raises:
        RequestError: If there is one class alone.
    """
    counts = classes.value_counts()
    if len(counts) < 2:
        raise RequestError(
            f"There is one folder of images, {_quoted(counts.index)}, so one class: nothing to "
            "predict.",
            "Give --data FOLDER with one folder of images for each class.",
            "data",
        )
    task = "binary" if len(counts) == 2 else "multiclass"
    return Guess(task, f"there are {len(counts)} folders, one for each class", _rare(counts))


def _why_quantity(counts: pandas.Series, what: str) -> str:
    """Why numbers are quantities; nothing where they are classes."""
    values = counts.index.to_numpy(dtype=np.float64)
    odd = values[~np.isfinite(values) | (values != np.round(values))]
    if len(odd):
        return f"{what} has numbers that are not whole: {odd[0].item()!r}"
    rows, rarest = int(counts.sum()), int(counts.min())
    found = f"{what} has {len(counts)} different whole numbers in {rows} rows"
    if len(counts) == 2:
        return ""
    if len(counts) > FEW_VALUES:
        return f"{found}, more than {FEW_VALUES}"
    if rows < ROWS_PER_VALUE * len(counts):
        return f"{found}, fewer than {ROWS_PER_VALUE} for each"
    if rarest < FEWEST_ROWS:
        return f"{found}, and {counts.index[-1]:g} in {rarest} alone"
    return ""


def _refuse_rare(counts: pandas.Series, what: str) -> None:
    rare = counts[counts < FEWEST_ROWS]
    if len(rare):
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        raise RequestError(
            f"{what[0].upper()}{what[1:]} has {len(counts)} classes, and some of them have fewer "
            f"than {FEWEST_ROWS} of the {counts.sum()} rows: {_quoted(rare.index[:5])}{more}. "
            "Training, validation and test need one each.",
            "Leave these rows out, or name another column with --target.",
            "data",
        )


def _rare(counts: pandas.Series) -> str:
    if counts.max() < UNBALANCED * counts.min():
        return ""
    return f"{_quoted(counts.index[-1:])} is rare: {counts.min()} of {counts.sum()}"


def _quoted(values: Iterable[object]) -> str:
    words = [f"'{shown(value, 20)}'" if isinstance(value, str) else str(value) for value in values]
    return " and ".join(words) if len(words) == 2 else ", ".join(words)
