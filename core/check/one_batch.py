"""Can the model fit a few examples at all?"""

from __future__ import annotations

import math

import torch

from paribus.core.build import Trainee
from paribus.core.check.quick_fit import AT_ONCE, FITS, FITS_OF_CONVEX, explained, ordered
from paribus.core.check.subject import (
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
from paribus.core.data import Part
from paribus.core.seeding import seeded_globals

EXAMPLES, FEW = 32, 8  # the few are for large models
UPDATES, LOOK_EVERY = 300, 5
OVERFITTED = 0.7  # share of what a constant prediction gets wrong that must be put right
BETTER = 0.3  # what is not fitted has to be ordered at least so well: 0 is chance, 1 perfect


def overfits_one_batch(subject: Subject) -> Verdict:
    """The model can fit a few examples, with optimizers that need no learning rate.

    A linear model cannot fit every batch. Where it does not, it has to be clearly better than
    chance on more examples.
    """
    part, trainee = subject.data.train, subject.trainee()
    batch = part.select(some_rows(part, _most(trainee), alike=True))
    share, tried = _fitted(subject, batch)
    if share >= OVERFITTED:
        return passed(_told(share, len(batch)))
    if not tried:
        return skipped(f"the model is too large to be fitted quickly ({_told(share, len(batch))})")
    found = f"The model cannot fit one batch: {_told(share, len(batch))}."
    if not is_linear(trainee, batch):
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
        trainee = subject.trainee()
        inputs, targets = batch_of(batch, torch.arange(len(batch)), trainee.device)
        for update in fit(trainee, batch, UPDATES):
            updates += 1
            if update % LOOK_EVERY == 0:
                with torch.no_grad():
                    _, outputs = loss_of(trainee, inputs, targets)
                best = max(best, explained(trainee.task, outputs, targets))
            if best >= OVERFITTED:
                return best, True
    return best, updates >= UPDATES


def _orders(subject: Subject) -> bool:
    """Whether a linear model is clearly better than chance on some hundred examples."""
    part = subject.data.train
    many = part.select(some_rows(part, AT_ONCE, alike=True))
    for fit in FITS_OF_CONVEX:
        trainee = subject.trainee()
        inputs, targets = batch_of(many, torch.arange(len(many)), trainee.device)
        for _ in fit(trainee, many, UPDATES // 3):
            pass
        with torch.no_grad():
            _, outputs = loss_of(trainee, inputs, targets)
        if ordered(trainee.task, outputs, targets) >= BETTER:
            return True
    return False


def is_linear(trainee: Trainee, part: Part) -> bool:
    """Whether what comes out for the middle of two examples is the middle of what comes out."""
    inputs, _ = part.inputs_of(len(part) // 2 * 2)
    if inputs.dtype != torch.float32 or len(inputs) < 2:
        return False
    trainee.model.eval()
    with torch.no_grad(), seeded_globals(SEED, "dropout"):
        one, other, middle = (
            trainee.model(batch.to(trainee.device))
            for batch in (inputs[::2], inputs[1::2], (inputs[::2] + inputs[1::2]) / 2)
        )
    return torch.allclose(middle, (one + other) / 2, rtol=1e-3, atol=1e-5)


def _most(trainee: Trainee) -> int:
    """For values no more examples than a linear model of so many parameters can fit."""
    most = FEW if affordable(trainee, EXAMPLES, UPDATES) < UPDATES else EXAMPLES
    if trainee.task.targets != "values":
        return most
    width = trainee.task.width(trainee.data.outputs)
    learning = sum(p.numel() for p in trainee.model.parameters() if p.requires_grad)
    return min(most, max(2, learning // (2 * width)))


def _told(share: float, examples: int) -> str:
    than = "better than a constant prediction"
    return f"{max(share, 0.0):.0%} {than} on {counted(examples, 'example')}"
