"""The layers of a cohort, forward and backward, over `[members, rows, units]`.

Rows and units are padded to multiples of 16, and every segment of memory to 32 floats. A matrix
whose side is odd is rounded by where it lies in memory, the last floats of a vector are computed by
another formula than the rest: a member's bits would depend on its place. Padding is zeros and stays
zeros: it adds nothing to any sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

aten = torch.ops.aten
SIDE = 16


def padded(length: int, multiple: int = SIDE) -> int:
    """The next multiple."""
    return -(-length // multiple) * multiple


@dataclass(frozen=True)
class Function:
    """An elementwise function.

    Attributes:
        forward: ``(x, *numbers, out)``.
        backward: ``(gradient, x, y, *numbers)``, in place of the gradient.
        at_zero: Whether it gives zero there; else padding has to be made zero again.
        in_place: Whether what comes out may take the place of what went in, which `backward` does
            not ask for.
        asks_output: Whether `backward` asks for what came out, and not just for where it is zero.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., Tensor]
    at_zero: bool = True
    in_place: bool = False
    asks_output: bool = False


def _relu(x: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.clamp_min(x, 0, out=out)  # relu itself takes no place to write to


def _out(function: Any) -> Callable[..., Tensor]:
    def forward(x: Tensor, *numbers: Any, out: Tensor | None = None) -> Tensor:
        found: Tensor = function.default(x, *numbers) if out is None else function.out(
            x, *numbers, out=out
        )  # fmt: skip
        return found

    return forward


def _gelu(x: Tensor, approximate: str, out: Tensor | None = None) -> Tensor:
    if out is None:
        return torch.nn.functional.gelu(x, approximate=approximate)
    found: Tensor = aten.gelu.out(x, approximate=approximate, out=out)
    return found


# Backward: of the gradient, what went in, what came out, and the function's numbers.
ACTIVATIONS: dict[str, Function] = {
    "relu": Function(
        _relu,
        lambda g, _, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
        in_place=True,
    ),
    "leaky_relu": Function(
        _out(aten.leaky_relu),
        lambda g, x, _, s: aten.leaky_relu_backward.grad_input(g, x, s, False, grad_input=g),
    ),
    "gelu": Function(
        _gelu, lambda g, x, _, a: aten.gelu_backward.grad_input(g, x, approximate=a, grad_input=g)
    ),
    "silu": Function(
        _out(aten.silu), lambda g, x, _: aten.silu_backward.grad_input(g, x, grad_input=g)
    ),
    "elu": Function(
        _out(aten.elu),
        lambda g, x, _, a: aten.elu_backward.grad_input(g, a, 1, 1, False, x, grad_input=g),
    ),
    "tanh": Function(
        _out(aten.tanh),
        lambda g, _, y: aten.tanh_backward.grad_input(g, y, grad_input=g),
        in_place=True,
        asks_output=True,
    ),
    "sigmoid": Function(
        _out(aten.sigmoid),
        lambda g, _, y: aten.sigmoid_backward.grad_input(g, y, grad_input=g),
        at_zero=False,
        in_place=True,
        asks_output=True,
    ),
    "softplus": Function(
        _out(aten.softplus),
        lambda g, x, _, b, t: aten.softplus_backward.grad_input(g, x, b, t, grad_input=g),
        at_zero=False,
    ),
}


class Layer(Protocol):
    """One step of the chain, for all members."""

    def forward(self, x: Tensor) -> Tensor:
        """`[members, rows, units]` to the same with its own units; kept for `backward`."""

    def backward(self, gradient: Tensor) -> Tensor:
        """From the gradient of what `forward` gave to that of what it took."""

    def answer(self, x: Tensor) -> Tensor:
        """`forward` in evaluation, of any number of rows; nothing is kept."""


class DenseLayer:
    """Matrix products of all members at once.

    Args:
        weight: `[members, outputs, inputs]`, a view of the members' parameters; so are the others.
        bias: `[members, outputs]`, or None.
        weight_grad: Where the gradient is written.
        bias_grad: The same of the bias.
        rows: Rows of a batch.
        first: Whether nothing stands before it that needs a gradient.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        weight_grad: Tensor,
        bias_grad: Tensor | None,
        rows: int,
        *,
        first: bool,
    ) -> None:
        members, outputs, inputs = weight.shape
        self.weight, self.weight_grad, self.bias_grad = weight, weight_grad, bias_grad
        self.bias = weight.new_zeros(members, 1, outputs) if bias is None else bias.unsqueeze(1)
        self.y = weight.new_empty(members, rows, outputs)
        self.x_grad = None if first else weight.new_empty(members, rows, inputs)

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

    def answer(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2))


class ActivationLayer:
    """An elementwise function.

    Args:
        function: The function.
        numbers: Its numbers.
        units: Those that are not padding.
        in_place: Whether nothing before it asks for what it takes, once it has taken it.
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

    def answer(self, x: Tensor) -> Tensor:
        return self._cleared(self.function.forward(x, *self.numbers))

    def _cleared(self, y: Tensor) -> Tensor:
        if not self.function.at_zero and self.units < y.shape[2]:
            y[:, :, self.units :] = 0
        return y


class DropLayer:
    """Inverted dropout. Whoever trains sets `noise` before each batch.

    Args:
        dropped: Of 65536 numbers how many each member drops: int64 `[members]`.
        in_place: Whether nothing before it asks for what it takes, once it has taken it.
    """

    def __init__(self, dropped: Tensor, *, in_place: bool) -> None:
        self.threshold = (dropped - 32768).to(torch.int16).view(-1, 1, 1)
        self.scale = (65536 / (65536 - dropped.double())).float().view(-1, 1, 1)
        self.noise: Tensor | None = None  # int16 `[members, rows, units]`
        self.mask: Tensor | None = None
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        assert self.noise is not None
        if self.mask is None:
            self.mask = torch.empty_like(x)
        torch.ge(self.noise, self.threshold, out=self.mask)
        self.mask.mul_(self.scale)
        return x.mul_(self.mask) if self.in_place else x.mul(self.mask)

    def backward(self, gradient: Tensor) -> Tensor:
        assert self.mask is not None
        return gradient.mul_(self.mask)

    def answer(self, x: Tensor) -> Tensor:
        return x
