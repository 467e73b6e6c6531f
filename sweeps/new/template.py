"""The text of a new experiment file where there is no data yet: everything stands in the file."""

from __future__ import annotations

from string import Template

TASK = "multiclass"
WHY = "a point lies on one of 3 spirals"

_PAGE = Template('''"""What helps a network tell three spirals apart?

A template: data and model are in this file, ready to be replaced by your own. Say here what the
data is, how long a study takes, and the score to expect.

    paribus sweep $name.py
"""

import numpy as np
${imports}
POINTS = 900
NOISE = 0.2
${hidden}LR = 0.01
BATCH_SIZE = 64
EPOCHS = 30


def spirals(noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane `[900, 2]`, and which of three spirals each lies on `[900]`.

    Your own: return (features, targets) as arrays, tensors or data frames, a torch Dataset, or a
    dict of these with train, val and test. Arguments are hyperparameters: data.noise.
    """
    generator = np.random.default_rng(0)
    arm = np.arange(POINTS) % 3
    radius = generator.uniform(0.1, 1, POINTS)
    angle = 2 * np.pi * arm / 3 + 4 * radius + generator.normal(0, noise, POINTS)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), arm

${net}
BASELINE = {
    "task": "$task",  # $why
    "data": spirals,
    "model": $model,
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "optimizer.lr": [0.001, 0.01, 0.1],
${axis}    "optimizer": ["sgd", "adam", "rmsprop"],
}
''')

_NET = '''
class Net(torch.nn.Module):
    """Your own: in_features and out_features follow from the data."""

    def __init__(self, in_features: int, out_features: int, hidden: int = HIDDEN):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(in_features, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, out_features),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

'''


def write_template(name: str, model: str | None) -> str:
    """The text of an experiment file with data and a model of its own.

    Args:
        name: The experiment's name.
        model: A model that has a name already, in place of one in the file; as Python's literal.
    """
    own = {
        "imports": "import torch\n",
        "hidden": "HIDDEN = 32\n",
        "net": _NET,
        "axis": '    "model.hidden": [4, 32, 128],\n',
        "model": "Net",
    }
    parts = own if model is None else dict.fromkeys(own, "") | {"model": model}
    return _PAGE.substitute(name=name, task=TASK, why=WHY, **parts)
