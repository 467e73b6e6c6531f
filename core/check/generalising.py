"""Do the labels follow from the inputs?"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from paribus.core.build import Trainee
from paribus.core.check.quick_fit import BATCH, FITS, by_adam, by_lbfgs
from paribus.core.check.subject import (
    SEED,
    Subject,
    Verdict,
    affordable,
    counted,
    failed,
    outputs_of,
    passed,
    skipped,
)
from paribus.core.data import Part
from paribus.core.seeding import stream

HELD_OUT, FEWEST = 1000, 20  # examples
UPDATES, FEWEST_UPDATES = 150, 40
FITS_OF_CLASSES = (by_adam, by_lbfgs)
RANDOM = 0.35  # share of labels that may look drawn at random; of half of them it is 0.5 and more
ADVICE = (
    "Look whether features and targets were sorted, shuffled or joined apart from each other; if "
    "not, the inputs say little about the targets, or the model is too small."
)


def labels_follow(subject: Subject) -> Verdict:
    """What is learned from some training examples holds for others.

    Of classes and labels the surest third of the predictions is judged. Where classes overlap a
    model is unsure; where labels are wrong it is wrong while being sure.
    """
    data = subject.data
    if data.train.targets is data.val.targets:
        return skipped("split.method=none leaves no examples that were not trained on")
    order = torch.randperm(len(data.train), generator=stream(SEED, "data", "halves"))
    half = len(order) // 2
    if half < FEWEST // 2:
        return skipped(f"{counted(len(order), 'training example')} are too few to tell")
    learned, others = data.train.select(order[:half]), data.train.select(order[half:])
    if affordable(subject.trainee(), min(BATCH, half), UPDATES) < FEWEST_UPDATES:
        return skipped("the model is too large to learn quickly")
    verdicts = []
    for fit in FITS if data.class_names is None else FITS_OF_CLASSES:
        trainee = subject.trainee()
        if data.class_names is not None:
            trainee = replace(trainee, loss=_plain_loss)
        for _ in fit(trainee, learned, UPDATES):
            pass
        verdicts.append(_judged(trainee, (others, data.val)))
        if verdicts[-1].passed:
            return verdicts[-1]
    return verdicts[0]


def _plain_loss(outputs: Tensor, aims: Tensor) -> Tensor:
    """The usual loss of the task: weights of classes would change what is surely predicted."""
    if aims.dtype == torch.int64:
        return functional.cross_entropy(outputs, aims)
    return functional.binary_cross_entropy_with_logits(outputs, aims)


def _judged(trainee: Trainee, parts: tuple[Part, Part]) -> Verdict:
    pairs = [outputs_of(trainee, part, _spread(len(part), HELD_OUT)) for part in parts]
    outputs, aims = (torch.cat(both) for both in zip(*pairs, strict=True))
    if trainee.task.targets == "values":
        return _of_values(outputs, aims)
    return _of_classes(trainee, outputs, aims)


def _spread(examples: int, most: int) -> Tensor:
    return torch.linspace(0, examples - 1, min(examples, most)).round().long()


def _of_values(outputs: Tensor, targets: Tensor) -> Verdict:
    """Predictions of values rise and fall with the targets."""
    found = []
    for column, aim in zip(outputs.double().T, targets.double().T, strict=True):
        found.append(torch.corrcoef(torch.stack([column, aim]))[0, 1].item())
    correlation = sum(found) / len(found)
    told = f"correlation {correlation:.2f} with {counted(len(targets), 'target')} not trained on"
    if not correlation > 2 / math.sqrt(len(targets)):
        return failed(f"Predictions have a {told}: no more than chance.", ADVICE)
    return passed(told)


def _of_classes(trainee: Trainee, outputs: Tensor, targets: Tensor) -> Verdict:
    probabilities = trainee.task.probabilities(outputs)
    assert probabilities is not None
    if targets.ndim == 1:
        sure, predicted = probabilities.max(1)
        right = targets.bincount(minlength=probabilities.shape[1]).double()[predicted]
        by_chance = right / len(targets)
    else:
        sure, predicted = probabilities.maximum(1 - probabilities), (probabilities > 0.5).long()
        positive = targets.double().mean(0).expand_as(sure)
        by_chance = torch.where(predicted == 1, positive, 1 - positive)
    surest = sure.flatten().argsort(descending=True, stable=True)[: math.ceil(sure.numel() / 3)]
    wrong = int((predicted != targets).flatten()[surest].sum())
    if_random = float((1 - by_chance).flatten()[surest].sum())
    told = f"{wrong} of the {len(surest)} surest predictions for examples not trained on are wrong"
    if wrong > RANDOM * if_random:
        share = min(1.0, wrong / if_random)
        return failed(f"{told}, as if {share:.0%} of the labels were drawn at random.", ADVICE)
    return passed(told)
