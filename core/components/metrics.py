"""Validation metrics: ours from counts and sums in float64, and torchmetrics' by their names.

Our definitions follow torchmetrics, and a property test compares them: a class that is absent from
targets and predictions is left out of macro means, a division by zero counts 0.
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from paribus.core.config.schema import DIRECTIONS, Direction
from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, did_you_mean, shown
from paribus.core.sources.reads import Reads, observing, refusing

if TYPE_CHECKING:
    from paribus.core.components.tasks import Task


def confusion_matrix(targets: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count pairs of (target, prediction), both int64 `[N]`: int64 `[C, C]`, rows are targets."""
    code = targets * classes + predicted
    return torch.bincount(code, minlength=classes * classes).view(classes, classes)


def confusion_matrices(targets: Tensor, predicted: Tensor) -> Tensor:
    """Count pairs of (target, prediction), labels int64 `[N, L]` of 0 and 1: int64 `[L, 2, 2]`."""
    code = targets * 2 + predicted
    return torch.stack([(code == k).sum(0) for k in range(4)], 1).view(-1, 2, 2)


def confusion_counts(targets: Tensor, predicted: Tensor) -> Tensor:
    """Count pairs of (target, prediction), both int64 `[N]`, that occur: int64 `[K, 3]`.

    A row is target, prediction, count; rows are in order.
    """
    pairs = torch.stack([targets, predicted], 1)
    cells, counts = torch.unique(pairs, dim=0, return_counts=True)
    return torch.cat([cells, counts.unsqueeze(1)], 1)


def per_class(targets: Tensor, predicted: Tensor, classes: int) -> dict[str, Tensor]:
    """Return precision, recall, f1 (float64) and support (int64) of each class or label.

    Targets and predictions are classes int64 `[N]`, or labels int64 `[N, L]` of 0 and 1.
    """
    if targets.ndim == 2:
        return ratios((targets * predicted).sum(0), targets.sum(0), predicted.sum(0))
    counted = (targets[targets == predicted], targets, predicted)
    return ratios(*(torch.bincount(codes, minlength=classes) for codes in counted))


def ratios(hits: Tensor, support: Tensor, predicted: Tensor) -> dict[str, Tensor]:
    """Return precision, recall, f1 (float64) and support of each class.

    Each count is int64 `[C]`: a class's examples that were predicted to be of it (`hits`), its
    examples (`support`), and the examples predicted to be of it.
    """

    def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
        return torch.where(denominator > 0, numerator.double() / denominator.clamp(min=1), 0.0)

    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
        "support": support,
    }


def classification_metrics(
    targets: Tensor, predicted: Tensor, classes: int
) -> list[dict[str, float]]:
    """Return for each run accuracy (over all decisions), and macro precision, recall and F1.

    Targets and predictions are those of `per_class`, of R runs: int64 `[R, N]` or `[R, N, L]`. As
    torchmetrics and scikit-learn: a class that no example has and that was never predicted is left
    out of the macro means; such a label counts 0.
    """
    runs, right = len(targets), targets == predicted
    if targets.ndim == 3:
        rows = ratios((targets * predicted).sum(1), targets.sum(1), predicted.sum(1))
        occurs = torch.ones_like(rows["f1"], dtype=torch.bool)
    else:  # each run counts in classes of its own
        begins = (torch.arange(runs) * classes).unsqueeze(1)
        codes = (targets + begins, predicted + begins)
        counted = (codes[0][right], *(each.flatten() for each in codes))
        counts = [torch.bincount(each, minlength=runs * classes) for each in counted]
        rows = ratios(*(count.view(runs, classes) for count in counts))
        occurs = (counts[1] + counts[2]).view(runs, classes) > 0
    names = ("precision", "recall", "f1")
    values = torch.stack([rows[name] for name in names], 1)
    macro = values.mean(-1)
    for run in (~occurs.all(1)).nonzero().flatten().tolist():
        macro[run] = torch.stack([row[occurs[run]].mean() for row in values[run]])
    accuracies = right.flatten(1).sum(1).double() / targets[0].numel()
    return [
        {"accuracy": accuracy, **dict(zip(names, means, strict=True))}
        for accuracy, means in zip(accuracies.tolist(), macro.tolist(), strict=True)
    ]


