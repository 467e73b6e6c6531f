"""A model's answers: over its one or two inputs, or against the true values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
    from paribus.core.inference.decision_surface import Surface

Array = NDArray[Any]
_MOST_NAMED = 8  # in the legend


def surface_panel(surface: Surface, classes: Sequence[str], columns: Sequence[str]) -> Panel:
    """Return what a model answers over its inputs: a line, probabilities or regions.

    Args:
        surface: Its answers, and the examples.
        classes: Their names; none for values.
        columns: The names of its one or two inputs.
    """
    if surface.probabilities is None:
        draw = partial(_draw_line, surface=surface, columns=columns)
        return Panel("prediction", "prediction", draw, width=4, height=2.4)
    if len(surface.axes) == 1:
        which = f"of {short(classes[1], 18)}" if len(classes) == 2 else "of each class"
        draw = partial(_draw_probabilities, surface=surface, classes=classes, columns=columns)
        return Panel("probability", f"probability {which}", draw, height=2.4)
    draw = partial(_draw_regions, surface=surface, classes=classes, columns=columns)
    return Panel("decision regions", "decision regions", draw, height=2.3)


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


def _draw_line(axes: Axes, surface: Surface, columns: Sequence[str]) -> None:
    """Draw a regression on one number: examples, and predictions `[G, K]`."""
    train, val, predicted = surface.train, surface.val, surface.predicted
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
        label = f"predicted {column + 1}" if predicted.shape[1] > 1 else "predicted"
        line = axes.plot(surface.axes[0], predicted[:, column], color=colour, label=label)
        samples += line if samples else points + line
    _number_axes(axes, columns[0], "target", ticks=8)
    axes.grid(axis="y")
    _legend(axes, samples[:_MOST_NAMED])


def _draw_probabilities(
    axes: Axes, surface: Surface, classes: Sequence[str], columns: Sequence[str]
) -> None:
    """Draw the probability of each class `[G, C]`; of two classes only the second one's."""
    assert surface.probabilities is not None
    val = surface.val
    for code in [1] if len(classes) == 2 else range(len(classes)):
        colour = marker_look(code)["color"]
        axes.plot(surface.axes[0], surface.probabilities[:, code], color=colour)
    for code in range(len(classes)):  # the examples, as strokes below
        own = val.inputs[val.targets == code, 0]
        place = -0.08 - 0.05 * (code % 6)
        axes.plot(own, np.full(len(own), place), "|", color=marker_look(code)["color"],
                  markersize=5)  # fmt: skip
    _number_axes(axes, columns[0], "")
    axes.set_yticks([0, 0.5, 1])
    axes.grid(axis="y")
    _legend(axes, _class_samples(classes, line=True))


def _draw_regions(
    axes: Axes, surface: Surface, classes: Sequence[str], columns: Sequence[str]
) -> None:
    """Draw the regions of predicted classes, codes `[H, G]`; examples have dark edges if wrong."""
    (x, y), predicted, val = surface.axes, surface.predicted, surface.val
    edges = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    # So transparent that points are visible on any paper.
    tints = np.array([(*to_rgb(marker_look(c)["color"]), 0.28) for c in range(len(classes))])
    axes.imshow(tints[predicted], extent=edges, origin="lower", aspect="auto", interpolation="none")
    # Colours repeat from the seventh class on, and not every printer has colours.
    for code in np.unique(predicted)[1:]:
        axes.contour(x, y, predicted >= code, levels=[0.5], colors=FAINT, linewidths=0.6)
    wrong = val.predicted != val.targets
    for code in range(len(classes)):
        for group, edge, size, width in ((~wrong, PAPER, 4, 0.4), (wrong, INK, 5, 1.1)):
            own = val.inputs[(val.targets == code) & group]
            axes.plot(own[:, 0], own[:, 1], linestyle="", markeredgecolor=edge, markersize=size,
                      markeredgewidth=width, **marker_look(code))  # fmt: skip
    axes.set(xlim=edges[:2], ylim=edges[2:])
    wide, high = edges[1] - edges[0], edges[3] - edges[2]
    if 0.5 <= wide / high <= 2:  # likely of one unit: a circle should look like one
        axes.set_aspect("equal", anchor="NW")
    _number_axes(axes, columns[0], columns[1])
    _legend(axes, _class_samples(classes, line=False))


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
