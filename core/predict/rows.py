"""New rows of numbers and words: of files, typed, or of a JSON document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from paribus.core.data.standardize import standardized
from paribus.core.data.tables import Table
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.predict.cells import (
    Cells,
    notes_on_new_words,
    refuse_missing,
    refuse_unusable,
    words_array,
)
from paribus.core.predict.given import STANDARD_INPUT, Given, New, in_memory
from paribus.core.predict.recipe import Column, Recipe, columns_of
from paribus.core.predict.tables import read_table


def new_rows(recipe: Recipe, given: Given) -> New:
    """Rows, encoded and standardized as the training's were.

    Raises:
        RequestError: With all that cannot be used, and what was expected.
    """
    columns, _ = columns_of(recipe)
    faults = Faults()
    read: list[tuple[list[str], Cells]] = []
    if given.rows is not None:
        names = [f"{STANDARD_INPUT}:{number}" for number in range(1, len(given.rows) + 1)]
        read.append(_of_document(given.rows, names, recipe, faults))
    for word in given.words:
        typed = _typed(word)
        with faults.collecting():
            read.append(
                read_table(word, recipe, faults)
                if typed is None
                else _of_document([typed], [word], recipe, faults)
            )
    fill = "table" in recipe and recipe["table"]["fill"]
    for names, cells in read:
        refuse_unusable(cells, names, columns, fill, faults)
    faults.check()
    whole = {c["name"]: np.concatenate([cells[c["name"]] for _, cells in read]) for c in columns}
    inputs = Table(whole).encoded({"columns": columns}).reshape(-1, *recipe["input_shape"])
    scaled = standardized(inputs, recipe["standardize"])
    notes = [note for names, cells in read for note in notes_on_new_words(cells, names, columns)]
    return replace(in_memory([name for names, _ in read for name in names], scaled), notes=notes)


def _typed(word: str) -> list[float] | None:
    """A row of numbers that was typed with commas; None for a path."""
    try:
        return [float(cell) for cell in word.split(",")]
    except ValueError:
        return None


def _of_document(
    rows: Sequence[object], names: Sequence[str], recipe: Recipe, faults: Faults
) -> tuple[list[str], Cells]:
    """How each row that could be read is called, and their columns."""
    columns, _ = columns_of(recipe)
    kept: dict[str, list[Any]] = {}
    for name, row in zip(names, rows, strict=True):
        with faults.collecting():
            cells = zip(_cells_of(row, recipe, name), columns, strict=True)
            kept[name] = [_cell(cell, column, name) for cell, column in cells]
    made: Cells = {}
    for place, column in enumerate(columns):
        held = [row[place] for row in kept.values()]
        words = "categories" in column
        made[column["name"]] = words_array(held) if words else np.array(held, np.float64)
    return list(kept), made


def _cells_of(row: object, recipe: Recipe, name: str) -> list[Any]:
    """The cells of a row in the order of the columns.

    Raises:
        RequestError: If there are others than the training's.
    """
    columns, named = columns_of(recipe)
    if isinstance(row, Mapping):
        refuse_missing([str(key) for key in row], [c["name"] for c in columns], name)
        return [row[column["name"]] for column in columns]
    wanted = (len(columns),) if "table" in recipe else tuple(recipe["input_shape"])
    single = row if isinstance(row, list) else [row]
    try:
        array = np.array(single, dtype=object)
    except ValueError:  # lists of different lengths inside
        array = np.empty((0,))
    if array.shape not in (wanted, (len(columns),)):
        raise RequestError(
            f"{shown(name)} has shape {list(array.shape)}; expected shape {list(wanted)}.",
            "A row is a list of numbers" + (" and words, or an object by column." * named or "."),
            "shape",
        )
    cells: list[Any] = array.reshape(-1).tolist()
    return cells


def _cell(cell: object, column: Column, name: str) -> Any:
    """A number as float, a word as str, an empty cell as NaN or None."""
    words = "categories" in column
    if cell is None:
        return None if words else math.nan
    if words and isinstance(cell, str | bool | int | float):
        return str(cell)
    if not words and isinstance(cell, bool | int | float):
        try:
            return float(cell)
        except OverflowError:
            return math.inf
    raise RequestError(
        f"{shown(name)}, column '{shown(column['name'])}' holds {shown(repr(cell), 40)}, which is "
        f"no {'word' if words else 'number'}.",
        f"The run was trained with {'words' if words else 'numbers'} there.",
        "input",
    )
