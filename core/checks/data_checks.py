"""Checks of the data: its inputs, its labels, and whether labels follow from inputs."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.stats import binom, rankdata
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from paribus.core.checks.subject import (
    FITS,
    SEED,
    SMALL_BATCH,
    Skipped,
    Subject,
    affordable,
    by_adam,
    by_lbfgs,
    ordered,
    outputs_of,
    some_rows,
)
from paribus.core.components.tasks import Task
from paribus.core.data.loader import Items, Part
from paribus.core.data.prepare import Data, class_counts
from paribus.core.data.tables import ID_NAME, Table
from paribus.core.data.texts import Tokens
from paribus.core.errors import RequestError, first_few, many, shown
from paribus.core.rng import stream
from paribus.core.training.train_state import TrainState

SAMPLE = 1000  # examples whose inputs are looked at
LARGE, SMALL = 10.0, 0.01  # sizes of inputs at which usual initial weights stop working
SHARED = 0.01  # share of the validation part that may be equal to training examples by chance
NEAR, NEIGHBOURS = 0.05, 10  # of the distance to the tenth neighbour; training examples
DISTANCES = 1e9  # numbers that differences are taken of: a second or two
FEW_IDS = 20  # so many values may be kinds, such as shops, that are meant to come back
FEWEST_ROWS = 10  # in fewer any column may differ in each
MANY = 10_000  # training examples that are read again from files

# Whether labels follow from inputs.
HELD_OUT, FEWEST = 1000, 20  # examples
UPDATES, FEWEST_UPDATES = 150, 20
FITS_OF_CLASSES = (by_adam, by_lbfgs)
SHUFFLES = 200  # of the held-out targets, for what chance gives
SURE, WEAK = 3.0, 0.3  # standard deviations of chance; a score that is hardly more than it
LEARNED = 0.5  # score on the examples trained on, where there was no time for all updates
SUREST, FEW_SUREST = 0.1, 60  # share of predictions that noise is looked for in; more of few,
MOST_SUREST = 1 / 3  # up to this share
RANDOM, CLEAN = 0.4, 0.2  # share of labels that look drawn at random: to fail; to be seen as none
FEWEST_WRONG, LUCK = 5, 0.01  # of the surest, by chance; probability that so many are by luck
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
    if not isinstance(sample, Tensor):
        raise Skipped("an input has several tensors, each of a size of its own")
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
    inputs = next(iter(source.parts.values())).store
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
    few = many(counts[rarest], "training example")
    lacking = [shown(name) for name in data.absent()]
    note = f"; validation has none of '{lacking[0]}', so nothing is known of it" if lacking else ""
    return f"{data.outputs} {several}; the rarest, '{name}', has {few}{note}"


def no_shared_example(subject: Subject) -> str:
    """Check that no example, copy of one, or id is in both training and validation."""
    data, split = subject.data, subject.resolver.split(subject.requested)
    if data.train.targets is data.val.targets:
        raise Skipped(
            "split.method=none: training and validation are the same examples, as requested"
        )
    trained = set(_hashes(data.train))
    shared = sum(one in trained for one in _hashes(data.val))
    found = (
        f"{shared} of {many(len(data.val), 'validation example')} "
        f"{'is' if shared == 1 else 'are'} in training too"
    )
    if shared > max(1, SHARED * len(data.val)):  # in a small part one is more than that
        advice = "Take equal rows out of the data, or divide it so that they stay together."
        raise RequestError(f"{found}.", advice)
    by_column = split.group_on or split.time_on
    for name in filter(ID_NAME.fullmatch, () if by_column else data.val.beside):
        known, ids = set(data.train.beside[name].tolist()), data.val.beside[name].tolist()
        again = sum(value in known for value in ids)
        if len(known) > FEW_IDS and again > SHARED * len(ids):
            raise RequestError(
                f"{again} of {many(len(ids), 'validation example')} have a '{shown(name)}' that "
                "training examples have too.",
                f"split.group_on={shown(name)} keeps each in one part.",
            )
    near, looked = _nearly_equal(data)
    if near > 1:
        raise RequestError(
            f"{near} of {many(looked, 'validation example')} are nearly equal to one in training: "
            f"closer than a twentieth of the distance to their {NEIGHBOURS}th neighbour.",
            "Take copies out, or keep rows of one origin together: split.group_on=COLUMN.",
        )
    return found


def _nearly_equal(data: Data) -> tuple[int, int]:
    """Return how many of so many validation examples are copies with small changes; 0 by chance.

    By chance about 9 · NEAR^d are so close, with d the dimension of the data as estimated by their
    other neighbours (E. Levina and P. Bickel 2005, Maximum likelihood estimation of intrinsic
    dimension).
    """
    train, val = data.train, data.val
    if not isinstance(train.store, Tensor) or len(train) <= NEIGHBOURS or not len(val):
        return 0, 0
    known = next(train.batches(MANY, some_rows(train, MANY)))[0].flatten(1).float()
    looked = some_rows(val, max(1, int(min(SAMPLE, DISTANCES // known.numel()))))
    asked = next(val.batches(SAMPLE, looked))[0].flatten(1).float()
    apart = torch.cdist(asked, known, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = apart.topk(NEIGHBOURS, largest=False).values
    near = (nearest[:, 0] > 0) & (nearest[:, 0] < NEAR * nearest[:, -1])
    ratios = (nearest[:, -1:] / nearest[:, 1:-1].clamp_min(1e-30)).clamp_min(1 + 1e-6).log()
    by_chance = (NEIGHBOURS - 1) * NEAR ** (1 / ratios.mean().item())
    share = near.double().mean().item()
    return int(near.sum()) if share > max(2 * SHARED, 5 * by_chance) else 0, len(asked)


def _hashes(part: Part) -> Iterator[bytes]:
    """Yield a hash of each example's input and target."""
    most = MANY if isinstance(part.store, Items) else len(part)
    for batch, targets in part.batches(1000, torch.arange(min(most, len(part)))):
        texts = isinstance(part.store, Tokens)
        arrays = [tensor.numpy() for tensor in (*tree_leaves(batch), targets)]
        for *inputs, y in zip(*arrays, strict=True):
            # Padding depends on the batch.
            each = ((np.trim_zeros(x, "b") if texts else x).tobytes() for x in inputs)
            one = b"".join(each) + b"\0" + y.tobytes()
            yield hashlib.blake2b(one, digest_size=16).digest()


