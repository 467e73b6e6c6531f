"""The tasks' losses over all members: each row's loss, and the gradient of the mean."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from paribus.core.components import losses
from paribus.core.training.cohort.layer_kernels import padded


class MemberLoss(Protocol):
    """A loss over `[members, rows, units]`; units beyond the outputs are padding."""

    def at(self, targets: Tensor) -> None:
        """Sets what the rows should give: `[members, rows]` or `[members, rows, units]`."""

    def losses(self, outputs: Tensor) -> Tensor:
        """Each row's loss: `[members, rows]`."""

    def gradient(self, outputs: Tensor, shares: Tensor) -> Tensor:
        """Of the sum of the rows' losses times their shares (`[rows, 1]`).

        Called after `losses` of the same outputs, which it may write over.
        """


class CrossEntropy:
    """Cross entropy of classes, with each member's weights and label smoothing.

    A row's loss is −Σ_c a_c log p_c with a_c = w_c ((1 − s) [c is the target] + s / C), so its
    gradient is p Σ_c a_c − a. Padding gets the logit −1e30, hence p = 0 and a = 0.
    """

    def __init__(self, modules: list[nn.CrossEntropyLoss], classes: int, device: Any) -> None:
        width = padded(classes)
        aims = torch.zeros(len(modules), classes, width)
        sums = torch.ones(len(modules), classes)
        for member, module in enumerate(modules):
            smooth = module.label_smoothing
            weight = torch.ones(classes) if module.weight is None else module.weight.cpu()
            share = torch.eye(classes) * (1 - smooth) + smooth / classes
            aims[member, :, :classes] = share * weight
            if module.weight is not None:
                sums[member] = (share * weight).sum(1)
        self.classes = classes
        self.aims = aims.view(-1, width).to(device)
        self.sums = sums.view(-1).to(device) if bool((sums != 1).any()) else None
        self.begins = (torch.arange(len(modules)) * classes).view(-1, 1).to(device)
        self.padding = torch.zeros(width)
        self.padding[classes:] = -1e30
        self.padding = self.padding.to(device)

    def at(self, targets: Tensor) -> None:
        self.rows = (targets + self.begins).view(-1)
        self.aim = self.aims.index_select(0, self.rows).view(*targets.shape, -1)

    def losses(self, outputs: Tensor) -> Tensor:
        if self.classes < len(self.padding):
            outputs.add_(self.padding)
        return torch.mul(self.aim, torch.log_softmax(outputs, -1)).sum(-1).neg_()

    def gradient(self, outputs: Tensor, shares: Tensor) -> Tensor:
        # Not the logarithms' exp: of numbers such as -1e30 it takes five times as long.
        outputs = torch.softmax(outputs, -1)
        if self.sums is not None:
            outputs.mul_(self.sums.index_select(0, self.rows).view(*outputs.shape[:2], 1))
        return outputs.sub_(self.aim).mul_(shares)


class _Elementwise:
    """A mean over the outputs' units of a function of output and target."""

    def __init__(self, modules: list[Any], outputs: int, device: Any) -> None:  # noqa: ARG002
        self.units = torch.zeros(padded(outputs), device=device)
        self.units[:outputs] = 1 / outputs

    def at(self, targets: Tensor) -> None:
        self.aim = targets

    def losses(self, outputs: Tensor) -> Tensor:
        return self.each(outputs).mul_(self.units).sum(-1)

    def gradient(self, outputs: Tensor, shares: Tensor) -> Tensor:
        return self.slope(outputs).mul_(self.units).mul_(shares)

    def each(self, outputs: Tensor) -> Tensor:
        raise NotImplementedError

    def slope(self, outputs: Tensor) -> Tensor:
        raise NotImplementedError


class MSE(_Elementwise):
    """Squared error."""

    def each(self, outputs: Tensor) -> Tensor:
        return outputs.sub(self.aim).square_()

    def slope(self, outputs: Tensor) -> Tensor:
        return outputs.sub_(self.aim).mul_(2)


class L1(_Elementwise):
    """Absolute error."""

    def each(self, outputs: Tensor) -> Tensor:
        return outputs.sub(self.aim).abs_()

    def slope(self, outputs: Tensor) -> Tensor:
        return outputs.sub_(self.aim).sign_()


class Huber(_Elementwise):
    """Each member has its own delta."""

    def __init__(self, modules: list[nn.HuberLoss], outputs: int, device: Any) -> None:
        super().__init__(modules, outputs, device)
        self.delta = torch.tensor([m.delta for m in modules], device=device).view(-1, 1, 1)

    def each(self, outputs: Tensor) -> Tensor:
        error = outputs.sub(self.aim).abs_()
        small = error.square().mul_(0.5)
        return torch.where(error <= self.delta, small, self.delta * (error - 0.5 * self.delta))

    def slope(self, outputs: Tensor) -> Tensor:
        error = outputs.sub_(self.aim)
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

    def at(self, targets: Tensor) -> None:
        self.aim = targets
        self.factor = torch.mul(targets, self.more).add_(1)
        self.weighed = torch.mul(targets, self.more).add_(targets)

    def each(self, outputs: Tensor) -> Tensor:
        return functional.softplus(-outputs).mul_(self.factor).add_((1 - self.aim).mul_(outputs))

    def slope(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs, out=outputs).mul_(self.factor).sub_(self.weighed)


class BCE(BCEWithLogits):
    """The same from the logits' sigmoid; logarithms end at −100, as torch's do."""

    def each(self, outputs: Tensor) -> Tensor:
        self.p = torch.sigmoid(outputs)
        yes = torch.log(self.p).clamp_(min=-100).mul_(self.aim)
        no = torch.log1p(-self.p).clamp_(min=-100).mul_(1 - self.aim)
        return yes.add_(no).neg_().mul_(self.factor)

    def slope(self, outputs: Tensor) -> Tensor:
        spread = torch.mul(self.p, 1 - self.p)
        torch.sub(self.p, self.aim, out=outputs).div_(spread.clamp(min=1e-12))
        return outputs.mul_(spread).mul_(self.factor)


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
    """Why a loss, made of a class of torch or the harness, cannot be a cohort's; None if it can."""
    if type(loss) not in LOSSES:
        return f"its loss is {type(loss).__name__}"
    if getattr(loss, "reduction", "mean") != "mean":
        return "its loss is no mean"
    torchs_own = type(loss) in (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)
    if torchs_own and any(
        getattr(loss, name, None) is not None for name in ("weight", "pos_weight")
    ):
        return "its loss is weighted by the batch"
    if getattr(loss, "ignore_index", -100) != -100:
        return "its loss leaves examples out"
    return None
