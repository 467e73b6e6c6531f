"""A run's figure and page: curves, confusion matrix, what its model answers, its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from paribus.core.config.schema import flatten, get
from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, many, shown
from paribus.core.records.record import Epoch, RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.formatting import number
from paribus.sweeps.report.figure import Picture, Plot, Table, explained, part_of, short
from paribus.sweeps.report.page import Warn, write_page
from paribus.sweeps.report.plots import Values, curves_panel, curves_plot, train_and_val
from paribus.sweeps.report.prediction_plots import (
    agreement_panel,
    confusion_panel,
    label_panels,
    matrix_table,
    of_classes,
    surface_panel,
)
from paribus.sweeps.stats.confusion import between, most_confused, rows_of_classes

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Surface

_MOST_POINTS = 1000  # of a plot, evenly spaced: more would hide each other
_MOST_EXAMPLES = 200  # rows of a table


@dataclass(frozen=True, eq=False)
class RunView:
    """A run as its figure and its page show it.

    Attributes:
        predictions: Outputs and targets of its best epoch, as arrays; None if it has no model.
        surface: The model's answers over its inputs, where these are one or two plain numbers.
    """

    record: RunRecord
    history: Sequence[Epoch]
    predictions: Mapping[str, Any] | None = None
    surface: Surface | None = None


def load_run_view(folder: RunFolder, warn: Warn, *, trust: bool = False) -> RunView:
    """Read what a run's figure and page show; its model is loaded in a process of its own.

    `warn` and `trust` are as of `write_report`; a damaged file of the run is a `DamagedError`.
    """
    record, surface = folder.verified_record(), None
    # Whether the model's inputs are one or two plain numbers.
    preprocessing, shape = record.data.preprocessing, record.data.input_shape or ()
    columns = (preprocessing.get("table") or {"columns": []})["columns"]
    is_plain = "text" not in preprocessing and not any("categories" in c for c in columns)
    tasks: dict[tuple[int, ...], tuple[str, ...]] = {
        (1,): ("regression", "binary", "multiclass"),
        (2,): ("binary", "multiclass"),
    }
    is_drawn = get(record.configuration, "task.name") in tasks.get(tuple(shape), ())
    if record.final_epoch:
        warn(f"{record.run} is a final run: it has no validation part to draw.")
    elif record.is_complete and is_plain and is_drawn:
        from paribus.core.inference.decision_surface import surface_of_run

        try:
            with Pool(1) as pool:
                surface = pool.call(surface_of_run, folder.folder, trust)
        except RequestError as error:
            warn(f"The model's answers are left out: {error}")
    has_model = record.is_complete and record.weights_sha256 and not record.final_epoch
    predictions = folder.predictions() if has_model else None
    return RunView(record, folder.history(), predictions, surface)


def run_picture(view: RunView) -> Picture:
    """Return curves of loss, selection metric and accuracy; confusion matrix; the model's answers.

    Raises:
        RequestError: If the run has no finite number in any epoch.
    """
    record = view.record
    panels = [plot.panel for plot in _curve_plots(view)]
    caption = [
        f"{shown(record.experiment)}, 1 seed ({record.seed}), {many(len(view.history), 'epoch')}.",
        *_curve_notes(record),
    ]
    for plots in (_matrix_plots(record), _answer_plots(view)):
        panels += [plot.panel for plot in plots]
        caption += [plots[0].caption] if plots else []
    return Picture(f"run {record.run}", " ".join(caption), panels)


def write_run_page(view: RunView, file: Path) -> None:
    """Write a run's page as `write_page` does; a run without a number is refused."""
    record = view.record
    write_page(
        file,
        "run",
        record.run,
        record=record,
        metric=explained(record.metric, record.direction),
        curves=_curve_plots(view),
        matrices=_matrix_plots(record, half=True),
        report=_classification_report(record),
        # As wide as a phone.
        answers=[replace(p, panel=replace(p.panel, width=2)) for p in _answer_plots(view)],
        configuration=shown_configuration(record.configuration),
        environment=shared_facts([record]),
    )