def labels_follow(subject: Subject) -> str:
    """Check that what is learned from some training examples holds for others.

    Two models learn a third of the examples each. Do their predictions go with the targets better
    than with shuffled ones? And where both are sure of the same, is it right? Models that learned
    too little are wrong about different examples; where labels are wrong they agree and are wrong.
    Neither test fails what it has too little to tell by.
    """
    data = subject.data
    if data.train.targets is data.val.targets:
        raise Skipped("split.method=none leaves no examples that were not trained on")
    order = torch.randperm(len(data.train), generator=stream(SEED, "data", "thirds"))
    if len(order) < FEWEST:
        raise Skipped(f"{many(len(order), 'training example')} are too few")
    *learned, others = (data.train.select(rows) for rows in order.chunk(3))
    asked = [others, data.val]
    if group_on := subject.resolver.split(subject.requested).group_on:
        known = {cell for part in learned for cell in part.beside[group_on].astype(str)}
        asked = [_one_of_each(part, group_on, known) for part in asked]
    if affordable(subject.train_state(), SMALL_BATCH, UPDATES) < FEWEST_UPDATES:
        raise Skipped("the model is too large to learn quickly")
    undecided: list[str] = []
    failed: list[str] = []
    for fit in FITS if data.class_names is None else FITS_OF_CLASSES:
        models = []
        for part in learned:
            train_state = subject.train_state()
            if data.class_names is not None:
                train_state = replace(train_state, loss=_plain_loss)
            updates = sum(1 for _ in fit(train_state, part, UPDATES))
            models.append([_answers(train_state, one) for one in asked if len(one)])
        if not updates:  # this one leaves large models alone
            continue
        targets = torch.cat([aims for _, aims in models[0]])
        task = train_state.task
        answers = [torch.cat([outputs for outputs, _ in model]) for model in models]
        probabilities = [task.probabilities(outputs) for outputs in answers]
        scores = [o if p is None else p for o, p in zip(answers, probabilities, strict=True)]
        score, chance = _score_and_chance(task, torch.stack(scores).mean(0), targets)
        summary = f"score {score:.2f} on {many(len(targets), 'example')} not trained on"
        summary += f" (0 is chance ± {chance:.2f}, 1 is perfect)"
        if score > SURE * chance:
            noise, surest = _noise(task, scores, targets)
            if noise is None:
                return summary
            (failed if noise else undecided).append(f"{summary}; {surest}")
        elif score + 2 * chance > WEAK:
            undecided.append(f"{summary}: too few to tell")
        elif updates < UPDATES and ordered(task, *_answers(train_state, part)) < LEARNED:
            undecided.append(f"{summary} after {many(updates, 'update')}: too few to learn")
        else:
            failed.append(f"{summary}: no more than chance")
    if failed and not undecided:
        raise RequestError(f"{failed[0]}.", ADVICE)
    raise Skipped(f"not decided: {[*undecided, *failed][0]}")


