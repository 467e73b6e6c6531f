"""Whether lanes keep their bits on this machine: the promise, tried before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from paribus.core.build import Trainee
from paribus.core.cohort.chain import Chain
from paribus.core.cohort.inputs import Inputs
from paribus.core.cohort.program import Program
from paribus.core.cohort.read import read_chain
from paribus.core.data import Data, load, prepare
from paribus.core.losses import CrossEntropy
from paribus.core.models import MLP, draw_parameters
from paribus.core.optimizers import Constant
from paribus.core.seeding import stream
from paribus.core.tasks import Multiclass

_EPOCHS, _BATCH = 2, 19


@dataclass
class _Lane:
    seed: int
    trainee: Trainee
    epoch: int = 0

    @property
    def examples(self) -> int:
        return len(self.trainee.data.train)


@cache
def lanes_keep_their_bits(device: str) -> bool:
    """Whether a lane gets the same bits alone, and among others at any place.

    Sides are odd, there are two hidden layers, and the last batch is not full: what a machine
    rounds by its place in memory is rounded so here. Takes hundredths of a second, once a process.

    Args:
        device: ``cpu`` or ``cuda``.
    """
    alone = {seed: _trained([seed], device)[seed] for seed in (0, 4)}
    among = [_trained(seeds, device) for seeds in ([0, 4], [1, 4, 0], [0, 1, 2, 3, 4, 5, 6])]
    return all(torch.equal(found[seed], bits) for found in among for seed, bits in alone.items())


def _trained(seeds: Sequence[int], device: str) -> dict[int, Tensor]:
    """Parameters and validation outputs of these seeds, trained together."""
    data = _data()
    lanes = [_Lane(seed, _trainee(data, seed, device)) for seed in seeds]
    first = lanes[0].trainee
    program = Program(_chain(device), lanes, Inputs(data.train, first.task, first.device))
    for _ in range(_EPOCHS):
        program.train_epoch()
        for lane in lanes:
            lane.epoch += 1
    losses, outputs = program.measure(Inputs(data.val, first.task, first.device))
    return {
        seed: torch.cat([program.parameters[lane], outputs[lane].flatten(), losses[lane, None]])
        for lane, seed in enumerate(seeds)
    }


@cache
def _chain(device: str) -> Chain:
    """What every lane computes; reading it takes longer than to train it."""
    trainee = _trainee(_data(), 0, device)
    return read_chain(trainee.model, _data().train.inputs_of(2)[0].to(device))


@cache
def _data() -> Data:
    generator = stream(0, "data", "self-test")
    x, y = torch.randn(70, 13, generator=generator), torch.arange(70) % 5
    source = load(lambda: (x, y), {}, name="the self-test", seed=0, targets="classes")
    return prepare(
        source, method="random", seed=0, val_fraction=0.2, test_fraction=0.0, standardize=False
    )


def _trainee(data: Data, seed: int, device: str) -> Trainee:
    task: Any = Multiclass()
    model = MLP(13, 5, hidden_dim=37, num_layers=2, activation="silu", dropout=0.3)
    draw_parameters(model, seed)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    train = {"batch_size": _BATCH, "eval_batch_size": 64, "clip_grad_norm": None}
    return Trainee(
        data=data,
        task=task,
        model=model,
        loss=CrossEntropy(),
        optimizer=optimizer,
        closure=False,
        scheduler=Constant(optimizer),
        scheduler_steps="validation",  # which nobody steps here
        frozen=[],
        fresh={},
        extra_metrics=[],
        epochs=_EPOCHS,
        updates=_EPOCHS * -(-len(data.train) // _BATCH),
        configuration={"train": train},
        device=torch.device(device),
    )
