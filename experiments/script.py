"""What does a training script of one's own need to become an experiment?

A plain torch loop classifies 1 000 points of two noisy moons. Two things in it are for paribus:
its keywords, which are the hyperparameters, and `yield`. The price: paribus does not know what
happens inside, so it cannot prove that all else was equal.

    paribus sweep script

About fifteen seconds; the baseline's mean validation accuracy is above 0.97.
"""

from collections.abc import Iterator
from typing import Any

from sklearn.datasets import make_moons

NOISE = 0.15
EPOCHS = 20
BATCH_SIZE = 64


def train(
    lr: float = 0.03, hidden: int = 32, activation: str = "ReLU", *, seed: int
) -> Iterator[dict[str, Any]]:
    """Train one hidden layer with Adam and cross-entropy; yield metrics after each epoch."""
    import torch  # here, as `paribus list` can do without
    from torch import nn

    points, labels = map(torch.tensor, make_moons(1000, noise=NOISE, random_state=0))
    points = points.float()
    x, y, x_val, y_val = points[:700], labels[:700], points[700:], labels[700:]  # come shuffled
    model = nn.Sequential(nn.Linear(2, hidden), getattr(nn, activation)(), nn.Linear(hidden, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    order = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        total = 0.0
        shuffled = torch.randperm(len(x), generator=order)
        for start in range(0, len(x), BATCH_SIZE):
            batch = shuffled[start : start + BATCH_SIZE]
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(batch)
        with torch.no_grad():
            outputs = model(x_val)
        yield {
            "train/loss": total / len(x),
            "val/loss": nn.functional.cross_entropy(outputs, y_val),
            "val/accuracy": (outputs.argmax(1) == y_val).float().mean(),
        }


SELECT = {"metric": "val/accuracy", "direction": "maximize"}
AXES = {
    "script.lr": [0.001, 0.01, 0.1],
    "script.hidden": [4, 128],
    "script.activation": ["Identity", "Tanh"],
}
