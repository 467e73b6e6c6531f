"""The problem that a folder of images poses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas
from PIL import Image

from paribus.core.data.images import IN_MEMORY, images
from paribus.core.errors import shown
from paribus.sweeps.scaffold.guess import Constant, Problem, counted, guess_by_folders

USUAL_SIDES = range(8, 129)  # pixels of an image's side that need no scaling


def image_problem(folder: Path) -> Problem:
    """A convolutional network on images that are brought to one size.

    Args:
        folder: With a folder of images for each class, or with such folders in train and val.

    Raises:
        RequestError: If it has another layout, or a single class.
    """
    found = images(str(folder))
    parts = found if isinstance(found, dict) else {"all": found}
    files = [path for some, _ in parts.values() for path in some.paths]
    classes = pandas.Series([str(c) for _, labels in parts.values() for c in labels.tolist()])
    sizes, grey = _read_headers(files)
    constants = {"root": Constant("DATA", folder)}
    height, width = next(iter(sizes), (1, 1))
    if (side := _common_side(sizes)) is not None:
        height = width = side
        shortest, longest = min(map(min, sizes)), max(map(max, sizes))
        why = f"pixels; sides in the folder are {shortest} to {longest}"
        constants["size"] = Constant("SIZE", side, why)
    if grey:
        constants["channels"] = Constant("COLOURS", 1, "all images are grey")
    ready = f" in the folders {' and '.join(parts)}" if isinstance(found, dict) else ""
    return Problem(
        guess=guess_by_folders(classes),
        question=f"What helps a network tell the images in {shown(folder.name, 40)} apart?",
        facts=f"{counted(len(files), 'image')} of {classes.nunique()} classes{ready}.",
        data="images",
        constants=constants,
        model="cnn",
        examples=len(files),
        standardize=4 * len(files) * (1 if grey else 3) * height * width <= IN_MEMORY,
    )


def _read_headers(files: Sequence[Path]) -> tuple[set[tuple[int, int]], bool]:
    """The (height, width) that occur, and whether all files are grey."""
    sizes: set[tuple[int, int]] = set()
    modes: set[str] = set()
    for path in files:
        try:
            with Image.open(path) as image:
                sizes.add((image.height, image.width))
                modes.add(image.mode)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # trying the experiment decodes it, and names it
    return sizes, bool(modes) and modes <= {"1", "L"}


def _common_side(sizes: set[tuple[int, int]]) -> int | None:
    """The side that all images are brought to; None where they may stay as they are."""
    sides = sorted({side for size in sizes for side in size})
    if not sides or (len(sizes) == 1 and all(side in USUAL_SIDES for side in sides)):
        return None
    return min(max(sides[0], USUAL_SIDES[0]), USUAL_SIDES[-1])
