"""Images: folders of files, and how a file becomes an input."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import Dataset

from paribus.core.data.arrays import Array
from paribus.core.errors import MISSING, RequestError, bad_data, shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
IN_MEMORY = 2**30  # bytes of float32; more is read from the files each time it is needed
_NO_RANGE = {"F": "fractions", "I": "32-bit integers"}  # Pillow's modes
_PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}

Side = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, eq=False)
class Images:
    """Image files, and how they are decoded.

    Attributes:
        paths: One for each example.
        channels: 3 for colours, 1 for grey.
        size: (height, width) that each is brought to; None where all have the same.
        in_memory: Whether they are decoded once and kept, or each time they are needed.
    """

    paths: Sequence[Path]
    channels: int = 3
    size: tuple[int, int] | None = None
    in_memory: bool = True

    def decoding(self) -> dict[str, Any]:
        """Return what decodes another file as these are decoded; can be written as JSON."""
        size = self.size or tuple(decode(self.paths[0], self.channels, None).shape[1:])
        return {"channels": self.channels, "size": list(size), "resize": self.size is not None}


class ImageFiles(Dataset[tuple[torch.Tensor, Any]]):
    """Images that are decoded each time they are needed."""

    def __init__(self, images: Images, targets: Array) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, Any]:
        images = self.images
        return decode(images.paths[row], images.channels, images.size), self.targets[row]


def decode(path: Path, channels: int, size: Sequence[int] | None) -> torch.Tensor:
    """Decode an image file: float32 `[channels, height, width]` from 0 to 1.

    Raises:
        RequestError: If it cannot be decoded, naming it.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            if _is_16_bits(file):  # convert() would make nearly everything white
                image = Image.fromarray(np.asarray(file, dtype=np.float32) / np.float32(65535))
            elif file.mode in _NO_RANGE:
                raise ValueError(
                    f"its levels are {_NO_RANGE[file.mode]}, which have no known range"
                )
            else:
                image = file.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"{shown(path, 300)} cannot be decoded as an image: {shown(error, 120)}.",
            "Replace it, or take it out of the folder.",
            "image",
        ) from error
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / np.float32(1 if image.mode == "F" else 255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return torch.from_numpy(pixels.repeat(channels // pixels.shape[2], axis=2)).permute(2, 0, 1)


def decode_alike(path: Path, channels: int, size: Sequence[int], resize: bool) -> torch.Tensor:
    """Decode an image as others were, by what `Images.decoding` gives.

    Raises:
        RequestError: If it cannot be decoded, or has another size and is not to be resized.
    """
    image = decode(path, channels, size if resize else None)
    if list(image.shape[1:]) != list(size):
        raise RequestError(
            f"{shown(path, 300)} is {image.shape[1]}×{image.shape[2]} pixels (height×width); "
            f"expected {size[0]}×{size[1]}, as all others are.",
            f"Bring it to that size, or train with data.size=[{size[0]},{size[1]}].",
            "shape",
        )
    return image


def _is_16_bits(file: Any) -> bool:
    """Return whether a Pillow image is grey with 65536 levels."""
    # What Pillow gives of these two formats as 32-bit integers has 16 bits in the file.
    return file.mode.startswith("I;16") or (file.mode == "I" and file.format in ("PNG", "PPM"))


def loaded(images: Images, targets: Array, where: str) -> tuple[torch.Tensor, Array] | ImageFiles:
    """Decode images: float32 `[N, C, H, W]`, or a data set of them if not kept in memory.

    Raises:
        RequestError: If one cannot be decoded, or they are of different sizes.
    """
    if len(images.paths) != len(targets):
        raise bad_data(f"{where}: {len(images.paths)} images and {len(targets)} targets.")
    if not images.in_memory:
        return ImageFiles(images, targets)
    decoding = images.decoding()
    batch = torch.empty(len(targets), images.channels, *decoding["size"])
    for row, path in enumerate(images.paths):
        batch[row] = decode_alike(path, **decoding)
    return batch, targets


def images(
    root: str,
    size: Side | list[Side] | None = None,
    channels: Literal[1, 3] = 3,
) -> tuple[Images, Array] | dict[str, tuple[Images, Array]]:
    """List a folder with one folder of images for each class, or with such folders by part.

    Args:
        root: The folder.
        size: Height and width in pixels that each image is brought to; one number for both.
        channels: 3 for colours, 1 for grey.

    Raises:
        RequestError: If the folder is missing or has another layout; says what was looked for.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise RequestError(
            f"There is no folder {shown(root)} (looked for {shown(folder.absolute(), 200)}).",
            "Give data.root=FOLDER, with one folder of images for each class.",
            MISSING,
        )
    sides = (size, size) if isinstance(size, int) else None if size is None else tuple(size)
    if sides is not None and len(sides) != 2:
        raise RequestError(f"data.size={list(sides)}: must be one number or two.", kind="bad-value")
    ready = _ready_made(folder)
    if not ready:
        return _kept_alike({"all": _listed(folder, channels, sides)})["all"]
    parts = {part: _listed(place, channels, sides) for part, place in ready.items()}
    classes = {part: set(labels.tolist()) for part, (_, labels) in parts.items()}
    for part, names in classes.items():
        if new := sorted(names - classes["train"]):
            raise bad_data(
                f"{shown(folder, 200)}: {part} has the class {shown(', '.join(new), 200)}, which "
                "train does not have.",
                "Give training examples of it, or take it away.",
            )
    return _kept_alike(parts)


def _kept_alike(parts: Mapping[str, tuple[Images, Array]]) -> dict[str, tuple[Images, Array]]:
    """Return the parts, all of them kept in memory, or none."""
    first, _ = next(iter(parts.values()))
    height, width = first.decoding()["size"]
    count = sum(len(labels) for _, labels in parts.values())
    fit = 4 * count * first.channels * height * width <= IN_MEMORY
    return {part: (replace(some, in_memory=fit), labels) for part, (some, labels) in parts.items()}


def _ready_made(folder: Path) -> dict[str, Path]:
    """Return the folders of ready-made parts; none where there are folders of classes."""
    found: dict[str, Path] = {}
    for part, names in _PARTS.items():
        for place in (folder / name for name in names):
            if place.is_dir() and any(entry.is_dir() for entry in os.scandir(place)):
                found.setdefault(part, place)
    if "train" in found and "val" not in found:
        raise bad_data(
            f"{shown(folder, 200)} has {', '.join(found)}, but no folders of classes in "
            f"{' or '.join(_PARTS['val'])}.",
            f"Add one, or give data.root={shown(found['train'], 200)}, which is then split.",
        )
    return found if "train" in found else {}


def _listed(folder: Path, channels: int, size: tuple[int, ...] | None) -> tuple[Images, Array]:
    """Return the images of one folder of classes, in order of name, and their classes."""
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    found = {name: image_files(folder / name) for name in classes if not name.startswith(".")}
    if not found:
        raise bad_data(
            f"{shown(folder, 200)} has no folders; one for each class was looked for, such as "
            f"{shown(folder / 'cat' / '1.png', 200)}, or the folders train and val with these.",
            "Put each class's images into a folder of its own, and name the folder of these.",
        )
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise bad_data(
            f"{shown(folder, 200)}: no image in the folder of class {shown(', '.join(empty), 200)} "
            f"(looked for {', '.join(SUFFIXES)}).",
            "Fill it, or take it away.",
        )
    paths = [path for files in found.values() for path in files]
    labels = np.array([name for name, files in found.items() for _ in files])
    height_width = None if size is None else (size[0], size[1])
    return Images(paths, channels, height_width), labels


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and in its folders, in order of name."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
