"""Tables with columns of numbers and of words: encoded by what the training part holds."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
import torch
from typing_extensions import TypedDict  # typing's own is not accepted by pydantic before 3.12

from paribus.core.config.signatures import UNRECORDED
from paribus.core.data.arrays import NUMERIC, Array, float32, too_fine_columns
from paribus.core.errors import MISSING, Faults, RequestError, bad_data, did_you_mean, shown
from paribus.core.fileio import user_path

Missing = Literal["refuse", "mean", "drop"]
IN_MEMORY = 2**30  # bytes of float32 that words may become
_WHO = "id|uuid|guid|(?i:customer|client|patient|person|subject|user)"
_WITH_COMMAS = re.compile(r"[-+]?\d+(?:,\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+")
ID_NAME = re.compile(rf"(?:.*[\W_])?(?:{_WHO})|.*[a-z](?:ID|Id)", re.ASCII)


class Column(TypedDict):
    """A column of a table: of words if it has categories, else of numbers."""

    name: str
    categories: NotRequired[list[str]]
    mean: NotRequired[float | None]  # what empty cells are filled with; None: they are refused


class TableRecipe(TypedDict):
    """What encodes rows as a training part's were."""

    columns: list[Column]
    fill: bool


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of named columns, before anything is fitted."""

    columns: Mapping[str, Array]  # float64 `[N]` (NaN: empty), or words, object `[N]` (None: empty)
    fill: bool = False  # whether empty cells, else refused, get the mean, or none of the categories
    where: str = "data"  # where they came from, as messages say it
    wide: bool = False  # whether float32 cannot keep what a column varies by
    kept: tuple[str, ...] = ()  # columns that stay inputs where the split goes by them

    kind = "table"

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def index_select(self, rows: torch.Tensor) -> Table:
        """Return the rows at these positions: int64 `[M]`."""
        places = rows.numpy()
        return replace(self, columns={name: cells[places] for name, cells in self.columns.items()})

    def joined(self, other: Table) -> Table:
        """Return the rows of both, which have the same columns."""
        return replace(self, columns={
            name: np.concatenate([cells, other.columns[name]])
            for name, cells in self.columns.items()
        })  # fmt: skip

    def digest(self) -> str:
        """Return the sha256 over names and cells."""
        digest = hashlib.sha256(json.dumps(self.fill).encode())
        for name, cells in self.columns.items():
            words = cells.tolist() if cells.dtype.kind == "O" else cells.tobytes().hex()
            digest.update(json.dumps([name, words]).encode())
        return digest.hexdigest()

    def fitted(self) -> TableRecipe:
        """Return what encodes such tables as this one, the training part; can be written as JSON.

        Raises RequestError if a column has empty cells only, or columns have too many words.
        """
        words = {n: set(c.tolist()) for n, c in self.columns.items() if c.dtype.kind == "O"}
        # A column of names or addresses would fill the memory: each word is an input of its own.
        if words and 4 * len(self) * sum(map(len, words.values())) > IN_MEMORY:
            name = max(words, key=lambda name: len(words[name]))
            raise bad_data(
                f"{self.where}: column '{shown(name)}' has {len(words[name])} different words in "
                f"{len(self)} rows, each of which would be an input of its own: too many for "
                "memory.",
                "Take it out of the file.",
            )
        fitted: list[Column] = []
        for name, cells in self.columns.items():
            known = cells[~_empty(cells)]
            if not len(known):
                raise bad_data(
                    f"{self.where}: column '{shown(name)}' has no value in the training part, so "
                    "there is nothing to fill it with.",
                    "Take it out of the file, or fill it there.",
                )
            if name in words:
                fitted.append({"name": name, "categories": sorted(words[name] - {None})})
            else:
                fitted.append({"name": name, "mean": float(known.mean()) if self.fill else None})
        return {"columns": fitted, "fill": self.fill}

    def encoded(self, recipe: TableRecipe) -> torch.Tensor:
        """Return `[N, F]`: a number as it is, a word as one column for each category.

        Float64 where `wide`, else float32. A word that is none of the categories is 0 in all of
        these, as an empty cell is.
        """
        made: list[Array] = []
        for column in recipe["columns"]:
            cells = self.columns[column["name"]]
            if "categories" in column:
                made += [(cells == word).astype(np.float64) for word in column["categories"]]
            else:
                mean = column["mean"]
                made.append(cells if mean is None else np.where(np.isnan(cells), mean, cells))
        numbers = np.stack(made, 1)
        return torch.from_numpy(numbers) if self.wide else float32(numbers)

    def too_fine(self) -> list[str]:
        """Return the columns of numbers that float32 cannot keep."""
        numbers = {n: c[~np.isnan(c), None] for n, c in self.columns.items() if c.dtype.kind != "O"}
        return [name for name, c in numbers.items() if len(c) and too_fine_columns(c).any()]

    def new_words(self, recipe: TableRecipe) -> dict[str, list[str]]:
        """Return by column its words that are none of the categories, sorted."""
        words = {
            column["name"]: set(self.columns[column["name"]]) - {None, *column["categories"]}
            for column in recipe["columns"]
            if "categories" in column
        }
        return {name: sorted(new) for name, new in words.items() if new}


def table_of(frame: Any, where: str, *, fill: bool = False) -> Table:
    """Return a DataFrame's columns as numbers or words, where empty cells may be to `fill`.

    Raises:
        RequestError: If a column is neither, has another's name, or has empty cells that are not
            to be filled.
    """
    faults = Faults()
    columns: dict[str, Array] = {}
    names = [str(name) for name in frame.columns]
    twice = [f"'{shown(name)}'" for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise bad_data(
            f"{where}: several columns are called {', '.join(twice)}.",
            "Give each column a name of its own.",
        )
    for name, (_, series) in zip(names, frame.items(), strict=True):
        place = f"{where}: column '{shown(name)}'"
        if getattr(series.dtype, "kind", "O") in NUMERIC:
            columns[name] = numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
            infinite = numbers[torch.isinf(float32(numbers)).numpy()]
            if len(infinite):
                faults.add(
                    f"{place} holds numbers that are infinite as float32: {infinite[0]:g} "
                    f"({len(infinite)} in all).",
                    "Correct them, or scale the column.",
                    "data",
                )
            continue
        cells = [None if empty else c for c, empty in zip(series, series.isna(), strict=True)]
        odd = [cell for cell in cells if not isinstance(cell, str | bool | None)]
        if odd or not any(cell is not None for cell in cells):
            held = f"holds {shown(repr(odd[0]), 40)} ({series.dtype})" if odd else "is empty"
            faults.add(
                f"{place} {held}, which is neither a number nor a word.",
                "Drop it, or turn it into one of these.",
                "data",
            )
        columns[name] = words_array(cells)
    faults.check()
    counts = [f"'{shown(n)}' ({count})" for n, c in columns.items() if (count := _empty(c).sum())]
    if counts and not fill:
        raise bad_data(
            f"{where}: cells are empty in column {', '.join(counts)}; NA, None and the like count "
            "as empty.",
            "data.missing=mean fills them (numbers: the training part's mean), data.missing=drop "
            "leaves their rows out.",
        )
    return Table(columns, fill, where)


def words_array(cells: Iterable[object]) -> Array:
    """Return cells as words, object `[N]`; None, an empty cell, stays."""
    return np.array([None if cell is None else str(cell) for cell in cells], dtype=object)


def _empty(cells: Array) -> Array:
    """Return which cells are empty: bool `[N]`."""
    if cells.dtype.kind == "O":
        return np.array([cell is None for cell in cells], dtype=bool)
    return np.isnan(cells)


def table(
    path: str,
    target: str | list[str],
    missing: Missing = "refuse",
    leave_out: list[str] | None = None,
    keep: Annotated[list[str] | None, UNRECORDED] = None,
) -> tuple[Table, Any, dict[str, Any]]:
    """Read a CSV or TSV file with a header: columns of numbers and of words.

    Args:
        path: The file; ``.tsv`` and ``.tab`` are separated by tabs, all others by commas.
        target: The column to predict; several for several values or labels.
        missing: What happens to rows with empty cells.
        leave_out: Columns that are no inputs, such as ids; the split may go by them.
        keep: Columns that are inputs though the split goes by them.

    Returns:
        Inputs, targets, and by name the columns left out or kept, and ids.

    Raises:
        RequestError: If it cannot be read, or has no such column.
    """
    frame = read_frame(path)
    wanted = [target] if isinstance(target, str) else target
    left_out, kept = leave_out or [], keep or []
    check_columns(frame, [*wanted, *left_out, *kept], path)
    ids = [name for name in frame.columns if ID_NAME.fullmatch(str(name))]
    beside = frame[list(dict.fromkeys([*left_out, *kept, *ids]))]
    frame = frame.drop(columns=[name for name in left_out if name not in kept])
    check_decimals(frame, path)
    if missing == "drop":
        frame = frame.dropna()
    if frame.empty:
        left = " without empty cells" if missing == "drop" else ""
        raise bad_data(f"{shown(path)}: has no rows{left}.")
    features = frame.drop(columns=wanted)
    if not len(features.columns):
        raise bad_data(f"{shown(path)}: has no column besides the target.")
    targets = frame[wanted]
    empty = targets.isna().sum().sum()
    if empty:
        raise bad_data(
            f"{shown(path)}: empty cells of the target: {empty}.",
            "data.missing=drop leaves their rows out.",
        )
    chosen = targets.iloc[:, 0].to_numpy() if isinstance(target, str) else targets
    table = table_of(features, shown(path), fill=missing == "mean")
    columns = {str(name): cells.to_numpy() for name, cells in beside.loc[frame.index].items()}
    return replace(table, kept=tuple(kept)), chosen, columns


def read_frame(path: str, **options: Any) -> Any:
    """Read a CSV or TSV file as a DataFrame; raise RequestError if it is no file, or no table."""
    import pandas
    from pandas.errors import ParserWarning

    file = user_path(path)
    if not file.is_file():
        raise RequestError(
            f"There is no file {shown(path)} (looked for {shown(file.absolute(), 200)}).",
            "Give data.path=FILE, a CSV or TSV file with a header.",
            MISSING,
        )
    options = {"low_memory": False, **options}  # else a column's type could change on the way
    separator = "\t" if file.suffix.lower() in (".tsv", ".tab") else ","
    try:
        with warnings.catch_warnings():  # else it would drop what the header has no name for
            warnings.simplefilter("error", ParserWarning)
            if options.get("header", 0) is not None:  # else pandas would rename the second
                form = {"sep": separator, "header": None, "nrows": 1, "dtype": str}
                check_header(pandas.read_csv(file, **form).iloc[0].dropna(), path)
            return pandas.read_csv(file, sep=separator, index_col=False, **options)
    except ParserWarning as error:
        raise bad_data(
            f"{shown(path)}: the header has fewer names than lines have cells.",
            "Name each column in the header; put text that has commas in quotes.",
        ) from error
    except (ValueError, OSError) as error:  # pandas' errors are ValueErrors
        raise unreadable(file, path, error) from error


def unreadable(file: Path, path: str, error: Exception) -> RequestError:
    """Return the refusal of a file that cannot be read as text."""
    start, codec = b"", "LATIN1"
    with suppress(OSError), file.open("rb") as opened:
        start = opened.read(4096)
    if start.startswith(b"PAR1"):
        return bad_data(
            f"{shown(path)}: is a Parquet file.", "data=datasets:FILE data.target=COLUMN reads it."
        )
    if isinstance(error, UnicodeError) or b"\0" in start:
        codec = "UTF-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else codec
        return bad_data(
            f"{shown(path)}: is no UTF-8 text.",
            f"Save it as UTF-8, such as by: iconv -f {codec} -t UTF-8 FILE > NEW",
        )
    if not start.strip():
        return bad_data(f"{shown(path)}: is empty.", "It has to be a table with a header.")
    return bad_data(
        f"{shown(path)}: cannot be read as a table: {shown(str(error).strip(), 200)}.",
        "It has to be text (UTF-8) with a header and the same number of cells in each line.",
    )


def check_decimals(frame: Any, path: str) -> None:
    """Refuse columns of numbers with decimal commas, which would be words.

    Raises:
        RequestError: With the columns.
    """
    faults = Faults()
    for name, cells in frame.items():
        words = cells.dropna().astype(str)
        if (
            cells.dtype.kind in NUMERIC
            or not len(words)
            or not _WITH_COMMAS.fullmatch(words.iloc[0])
        ):
            continue
        commas = words[words.str.contains(",", regex=False)]
        numbers = words.str.fullmatch(_WITH_COMMAS).all()
        if numbers and 2 * len(commas) > len(words) and not commas.str.fullmatch(_THOUSANDS).all():
            faults.add(
                f"{shown(path)}: column '{shown(name)}' has decimal commas, such as "
                f"'{shown(commas.iloc[0])}'.",
                f"Write {shown(commas.iloc[0].replace(',', '.'))}.",
                "data",
            )
    faults.check()


def check_header(names: Iterable[str], path: str) -> None:
    """Refuse a header with a name that several columns have.

    Raises:
        RequestError: With the names.
    """
    counts = Counter(names)
    twice = [
        f"'{shown(name)}' {'twice' if count == 2 else f'{count} times'}"
        for name, count in counts.items()
        if count > 1
    ]
    if twice:
        raise bad_data(
            f"{shown(path)}: the header has {', '.join(twice)}.",
            "Give each column a name of its own.",
        )


def check_columns(frame: Any, wanted: Sequence[str], path: str) -> None:
    """Refuse names that a table does not have, with the nearest, or all."""
    faults = Faults()
    there = [str(name) for name in frame.columns]
    for name in wanted:
        if name not in there:
            faults.add(
                f"{shown(path)}: has no column '{shown(name)}'; it has "
                f"{shown(', '.join(there), 200)}.",
                did_you_mean(name, there) if len(there) < 30 else "",
                "data",
            )
    faults.check()
