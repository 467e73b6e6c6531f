"""Curves over epochs: training and validation of a run, or the settings of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from paribus.sweeps.formatting import number
from paribus.sweeps.report.figure import (
    FAINT,
    INK,
    SMALL,
    TRAIN,
    VAL,
    Panel,
    Plot,
    Table,
    number_axis,
    short,
    spans,
)

Values = NDArray[np.float64]
_LABEL = 0.15  # inches, from one label to the next
_TOP = 0.95  # of the panel: a higher label would touch the title
_MANY = 60  # epochs: with more, a wide line that oscillates would fill an area
_MOST_ROWS = 100  # epochs in a table


@dataclass(frozen=True, eq=False)
class Curve:
    """One line over epochs.

    Attributes:
        label: Stands at its end.
        values: One per epoch: `[E]`; NaN where there is none.
        look: Colour and dashes, as matplotlib's keywords.
        low, high: Edges of its band: `[E]`; None without a band.
        is_behind: Drawn faint behind the others, without a label; the limits ignore it.
    """

    label: str
    values: Values
    look: Mapping[str, Any]
    low: Values | None = None
    high: Values | None = None
    is_behind: bool = False


def curves_panel(
    name: str, title: str, curves: Sequence[Curve], *, best_epoch: int | None = None
) -> Panel:
    """Return curves on common axes, with the best epoch dotted.

    Values over two decades make the vertical axis logarithmic.
    """
    front = [curve for curve in curves if not curve.is_behind]
    height = max(2.0, 0.8 + _LABEL * len(front))

    def draw(axes: Axes) -> None:
        edges = [e for c in front for e in (c.values, c.low, c.high) if e is not None]
        if spans(np.concatenate(edges), 100):
            axes.set_yscale("log")
        number_axis(axes.yaxis)
        number_axis(axes.xaxis, whole=True)
        if max(len(curve.values) for curve in front) == 1:
            axes.set_xticks([1])
        axes.grid(axis="y")
        if best_epoch is not None:
            axes.axvline(best_epoch, color=FAINT, linewidth=0.8, linestyle=":")
        for curve in front:
            _draw_curve(axes, curve)
        axes.autoscale_view()
        axes.autoscale(enable=False)
        for curve in curves:
            if curve.is_behind:
                _draw_curve(axes, curve)
        axes.set_xlabel("epoch")
        _label_ends(axes, front, height)

    return Panel(name, title, draw, height=height)


def curves_plot(panel: Panel, quantity: str, curves: Sequence[Curve], caption: str) -> Plot:
    """Describe a panel of curves of a quantity: where each begins and ends, values by epoch."""
    ends = [
        f"{curve.label} from {number(float(curve.values[0]))} to {number(float(curve.values[-1]))}"
        for curve in curves
        if len(curve.values)
    ]
    epochs = max(len(curve.values) for curve in curves)
    rows = [
        [
            str(epoch + 1),
            *[number(float(c.values[epoch])) if epoch < len(c.values) else "" for c in curves],
        ]
        for epoch in sorted({*range(0, epochs, -(-epochs // _MOST_ROWS)), epochs - 1})
    ]
    table = Table(["epoch", *[curve.label for curve in curves]], rows)
    return Plot(panel, f"{quantity} over epochs: {'; '.join(ends)}.", caption, table)


def train_and_val(train: Values | None, val: Values | None) -> list[Curve]:
    """Return the curves of a quantity of a run that were recorded."""
    named = (("train", train, TRAIN), ("val", val, VAL))
    return [Curve(name, v, {"color": colour}) for name, v, colour in named if v is not None]


def mean_and_band(
    label: str, look: Mapping[str, Any], seeds: Sequence[Sequence[float | None] | Values]
) -> Curve:
    """Return the mean over seeds, with the band from the lowest to the highest of them.

    All seeds are cut to the shortest: a mean over fewer of them would jump.
    """
    epochs = min(len(values) for values in seeds)
    table = np.array([values[:epochs] for values in seeds], dtype=np.float64)  # [S, E]; None is NaN
    if len(seeds) == 1:
        return Curve(label, table[0], look)
    return Curve(label, table.mean(0), look, table.min(0), table.max(0))


def _draw_curve(axes: Axes, curve: Curve) -> None:
    epochs = np.arange(1, len(curve.values) + 1)
    if curve.low is not None and curve.high is not None:
        colour = curve.look["color"]
        axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    alone = np.isfinite(curve.values).sum() == 1  # one point makes no line
    width = 0.6 if curve.is_behind else 0.8 if len(epochs) > _MANY else 1.4
    axes.plot(
        epochs, curve.values, label=curve.label, marker="o" if alone else "", linewidth=width,
        zorder=1.5 if curve.is_behind else 2, **curve.look,
    )  # fmt: skip


def _label_ends(axes: Axes, curves: Sequence[Curve], height: float) -> None:
    """Write names at the right edge, each as near to its line's end as the others allow."""
    to_axes = axes.transScale + axes.transLimits
    ends = []
    for curve in curves:
        known = curve.values[np.isfinite(curve.values)]
        ends.append(float(to_axes.transform((1, known[-1]))[1]) if len(known) else 0.0)
    for curve, y in zip(curves, spread(ends, _LABEL / (height - 0.7)), strict=True):
        sample = Line2D([1.02, 1.07], [y, y], transform=axes.transAxes, clip_on=False, **curve.look)
        axes.add_artist(sample)
        name = short(curve.label)
        axes.text(1.09, y, name, transform=axes.transAxes, va="center", fontsize=SMALL, color=INK)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart, in their order, to at least `gap` between them, below the title."""
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    # Pushed up by those below, then down from the top by those above.
    moved = np.maximum.accumulate(np.asarray(places, dtype=np.float64)[order] - steps) + steps
    if len(moved) and moved[-1] > _TOP:
        moved = np.minimum(moved, _TOP - steps[::-1])
    found = np.empty(len(moved))
    found[order] = moved
    return [float(place) for place in found]
