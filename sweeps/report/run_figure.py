"""The picture of a run: from its record, its history and its model's answers to panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from paribus.core.config.schema import get
from paribus.core.errors import RequestError, shown
from paribus.core.records.record import Epoch, RunRecord
from paribus.sweeps.report.confusion_plots import confusion_panel, label_panels
from paribus.sweeps.report.curve_plots import curves_panel, train_and_val
from paribus.sweeps.report.figure import Panel, Picture, explained, many, short
from paribus.sweeps.report.prediction_plots import (
    Points,
    agreement_panel,
    line_panel,
    probability_panel,
    regions_panel,
)

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Examples, Surface


_MOST_EXAMPLES = 1000  # points of a picture, evenly spaced: more would hide each other


def asks_model(record: RunRecord) -> bool:
    """Whether a run's picture needs its model: its inputs are one or two plain numbers."""
    preprocessing = record.data.preprocessing
    columns = (preprocessing.get("table") or {"columns": []})["columns"]
    if "text" in preprocessing or any("categories" in column for column in columns):
        return False
    tasks = {1: ("regression", "binary", "multiclass"), 2: ("binary", "multiclass")}
    shape, task = record.data.input_shape, get(record.configuration, "task.name")
    if record.status != "complete" or shape is None or len(shape) != 1:
        return False
    return task in tasks.get(shape[0], ())


def picture_of_run(
    record: RunRecord,
    history: Sequence[Epoch],
    predictions: Mapping[str, Any] | None = None,
    surface: Surface | None = None,
) -> Picture:
    """Curves of loss, selection metric and accuracy; confusion matrix; the model's answers.

    Args:
        record: The run's.
        history: Its epochs.
        predictions: Outputs and targets of its best epoch, as arrays; None if it failed.
        surface: What its model answers, where that can be drawn.

    Raises:
        RequestError: If the run has no epoch, or no finite number in any.
    """
    metric, best = record.metric, record.best
    said = [
        f"{shown(record.experiment)}, 1 seed ({record.seed}), {many(len(history), 'epoch')}.",
    ]
    if "train" in record.configuration:
        said.append("Train: mean over the epoch's updates; val: after the epoch.")
    panels = [drawn.panel for drawn in curves_of_run(record, history)]
    if best is None:
        said.append(f"The run failed: {shown(record.reason, 300)}.")
    else:
        value = best.metrics.get(metric)
        told = "" if value is None else f": {value:.4g}"
        select = explained(metric, record.select["direction"])
        said.append(f"Dotted: best epoch {best.epoch} by {select}{told}.")
        more, sentences = confusion_of_run(record)
        panels, said = panels + more, said + sentences
    if surface is not None:
        panel, sentence = answers_of_run(record, surface)
        panels, said = [*panels, panel], [*said, sentence]
    elif predictions and get(record.configuration, "task.name") == "regression":
        panel, sentence = agreement_of_run(predictions)
        panels, said = [*panels, panel], [*said, sentence]
    return Picture(f"run {record.run}", " ".join(said), panels)


@dataclass(frozen=True, eq=False)
class DrawnCurves:
    """A quantity over epochs.

    Attributes:
        panel: Its plot.
        name: The quantity.
        by_part: ``train`` and ``val``, as far as they were recorded: `[E]` each, NaN where it is
            not defined.
    """

    panel: Panel
    name: str
    by_part: Mapping[str, Any]


def curves_of_run(record: RunRecord, history: Sequence[Epoch]) -> list[DrawnCurves]:
    """Curves of loss, selection metric and accuracy.

    Raises:
        RequestError: If the run has no finite number in any epoch.
    """
    selected = record.metric
    best_epoch = record.best.epoch if record.best else None
    drawn = []
    for name in dict.fromkeys(("loss", selected.removeprefix("val/"), "accuracy")):
        found = [_column(history, f"{part}/{name}") for part in ("train", "val")]
        if name == selected:  # a function's metric may be of no part
            found = [None, _column(history, name)]
        if curves := train_and_val(*found):
            title, loss = short(name, 30), get(record.configuration, "loss.name")
            if name == "loss" and loss:
                title = f"loss ({short(loss, 24)})"
            parts = {k: v for k, v in zip(("train", "val"), found, strict=True) if v is not None}
            panel = curves_panel(name, title, curves, best_epoch=best_epoch)
            drawn.append(DrawnCurves(panel, name, parts))
    if not drawn:
        raise RequestError(
            f"{record.run} failed before it had a number to draw: {shown(record.reason, 300)}.",
            "Name another run; paribus runs lists them.",
            "failed-run",
        )
    return drawn


