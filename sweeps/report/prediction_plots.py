"""A model's answers: over its one or two inputs, or against the true values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from paribus.sweeps.report.figure import (
    COLOURS,
    FAINT,
    INK,
    PAPER,
    Panel,
    marker_look,
    number_axis,
    short,
)

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Examples

Array = NDArray[Any]
_MOST_NAMED = 8  # in the legend


def line_panel(x: Array, predicted: Array, train: Examples, val: Examples, label: str) -> Panel:
    """Return a regression on one number, `label`: examples, and predictions `[G, K]` at `x`."""

    def draw(axes: Axes) -> None:
        samples: list[Line2D] = []
        for column in range(predicted.shape[1]):
            colour = COLOURS[column % len(COLOURS)]
            points = axes.plot(
                train.inputs[:, 0], train.targets[:, column], "o", color=FAINT, alpha=0.5,
                markersize=4, markeredgewidth=0, label="train",
            ) + axes.plot(
                val.inputs[:, 0], val.targets[:, column], "o", color=colour,
                markerfacecolor=PAPER, markersize=4, label="val",
            )  # fmt: skip
            which = f" {column + 1}" if predicted.shape[1] > 1 else ""
            line = axes.plot(x, predicted[:, column], color=colour, label=f"predicted{which}")
            samples += line if samples else points + line
        _number_axes(axes, label, "target", ticks=8)
        axes.grid(axis="y")
        _legend(axes, samples[:_MOST_NAMED])

    return Panel("prediction", "prediction", draw, width=4, height=2.4)


def agreement_panel(targets: Array, predicted: Array) -> Panel:
    """Return a regression on any inputs: predicted values `[N, K]` against true ones `[N, K]`."""

    def draw(axes: Axes) -> None:
        ends = [float(edge(values)) for edge in (np.min, np.max) for values in (targets, predicted)]
        diagonal = [min(ends), max(ends)]
        axes.plot(diagonal, diagonal, color=FAINT, linewidth=0.8)
        samples: list[Line2D] = []
        for column in range(targets.shape[1]):
            samples += axes.plot(
                targets[:, column], predicted[:, column], "o", markerfacecolor="none",
                color=COLOURS[column % len(COLOURS)], label=f"target {column + 1}",
            )  # fmt: skip
        axes.set_aspect("equal", anchor="NW")
        _number_axes(axes, "true", "predicted")
        if len(samples) > 1:
            _legend(axes, samples[:_MOST_NAMED])

    return Panel("agreement", "predicted against true", draw, height=2.3)


def probability_panel(
    title: str, x: Array, probabilities: Array, val: Examples, classes: Sequence[str], label: str
) -> Panel:
    """Return the probability of each class `[G, C]` at `x` `[G]`, the input `label`.

    Validation examples are strokes below. Of two classes only the second is drawn.
    """
    drawn = [1] if len(classes) == 2 else list(range(len(classes)))

    def draw(axes: Axes) -> None:
        for code in drawn:
            axes.plot(x, probabilities[:, code], color=marker_look(code)["color"])
        for code in range(len(classes)):
            own = val.inputs[val.targets == code, 0]
            place = -0.08 - 0.05 * (code % 6)
            axes.plot(own, np.full(len(own), place), "|", color=marker_look(code)["color"],
                      label=classes[code], markersize=5)  # fmt: skip
        _number_axes(axes, label, "")
        axes.set_yticks([0, 0.5, 1])
        axes.grid(axis="y")
        _legend(axes, _class_samples(classes, line=True))

    return Panel("probability", title, draw, height=2.4)


def regions_panel(
    grid: tuple[Array, Array],
    predicted: Array,
    val: Examples,
    classes: Sequence[str],
    labels: tuple[str, str],
) -> Panel:
    """Return the regions of predicted classes, codes `[H, G]`, over two inputs `[G]` and `[H]`.

    Validation examples are points; those classified wrongly have a dark edge.
    """

    def draw(axes: Axes) -> None:
        x, y = grid
        edges = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
        # So transparent that points are visible on any paper.
        tints = np.array([(*to_rgb(marker_look(c)["color"]), 0.28) for c in range(len(classes))])
        axes.imshow(
            tints[predicted], extent=edges, origin="lower", aspect="auto", interpolation="none"
        )
        # Colours repeat from the seventh class on, and not every printer has colours.
        for code in np.unique(predicted)[1:]:
            axes.contour(x, y, predicted >= code, levels=[0.5], colors=FAINT, linewidths=0.6)
        wrong = val.predicted != val.targets
        for code in range(len(classes)):
            for group, edge in ((~wrong, PAPER), (wrong, INK)):
                own = val.inputs[(val.targets == code) & group]
                look = marker_look(code)
                axes.plot(own[:, 0], own[:, 1], linestyle="", markeredgecolor=edge,
                          markersize=4 if edge == PAPER else 5,
                          markeredgewidth=0.4 if edge == PAPER else 1.1,
                          label=classes[code] if edge == PAPER else "", **look)  # fmt: skip
        axes.set(xlim=edges[:2], ylim=edges[2:])
        wide, high = edges[1] - edges[0], edges[3] - edges[2]
        if 0.5 <= wide / high <= 2:  # likely of one unit: a circle should look like one
            axes.set_aspect("equal", anchor="NW")
        _number_axes(axes, *labels)
        _legend(axes, _class_samples(classes, line=False))

    return Panel("decision regions", "decision regions", draw, height=2.3)


def _number_axes(axes: Axes, x: str, y: str, ticks: int = 5) -> None:
    number_axis(axes.xaxis, ticks)
    number_axis(axes.yaxis)
    axes.set_xlabel(short(x, 40))
    axes.set_ylabel(short(y, 24))


def _class_samples(classes: Sequence[str], *, line: bool) -> list[Line2D]:
    samples = []
    for code, name in enumerate(classes[:_MOST_NAMED]):
        look = marker_look(code)
        shape = {"color": look["color"]} if line else {**look, "linestyle": ""}
        samples.append(Line2D([], [], label=short(name, 14), markersize=4, **shape))
    if len(classes) > _MOST_NAMED:
        samples.append(Line2D([], [], linestyle="", label=f"and {len(classes) - _MOST_NAMED} more"))
    return samples


def _legend(axes: Axes, samples: Sequence[Line2D]) -> None:
    """Draw it beside the panel: points may lie anywhere inside."""
    axes.legend(
        handles=list(samples), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2,
        handletextpad=0.4,
    )  # fmt: skip
