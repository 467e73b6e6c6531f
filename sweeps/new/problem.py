"""What an experiment on some data is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paribus.sweeps.new.guess import Guess


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
