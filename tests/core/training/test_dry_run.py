"""Parts that do not fit each other are refused before training, with what and where they are."""

import pytest

from paribus.core.errors import RequestError

SLOPES = {"task": "regression", "data": "slopes", "loss": "mse"}

MORE = """
def flat(in_features, num_classes) -> nn.Module:
    return nn.Sequential(nn.Linear(in_features, 1), nn.Flatten(0))


def squeezed(outputs, targets):
    return nn.functional.mse_loss(outputs.squeeze(1), targets)


def each(outputs, targets):
    return (outputs - targets).abs()


def detached(outputs, targets):
    return (outputs - targets).abs().mean().detach()


def nothing(outputs, targets):
    return None


def lazy(num_classes):
    return nn.Sequential(nn.LazyLinear(num_classes))


class Remembers(nn.Linear):
    def get_extra_state(self):
        return {"since": 3}


def remembers(in_features, num_classes):
    return Remembers(in_features, num_classes)


def not_a_module(in_features) -> nn.Module:
    return 3


class TakesMore(nn.Module):
    def __init__(self, in_features: int, vocab_size: int):
        super().__init__()


def failing():
    raise OSError("no such disk")
"""


def refused(small, **changes):
    with pytest.raises(RequestError) as caught:
        small.run(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model": {"name": "mlp", "out_features": 7}},
            ["model mlp returns [2, 7] for a batch of 2", "3 classes", "needs [2, 3]"],
        ),
        (
            {"model": {"name": "mlp", "in_features": 9}},
            ["model mlp cannot take a batch of shape [2, 4]", "data small.py:waves"],
        ),
        ({**SLOPES, "model": "flat"}, ["'num_classes', which does not follow from this data"]),
        ({**SLOPES, "model": {"name": "flat", "num_classes": 1}}, ["returns [2]", "needs [2, 1]"]),
        ({"model": "torchvision.models.resnet18"}, ["cannot take a batch of shape [2, 4]"]),
        ({"loss": "mse"}, ["mse is for task regression, not for task multiclass", "cross_entropy"]),
        ({**SLOPES, "loss": "cross_entropy"}, ["for task multiclass, not for task regression"]),
        ({"task": "regression"}, ["loss cross_entropy is for task multiclass"]),
        ({**SLOPES, "task": "multiclass", "loss": "cross_entropy"}, ["looks like regression"]),
        ({**SLOPES, "loss": "squeezed"}, ["squeezed cannot take outputs [2, 1]", "targets [2, 1]"]),
        ({**SLOPES, "loss": "each"}, ["must return one number that depends on", "[2, 1]"]),
        ({**SLOPES, "loss": "detached"}, ["must return one number that depends on the model"]),
        ({**SLOPES, "loss": "nothing"}, ["must return one number", "NoneType"]),
        ({**SLOPES, "loss": {"name": "mse", "reduction": "none"}}, ["must return one number"]),
        ({**SLOPES, "loss": {"name": "mse", "reduction": "sum"}}, ["must be a mean over examples"]),
        ({**SLOPES, "loss": {"name": "mse", "size_average": False}}, ["must be a mean over exam"]),
        ({**SLOPES, "loss": {"name": "torch.nn.MSELoss", "reduction": "sum"}}, ["must be a mean"]),
        (
            {"model": "not_a_module"},
            ["model small.py:not_a_module returned 3, not a torch.nn.Module"],
        ),
        ({"model": "lazy"}, ["lazy: 0.weight, 0.bias of its state is no tensor of a known shape"]),
        ({"model": "remembers"}, ["remembers: _extra_state of its state is no tensor"]),
        ({"model": "TakesMore"}, ["needs 'vocab_size', which does not follow from this data"]),
        ({"data": "failing"}, ["data small.py:failing fails: OSError: no such disk (sm"]),
        ({"optimizer": {"name": "adam", "lr": -1}}, ["adam cannot be made", "learning rate"]),
        ({"split": {"val_fraction": 0.001}}, ["leave no validation example"]),
    ],
)  # fmt: skip
def test_misfits_are_refused_before_training(changes, words, write_small):
    text = refused(write_small(MORE), **changes)
    assert all(word in text for word in words), text


SUMS = """
class Summed(nn.MSELoss):
    def __init__(self):
        super().__init__(reduction="sum")

    def forward(self, outputs, targets):
        return 2 * super().forward(outputs, targets)


def summed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none").sum()


def of_32(outputs, targets):
    return (outputs - targets).square().sum() / 32
"""


@pytest.mark.parametrize("changes", [SLOPES | {"loss": "Summed"}, {"loss": "summed"},
                                     SLOPES | {"loss": "of_32"}])  # fmt: skip
def test_a_loss_of_the_user_s_own_that_sums_is_refused(changes, write_small):
    text = refused(write_small(SUMS), **changes)
    assert f"loss small.py:{changes['loss']} must be a mean over examples" in text
    assert "train.eval_batch_size" in text
    assert "Let it return the mean" in text


CONTRASTS = """
def contrast(outputs, targets):
    # Each example against all others: log N of a model that tells none apart, so twice as large
    # for 4 examples as for 2.
    likeness = 1e-4 * outputs @ outputs.T
    return nn.functional.cross_entropy(likeness, torch.arange(len(outputs)))


def half_summed(outputs, targets):
    errors = (outputs - targets).square()
    return errors.mean() + 1e-3 * errors.sum()


def unbounded(outputs, targets):
    return (outputs - targets).abs().mean() / 0


def random(outputs, targets):
    return (outputs - targets + torch.rand(len(targets), 1)).abs().mean()


def weighted(outputs, targets):
    weights = targets.abs() + 1
    return (weights * (outputs - targets).square()).sum() / weights.sum()
"""


@pytest.mark.parametrize(("loss", "depends"), {"contrast": True, "half_summed": True,
    "unbounded": False, "random": False, "weighted": False}.items())  # fmt: skip
def test_a_loss_that_is_no_sum_is_trained_and_named_if_it_depends_on_the_batch(
    loss, depends, write_small
):
    run = write_small(CONTRASTS).run(**SLOPES | {"loss": loss})
    assert run.configuration["loss"]["name"] == f"small.py:{loss}"
    assert run.facts.get("loss_by_batch", False) is depends


SMOOTHED = """
class Smoothed(nn.Module):
    def __init__(self, smooth: float = 0.1):
        super().__init__()
        self.smooth, self.reduction = smooth, "sum"  # of the smoothed terms, as its author means it

    def forward(self, outputs, targets):
        return (outputs - targets).abs().add(self.smooth).log().mean()
"""


def test_a_loss_of_the_user_s_own_may_call_anything_its_reduction(write_small):
    run = write_small(SMOOTHED).run(**{**SLOPES, "loss": "Smoothed"})
    assert run.configuration["loss"]["name"] == "small.py:Smoothed"
