"""What every check is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from paribus.core.components.models import Dropout, answers, count_parameters
from paribus.core.config.schema import Configuration
from paribus.core.data.loader import Part
from paribus.core.data.prepare import Data
from paribus.core.rng import seeded_globals, stream
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import TrainState, checked_loss

SEED = 0  # of every model and every choice of examples
OPERATIONS = 5e10  # floating-point operations that one fit may take: a few seconds


@dataclass(frozen=True)
class Subject:
    """The configuration that is checked.

    Attributes:
        resolver: Of its experiment.
        asked: The configuration.
    """

    resolver: Resolver
    asked: Configuration

    @property
    def data(self) -> Data:
        return self.resolver.data(self.asked)

    def train_state(self) -> TrainState:
        """All parts of a run at its first step, built anew."""
        return self.resolver.train_state(self.asked, SEED)


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        passed: Whether it did; None: it does not apply.
        detail: One line: what was found; of a failure also what to do, else why it was skipped.
    """

    passed: bool | None
    detail: str


def passed(detail: str) -> Verdict:
    """It is as it should be."""
    return Verdict(True, detail)


def failed(found: str, advice: str) -> Verdict:
    """It is not; what was found, and one sentence of advice."""
    return Verdict(False, f"{found} {advice}")


def skipped(reason: str) -> Verdict:
    """It does not apply here."""
    return Verdict(None, reason)


def some_rows(part: Part, most: int, *, alike: bool = False) -> Tensor:
    """Positions of at most so many examples.

    Args:
        part: Where they stand.
        most: How many.
        alike: Whether each class gets as many, as far as there are any of it.
    """
    rows = torch.randperm(len(part), generator=stream(SEED, "data", "check"))
    if alike and part.targets.ndim == 1:
        codes = part.targets[rows]
        turn = torch.empty_like(codes)  # which of its class an example is
        for code in set(codes.tolist()):
            turn[codes == code] = torch.arange(int((codes == code).sum()))
        rows = rows[turn.argsort(stable=True)]
    return rows[:most].sort().values


def batch_of(part: Part, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The examples at these positions as one batch, not augmented."""
    inputs, targets = next(part.batches(len(rows), rows))
    return inputs.to(device), targets.to(device)


def outputs_of(train_state: TrainState, part: Part, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the examples at these positions, as validation computes them."""
    size = train_state.configuration["train"]["eval_batch_size"]
    batches = (inputs for inputs, _ in part.batches(size, rows))
    return answers(train_state.model, batches, train_state.device), part.targets[rows]


def loss_of(train_state: TrainState, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and outputs of a batch as in training, but without noise: a function of the weights.

    Normalization is over the batch; nothing is dropped, and what else a model draws is the same
    each time.
    """
    train_state.model.train()
    for layer in [*train_state.frozen, *_dropouts(train_state.model)]:
        layer.eval()
    with seeded_globals(SEED, "dropout"):
        outputs = train_state.model(inputs)
        return checked_loss(train_state, outputs, targets), outputs


def _dropouts(model: nn.Module) -> list[nn.Module]:
    kinds = (Dropout, nn.modules.dropout._DropoutNd)
    return [layer for layer in model.modules() if isinstance(layer, kinds)]


def affordable(train_state: TrainState, examples: int, most: int) -> int:
    """How often so many examples can be trained on in a few seconds: 1 up to `most`.

    By operations, not by time: the same on every machine.
    """
    inputs, _ = train_state.data.train.inputs_of(2)
    train_state.model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        train_state.model(inputs.to(train_state.device))
    counted_ones = counter.get_total_flops() / len(inputs)
    each = max(counted_ones, 2 * count_parameters(train_state.model))  # some layers are not counted
    return max(1, min(most, int(OPERATIONS / (3 * each * examples))))


def counted(number: int, what: str) -> str:
    """``1 example``, ``3 examples``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
