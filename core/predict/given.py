"""What a person gives to be predicted, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from paribus.core.data.part import Inputs, Part
from paribus.core.errors import Faults, shown

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Given:
    """What a person gave to be predicted.

    Attributes:
        words: Paths, texts or numbers, as they were typed.
        lines: Lines of standard input, if one of the words asks for them.
        rows: A JSON document's rows, instead of words.
    """

    words: Sequence[str] = ()
    lines: Sequence[str] = ()
    rows: Sequence[object] | None = None

    def as_words(self, what: str, faults: Faults) -> list[str]:
        """The words, or the rows of the document, each of which has to be one."""
        if self.rows is None:
            return list(self.words)
        for number, row in enumerate(self.rows, 1):
            if not isinstance(row, str):
                faults.add(
                    f"{STANDARD_INPUT}:{number} is {shown(repr(row), 40)}; expected {what}.",
                    "The JSON document has to be a list of these.",
                    "input",
                )
        return [row for row in self.rows if isinstance(row, str)]


@dataclass(frozen=True, eq=False)
class New:
    """New inputs, treated as the training data were.

    Attributes:
        names: How each is called: a path, a text, ``file.csv:ROW`` counted from 1.
        batches: Batch size to the batches, as the model takes them.
        notes: What a person should know of them.
    """

    names: list[str]
    batches: Callable[[int], Iterator[torch.Tensor]]
    notes: Sequence[str] = ()


def in_memory(names: list[str], inputs: Inputs) -> New:
    """New inputs that were read already."""
    part = Part(inputs, torch.zeros(len(inputs)))  # their targets are not known
    return New(names, lambda size: (batch for batch, _ in part.batches(size)))


def existing(word: str) -> Path | None:
    """The path that a word means, if there is something."""
    try:
        path = Path(word).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, nobody's home
        return None