def regression_metrics(outputs: Tensor, targets: Tensor) -> list[dict[str, float | None]]:
    """Return for each run MAE, MSE and R² (mean over the target columns) of float `[R, N, K]`.

    R² is None where it is not defined: for fewer than two examples, or a constant target column.
    """
    targets64 = targets.double()
    error = outputs.double() - targets64
    total = (targets64 - targets64.mean(1, keepdim=True)).square().sum(1)
    defined = (total > 0).all(1).logical_and(torch.tensor(targets.shape[1] >= 2)).tolist()
    r2 = (1 - error.square().sum(1) / total).mean(1).tolist()
    mae, mse = (each.mean((1, 2)).tolist() for each in (error.abs(), error.square()))
    return [
        {"mae": mae[run], "mse": mse[run], "r2": r2[run] if defined[run] else None}
        for run in range(len(targets))
    ]


def choose_selection(
    select: Mapping[str, Any], task: Task, extra: Sequence[ExtraMetric]
) -> dict[str, str]:
    """Return metric and direction by which the best epoch is chosen.

    The metric may be written in full, by its last part (``auroc`` finds ``val/binary_auroc``) or as
    in ``metrics``; None of it or of the direction: the task decides.

    Raises:
        RequestError: If the runs have no such metric, or it is not known which way is better.
    """
    directions: dict[str, Direction | None] = {
        **{f"val/{name}": DIRECTIONS[name] for name in ("loss", *task.metrics)},
        **{f"val/{metric.key}": metric.direction for metric in extra},
    }
    metric = select["metric"] or task.select
    metric = {one.name: f"val/{one.key}" for one in extra}.get(metric, metric)
    if f"val/{metric}" in directions:
        metric = f"val/{metric}"
    elif len(matches := [name for name in directions if name.endswith(f"_{metric}")]) == 1:
        (metric,) = matches
    if metric not in directions:
        raise RequestError(
            f"select.metric={shown(metric)}: the runs have no such metric.",
            did_you_mean(metric if "/" in metric else f"val/{metric}", directions),
        )
    direction = checked_direction(metric, select["direction"], directions[metric])
    return {"metric": metric, "direction": direction}


def checked_direction(metric: str, requested: str | None, known: str | None) -> str:
    """Return which way of a metric is better: as requested, or as known of the metric.

    Raises RequestError if both are None, or they differ.
    """
    if requested is None and known is None:
        raise RequestError(
            f"select.metric={shown(metric)}: it is not known which way is better.",
            "Give select.direction=maximize or minimize.",
        )
    if requested and known and requested != known:
        raise RequestError(
            f"select.direction={requested}: of {shown(metric)} "
            f"{'less' if known == 'minimize' else 'more'} is better.",
            "Leave select.direction out.",
        )
    return requested or known or ""


def is_better(direction: Direction, new: float | None, old: float | None) -> bool:
    """Return whether a value of the selection metric beats the best so far; an equal one does not.

    None, where the metric is not defined, beats nothing, and any number beats it.
    """
    if new is None or old is None:
        return new is not None
    return new > old if direction == "maximize" else new < old


def extra_metrics(
    configured: Sequence[str | Mapping[str, Any]], task: Task, outputs: int
) -> list[ExtraMetric]:
    """Make the metrics that a configuration names for the task; refuse two of one name."""
    extra: dict[str, ExtraMetric] = {}
    for metric in configured:
        made = ExtraMetric(metric, task, outputs)
        if made.key in extra:
            raise RequestError(
                f"metrics: {extra[made.key].name} and {made.name} would both be logged as "
                f"val/{made.key}.",
                "Leave one out.",
            )
        extra[made.key] = made
    return list(extra.values())


