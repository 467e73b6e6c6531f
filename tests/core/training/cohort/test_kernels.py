"""The cohort computes what the loop computes: every loss, activation, optimizer and schedule."""

import pytest

from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

# Both compute in float32, in another order: after some epochs they agree to about this.
CLOSE = {"rel": 2e-4, "abs": 1e-5}
MLP = {"name": "mlp", "hidden_dim": 9, "num_layers": 2}
LABELS = {"task": "multilabel", "data": "sklearn.datasets.make_multilabel_classification"}
TWO = {"task": "binary", "data": "sklearn.datasets.load_breast_cancer", "standardize": True}
VALUES = {"task": "regression", "data": {"name": "slopes", "columns": 2}}
CYCLE = "torch.optim.lr_scheduler.OneCycleLR"

SAME = {
    **{
        name: {"model": MLP | {"activation": name}}
        for name in (
            *("identity", "relu", "leaky_relu", "gelu", "silu"),
            *("elu", "tanh", "sigmoid", "softplus"),
        )
    },
    "activations in a row": {"model": "Rows"},
    "an activation first": {"model": {"name": "Ends", "first": "Tanh"}},
    **{
        f"{name} at the end": {
            "task": "regression",
            "data": {"name": "slopes", "columns": 2},
            "loss": "mse",
            "model": {"name": "Ends", "last": name},
            "optimizer": {"name": "sgd", "lr": 0.05},
        }
        for name in ("ReLU", "Tanh", "Sigmoid", "Softplus", "GELU", "LeakyReLU")
    },
    "far logits": TWO | {"loss": "bce_with_logits", "standardize": False},
    "linear": {"model": "linear"},
    "no bias": {"model": {"name": "linear", "bias": False}},
    "dropout": {"model": MLP | {"dropout": 0.4}},
    **{
        f"dropouts around {name}": {"model": {"name": "Drops", "function": name}}
        for name in (
            *("ReLU", "LeakyReLU", "GELU", "SiLU", "ELU", "Tanh", "Sigmoid", "Softplus"),
            "Identity",
        )
    },
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1}},
    "nesterov": {
        "optimizer": {
            "name": "sgd",
            "lr": 0.1,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 0.01,
        }
    },
    "adam": {"optimizer": {"name": "adam", "lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.95]}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.02, "weight_decay": 0.3}},
    "rmsprop": {"optimizer": {"name": "rmsprop", "lr": 0.01, "momentum": 0.5, "centered": True}},
    "clipped": {"train": {"epochs": 4, "batch_size": 16, "clip_grad_norm": 0.2}},
    "cosine": {"scheduler": "cosine"},
    "cosine by updates": {"scheduler": {"name": "cosine", "interval": "update"}},
    "plateau": {"scheduler": {"name": "plateau", "patience": 0, "factor": 0.1}},
    "warm-up": {"scheduler": "linear_warmup"},
    "one cycle": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
                  "scheduler": {"name": CYCLE, "max_lr": 0.2}},
    "smoothing": {"loss": {"name": "cross_entropy", "label_smoothing": 0.2}},
    "weights": {"loss": {"name": "cross_entropy", "weight": [1, 2, 0.5], "label_smoothing": 0.1}},
    "balanced": {"loss": {"name": "cross_entropy", "weight": "balanced"}},
    "batches of one": {"train": {"epochs": 1, "batch_size": 1}},
    "one batch": {"train": {"epochs": 3, "batch_size": 500, "eval_batch_size": 5}},
    "updates": {"train": {"updates": 7, "batch_size": 10}},
    "mse": VALUES | {"loss": "mse"},
    "l1": VALUES | {"loss": "l1"},
    "huber": VALUES | {"loss": {"name": "huber", "delta": 0.3}},
    "two classes": TWO | {"loss": "bce_with_logits"},
    "two weighted": TWO | {"loss": {"name": "bce_with_logits", "weight": "balanced"}},
    "bce": TWO | {"loss": {"name": "bce", "weight": [2.0]}},
    "labels": LABELS | {"loss": "bce_with_logits"},
    "labels weighted": LABELS | {"loss": {"name": "bce", "weight": "balanced"}},
    "patience": {"train": {"epochs": 30, "batch_size": 16, "patience": 2},
                 "optimizer": {"name": "sgd", "lr": 1.0}},
    "a further metric": {"metrics": ["CohenKappa"]},
}  # fmt: skip


ROWS = """
from paribus.core.components.models import Dropout


class Rows(nn.Sequential):
    def __init__(self, in_features: int, out_features: int):
        super().__init__(
            nn.Tanh(), nn.Linear(in_features, 9), nn.Sigmoid(), nn.Tanh(), nn.ReLU(),
            nn.Linear(9, 9), nn.ReLU(), nn.GELU("tanh"), nn.Softplus(),
            nn.Linear(9, out_features),
        )


class Drops(nn.Sequential):
    def __init__(self, in_features: int, out_features: int, function: str = "ReLU"):
        function = getattr(nn, function)
        super().__init__(
            Dropout(0.1), nn.Linear(in_features, 9), function(), Dropout(0.0), Dropout(0.4),
            nn.Linear(9, 9), Dropout(0.3), function(), Dropout(0.2), Dropout(0.2),
            nn.Linear(9, out_features), Dropout(0.1),
        )


class Ends(nn.Sequential):
    def __init__(
        self, in_features: int, out_features: int, first: str = "Identity", last: str = "Identity"
    ):
        super().__init__(
            getattr(nn, first)(), nn.Linear(in_features, 9), nn.Tanh(),
            nn.Linear(9, out_features), getattr(nn, last)(),
        )
"""


@pytest.mark.parametrize("what", SAME)
def test_the_same_metrics(what, write_small):
    small = write_small(ROWS)
    run = small.run(3, **SAME[what])
    assert run.engine == "cohort"
    job = Job((run,), small.resolver)
    ours, theirs = ([r for (r,) in engine().train(job, {})] for engine in (Cohort, Loop))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.line["order_sha256"] == other.line["order_sha256"]
        assert one.line["lr"] == other.line["lr"]
        assert one.line["metrics"] == pytest.approx(other.line["metrics"], **CLOSE)
        assert one.finished == other.finished
    assert ours[0].initial_weights == theirs[0].initial_weights
    best = ours[-1].best
    assert best.epoch == theirs[-1].best.epoch
    assert best.weights.keys() == theirs[-1].best.weights.keys()
    for name, tensor in best.weights.items():
        assert tensor.numpy() == pytest.approx(theirs[-1].best.weights[name].numpy(), **CLOSE)
    assert best.confusion_matrix == theirs[-1].best.confusion_matrix
