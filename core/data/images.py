"""Images: folders of files and how they are decoded, and augmentation."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch.utils.data import Dataset
from typing_extensions import TypedDict

from paribus.core.config.schema import Component
from paribus.core.config.signatures import check_keywords, read_signature
from paribus.core.data.arrays import Array
from paribus.core.data.loader import Augment
from paribus.core.errors import MISSING, Faults, RequestError, bad_data, first_few, nearest, shown
from paribus.core.fileio import user_path
from paribus.core.sources.reads import refusing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
IN_MEMORY = 2**30  # bytes of float32; more is read from the files each time it is needed
_NOT_OURS = ("__MACOSX", "@eaDir")  # folders of copies and thumbnails that other systems add
_NO_RANGE = {"F": "fractions", "I": "32-bit integers"}  # Pillow's modes
_PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}

Side = Annotated[int, Field(ge=1)]


class ImageRecipe(TypedDict):
    """What decodes a file as a training part's were."""

    channels: Literal[1, 3]
    size: list[int]
    resize: bool


@dataclass(frozen=True, eq=False)
class Images:
    """Image files, and how they are decoded."""

    paths: Sequence[Path | BytesIO]  # one for each example, or the file's content
    channels: Literal[1, 3] = 3  # 3 for colours, 1 for grey
    size: list[int] | None = None  # (height, width) of each; None where all have the same
    in_memory: bool = True  # whether they are decoded once and kept, or each time they are needed

    def decoding(self) -> ImageRecipe:
        """Return what decodes another file as these are decoded; can be written as JSON."""
        size, faults = self.size, Faults()
        for path in () if size else self.paths:
            with faults.collecting():
                size = list(decode(path, self.channels, None).shape[1:])
                break
        if size is None:
            faults.check()
        return {"channels": self.channels, "size": size or [], "resize": self.size is not None}

    def decoded(self) -> torch.Tensor:
        """Return all of them: float32 `[N, channels, height, width]` from 0 to 1.

        Raises RequestError naming all that cannot be decoded, and the first of another size.
        """
        decoding, faults = self.decoding(), Faults()
        batch = torch.empty(len(self.paths), self.channels, *decoding["size"])
        for row, path in enumerate(self.paths):
            with faults.collecting():
                batch[row] = decode_alike(path, **decoding)
        sizes = [fault for fault in faults.found if fault.kind == "shape"]
        if len(sizes) > 1:  # often nearly all of them
            message = f"{sizes[0].message} {len(sizes) - 1} more differ too."
            damaged = [fault for fault in faults.found if fault.kind != "shape"]
            faults.found = [*damaged, replace(sizes[0], message=message)]
        faults.check()
        return batch


class ImageFiles(Dataset[tuple[torch.Tensor, Any]]):
    """Images that are decoded each time they are needed."""

    def __init__(self, images: Images, targets: Array) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, Any]:
        images = self.images
        return decode(images.paths[row], images.channels, images.size), self.targets[row]


def decode(path: Path | BytesIO, channels: int, size: Sequence[int] | None) -> torch.Tensor:
    """Decode an image file: float32 `[channels, height, width]` from 0 to 1, brought to a size.

    It is turned as its EXIF orientation says. Raises RequestError naming what cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        # Pillow warns of metadata that is damaged, which changes no pixel.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            ImageOps.exif_transpose(file, in_place=True)  # a camera held upright notes it in EXIF
            # What Pillow gives of these two formats as 32-bit integers has 16 bits in the file.
            wide = file.mode == "I" and file.format in ("PNG", "PPM")
            if wide or file.mode.startswith("I;16"):  # convert() would make nearly all white
                image = Image.fromarray(np.asarray(file, dtype=np.float32) / np.float32(65535))
            elif file.mode in _NO_RANGE:
                levels = _NO_RANGE[file.mode]
                raise ValueError(f"its levels are {levels}, which have no known range")
            else:
                image = file.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"{shown(path, 300)} cannot be decoded as an image: {shown(error, 120)}.",
            "Replace it, or take it out of the folder.",
        ) from error
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32) / np.float32(1 if image.mode == "F" else 255)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return torch.from_numpy(pixels.repeat(channels // pixels.shape[2], axis=2)).permute(2, 0, 1)


def decode_alike(
    path: Path | BytesIO, channels: int, size: Sequence[int], resize: bool
) -> torch.Tensor:
    """Decode an image as others were, by what `Images.decoding` gives.

    Raises RequestError if it has another size and is not to be resized.
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
    folder = user_path(root)
    if not folder.is_dir():
        raise RequestError(
            f"There is no folder {shown(root)} (looked for {shown(folder.absolute(), 200)}).",
            "Give data.root=FOLDER, with one folder of images for each class.",
            MISSING,
        )
    sides = [size, size] if isinstance(size, int) else size
    if sides is not None and len(sides) != 2:
        raise RequestError(f"data.size={size}: must be one number or two.")
    parts = {
        part: _listed(place, channels, sides)
        for part, place in (_ready_made(folder) or {"train": folder}).items()
    }
    classes = {part: set(labels.tolist()) for part, (_, labels) in parts.items()}
    for part, names in classes.items():
        if new := sorted(names - classes["train"]):
            raise bad_data(
                f"{shown(folder, 200)}: {part} has the class {shown(', '.join(new), 200)}, which "
                "train does not have.",
                "Give training examples of it, or take it away.",
            )
    # All parts are kept in memory, or none.
    height, width = parts["train"][0].decoding()["size"]
    count = sum(len(labels) for _, labels in parts.values())
    fit = 4 * count * channels * height * width <= IN_MEMORY
    parts = {
        part: (replace(images, in_memory=fit), labels) for part, (images, labels) in parts.items()
    }
    return parts if "val" in parts else parts["train"]


