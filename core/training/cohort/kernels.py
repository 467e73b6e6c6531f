"""A cohort's layers, losses and optimizers, forward and backward, over `[members, rows, units]`.

Rows and units are padded to multiples of 16, and every segment of memory to 32 floats. Otherwise a
member's bits would depend on its place: a matrix whose side is odd is rounded by where it lies in
memory, and the last floats of a vector are computed by another formula than the rest. Padding is
zeros and stays zeros: it adds nothing to any sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.rmsprop import rmsprop

from paribus.core.components import losses

aten = torch.ops.aten


def padded(length: int, multiple: int = 16) -> int:
    """Return the next multiple."""
    return -(-length // multiple) * multiple


@dataclass(frozen=True)
class Function:
    """An elementwise function.

    Attributes:
        forward: ``(x, *numbers, out)``.
        backward: ``(gradient, x, y, *numbers)``, in place of the gradient.
        zero_at_zero: Whether it is zero there; else padding has to be made zero again.
        in_place: Whether its output may overwrite its input, which `backward` then does not use.
        needs_output: Whether `backward` uses the output, and not just where it is zero.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., Tensor]
    zero_at_zero: bool = True
    in_place: bool = False
    needs_output: bool = False


def _forward(operator: Any) -> Callable[..., Tensor]:
    def forward(x: Tensor, *numbers: Any, out: Tensor | None = None) -> Tensor:
        return operator.default(x, *numbers) if out is None else operator.out(
            x, *numbers, out=out
        )  # fmt: skip

    return forward


# Backward: of the gradient, the input, the output, and the function's numbers.
ACTIVATIONS: dict[str, Function] = {
    "relu": Function(
        lambda x, out=None: torch.clamp_min(x, 0, out=out),  # relu itself has no `out`
        lambda g, _, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
        in_place=True,
    ),
    "leaky_relu": Function(
        _forward(aten.leaky_relu),
        lambda g, x, _, s: aten.leaky_relu_backward.grad_input(g, x, s, False, grad_input=g),
    ),
    "gelu": Function(
        lambda x, a, out=None: (
            functional.gelu(x, approximate=a)
            if out is None
            else aten.gelu.out(x, approximate=a, out=out)
        ),
        lambda g, x, _, a: aten.gelu_backward.grad_input(g, x, approximate=a, grad_input=g),
    ),
    "silu": Function(
        _forward(aten.silu), lambda g, x, _: aten.silu_backward.grad_input(g, x, grad_input=g)
    ),
    "elu": Function(
        _forward(aten.elu),
        lambda g, x, _, a: aten.elu_backward.grad_input(g, a, 1, 1, False, x, grad_input=g),
    ),
    "tanh": Function(
        _forward(aten.tanh),
        lambda g, _, y: aten.tanh_backward.grad_input(g, y, grad_input=g),
        in_place=True,
        needs_output=True,
    ),
    "sigmoid": Function(
        _forward(aten.sigmoid),
        lambda g, _, y: aten.sigmoid_backward.grad_input(g, y, grad_input=g),
        zero_at_zero=False,
        in_place=True,
        needs_output=True,
    ),
    "softplus": Function(
        _forward(aten.softplus),
        lambda g, x, _, b, t: aten.softplus_backward.grad_input(g, x, b, t, grad_input=g),
        zero_at_zero=False,
    ),
}


class DenseLayer:
    """Matrix products of all members at once, over batches of so many rows.

    Args:
        weight: The members' weights and their gradients, both `[members, outputs, inputs]`: views.
        bias: The same of the biases, `[members, outputs]`, or None.
        first: Whether nothing before it needs a gradient.
    """

    def __init__(
        self,
        weight: tuple[Tensor, Tensor],
        bias: tuple[Tensor, Tensor] | None,
        rows: int,
        *,
        first: bool,
    ) -> None:
        self.weight, self.weight_grad = weight
        members, outputs, inputs = self.weight.shape
        values = self.weight.new_zeros(members, outputs) if bias is None else bias[0]
        self.bias, self.bias_grad = values.unsqueeze(1), None if bias is None else bias[1]
        self.y = self.weight.new_empty(members, rows, outputs)
        self.x_grad = None if first else self.weight.new_empty(members, rows, inputs)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2), out=self.y)

    def backward(self, gradient: Tensor) -> Tensor:
        torch.bmm(gradient.transpose(1, 2), self.x, out=self.weight_grad)
        if self.bias_grad is not None:
            torch.sum(gradient, 1, out=self.bias_grad)
        if self.x_grad is None:
            return gradient
        return torch.bmm(gradient, self.weight, out=self.x_grad)

    def evaluate(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2))


