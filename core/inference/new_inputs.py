"""New inputs, read as the training data were: the recipe that a record keeps, images and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from paribus.core.data.arrays import Scaling, standardized
from paribus.core.data.images import ImageRecipe, decode_alike, image_files
from paribus.core.data.loader import Inputs, Part
from paribus.core.data.prepare import Recipe
from paribus.core.data.tables import check_columns, read_frame
from paribus.core.data.texts import UNKNOWN, TextRecipe, Texts
from paribus.core.errors import DamagedError, Faults, RequestError, shown
from paribus.core.fileio import existing

STANDARD_INPUT = "-"
TEXT_FILES = (".txt", ".csv", ".tsv", ".tab")


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
        """Return the words, or the rows of the document, each of which has to be one."""
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

    @classmethod
    def in_memory(cls, names: list[str], inputs: Inputs, notes: Sequence[str] = ()) -> New:
        """Return new inputs that were read already."""
        part = Part(inputs, torch.zeros(len(inputs)))  # their targets are not known
        return cls(names, lambda size: (batch for batch, _ in part.batches(size)), notes)


def read_recipe(preprocessing: Any, run: str) -> Recipe:
    """Return the preprocessing of a record, validated.

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


@dataclass(frozen=True)
class ImageReader:
    """Finds image files, and those in folders; they are decoded when they are needed."""

    recipe: ImageRecipe
    scaling: Scaling | None  # mean and scale of each channel
    expected = "images by path, or folders of them"

    def read(self, given: Given) -> New:
        """Return the images; those that cannot be used are refused together, by ``batches``."""
        faults = Faults()
        paths: list[Path] = []
        for word in given.as_words("the path of an image", faults):
            path = existing(word)
            if path is None:
                faults.add(
                    f"There is no file {shown(word, 200)}.",
                    "Give images, or folders of them.",
                    "input",
                )
                continue
            found = image_files(path) if path.is_dir() else [path]
            paths += found
            if not found:
                faults.add(f"{shown(word, 200)}: there is no image in this folder.", kind="input")
        if not paths:
            faults.check()

        def batches(size: int) -> Iterator[torch.Tensor]:
            for start in range(0, len(paths), size):
                decoded = []
                for path in paths[start : start + size]:
                    with faults.collecting():
                        decoded.append(decode_alike(path, **self.recipe))
                if not faults.found:
                    yield standardized(torch.stack(decoded), self.scaling)
            faults.check()

        return New([str(path) for path in paths], batches)


@dataclass(frozen=True)
class TextReader:
    """Reads texts as they were typed, and lines of files or of standard input."""

    recipe: TextRecipe
    expected = "texts, .txt files with a text on each line, .csv or .tsv files, or - for lines"

    def read(self, given: Given) -> New:
        """Return the texts; refused are files that cannot be read, and texts of unknown words."""
        faults = Faults()
        found: list[tuple[str, str]] = []  # how a text is called, and the text
        for word in given.as_words("a text", faults):
            with faults.collecting():
                typed = given.rows is not None
                found += [(word, word)] if typed else self._texts(word, given.lines)
        tokens = Texts([text for _, text in found]).encoded(self.recipe)
        ids = torch.split(tokens.ids, tokens.lengths.tolist())
        for (name, text), sequence in zip(found, ids, strict=True):
            if not (sequence != UNKNOWN).any():
                words = "none of the words that the run was trained with"
                where = "" if name == text else f"{shown(name, 200)}: "
                faults.add(
                    f"{where}'{shown(text)}' has {words if len(sequence) else 'no word'}.",
                    f"It was trained with {shown(' '.join(self.recipe['vocabulary'][:8]), 100)} …",
                    "input",
                )
        faults.check()
        return New.in_memory([name for name, _ in found], tokens)

    def _texts(self, word: str, lines: Sequence[str]) -> list[tuple[str, str]]:
        """Return the texts that a word stands for, with their names.

        It is a text, a file or `-` for the lines; what looks like a file's path has to be one.
        """
        path = existing(word)
        if word != STANDARD_INPUT:
            if not word.lower().endswith(TEXT_FILES):
                return [(word, word)]
            if path is None:
                if len(word.split()) > 1:  # a sentence about a file
                    return [(word, word)]
                raise RequestError(
                    f"There is no file {shown(word, 200)}.",
                    f"Texts are read from files that end in {', '.join(TEXT_FILES)}; all else is a "
                    "text.",
                    "input",
                )
            if path.suffix.lower() != ".txt":
                return self._column_of_texts(path)
            try:
                word, lines = str(path), path.read_text("utf-8-sig").split("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise RequestError(
                    f"{shown(path, 200)}: cannot be read: {shown(error, 120)}.",
                    "It has to be text (UTF-8).",
                    "input",
                ) from error
        return [(f"{word}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]

    def _column_of_texts(self, path: Path) -> list[tuple[str, str]]:
        frame = read_frame(str(path), dtype=str, keep_default_na=False)
        names = [str(name) for name in frame.columns]
        column = self.recipe["column"] or (names[0] if len(names) == 1 else None)
        if column is None:
            raise RequestError(
                f"{shown(path, 200)}: has the columns {shown(', '.join(names), 200)}; expected "
                "one, of texts.",
                "Give a file with that column alone.",
                "input",
            )
        check_columns(frame, [column], str(path))
        return [(f"{path}:{row}", text) for row, text in enumerate(frame[column].tolist(), 1)]