def _one_of_each(part: Part, name: str, known: set[Any]) -> Part:
    """Return one example of each group that is not known: these are independent."""
    cells, first = np.unique(part.beside[name].astype(str), return_index=True)
    rows = [row for cell, row in zip(cells, first, strict=True) if cell not in known]
    return part.select(torch.tensor(sorted(rows), dtype=torch.int64))


def _answers(train_state: TrainState, part: Part) -> tuple[Tensor, Tensor]:
    rows = torch.linspace(0, len(part) - 1, min(len(part), HELD_OUT)).round().long()
    return outputs_of(train_state, part, rows)


def _plain_loss(outputs: Tensor, aims: Tensor) -> Tensor:
    """Return the task's usual loss: class weights would change which predictions are sure."""
    if aims.dtype == torch.int64:
        return functional.cross_entropy(outputs, aims)
    return functional.binary_cross_entropy_with_logits(outputs, aims)


def _score_and_chance(task: Task, scores: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return how scores go with targets, and the standard deviation of that with shuffled ones.

    2 AUC - 1, mean over classes, which needs neither calibrated nor balanced classes; for values
    their rank correlation.
    """
    aims = targets.double()
    if task.targets == "values":
        aims = _ranks(targets)
    elif targets.ndim == 1:
        aims = functional.one_hot(targets, scores.shape[1]).double()
    ranks = _ranks(scores)
    aims = aims.reshape(ranks.shape)
    there = (aims.std(0) > 0) & (ranks.std(0) > 0)
    ranks, aims = ranks[:, there], aims[:, there]
    if not there.any():
        return 0.0, 0.0
    # The sum of the positives' ranks is AUC (Mann-Whitney), and a correlation of ranks likewise.
    ranks, aims = ranks - ranks.mean(0), aims - aims.mean(0)
    if task.targets == "values":
        unit = (ranks.norm(dim=0) * aims.norm(dim=0)).reciprocal()
    else:
        positive = (aims > 0).double().mean(0)
        unit = 2 / (len(aims) ** 2 * positive * (1 - positive))
    generator = stream(SEED, "data", "shuffles")
    found = [float((ranks * aims * unit).sum(0).mean())]
    for _ in range(SHUFFLES):
        shuffled = aims[torch.randperm(len(aims), generator=generator)]
        found.append(float((ranks * shuffled * unit).sum(0).mean()))
    return found[0], float(np.std(found[1:]))


def _ranks(values: Tensor) -> Tensor:
    """Return the ranks of each column, equal values sharing theirs: float64 `[N, columns]`."""
    return torch.from_numpy(rankdata(values.reshape(len(values), -1).double().cpu(), axis=0))


def _noise(task: Task, scores: Sequence[Tensor], targets: Tensor) -> tuple[bool | None, str]:
    """Return whether the surest of what two models agree on is wrong as if labels were random.

    Returns:
        True: as if many were; None: no sign of it; False: a sign, and no proof.
    """
    if task.targets == "values":
        return None, ""
    if targets.ndim == 1:
        (sure, predicted), (other_sure, other) = (p.max(1) for p in scores)
        counts = targets.bincount(minlength=scores[0].shape[1]).double()
        by_chance = counts[predicted] / len(targets)
    else:
        (sure, predicted), (other_sure, other) = (
            (p.maximum(1 - p), (p > 0.5).long()) for p in scores
        )
        positive = targets.double().mean(0).expand_as(sure)
        by_chance = torch.where(predicted == 1, positive, 1 - positive)
    alike = predicted == other
    if not alike.any():
        return None, ""
    sure, by_chance = sure.minimum(other_sure)[alike], by_chance[alike]
    right = (predicted == targets)[alike]
    few = min(FEW_SUREST, math.ceil(MOST_SUREST * len(sure)))
    surest = sure.argsort(descending=True, stable=True)[: max(few, math.ceil(SUREST * len(sure)))]
    wrong = int((~right[surest]).sum())
    if_random = float((1 - by_chance[surest]).sum())
    expected = float((1 - sure[surest].double()).sum())
    summary = (
        f"{wrong} of the {len(surest)} surest predictions of two models are wrong, as if "
        f"{min(1.0, wrong / max(if_random, 1e-9)):.0%} of the labels were drawn at random"
    )
    tolerated = max(CLEAN * if_random, expected) / len(surest)
    by_luck = float(binom.sf(wrong - 1, len(surest), min(1.0, tolerated)))
    if wrong <= RANDOM * if_random or if_random < FEWEST_WRONG:
        return None, summary
    return by_luck < LUCK, summary
