"""The learning problem that some data poses, and the task that its targets ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paribus.core.errors import bad_data, shown

if TYPE_CHECKING:
    import pandas

FEW_VALUES = 20  # at most so many different whole numbers may be classes,
ROWS_PER_VALUE = 10  # if there are so many rows for each of them,
FEWEST_ROWS = 3  # and none has fewer than this: training, validation and test need one
UNBALANCED = 5  # times as many of the commonest class as of the rarest


@dataclass(frozen=True)
class Guess:
    """A task and the reason for it.

    Attributes:
        task: Its short name.
        why: The reason, to stand beside it in the file.
        rare: Says that a class is rare; empty where none is.
        size: Root mean square of the values to predict; 1 for classes.
    """

    task: str
    why: str
    rare: str = ""
    size: float = 1.0


@dataclass(frozen=True)
class Constant:
    """A name in capitals, with its value and why it is that."""

    name: str
    value: str | int | Path
    why: str = ""


@dataclass(frozen=True)
class Problem:
    """Data, and the baseline that suits it.

    Attributes:
        guess: The task, and why.
        question: What the experiment asks.
        facts: What was found in the data: a sentence.
        data: The data component's name.
        constants: The data component's keywords.
        model: The model to begin with.
        examples: How many there are.
        standardize: Whether the file has to ask for it; tables are standardized by default.
        notes: What to know before a study; also stands in the file.
    """

    guess: Guess
    question: str
    facts: str
    data: str
    model: str
    examples: int
    constants: dict[str, Constant] = field(default_factory=dict)
    standardize: bool = False
    notes: tuple[str, ...] = ()


def guess_task(targets: pandas.Series, what: str) -> Guess:
    """Guess the task: words, two values and few whole numbers are classes, all else quantities.

    Args:
        targets: One for each example `[N]`, none of them empty.
        what: What messages and the reason call them: ``the column 'kind'``.

    Raises:
        RequestError: If there is nothing to predict, or a class has too few examples.
    """
    counts = targets.value_counts()
    subject = f"{what[0].upper()}{what[1:]}"
    if len(counts) < 2:
        raise bad_data(
            f"{subject} has the same value in every row, {_quoted(counts.index)}: there is nothing "
            "to predict.",
            "Name another with --target.",
        )
    numeric = targets.dtype.kind in "iuf"
    if numeric and (why := _why_quantity(counts, what)):
        values = targets.to_numpy(dtype=np.float64)
        finite = values[np.isfinite(values)]  # others are refused where the data is loaded
        return Guess("regression", why, size=float(np.sqrt(np.mean(finite**2))))
    few = counts[counts < FEWEST_ROWS]
    if len(few):
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        raise bad_data(
            f"{subject} has {len(counts)} classes, and some of them have fewer than {FEWEST_ROWS} "
            f"of the {counts.sum()} rows: {_quoted(few.index[:5])}{more}. Training, validation and "
            "test need one each.",
            "Leave these rows out, or name another column with --target.",
        )
    if len(counts) == 2:
        why = f"{what} has 2 values: {_quoted(sorted(counts.index, key=str))}"
    else:
        kind = f"whole numbers in {len(targets)} rows" if numeric else "words"
        why = f"{what} has {len(counts)} different {kind}"
    return guess_classes(counts, why)


def guess_classes(counts: pandas.Series, why: str) -> Guess:
    """Return the task of classes with these counts, in descending order."""
    task = "binary" if len(counts) == 2 else "multiclass"
    if counts.max() < UNBALANCED * counts.min():
        return Guess(task, why)
    return Guess(
        task, why, f"{_quoted(counts.index[-1:])} is rare: {counts.min()} of {sum(counts)}"
    )


def _why_quantity(counts: pandas.Series, what: str) -> str:
    """Return why numbers are quantities; nothing where they are classes."""
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


def _quoted(values: Iterable[object]) -> str:
    words = [f"'{shown(value, 20)}'" if isinstance(value, str) else str(value) for value in values]
    return " and ".join(words) if len(words) == 2 else ", ".join(words)
