"""Fitting a model to a few examples, whatever its experiment's optimizer is.

So that what a model can learn at all is told apart from how it is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from paribus.core.checks.subject import (
    SEED,
    Subject,
    Verdict,
    affordable,
    batch_of,
    counted,
    failed,
    loss_of,
    passed,
    skipped,
    some_rows,
)
from paribus.core.components.tasks import Task
from paribus.core.data.loader import Part
from paribus.core.errors import RequestError
from paribus.core.rng import epoch_order, seeded_globals
from paribus.core.training.dry_run import try_fit
from paribus.core.training.summary import pass_two, watching
from paribus.core.training.train_state import TrainState

BATCH = 64
RATES = (0.01, 0.1, 1.0)
AT_ONCE = 300  # examples that L-BFGS sees in each step

Fit = Callable[[TrainState, Part, int], Iterator[int]]


def by_adam(train_state: TrainState, part: Part, most: int, lr: float = RATES[0]) -> Iterator[int]:
    """Small batches and a rate that falls to nothing; yields the number of each update.

    Args:
        train_state: Its model is changed.
        part: All of what it is fitted to.
        most: Updates, fewer where the model is large.
        lr: The first rate.
    """
    optimizer = torch.optim.Adam(_learning(train_state), lr=lr)
    updates = affordable(train_state, min(BATCH, len(part)), most)
    batches = _without_end(part)
    for update in range(updates):
        inputs, targets = (tensor.to(train_state.device) for tensor in next(batches))
        optimizer.param_groups[0]["lr"] = lr * (1 - update / updates)
        optimizer.zero_grad()
        loss_of(train_state, inputs, targets)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield update + 1


def by_lbfgs(train_state: TrainState, part: Part, most: int) -> Iterator[int]:
    """The same with all examples at once and a line search, which goes as far as it has to.

    Finds what is far away (a bias of 1000), and the weights of small models in a few steps; large
    models are left alone.
    """
    if affordable(train_state, min(AT_ONCE, len(part)), most) < most:
        return
    inputs, targets = (tensor.to(train_state.device) for tensor in part.inputs_of(AT_ONCE))
    optimizer = torch.optim.LBFGS(_learning(train_state), max_iter=1, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss, _ = loss_of(train_state, inputs, targets)
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


def _learning(train_state: TrainState) -> list[torch.nn.Parameter]:
    return [p for p in train_state.model.parameters() if p.requires_grad]


def _without_end(part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    epoch = 0
    while True:
        epoch += 1
        yield from part.batches(BATCH, epoch_order(SEED, epoch, len(part)))


# Can the model fit a few examples at all?


EXAMPLES, FEW = 32, 8  # the few are for large models
UPDATES, LOOK_EVERY = 300, 5
OVERFITTED = 0.7  # share of what a constant prediction gets wrong that must be put right
BETTER = 0.3  # what is not fitted has to be ordered at least so well: 0 is chance, 1 perfect


def overfits_one_batch(subject: Subject) -> Verdict:
    """The model can fit a few examples, with optimizers that need no learning rate.

    A linear model cannot fit every batch. Where it does not, it has to be clearly better than
    chance on more examples.
    """
    part, train_state = subject.data.train, subject.train_state()
    batch = part.select(some_rows(part, _most(train_state), alike=True))
    share, tried = _fitted(subject, batch)
    if share >= OVERFITTED:
        return passed(_told(share, len(batch)))
    if not tried:
        return skipped(f"the model is too large to be fitted quickly ({_told(share, len(batch))})")
    found = f"The model cannot fit one batch: {_told(share, len(batch))}."
    if not is_linear(train_state, batch):
        return failed(
            found,
            "Give it more width or more layers; if it has them, look for a wrong sign in the loss, "
            "or for targets that its last layer cannot reach.",
        )
    if _orders(subject):
        return passed(f"{_told(share, len(batch))}: a linear model, which need not fit them all")
    return failed(
        found,
        "The model is linear, without an activation between its layers: give it one "
        "(model.activation=relu), or take a model that has (model=mlp).",
    )


def _fitted(subject: Subject, batch: Part) -> tuple[float, bool]:
    """The share of a batch that can be explained, and whether that was tried for long enough."""
    best, updates = -math.inf, 0
    for fit in FITS:
        train_state = subject.train_state()
        inputs, targets = batch_of(batch, torch.arange(len(batch)), train_state.device)
        for update in fit(train_state, batch, UPDATES):
            updates += 1
            if update % LOOK_EVERY == 0:
                with torch.no_grad():
                    _, outputs = loss_of(train_state, inputs, targets)
                best = max(best, explained(train_state.task, outputs, targets))
            if best >= OVERFITTED:
                return best, True
    return best, updates >= UPDATES


def _orders(subject: Subject) -> bool:
    """Whether a linear model is clearly better than chance on some hundred examples."""
    part = subject.data.train
    many = part.select(some_rows(part, AT_ONCE, alike=True))
    for fit in FITS_OF_CONVEX:
        train_state = subject.train_state()
        inputs, targets = batch_of(many, torch.arange(len(many)), train_state.device)
        for _ in fit(train_state, many, UPDATES // 3):
            pass
        with torch.no_grad():
            _, outputs = loss_of(train_state, inputs, targets)
        if ordered(train_state.task, outputs, targets) >= BETTER:
            return True
    return False


def is_linear(train_state: TrainState, part: Part) -> bool:
    """Whether what comes out for the middle of two examples is the middle of what comes out."""
    inputs, _ = part.inputs_of(len(part) // 2 * 2)
    if inputs.dtype != torch.float32 or len(inputs) < 2:
        return False
    train_state.model.eval()
    with torch.no_grad(), seeded_globals(SEED, "dropout"):
        one, other, middle = (
            train_state.model(batch.to(train_state.device))
            for batch in (inputs[::2], inputs[1::2], (inputs[::2] + inputs[1::2]) / 2)
        )
    return torch.allclose(middle, (one + other) / 2, rtol=1e-3, atol=1e-5)


def _most(train_state: TrainState) -> int:
    """For values no more examples than a linear model of so many parameters can fit."""
    most = FEW if affordable(train_state, EXAMPLES, UPDATES) < UPDATES else EXAMPLES
    if train_state.task.targets != "values":
        return most
    width = train_state.task.width(train_state.data.outputs)
    learning = sum(p.numel() for p in train_state.model.parameters() if p.requires_grad)
    return min(most, max(2, learning // (2 * width)))


def _told(share: float, examples: int) -> str:
    than = "better than a constant prediction"
    return f"{max(share, 0.0):.0%} {than} on {counted(examples, 'example')}"


# Do the parts fit each other?


def shapes(subject: Subject) -> Verdict:
    """Inputs go through augmentation and model, and what comes out is as wide as the task needs."""
    train_state = subject.train_state()
    layers = _layers(train_state)
    # With a loss that takes anything, what is left to fit is shapes.
    anything = {**train_state.configuration, "loss": {"name": "any"}}
    try:
        try_fit(replace(train_state, loss=_any_loss, extra_metrics=[], configuration=anything))
    except RequestError as error:
        through = f" Layers: {layers}." if layers else ""
        return failed(f"{error.message}{through}", error.hint)
    targets = list(subject.data.train.targets.shape[1:])
    return passed(f"{layers}; targets {_shown(targets)}")


def loss_fits(subject: Subject) -> Verdict:
    """Loss and metrics are this task's."""
    train_state = subject.train_state()
    try:
        try_fit(train_state)
    except RequestError as error:
        return failed(error.message, error.hint)
    loss, task = (train_state.configuration[kind]["name"] for kind in ("loss", "task"))
    extra = (
        f" and {counted(len(train_state.extra_metrics), 'metric')}"
        if train_state.extra_metrics
        else ""
    )
    return passed(f"loss {loss}{extra} for task {task}")


def _any_loss(outputs: Tensor, _targets: Tensor) -> Tensor:
    return outputs.sum()


def _layers(train_state: TrainState) -> str:
    """What comes out of each layer, as far as two examples get."""
    with watching(train_state.model) as rows, suppress(Exception):  # `try_fit` tells what it raises
        pass_two(train_state)
    seen = [_shown(train_state.data.input_shape)]
    for row in rows:
        if row["output_shape"] is not None:
            name = row["type"] if row["name"] == "(model)" else row["name"]
            seen.append(f"{name} {_shown(row['output_shape'][1:])}")
    most = 8
    if len(seen) > most:
        seen[most // 2 : -most // 2] = [f"… {len(seen) - most} more …"]
    return " → ".join(seen)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(['N', *map(str, shape)])}]"
