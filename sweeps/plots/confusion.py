"""Confusion matrices: rows are the true classes, shades are rates by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from sweeps.plots.figure import Panel
from sweeps.plots.style import COLOURS, GRID, INK, SMALL, short

MOST_LABELS = 12
_MOST_IN_HALF = 8  # classes for which half of the figure's width is enough
_MOST_RATES, _MOST_COUNTS, _MOST_NAMES = 5, 24, 40  # classes up to which cells and edges hold text
_AROUND = 0.7  # inches, above and below the matrix
_LETTER = 0.068  # inches, the width of one
_SHADES = LinearSegmentedColormap.from_list("rates", ["#FFFFFF", COLOURS[0]])


def confusion_panel(
    name: str, title: str, matrix: NDArray[np.int64], names: Sequence[str]
) -> Panel:
    """Counts of (true, predicted) `[C, C]`, with the rate of the row where there is room.

    Args:
        name: The panel's.
        title: Stands above it.
        matrix: Counts.
        names: Of the classes, in the order of their codes.
    """
    classes = len(matrix)
    if classes <= _MOST_IN_HALF:
        width, height = 2, 2.3
    else:
        width, height = 4, min(0.9 + 0.32 * classes, 4.6)
    cell = (height - _AROUND) / classes
    return Panel(name, title, lambda axes: _draw(axes, matrix, names, cell), width, height)


def label_panels(
    name: str, matrices: NDArray[np.int64], names: Sequence[str]
) -> tuple[list[Panel], int]:
    """One small matrix for each of several labels `[L, 2, 2]`, of the first twelve.

    Returns:
        The panels, and how many labels are left out.
    """
    answers = ("no", "yes")
    shown_labels = min(len(matrices), MOST_LABELS)
    panels = [
        Panel(
            f"{name}: {names[i]}",
            short(names[i], 16),
            lambda axes, counts=matrices[i]: _draw(axes, counts, answers, 0.4),  # type: ignore[misc]
            width=1,
            height=1.4,
        )
        for i in range(shown_labels)
    ]
    return panels, len(matrices) - shown_labels


def _draw(axes: Axes, matrix: NDArray[np.int64], names: Sequence[str], cell: float) -> None:
    classes = len(matrix)
    sums = matrix.sum(1, keepdims=True)
    rates = matrix / np.maximum(sums, 1)
    axes.pcolormesh(
        rates, cmap=_SHADES, vmin=0, vmax=1, edgecolors=GRID,
        linewidth=0.6 if classes <= _MOST_COUNTS else 0.2, rasterized=classes > _MOST_COUNTS,
    )  # fmt: skip
    axes.set(xlim=(0, classes), ylim=(classes, 0), xlabel="predicted", ylabel="true")
    axes.set_aspect("equal", anchor="NW")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if classes <= _MOST_NAMES:
        texts = [short(name, 10) for name in names]
        turned = max(map(len, texts)) * _LETTER > cell
        axes.set_xticks(np.arange(classes) + 0.5, texts, rotation=90 if turned else 0)
        axes.set_yticks(np.arange(classes) + 0.5, texts)
    if classes > _MOST_COUNTS:
        return
    for true, predicted in np.argwhere(matrix):
        count = matrix[true, predicted]
        rate = rates[true, predicted]
        text = str(count)
        if classes <= _MOST_RATES:
            text += f"\n{100 * rate:.0f} %"
        colour = "white" if rate > 0.55 else INK
        axes.text(predicted + 0.5, true + 0.5, text, ha="center", va="center", color=colour,
                  fontsize=SMALL if cell > 0.25 else 6)  # fmt: skip
