"""torch's optimizers on flat rows: one call for all members that share their hyperparameters.

A member's hyperparameters are those of its own `torch.optim.Optimizer`, which is never stepped: any
scheduler of torch may set them. The kernels are those that torch's optimizers call themselves; they
apply weight decay too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.rmsprop import rmsprop

Step = Callable[[], None]

# By class the hyperparameters that a step takes, and the state that it keeps for each parameter.
_ADAM = ("lr", "betas", "eps", "weight_decay", "maximize"), ("exp_avg", "exp_avg_sq")
OPTIMIZERS: dict[type[Optimizer], tuple[tuple[str, ...], tuple[str, ...]]] = {
    SGD: (
        ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"),
        ("momentum_buffer",),
    ),
    Adam: _ADAM,
    AdamW: _ADAM,
    RMSprop: (
        ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"),
        ("square_avg", "grad_avg", "momentum_buffer"),
    ),
}
# torch's functions take lists of tensors: one for each member. Their stubs know single tensors.
_fused_sgd: Any = torch._fused_sgd_
_fused_adam: dict[type[Optimizer], Any] = {Adam: torch._fused_adam_, AdamW: torch._fused_adamw_}
_rmsprop: Any = rmsprop


class MemberUpdate:
    """The updates of one kind of `OPTIMIZERS` for all members, in place.

    Parameters and gradients are float32 `[members, parameters]`.

    Attributes:
        state: By name the optimizer's state of all members: `[members, parameters]`.
        steps: How often each member was updated: float32 `[members]`.
    """

    def __init__(self, kind: type[Optimizer], parameters: Tensor, gradients: Tensor) -> None:
        self.kind = kind
        self.state = {name: torch.zeros_like(parameters) for name in OPTIMIZERS[kind][1]}
        self.steps = torch.zeros(len(parameters), device=parameters.device)
        self._rows = [parameters.unbind(), gradients.unbind()]
        self._state_rows = [tensor.unbind() for tensor in self.state.values()]
        self._step_rows = self.steps.unbind()

    def step_of(self, members: Sequence[int], hyperparameters: Mapping[str, Any]) -> Step:
        """Return what updates members that share `hyperparameters`, once `steps` counts it."""
        given = dict(hyperparameters)

        def pick(rows: Sequence[Sequence[Tensor]], some: Sequence[int]) -> list[list[Tensor]]:
            return [[row[member] for member in some] for row in rows]

        rows, state = pick(self._rows, members), pick(self._state_rows, members)
        if self.kind is RMSprop:
            # It counts steps, which changes none of its numbers.
            counts = [torch.zeros(()) for _ in members]
            return partial(_rmsprop, *rows, *state, counts, foreach=True, **given)
        if self.kind is not SGD:
            beta1, beta2 = given.pop("betas")
            given |= {"beta1": beta1, "beta2": beta2, "amsgrad": False}
            counts = [self._step_rows[member] for member in members]
            return partial(_fused_adam[self.kind], *rows, *state, [], counts, **given)
        if not given["momentum"]:
            return partial(_fused_sgd, *rows, [], **given, is_first_step=False)

        def step_with_momentum() -> None:
            steps = self.steps.tolist()
            for first in (True, False):  # a member's first gradient becomes its momentum
                if some := [member for member in members if (steps[member] == 1) is first]:
                    tensors = pick([*self._rows, *self._state_rows], some)
                    _fused_sgd(*tensors, **given, is_first_step=first)

        return step_with_momentum


def unfit_optimizer(optimizer: Optimizer) -> str | None:
    """Return why a cohort cannot compute the updates of a torch optimizer; None if it can."""
    kind, group = type(optimizer), optimizer.param_groups[0]
    if kind not in OPTIMIZERS:
        return f"its optimizer is {kind.__name__}"
    if len(optimizer.param_groups) > 1:
        return "its optimizer has more than one group of parameters"
    for name in ("foreach", "capturable", "differentiable", "amsgrad", "decoupled_weight_decay"):
        if group.get(name) and not (kind is AdamW and name == "decoupled_weight_decay"):
            return f"its optimizer has {name}"
    if group.get("fused") is False:
        return "its optimizer is not fused"
    # Where nothing was ever updated, as in padding, it would divide zero by zero.
    if "eps" in group and torch.tensor(float(group["eps"])) == 0:
        return "its optimizer has eps 0"
    return None


def hyperparameters(optimizer: Optimizer) -> tuple[tuple[str, Any], ...]:
    """Return what an optimizer's next step takes, as a key: equal keys share a call."""
    group, keys = optimizer.param_groups[0], OPTIMIZERS[type(optimizer)][0]
    return tuple(
        (key, value.item() if isinstance(value := group[key], Tensor) else value) for key in keys
    )
