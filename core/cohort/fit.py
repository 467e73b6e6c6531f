"""Whether a run can be a lane, and which runs can be lanes of one program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from paribus.core.build import Trainee
from paribus.core.cohort.chain import Chain, NoChain
from paribus.core.cohort.losses import unfit_loss
from paribus.core.cohort.optimizers import unfit_optimizer
from paribus.core.cohort.read import read_chain
from paribus.core.cohort.selftest import lanes_keep_their_bits
from paribus.core.components import NAMES
from paribus.core.data.part import Items
from paribus.core.errors import shown
from paribus.core.tasks import Binary, Multiclass, Multilabel, Regression
from paribus.core.values import canonical_json

_TASKS = (Binary, Multiclass, Multilabel, Regression)
EXAMPLES = 16  # on which what was read is held to the module
# What lanes of one program may differ in besides the seed; of a model, only dropout.
_OWN = ("optimizer", "scheduler", "train", "select", "metrics", "device", "loss", "model")


def chain_of(trainee: Trainee) -> Chain:
    """What a run computes, if it can be a lane.

    Args:
        trainee: At its first step. Is not changed.

    Raises:
        NoChain: Why it cannot; a clause about the run.
    """
    train, val = trainee.data.train, trainee.data.val
    if not (isinstance(train.inputs, torch.Tensor) and isinstance(val.inputs, torch.Tensor)):
        items = isinstance(train.inputs, Items)
        raise NoChain("its data are " + ("read item by item" if items else "no numbers in memory"))
    if train.augment is not None or train.recipe is not None:
        raise NoChain("its data are changed as they are read")
    if not train.inputs.is_floating_point():
        raise NoChain("its inputs are not floats")
    if not isinstance(trainee.task, _TASKS):
        raise NoChain("its task is not one of the harness's")
    if not all(parameter.requires_grad for parameter in trainee.model.parameters()):
        raise NoChain("only some of it is trained")
    for kind in ("loss", "optimizer", "scheduler"):
        name = trainee.configuration[kind]["name"]
        if name not in NAMES[kind] and not name.startswith("torch."):
            raise NoChain(f"its {kind} is {shown(name)}, not one of torch's")
    why = unfit_loss(trainee.loss) or unfit_optimizer(trainee.optimizer)
    if why is not None:
        raise NoChain(why)
    if not lanes_keep_their_bits(trainee.device.type):
        raise NoChain("this machine does not keep the bits of lanes: see paribus doctor")
    example = train.inputs_of(EXAMPLES)[0].to(trainee.device)
    return read_chain(trainee.model, example)


def group_of(trainee: Trainee, chain: Chain, data_fingerprint: str | None) -> str:
    """A name that runs share if, and only if, they can be lanes of one program."""
    configuration: Mapping[str, Any] = trainee.configuration
    train = configuration["train"]
    same = [
        repr(chain),
        data_fingerprint,
        {k: v for k, v in configuration.items() if k not in _OWN},
        [train["batch_size"], train["eval_batch_size"]],
        [type(part).__name__ for part in (trainee.loss, trainee.optimizer)],
        trainee.device.type,
    ]
    return hashlib.sha256(canonical_json(same).encode()).hexdigest()[:12]
