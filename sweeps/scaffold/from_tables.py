"""The problem that a CSV or TSV file poses: a table, or texts with labels."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas

from paribus.core.data.tables import check_columns, read_frame
from paribus.core.errors import RequestError, shown
from paribus.sweeps.scaffold.guess import Constant, Problem, counted, guess_task

FEWEST_ROWS = 10  # in fewer any column may differ in each
NAMED = 5  # columns that a note or a message names
WORDS_OF_TEXT = 3


def file_problem(path: Path, target: str | None, missing: str | None) -> Problem:
    """The problem that a file with a header poses.

    Args:
        path: Of the file.
        target: The column to predict; of two columns, one of which holds texts, the other.
        missing: What happens to empty cells: ``mean`` or ``drop``; None: they are refused.

    Raises:
        RequestError: If it is not clear what to predict, or nothing can be learned from it.
    """
    frame = read_frame(str(path))
    names = [str(name) for name in frame.columns]
    frame.columns = pandas.Index(names)
    name = shown(path.name)
    if frame.empty:
        raise RequestError(f"{name}: has no rows.", "Give a table with rows.", "data")
    if len(names) < 2:
        raise RequestError(
            f"{name}: has a single column, '{shown(names[0])}': nothing to predict it from.",
            "Cells are parted by commas, in a .tsv file by tabs.",
            "data",
        )
    if target is not None:
        check_columns(frame, [target], path.name)
    text = _text_column(frame)
    if text is not None and text != target:
        return _of_texts(path, text, names[text == names[0]], missing)
    if target is None:
        raise RequestError(
            f"{name}: which column is to be predicted? It has {shown(', '.join(names), 200)}.",
            f"Add --target COLUMN, such as --target {shlex.quote(shown(names[-1], 40))}.",
            "data",
        )
    return _of_table(path, _without_empty(frame, path, target, missing), target, missing)


# ------------------------------------------------------------------------ tables


def _without_empty(
    frame: pandas.DataFrame, path: Path, target: str, missing: str | None
) -> pandas.DataFrame:
    """The rows that the experiment will have."""
    name = shown(path.name)
    empty = {str(column): int(count) for column, count in frame.isna().sum().items() if count}
    hollow = [column for column, count in empty.items() if count == len(frame)]
    if hollow:
        raise RequestError(
            f"{name}: every cell is empty in column {_listed(hollow)}.",
            "Take it out of the file.",
            "data",
        )
    if (empty and missing is None) or (target in empty and missing == "mean"):
        told = ", ".join(f"'{shown(column, 40)}' ({count})" for column, count in empty.items())
        mean = "data.missing=mean to fill them (numbers: the training part's mean), or "
        raise RequestError(
            f"{name}: cells are empty in column {shown(told, 400)}; NA, None and the like are too.",
            f"Add {'' if target in empty else mean}data.missing=drop to leave their rows out.",
            "data",
        )
    whole = frame.dropna() if missing == "drop" else frame
    if whole.empty:
        raise RequestError(f"{name}: every row has an empty cell.", "Fill some.", "data")
    return whole


def _of_table(path: Path, frame: pandas.DataFrame, target: str, missing: str | None) -> Problem:
    features = frame.drop(columns=target)
    guess = guess_task(frame[target], f"the column '{shown(target, 40)}'")
    constants = {"path": Constant("DATA", path), "target": Constant("TARGET", target)}
    if missing is not None:
        constants["missing"] = Constant("MISSING", missing)
    numbers = sum(_is_number(features[name]) for name in features.columns)
    kinds = {"of numbers": numbers, "of words": len(features.columns) - numbers}
    columns = [f"{counted(count, 'column')} {kind}" for kind, count in kinds.items() if count]
    # A layer of weights reaches values of any size; a network that begins near 0 does not.
    far = guess.task == "regression" and not 0.1 <= guess.size <= 10
    return Problem(
        guess=guess,
        question=f"What helps to predict '{shown(target, 30)}' in {shown(path.name, 30)}?",
        facts=f"{counted(len(frame), 'row')}; {' and '.join(columns)} besides the target.",
        data="table",
        constants=constants,
        model="linear" if far else "mlp",
        examples=len(frame),
        notes=_useless(features),
    )


def _is_number(cells: pandas.Series) -> bool:
    return cells.dtype.kind in "iuf"


def _useless(features: pandas.DataFrame) -> tuple[str, ...]:
    """Notes on columns from which nothing can be learned."""
    rows = len(features)
    values = {str(name): features[name].nunique(dropna=False) for name in features.columns}
    constant = [name for name, count in values.items() if count == 1]
    odd = {str(n): cells for n in features if len(cells := _cells_in_the_way(features[n]))}
    each = [
        name
        for name, count in values.items()
        if count == rows and name not in odd and _is_id(features[name])
    ]
    notes = [
        f"Read as words, as it is not all numbers: column '{shown(name, 40)}' "
        f"({len(cells)} of {rows} cells, such as '{shown(cells[0], 20)}'). Mend them, or leave "
        "them empty."
        for name, cells in odd.items()
    ]
    if each and rows >= FEWEST_ROWS:
        notes.append(
            f"Another value in every row, as an id or a date has: column {_listed(each)}. It can "
            "only be learned by heart; take it out of the file."
        )
    if constant and rows > 1:
        notes.append(f"The same value in every row: column {_listed(constant)}. It says nothing.")
    return tuple(notes)


def _cells_in_the_way(cells: pandas.Series) -> list[str]:
    """What keeps a column of words, most of which are numbers, from being one of numbers."""
    import pandas

    if _is_number(cells):
        return []
    # Also with a comma for the point, or between the thousands.
    texts = cells.astype(str).str
    plain = [texts.replace(",", other, regex=False) for other in (".", "")]
    numbers = pandas.concat(
        [pandas.to_numeric(text, errors="coerce").notna() for text in plain], axis=1
    ).any(axis=1)
    commas = cells.astype(str).str.contains(",", regex=False)
    return list(map(str, cells[~numbers | commas])) if numbers.mean() > 0.5 else []


def _is_id(cells: pandas.Series) -> bool:
    """Measured numbers differ from row to row too; words and numbers that count seldom do."""
    if not _is_number(cells):
        return True
    whole = bool((cells == np.round(cells)).all())
    return whole and bool(cells.is_monotonic_increasing or np.ptp(cells) < 2 * len(cells))


# ------------------------------------------------------------------------- texts


def _text_column(frame: pandas.DataFrame) -> str | None:
    """The column of texts of a table with two columns: at least half of its cells are sentences."""
    if len(frame.columns) != 2:
        return None
    long = [name for name in frame.columns if _share_of_texts(frame[name]) >= 0.5]
    return str(long[0]) if len(long) == 1 else None


def _share_of_texts(cells: pandas.Series) -> float:
    words = [len(cell.split()) if isinstance(cell, str) else 0 for cell in cells]
    return float(np.mean([count >= WORDS_OF_TEXT for count in words]))


def _of_texts(path: Path, text: str, label: str, missing: str | None) -> Problem:
    # As the data function reads them: a label is a word, whatever it looks like.
    frame = read_frame(str(path), dtype=str, keep_default_na=False)
    frame.columns = frame.columns.map(str)
    counts = {c: int((frame[c].str.strip() == "").sum()) for c in (text, label)}
    empty = [f"'{shown(column, 40)}' ({count})" for column, count in counts.items() if count]
    if empty or missing is not None:
        found = f"cells are empty in column {', '.join(empty)}" if empty else "none is empty"
        raise RequestError(
            f"{shown(path.name)}: texts have no mean; {found}.",
            "Take these rows out of the file." if empty else "Leave data.missing out.",
            "data",
        )
    return Problem(
        guess=guess_task(frame[label], f"the column '{shown(label, 40)}'"),
        question=f"What helps to tell '{shown(label, 30)}' from the texts in "
        f"{shown(path.name, 30)}?",
        facts=f"{counted(len(frame), 'text')}.",
        data="text",
        constants={
            "path": Constant("DATA", path),
            "text": Constant("TEXT", text),
            "label": Constant("LABEL", label),
        },
        model="text_bag",
        examples=len(frame),
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"'{shown(name, 40)}'" for name in names[:NAMED]) + more
