"""New rows of CSV and TSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paribus.core.data.arrays import Array
from paribus.core.data.images import SUFFIXES
from paribus.core.data.tables import read_frame
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.predict.cells import Cells, and_more, refuse_missing, words_array
from paribus.core.predict.given import existing
from paribus.core.predict.recipe import Column, Recipe, columns_of, expected

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
