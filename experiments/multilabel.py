"""Can one network predict several labels of an example at once?

2 000 examples with 20 numbers each and any of five labels, about two at a time (scikit-learn's
`make_multilabel_classification`). The network has one logit for each label, independent of the
others.

    paribus sweep multilabel

About twenty seconds; the macro F1 on validation is above 0.9.
"""

import numpy as np
from sklearn.datasets import make_multilabel_classification

EXAMPLES = 2000
HIDDEN_DIM = 64
LR = 0.003
EPOCHS = 30
BATCH_SIZE = 64


def examples(classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers `[2000, 20]` and a 1 for each label that applies `[2000, 5]`."""
    features, labels = make_multilabel_classification(
        n_samples=EXAMPLES, n_features=20, n_classes=classes, length=200, random_state=0
    )
    return features, labels


BASELINE = {
    "task": "multilabel",
    "data": examples,
    "model": {"name": "mlp", "hidden_dim": HIDDEN_DIM},
    "loss": "bce_with_logits",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "model.num_layers": [0, 1, 2],
    "optimizer.lr": [0.001, 0.003, 0.01],
    "loss.weight": ["none", "balanced"],
}
