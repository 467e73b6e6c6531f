"""Losses with and without weights: torch's to the bit without, means over the examples with."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch import nn
from torch.nn import functional

from paribus.core.components.losses import BCE, BCEWithLogits, CrossEntropy, balanced_weights
from paribus.core.data.loader import Part
from paribus.core.errors import RequestError

modest = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32)
TABLE = """
def sides(n: int = 40, labels: int = 1):
    x = torch.sin(torch.arange(n * 4.0) * 12.9898).reshape(n, 4)
    marks = torch.stack([x.sum(1) > 0.8 * k for k in range(labels)], 1).long()
    return x, marks if labels > 1 else marks[:, 0]
"""
BINARY = {"task": "binary", "data": "sides", "loss": "bce_with_logits"}
LABELS = {**BINARY, "task": "multilabel", "data": {"name": "sides", "labels": 3}}


def drawn(seed, rows=6, columns=4):
    """(logits, classes, marks) of a seed."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, columns, generator=generator) * 4
    classes = torch.randint(columns, (rows,), generator=generator)
    marks = torch.randint(2, (rows, columns), generator=generator).float()
    return logits, classes, marks


def gradient(loss, logits, targets):
    leaf = logits.clone().requires_grad_()
    loss(leaf, targets).backward()
    return leaf.grad


@modest
@given(seeds, st.sampled_from([0.0, 0.1, 1.0]))
def test_without_weights_they_are_torch_s_to_the_bit(seed, smoothing):
    logits, classes, marks = drawn(seed)
    for ours, theirs, targets in (
        (CrossEntropy(label_smoothing=smoothing), nn.CrossEntropyLoss(label_smoothing=smoothing),
         classes),
        (BCEWithLogits(), nn.BCEWithLogitsLoss(), marks),
    ):  # fmt: skip
        assert torch.equal(ours(logits, targets), theirs(logits, targets))
        assert torch.equal(gradient(ours, logits, targets), gradient(theirs, logits, targets))
    assert torch.equal(BCE()(logits, marks), nn.BCELoss()(logits.sigmoid(), marks))


@modest
@given(seeds, st.lists(st.floats(0, 10), min_size=4, max_size=4))
def test_weighted_cross_entropy_is_a_mean_over_the_examples(seed, weights):
    logits, classes, _ = drawn(seed)
    each = functional.cross_entropy(logits.double(), classes, reduction="none").numpy()
    mine = dict(enumerate(weights))
    samples = compute_sample_weight(mine, classes.numpy())
    found = CrossEntropy(weights)(logits, classes)
    assert found.item() == pytest.approx((samples * each).mean(), rel=1e-5, abs=1e-6)
    alone = [CrossEntropy(weights)(logits[[row]], classes[[row]]).item() for row in range(6)]
    assert found.item() == pytest.approx(np.mean(alone), rel=1e-5, abs=1e-6)


@modest
@given(seeds, st.lists(st.floats(0, 10), min_size=4, max_size=4))
def test_weighted_binary_cross_entropy_weights_the_positive_ones(seed, weights):
    logits, _, marks = drawn(seed)
    wide, factors = logits.double(), torch.tensor(weights, dtype=torch.float64)
    positive = functional.logsigmoid(wide)
    negative = functional.logsigmoid(-wide)
    by_hand = -(factors * marks * positive + (1 - marks) * negative).mean().item()
    assert BCEWithLogits(weights)(logits, marks).item() == pytest.approx(by_hand, rel=1e-5)
    assert BCE(weights)(logits, marks).item() == pytest.approx(by_hand, rel=1e-3, abs=1e-5)
    torch.testing.assert_close(
        gradient(BCE(weights), logits, marks),
        gradient(BCEWithLogits(weights), logits, marks),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("loss", [BCE, BCEWithLogits])
@pytest.mark.parametrize("weight", [None, [3.0, 0.0]])
def test_extreme_logits_have_gradients_that_are_finite(loss, weight):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [120.0, -120.0], [0.0, 17.0]])
    for marks in (torch.zeros(4, 2), torch.ones(4, 2)):
        assert loss(weight)(logits, marks).isfinite()
        assert gradient(loss(weight), logits, marks).isfinite().all()


def part_of(targets):
    return Part(torch.zeros(len(targets), 1), targets)


@modest
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_balanced_weights_are_scikit_learn_s(drawn_classes):
    classes = torch.tensor([0, 1, 2, 3, *drawn_classes])
    found = balanced_weights(part_of(classes), 4, 4)
    wanted = compute_class_weight("balanced", classes=np.arange(4), y=classes.numpy())
    assert found == pytest.approx(wanted.tolist())