def _column(history: Sequence[Epoch], key: str) -> Any:
    """A metric's values `[E]`, NaN where it is not defined; None if it was not recorded."""
    values = [line.metrics.get(key) for line in history]
    if all(value is None for value in values):
        return None
    return np.array(values, dtype=np.float64)


def confusion_of_run(record: RunRecord, *, half: bool = False) -> tuple[list[Panel], list[str]]:
    """Its confusion matrices, and what a caption says of them.

    Args:
        record: The run's.
        half: Whether half of a figure's width has to do.
    """
    matrix = record.confusion_matrix
    if matrix is None:
        return [], []
    names = [shown(name) for name in record.class_names or ()]
    counts = np.array(matrix, dtype=np.int64)
    where = f"the best epoch on the {record.data.val} validation examples"
    said = f"Confusion matrix: counts of {where}, empty where there are none; shade: share of "
    said += "the row."
    if counts.ndim == 2:
        name = "confusion matrix"
        return [confusion_panel(name, name, counts, names, half=half)], [said]
    panels, left = label_panels("confusion matrix", counts, names)
    said = said.replace("matrix", "matrix of each label")
    return panels, [said, *([f"{many(left, 'label')} left out."] if left else [])]


def answers_of_run(record: RunRecord, surface: Surface) -> tuple[Panel, str]:
    """The panel of what the model answers, and what the caption says of it."""
    preprocessing = record.data.preprocessing
    columns = preprocessing["columns"] or [f"input {i + 1}" for i in range(len(surface.axes))]
    classes = [shown(name) for name in preprocessing["class_names"] or ()]
    train, val = _points(surface.train), _points(surface.val)
    validated = _some(len(val.inputs), surface.val.total, "validation")
    validated += ", inputs in the units of the data"
    if surface.probabilities is None:
        panel = line_panel(
            "prediction", "prediction", surface.axes[0], surface.predicted, train, val, columns[0]
        )
        both = f"{_some(len(train.inputs), surface.train.total, 'training')} and {validated}"
        return panel, f"Prediction: the best epoch's model; {both}."
    if len(surface.axes) == 1:
        axis, probabilities = surface.axes[0], surface.probabilities
        which = f"of {short(classes[1], 18)}" if len(classes) == 2 else "of each class"
        panel = probability_panel(
            "probability", f"probability {which}", axis, probabilities, val, classes, columns[0]
        )
        return panel, f"Probability {which} by the best epoch's model; strokes: {validated}."
    panel = regions_panel(
        "decision regions",
        "decision regions",
        (surface.axes[0], surface.axes[1]),
        surface.predicted,
        val,
        classes,
        (columns[0], columns[1]),
    )
    return panel, (
        f"Decision regions: the best epoch's model; {validated}; dark edge: classified wrongly."
    )


def agreement_of_run(predictions: Mapping[str, Any]) -> tuple[Panel, str]:
    """Predicted values against true ones, and what a caption says of that."""
    total = len(predictions["targets"])
    step = -(-total // _MOST_EXAMPLES)
    targets, outputs = (predictions[name][::step] for name in ("targets", "outputs"))
    title = "predicted against true"
    drawn = _some(len(targets), total, "validation")
    said = f"Predicted against true: the best epoch on {drawn}; on the line both are equal."
    return agreement_panel("agreement", title, targets, outputs), said


def _points(examples: Examples) -> Points:
    return Points(examples.inputs, examples.targets, examples.predicted)


def _some(drawn: int, total: int, part: str) -> str:
    examples = many(total, f"{part} example")
    return examples if drawn == total else f"{drawn} of {examples}"
