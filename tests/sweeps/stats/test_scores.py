"""What each example adds to a metric: the mean is the metric, or nothing is said."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from paribus.core.components.tasks import Binary, Multiclass, Multilabel, Regression
from paribus.sweeps.analysis.observed import example_scores

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 3)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 40)
LABELS = RNG.integers(0, 2, (40, 3))
VALUES = RNG.normal(size=(40, 3)).astype(np.float32)


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize(
    ("name", "task", "targets"),
    [
        ("multiclass", Multiclass(), CLASSES),
        ("multilabel", Multilabel(0.3), LABELS),
        ("binary", Binary(0.3), LABELS[:, 0]),
    ],
)
def test_accuracy(name, task, targets):
    outputs = LOGITS[:, :1] if name == "binary" else LOGITS
    value = task.measure(*tensors(outputs, targets))["accuracy"]
    configuration = {"task": {"name": name, "threshold": 0.3}}
    scores = example_scores("val/accuracy", value, configuration, outputs, targets)
    assert scores.shape == (40,)
    assert scores.mean() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_errors(metric):
    value = Regression().measure(*tensors(LOGITS, VALUES))[metric]
    configuration = {"task": {"name": "regression"}}
    scores = example_scores(f"val/{metric}", value, configuration, LOGITS, VALUES)
    assert scores.mean() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "task", "targets"),
    [
        ({"name": "cross_entropy", "label_smoothing": 0.1}, "multiclass", CLASSES),
        ({"name": "bce_with_logits"}, "multilabel", LABELS),
        ({"name": "mse"}, "regression", VALUES),
        ({"name": "l1"}, "regression", VALUES),
        ({"name": "huber", "delta": 0.5}, "regression", VALUES),
    ],
)
def test_losses_as_torch_has_them(loss, task, targets):
    name, keywords = loss["name"], {k: v for k, v in loss.items() if k != "name"}
    function = {
        "bce_with_logits": functional.binary_cross_entropy_with_logits,
        "mse": functional.mse_loss, "l1": functional.l1_loss, "huber": functional.huber_loss,
        "cross_entropy": functional.cross_entropy,
    }[name]  # fmt: skip
    outputs, aims = tensors(LOGITS, targets)
    aims = aims.float() if name == "bce_with_logits" else aims
    each = function(outputs, aims, reduction="none", **keywords)
    configuration = {"task": {"name": task}, "loss": loss}
    scores = example_scores("val/loss", each.mean().item(), configuration, LOGITS, targets)
    assert scores == pytest.approx(each.reshape(40, -1).mean(1).numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("configuration", [
    {"task": {"name": "binary"}}, {"task": {}}, {"task": {"name": "multilabel", "threshold": {}}},
    {"task": {"name": "multiclass"}, "loss": []}, {"task": [], "loss": {}},
    {"task": {"name": "multiclass"}, "loss": {"name": "cross_entropy", "label_smoothing": {}}},
])  # fmt: skip
@pytest.mark.parametrize("metric", ["val/accuracy", "val/loss"])
def test_a_forged_record_whose_parts_do_not_fit_has_no_scores(configuration, metric):
    assert example_scores(metric, 0.5, configuration, LOGITS, CLASSES) is None


def test_nothing_is_said_of_what_is_no_mean_over_examples():
    task = {"task": {"name": "multiclass"}}
    assert example_scores("val/f1", 0.5, task, LOGITS, CLASSES) is None
    assert example_scores("val/accuracy", 0.5, {"script": {}}, LOGITS, CLASSES) is None
    # A loss with weights, or one of the user's own, is called like one that is known.
    weighted = {**task, "loss": {"name": "cross_entropy", "weight": [1, 2, 3]}}
    value = functional.cross_entropy(*tensors(LOGITS, CLASSES), torch.tensor([1.0, 2.0, 3.0]))
    assert example_scores("val/loss", value.item(), weighted, LOGITS, CLASSES) is None
