"""New rows of numbers and words: of files, typed, or of a JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paribus.core.data.arrays import NUMERIC, Array, float32, standardized
from paribus.core.data.images import SUFFIXES
from paribus.core.data.tables import Table, is_new, read_frame, words_array
from paribus.core.errors import Faults, RequestError, nearest, shown
from paribus.core.inference.new_inputs import (
    STANDARD_INPUT,
    Column,
    Given,
    New,
    Recipe,
    columns_of,
    existing,
    expected,
)

if TYPE_CHECKING:
    import pandas

_BOOLEANS = {"True", "False"}


def new_rows(recipe: Recipe, given: Given) -> New:
    """Read rows, encoded and standardized as the training's were.

    Raises:
        RequestError: With all that cannot be used, and what was expected.
    """
    columns, _ = columns_of(recipe)
    fill = "table" in recipe and recipe["table"]["fill"]
    faults = Faults()
    frames: list[pandas.DataFrame] = []  # the index says how each row is called
    if given.rows is not None:
        document = [(f"{STANDARD_INPUT}:{n}", row) for n, row in enumerate(given.rows, 1)]
        frames.append(_of_values(document, recipe, faults))
    for word in given.words:
        with faults.collecting():
            try:
                typed = [float(cell) for cell in word.split(",")]
            except ValueError:
                frames.append(_of_file(word, recipe))
            else:
                frames.append(_of_values([(word, typed)], recipe, faults))
    read = [{c["name"]: _cells(f[c["name"]], c, fill, faults) for c in columns} for f in frames]
    faults.check()
    cells = {c["name"]: np.concatenate([some[c["name"]] for some in read]) for c in columns}
    names = [name for frame in frames for name in frame.index]
    inputs = Table(cells).encoded({"columns": columns}).reshape(-1, *recipe["input_shape"])
    scaled = standardized(inputs, recipe["standardize"])
    return New.in_memory(names, scaled, list(_notes_on_new_words(cells, names, columns)))


def _cells(cells: pandas.Series, column: Column, fill: bool, faults: Faults) -> Array:
    """Return a column as float64 `[N]` (NaN: empty), or as words, object `[N]` (None: empty).

    Args:
        cells: Numbers of any type, or Python's own values.
        column: The training's.
        fill: Whether empty words are filled.
        faults: Takes one for each kind of cell that cannot be used, with the first of them.
    """
    words = "categories" in column
    empty = cells.isna().to_numpy()
    odd = infinite = np.zeros(len(cells), dtype=bool)
    if words or getattr(cells.dtype, "kind", "O") not in NUMERIC:
        kinds = (str, bool, int, float) if words else (bool, int, float)
        odd = np.array([not isinstance(c, kinds) for c in cells], bool) & ~empty
        usable = [None if bad else c for c, bad in zip(cells, odd | empty, strict=True)]
        held = words_array(usable) if words else np.array([_float(c) for c in usable], np.float64)
    else:
        held = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    if not words:
        infinite = np.isinf(float32(held).numpy())
    filled = fill if words else column.get("mean") is not None
    kind = "word" if words else "number"
    for bad, what, hint in (
        (odd, "holds {}, which is no " + kind, f"The run was trained with {kind}s there."),
        (infinite, "is not finite as float32", "Leave the row out."),
        (empty & (not filled), "is empty", "Fill it: the training data had no empty cells."),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            place = f"{shown(cells.index[row], 200)}, column '{shown(column['name'])}'"
            what = what.format(shown(repr(cells.iloc[row]), 40))
            faults.add(f"{place} {what}{_and_more(int(bad.sum()))}.", hint, "input")
    return held


def _float(cell: Any) -> float:
    try:
        return math.nan if cell is None else float(cell)
    except OverflowError:
        return math.inf


def _notes_on_new_words(
    cells: Mapping[str, Array], names: Sequence[str], columns: Sequence[Column]
) -> Iterator[str]:
    """Yield a note on each column with words that the training part did not have.

    They are read as none of its categories, as they are in validation and test.
    """
    for column in columns:
        if "categories" not in column:
            continue
        held, known = cells[column["name"]], column["categories"]
        new = np.flatnonzero(is_new(held, known))
        if len(new):
            yield (
                f"{shown(names[new[0]], 200)}, column '{shown(column['name'])}' holds "
                f"{shown(repr(held[new[0]]), 40)}{_and_more(len(new))}: it counts as none of the "
                f"training part's words {shown(', '.join(known), 160)}."
            )


def _and_more(count: int) -> str:
    """Return how many rows besides the first have the same fault."""
    return f" (and in {count - 1} more rows)" if count > 1 else ""


def _of_file(word: str, recipe: Recipe) -> pandas.DataFrame:
    """Read a file's rows, in columns as the training's.

    Raises:
        RequestError: If it is no table, or its columns are not the training's.
    """
    import pandas

    path = existing(word)
    if path is None or path.is_dir() or path.suffix.lower() in SUFFIXES:
        what = "there is no such file" if path is None else "is no table"
        raise RequestError(f"{shown(word, 200)}: {what}.", f"Give {expected(recipe)}.", "input")
    columns, named = columns_of(recipe)
    names = [column["name"] for column in columns]
    if named:  # a table is read as `data.tables.table` reads the training's
        words = {
            c["name"]: str for c in columns if not _BOOLEANS.issuperset(c.get("categories", ()))
        }
        exact = {} if "table" in recipe else {"float_precision": "round_trip"}
        frame = read_frame(str(path), dtype=words, **exact)
        _refuse_missing([str(name) for name in frame.columns], names, str(path))
    else:
        header = _header(path, len(columns))
        frame = read_frame(str(path), header=header, float_precision="round_trip")
        frame.columns = names
    if frame.empty:
        raise RequestError(f"{shown(word, 200)}: has no rows.", kind="input")
    found = {}
    for column in columns:
        cells = found[column["name"]] = frame[column["name"]]
        if "categories" not in column:
            numbers = pandas.to_numeric(cells, errors="coerce")
            odd = numbers.isna() & cells.notna()
            found[column["name"]] = (
                numbers.astype(object).where(~odd, cells) if any(odd) else numbers
            )
    return pandas.DataFrame(found).set_axis([f"{word}:{row + 1}" for row in range(len(frame))])


def _header(path: Path, columns: int) -> int | None:
    """Return 0 if a file of so many numbers on each line has a header, else None.

    Raises:
        RequestError: If its first line is neither a header nor a row of them.
    """
    first = read_frame(str(path), header=None, nrows=1, dtype=str).iloc[0].tolist()
    if len(first) != columns:
        raise RequestError(
            f"{shown(path, 200)}: has {len(first)} columns; expected {columns}, one for each "
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
    words = []
    for cell in first:
        try:
            float(str(cell))
        except ValueError:
            words.append(cell)
    if 0 < len(words) < len(first):
        raise RequestError(
            f"{shown(path, 200)}:1: {shown(repr(words[0]), 40)} is no number.",
            "The first line is a header of words, or a row of numbers.",
            "input",
        )
    return 0 if words else None


def _of_values(
    rows: Sequence[tuple[str, object]], recipe: Recipe, faults: Faults
) -> pandas.DataFrame:
    """Return rows that were typed or stand in a document, with their names, as Python's values."""
    import pandas

    kept: list[tuple[str, list[Any]]] = []
    for name, row in rows:
        with faults.collecting():
            kept.append((name, _row(row, recipe, name)))
    names = [column["name"] for column in columns_of(recipe)[0]]
    return pandas.DataFrame(
        [cells for _, cells in kept], [name for name, _ in kept], names, dtype=object
    )


