"""torch's optimizers on flat rows: one kernel for all members that share their hyperparameters.

A member's hyperparameters are those of its own `torch.optim.Optimizer`, which is never stepped: any
scheduler of torch may set them. The kernels are those that torch's optimizers call themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.rmsprop import rmsprop

Step = Callable[[], None]

# Rows that follow each other are lists, which the stubs of these know one by one.
_KERNELS: dict[type[Optimizer], Any] = {
    SGD: torch._fused_sgd_,
    Adam: torch._fused_adam_,
    AdamW: torch._fused_adamw_,
    RMSprop: rmsprop,
}


class Update(Protocol):
    """The steps of a kind of optimizer.

    Attributes:
        state: Its tensors over all members, by name: `[members, parameters]`.
        steps: How often each member was updated: float32 `[members]`.
    """

    state: dict[str, Tensor]
    steps: Tensor

    def step_of(self, members: Sequence[int], hyperparameters: Mapping[str, Any]) -> Step:
        """What updates some members, which share their hyperparameters and have been counted."""


class _Rows:
    """Rows of parameters, gradients and state, as the kernels take them: lists of tensors."""

    names: tuple[str, ...] = ()

    def __init__(self, parameters: Tensor, gradients: Tensor) -> None:
        self.state = {name: torch.zeros_like(parameters) for name in self.names}
        self.steps = torch.zeros(len(parameters), device=parameters.device)
        self.parameters, self.gradients = parameters.unbind(), gradients.unbind()
        self.count = self.steps.unbind()
        self.rows = {name: tensor.unbind() for name, tensor in self.state.items()}

    def _of(self, members: Sequence[int], *names: str) -> list[list[Tensor]]:
        """Parameters, gradients and these states of some members."""
        rows = [self.parameters, self.gradients, *(self.rows[name] for name in names)]
        return [[row[member] for member in members] for row in rows]


class SGDUpdate(_Rows):
    """SGD; a member's first gradient becomes its momentum."""

    names = ("momentum_buffer",)

    def step_of(self, members: Sequence[int], hyperparameters: Mapping[str, Any]) -> Step:
        at = {k: hyperparameters[k] for k in _KEYS[SGD]}
        if not at["momentum"]:
            return partial(_KERNELS[SGD], *self._of(members), [], **at, is_first_step=False)

        def step() -> None:
            steps = self.steps.tolist()
            for first in (True, False):
                if some := [member for member in members if (steps[member] == 1) is first]:
                    _KERNELS[SGD](*self._of(some, *self.names), **at, is_first_step=first)

        return step


class AdamUpdate(_Rows):
    """Adam."""

    names = ("exp_avg", "exp_avg_sq")
    kernel: type[Optimizer] = Adam

    def step_of(self, members: Sequence[int], hyperparameters: Mapping[str, Any]) -> Step:
        at = {k: hyperparameters[k] for k in _KEYS[Adam]}
        beta1, beta2 = at.pop("betas")
        rows, count = self._of(members, *self.names), [self.count[member] for member in members]
        betas = {"beta1": beta1, "beta2": beta2}
        return partial(_KERNELS[self.kernel], *rows, [], count, **at, **betas, amsgrad=False)


class AdamWUpdate(AdamUpdate):
    """AdamW."""

    kernel = AdamW


class RMSpropUpdate(_Rows):
    """RMSprop."""

    names = ("square_avg", "grad_avg", "momentum_buffer")

    def step_of(self, members: Sequence[int], hyperparameters: Mapping[str, Any]) -> Step:
        at = {k: hyperparameters[k] for k in _KEYS[RMSprop]}
        # It counts by itself what was counted already; only what it computes with is the rows.
        count = [torch.zeros(()) for _ in members]
        return partial(
            _KERNELS[RMSprop], *self._of(members, *self.names), count, foreach=True, **at
        )


_KEYS: dict[type[Optimizer], tuple[str, ...]] = {
    SGD: ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"),
    Adam: ("lr", "betas", "eps", "weight_decay", "maximize"),
    AdamW: ("lr", "betas", "eps", "weight_decay", "maximize"),
    RMSprop: ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
}
UPDATES: dict[type[Optimizer], Any] = {
    SGD: SGDUpdate,
    Adam: AdamUpdate,
    AdamW: AdamWUpdate,
    RMSprop: RMSpropUpdate,
}
_OTHER_FORMS = ("foreach", "capturable", "differentiable", "amsgrad", "decoupled_weight_decay")


def unfit_optimizer(optimizer: Optimizer) -> str | None:
    """Why an optimizer cannot be a cohort's; None if it can.

    Args:
        optimizer: One of torch's classes, over the whole model.
    """
    kind, group = type(optimizer), optimizer.param_groups[0]
    if kind not in UPDATES:
        return f"its optimizer is {kind.__name__}"
    if len(optimizer.param_groups) > 1:
        return "its optimizer has more than one group of parameters"
    for name in _OTHER_FORMS:
        if group.get(name) and not (kind is AdamW and name == "decoupled_weight_decay"):
            return f"its optimizer has {name}"
    if group.get("fused") is False:
        return "its optimizer is not fused"
    # Where nothing was ever updated, as in padding, it would divide by nothing.
    if "eps" in group and torch.tensor(float(group["eps"])) == 0:
        return "its optimizer has eps 0"
    return None


def hyperparameters(optimizer: Optimizer) -> tuple[tuple[str, Any], ...]:
    """What an optimizer's next step takes, as a key: equal keys share a kernel."""
    group, keys = optimizer.param_groups[0], _KEYS[type(optimizer)]
    return tuple((name, _plain(group[name])) for name in keys)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value
