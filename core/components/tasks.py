"""Tasks: from a model's outputs to probabilities and predictions, and the metrics of these.

Each task does this in one place; the engines, `evaluate` and `predict` ask it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from paribus.core.components import metrics
from paribus.core.config.schema import DEFAULT_METRICS
from paribus.core.data.targets import Targets
from paribus.core.errors import RequestError

Threshold = Annotated[float, Field(gt=0, lt=1)]
Matrix = list[list[int]] | list[list[list[int]]]
# Of more, only the cells that count anything are written: with their zeros they would be most of a
# record, and of the time of a run.
MOST_CLASSES = 100


class Task(ABC):
    """What the engines ask of a task; what is not abstract is as for values.

    Attributes:
        targets: The data's targets: one class per example (int64 `[N]`), several labels (int64
            `[N, L]` of 0 and 1), or values (float32 `[N, K]`).
        metrics: Names of the validation metrics besides the loss.
        select: The metric that chooses the best epoch unless the configuration says otherwise.
        loss: The losses that fit, by short name, the usual one first.
    """

    targets: Targets
    metrics: tuple[str, ...]
    select: str
    loss: tuple[str, ...]

    def width(self, outputs: int) -> int:
        """Return how many numbers per example the model returns; refuse another task's data."""
        return outputs

    def loss_targets(self, targets: Tensor) -> Tensor:
        """Return the targets as the losses of this task take them."""
        return targets

    def probabilities(self, outputs: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return those of each class or label: float `[N, C]`; None for values."""
        return None

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Return the targets that the outputs stand for, in the form of the data's."""

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return how right each example is: bool `[N]`; None for values.

        For labels it is the share of right decisions: float64 `[N]`.
        """
        return None

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        """Return the metrics of a whole part."""
        return self.measure_runs(outputs.unsqueeze(0), targets.unsqueeze(0))[0]

    @abstractmethod
    def measure_runs(self, outputs: Tensor, targets: Tensor) -> list[dict[str, float | None]]:
        """Return each run's metrics of a whole part: outputs and targets `[R, N, …]`.

        Values do not depend on what other runs there are.
        """

    def confusion(self, outputs: Tensor, targets: Tensor) -> dict[str, Matrix | None]:  # noqa: ARG002
        """Count (target, prediction), as records have it; None for values.

        Returns:
            ``confusion_matrix``, one for each label, or for many classes None and
            ``confusion_counts``: (target, prediction, count) of what occurs.
        """
        return {"confusion_matrix": None}

    def report(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor] | None:  # noqa: ARG002
        """Return precision, recall, f1 and support of each class or label; None for values."""
        return None

    @abstractmethod
    def scores(self, outputs: Tensor) -> Tensor:
        """Return what torchmetrics' classes take as predictions: probabilities, or values."""

    @abstractmethod
    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        """Return what a torchmetrics class may name in its signature for this task."""


class _Classification(Task):
    """What tasks with classes or labels share: all metrics follow from counts."""

    metrics = ("accuracy", "precision", "recall", "f1")

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor: ...

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        right = self.predict(outputs) == targets
        return right if right.ndim == 1 else right.double().mean(1)

    def measure_runs(self, outputs: Tensor, targets: Tensor) -> list[dict[str, float | None]]:
        predicted = self._predict_runs(outputs)
        classes = self._classes(outputs[0])
        return [{**found} for found in metrics.classification_metrics(targets, predicted, classes)]

    def _predict_runs(self, outputs: Tensor) -> Tensor:
        # One by one: a sigmoid's last bits depend on its place in memory.
        return torch.stack([self.predict(each) for each in outputs])

    def confusion(self, outputs: Tensor, targets: Tensor) -> dict[str, Matrix | None]:
        predicted, classes = self.predict(outputs), self._classes(outputs)
        if targets.ndim == 2:
            return {"confusion_matrix": metrics.confusion_matrices(targets, predicted).tolist()}
        if classes > MOST_CLASSES:
            counts = metrics.confusion_counts(targets, predicted)
            return {"confusion_matrix": None, "confusion_counts": counts.tolist()}
        return {"confusion_matrix": metrics.confusion_matrix(targets, predicted, classes).tolist()}

    def report(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor] | None:
        return metrics.per_class(targets, self.predict(outputs), self._classes(outputs))

    def scores(self, outputs: Tensor) -> Tensor:
        return self.probabilities(outputs)

    def _classes(self, outputs: Tensor) -> int:
        return max(2, outputs.shape[1])


class Multiclass(_Classification):
    """One of C classes: outputs are logits `[N, C]`, targets int64 `[N]`; softmax, the largest."""

    targets = "classes"
    select = DEFAULT_METRICS["multiclass"]
    loss = ("cross_entropy",)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(1)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def _predict_runs(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(2)

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        return {"task": "multiclass", "num_classes": outputs}


class Binary(_Classification):
    """One of two classes: outputs are one logit `[N, 1]`, targets int64 `[N]` of 0 and 1.

    Args:
        threshold: The second class is predicted where its probability (the logit's sigmoid) is
            above it.
    """

    targets = "classes"
    select = DEFAULT_METRICS["binary"]
    loss = ("bce_with_logits", "bce")

    def __init__(self, threshold: Threshold = 0.5) -> None:
        self.threshold = threshold

    def width(self, outputs: int) -> int:
        if outputs != 2:
            raise RequestError(
                f"task binary is for two classes, and the data has {outputs}.",
                "Take task=multiclass and loss=cross_entropy.",
            )
        return 1

    def loss_targets(self, targets: Tensor) -> Tensor:
        return targets.unsqueeze(1).float()

    def probabilities(self, outputs: Tensor) -> Tensor:
        positive = outputs.sigmoid()
        return torch.cat([1 - positive, positive], 1)

    def predict(self, outputs: Tensor) -> Tensor:
        return (self.scores(outputs) > self.threshold).long()

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid().squeeze(1)

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:  # noqa: ARG002
        return {"task": "binary", "threshold": self.threshold}


class Multilabel(_Classification):
    """Any of L labels: outputs are a logit for each, `[N, L]`, targets int64 `[N, L]` of 0 and 1.

    Accuracy is the share of right decisions, one for each example and label.

    Args:
        threshold: A label is predicted where its probability (the logit's sigmoid) is above it.
    """

    targets = "labels"
    select = DEFAULT_METRICS["multilabel"]
    loss = ("bce_with_logits", "bce")

    def __init__(self, threshold: Threshold = 0.5) -> None:
        self.threshold = threshold

    def loss_targets(self, targets: Tensor) -> Tensor:
        return targets.float()

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def predict(self, outputs: Tensor) -> Tensor:
        return (outputs.sigmoid() > self.threshold).long()

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        return {"task": "multilabel", "num_labels": outputs, "threshold": self.threshold}


class Regression(Task):
    """Values: outputs and targets are float32 `[N, K]`."""

    targets = "values"
    metrics = ("mae", "mse", "r2")
    select = DEFAULT_METRICS["regression"]
    loss = ("mse", "l1", "huber")

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs

    def measure_runs(self, outputs: Tensor, targets: Tensor) -> list[dict[str, float | None]]:
        return metrics.regression_metrics(outputs, targets)

    def scores(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(1)  # of one column, else as they are

    def metric_keywords(self, outputs: int) -> Mapping[str, Any]:
        return {"num_outputs": outputs}
