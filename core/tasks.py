"""Tasks: from a model's outputs to predictions, which metrics there are, which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from torch import Tensor

from core import metrics
from core.config import DEFAULT_METRICS, Direction

DIRECTIONS: dict[str, Direction] = {
    "loss": "minimize",
    "accuracy": "maximize",
    "precision": "maximize",
    "recall": "maximize",
    "f1": "maximize",
    "mae": "minimize",
    "mse": "minimize",
    "r2": "maximize",
}


class Task(Protocol):
    """What the engine asks of a task.

    Attributes:
        targets: Whether the data's targets are class labels or values.
        metrics: Names of the validation metrics besides the loss.
        select: The metric that chooses the best epoch unless the configuration says otherwise.
    """

    targets: Literal["classes", "values"]
    metrics: tuple[str, ...]
    select: str

    def output_shape(self, batch: int, outputs: int) -> tuple[int, ...]:
        """The shape that the model must return for a batch."""

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """How many of a batch are right (0-dim), or None where that has no meaning."""

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        """The metrics of a whole part."""

    def confusion_matrix(self, outputs: Tensor, targets: Tensor) -> list[list[int]] | None:
        """Counts of (target, prediction), or None for values."""

    def scores(self, outputs: Tensor) -> Tensor:
        """What torchmetrics' classes take as predictions: probabilities, or values."""

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        """What a torchmetrics class may name in its signature for this task."""


class Multiclass:
    """One of C classes: outputs are logits `[N, C]`, targets int64 `[N]`."""

    targets: Literal["classes"] = "classes"
    metrics = ("accuracy", "precision", "recall", "f1")
    select = DEFAULT_METRICS["multiclass"]

    def output_shape(self, batch: int, outputs: int) -> tuple[int, ...]:
        return (batch, outputs)

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        return (outputs.argmax(1) == targets).sum()

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        return {**metrics.classification_metrics(self._matrix(outputs, targets))}

    def confusion_matrix(self, outputs: Tensor, targets: Tensor) -> list[list[int]] | None:
        rows: list[list[int]] = self._matrix(outputs, targets).tolist()
        return rows

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        return {"task": "multiclass", "num_classes": outputs}

    def _matrix(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return metrics.confusion_matrix(targets, outputs.argmax(1), outputs.shape[1])


class Regression:
    """Values: outputs and targets are float32 `[N, K]`."""

    targets: Literal["values"] = "values"
    metrics = ("mae", "mse", "r2")
    select = DEFAULT_METRICS["regression"]

    def output_shape(self, batch: int, outputs: int) -> tuple[int, ...]:
        return (batch, outputs)

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:  # noqa: ARG002
        return None

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        return metrics.regression_metrics(outputs, targets)

    def confusion_matrix(self, outputs: Tensor, targets: Tensor) -> list[list[int]] | None:  # noqa: ARG002
        return None

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        return {"num_outputs": outputs}
