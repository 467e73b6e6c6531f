"""Checks of the data: its inputs, its labels, and whether labels follow from inputs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paribus.core.checks.subject import (
    BATCH,
    FITS,
    SEED,
    Skipped,
    Subject,
    affordable,
    by_adam,
    by_lbfgs,
    counted,
    outputs_of,
    some_rows,
)
from paribus.core.components.tasks import Task
from paribus.core.data.loader import Items, Part
from paribus.core.data.prepare import Data, class_counts
from paribus.core.data.tables import Table
from paribus.core.data.texts import Tokens
from paribus.core.errors import RequestError, first_few, shown
from paribus.core.rng import stream

SAMPLE = 1000  # examples whose inputs are looked at
LARGE, SMALL = 10.0, 0.01  # sizes of inputs at which usual initial weights stop working
SHARED = 0.01  # share of the validation part that may be equal to training examples by chance
FEWEST_ROWS = 10  # in fewer any column may differ in each
MANY = 10_000  # training examples that are read again from files

# Whether labels follow from inputs.
HELD_OUT, FEWEST = 1000, 20  # examples
UPDATES, FEWEST_UPDATES = 150, 40
FITS_OF_CLASSES = (by_adam, by_lbfgs)
RANDOM = 0.35  # share of labels that may look drawn at random; of half of them it is 0.5 and more
ADVICE = (
    "Look whether features and targets were sorted, shuffled or joined apart from each other; if "
    "not, the inputs say little about the targets, or the model is too small."
)


def inputs(subject: Subject) -> str:
    """Check that inputs are about as large as initial weights expect.

    That they are finite, data functions and items alike, is checked where they are loaded.
    """
    part = subject.data.train
    sample = next(part.batches(SAMPLE, some_rows(part, SAMPLE)))[0]
    if sample.dtype == torch.int64:
        raise Skipped("words and indices of an embedding have no size")
    values = sample.double()
    by_column = values.transpose(0, 1).flatten(1)  # columns, or channels
    sizes = by_column.square().mean(1).sqrt()
    largest = int(sizes.argmax())
    summary = f"mean {values.mean().item():z.2f}, deviation {values.std(correction=0).item():.2f}"
    if sizes[largest] > LARGE:
        name = _column_names(subject.data)[largest]
        raise RequestError(
            f"Inputs are large: {name} is about {sizes[largest].item():.3g}.",
            "Bring them near 0 and 1: standardize=true, or divide them in the data function.",
        )
    if len(values) > 1 and by_column.std(1).max() < SMALL:
        raise RequestError(
            f"Inputs hardly differ from example to example: {summary}.",
            "Set standardize=true, and look at what the data function returns.",
        )
    unique = _unique_columns(subject)
    note = f"; another value in each row, an id? {', '.join(unique)}" if unique else ""
    new = [  # of validation or test
        f"'{shown(word, 40)}' in column '{shown(column)}'"
        for column, words in subject.data.new_words.items()
        for word in words
    ]
    if new:
        note += f"; words that no training example has, encoded as zeros: {first_few(new)}"
    return f"{summary}{note}"


def _column_names(data: Data) -> list[str]:
    """Return what the numbers of an input are called, one for each column or channel."""
    if len(data.input_shape) > 1:
        return [f"channel {number}" for number in range(data.input_shape[0])]
    if table := data.preprocessing.get("table"):
        return [
            f"column '{shown(column['name'])}'"
            for column in table["columns"]
            for _ in column.get("categories", [None])
        ]
    if data.columns is not None:
        return [f"column '{shown(name)}'" for name in data.columns]
    return [f"column {number}" for number in range(data.input_shape[0])]


def _unique_columns(subject: Subject) -> list[str]:
    """Return columns of a table whose whole numbers, or words, occur in one row each."""
    source = subject.resolver.source(subject.requested)
    inputs = next(iter(source.parts.values())).inputs
    if isinstance(inputs, Table):
        columns = {f"column '{shown(name)}'": cells for name, cells in inputs.columns.items()}
    elif isinstance(inputs, Tensor) and inputs.ndim == 2:
        columns = dict(zip(_column_names(subject.data), inputs.numpy().T, strict=True))
    else:
        return []
    return [
        name
        for name, cells in columns.items()
        if FEWEST_ROWS <= len(cells) == len(set(cells.tolist()))
        and (cells.dtype.kind == "O" or (cells == cells.round()).all())
    ]


def labels(subject: Subject) -> str:
    """Check that every class has training examples, and that quantities differ.

    That labels are in range is checked where they are loaded.
    """
    data = subject.data
    if data.class_names is None:
        low, high = data.train.targets.min().item(), data.train.targets.max().item()
        if low == high and len(data.train) > 1:
            raise RequestError(
                f"All targets are {low:g}: there is nothing to learn.",
                "Look at what the data function returns as targets.",
            )
        return f"values from {low:.4g} to {high:.4g}"
    what, several = ("class", "classes") if data.train.targets.ndim == 1 else ("label", "labels")
    counts = class_counts(data.train.targets, data.outputs)
    rarest = min(range(len(counts)), key=counts.__getitem__)
    name = shown(data.class_names[rarest])
    if counts[rarest] == 0:
        raise RequestError(
            f"No training example has {what} '{name}'.",
            "Give examples of it, or leave it out in the data function.",
        )
    few = counted(counts[rarest], "training example")
    lacking = [shown(name) for name in data.absent()]
    note = f"; validation has none of '{lacking[0]}', so nothing is known of it" if lacking else ""
    return f"{data.outputs} {several}; the rarest, '{name}', has {few}{note}"


def no_shared_example(subject: Subject) -> str:
    """Check that no example, input and target, is in both training and validation."""
    data = subject.data
    if data.train.targets is data.val.targets:
        raise Skipped(
            "split.method=none: training and validation are the same examples, as requested"
        )
    trained = set(_hashes(data.train))
    shared = sum(one in trained for one in _hashes(data.val))
    found = (
        f"{shared} of {counted(len(data.val), 'validation example')} "
        f"{'is' if shared == 1 else 'are'} in training too"
    )
    if shared > max(1, SHARED * len(data.val)):  # in a small part one is more than that
        advice = "Take equal rows out of the data, or divide it so that they stay together."
        raise RequestError(f"{found}.", advice)
    return found


def _hashes(part: Part) -> Iterator[bytes]:
    """Yield a hash of each example's input and target."""
    most = MANY if isinstance(part.inputs, Items) else len(part)
    for batch, targets in part.batches(1000, torch.arange(min(most, len(part)))):
        texts = isinstance(part.inputs, Tokens)
        for x, y in zip(batch.numpy(), targets.numpy(), strict=True):
            one = np.trim_zeros(x, "b") if texts else x  # padding depends on the batch
            yield hashlib.blake2b(one.tobytes() + b"\0" + y.tobytes(), digest_size=16).digest()


