"""How well does the classic 784-128-10 network read handwritten digits?

Without the real files a substitute is generated from scikit-learn's 1 797 digits: 70 000 images of
28×28 pixels, scaled, shifted, rotated and with noise; all variants of a digit are in the same part.
With a tenth of them:

    paribus sweep mnist model.dropout --set data.images=7000

About twenty seconds; with all of them and all axes some minutes. The validation accuracy is above
0.95. MNIST itself (60 000 images, of which the last 10 000 are for validation, and 10 000 to
test) is read by torchvision from the idx files in MNIST/raw below `data.root`:

    paribus sweep mnist --set data.root=~/data --set data.download=true
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from paribus.core.errors import RequestError, shown

SIDE = 28
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels
HIDDEN_DIM = 128
DROPOUT = 0.2
LR = 0.001
EPOCHS = 5
BATCH_SIZE = 64
EVAL_BATCH_SIZE = 1000

Part = tuple[np.ndarray, np.ndarray]


def digits(
    root: str | None = None, download: bool = False, images: int = 70_000
) -> dict[str, Part]:
    """Return training, validation and test part: images `[N, 1, 28, 28]` and digits `[N]`."""
    parts = drawn(images) if root is None else read(Path(root).expanduser(), download)
    return {
        name: ((pixels[:, None] / np.float32(255) - MEAN) / DEVIATION, digit)
        for name, (pixels, digit) in parts.items()
    }


def read(root: Path, download: bool) -> dict[str, Part]:
    """Read MNIST's own files; of the training images the last sixth is for validation."""
    from torchvision.datasets import MNIST  # takes seconds

    raw = root / "MNIST" / "raw"
    try:
        train, test = (MNIST(str(root), train=t, download=download) for t in (True, False))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise RequestError(
            f"There is no MNIST in {root} that can be read: {raw} must have the four idx files, "
            f"such as train-images-idx3-ubyte ({shown(str(error).strip(), 120).rstrip('.')}).",
            f"{'Put them there' if download else 'Set data.download=true to fetch them'}, or leave "
            "data.root out for a stand-in.",
            "data",
        ) from error
    highest = int(max(train.targets.max(), test.targets.max()))
    if highest > 9:
        raise RequestError(
            f"{raw}: the label {highest} is outside of 0 to 9.", "Replace the files.", "data"
        )
    pixels, digit = train.data.numpy(), train.targets.numpy()
    cut = len(pixels) - len(pixels) // 6
    return {
        "train": (pixels[:cut], digit[:cut]),
        "val": (pixels[cut:], digit[cut:]),
        "test": (test.data.numpy(), test.targets.numpy()),
    }


def drawn(images: int) -> dict[str, Part]:
    """Generate so many images in MNIST's proportions: variants of scikit-learn's digits."""
    small, digit = load_digits(return_X_y=True)
    small = small.reshape(-1, 8, 8)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(small))
    ends = np.array([5, 6]) * len(small) // 7
    sizes = [images - 2 * (images // 7), images // 7, images // 7]
    parts = {}
    for name, rows, size in zip(
        ("train", "val", "test"), np.split(order, ends), sizes, strict=True
    ):
        chosen = rng.choice(rows, size)
        some = [variants(small[rows], rng) for rows in np.array_split(chosen, 10)]  # spares memory
        parts[name] = np.concatenate(some), digit[chosen]
    return parts


def variants(small: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return digits `[N, 8, 8]` 20 pixels high, shifted, rotated, noisy: greys `[N, 28, 28]`."""
    from torch import from_numpy  # takes seconds
    from torch.nn.functional import affine_grid, grid_sample

    count = len(small)
    angle, size = rng.normal(0, 0.1, count), rng.uniform(18, 22, count) / SIDE
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    right, down = rng.normal(0, 1.5 / (SIDE / 2), (2, count))
    turn = np.stack([cosine, -sine, right, sine, cosine, down], 1).reshape(count, 2, 3)
    grid = affine_grid(from_numpy(turn).float(), [count, 1, SIDE, SIDE], align_corners=False)
    image = grid_sample(from_numpy(small[:, None]).float() / 16, grid, align_corners=False)
    noise = rng.normal(0, 8, (count, SIDE, SIDE))
    return np.clip(255 * image[:, 0].numpy() + noise, 0, 255).astype(np.uint8)


BASELINE = {
    "task": "multiclass",
    "data": digits,
    "model": {"name": "mlp", "hidden_dim": HIDDEN_DIM, "dropout": DROPOUT},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "eval_batch_size": EVAL_BATCH_SIZE},
}

AXES = {
    "model.dropout": [0.0, 0.2, 0.5],
    "model": ["cnn"],
    "train.batch_size": [64, 1000],
}