class ActivationLayer:
    """An elementwise function; of its input, `units` are no padding.

    It may be `in_place` where nothing before it needs its input any more.
    """

    def __init__(
        self, function: Function, numbers: tuple[Any, ...], units: int, *, in_place: bool
    ) -> None:
        self.function, self.numbers, self.units = function, numbers, units
        self.in_place = in_place and function.in_place
        self.y: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            self.y = x
        elif self.y is None:
            self.y = torch.empty_like(x)
        self.x = x
        return self._cleared(self.function.forward(x, *self.numbers, out=self.y))

    def backward(self, gradient: Tensor) -> Tensor:
        return self.function.backward(gradient, self.x, self.y, *self.numbers)

    def evaluate(self, x: Tensor) -> Tensor:
        return self._cleared(self.function.forward(x, *self.numbers))

    def _cleared(self, y: Tensor) -> Tensor:
        if not self.function.zero_at_zero and self.units < y.shape[2]:
            y[:, :, self.units :] = 0
        return y


class DropLayer:
    """Inverted dropout; the program says who draws what, and sets `noise` before each batch.

    A mask is made once for all members of equal draws and rates.

    Args:
        dropped: How many of 65536 numbers each member drops.
        in_place: Whether nothing before it needs its input any more.
    """

    def __init__(self, dropped: Sequence[int], device: Any, *, in_place: bool) -> None:
        self.dropped, self.device, self.in_place = dropped, device, in_place
        self.draw_of: Sequence[int] = ()
        self.noise: Tensor | None = None  # int16 `[draws, rows, units]`

    def share(self, draw_of: Sequence[int]) -> None:
        """Make masks of the draw of each member, by its number."""
        if draw_of == self.draw_of:
            return
        self.draw_of = draw_of
        pairs = [*zip(draw_of, self.dropped, strict=True)]
        distinct = [*dict.fromkeys(pairs)]
        draws = [draw for draw, _ in distinct]
        members = [distinct.index(pair) for pair in pairs]
        # Mostly settings of the same seeds follow each other: then noise and masks are broadcast.
        self.draws, self.members = (
            None if _in_turn(rows) else torch.tensor(rows, device=self.device)
            for rows in (draws, members)
        )
        dropped = torch.tensor([rate for _, rate in distinct])
        shape = (-1, 1 + max(draws) if self.draws is None else len(draws), 1, 1)
        self.threshold = (dropped - 32768).to(torch.int16).view(shape).to(self.device)
        scale = (65536 / (65536 - dropped.double())).float()
        self.scale = scale.view(shape).to(self.device)
        self.mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        assert self.noise is not None
        noise = self.noise if self.draws is None else self.noise.index_select(0, self.draws)
        if self.mask is None:
            self.mask = x.new_empty(*self.threshold.shape[:2], *x.shape[1:])
            self.masks = self.mask.flatten(0, 1)  # of the first members, of as many next, and so on
        torch.ge(noise, self.threshold, out=self.mask)
        self.mask.mul_(self.scale)
        if self.members is not None:
            self.masks = self.mask.flatten(0, 1).index_select(0, self.members)
        return self._masked(x if self.in_place else x.clone())

    def backward(self, gradient: Tensor) -> Tensor:
        return self._masked(gradient)

    def _masked(self, values: Tensor) -> Tensor:
        if len(self.masks) == len(values):
            return values.mul_(self.masks)
        values.view(-1, *self.masks.shape).mul_(self.masks)
        return values

    def evaluate(self, x: Tensor) -> Tensor:
        return x


