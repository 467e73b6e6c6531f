"""New inputs, read as the training data were, by the recipe that a record keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from paribus.core.data.arrays import NUMERIC, Array, Scaling, float32, standardized
from paribus.core.data.images import SUFFIXES, ImageRecipe, decode_alike, image_files
from paribus.core.data.load import Field
from paribus.core.data.loader import Fields, Inputs, Part
from paribus.core.data.prepare import Recipe
from paribus.core.data.tables import (
    Column,
    Table,
    check_columns,
    read_frame,
    unreadable,
    words_array,
)
from paribus.core.data.texts import UNKNOWN, TextRecipe, Texts
from paribus.core.errors import DamagedError, Faults, RequestError, first_few, nearest, shown
from paribus.core.fileio import existing
from paribus.core.sources.reads import refusing

if TYPE_CHECKING:
    import pandas


STANDARD_INPUT = "-"
TEXT_FILES = (".txt", ".csv", ".tsv", ".tab")
_FIELDS = "rows from Python, or as JSON on standard input, with all inputs of the training"


@dataclass(frozen=True)
class Given:
    """What a person gave to be predicted."""

    words: Sequence[str] = ()  # paths, texts or numbers, as they were typed
    lines: Sequence[str] = ()  # lines of standard input, if one of the words asks for them
    rows: Sequence[object] | None = None  # a JSON document's rows, instead of words

    def as_words(self, what: str, faults: Faults) -> list[str]:
        """Return the words, or the rows of the document, each of which has to be one."""
        if self.rows is None:
            return list(self.words)
        for number, row in enumerate(self.rows, 1):
            if not isinstance(row, str):
                faults.add(
                    f"{STANDARD_INPUT}:{number} is {shown(repr(row), 40)}; expected {what}.",
                    "The JSON document has to be a list of these.",
                )
        return [row for row in self.rows if isinstance(row, str)]


@dataclass(frozen=True, eq=False)
class New:
    """New inputs, treated as the training data were."""

    names: list[str]  # how each is called: a path, a text, ``file.csv:ROW`` counted from 1
    batches: Callable[[int], Iterator[torch.Tensor]]  # of a size, as the model takes them
    notes: Sequence[str] = ()  # what a person should know of them

    @classmethod
    def in_memory(cls, names: list[str], inputs: Inputs, notes: Sequence[str] = ()) -> New:
        """Return new inputs that were read already."""
        part = Part(inputs, torch.zeros(len(inputs)))  # their targets are not known
        return cls(names, lambda size: (batch for batch, _ in part.batches(size)), notes)


def read_recipe(preprocessing: Any, run: str) -> Recipe:
    """Return the preprocessing of a record, validated; raise DamagedError if it is none."""
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


def read_new(given: Given, recipe: Recipe, data: str) -> New:
    """Read what was given as the recipe of a record with this data function says.

    Raises:
        RequestError: There is nothing, or something that is not as the training data were.
    """
    read: Callable[[Given], New]
    if "image" in recipe:
        expected = "images by path, or folders of them"
        read = partial(_read_images, recipe["image"], recipe["standardize"])
    elif "fields" in recipe:
        expected, read = _FIELDS, partial(_read_fields, recipe["fields"])
    elif "text" in recipe:
        expected = "texts, .txt files with a text on each line, .csv or .tsv files, or - for lines"
        read = partial(_read_texts, recipe["text"])
    else:
        rows = RowReader(recipe, data)
        expected, read = rows.expected, rows.read
    new = read(given) if given.words or given.rows else None
    if new is None or not new.names:
        raise RequestError(
            "There is nothing to predict.",
            f"Give {expected}; or rows as JSON on standard input, with --json.",
        )
    return new


def _read_images(recipe: ImageRecipe, scaling: Scaling | None, given: Given) -> New:
    """Find image files, and those in folders; they are decoded when they are needed.

    Those that cannot be used are refused together, by ``batches``.
    """
    faults = Faults()
    paths: list[Path] = []
    for word in given.as_words("the path of an image", faults):
        path = existing(word)
        if path is None:
            faults.add(f"There is no file {shown(word, 200)}.", "Give images, or folders of them.")
            continue
        found = image_files(path) if path.is_dir() else [path]
        paths += found
        if not found:
            faults.add(f"{shown(word, 200)}: there is no image in this folder.")
    if not paths:
        faults.check()

    def batches(size: int) -> Iterator[torch.Tensor]:
        for start in range(0, len(paths), size):
            decoded = []
            for path in paths[start : start + size]:
                with faults.collecting():
                    decoded.append(decode_alike(path, **recipe))
            if not faults.found:
                yield standardized(torch.stack(decoded), scaling)
        faults.check()

    return New([str(path) for path in paths], batches)


def _read_texts(recipe: TextRecipe, given: Given) -> New:
    """Read texts as they were typed, and lines of files or of standard input."""
    faults = Faults()
    found: list[tuple[str, str]] = []  # how a text is called, and the text
    for word in given.as_words("a text", faults):
        with faults.collecting():
            typed = given.rows is not None
            found += [(word, word)] if typed else _texts(word, given.lines, recipe)
    tokens = Texts([text for _, text in found]).encoded(recipe)
    ids = torch.split(tokens.ids, tokens.lengths.tolist())
    for (name, text), sequence in zip(found, ids, strict=True):
        if not (sequence != UNKNOWN).any():
            words = "none of the words that the run was trained with"
            where = "" if name == text else f"{shown(name, 200)}: "
            faults.add(
                f"{where}'{shown(text)}' has {words if len(sequence) else 'no word'}.",
                f"It was trained with {shown(' '.join(recipe['vocabulary'][:8]), 100)} …",
            )
    faults.check()
    return New.in_memory([name for name, _ in found], tokens)


def _texts(word: str, lines: Sequence[str], recipe: TextRecipe) -> list[tuple[str, str]]:
    """Return the texts that a word stands for, with their names.

    It is a text, a file or `-` for the lines; what looks like a file's path has to be one.
    """
    path = existing(word)
    if word != STANDARD_INPUT:
        is_sentence = path is None and len(word.split()) > 1  # about a file
        if is_sentence or not word.lower().endswith(TEXT_FILES):
            return [(word, word)]
        if path is None:
            raise RequestError(
                f"There is no file {shown(word, 200)}.",
                f"Texts are read from files that end in {', '.join(TEXT_FILES)}; all else is a "
                "text.",
            )
        if path.suffix.lower() != ".txt":
            return _column_of_texts(path, recipe["column"])
        try:
            word, lines = str(path), path.read_text("utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise unreadable(path, str(path), error) from error
        except OSError as error:
            text = f"{shown(path, 200)}: cannot be read: {error.strerror}."
            raise RequestError(text) from error
    return [(f"{word}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _column_of_texts(path: Path, column: str | None) -> list[tuple[str, str]]:
    frame = read_frame(str(path), dtype=str, keep_default_na=False)
    names = [str(name) for name in frame.columns]
    column = column or (names[0] if len(names) == 1 else None)
    if column is None:
        raise RequestError(
            f"{shown(path, 200)}: has the columns {shown(', '.join(names), 200)}; expected "
            "one, of texts.",
            "Give a file with that column alone.",
        )
    check_columns(frame, [column], str(path))
    return [(f"{path}:{row}", text) for row, text in enumerate(frame[column].tolist(), 1)]


def _read_fields(fields: Sequence[Field], given: Given) -> New:
    """Read rows that have several tensors each: an object by name, or a list in their order."""
    rows: Any = given.rows
    if rows is None:
        raise RequestError("A model of several inputs reads no files.", f"Give {_FIELDS}.")
    tensors: dict[Any, torch.Tensor] = {}
    for name, shape, dtype in fields:
        with refusing(f"Input {name!r} is no {dtype} of shape {shape}", _FIELDS):
            found = torch.as_tensor(np.array([row[name] for row in rows]))
            tensors[name] = found.to(getattr(torch, dtype)).reshape(len(rows), *shape)
    inputs = Fields(tensors if isinstance(fields[0][0], str) else tuple(tensors.values()))
    return New.in_memory([f"{STANDARD_INPUT}:{n}" for n in range(1, len(rows) + 1)], inputs)


# Rows of numbers and words: of files, typed, or of a JSON document.


_BOOLEANS = {"True", "False"}


class RowReader:
    """Reads rows as a record's recipe, of a table or of numbers in memory, says.

    What a data function reads, and how, is its own: new inputs are what it returns.
    """

    def __init__(self, recipe: Recipe, data: str) -> None:
        self.recipe, self.data = recipe, data
        self.words = "table" in recipe  # columns may be of words, and cells empty
        self.whole = recipe.get("dtype") == "int64"
        self.fill = "table" in recipe and recipe["table"]["fill"]
        names = recipe["columns"]
        self.named = self.words or (names is not None and len(set(names)) == len(names))
        if names is None or not self.named:
            names = [str(place + 1) for place in range(math.prod(recipe["input_shape"]))]
        self.columns: list[Column] = [{"name": name, "mean": None} for name in names]
        if "table" in recipe:
            self.columns = recipe["table"]["columns"]
        self._names = [column["name"] for column in self.columns]

    @property
    def expected(self) -> str:
        """Return what may be given, in words."""
        if self.named:
            return f"CSV or TSV files with the columns {shown(', '.join(self._names), 200)}"
        shape, count = self.recipe["input_shape"], len(self.columns)
        numbers = "one number" if count == 1 else f"{count} numbers"
        return (
            f".npy files with an array of shape {shape} or [N, {str(shape)[1:]}, CSV or TSV files "
            f"with {numbers} on each line, or numbers with commas between"
        )

    def read(self, given: Given) -> New:
        """Return the rows, encoded and standardized as the training's were."""
        faults = Faults()
        frames: list[pandas.DataFrame] = []  # the index says how each row is called
        if given.rows is not None:
            document = [(f"{STANDARD_INPUT}:{n}", row) for n, row in enumerate(given.rows, 1)]
            frames.append(self._of_values(document, faults))
        for word in given.words:
            with faults.collecting():
                try:
                    numbers = [float(cell) for cell in word.split(",")]
                except ValueError:
                    frames.append(self._of_file(word))
                else:
                    frames.append(self._of_values([(word, numbers)], faults))
        read = [
            {c["name"]: self._cells(frame[c["name"]], c, faults) for c in self.columns}
            for frame in frames
        ]
        faults.check()
        cells = {name: np.concatenate([some[name] for some in read]) for name in self._names}
        names = [name for frame in frames for name in frame.index]
        notes = []
        for column in self.columns:
            held, known = cells[column["name"]], column.get("categories", ())
            usual = {None, *known}
            new = [row for row, cell in enumerate(held) if known and cell not in usual]
            if new:  # it is read as none of them, as such words are in validation and test
                notes.append(
                    f"{shown(names[new[0]], 200)}, column '{shown(column['name'])}' holds "
                    f"{shown(repr(held[new[0]]), 40)}{_and_more(len(new))}: it counts as none of "
                    f"the training part's words {shown(', '.join(known), 160)}."
                )
        table = Table(cells, wide="dtype" in self.recipe)
        inputs = table.encoded({"columns": self.columns, "fill": self.fill})
        if self.whole:
            inputs = inputs.long()
        inputs = inputs.reshape(-1, *self.recipe["input_shape"])
        return New.in_memory(names, standardized(inputs, self.recipe["standardize"]), notes)

    def _cells(self, cells: pandas.Series, column: Column, faults: Faults) -> Array:
        """Return a column as float64 `[N]` (NaN: empty), or words, object `[N]` (None: empty).

        Of each kind of cell that cannot be used, `faults` takes the first.
        """
        words = "categories" in column
        empty = cells.isna().to_numpy()
        odd = infinite = broken = np.zeros(len(cells), dtype=bool)
        if words or getattr(cells.dtype, "kind", "O") not in NUMERIC:
            kinds = (str, bool, int, float) if words else (bool, int, float)
            odd = np.array([not isinstance(c, kinds) for c in cells], bool) & ~empty
            usable = [None if bad else c for c, bad in zip(cells, odd | empty, strict=True)]
            held = words_array(usable) if words else np.array([*map(_float, usable)], np.float64)
        else:
            held = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        if not words:
            infinite = np.isinf(float32(held).numpy())
            broken = (held % 1 > 0) & self.whole
        filled = self.fill if words else column.get("mean") is not None
        kind = "word" if words else "number"
        for bad, what, hint in (
            (odd, "holds {}, which is no " + kind, f"The run was trained with {kind}s there."),
            (broken, "is no whole number", "The run was trained with whole numbers there."),
            (infinite, "is not finite as float32", "Leave the row out."),
            (empty & (not filled), "is empty", "Fill it: the training data had no empty cells."),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                place = f"{shown(cells.index[row], 200)}, column '{shown(column['name'])}'"
                what = what.format(shown(repr(cells.iloc[row]), 40))
                faults.add(f"{place} {what}{_and_more(int(bad.sum()))}.", hint)
        return held

    def _of_file(self, word: str) -> pandas.DataFrame:
        """Read a file's rows, in columns as the training's."""
        import pandas

        path = existing(word)
        if path is None or path.is_dir() or path.suffix.lower() in SUFFIXES:
            what = "there is no such file" if path is None else "is no table"
            files = f"what data {self.data} returns, not files that it reads: "
            own = path is not None and self.data != "table"
            raise RequestError(
                f"{shown(word, 200)}: {what}.", f"Give {files * own}{self.expected}."
            )
        if path.suffix.lower() == ".npy" and not self.words:
            return self._of_array(path, word)
        exact: dict[str, Any] = {} if self.words else {"float_precision": "round_trip"}
        if self.named:  # a table is read as `data.tables.table` reads the training's
            words = {
                c["name"]: str
                for c in self.columns
                if not _BOOLEANS.issuperset(c.get("categories", ()))
            }
            frame = read_frame(str(path), dtype=words, **exact)
            self._refuse_missing([str(name) for name in frame.columns], str(path))
        else:
            frame = read_frame(str(path), header=self._header(path), **exact)
            frame.columns = self._names
        if frame.empty:
            raise RequestError(f"{shown(word, 200)}: has no rows.")
        found = {}
        for column in self.columns:
            cells = found[column["name"]] = frame[column["name"]]
            if "categories" not in column:
                numbers = pandas.to_numeric(cells, errors="coerce")
                odd = numbers.isna() & cells.notna()
                found[column["name"]] = (
                    numbers.astype(object).where(~odd, cells) if any(odd) else numbers
                )
        return pandas.DataFrame(found).set_axis([f"{word}:{n + 1}" for n in range(len(frame))])

    def _of_array(self, path: Path, word: str) -> pandas.DataFrame:
        import pandas

        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{shown(word, 200)}: cannot be read: {shown(error, 120)}.",
                "Write it by numpy.save, with numbers in it.",
            ) from error
        shape = tuple(self.recipe["input_shape"])
        if array.shape[-len(shape) :] != shape or array.ndim > len(shape) + 1 or not array.size:
            raise RequestError(
                f"{shown(word, 200)}: has shape {list(array.shape)}.", f"Give {self.expected}."
            )
        rows = array.reshape(-1, len(self.columns))
        names = [f"{word}:{n + 1}" for n in range(len(rows))]
        return pandas.DataFrame(rows, names, self._names)

    def _header(self, path: Path) -> int | None:
        """Return 0 if a file of so many numbers on each line has a header, else None."""
        first = read_frame(str(path), header=None, nrows=1, dtype=str).iloc[0].tolist()
        if len(first) != len(self.columns):
            raise RequestError(
                f"{shown(path, 200)}: has {len(first)} columns; expected {len(self.columns)}, one "
                "for each number of an input.",
                f"Give the columns that data {self.data} returns, in its order.",
            )
        if len(first) > 1 and first == [str(place) for place in range(len(first))]:
            raise RequestError(
                f"{shown(path, 200)}: its first line, {shown(', '.join(first))}, may be a header "
                "as well as a row.",
                "Take it away, or put a header of words above it.",
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
            )
        return 0 if words else None

    def _of_values(self, rows: Sequence[tuple[str, object]], faults: Faults) -> pandas.DataFrame:
        """Return rows that were typed or stand in a document, with their names, as they are."""
        import pandas

        kept: dict[str, list[Any]] = {}
        for name, row in rows:
            with faults.collecting():
                kept[name] = self._row(row, name)
        return pandas.DataFrame([*kept.values()], [*kept], self._names, dtype=object)

    def _row(self, row: object, name: str) -> list[Any]:
        """Return the cells of a row in the order of the columns."""
        if isinstance(row, Mapping):
            self._refuse_missing([str(key) for key in row], name)
            return [row[column] for column in self._names]
        flat = (len(self.columns),)
        wanted = flat if self.words else tuple(self.recipe["input_shape"])
        try:
            array = np.array(row if isinstance(row, list) else [row], dtype=object)
        except ValueError:  # lists of different lengths inside
            array = np.empty((0,))
        if array.shape not in (wanted, flat):
            words = " and words, or an object by column." * self.named or "."
            raise RequestError(
                f"{shown(name)} has shape {list(array.shape)}; expected shape {list(wanted)}.",
                f"A row is a list of numbers{words}",
            )
        return array.reshape(-1).tolist()

    def _refuse_missing(self, given: Sequence[str], where: str) -> None:
        """Refuse rows that lack columns, naming what may be meant by them."""
        lacking = [name for name in self._names if name not in given]
        if not lacking:
            return
        spare = [name for name in given if name not in self._names]
        close = {name: nearest(name, spare) for name in lacking}
        named = [
            f"'{shown(name)}'" + (f" (is it '{shown(like)}'?)" if like else "")
            for name, like in close.items()
        ]
        raise RequestError(
            f"{shown(where, 200)}: lacks {len(lacking)} of the {len(self.columns)} columns that "
            f"the run was trained with: {first_few(named)}; it has {shown(', '.join(given), 200)}.",
            "Further columns, such as the target, are ignored."
            if self.data == "table"
            else f"They are those that data {self.data} returns: compute them as it does.",
        )


def _float(cell: Any) -> float:
    try:
        return math.nan if cell is None else float(cell)
    except OverflowError:
        return math.inf


def _and_more(count: int) -> str:
    """Return how many rows besides the first have the same fault."""
    return f" (and in {count - 1} more rows)" if count > 1 else ""
