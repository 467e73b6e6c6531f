"""What does one parameter do under squared error?

Find w so that 2 w = 6: one point, one weight, no bias. Each update multiplies the distance to 3 by
1 - 8 lr: with lr 0.1 by 0.2; with 0.125 one update is enough; beyond 0.25 it diverges.

    paribus sweep parabola

About ten seconds; the baseline's weight is within 0.01 of 3 after 10 updates.
"""

LR = 0.1
UPDATES = 10


def point() -> tuple[list[list[float]], list[float]]:
    """Return the input 2 and its target 6: `[1, 1]` and `[1]`."""
    return [[2.0]], [6.0]


BASELINE = {
    "task": "regression",
    "data": point,
    "model": {"name": "linear", "bias": False},
    "loss": "mse",
    "optimizer": {"name": "sgd", "lr": LR},
    "split": {"method": "none"},
    "standardize": False,
    "train": {"epochs": UPDATES, "batch_size": 1},
}

AXES = {
    "optimizer.lr": [0.01, 0.1, 0.125, 0.24],
    "optimizer.momentum": [0.5],
    "loss": ["l1", "huber"],
}
