"""Texts: a vocabulary built from the training part, and sequences of tokens of any length."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from typing_extensions import TypedDict

from paribus.core.data.arrays import Array
from paribus.core.data.tables import check_columns, read_frame
from paribus.core.errors import bad_data, first_few, shown

PADDING, UNKNOWN = 0, 1  # the first two ids; words follow
TOKEN = re.compile(r"\w+|[^\w\s]")  # words, and each other sign alone


class TextRecipe(TypedDict):
    """What encodes texts as a training part's were."""

    lowercase: bool
    vocabulary: list[str]
    column: str | None


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts, one for each example, before their vocabulary is known."""

    texts: Sequence[str]
    lowercase: bool = True  # whether words in capitals are the same words
    min_count: int = 1  # words that occur less often in the training part are unknown
    column: str | None = None  # the column that they are from, if they came from a table

    kind = "text"

    def __len__(self) -> int:
        return len(self.texts)

    def index_select(self, rows: torch.Tensor) -> Texts:
        """Return the texts at these positions: int64 `[M]`."""
        return replace(self, texts=[self.texts[row] for row in rows.tolist()])

    def joined(self, other: Texts) -> Texts:
        """Return the texts of both."""
        return replace(self, texts=[*self.texts, *other.texts])

    def digest(self) -> str:
        """Return the sha256 over the texts and how they are read."""
        content = json.dumps([self.lowercase, self.min_count, list(self.texts)])
        return hashlib.sha256(content.encode()).hexdigest()

    def fitted(self) -> TextRecipe:
        """Return the vocabulary of these texts, the training part; can be written as JSON."""
        counts = Counter(token for text in self.texts for token in tokens(text, self.lowercase))
        words = [word for word, count in counts.items() if count >= self.min_count]
        words.sort(key=lambda word: (-counts[word], word))
        return {"lowercase": self.lowercase, "vocabulary": words, "column": self.column}

    def encoded(self, recipe: TextRecipe) -> Tokens:
        """Return sequences of ids, by a vocabulary."""
        ids = {word: 2 + place for place, word in enumerate(recipe["vocabulary"])}
        sequences = [
            [ids.get(token, UNKNOWN) for token in tokens(text, recipe["lowercase"])]
            for text in self.texts
        ]
        lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
        flat = torch.tensor([n for sequence in sequences for n in sequence], dtype=torch.int64)
        return Tokens(flat, lengths.cumsum(0) - lengths, lengths)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Sequences of ids, of different lengths."""

    ids: torch.Tensor  # all of them, one after the other: int64 `[T]`
    starts: torch.Tensor  # where each sequence begins: int64 `[N]`
    lengths: torch.Tensor  # how long it is: int64 `[N]`

    def __len__(self) -> int:
        return len(self.starts)

    def index_select(self, rows: torch.Tensor) -> Tokens:
        """Return the sequences at these positions: int64 `[M]`."""
        starts, lengths = (n.index_select(0, rows) for n in (self.starts, self.lengths))
        return replace(self, starts=starts, lengths=lengths)

    def padded(self) -> torch.Tensor:
        """Return one batch of all sequences, filled up to the longest: int64 `[N, longest]`."""
        places = torch.arange(int(self.lengths.max()))
        inside = places < self.lengths[:, None]
        batch = torch.full(inside.shape, PADDING)
        batch[inside] = self.ids[(self.starts[:, None] + places)[inside]]
        return batch


def tokens(text: str, lowercase: bool) -> list[str]:
    """Return the words and signs of a text."""
    return TOKEN.findall(text.lower() if lowercase else text)


def checked(texts: Texts, where: str) -> Texts:
    """Return the texts if each has a token; raise RequestError naming those that have none."""
    bare = [row for row, text in enumerate(texts.texts) if not TOKEN.search(text)]
    if bare:
        rows = first_few([str(row) for row in bare])
        raise bad_data(
            f"{where}: texts without any word: example {rows} (counted from 0).", "Drop them."
        )
    return texts


def text(
    path: str,
    text: str | None = None,
    label: str | None = None,
    lowercase: bool = True,
    min_count: Annotated[int, Field(ge=1)] = 1,
) -> tuple[Texts, Array]:
    """Read a CSV or TSV file with a header, a column of texts and one of labels.

    Args:
        path: The file; ``.tsv`` and ``.tab`` are separated by tabs, all others by commas.
        text: The column of texts; without it the first of two.
        label: The column of labels; without it the second of two.
        lowercase: Whether words in capitals are the same words.
        min_count: Words that occur less often in the training part are unknown.

    Raises:
        RequestError: If it cannot be read, or it is not clear which columns are meant.
    """
    frame = read_frame(path, dtype=str, keep_default_na=False).fillna("")
    if frame.empty:
        raise bad_data(f"{shown(path)}: has no rows.")
    names = [str(name) for name in frame.columns]
    if text is None or label is None:
        if len(names) != 2:
            raise bad_data(
                f"{shown(path)}: has the columns {shown(', '.join(names), 200)}; which are meant?",
                "Give data.text=COLUMN and data.label=COLUMN.",
            )
        others = [name for name in names if name not in (text, label)]
        text = text or others.pop(0)
        label = label or others.pop(0)
    check_columns(frame, [text, label], path)
    texts, labels = frame[text].tolist(), frame[label].tolist()
    unlabelled = sum(not label.strip() for label in labels)
    if unlabelled:
        raise bad_data(
            f"{shown(path)}: empty cells of the label: {unlabelled}.",
            "Fill them, or take their rows out.",
        )
    # A quotation mark that is not closed makes one text of several lines.
    lines = next((text for text in texts if "\t" in text and "\n" in text), None)
    if lines is not None and path.lower().endswith((".tsv", ".tab")):
        raise bad_data(
            f"{shown(path)}: a quotation mark at the beginning of a cell is not closed in its "
            f"line: {shown(repr(lines), 60)}.",
            "Double it and put the cell in quotes, or take it out.",
        )
    return checked(Texts(texts, lowercase, min_count, text), shown(path)), np.array(labels)