def labels_follow(subject: Subject) -> str:
    """Check that what is learned from some training examples holds for others.

    Of classes and labels the surest third of the predictions is judged. Where classes overlap a
    model is unsure; where labels are wrong it is wrong while being sure.
    """
    data = subject.data
    if data.train.targets is data.val.targets:
        raise Skipped("split.method=none leaves no examples that were not trained on")
    order = torch.randperm(len(data.train), generator=stream(SEED, "data", "halves"))
    half = len(order) // 2
    if half < FEWEST // 2:
        raise Skipped(f"{counted(len(order), 'training example')} are too few")
    learned, others = data.train.select(order[:half]), data.train.select(order[half:])
    if affordable(subject.train_state(), min(BATCH, half), UPDATES) < FEWEST_UPDATES:
        raise Skipped("the model is too large to learn quickly")
    first: RequestError | None = None
    for fit in FITS if data.class_names is None else FITS_OF_CLASSES:
        train_state = subject.train_state()
        if data.class_names is not None:
            train_state = replace(train_state, loss=_plain_loss)
        for _ in fit(train_state, learned, UPDATES):
            pass
        pairs = []
        for part in (others, data.val):
            rows = torch.linspace(0, len(part) - 1, min(len(part), HELD_OUT)).round().long()
            pairs.append(outputs_of(train_state, part, rows))
        outputs, targets = (torch.cat(both) for both in zip(*pairs, strict=True))
        judge = _of_values if train_state.task.targets == "values" else _of_classes
        try:
            return judge(train_state.task, outputs, targets)
        except RequestError as error:
            first = first or error
    assert first is not None
    raise first


def _plain_loss(outputs: Tensor, aims: Tensor) -> Tensor:
    """Return the task's usual loss: class weights would change which predictions are sure."""
    if aims.dtype == torch.int64:
        return functional.cross_entropy(outputs, aims)
    return functional.binary_cross_entropy_with_logits(outputs, aims)


def _of_values(_: Task, outputs: Tensor, targets: Tensor) -> str:
    """Check that predictions of values rise and fall with the targets."""
    found = []
    for column, aim in zip(outputs.double().T, targets.double().T, strict=True):
        found.append(torch.corrcoef(torch.stack([column, aim]))[0, 1].item())
    correlation = sum(found) / len(found)
    summary = f"correlation {correlation:.2f} with {counted(len(targets), 'target')} not trained on"
    if not correlation > 2 / math.sqrt(len(targets)):
        raise RequestError(f"Predictions have a {summary}: no more than chance.", ADVICE)
    return summary


def _of_classes(task: Task, outputs: Tensor, targets: Tensor) -> str:
    """Check that few of the surest predictions are wrong, next to labels drawn at random."""
    probabilities = task.probabilities(outputs)
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
    summary = (
        f"{wrong} of the {len(surest)} surest predictions for examples not trained on are wrong"
    )
    if wrong > RANDOM * if_random:
        share = f"{min(1.0, wrong / if_random):.0%}"
        raise RequestError(f"{summary}, as if {share} of the labels were drawn at random.", ADVICE)
    return summary
