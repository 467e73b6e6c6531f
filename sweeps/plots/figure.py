"""Panels beside each other on one figure, and the figure as a file's bytes."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from paribus.core.errors import shown
from paribus.sweeps.plots.style import FAINT, SMALL, short, stylesheet

Format = Literal["svg", "png"]
FORMATS: tuple[Format, ...] = ("svg", "png")

# Half of a small screen, or all of a page: text is about a fiftieth of the width.
_WIDTH = 5.4  # inches
_PAD = 0.06  # inches
_QUARTERS = 4
_LINE = 0.145  # inches, of the caption
_CAPTION_WIDTH = 88  # characters


@dataclass(frozen=True)
class Panel:
    """One of the small plots of a figure.

    Attributes:
        name: What it shows, as `--json` names it.
        title: Stands above it.
        draw: Draws it on the axes it is given.
        width: In quarters of the figure, from 1 to 4.
        height: In inches, with its title.
    """

    name: str
    title: str
    draw: Callable[[Axes], None]
    width: int = 2
    height: float = 2.0


@dataclass(frozen=True)
class Picture:
    """What a figure is made of.

    Attributes:
        title: Which run or study this is.
        caption: Sentences on what is shown: units, seeds, what a band means, what is left out.
        panels: At least one, in reading order.
    """

    title: str
    caption: str
    panels: Sequence[Panel]


def figure_of(picture: Picture) -> Figure:
    """The panels in rows, the title above them and the caption below."""
    rows = _rows(picture.panels)
    heights = [max(panel.height for panel in row) for row in rows]
    lines = textwrap.wrap(shown(picture.caption, 10_000), _CAPTION_WIDTH)
    with stylesheet():
        height = sum(heights) + 0.35 + _LINE * (len(lines) + 1)
        layout = ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
        figure = Figure(figsize=(_WIDTH, height), layout=layout)
        left = _PAD / _WIDTH
        figure.suptitle(
            short(picture.title, 60), x=left, ha="left", fontsize=10.5, fontweight="bold"
        )
        figure.supxlabel("\n".join(lines), x=left, ha="left", fontsize=SMALL, color=FAINT)
        grid = figure.add_gridspec(len(rows), _QUARTERS, height_ratios=heights)
        for number, row in enumerate(rows):
            column = 0
            for panel in row:
                axes = figure.add_subplot(grid[number, column : column + panel.width])
                axes.set_title(shown(panel.title))
                panel.draw(axes)
                column += panel.width
    return figure


def figure_of_panel(panel: Panel) -> Figure:
    """One panel by itself: what is narrow is larger than beside others."""
    larger = 4 / 3 if panel.width <= _QUARTERS / 2 else 1.0
    size = (_WIDTH * panel.width / _QUARTERS * larger, panel.height * larger)
    with stylesheet():
        layout = ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
        figure = Figure(figsize=size, layout=layout)
        axes = figure.add_subplot()
        axes.set_title(shown(panel.title))
        panel.draw(axes)
    return figure


def rendered(figure: Figure, suffix: Format, *, transparent: bool = False) -> bytes:
    """The figure as a file's content: the same figure gives the same bytes.

    Args:
        figure: What is drawn.
        suffix: The format.
        transparent: Whether an SVG lets what is behind it show.
    """
    buffer = io.BytesIO()
    with stylesheet(), warnings.catch_warnings():
        # A name in letters that the font lacks: in SVG the reader's own font has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if suffix == "svg":
            figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=transparent)
        else:
            figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels row by row, as many as the quarters last."""
    rows: list[list[Panel]] = []
    for panel in panels:
        last = rows[-1] if rows else []
        if last and sum(other.width for other in last) + panel.width <= _QUARTERS:
            last.append(panel)
        else:
            rows.append([panel])
    return rows
