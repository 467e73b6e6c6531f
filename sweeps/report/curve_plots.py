"""Curves over epochs: training against validation of a run, settings of an axis against each other.

Every line is labelled at its right end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from paribus.sweeps.report.figure import (
    FAINT,
    INK,
    SMALL,
    TRAIN,
    VAL,
    Panel,
    number_axis,
    short,
    spans,
)

Numbers = NDArray[np.float64]
_LABEL = 0.15  # inches, from one label to the next
_TOP = 0.95  # of the panel: the highest label, which would touch the title otherwise
_MANY = 60  # epochs, from which on a line that jumps would become an area


@dataclass(frozen=True, eq=False)
class Curve:
    """One line over epochs.

    Attributes:
        label: Stands at its end.
        values: One per epoch, from the first: `[E]`; NaN where there is none.
        look: Colour and dashes, as matplotlib's keywords.
        low: Lower edge of its band: `[E]`; None without a band.
        high: Upper edge.
        is_behind: Whether it is faint behind the others: no label, and no say in the limits.
    """

    label: str
    values: Numbers
    look: Mapping[str, Any]
    low: Numbers | None = None
    high: Numbers | None = None
    is_behind: bool = False


def curves_panel(
    name: str, title: str, curves: Sequence[Curve], *, best_epoch: int | None = None
) -> Panel:
    """Curves on common axes; the vertical axis is logarithmic where they span over two decades.

    Args:
        name: The panel's.
        title: The quantity and its unit.
        curves: At least one.
        best_epoch: Marked by a dotted line.
    """
    front = [curve for curve in curves if not curve.is_behind]

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

    height = max(2.0, 0.8 + _LABEL * len(front))
    return Panel(name, title, draw, height=height)


def train_and_val(train: Numbers | None, val: Numbers | None) -> list[Curve]:
    """A run's two curves of a quantity; one where only one was recorded."""
    named = (("train", train, TRAIN), ("val", val, VAL))
    return [Curve(name, v, {"color": colour}) for name, v, colour in named if v is not None]


def mean_and_band(
    label: str, look: Mapping[str, Any], seeds: Sequence[Sequence[float | None] | Numbers]
) -> Curve:
    """The mean over seeds, and the band from the lowest to the highest of them.

    Args:
        label: The setting's.
        look: Its colour and dashes.
        seeds: For each seed its value in each epoch. Seeds that trained longer than others are cut:
            a mean over fewer would jump.
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
    """Names at the right edge, each as near to its line's end as the others let it."""
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
    """The places moved apart, at least `gap` between them, in their order and below the title."""
    order = np.argsort(places, kind="stable")
    moved = [places[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > _TOP:
        moved[-1] = _TOP
        for i in reversed(range(len(moved) - 1)):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    found = [0.0] * len(moved)
    for i, place in zip(order, moved, strict=True):
        found[int(i)] = place
    return found
