"""The columns of new rows, held to those of the training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from paribus.core.data.arrays import Array, float32, standardized
from paribus.core.data.images import SUFFIXES
from paribus.core.data.tables import Table, is_new, read_frame
from paribus.core.errors import Faults, RequestError, nearest, shown
from paribus.core.inference.preprocessing import (
    STANDARD_INPUT,
    Column,
    Given,
    New,
    Recipe,
    columns_of,
    existing,
    expected,
    in_memory,
)

# By column: numbers, float64 `[N]` (NaN: empty), or words, object `[N]` (None: empty).
Cells = dict[str, Array]


def words_array(words: Iterable[object]) -> Array:
    """Words as an object array `[N]`."""
    held = list(words)
    array = np.empty(len(held), dtype=object)
    array[:] = held
    return array


def refuse_missing(there: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuses rows that lack columns.

    Raises:
        RequestError: Naming them, and what may be meant by them.
    """
    lacking = [name for name in wanted if name not in there]
    if not lacking:
        return
    spare = [name for name in there if name not in wanted]
    close = {name: nearest(name, spare) for name in lacking[:5]}
    told = ", ".join(
        f"'{shown(name)}'" + (f" (is it '{shown(like)}'?)" if like else "")
        for name, like in close.items()
    )
    more = f" and {len(lacking) - 5} more" if lacking[5:] else ""
    raise RequestError(
        f"{shown(where, 200)}: lacks {len(lacking)} of the {len(wanted)} columns that the run was "
        f"trained with: {told}{more}; it has {shown(', '.join(there), 200)}.",
        "Further columns, such as the target, are ignored.",
        "missing-column",
    )


def refuse_unusable(
    cells: Cells, names: Sequence[str], columns: Sequence[Column], fill: bool, faults: Faults
) -> None:
    """Adds a fault for each column with cells that are empty or too large.

    Args:
        cells: The columns that could be read.
        names: How each row is called.
        columns: The training's.
        fill: Whether it filled empty cells.
        faults: Takes them.
    """
    for column in columns:
        held = cells.get(column["name"])
        if held is None:
            continue
        for bad, what, hint in _objections(held, column, fill):
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                place = f"{shown(names[row], 200)}, column '{shown(column['name'])}'"
                faults.add(f"{place} {what}{and_more(int(bad.sum()))}.", hint, "input")


def _objections(held: Array, column: Column, fill: bool) -> Iterator[tuple[Array, str, str]]:
    """Cells that cannot be used, what is said of the first, and the remedy."""
    if "categories" in column:
        empty, filled = np.array([cell is None for cell in held], bool), fill
    else:
        empty, filled = np.isnan(held), column.get("mean") is not None
        yield np.isinf(float32(held).numpy()), "is not finite as float32", "Leave the row out."
    if not filled:
        yield empty, "is empty", "Fill it: the training data had no empty cells."


def notes_on_new_words(
    cells: Cells, names: Sequence[str], columns: Sequence[Column]
) -> Iterator[str]:
    """A note on each column with words that the training part did not have.

    They are read as none of its categories, as they are in validation and test.

    Args:
        cells: The columns.
        names: How each row is called.
        columns: The training's.
    """
    for column in columns:
        if "categories" not in column:
            continue
        held, known = cells[column["name"]], column["categories"]
        new = np.flatnonzero(is_new(held, known))
        if len(new):
            yield (
                f"{shown(names[new[0]], 200)}, column '{shown(column['name'])}' holds "
                f"{shown(repr(held[new[0]]), 40)}{and_more(len(new))}: it counts as none of the "
                f"training part's words {shown(', '.join(known), 160)}."
            )


def and_more(count: int) -> str:
    """How many rows besides the first have the same fault."""
    return f" (and in {count - 1} more rows)" if count > 1 else ""


# New rows of CSV and TSV files.


_BOOLEANS = {"True", "False"}


def read_table(word: str, recipe: Recipe, faults: Faults) -> tuple[list[str], Cells]:
    """How each row of a file is called, and the columns that could be read.

    Raises:
        RequestError: If it is no table, or its columns are not the training's.
    """
    path = existing(word)
    if path is None or path.is_dir() or path.suffix.lower() in SUFFIXES:
        what = "there is no such file" if path is None else "is no table"
        raise RequestError(f"{shown(word, 200)}: {what}.", f"Give {expected(recipe)}.", "input")
    columns, named = columns_of(recipe)
    frame = _named_frame(path, recipe, columns) if named else _plain_frame(path, columns)
    if frame.empty:
        raise RequestError(f"{shown(word, 200)}: has no rows.", kind="input")
    cells: Cells = {}
    for column in columns:
        series = frame[column["name"]]
        with faults.collecting():
            cells[column["name"]] = (
                _words(series) if "categories" in column else _numbers(series, word)
            )
    return [f"{word}:{row}" for row in range(1, len(frame) + 1)], cells


def _named_frame(path: Path, recipe: Recipe, columns: Sequence[Column]) -> Any:
    """A file with a header; a table is read as `data.tables.table` reads the training's."""
    words = {c["name"]: str for c in columns if not _BOOLEANS.issuperset(c.get("categories", ()))}
    exact = {} if "table" in recipe else {"float_precision": "round_trip"}
    frame = read_frame(str(path), dtype=words, **exact)
    refuse_missing([str(n) for n in frame.columns], [c["name"] for c in columns], str(path))
    return frame


def _plain_frame(path: Path, columns: Sequence[Column]) -> Any:
    """A file of as many numbers on each line as there are columns, with a header or without."""
    first = read_frame(str(path), header=None, nrows=1, dtype=str).iloc[0].tolist()
    if len(first) != len(columns):
        raise RequestError(
            f"{shown(path, 200)}: has {len(first)} columns; expected {len(columns)}, one for each "
            "number of an input.",
            "Take away what is not an input.",
            "shape",
        )
    if len(first) > 1 and first == [str(place) for place in range(len(first))]:
        raise RequestError(
            f"{shown(path, 200)}: its first line, {shown(', '.join(first))}, may be a header as "
            "well as a row.",
            "Take it away, or put a header of words above it.",
            "input",
        )
    words = [cell for cell in first if not _is_number(cell)]
    if 0 < len(words) < len(first):
        raise RequestError(
            f"{shown(path, 200)}:1: {shown(repr(words[0]), 40)} is no number.",
            "The first line is a header of words, or a row of numbers.",
            "input",
        )
    header = 0 if words else None
    frame = read_frame(str(path), header=header, float_precision="round_trip")
    frame.columns = [column["name"] for column in columns]
    return frame


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _words(series: Any) -> Array:
    empty = series.isna()
    return words_array(None if e else str(cell) for cell, e in zip(series, empty, strict=True))


def _numbers(series: Any, path: str) -> Array:
    """A column as float64 `[N]`, NaN where it is empty.

    Raises:
        RequestError: If one is no number.
    """
    import pandas

    numbers = pandas.to_numeric(series, errors="coerce")
    odd = np.flatnonzero((numbers.isna() & series.notna()).to_numpy())
    if len(odd):
        raise RequestError(
            f"{shown(path, 200)}:{odd[0] + 1}, column '{shown(series.name)}' holds "
            f"{shown(repr(series.iloc[odd[0]]), 40)}, which is no number{and_more(len(odd))}.",
            "The run was trained with numbers there.",
            "input",
        )
    found: Array = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return found


# New rows of numbers and words: of files, typed, or of a JSON document.


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
