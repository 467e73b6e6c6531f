"""Learning curves of the baseline and the chosen setting before all others, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from paribus.sweeps.numbers import number
from paribus.sweeps.plots.curves import Curve, curves_panel, mean_and_band
from paribus.sweeps.plots.style import FAINT, short
from paribus.sweeps.plots.words import explained
from paribus.sweeps.report.graphic import Graphic, Numbers, graphic
from paribus.sweeps.report.view import View
from paribus.sweeps.settings import BASELINE

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
