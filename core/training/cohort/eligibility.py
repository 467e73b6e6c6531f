"""Whether a run can be a member, and which runs can be members of one program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from paribus.core.components.losses import CrossEntropy
from paribus.core.components.models import MLP, draw_parameters
from paribus.core.components.optim import Constant
from paribus.core.components.tasks import Binary, Multiclass, Multilabel, Regression
from paribus.core.config.registry import NAMES
from paribus.core.config.values import canonical_json
from paribus.core.data.load import load
from paribus.core.data.loader import Items
from paribus.core.data.prepare import Data, prepare
from paribus.core.errors import shown
from paribus.core.rng import stream
from paribus.core.training.cohort.graph import LayerGraph, UnsupportedModel, read_graph
from paribus.core.training.cohort.loss_kernels import unfit_loss
from paribus.core.training.cohort.optimizer_kernels import unfit_optimizer
from paribus.core.training.cohort.program import Program
from paribus.core.training.cohort.sampling import PaddedPart
from paribus.core.training.train_state import TrainState

EXAMPLES = 16  # on which what was read is compared with the module
# What members of one program may differ in besides the seed; of a model, only dropout.
_OWN = ("optimizer", "scheduler", "train", "select", "metrics", "device", "loss", "model")


def cohort_group(train_state: TrainState, data_fingerprint: str | None) -> str:
    """Return a name that runs share if, and only if, they can be members of one program.

    Args:
        train_state: At its first step. Is not changed.
        data_fingerprint: Of its data.

    Raises:
        UnsupportedModel: Why it cannot be a member; a clause about the run.
    """
    train, val = train_state.data.train, train_state.data.val
    if not (isinstance(train.inputs, torch.Tensor) and isinstance(val.inputs, torch.Tensor)):
        items = isinstance(train.inputs, Items)
        raise UnsupportedModel(
            "its data are " + ("read item by item" if items else "no numbers in memory")
        )
    if train.augment is not None or train.recipe is not None:
        raise UnsupportedModel("its data are changed as they are read")
    if not train.inputs.is_floating_point():
        raise UnsupportedModel("its inputs are not floats")
    if not isinstance(train_state.task, (Binary, Multiclass, Multilabel, Regression)):
        raise UnsupportedModel("its task is not one of the harness's")
    if not all(parameter.requires_grad for parameter in train_state.model.parameters()):
        raise UnsupportedModel("only some of it is trained")
    configuration = train_state.configuration
    for kind in ("loss", "optimizer", "scheduler"):
        name = configuration[kind]["name"]
        if name not in NAMES[kind] and not name.startswith("torch."):
            raise UnsupportedModel(f"its {kind} is {shown(name)}, not one of torch's")
    why = unfit_loss(train_state.loss) or unfit_optimizer(train_state.optimizer)
    if why is not None:
        raise UnsupportedModel(why)
    if not members_keep_their_bits(train_state.device.type):
        raise UnsupportedModel("this machine does not keep the bits of members: see paribus doctor")
    example = train.inputs_of(EXAMPLES)[0].to(train_state.device)
    same = [
        repr(read_graph(train_state.model, example)),
        data_fingerprint,
        {k: v for k, v in configuration.items() if k not in _OWN},
        [configuration["train"]["batch_size"], configuration["train"]["eval_batch_size"]],
        [type(part).__name__ for part in (train_state.loss, train_state.optimizer)],
        train_state.device.type,
    ]
    return hashlib.sha256(canonical_json(same).encode()).hexdigest()[:12]


_EPOCHS, _BATCH = 2, 19


@dataclass
class _Member:
    seed: int
    train_state: TrainState
    epoch: int = 0

    @property
    def examples(self) -> int:
        return len(self.train_state.data.train)


@cache
def members_keep_their_bits(device: str) -> bool:
    """Return whether a member gets the same bits alone, and among others at any place.

    Sides are odd, there are two hidden layers, and the last batch is not full: a machine that
    rounds by place in memory does so here. Takes hundredths of a second, once a process.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    alone = {seed: _trained([seed], device)[seed] for seed in (0, 4)}
    among = [_trained(seeds, device) for seeds in ([0, 4], [1, 4, 0], [0, 1, 2, 3, 4, 5, 6])]
    return all(torch.equal(found[seed], bits) for found in among for seed, bits in alone.items())


def _trained(seeds: Sequence[int], device: str) -> dict[int, Tensor]:
    """Return parameters and validation outputs of these seeds, trained together."""
    data = _data()
    members = [_Member(seed, _train_state(data, seed, device)) for seed in seeds]
    first = members[0].train_state
    program = Program(_graph(device), members, PaddedPart(data.train, first.task, first.device))
    for _ in range(_EPOCHS):
        program.train_epoch()
        for member in members:
            member.epoch += 1
    losses, outputs = program.measure(PaddedPart(data.val, first.task, first.device))
    return {
        seed: torch.cat(
            [program.parameters[member], outputs[member].flatten(), losses[member, None]]
        )
        for member, seed in enumerate(seeds)
    }


@cache
def _graph(device: str) -> LayerGraph:
    """Return what every member computes; reading it takes longer than training it."""
    train_state = _train_state(_data(), 0, device)
    return read_graph(train_state.model, _data().train.inputs_of(2)[0].to(device))


@cache
def _data() -> Data:
    generator = stream(0, "data", "self-test")
    x, y = torch.randn(70, 13, generator=generator), torch.arange(70) % 5
    source = load(lambda: (x, y), {}, name="the self-test", seed=0, targets="classes")
    return prepare(
        source, method="random", seed=0, val_fraction=0.2, test_fraction=0.0, standardize=False
    )


def _train_state(data: Data, seed: int, device: str) -> TrainState:
    task: Any = Multiclass()
    model = MLP(13, 5, hidden_dim=37, num_layers=2, activation="silu", dropout=0.3)
    draw_parameters(model, seed)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    train = {"batch_size": _BATCH, "eval_batch_size": 64, "clip_grad_norm": None}
    return TrainState(
        data=data,
        task=task,
        model=model,
        loss=CrossEntropy(),
        optimizer=optimizer,
        closure=False,
        scheduler=Constant(optimizer),
        scheduler_steps="validation",  # which is never stepped here
        frozen=[],
        fresh={},
        extra_metrics=[],
        epochs=_EPOCHS,
        updates=_EPOCHS * -(-len(data.train) // _BATCH),
        configuration={"train": train},
        device=torch.device(device),
    )
