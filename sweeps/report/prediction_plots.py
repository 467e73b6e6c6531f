"""A model's predictions: its answers over one or two inputs, against true values, and confusion.

Rows of a confusion matrix are the true classes; its shades are shares of the row, or changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.sparse import csr_array

from paribus.sweeps.report.figure import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER,
    SMALL,
    Panel,
    Table,
    marker_look,
    number_axis,
    short,
)
from paribus.sweeps.stats.confusion import MOST_ROWS, MOST_SHOWN, errors_by_count

if TYPE_CHECKING:
    from paribus.core.inference.decision_surface import Surface

Array = NDArray[Any]
MOST_LABELS = 12
_MOST_IN_HALF = 8  # classes for which half of the figure's width is enough
_MOST_RATES, _MOST_COUNTS = 5, 24  # classes up to which cells hold text
_AROUND = 0.7  # inches, above and below the matrix
_LETTER = 0.068  # inches, the width of one
_DARKEST = 0.6  # of the colour: the same ink is readable on every shade
_MORE, _FEWER = COLOURS[0], COLOURS[1]
_MOST_NAMED = 8  # classes in a legend


def confusion_panel(
    name: str, title: str, matrix: Array, names: Sequence[str], *, half: bool = False
) -> Panel:
    """Return counts of (true, predicted) `[C, C]`, with shares of the row where there is room.

    Many classes take all of the figure's width, unless `half` of it has to do.
    """
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    with_share = len(matrix) <= _MOST_RATES

    def text(count: float, share: float) -> str:
        shown = f"{count:.1f}".removesuffix(".0") if count else ""
        return f"{shown}\n{100 * share:.0f} %" if shown and with_share else shown

    texts = [[text(*cell) for cell in zip(*rows, strict=True)]
             for rows in zip(matrix, shares, strict=True)]  # fmt: skip
    return _panel(name, title, _shaded(shares, shares), texts, names, half)


def change_panel(
    name: str, title: str, change: Array, changed: Array, names: Sequence[str]
) -> Panel:
    """Return the difference of two matrices of counts `[C, C]`; `changed` cells are framed."""
    share = np.abs(change) / max(float(np.abs(change).max()), 1e-12)
    texts = [[f"{x:+.1f}" if x else "" for x in row] for row in change]
    return _panel(name, title, _shaded(share, change), texts, names, True, changed)


def label_panels(name: str, matrices: Array, names: Sequence[str]) -> tuple[list[Panel], int]:
    """Return a small matrix of each of the first twelve labels `[L, 2, 2]`, and how many more."""
    panels = [
        replace(
            confusion_panel(f"{name}: {label}", short(label, 16), matrix, ("no", "yes")),
            width=1,
            height=1.4,
        )
        for matrix, label in zip(matrices[:MOST_LABELS], names, strict=False)
    ]
    return panels, len(matrices) - len(panels)


def of_classes(kept: Sequence[int], names: Sequence[str]) -> str:
    """Return whose matrix is drawn, for its caption, where that is not all classes."""
    if len(kept) == len(names):
        return ""
    return f" of the {len(kept)} most confused of {len(names)} classes"


def matrix_table(
    matrix: csr_array, names: Sequence[str], form: Callable[[float, float], str]
) -> Table:
    """Return the cells of a matrix `[C, C]`; of many classes the largest off the diagonal.

    The `form` of a cell is made of its value and its share of the row.
    """
    sums = np.maximum(matrix.sum(1), 1)

    def text(true: int, predicted: int) -> str:
        value = matrix[true, predicted]
        return form(value, value / sums[true]) if value else "0"

    if len(names) > MOST_SHOWN:
        cells = errors_by_count(matrix)[:MOST_ROWS].tolist()
        rows = [[names[true], names[predicted], text(true, predicted)] for true, predicted in cells]
        return Table(["true", "predicted", f"the {len(rows)} largest errors"], rows)
    classes = range(len(names))
    rows = [[names[true], *[text(true, predicted) for predicted in classes]] for true in classes]
    return Table(["true ╲ predicted", *names], rows)


def _panel(
    name: str,
    title: str,
    shades: Array,
    texts: Sequence[Sequence[str]],
    names: Sequence[str],
    half: bool,
    framed: Array | None = None,
) -> Panel:
    """Return a matrix of shades `[C, C, 4]` and texts, some of its cells framed `[C, C]`."""
    classes = len(shades)
    if half or classes <= _MOST_IN_HALF:
        width, height = 2, 2.3
    else:
        width, height = 4, min(0.9 + 0.32 * classes, 4.6)
    cell = (height - _AROUND) / classes
    size = SMALL if cell > 0.25 else 6 if cell > 0.14 else 4.5

    def draw(axes: Axes) -> None:
        axes.set(xlim=(0, classes), ylim=(classes, 0), xlabel="predicted", ylabel="true")
        if classes <= _MOST_COUNTS:
            edge = 0.6 if classes <= _MOST_IN_HALF + 4 else 0.2
            axes.pcolormesh(shades, edgecolors=GRID, linewidth=edge, antialiased=True)
        else:
            axes.imshow(shades, extent=(0, classes, classes, 0), interpolation="none")
        axes.set_aspect("equal", anchor="NW")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        marks = [short(name, 10) for name in names]
        turned = max(map(len, marks)) * _LETTER > cell
        axes.set_xticks(np.arange(classes) + 0.5, marks, rotation=90 if turned else 0)
        axes.set_yticks(np.arange(classes) + 0.5, marks)
        if classes > _MOST_COUNTS:
            return
        for (true, predicted), text in np.ndenumerate(np.array(texts, dtype=object)):
            is_framed = framed is not None and framed[true, predicted]
            if text:
                axes.text(predicted + 0.5, true + 0.5, text, ha="center", va="center", color=INK,
                          fontsize=size, fontweight="bold" if is_framed else "normal")  # fmt: skip
            if text and is_framed:
                axes.add_patch(Rectangle((predicted, true), 1, 1, fill=False, edgecolor=INK,
                                         linewidth=1.4, zorder=3))  # fmt: skip

    return Panel(name, title, draw, width, height)


def _shaded(share: Array, sign: Array) -> Array:
    """Return colours as dense as `share`, from 0 to 1: `[C, C, 4]`, transparent to any paper."""
    shades = np.empty((*share.shape, 4))
    shades[..., :3] = np.where((sign >= 0)[..., None], to_rgb(_MORE), to_rgb(_FEWER))
    shades[..., 3] = _DARKEST * share
    return shades


# Answers over the inputs.


def surface_panel(surface: Surface, classes: Sequence[str], columns: Sequence[str]) -> Panel:
    """Return what a model answers over its one or two inputs: a line, probabilities or regions.

    There are no classes where it answers with values; `columns` are the names of the inputs.
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
