"""New images, decoded as the training's were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from paribus.core.data.arrays import standardized
from paribus.core.data.images import decode, image_files
from paribus.core.data.tables import check_columns, read_frame
from paribus.core.data.texts import UNKNOWN, Texts
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.inference.preprocessing import (
    STANDARD_INPUT,
    Given,
    ImageRecipe,
    New,
    Scaling,
    TextRecipe,
    existing,
    in_memory,
)


def new_images(recipe: ImageRecipe, scaling: Scaling | None, given: Given) -> New:
    """Image files, and those in folders; decoded when they are needed.

    Raises:
        RequestError: With all files that are missing, no images, or of another size; from
            ``batches``.
    """
    faults = Faults()
    paths: list[Path] = []
    for word in given.as_words("the path of an image", faults):
        path = existing(word)
        if path is None:
            faults.add(
                f"There is no file {shown(word, 200)}.", "Give images, or folders of them.", "input"
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
                    decoded.append(_decoded(path, recipe))
            if not faults.found:
                yield standardized(torch.stack(decoded), scaling)
        faults.check()

    return New([str(path) for path in paths], batches)


def _decoded(path: Path, recipe: ImageRecipe) -> torch.Tensor:
    """float32 `[channels, height, width]`, not standardized yet."""
    height, width = recipe["size"]
    image = decode(path, recipe["channels"], recipe["size"] if recipe["resize"] else None)
    if tuple(image.shape[1:]) != (height, width):
        raise RequestError(
            f"{shown(path, 300)} is {image.shape[1]}×{image.shape[2]} pixels (height×width); "
            f"expected {height}×{width}, as all training images are.",
            f"Bring it to that size, or train with data.size=[{height},{width}].",
            "shape",
        )
    return image


# New texts, by the vocabulary of the training part.


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