def _in_turn(numbers: Sequence[int]) -> bool:
    """Return whether they are 0, 1, …, n, and again, and so on, to the end."""
    count = 1 + max(numbers)
    return list(numbers) == [*range(count)] * (len(numbers) // count)


# `forward` maps `[members, rows, units]` to a layer's own units, and keeps what `backward` needs to
# return the gradient of the input from that of the output. `evaluate` is `forward` in evaluation,
# of any number of rows; it keeps nothing.
Layer = DenseLayer | ActivationLayer | DropLayer


class CrossEntropy:
    """Cross entropy of classes, with each member's weights and label smoothing.

    A row's loss is −Σ_c t_c log p_c with t_c = w_c ((1 − s) [c is the target] + s / C), so its
    gradient is p Σ_c t_c − t. Padding gets the logit −1e30, hence p = 0 and t = 0. The rows t of
    all classes are a table, made once.
    """

    def __init__(self, modules: list[nn.CrossEntropyLoss], classes: int, device: Any) -> None:
        width = padded(classes)
        table = torch.zeros(len(modules), classes, width)
        sums = torch.ones(len(modules), classes)
        for member, module in enumerate(modules):
            smooth = module.label_smoothing
            weight = torch.ones(classes) if module.weight is None else module.weight.cpu()
            share = torch.eye(classes) * (1 - smooth) + smooth / classes
            table[member, :, :classes] = share * weight
            if module.weight is not None:
                sums[member] = (share * weight).sum(1)
        self.classes = classes
        self.table = table.view(-1, width).to(device)
        self.sums = sums.view(-1).to(device) if bool((sums != 1).any()) else None
        self.begins = (torch.arange(len(modules)) * classes).view(-1, 1).to(device)
        self.padding = torch.zeros(width, device=device)
        self.padding[classes:] = -1e30

    def set_targets(self, targets: Tensor) -> None:
        self.rows = (targets + self.begins).view(-1)
        self.targets = self.table.index_select(0, self.rows).view(*targets.shape, -1)

    def losses(self, outputs: Tensor) -> Tensor:
        if self.classes < len(self.padding):
            outputs.add_(self.padding)
        return torch.mul(self.targets, torch.log_softmax(outputs, -1)).sum(-1).neg_()

    def gradient(self, outputs: Tensor, shares: Tensor) -> Tensor:
        # Not exp of the logarithms: for numbers such as -1e30 it takes five times as long.
        outputs = torch.softmax(outputs, -1)
        if self.sums is not None:
            outputs.mul_(self.sums.index_select(0, self.rows).view(*outputs.shape[:2], 1))
        return outputs.sub_(self.targets).mul_(shares)


class _Elementwise:
    """A mean over the outputs' units of `each`, of output and target; `slope` is its derivative."""

    each: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]

    def __init__(self, modules: list[Any], outputs: int, device: Any) -> None:  # noqa: ARG002
        self.units = torch.zeros(padded(outputs), device=device)
        self.units[:outputs] = 1 / outputs

    def set_targets(self, targets: Tensor) -> None:
        self.targets = targets

    def losses(self, outputs: Tensor) -> Tensor:
        return self.each(outputs).mul_(self.units).sum(-1)

    def gradient(self, outputs: Tensor, shares: Tensor) -> Tensor:
        return self.slope(outputs).mul_(self.units).mul_(shares)


class MSE(_Elementwise):
    """Squared error."""

    def each(self, outputs: Tensor) -> Tensor:
        return outputs.sub(self.targets).square_()

    def slope(self, outputs: Tensor) -> Tensor:
        return outputs.sub_(self.targets).mul_(2)


class L1(_Elementwise):
    """Absolute error."""

    def each(self, outputs: Tensor) -> Tensor:
        return outputs.sub(self.targets).abs_()

    def slope(self, outputs: Tensor) -> Tensor:
        return outputs.sub_(self.targets).sign_()


