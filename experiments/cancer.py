"""Does a network beat a linear model on a small table?

569 tumours described by 30 numbers, malignant or benign. The data comes with scikit-learn; the
baseline is the linear model, which is logistic regression.

    paribus sweep cancer

About twenty seconds; the validation accuracy is above 0.95.
"""

LR = 0.01
EPOCHS = 30
BATCH_SIZE = 64

BASELINE = {
    "task": "binary",
    "data": "sklearn.datasets.load_breast_cancer",
    "model": "linear",
    "loss": "bce_with_logits",
    "optimizer": {"name": "adam", "lr": LR},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}

AXES = {
    "model": ["mlp(hidden_dim=32)", "mlp(hidden_dim=32, dropout=0.5)"],
    "optimizer.weight_decay": [0.001, 0.01, 0.1],
    "standardize": [False],
}
