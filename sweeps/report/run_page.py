"""The page of one run: curves, confusion matrix, what it answers, its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from paribus.core.config.schema import flatten, get
from paribus.core.config.values import show_value
from paribus.core.errors import shown
from paribus.core.records.record import Epoch, RunRecord
from paribus.sweeps.formatting import duration, number
from paribus.sweeps.report.figure import Panel, explained, many
from paribus.sweeps.report.html import Graphic, Numbers, graphic, page
from paribus.sweeps.report.reproduction_section import facts_of
from paribus.sweeps.report.run_figure import (
    DrawnCurves,
    agreement_of_run,
    answers_of_run,
    confusion_of_run,
    curves_of_run,
)

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Surface


_MOST_EPOCHS = 100  # rows of a table
_MOST_EXAMPLES = 200


def run_page(
    record: RunRecord,
    history: Sequence[Epoch],
    predictions: Mapping[str, Any] | None = None,
    surface: Surface | None = None,
) -> str:
    """The page of a run.

    Args:
        record: Its record.
        history: Its epochs.
        predictions: Outputs and targets of its best epoch, as arrays; None if it failed.
        surface: What its model answers, where that can be drawn.

    Raises:
        RequestError: If it has no number to show.
    """
    drawn = enumerate(curves_of_run(record, history))
    curves = [_curves(record, f"curve-{number}", one) for number, one in drawn]
    answers = []
    if surface is not None:
        panel, sentence = answers_of_run(record, surface)
        answers = [_answer(panel, sentence, _examples(record, surface))]
    elif predictions and get(record.configuration, "task.name") == "regression":
        panel, sentence = agreement_of_run(predictions)
        answers = [_answer(panel, sentence, _pairs(predictions))]
    return page(
        "run",
        f"{record.run} – paribus",
        run=record.run,
        experiment=shown(record.experiment, 200),
        headline=_headline(record),
        curves=curves,
        matrices=_matrices(record),
        report=_report(record),
        answers=answers,
        configuration=[(k, show_value(v)) for k, v in flatten(record.configuration).items()],
        noted=facts_of([record]),
        best=_metrics(record),
    )


def _headline(record: RunRecord) -> str:
    select, best = record.select, record.best
    trained = f"trained {many(record.epochs, 'epoch')} in {duration(record.seconds)}"
    if best is None:
        return f"The run failed ({trained}): {shown(record.reason, 300)}."
    value = record.value
    metric = explained(select["metric"], select["direction"])
    told = f"Best epoch {best.epoch} by {metric}: {number(value)}"
    return f"{told}; seed {record.seed}, {trained}."


def _metrics(record: RunRecord) -> list[tuple[str, str]]:
    return [(name, number(value, 6)) for name, value in record.metrics.items()]


def _curves(record: RunRecord, place: str, drawn: DrawnCurves) -> Graphic:
    """A quantity over epochs."""
    direction = record.select["direction"]
    is_selected = drawn.name == record.metric.removeprefix("val/")
    what = explained(f"val/{drawn.name}", direction) if is_selected else drawn.name
    said = f"{what}, one seed ({record.seed})."
    if "train" in record.configuration and len(drawn.by_part) > 1:
        said += " Train: mean over the epoch's updates; val: after the epoch."
    if record.best:
        said += f" Dotted: best epoch {record.best.epoch}."
    ends = [
        f"{part} from {number(float(values[0]))} to {number(float(values[-1]))}"
        for part, values in drawn.by_part.items()
    ]
    alt = f"{drawn.name} over epochs: {'; '.join(ends)}."
    epochs = max(len(values) for values in drawn.by_part.values())
    step = -(-epochs // _MOST_EPOCHS)
    rows = [
        [str(epoch + 1), *[number(float(values[epoch])) for values in drawn.by_part.values()]]
        for epoch in sorted({*range(0, epochs, step), epochs - 1})
    ]
    return graphic(drawn.panel, place, alt, said, Numbers(["epoch", *drawn.by_part], rows))


def _matrices(record: RunRecord) -> list[Graphic]:
    """The confusion matrix, or that of each of several labels; counts and rates in the table."""
    if record.confusion_matrix is None:
        return []
    panels, sentences = confusion_of_run(record, half=True)
    counts = np.array(record.confusion_matrix)
    names = [shown(name) for name in record.class_names or ()]
    found = []
    for place, panel in enumerate(panels):
        matrix, words = (counts, names) if counts.ndim == 2 else (counts[place], ["no", "yes"])
        right = np.trace(matrix) / max(matrix.sum(), 1)
        alt = f"{panel.name}: {100 * right:.1f} % of {matrix.sum()} are right."
        table = _rates(matrix, words)
        found.append(graphic(panel, f"confusion-{place}", alt, " ".join(sentences), table))
    return found


def _rates(matrix: Any, names: Sequence[str]) -> Numbers:
    """Each cell's count with its share of the row."""
    sums = np.maximum(matrix.sum(1, keepdims=True), 1)
    rows = [
        [name, *[f"{count} ({100 * rate:.1f} %)" for count, rate in zip(*row, strict=True)]]
        for name, *row in zip(names, matrix, matrix / sums, strict=True)
    ]
    return Numbers(["true ╲ predicted", *names], rows)


def _report(record: RunRecord) -> Numbers | None:
    """Precision, recall, F1 and support of each class or label."""
    if record.confusion_matrix is None:
        return None
    import torch

    from paribus.core.components.metrics import per_class, per_label

    matrix = torch.tensor(record.confusion_matrix)
    columns = (per_class if matrix.ndim == 2 else per_label)(matrix)
    names = [shown(name) for name in record.class_names or ()]
    rows = [
        [name, *[_figure(column[code].item()) for column in columns.values()]]
        for code, name in enumerate(names)
    ]
    return Numbers(["class" if matrix.ndim == 2 else "label", *columns], rows)


def _figure(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _answer(panel: Panel, sentence: str, numbers: Numbers) -> Graphic:
    """What the model answers, as wide as a phone."""
    return graphic(replace(panel, width=2), "answers", sentence, sentence, numbers)


def _examples(record: RunRecord, surface: Surface) -> Numbers:
    """Validation examples: inputs, target, and what the model says."""
    points = surface.val
    columns = record.data.preprocessing["columns"] or [
        f"input {i + 1}" for i in range(points.inputs.shape[1])
    ]
    names = record.class_names

    def text(value: Any) -> str:
        if names is not None:
            return shown(names[int(value)])
        return ", ".join(number(float(x)) for x in np.atleast_1d(value))

    rows = [
        [str(i + 1), *[number(float(x)) for x in points.inputs[i]],
         text(points.targets[i]), text(points.predicted[i])]
        for i in range(min(len(points.inputs), _MOST_EXAMPLES))
    ]  # fmt: skip
    return Numbers(["example", *map(shown, columns), "target", "predicted"], rows)


def _pairs(predictions: Mapping[str, Any]) -> Numbers:
    """Validation examples: target and output."""
    targets, outputs = predictions["targets"], predictions["outputs"]
    rows = [
        [str(i + 1), *[", ".join(number(float(x)) for x in np.atleast_1d(part[i]))
                       for part in (targets, outputs)]]
        for i in range(min(len(targets), _MOST_EXAMPLES))
    ]  # fmt: skip
    return Numbers(["example", "target", "predicted"], rows)
