"""Further validation metrics by torchmetrics' names, imported only when one is named."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from torch import Tensor

from paribus.core.components.tasks import Task
from paribus.core.config.schema import Direction
from paribus.core.errors import RequestError, did_you_mean, shown


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