class ExtraMetric:
    """One torchmetrics metric, made for a task.

    Args:
        metric: A class name of torchmetrics, or a dotted path; with keywords a component.
        task: The task whose outputs it measures.
        outputs: Number of classes, labels or target columns.

    Attributes:
        name: As it is typed: ``MulticlassAccuracy(top_k=2)``.
        key: In the history: ``multiclass_auroc``, with keywords ``multiclass_accuracy_top_k_2``.

    Raises:
        RequestError: If there is no such metric, or it cannot be made for this task.
    """

    def __init__(self, metric: str | Mapping[str, Any], task: Task, outputs: int) -> None:
        self.name, self.task = show_value(metric), task
        keywords = {"name": metric} if isinstance(metric, str) else dict(metric)
        name = keywords.pop("name")
        word = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name.rsplit(".", 1)[-1])
        words = [re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", word).lower()]
        words += [f"{k}_{show_value(v)}" for k, v in keywords.items()]
        self.key = re.sub(r"\W+", "_", "_".join(words)).strip("_")
        if self.key in ("loss", *task.metrics):
            raise RequestError(
                f"metrics: {name} would be logged as val/{self.key}, which every run has already.",
                "Leave it out, or name another class (torchmetrics averages in its own way).",
            )
        kind = _find_metric(name)
        # `AUROC` and its like make a `MulticlassAUROC` or another when they are called with `task`.
        makes_another = "task" in inspect.signature(kind.__new__).parameters
        wanted = inspect.signature(kind.__new__ if makes_another else kind.__init__).parameters
        known = task.metric_keywords(outputs)
        with refusing(f"metrics: {self.name} cannot be made", ""):
            self.metric: Any = kind(**{k: v for k, v in known.items() if k in wanted} | keywords)
        # torchmetrics counts the area of a class that no example has as 0 in the mean.
        areas = ("MulticlassAUROC", "MultilabelAUROC")
        self._of_present = type(self.metric).__name__ in areas and self.metric.average == "macro"
        if self._of_present:
            self.metric.average = "none"

    @property
    def direction(self) -> Direction | None:
        """Which way is better, as torchmetrics says; None where it does not."""
        better = getattr(self.metric, "higher_is_better", None)
        return None if better is None else "maximize" if better else "minimize"

    def measure(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the metric over a whole part, from outputs float `[N, …]` and its targets.

        The mean area under the curve (AUROC) is that of the classes or labels that have one: those
        of which the part has examples, and others. A metric that is not one number is refused.
        """
        if self.task.targets == "values":
            targets = targets.squeeze(1)  # of one column, else as they are
        self.metric.reset()
        with warnings.catch_warnings():
            # Of absent classes torchmetrics warns every epoch.
            warnings.filterwarnings("ignore", module=r"torchmetrics\..*")
            self.metric.update(self.task.scores(outputs), targets)
            value = self.metric.compute()
        if self._of_present:
            classes = torch.arange(len(value))
            positive = targets if targets.ndim == 2 else targets.unsqueeze(1) == classes
            share = positive.double().mean(0)
            value = value[(share > 0) & (share < 1)].mean()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise RequestError(
                f"metrics: {self.name} gives no single number.", "Name a metric that does."
            )
        return float(value)


def _find_metric(name: str) -> Any:
    import torchmetrics.classification

    module, _, word = name.rpartition(".")
    own = ("torchmetrics", "torchmetrics.classification", "torchmetrics.regression")
    is_path = all(map(str.isidentifier, name.split(".")))
    for place in ([module] if module else own) if is_path else ():
        with suppress(ImportError):
            with observing(Reads()):
                attribute = getattr(importlib.import_module(place), word, None)
            if inspect.isclass(attribute) and issubclass(attribute, torchmetrics.Metric):
                return attribute
    classes = [w for w in dir(torchmetrics.classification) if w[0].isupper()]
    hint = did_you_mean(name, classes, "Name a class of torchmetrics, such as CohenKappa.")
    raise RequestError(f"metrics: there is no torchmetrics metric '{shown(name)}'.", hint)
