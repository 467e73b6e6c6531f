"""How well can ten measurements predict the course of a disease?

442 patients, ten measurements each; the target is how far their diabetes had progressed a year
later (25 to 346). The data comes with scikit-learn. The baseline is linear regression; a network
adds little here.

    paribus sweep diabetes

About twenty seconds; the validation R² is above 0.4.
"""

LR = 1.0
EPOCHS = 60
BATCH_SIZE = 32

BASELINE = {
    "task": "regression",
    "data": "sklearn.datasets.load_diabetes",
    "model": "linear",
    "loss": "mse",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
    "select": {"metric": "val/r2"},
}

AXES = {
    "optimizer.lr": [0.1, 1.0, 10.0],
    "model": ["mlp(hidden_dim=16)"],
    "loss": ["mse", "l1", "huber"],
}