def _ready_made(folder: Path) -> dict[str, Path]:
    """Return the folders of ready-made parts; none where there are folders of classes."""
    folders: dict[str, Path] = {}
    for part, names in _PARTS.items():
        for place in (folder / name for name in names):
            if place.is_dir() and any(entry.is_dir() for entry in _visible(place)):
                folders.setdefault(part, place)
    if "train" in folders and "val" not in folders:
        raise bad_data(
            f"{shown(folder, 200)} has {', '.join(folders)}, but no folders of classes in "
            f"{' or '.join(_PARTS['val'])}.",
            f"Add one, or give data.root={shown(folders['train'], 200)}, which is then split.",
        )
    return folders if "train" in folders else {}


def _listed(folder: Path, channels: Literal[1, 3], size: list[int] | None) -> tuple[Images, Array]:
    """Return the images of one folder of classes, in order of name, and their classes."""
    classes = [entry.name for entry in _visible(folder) if entry.is_dir()]
    by_class = {name: image_files(folder / name) for name in classes}
    if not by_class:
        raise bad_data(
            f"{shown(folder, 200)} has no folders; one for each class was looked for, such as "
            f"{shown(folder / 'cat' / '1.png', 200)}, or the folders train and val with these.",
            "Put each class's images into a folder of its own, and name the folder of these.",
        )
    empty = [name for name, files in by_class.items() if not files]
    if empty:
        raise bad_data(
            f"{shown(folder, 200)}: no image in the folder of class {shown(', '.join(empty), 200)} "
            f"(looked for {', '.join(SUFFIXES)}).",
            "Fill it, or take it away.",
        )
    paths = [path for files in by_class.values() for path in files]
    labels = np.array([name for name, files in by_class.items() for _ in files])
    return Images(paths, channels, size), labels


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and in its folders, in order of name.

    Links to folders are followed, and each folder is read once: a link may lead back up. What is
    hidden, or was added by the system that the files were copied from, is no example.
    """
    paths: list[Path] = []
    folders, read = [folder], set()
    for place in folders:  # grows on the way
        real = place.resolve()
        if real in read:
            continue
        read.add(real)
        for entry in _visible(place):
            if entry.is_dir():
                folders.append(place / entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                paths.append(place / entry.name)
    return sorted(paths)


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder and not hidden, in order of name."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise bad_data(f"{shown(folder, 200)}: cannot be read: {shown(error, 200)}.") from error
    visible = [e for e in entries if not (e.name.startswith(".") or e.name in _NOT_OURS)]
    if lost := [e.name for e in visible if e.is_symlink() and not Path(e).exists()]:
        raise bad_data(
            f"{shown(folder, 200)}: the link {first_few([shown(name) for name in lost])} leads "
            "nowhere.",
            "Correct it, or take it away.",
        )
    return visible


def make_augment(components: Sequence[Component]) -> Augment | None:
    """Return a function that applies torchvision's transforms in order; None: there are none."""
    if not components:
        return None
    from torchvision.transforms import v2

    faults, made = Faults(), []
    for component in components:
        with faults.collecting():
            made.append(_transform(component))
    faults.check()
    return v2.Compose(made)


def _transform(component: Component) -> Any:
    from torchvision.transforms import v2

    name, faults = component.name, Faults()
    kind = getattr(v2, name, None)
    if not (isinstance(kind, type) and issubclass(kind, v2.Transform)):
        names = [n for n in dir(v2) if isinstance(getattr(v2, n), type) and n != "Transform"]
        near = nearest(name, names)
        raise RequestError(
            f"augment: torchvision.transforms.v2 has no '{shown(name)}'.",
            f"Did you mean '{near}'?" if near else "Such as RandomHorizontalFlip, RandomCrop.",
        )
    signature = read_signature(kind, 0)
    keywords = check_keywords(signature, component.keywords, "augment", name, faults)
    faults.check()
    hint = "Give it other keywords, as in augment=[RandomCrop(size=28, padding=2)]."
    with refusing(f"augment {name} cannot be made", hint):
        return kind(**keywords)