def test_balanced_weights_of_one_logit_and_of_labels():
    classes = torch.tensor([0, 0, 0, 1, 0, 0, 1, 0])
    assert balanced_weights(part_of(classes), 1, 2) == [3.0]
    marks = torch.tensor([[1, 0, 1], [1, 0, 1], [1, 0, 0], [0, 0, 1]])
    assert balanced_weights(part_of(marks), 3, 3) == [1 / 3, 4.0, 1 / 3]
    # The label of all examples is not left without a gradient.
    assert balanced_weights(part_of(torch.ones(4, 1).long()), 1, 1) == [1 / 4]


@pytest.mark.parametrize(
    ("changes", "buffer"), [({}, "weight"), (BINARY, "pos_weight"), (LABELS, "pos_weight")]
)
def test_balanced_weights_follow_from_the_training_part_alone(write_small, changes, buffer):
    small = write_small(TABLE)
    split = {"method": "in_order", "val_fraction": 0.3, "test_fraction": 0.2}
    name = changes.get("loss", "cross_entropy")
    asked = small.asked(**changes | {"loss": {"name": name, "weight": "balanced"}, "split": split})
    train_state = small.resolver.train_state(asked, 0)
    train = small.resolver.data(asked, 0).train
    width = train_state.task.width(train_state.data.outputs)
    wanted = torch.tensor(balanced_weights(train, width, train_state.data.outputs))
    assert torch.equal(getattr(train_state.loss, buffer), wanted)
    targets = train.targets.double()
    if changes:
        share = targets.reshape(len(targets), -1).mean(0)
        torch.testing.assert_close(wanted.double(), (1 - share) / share, rtol=1e-6, atol=0)
    assert train_state.configuration["loss"]["weight"] == "balanced"  # the record keeps the word


def said(small, **changes):
    with pytest.raises(RequestError) as caught:
        small.run(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "loss", "words"),
    [
        ({}, {"name": "cross_entropy", "weight": [1, 2]}, "one number for each class, 3."),
        (BINARY, {"name": "bce", "weight": [1, 2]}, "one number for each logit, 1."),
        (LABELS, {"name": "bce_with_logits", "weight": [2.5]}, "one number for each logit, 3."),
        ({}, {"name": "cross_entropy", "weight": [1, -2, 1]}, "must be 'balanced' or a list"),
        ({}, {"name": "cross_entropy", "weight": 3}, "must be"),
        ({}, {"name": "cross_entropy", "weight": "balancd"}, "Did you mean 'balanced'?"),
    ],
)
def test_weights_that_do_not_fit_are_refused(write_small, changes, loss, words):
    found = said(write_small(TABLE), **changes | {"loss": loss})
    assert found.startswith("loss.weight=")
    assert words.replace("'", "") in found.replace("'", "")


@pytest.mark.parametrize(
    ("changes", "loss", "words"),
    [
        (BINARY, "cross_entropy", "is for task multiclass, not for task binary. Take bce or"),
        (BINARY, "mse", "is for task regression, not for task binary."),
        (LABELS, "torch.nn.CrossEntropyLoss", "not for task multilabel. Take bce or bce_with"),
        ({}, "bce_with_logits", "is for task binary or multilabel, not for task multiclass."),
        ({}, "bce", "is for task binary or multilabel, not for task multiclass."),
        (BINARY, "torch.nn.functional.cross_entropy", "is for task multiclass, not for task bin"),
        ({}, "torch.nn.functional.mse_loss", "is for task regression, not for task multiclass."),
        (BINARY, "torch.nn.BCELoss", "takes probabilities, and every task's model returns logits"),
        (LABELS, "torch.nn.functional.binary_cross_entropy", "takes probabilities"),
        ({}, "torch.nn.NLLLoss", "takes logarithms of probabilities"),
    ],
)
def test_a_loss_of_another_task_is_refused(write_small, changes, loss, words):
    assert words in said(write_small(TABLE), **changes | {"loss": loss})


@pytest.mark.parametrize("loss", ["bce", "bce_with_logits", "torch.nn.BCEWithLogitsLoss"])
@pytest.mark.parametrize("changes", [BINARY, LABELS])
def test_losses_of_their_task_are_taken(write_small, changes, loss):
    assert write_small(TABLE).run(**changes | {"loss": loss}).configuration["loss"]["name"] == loss
