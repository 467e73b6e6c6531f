"""Does weighting the classes help to find a rare one, and at what price?

4 000 generated examples, one in twenty of them of the rare class. With `balanced` weights both
classes count equally in the loss: recall of the rare class rises, and its precision falls. Both
come with an interval:

    paribus sweep unbalanced loss.weight
    paribus compare --metric val/binary_recall
    paribus compare --metric val/binary_precision

About ten seconds; the recall of the rare class rises by about 0.3. For real data, tumours of which
few are malignant: --set data=tumours.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, make_classification

EXAMPLES = 4000
RARE = 0.05
WEIGHT = "none"
HIDDEN_DIM = 32
LR = 0.003
EPOCHS = 20
BATCH_SIZE = 64


def generated(rare: float = RARE) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers `[4000, 10]` and a 1 for the rare class `[4000]`."""
    made: tuple[np.ndarray, np.ndarray] = make_classification(
        EXAMPLES, 10, n_informative=5, weights=[1 - rare], class_sep=0.8, random_state=0
    )
    return made


def tumours(rare: float = RARE) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's tumours `[N, 30]`, of which so many are malignant (1) `[N]`."""
    features, benign = load_breast_cancer(return_X_y=True)
    malignant = np.flatnonzero(benign == 0)
    left = malignant[: round(rare / (1 - rare) * (benign == 1).sum())]
    rows = np.sort(np.concatenate([np.flatnonzero(benign == 1), left]))
    return features[rows], 1 - benign[rows]


BASELINE = {
    "task": "binary",
    "data": generated,
    "model": {"name": "mlp", "hidden_dim": HIDDEN_DIM},
    "loss": {"name": "bce_with_logits", "weight": WEIGHT},
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
    "metrics": ["BinaryRecall", "BinaryPrecision"],
    "select": {"metric": "val/recall"},
}

AXES = {
    "loss.weight": ["none", "balanced"],
    "optimizer.lr": [0.001, 0.003, 0.01],
}
