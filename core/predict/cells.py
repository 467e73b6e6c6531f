"""The columns of new rows, held to those of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from paribus.core.data.arrays import Array, float32
from paribus.core.data.tables import is_new
from paribus.core.errors import Faults, RequestError, nearest, shown
from paribus.core.predict.recipe import Column

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
