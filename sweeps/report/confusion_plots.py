"""Confusion matrices: rows are the true classes; shades are rates by row, or changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from paribus.sweeps.report.figure import COLOURS, GRID, INK, SMALL, Panel, short

Array = NDArray[np.float64]
MOST_LABELS = 12
_MOST_IN_HALF = 8  # classes for which half of the figure's width is enough
_MOST_RATES, _MOST_COUNTS, _MOST_NAMES = 5, 24, 40  # classes up to which cells and edges hold text
_AROUND = 0.7  # inches, above and below the matrix
_LETTER = 0.068  # inches, the width of one
_DARKEST = 0.6  # of the colour: the same ink stands out on every shade
_MORE, _FEWER = COLOURS[0], COLOURS[1]


@dataclass(frozen=True, eq=False)
class _Cells:
    """What is drawn: shades `[C, C, 4]`, texts `[C][C]`, and which cells are framed `[C, C]`."""

    shades: Array
    texts: Sequence[Sequence[str]]
    framed: NDArray[np.bool_] | None = None


def confusion_panel(
    name: str, title: str, matrix: NDArray[Any], names: Sequence[str], *, half: bool = False
) -> Panel:
    """Counts of (true, predicted) `[C, C]`, with the rate of the row where there is room.

    Args:
        name: The panel's.
        title: Stands above it.
        matrix: Counts, or their means over seeds.
        names: Of the classes, in the order of their codes.
        half: Whether half of the figure's width has to do.
    """
    rates = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    shades = _shaded(rates, rates)
    texts = [
        [_count_text(c, r, len(matrix)) for c, r in zip(*rows, strict=True)]
        for rows in zip(matrix, rates, strict=True)
    ]
    return _panel(name, title, _Cells(shades, texts), names, half)


def change_panel(
    name: str,
    title: str,
    change: Array,
    changed: NDArray[np.bool_],
    names: Sequence[str],
) -> Panel:
    """How the counts of two matrices differ `[C, C]`; the cells of `changed` `[C, C]` are framed.

    Args:
        name: The panel's.
        title: Stands above it.
        change: Mean differences of counts.
        changed: Where they are surely more than chance.
        names: Of the classes, in the order of their codes.
    """
    share = np.abs(change) / max(float(np.abs(change).max()), 1e-12)
    texts = [[f"{x:+.1f}" if x else "" for x in row] for row in change]
    return _panel(name, title, _Cells(_shaded(share, change), texts, changed), names, half=True)


def label_panels(
    name: str, matrices: NDArray[np.int64], names: Sequence[str]
) -> tuple[list[Panel], int]:
    """One small matrix for each of several labels `[L, 2, 2]`, of the first twelve.

    Returns:
        The panels, and how many labels are left out.
    """
    shown_labels = min(len(matrices), MOST_LABELS)
    panels = []
    for matrix, label in list(zip(matrices, names, strict=False))[:shown_labels]:
        whole = confusion_panel(f"{name}: {label}", short(label, 16), matrix, ("no", "yes"))
        panels.append(Panel(whole.name, whole.title, whole.draw, width=1, height=1.4))
    return panels, len(matrices) - shown_labels


def _panel(name: str, title: str, cells: _Cells, names: Sequence[str], half: bool) -> Panel:
    classes = len(cells.shades)
    if half or classes <= _MOST_IN_HALF:
        width, height = 2, 2.3
    else:
        width, height = 4, min(0.9 + 0.32 * classes, 4.6)
    cell = (height - _AROUND) / classes
    return Panel(name, title, lambda axes: _draw(axes, cells, names, cell), width, height)


def _draw(axes: Axes, cells: _Cells, names: Sequence[str], cell: float) -> None:
    classes = len(cells.shades)
    axes.set(xlim=(0, classes), ylim=(classes, 0), xlabel="predicted", ylabel="true")
    if classes <= _MOST_COUNTS:
        _draw_cells(axes, cells.shades)
    else:
        axes.imshow(cells.shades, extent=(0, classes, classes, 0), interpolation="none")
    axes.set_aspect("equal", anchor="NW")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xticks=[], yticks=[])
    if classes <= _MOST_NAMES:
        texts = [short(name, 10) for name in names]
        turned = max(map(len, texts)) * _LETTER > cell
        axes.set_xticks(np.arange(classes) + 0.5, texts, rotation=90 if turned else 0)
        axes.set_yticks(np.arange(classes) + 0.5, texts)
    if classes > _MOST_COUNTS:
        return
    size = SMALL if cell > 0.25 else 6 if cell > 0.14 else 4.5
    for true, row in enumerate(cells.texts):
        for predicted, text in enumerate(row):
            if not text:
                continue
            framed = cells.framed is not None and cells.framed[true, predicted]
            axes.text(predicted + 0.5, true + 0.5, text, ha="center", va="center", color=INK,
                      fontsize=size, fontweight="bold" if framed else "normal")  # fmt: skip
            if framed:
                axes.add_patch(Rectangle((predicted, true), 1, 1, fill=False, edgecolor=INK,
                                         linewidth=1.4, zorder=3))  # fmt: skip


def _draw_cells(axes: Axes, shades: Array) -> None:
    classes = len(shades)
    corners = [
        [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for y in range(classes)
        for x in range(classes)
    ]  # fmt: skip
    axes.add_collection(
        PolyCollection(
            corners, facecolors=shades.reshape(-1, 4), edgecolors=GRID,
            linewidths=0.6 if classes <= _MOST_IN_HALF + 4 else 0.2,
        )
    )  # fmt: skip


def _shaded(share: Array, sign: Array) -> Array:
    """Colours as dense as `share`, from 0 to 1: `[C, C, 4]`; any paper shines through."""
    shades = np.empty((*share.shape, 4))
    shades[..., :3] = np.where((sign >= 0)[..., None], to_rgb(_MORE), to_rgb(_FEWER))
    shades[..., 3] = _DARKEST * share
    return shades


def _count_text(count: float, rate: float, classes: int) -> str:
    if not count:
        return ""
    text = f"{count:.1f}".removesuffix(".0")
    return f"{text}\n{100 * rate:.0f} %" if classes <= _MOST_RATES else text
