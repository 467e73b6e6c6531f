"""Fitting a model to a few examples, whatever its experiment's optimizer is.

So that what a model can learn at all is told apart from how it is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from paribus.core.build import Trainee
from paribus.core.check.subject import SEED, affordable, loss_of
from paribus.core.data import Part
from paribus.core.seeding import epoch_order
from paribus.core.tasks import Task

BATCH = 64
RATES = (0.01, 0.1, 1.0)
AT_ONCE = 300  # examples that L-BFGS sees in each step

Fit = Callable[[Trainee, Part, int], Iterator[int]]


def by_adam(trainee: Trainee, part: Part, most: int, lr: float = RATES[0]) -> Iterator[int]:
    """Small batches and a rate that falls to nothing; yields the number of each update.

    Args:
        trainee: Its model is changed.
        part: All of what it is fitted to.
        most: Updates, fewer where the model is large.
        lr: The first rate.
    """
    optimizer = torch.optim.Adam(_learning(trainee), lr=lr)
    updates = affordable(trainee, min(BATCH, len(part)), most)
    batches = _without_end(part)
    for update in range(updates):
        inputs, targets = (tensor.to(trainee.device) for tensor in next(batches))
        optimizer.param_groups[0]["lr"] = lr * (1 - update / updates)
        optimizer.zero_grad()
        loss_of(trainee, inputs, targets)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield update + 1


def by_lbfgs(trainee: Trainee, part: Part, most: int) -> Iterator[int]:
    """The same with all examples at once and a line search, which goes as far as it has to.

    Finds what is far away (a bias of 1000), and the weights of small models in a few steps; large
    models are left alone.
    """
    if affordable(trainee, min(AT_ONCE, len(part)), most) < most:
        return
    inputs, targets = (tensor.to(trainee.device) for tensor in part.inputs_of(AT_ONCE))
    optimizer = torch.optim.LBFGS(_learning(trainee), max_iter=1, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss, _ = loss_of(trainee, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    for update in range(most):
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        yield update + 1


# Where one sticks, or goes too slowly for where the targets are, the next is tried.
FITS: tuple[Fit, ...] = (*(partial(by_adam, lr=lr) for lr in RATES), by_lbfgs)
FITS_OF_CONVEX: tuple[Fit, ...] = (by_lbfgs, partial(by_adam, lr=RATES[1]))


def explained(task: Task, outputs: Tensor, targets: Tensor) -> float:
    """Share of the best constant prediction's error that is gone: 1 for none left, 0 for chance.

    Errors are squared distances for values, else wrong classes or labels.
    """
    if task.targets == "values":
        errors = (outputs - targets).double().square().mean(0)
        constant = targets.double().var(0, correction=0)
        constant = constant.where(constant > 0, targets.double().square().mean(0).clamp(min=1e-12))
        return float((1 - errors / constant).mean())
    wrong = (task.predict(outputs) != targets).double().mean().item()
    constant_wrong = 1 - _commonest(targets)
    return 1 - wrong / constant_wrong if constant_wrong else 1 - wrong


def ordered(task: Task, outputs: Tensor, targets: Tensor) -> float:
    """How well outputs order the examples, whatever the threshold: 2 AUC - 1, mean over classes.

    A line that cuts a piece out of a ring has more right than wrong, and orders nothing. For
    values it is what is `explained`.
    """
    probabilities = task.probabilities(outputs)
    if probabilities is None:
        return explained(task, outputs, targets)
    if targets.ndim == 1:
        targets = functional.one_hot(targets, probabilities.shape[1])
    found = [
        2 * float(roc_auc_score(aims, scores)) - 1
        for aims, scores in zip(targets.T.cpu(), probabilities.T.cpu(), strict=True)
        if 0 < aims.sum() < len(aims) and bool(scores.isfinite().all())
    ]
    return sum(found) / len(found) if found else 0.0


def _commonest(targets: Tensor) -> float:
    """Share of targets that the best constant prediction gets right."""
    if targets.ndim == 1:
        return float(targets.bincount().max()) / len(targets)
    positive = targets.double().mean(0)
    return float(positive.maximum(1 - positive).mean())


def _learning(trainee: Trainee) -> list[torch.nn.Parameter]:
    return [p for p in trainee.model.parameters() if p.requires_grad]


def _without_end(part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        epoch += 1
        yield from part.batches(BATCH, epoch_order(SEED, epoch, len(part)))