def _row(row: object, recipe: Recipe, name: str) -> list[Any]:
    """Return the cells of a row in the order of the columns.

    Raises:
        RequestError: If there are others than the training's.
    """
    columns, named = columns_of(recipe)
    if isinstance(row, Mapping):
        _refuse_missing([str(key) for key in row], [c["name"] for c in columns], name)
        return [row[column["name"]] for column in columns]
    wanted = (len(columns),) if "table" in recipe else tuple(recipe["input_shape"])
    try:
        array = np.array(row if isinstance(row, list) else [row], dtype=object)
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


def _refuse_missing(given: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse rows that lack columns.

    Raises:
        RequestError: Naming them, and what may be meant by them.
    """
    lacking = [name for name in wanted if name not in given]
    if not lacking:
        return
    spare = [name for name in given if name not in wanted]
    close = {name: nearest(name, spare) for name in lacking[:5]}
    named = ", ".join(
        f"'{shown(name)}'" + (f" (is it '{shown(like)}'?)" if like else "")
        for name, like in close.items()
    )
    more = f" and {len(lacking) - 5} more" if lacking[5:] else ""
    raise RequestError(
        f"{shown(where, 200)}: lacks {len(lacking)} of the {len(wanted)} columns that the run was "
        f"trained with: {named}{more}; it has {shown(', '.join(given), 200)}.",
        "Further columns, such as the target, are ignored.",
        "missing-column",
    )
