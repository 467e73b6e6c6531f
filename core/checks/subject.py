"""The configuration that every check is given, and quick fits of its model.

A check returns what it found, on one line. It raises `RequestError` with what is wrong and one
sentence of advice, or `Skipped`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, cast

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from paribus.core.components.models import Dropout, count_parameters, model_outputs
from paribus.core.components.tasks import Task
from paribus.core.config.schema import Configuration
from paribus.core.data.loader import Batch, Part, moved
from paribus.core.data.prepare import Data
from paribus.core.rng import epoch_order, seeded_globals, stream
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import TrainState, outputs_and_loss

SEED = 0  # of every model and every choice of examples
OPERATIONS = 3e10  # floating-point operations that one fit may take: a second or two
PER_ELEMENT = 30  # operations that take as long as one element of a layer's output in memory
BATCH, SMALL_BATCH = 64, 16  # the small one where large ones would be too few
RATES = (0.01, 0.1, 1.0)
AT_ONCE = 300  # examples that L-BFGS sees in each step


@dataclass(frozen=True)
class Subject:
    """The configuration that is checked."""

    resolver: Resolver
    requested: Configuration

    @property
    def data(self) -> Data:
        """The prepared parts of its data."""
        return self.resolver.data(self.requested, SEED)

    def train_state(self) -> TrainState:
        """Return all parts of a run at its first step, built anew."""
        return self.resolver.train_state(self.requested, SEED)


class Skipped(Exception):
    """Why a check does not apply here."""


def some_rows(part: Part, most: int, *, alike: bool = False) -> Tensor:
    """Return the positions of `most` examples, or all: int64 `[m]`, in order.

    Where they are to be `alike`, each class gets equally many, as far as it has examples.
    """
    rows = torch.randperm(len(part), generator=stream(SEED, "data", "check"))
    if alike and part.targets.ndim == 1:
        codes = part.targets[rows]
        turn = torch.empty_like(codes)  # which of its class an example is
        for code in set(codes.tolist()):
            turn[codes == code] = torch.arange(int((codes == code).sum()))
        rows = rows[turn.argsort(stable=True)]
    return rows[:most].sort().values


def batch_of(part: Part, rows: Tensor, device: torch.device) -> Batch:
    """Return the examples at these positions as one batch, not augmented."""
    return cast("Batch", moved(next(part.batches(len(rows), rows)), device))


def outputs_of(train_state: TrainState, part: Part, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of these examples, as validation computes them."""
    size = train_state.configuration["train"]["eval_batch_size"]
    batches = (inputs for inputs, _ in part.batches(size, rows))
    return model_outputs(train_state.call, batches, train_state.device), part.targets[rows]


def loss_of(train_state: TrainState, inputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss and outputs of a batch as in training, without noise: a function of the weights.

    Normalization is over the batch; nothing is dropped, and what else a model draws is the same
    each time.
    """
    train_state.model.train()
    kinds = (Dropout, nn.modules.dropout._DropoutNd)
    dropouts = [layer for layer in train_state.model.modules() if isinstance(layer, kinds)]
    for layer in [*train_state.frozen, *dropouts]:
        layer.eval()
    with seeded_globals(SEED, "dropout"):
        outputs, loss = outputs_and_loss(train_state, inputs, targets)
        return loss, outputs


def affordable(train_state: TrainState, examples: int, most: int) -> int:
    """Return how often so many examples can be trained on in a few seconds: 1 up to `most`.

    By operations, not by time: the same on every machine.
    """
    inputs, targets = train_state.data.train.inputs_of(2)
    train_state.model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, _Elements() as elements:  # type: ignore[no-untyped-call]
        train_state.call(moved(inputs, train_state.device))
    # Normalization and activations are no products, and take longer than those of a small CNN.
    products = counter.get_total_flops() + PER_ELEMENT * elements.count
    each = max(products / len(targets), 2 * count_parameters(train_state.model))  # not all counted
    return max(1, min(most, int(OPERATIONS / (3 * each * examples))))


class _Elements(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the elements of all that operations return."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.count += sum(x.numel() for x in tree_leaves(found) if isinstance(x, Tensor))
        return found


# Fits of a model to a few examples, without its own optimizer: what it can learn at all
# is not how it is trained.

Fit = Callable[[TrainState, Part, int], Iterator[int]]


def by_adam(train_state: TrainState, part: Part, most: int, lr: float = RATES[0]) -> Iterator[int]:
    """Fit in small batches, at a rate that falls from `lr` to 0; yield the number of each update.

    These are at most `most`, fewer where the model is large.
    """
    optimizer = torch.optim.Adam(learning(train_state), lr=lr)
    size, updates = BATCH, affordable(train_state, min(BATCH, len(part)), most)
    if updates < most:
        size, updates = SMALL_BATCH, affordable(train_state, min(SMALL_BATCH, len(part)), most)
    epochs = (epoch_order(SEED, epoch, len(part)) for epoch in count(1))
    batches = (batch for order in epochs for batch in part.batches(size, order))
    for update in range(updates):
        inputs, targets = moved(next(batches), train_state.device)
        optimizer.param_groups[0]["lr"] = lr * (1 - update / updates)
        optimizer.zero_grad()
        loss_of(train_state, inputs, targets)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield update + 1


def by_lbfgs(train_state: TrainState, part: Part, most: int) -> Iterator[int]:
    """Fit all examples at once with a line search, which goes as far as it has to.

    Finds what is far away (a bias of 1000), and the weights of small models in a few steps; large
    models are left alone.
    """
    if affordable(train_state, min(AT_ONCE, len(part)), most) < most:
        return
    inputs, targets = moved(part.inputs_of(AT_ONCE), train_state.device)
    optimizer = torch.optim.LBFGS(learning(train_state), max_iter=1, line_search_fn="strong_wolfe")

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
    """Return how much of the best constant prediction's error is gone: 0 is chance, 1 no error.

    Errors are squared distances for values, else wrong classes or labels.
    """
    if task.targets == "values":
        errors = (outputs - targets).double().square().mean(0)
        constant = targets.double().var(0, correction=0)
        constant = constant.where(constant > 0, targets.double().square().mean(0).clamp(min=1e-12))
        return float((1 - errors / constant).mean())
    wrong = (task.predict(outputs) != targets).double().mean().item()
    if targets.ndim == 1:
        commonest = float(targets.bincount().max()) / len(targets)
    else:
        positive = targets.double().mean(0)
        commonest = float(positive.maximum(1 - positive).mean())
    constant_wrong = 1 - commonest
    return 1 - wrong / constant_wrong if constant_wrong else 1 - wrong


def ordered(task: Task, outputs: Tensor, targets: Tensor) -> float:
    """Return how well outputs order the examples at any threshold: 2 AUC - 1, mean over classes.

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


def learning(train_state: TrainState) -> list[nn.Parameter]:
    """Return the parameters that are trained."""
    return [p for p in train_state.model.parameters() if p.requires_grad]
