"""What does a network need to learn a curved decision boundary?

Two interleaved half moons, 1 000 points in the plane; `paribus plot` draws the boundary that was
learned.

    paribus sweep moons

About twenty seconds; the validation accuracy is above 0.99.
"""

import numpy as np
from sklearn.datasets import make_moons

POINTS = 1000
NOISE = 0.1
HIDDEN_DIM = 64
NUM_LAYERS = 1
LR = 0.01
EPOCHS = 50
BATCH_SIZE = 64


def moons(noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Return points `[1000, 2]` and the moon that each belongs to `[1000]`."""
    points: tuple[np.ndarray, np.ndarray] = make_moons(POINTS, noise=noise, random_state=0)
    return points


BASELINE = {
    "task": "multiclass",
    "data": moons,
    "model": {"name": "mlp", "hidden_dim": HIDDEN_DIM, "num_layers": NUM_LAYERS},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "model.num_layers": [0, 1, 2],
    "model.hidden_dim": [4, 16, 64],
    "optimizer.lr": [0.001, 0.01, 0.1],
}
