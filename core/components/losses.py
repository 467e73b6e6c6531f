"""Losses with class weights. Each is a mean over the examples, whatever the weights.

The weights are a list, or the word ``balanced``, which `weight_keyword` replaces by the
`balanced_weights` of the training part before a loss is made.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from paribus.core.components.tasks import Task
from paribus.core.config.values import show_value
from paribus.core.data.loader import Part
from paribus.core.data.prepare import Data
from paribus.core.errors import RequestError

Weight = Annotated[float, Field(ge=0)]
Weights = Literal["balanced"] | list[Weight] | None


class CrossEntropy(nn.CrossEntropyLoss):
    """Cross entropy of logits `[N, C]` and classes int64 `[N]`.

    With weights it is the mean over examples of the weighted losses; `torch.nn.CrossEntropyLoss`
    divides by the sum of the batch's weights, so that what an example counts depends on its batch.

    Args:
        weight: ``balanced``, a list with a factor for each class, or none.
        label_smoothing: Share of the target that is spread over all classes.
    """

    def __init__(
        self,
        weight: Weights = None,
        label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> None:
        super().__init__(_tensor(weight), label_smoothing=label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.weight is None:
            return super().forward(input, target)
        each = functional.cross_entropy(
            input, target, self.weight, reduction="none", label_smoothing=self.label_smoothing
        )
        return each.mean()


class ModelLoss(nn.Module):
    """The loss that a model computes itself: its output's ``loss`` when it is given ``labels``."""


class BCEWithLogits(nn.BCEWithLogitsLoss):
    """Binary cross entropy of logits and targets, both float32 `[N, L]`.

    Args:
        weight: ``balanced``, a list with the factor of the positive examples for each logit
            (torch's ``pos_weight``), or none.
    """

    def __init__(self, weight: Weights = None) -> None:
        super().__init__(pos_weight=_tensor(weight))


class BCE(BCEWithLogits):
    """Binary cross entropy as `torch.nn.BCELoss` computes it: sigmoid first, then logarithms.

    It is what tutorials begin with. In float32 a probability near 0 or 1 has lost its digits, which
    `BCEWithLogits` keeps.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        # torch's function has no pos_weight: each element gets the weight of its target.
        weight = None if self.pos_weight is None else 1 + (self.pos_weight - 1) * target
        return functional.binary_cross_entropy(input.sigmoid(), target, weight)


def balanced_weights(train: Part, width: int, classes: int) -> list[float]:
    """Return the weights by which every class counts the same in the training part.

    For C classes N / (C · examples of the class), as scikit-learn's ``balanced``; for the `width`
    logits of labels negative examples / positive ones, as torch's ``pos_weight`` wants them.
    """
    targets = train.targets
    if targets.ndim == 1 and width > 1:
        counts = torch.bincount(targets, minlength=classes).double().clamp(min=1)
        return (len(targets) / (classes * counts)).tolist()
    positive = targets.reshape(len(targets), -1).double().sum(0)
    negative = len(targets) - positive
    # At least 1, so that a label that all or no examples have still has a gradient.
    return (negative.clamp(min=1) / positive.clamp(min=1)).tolist()


def weight_keyword(keywords: Mapping[str, Any], data: Data, task: Task) -> dict[str, Any]:
    """Return ``{"weight": [...]}`` where the keyword says ``balanced``, else nothing.

    Raises RequestError for a list that is not as long as there are classes or logits.
    """
    weight = keywords.get("weight")
    if weight is None:
        return {}
    width = task.width(data.outputs)
    if weight == "balanced":
        return {"weight": balanced_weights(data.train, width, data.outputs)}
    if len(weight) != width:
        what = "class" if task.targets == "classes" and width > 1 else "logit"
        raise RequestError(
            f"loss.weight={show_value(weight)}: must have one number for each {what}, {width}.",
            "Or take loss.weight=balanced.",
        )
    return {}


def _tensor(weight: Weights) -> Tensor | None:
    return None if weight is None else torch.tensor(weight, dtype=torch.float32)
