"""Does a convolutional network recognize shapes better than a fully connected one?

1 600 images of four shapes of any position, size, rotation and colour, on a noisy background. They
are drawn once, as PNG files, into the results' folder data/shapes.

    paribus sweep images augment standardize

About a minute; the validation accuracy is above 0.95. The axis `model`, with torchvision's
ResNet, takes two minutes more. To use images of your own, name a folder with one folder of images
for each class, or with such folders in train and val:

    paribus sweep images --set data.root=FOLDER
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from paribus.core.fileio import data_folder

SHAPES = {  # corners on the unit circle, in revolutions
    "circle": [n / 60 for n in range(60)],
    "square": [0, 0.25, 0.5, 0.75],
    "triangle": [0, 1 / 3, 2 / 3],
    "half": [n / 60 for n in range(31)],
}
EACH = 400
SIZE = 32
CHANNELS = 16
LR = 0.003
EPOCHS = 15
BATCH_SIZE = 64


def pictures(root: str | None = None, size: int = SIZE) -> Any:
    """Return the images of a folder, or of the drawn shapes, and the class of each."""
    from paribus.core.data.images import images

    return images(root or str(rendered()), size)


def rendered() -> Path:
    """Return the folder of the drawn shapes; draw them where it is missing."""
    folder = data_folder() / "shapes"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            for name, corners in SHAPES.items():
                Path(place, "new", name).mkdir(parents=True)
                for number in range(EACH):
                    drawn(corners, rng).save(Path(place, "new", name, f"{number:03}.png"))
            if not folder.is_dir():  # else another process was faster
                Path(place, "new").rename(folder)
    return folder


def drawn(corners: list[float], rng: np.random.Generator) -> Image.Image:
    """Draw one shape four times as large and reduce it, for smooth edges."""
    side = 4 * SIZE
    ground, colour = rng.integers(0, 100, 3), rng.integers(150, 256, 3)
    radius, turn = side * rng.uniform(0.25, 0.4), rng.uniform()
    centre = rng.uniform(0.42, 0.58, 2) * side
    angles = 2 * np.pi * (np.array(corners) + turn)
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    image = Image.new("RGB", (side, side), tuple(ground.tolist()))
    ImageDraw.Draw(image).polygon([tuple(p) for p in points.tolist()], fill=tuple(colour.tolist()))
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)) + rng.normal(
        0, 15, (SIZE, SIZE, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


BASELINE = {
    "task": "multiclass",
    "data": pictures,
    "model": {"name": "cnn", "channels": CHANNELS},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": LR},
    "standardize": True,
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "augment": [
        ["RandomHorizontalFlip", "RandomVerticalFlip"],
        [{"name": "RandomCrop", "size": SIZE, "padding": 2}],
    ],
    "standardize": [False],
    "model.channels": [8, 16, 32],
    "model": ["mlp", "torchvision.models.resnet18"],
}
