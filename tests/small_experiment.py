"""A small experiment file for tests, and shorthands for what is asked of it."""

from pathlib import Path

from paribus.core.config.experiment import load_experiment
from paribus.core.config.schema import Configuration

# 60 examples of three classes; all of it follows from sines, nothing is drawn.
SMALL = '''"""Can a small net tell three kinds of waves apart?

More of it.
"""

import torch
from torch import nn

SCALE = 0.8


def waves(n: int = 60, shift: float | None = 0.0, root: str = "", download: bool = False):
    kind = torch.arange(n) % 3
    return torch.sin(torch.arange(n * 4.0) * 12.9898).reshape(n, 4) + SCALE * kind[:, None], kind


def slopes(columns: int = 1, n: int = 40):
    x = torch.sin(torch.arange(n * 3.0) * 7.77).reshape(n, 3)
    return x, torch.stack([x.sum(1) * (c + 1) for c in range(columns)], 1)


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, width: int = 6, rate: float = 0.0):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(rate)
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


def soft(outputs, targets, smooth: float = 0.0):
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=smooth)


BASELINE = {
    "task": "multiclass",
    "data": waves,
    "model": {"name": "mlp", "hidden_dim": 8},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 4, "batch_size": 16},
}

AXES = {"optimizer.lr": [0.001, 0.1], "loss": ["cross_entropy", soft]}
'''


class Small:
    """An experiment file, loaded, and shorthands for what is asked of it."""

    def __init__(self, path: Path) -> None:
        from paribus.core.training.resolve import Resolver

        self.path = path
        self.experiment = load_experiment(path)
        self.resolver = Resolver(self.experiment)

    def asked(self, **changes):
        """The baseline with whole groups replaced."""
        return Configuration.parse(self.experiment.baseline.to_dict() | changes, "the test")

    def resolved(self, **changes):
        return self.resolver.configuration(self.asked(**changes), 0)

    def run(self, seed=0, **changes):
        """A `RunSpec`."""
        return self.resolver.specify(self.asked(**changes), seed)
