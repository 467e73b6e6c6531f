"""Learning curves of the baseline and the chosen setting before all others, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.core.errors import shown
from paribus.sweeps.formatting import number
from paribus.sweeps.report.confusion_plots import change_panel, confusion_panel
from paribus.sweeps.report.curve_plots import Curve, curves_panel, mean_and_band
from paribus.sweeps.report.figure import FAINT, explained, many, short
from paribus.sweeps.report.html import Graphic, Numbers, graphic
from paribus.sweeps.report.view import View
from paribus.sweeps.stats.confusion_cells import surely_changed
from paribus.sweeps.study.settings import BASELINE

_MOST_BEHIND = 60  # settings drawn faint
_MOST_ROWS = 40  # epochs in the table of numbers
_BEHIND = {"color": FAINT, "linestyle": "-", "alpha": 0.35}


def learning_graphics(view: View) -> list[Graphic]:
    """The loss, and the selection metric where that is another; what was not recorded left out."""
    # A function's metric may be of no part: then it is drawn as it is.
    metrics = dict.fromkeys(("val/loss", view.study.metric))
    found = [_curves(view, place, metric) for place, metric in enumerate(metrics)]
    return [one for one in found if one is not None]


def _curves(view: View, place: int, metric: str) -> Graphic | None:
    labels = [label for label in dict.fromkeys((BASELINE, view.chosen)) if label is not None]
    labels = [
        label for label in labels if label in view.by_label and _has_units(view, label, metric)
    ]
    front: list[Curve] = []
    for label in labels:
        front += _front(view, label, metric)
    if not front:
        return None
    others = (
        Curve("", curve.values, _BEHIND, is_behind=True)
        for result in view.results
        if (label := result.setting.label) not in labels and _has_units(view, label, metric)
        for curve in _of_part(view, label, metric, "")
    )
    behind = list(islice(others, _MOST_BEHIND))  # no history is read beyond these
    panel = curves_panel(f"learning: {metric}", metric.removeprefix("val/"), [*behind, *front])
    shown = explained(metric, view.study.direction if metric == view.study.metric else "minimize")
    said = f"{shown}, mean and band from lowest to highest over {view.seeds()}."
    if any(curve.look["linestyle"] == "--" for curve in front):
        said += " Dashed: training, as it went; solid: validation, after each epoch."
    if behind:
        said += " Faint: the other settings."
    return graphic(panel, f"learning-{place}", _alt(front, metric), said, _numbers(front))


def _front(view: View, label: str, metric: str) -> list[Curve]:
    """Validation, and training where it was recorded."""
    key = view.by_label[label].setting.key
    name = label if key is None else f"{key.rpartition('.')[2]}={short(view.level(label), 10)}"
    curves = _of_part(view, label, metric, f"{name} val" if metric[:4] == "val/" else name)
    if metric.startswith("val/"):
        training = metric.replace("val/", "train/", 1)
        curves += [
            Curve(curve.label, curve.values, {**curve.look, "linestyle": "--"})
            for curve in _of_part(view, label, training, f"{name} train")
        ]
    return curves


def _of_part(view: View, label: str, metric: str, name: str) -> list[Curve]:
    """The curve of a metric; none where it was never recorded."""
    seeds = [values for values in view.curves(label, metric) if len(values)]
    if not seeds or not any(np.isfinite(values).any() for values in seeds):
        return []
    look = {"color": view.looks[label]["color"], "linestyle": "-"}
    return [mean_and_band(name, look, seeds)]


def _has_units(view: View, label: str, metric: str) -> bool:
    """Whether a setting's metric is in the baseline's units: another loss is not."""
    key = view.by_label[label].setting.key or ""
    return not (metric.endswith("/loss") and key.split(".")[0] == "loss")


def _alt(curves: Sequence[Curve], metric: str) -> str:
    ends = [
        f"{curve.label} from {number(float(curve.values[0]))} to {number(float(curve.values[-1]))}"
        for curve in curves
        if len(curve.values)
    ]
    return f"{metric} over epochs: {'; '.join(ends)}."


def _numbers(curves: Sequence[Curve]) -> Numbers:
    """Means by epoch; of long training every second, third, … epoch, and the last."""
    epochs = max(len(curve.values) for curve in curves)
    step = -(-epochs // _MOST_ROWS)
    shown = sorted({*range(0, epochs, step), epochs - 1})
    rows = [[str(epoch + 1), *[_at(curve.values, epoch) for curve in curves]] for epoch in shown]
    return Numbers(["epoch", *[curve.label for curve in curves]], rows)


def _at(values: np.ndarray, epoch: int) -> str:
    return number(float(values[epoch])) if epoch < len(values) else ""


# Confusion matrices of the baseline, of the chosen setting, and what changed, for the page.


_MOST_CLASSES = 40  # of which the numbers stand in a table


def matrix_graphics(view: View) -> list[Graphic]:
    """Means over the seeds that both have; nothing where there is no matrix of one label."""
    if BASELINE not in view.by_label:
        return []
    seeds = set(view.by_label[BASELINE].seeds)
    if view.chosen is not None:
        seeds &= set(view.by_label[view.chosen].seeds)
    base = _matrices(view, BASELINE, sorted(seeds))
    if base is None:
        return []
    names = _names(view, sorted(seeds)[0])
    found = [_matrix("baseline", "baseline", base, names)]
    level = None if view.chosen is None else _matrices(view, view.chosen, sorted(seeds))
    if view.chosen is None or level is None or level.shape != base.shape:
        return found
    found.append(_matrix("chosen", view.chosen, level, names))
    if len(seeds) > 1:
        found.append(_change(view, level, base, names))
    return found


def _matrices(view: View, label: str, seeds: Sequence[int]) -> NDArray[np.float64] | None:
    """One matrix of counts for each seed: `[n, C, C]`; None where there is none of one label."""
    found = [view.record(label, seed).confusion_matrix for seed in seeds]
    if not found or any(matrix is None for matrix in found):
        return None
    matrices = np.array(found, dtype=np.float64)
    return matrices if matrices.ndim == 3 else None


def _names(view: View, seed: int) -> list[str]:
    record = view.record(BASELINE, seed)
    names = record.class_names or range(len(record.confusion_matrix or ()))
    return [shown(name) for name in names]


def _matrix(place: str, label: str, matrices: NDArray[np.float64], names: Sequence[str]) -> Graphic:
    mean = matrices.mean(0)
    title = short(label, 34)
    panel = confusion_panel(f"confusion: {label}", title, mean, names, half=True)
    right = float(np.trace(mean) / max(mean.sum(), 1))
    caption = (
        f"Counts of the best epoch on the {round(mean.sum())} validation examples, mean over "
        f"{many(len(matrices), 'seed')}; empty where there are none; shade: share of the row."
    )
    alt = (
        f"Confusion matrix of {label}: {100 * right:.1f} % on the diagonal. {_errors(mean, names)}"
    )
    return graphic(
        panel, f"confusion-{place}", alt, caption, _matrix_numbers(mean, names, "{:.4g}")
    )


def _change(
    view: View, level: NDArray[np.float64], base: NDArray[np.float64], names: Sequence[str]
) -> Graphic:
    change, changed = (level - base).mean(0), surely_changed(level, base)
    title = f"{short(view.chosen, 22)} minus baseline"
    panel = change_panel("confusion: change", title, change, changed, names)
    cells = int(changed.sum())
    sure = f"{many(cells, 'cell')} surely changed" if cells else "no cell surely changed"
    caption = (
        f"Difference of counts, mean over {many(len(level), 'seed')}. Framed: cells that changed "
        f"by more than chance over seeds, held to all cells together ({sure})."
    )
    places = [f"{names[t]} → {names[p]} {change[t, p]:+.1f}" for t, p in np.argwhere(changed)[:8]]
    alt = (
        f"What changed in the confusion matrix: {sure}{': ' if places else ''}{', '.join(places)}."
    )
    return graphic(
        panel, "confusion-change", alt, caption, _matrix_numbers(change, names, "{:+.3g}")
    )


def _errors(mean: NDArray[np.float64], names: Sequence[str]) -> str:
    """The most frequent confusion, in words."""
    off = mean - np.diag(np.diag(mean))
    if not off.any():
        return "Nothing is confused."
    true, predicted = divmod(int(off.argmax()), len(off))
    count = off[true, predicted]
    return f"Most often confused: {names[true]} taken for {names[predicted]} ({count:.3g})."


def _matrix_numbers(matrix: NDArray[Any], names: Sequence[str], form: str) -> Numbers:
    if len(names) > _MOST_CLASSES:
        pairs = sorted(np.argwhere(matrix).tolist(), key=lambda at: -abs(matrix[tuple(at)]))[:100]
        rows = [[names[t], names[p], form.format(matrix[t, p])] for t, p in pairs]
        return Numbers(["true", "predicted", "the 100 largest"], rows)
    rows = [
        [name, *[form.format(x) if x else "0" for x in row]]
        for name, row in zip(names, matrix, strict=True)
    ]
    return Numbers(["true ╲ predicted", *names], rows)