class Huber(_Elementwise):
    """Huber's loss; each member has its own delta."""

    def __init__(self, modules: list[nn.HuberLoss], outputs: int, device: Any) -> None:
        super().__init__(modules, outputs, device)
        self.delta = torch.tensor([m.delta for m in modules], device=device).view(-1, 1, 1)

    def each(self, outputs: Tensor) -> Tensor:
        error = outputs.sub(self.targets).abs_()
        small = error.square().mul_(0.5)
        return torch.where(error <= self.delta, small, self.delta * (error - 0.5 * self.delta))

    def slope(self, outputs: Tensor) -> Tensor:
        error = outputs.sub_(self.targets)
        return torch.minimum(torch.maximum(error, -self.delta, out=error), self.delta, out=error)


class BCEWithLogits(_Elementwise):
    """Binary cross entropy of logits, with each member's weights of the positive examples.

    A row's loss is (1 − t) o + a softplus(−o) with a = 1 + (w − 1) t, its gradient
    a sigmoid(o) − w t, as torch has it.
    """

    def __init__(self, modules: list[nn.BCEWithLogitsLoss], outputs: int, device: Any) -> None:
        super().__init__(modules, outputs, device)
        more = torch.zeros(len(modules), 1, padded(outputs))
        for member, module in enumerate(modules):
            if module.pos_weight is not None:
                more[member, 0, :outputs] = module.pos_weight.cpu() - 1
        self.more = more.to(device)

    def set_targets(self, targets: Tensor) -> None:
        self.targets = targets
        self.factor = torch.mul(targets, self.more).add_(1)
        self.weighed = torch.mul(targets, self.more).add_(targets)

    def each(self, outputs: Tensor) -> Tensor:
        no = (1 - self.targets).mul_(outputs)
        return functional.softplus(-outputs).mul_(self.factor).add_(no)

    def slope(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs, out=outputs).mul_(self.factor).sub_(self.weighed)


class BCE(BCEWithLogits):
    """Binary cross entropy from the logits' sigmoid; logarithms end at −100, as torch's do."""

    def each(self, outputs: Tensor) -> Tensor:
        self.p = torch.sigmoid(outputs)
        yes = torch.log(self.p).clamp_(min=-100).mul_(self.targets)
        no = torch.log1p(-self.p).clamp_(min=-100).mul_(1 - self.targets)
        return yes.add_(no).neg_().mul_(self.factor)

    def slope(self, outputs: Tensor) -> Tensor:
        spread = torch.mul(self.p, 1 - self.p)
        torch.sub(self.p, self.targets, out=outputs).div_(spread.clamp(min=1e-12))
        return outputs.mul_(spread).mul_(self.factor)


# Over `[members, rows, units]`, whose units beyond the outputs are padding: `set_targets` takes the
# rows' targets, `[members, rows]` or `[members, rows, units]`; `losses` returns each row's loss,
# `[members, rows]`; `gradient`, called after it, may overwrite the outputs and returns the gradient
# of the sum of the rows' losses times their shares, `[rows, 1]`.
MemberLoss = CrossEntropy | _Elementwise

LOSSES: dict[type[Any], type[Any]] = {
    losses.CrossEntropy: CrossEntropy,
    nn.CrossEntropyLoss: CrossEntropy,
    losses.BCEWithLogits: BCEWithLogits,
    nn.BCEWithLogitsLoss: BCEWithLogits,
    losses.BCE: BCE,
    nn.MSELoss: MSE,
    nn.L1Loss: L1,
    nn.HuberLoss: Huber,
}


def unfit_loss(loss: Any) -> str | None:
    """Return why a cohort cannot compute a loss that `dry_run` accepts; None if it can."""
    if type(loss) not in LOSSES:
        return f"its loss is {type(loss).__name__}"
    weights = [getattr(loss, name, None) for name in ("weight", "pos_weight")]
    if type(loss).__module__.startswith("torch.") and any(w is not None for w in weights):
        return "its loss is weighted by the batch"
    if getattr(loss, "ignore_index", -100) != -100:
        return "its loss leaves examples out"
    return None


# torch's optimizers on flat rows: one call for all members that share their hyperparameters.
#
# A member's hyperparameters are those of its own `torch.optim.Optimizer`, which is never stepped:
# any scheduler of torch may set them. The kernels are those that torch's optimizers call
# themselves; they apply weight decay too.


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
