"""New texts, by the vocabulary of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from paribus.core.data.tables import check_columns, read_frame
from paribus.core.data.texts import UNKNOWN, Texts
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.predict.given import STANDARD_INPUT, Given, New, existing, in_memory
from paribus.core.predict.recipe import TextRecipe

_FILES = (".txt", ".csv", ".tsv", ".tab")
Named = tuple[str, str]  # how a text is called, and the text


def new_texts(recipe: TextRecipe, given: Given) -> New:
    """Texts as they were typed, and lines of files or of standard input.

    Raises:
        RequestError: With all files that cannot be read, and all texts of unknown words only.
    """
    faults = Faults()
    found: list[Named] = []
    for word in given.as_words("a text", faults):
        with faults.collecting():
            found += [(word, word)] if given.rows is not None else _read(word, recipe, given)
    tokens = Texts([text for _, text in found]).encoded(recipe)
    ids = torch.split(tokens.ids, tokens.lengths.tolist())
    for (name, text), known in zip(found, [sequence != UNKNOWN for sequence in ids], strict=True):
        if not known.any():
            what = "none of the words that the run was trained with" if len(known) else "no word"
            where = "" if name == text else f"{shown(name, 200)}: "
            faults.add(
                f"{where}'{shown(text)}' has {what}.",
                f"It was trained with {shown(' '.join(recipe['vocabulary'][:8]), 100)} …",
                "input",
            )
    faults.check()
    return in_memory([name for name, _ in found], tokens)


def _read(word: str, recipe: TextRecipe, given: Given) -> list[Named]:
    """The lines that a word stands for; a word that looks like a file's path has to be one."""
    if word == STANDARD_INPUT:
        return _numbered(word, given.lines)
    if not word.lower().endswith(_FILES):
        return [(word, word)]
    path = existing(word)
    if path is not None:
        return _of_file(path, recipe["column"])
    if len(word.split()) > 1:
        return [(word, word)]
    raise RequestError(
        f"There is no file {shown(word, 200)}.",
        f"Texts are read from files that end in {', '.join(_FILES)}; all else is a text.",
        "input",
    )


def _of_file(path: Path, column: str | None) -> list[Named]:
    if path.suffix.lower() == ".txt":
        try:
            return _numbered(path, path.read_text("utf-8-sig").split("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(
                f"{shown(path, 200)}: cannot be read: {shown(error, 120)}.",
                "It has to be text (UTF-8).",
                "input",
            ) from error
    frame = read_frame(str(path), dtype=str, keep_default_na=False)
    names = [str(name) for name in frame.columns]
    column = names[0] if column is None and len(names) == 1 else column
    if column is None:
        raise RequestError(
            f"{shown(path, 200)}: has the columns {shown(', '.join(names), 200)}; expected one, "
            "of texts.",
            "Give a file with that column alone.",
            "input",
        )
    check_columns(frame, [column], str(path))
    return [(f"{path}:{row}", text) for row, text in enumerate(frame[column].tolist(), 1)]


def _numbered(source: object, lines: Sequence[str]) -> list[Named]:
    """Lines by their number; empty ones say nothing."""
    return [(f"{source}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
