"""Optimizers and learning-rate schedulers: which form is used, and when a scheduler steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

# One fused kernel per step instead of a dozen small ones; measured on the CPU, where these four
# have it (torch 2.11 and later).
FUSED_ON_CPU = ("SGD", "Adam", "AdamW", "Adagrad")


class Constant(LRScheduler):
    """The learning rate stays what it is."""

    def get_lr(self) -> list[float | Tensor]:
        return [group["lr"] for group in self.optimizer.param_groups]


def fused_by_default(optimizer: Callable[..., Optimizer], device: str) -> bool:
    """Whether the optimizer is used in its fused form where the user does not choose."""
    return device == "cuda" or getattr(optimizer, "__name__", "") in FUSED_ON_CPU


def steps_each_update(scheduler: Callable[..., Any]) -> bool:
    """Whether a scheduler counts updates: those that ask for ``total_steps``. Others count epochs.

    So `OneCycleLR` is stepped after each update, `StepLR` and `CosineAnnealingLR` after each epoch,
    as in torch's documentation.
    """
    return "total_steps" in inspect.signature(scheduler).parameters