def shown_configuration(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a configuration by key, as they are typed."""
    return {key: show_value(value) for key, value in flatten(configuration).items()}


def _commit(noted: Any) -> str | None:
    """Return the commit that a run was trained at, if there is one; `noted` may hold anything."""
    git = noted.get("git") if isinstance(noted, Mapping) else None
    if not isinstance(git, Mapping) or not git.get("commit"):
        return None
    return f"{git['commit']}{' with uncommitted changes' if git.get('dirty') else ''}"


def shared_facts(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return commit, versions, processor and data of runs; where they differ, all values."""
    if not records:
        return {}
    environments = [record.identity["environment"] for record in records]
    facts: dict[str, list[Any]] = {
        "commit": [_commit(record.noted) for record in records],
        "data fingerprint": [record.data.fingerprint for record in records],
        "examples": [
            None
            if (data := record.data).train is None  # a function keeps its data to itself
            else f"{data.train} training, {data.val} validation, {data.test or 0} test"
            for record in records
        ],
        "engine": [record.engine for record in records],
        "device": [record.configuration["device"] for record in records],
        **{key: [env.get(key) for env in environments] for key in environments[0]},
    }
    return {
        name: ", ".join(dict.fromkeys(show_value(value) for value in values))
        for name, values in facts.items()
        if any(value is not None for value in values)
    }


def _curve_plots(view: RunView) -> list[Plot]:
    """Return curves of loss, selection metric and accuracy.

    Raises:
        RequestError: If the run has no finite number in any epoch.
    """
    record, selected, found = view.record, view.record.metric, []
    for name in dict.fromkeys(("loss", selected.removeprefix("val/"), "accuracy")):
        curves = train_and_val(*(_column(view, f"{part}/{name}") for part in ("train", "val")))
        if name == selected:  # a function's metric may be of no part
            curves = train_and_val(None, _column(view, name))
        if not curves:
            continue
        loss = get(record.configuration, "loss.name") if name == "loss" else None
        title = f"loss ({short(loss, 24)})" if loss else short(name, 30)
        what = name
        if name == selected.removeprefix("val/"):
            what = explained(f"val/{name}", record.direction)
        caption = f"{what}, one seed ({record.seed})."
        best_epoch = record.best.epoch if record.best and not record.final_epoch else None
        panel = curves_panel(name, title, curves, best_epoch=best_epoch)
        found.append(curves_plot(panel, name, curves, " ".join([caption, *_curve_notes(record)])))
    if not found:
        raise RequestError(
            f"{record.run} failed before it had a number to draw: {shown(record.reason, 300)}.",
            "Name another run; paribus runs lists them.",
        )
    return found


def _curve_notes(record: RunRecord) -> list[str]:
    """Return what the marks on a run's curves are, in sentences."""
    if record.final_epoch:
        return ["A final run: trained on all but the test part, without validation."]
    notes = []
    if "train" in record.configuration:
        notes.append("Train: mean over the epoch's updates; val: after the epoch.")
    if record.best is None:
        notes.append(f"The run failed: {shown(record.reason, 300)}.")
    else:
        value = "" if record.value is None else f": {record.value:.4g}"
        metric = explained(record.metric, record.direction)
        notes.append(f"Dotted: best epoch {record.best.epoch} by {metric}{value}.")
    return notes


def _column(view: RunView, key: str) -> Values | None:
    """Return a metric's values `[E]`, NaN where undefined; None if it was not recorded."""
    values = [epoch.metrics.get(key) for epoch in view.history]
    return None if all(v is None for v in values) else np.array(values, dtype=np.float64)


def _matrix_plots(record: RunRecord, *, half: bool = False) -> list[Plot]:
    """Return the confusion matrix, or those of the first labels of several.

    It takes `half` of a figure's width whatever the number of classes.
    """
    counts = record.confusion
    if counts is None:
        return []
    names = [shown(name) for name in record.class_names or ()]
    name, of, left = "confusion matrix", "", 0
    if isinstance(counts, np.ndarray):
        panels, left = label_panels(name, counts, names)
        matrices = [csr_array(matrix) for matrix in counts[: len(panels)]]
        names, of = ["no", "yes"], " of each label"
    else:
        kept = most_confused(counts)
        drawn, its_names = between(counts, kept), [names[code] for code in kept]
        panels, matrices = [confusion_panel(name, name, drawn, its_names, half=half)], [counts]
        of = of_classes(kept, names)
    caption = (
        f"Confusion matrix{of}: counts of the best epoch on the {record.data.val} "
        "validation examples; empty: 0; shade: share of the row."
    )
    if left:
        caption += f" {many(left, 'label')} left out."
    return [
        Plot(
            panel,
            f"{panel.name}: {100 * matrix.trace() / max(matrix.sum(), 1):.1f} % of "
            f"{matrix.sum()} are classified correctly.",
            caption,
            matrix_table(matrix, names, lambda count, share: f"{count} ({100 * share:.1f} %)"),
        )
        for panel, matrix in zip(panels, matrices, strict=True)
    ]


def _classification_report(record: RunRecord) -> Table | None:
    """Return precision, recall, F1 and support of each class or label; of many the worst."""
    counts, names = record.confusion, record.class_names or ()
    if counts is None:
        return None
    import torch

    from paribus.core.components.metrics import ratios

    if isinstance(counts, np.ndarray):
        found = counts[:, 1, 1], counts[:, 1].sum(1), counts[:, :, 1].sum(1)
    else:
        found = counts.diagonal(), counts.sum(1), counts.sum(0)
    columns = ratios(*(torch.as_tensor(column) for column in found))

    def text(value: float) -> str:
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    kept = rows_of_classes(columns["f1"].tolist())
    rows = [
        [shown(names[code]), *[text(column[code].item()) for column in columns.values()]]
        for code in kept
    ]
    kind = "label" if isinstance(counts, np.ndarray) else "class"
    if len(kept) < len(names):
        kind += f" (the {len(kept)} with the lowest F1 of {len(names)})"
    return Table([kind, *columns], rows)


def _answer_plots(view: RunView) -> list[Plot]:
    """Return what the model answers over its inputs; of other regressions, against the targets."""
    if view.surface is not None:
        return [_surface_plot(view.record, view.surface)]
    if not view.predictions or get(view.record.configuration, "task.name") != "regression":
        return []
    targets, outputs = (view.predictions[name] for name in ("targets", "outputs"))
    step = -(-len(targets) // _MOST_POINTS)
    drawn = part_of(len(targets[::step]), len(targets), "validation example")
    sentence = f"Predicted against true: the best epoch on {drawn}; on the line both are equal."
    rows = [
        [str(row + 1), _vector(targets[row]), _vector(outputs[row])]
        for row in range(min(len(targets), _MOST_EXAMPLES))
    ]
    panel = agreement_panel(targets[::step], outputs[::step])
    return [Plot(panel, sentence, sentence, Table(["example", "target", "predicted"], rows))]


def _surface_plot(record: RunRecord, surface: Surface) -> Plot:
    """Return what the model answers over its inputs, with the validation examples as a table."""
    names, val = record.class_names, surface.val
    classes = [shown(name) for name in names or ()]
    recorded = record.data.preprocessing["columns"]
    columns = [shown(c) for c in recorded or (f"input {i + 1}" for i in range(len(surface.axes)))]
    panel = surface_panel(surface, classes, columns)
    model = f"{panel.title[0].upper()}{panel.title[1:]}: the best epoch's model"
    drawn = part_of(len(val.inputs), val.total, "validation example")
    drawn += ", inputs in the units of the data"
    if surface.probabilities is None:
        train = part_of(len(surface.train.inputs), surface.train.total, "training example")
        caption = f"{model}; {train} and {drawn}."
    elif len(surface.axes) == 1:
        caption = f"{model}; strokes: {drawn}."
    else:
        caption = f"{model}; {drawn}; dark edge: classified wrongly."

    def text(value: Any) -> str:
        return _vector(value) if names is None else classes[int(value)]

    rows = [
        [str(row + 1), *[number(float(x)) for x in val.inputs[row]],
         text(val.targets[row]), text(val.predicted[row])]
        for row in range(min(len(val.inputs), _MOST_EXAMPLES))
    ]  # fmt: skip
    return Plot(panel, caption, caption, Table(["example", *columns, "target", "predicted"], rows))


def _vector(values: Any) -> str:
    return ", ".join(number(float(value)) for value in np.atleast_1d(values))
