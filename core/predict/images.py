"""New images, decoded as the training's were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from paribus.core.data.images import decode, image_files
from paribus.core.data.standardize import standardized
from paribus.core.errors import Faults, RequestError, shown
from paribus.core.predict.given import Given, New, existing
from paribus.core.predict.recipe import ImageRecipe, Scaling


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
