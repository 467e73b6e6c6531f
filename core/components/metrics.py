"""Validation metrics: ours from counts and sums in float64, and torchmetrics' by their names.

Our definitions follow torchmetrics, and a property test compares them: a class that is absent from
targets and predictions is left out of macro means, a division by zero counts 0.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from paribus.core.config.schema import Direction
from paribus.core.errors import RequestError, did_you_mean, shown

if TYPE_CHECKING:
    from paribus.core.components.tasks import Task


def confusion_matrix(targets: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts of (target, predicted label).

    Args:
        targets: int64 `[N]`.
        labels: int64 `[N]`.
        classes: C.

    Returns:
        int64 `[C, C]`; rows are targets, columns predictions.
    """
    return torch.bincount(targets * classes + labels, minlength=classes * classes).view(
        classes, classes
    )


def per_class(matrix: Tensor) -> dict[str, Tensor]:
    """Precision, recall, f1 and support of each class: float64 `[C]` (support int64)."""
    counts = matrix.double()
    hit, support, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    return {
        "precision": _ratio(hit, predicted),
        "recall": _ratio(hit, support),
        "f1": _ratio(2 * hit, support + predicted),
        "support": matrix.sum(1),
    }


def classification_metrics(matrix: Tensor) -> dict[str, float]:
    """Accuracy, and macro precision, recall and F1.

    Args:
        matrix: int64 `[C, C]` of `confusion_matrix`, of at least one example.
    """
    present = (matrix.sum(0) + matrix.sum(1)) > 0
    rows = per_class(matrix)
    accuracy = matrix.diagonal().sum().double() / matrix.sum()
    macro = {name: rows[name][present].mean().item() for name in ("precision", "recall", "f1")}
    return {"accuracy": accuracy.item(), **macro}


def confusion_matrices(targets: Tensor, labels: Tensor) -> Tensor:
    """Counts of (target, predicted) of each label.

    Args:
        targets: int64 `[N, L]` of 0 and 1.
        labels: int64 `[N, L]` of 0 and 1, the predicted ones.

    Returns:
        int64 `[L, 2, 2]`; rows are targets, columns predictions.
    """
    code = targets * 2 + labels
    return torch.stack([(code == k).sum(0) for k in range(4)], 1).view(-1, 2, 2)


def per_label(matrices: Tensor) -> dict[str, Tensor]:
    """Precision, recall, f1 and support of each label: float64 `[L]` (support int64)."""
    counts = matrices.double()
    hit, support, predicted = counts[:, 1, 1], counts[:, 1].sum(1), counts[:, :, 1].sum(1)
    return {
        "precision": _ratio(hit, predicted),
        "recall": _ratio(hit, support),
        "f1": _ratio(2 * hit, support + predicted),
        "support": matrices[:, 1].sum(1),
    }


def multilabel_metrics(matrices: Tensor) -> dict[str, float]:
    """Accuracy over all decisions, and precision, recall and F1 averaged over the labels.

    A label that no example has, and that was never predicted, counts 0 in the averages, as it does
    in torchmetrics and scikit-learn.

    Args:
        matrices: int64 `[L, 2, 2]` of `confusion_matrices`, of at least one example.
    """
    rows = per_label(matrices)
    right = matrices.diagonal(dim1=1, dim2=2).sum().double() / matrices.sum()
    macro = {name: rows[name].mean().item() for name in ("precision", "recall", "f1")}
    return {"accuracy": right.item(), **macro}


def regression_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
    """MAE, MSE and R² (mean over the target columns).

    Args:
        outputs: float `[N, K]`.
        targets: float `[N, K]`.

    Returns:
        ``mae``, ``mse`` and ``r2``; ``r2`` is None where it is not defined: fewer than two
        examples, or a target column that is constant.
    """
    targets64 = targets.double()
    error = outputs.double() - targets64
    total = (targets64 - targets64.mean(0)).square().sum(0)
    defined = len(targets) >= 2 and bool((total > 0).all())
    r2 = (1 - error.square().sum(0) / total).mean().item() if defined else None
    return {"mae": error.abs().mean().item(), "mse": error.square().mean().item(), "r2": r2}


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator.clamp(min=1), 0.0)


def is_better(direction: Direction, new: float | None, old: float | None) -> bool:
    """Whether a value of the selection metric beats the best so far; of equal ones the first stays.

    Args:
        direction: Which way is better.
        new: The value; None, where the metric is not defined, beats nothing.
        old: The best so far; any number beats None.
    """
    if new is None or old is None:
        return new is not None
    return new > old if direction == "maximize" else new < old


def metric_key(name: str) -> str:
    """The key of a metric's class: ``torchmetrics.MulticlassAUROC`` → ``multiclass_auroc``."""
    word = name.rsplit(".", 1)[-1]
    word = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", word)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", word).lower()


class ExtraMetric:
    """One torchmetrics metric, made for a task.

    Args:
        name: A class name of torchmetrics, or a dotted path.
        task: The task whose outputs it measures.
        outputs: Number of classes or target columns.

    Raises:
        RequestError: If there is no such metric, or it cannot be made for this task.
    """

    def __init__(self, name: str, task: Task, outputs: int) -> None:
        self.name, self.key, self.task = name, metric_key(name), task
        if self.key in ("loss", *task.metrics):
            raise RequestError(
                f"metrics: {name} would be logged as val/{self.key}, which every run has already.",
                "Leave it out, or name another class (torchmetrics averages in its own way).",
            )
        kind = _find(name)
        known = task.metric_keywords(outputs)
        maker: Any = kind.__new__ if _picks_by_task(kind) else kind.__init__
        wanted = inspect.signature(maker).parameters
        try:
            self.metric: Any = kind(**{k: v for k, v in known.items() if k in wanted})
        except Exception as error:
            raise RequestError(f"metrics: {name} cannot be made: {shown(error)}") from error

    @property
    def direction(self) -> Direction | None:
        """Which way is better, as torchmetrics says; None where it does not."""
        better = getattr(self.metric, "higher_is_better", None)
        return None if better is None else "maximize" if better else "minimize"

    def measure(self, outputs: Tensor, targets: Tensor) -> float:
        """The metric over a whole part.

        Raises:
            RequestError: If it is not one number.
        """
        if self.task.targets == "values" and targets.shape[1] == 1:
            targets = targets.squeeze(1)
        self.metric.reset()
        self.metric.update(self.task.scores(outputs), targets)
        value = self.metric.compute()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise RequestError(
                f"metrics: {self.name} gives no single number.", "Name a metric that does."
            )
        return float(value)


def _find(name: str) -> Any:
    import torchmetrics

    if "." not in name:
        for module in ("torchmetrics", "torchmetrics.classification", "torchmetrics.regression"):
            found = getattr(importlib.import_module(module), name, None)
            if found is not None:
                break
    else:
        module, _, last = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), last, None)
        except ImportError:
            found = None
    if not (inspect.isclass(found) and issubclass(found, torchmetrics.Metric)):
        import torchmetrics.classification

        words = [w for w in dir(torchmetrics.classification) if w[0].isupper()]
        raise RequestError(
            f"metrics: there is no torchmetrics metric '{shown(name)}'.",
            did_you_mean(name, words) if len(words) < 10 else _close(name, words),
            "unknown-metric",
        )
    return found


def _close(name: str, words: list[str]) -> str:
    hint = did_you_mean(name, words)
    return hint if hint.startswith("Did") else "Name a class of torchmetrics, such as CohenKappa."


def _picks_by_task(kind: Any) -> bool:
    """Whether the class is one of those that choose another by their argument `task`."""
    return "task" in inspect.signature(kind.__new__).parameters
