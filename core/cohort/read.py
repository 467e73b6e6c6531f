"""Reads an ordinary module as a chain, and holds what was read to what the module gives."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from paribus.core.cohort.chain import Activation, Chain, Dense, NoChain
from paribus.core.cohort.follow import follow
from paribus.core.cohort.layers import ACTIVATIONS
from paribus.core.models import Dropout
from paribus.core.seeding import digest_of_globals

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def read_chain(model: nn.Module, example: Tensor) -> Chain:
    """The chain that a module is.

    Its forward is traced, in training and in evaluation, and what was read is held to what the
    module gives for the example: a misreading is no chain either.

    Args:
        model: Is not changed: a copy of it is read.
        example: Inputs `[N, *input_shape]`, N at least 2.

    Raises:
        NoChain: If it is something else.
    """
    _refuse_more_than_parameters(model)
    try:
        copied = copy.deepcopy(model)
        memory, drawn = _memory(copied), digest_of_globals()
        chains = {follow(copied.train(mode), example) for mode in (True, False)}
        found = chains.pop()
        if chains:
            raise NoChain("its forward differs between training and evaluation")
        if digest_of_globals() != drawn:
            raise NoChain("its forward draws at random")
        if _memory(copied) != memory:
            raise NoChain("its forward changes the module")
        for mode in (False, True):
            _hold(copied, found, example, training=mode)
    except NoChain:
        raise
    except Exception as error:  # whatever a user's forward does when it is followed
        raise NoChain(f"it cannot be followed ({type(error).__name__})") from error
    return found


def _refuse_more_than_parameters(model: nn.Module) -> None:
    """Refuses what acts on a module from outside its forward, or is kept beside its parameters."""
    for name, module in model.named_modules():
        if any(getattr(module, hooks) for hooks in _HOOKS) or "forward" in vars(module):
            raise NoChain(f"{name or 'the model'} has hooks")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if more := sorted(set(model.state_dict()) ^ set(parameters)):
        raise NoChain(f"the model has buffers or other state, such as {more[0]}")
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise NoChain("its parameters are not float32")
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise NoChain(f"{name} has hooks")
    if len({p.untyped_storage().data_ptr() for p in parameters.values()}) < len(parameters):
        raise NoChain("a parameter is used twice")


def _memory(model: nn.Module) -> dict[str, dict[str, str]]:
    """What modules keep besides tensors and modules: a forward that counts changes it."""
    return {
        name: {
            key: repr(value)
            for key, value in vars(module).items()
            if isinstance(value, int | float | str | tuple | list | dict | set)
            and key != "training"
            and not key.startswith(("_parameters", "_buffers", "_modules"))
        }
        for name, module in model.named_modules()
    }


def _hold(model: nn.Module, chain: Chain, example: Tensor, *, training: bool) -> None:
    """Holds what was read to what the module gives: outputs, and gradients of all parameters."""
    model.train(training)
    for module in model.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
            if isinstance(module, Dropout):
                module.threshold = 0
    parameters = dict(model.named_parameters())
    with torch.enable_grad():
        given = model(example.clone())
        read = _followed(chain, parameters, example)
        if given.shape != read.shape:
            raise NoChain("what it returns has another shape than what was read from it")
        weights = torch.linspace(-1, 1, read.numel(), device=read.device).view_as(read)
        slopes = [
            torch.autograd.grad((found * weights).sum(), [*parameters.values()], allow_unused=True)
            for found in (given, read)
        ]
    pairs = zip((given, *slopes[0]), (read, *slopes[1]), strict=True)
    if not all(_alike(one, other) for one, other in pairs):
        raise NoChain("what it computes is not what was read from it")


def _followed(chain: Chain, parameters: Mapping[str, Tensor], example: Tensor) -> Tensor:
    """What a chain computes, without dropout."""
    value = example.flatten(1)
    for step in chain.steps:
        if isinstance(step, Dense):
            bias = None if step.bias is None else parameters[step.bias]
            value = functional.linear(value, parameters[step.weight], bias)
        elif isinstance(step, Activation):
            value = ACTIVATIONS[step.kind].forward(value, *step.numbers)
    return value


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, 1e-3, 1e-5, equal_nan=True)
