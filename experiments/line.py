"""Does gradient descent find the weight and the bias of a line?

y = 0.7 x + 0.3 on 50 points from 0 in steps of 0.02; one weight and one bias.

    paribus run line --seed 42

A few seconds; both learned parameters are within 0.05 of the true ones, the validation MAE is
below 0.02.
"""

import numpy as np

WEIGHT = 0.7
BIAS = 0.3
POINTS = 50
STEP = 0.02
LR = 0.01
EPOCHS = 200
BATCH_SIZE = 8


def points(weight: float = WEIGHT, bias: float = BIAS) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs `[50, 1]` and the line's value at each `[50, 1]`."""
    x = np.arange(POINTS, dtype=np.float32)[:, None] * np.float32(STEP)
    return x, weight * x + bias


BASELINE = {
    "task": "regression",
    "data": points,
    "model": "linear",
    "loss": "l1",
    "optimizer": {"name": "sgd", "lr": LR},
    "split": {"method": "in_order", "val_fraction": 0.1, "test_fraction": 0.1},
    "standardize": False,
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "optimizer.lr": [0.001, 0.01, 0.1],
    "train.batch_size": [1, 8, 40],
    "loss": ["l1", "mse"],
}
