"""An experiment whose names try to be more than names, wherever a user may choose one."""

MARKUP = "<script>window.hacked = 1</script>"
IMAGE = '<img src=x onerror="window.hacked = 2">\'"'
ESCAPES = "\x1b[31mred\x1b[0m\x07"
RIGHT_TO_LEFT = "\u202eevil \u05e9\u05dc\u05d5\u05dd"
EMOJI = "👩‍🔬🔥[bold]"
LONG = "long" * 100
CLASSES = (MARKUP, RIGHT_TO_LEFT, EMOJI)
NOTES = (IMAGE, ESCAPES, RIGHT_TO_LEFT, EMOJI, LONG)

EXPERIMENT = f'''"""Does a name do anything? {MARKUP}"""

import numpy as np
from torch import nn

CLASSES = {CLASSES!r}


def waves(n: int = 60):
    kind = np.arange(n) % 3
    features = np.sin(np.arange(n * 4.0) * 12.9898).reshape(n, 4) + 0.8 * kind[:, None]
    return features.astype("float32"), np.array([CLASSES[k] for k in kind])


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, note: str = "plain"):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.head(x)


BASELINE = {{
    "task": "multiclass",
    "data": waves,
    "model": {{"name": Net}},
    "loss": "cross_entropy",
    "optimizer": {{"name": "adam", "lr": 0.01}},
    "train": {{"epochs": 3, "batch_size": 16}},
}}
AXES = {{"model.note": {list(NOTES)!r}, "optimizer.lr": [0.1, 0.001]}}
'''
