"""What a record says of how inputs were treated: the preprocessing, read and described."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

import torch
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from paribus.core.data.loader import Inputs, Part
from paribus.core.errors import DamagedError, Faults, shown

Scaling = dict[str, list[float]]  # `standardize.fitted`


class Column(TypedDict):
    """A column of a table: of words if it has categories, else of numbers."""

    name: str
    categories: NotRequired[list[str]]
    mean: NotRequired[float | None]


class TableRecipe(TypedDict):
    """`Table.fitted`."""

    columns: list[Column]
    fill: bool


class TextRecipe(TypedDict):
    """`Texts.fitted`."""

    lowercase: bool
    vocabulary: list[str]
    column: str | None


class ImageRecipe(TypedDict):
    """`Images.decoding`."""

    channels: Literal[1, 3]
    size: tuple[int, int]
    resize: bool


class Recipe(TypedDict):
    """`Data.preprocessing`."""

    table: NotRequired[TableRecipe]
    text: NotRequired[TextRecipe]
    image: NotRequired[ImageRecipe]
    standardize: Scaling | None
    class_names: list[str] | None
    columns: list[str] | None
    input_shape: list[int]


def read_recipe(preprocessing: Any, run: str) -> Recipe:
    """The preprocessing of a record.

    Raises:
        DamagedError: If it is something else.
    """
    try:
        return TypeAdapter(Recipe).validate_python(preprocessing)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedError(
            f"{run}: its record does not say how new data are to be treated: "
            f"data.preprocessing.{shown(place)}: {shown(first['msg'])}.",
            "Train it again: paribus run.",
        ) from error


def columns_of(recipe: Recipe) -> tuple[list[Column], bool]:
    """The columns of a row, and whether they have names; without names they are counted from 1."""
    if "table" in recipe:
        return recipe["table"]["columns"], True
    names = recipe["columns"]
    named = names is not None and len(set(names)) == len(names)
    if names is None or not named:
        names = [str(place + 1) for place in range(math.prod(recipe["input_shape"]))]
    return [{"name": name, "mean": None} for name in names], named


def expected(recipe: Recipe) -> str:
    """What may be given, in words."""
    if "image" in recipe:
        return "images by path, or folders of them"
    if "text" in recipe:
        return "texts, .txt files with a text on each line, .csv or .tsv files, or - for lines"
    columns, named = columns_of(recipe)
    if named:
        names = shown(", ".join(column["name"] for column in columns), 200)
        return f"CSV or TSV files with the columns {names}"
    shape = recipe["input_shape"]
    as_shape = f", an input of shape {shape}" if len(shape) > 1 else ""
    count = "one number" if len(columns) == 1 else f"{len(columns)} numbers"
    return f"CSV or TSV files with {count} on each line{as_shape}, or numbers with commas between"


# What a person gives to be predicted, and what becomes of it.


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
