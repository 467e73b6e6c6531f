"""How every plot looks: one stylesheet, and colours that stay with what they stand for."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from paribus.core.errors import shortened, shown

# The hues of M. Okabe and K. Ito, Color Universal Design (2008), but for their yellow, as dark as
# marks on white have to be (contrast 3:1, WCAG 2.2). Any two, and black, which is the baseline's,
# are at least 0.1 apart in OKLab with every colour vision (G. M. Machado et al. 2009).
COLOURS = ("#0F5398", "#BF4408", "#198669", "#871156", "#279EC5", "#C18719")
MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", ":", "-.")
INK, FAINT, GRID, PAPER = "#222222", "#666666", "#E4E4E4", "#FFFFFF"
BASELINE, VAL, TRAIN = "#000000", COLOURS[0], COLOURS[5]
# Colour, marker and face of each verdict: shapes tell them apart where colours do not.
VERDICTS: dict[str, dict[str, Any]] = {
    "better": {"color": COLOURS[2], "marker": "^"},
    "worse": {"color": COLOURS[1], "marker": "v"},
    "equivalent": {"color": COLOURS[0], "marker": "s"},
    "undecided": {"color": FAINT, "marker": "o", "markerfacecolor": PAPER},
    "identical": {"color": FAINT, "marker": "x"},
}
SMALL = 7.5  # points, of what stands inside a panel

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: it measures by it
    "font.size": 8.0,
    "text.color": INK,
    "text.parse_math": False,  # names are anybody's: a $ is a $
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": FAINT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0.0,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: it can be searched, selected and read aloud
    "svg.hashsalt": "paribus",  # else ids are drawn, and equal plots differ
}


@contextmanager
def stylesheet() -> Iterator[None]:
    """The one look, whatever a matplotlibrc of the person or the folder says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def line_look(number: int) -> dict[str, Any]:
    """Colour and dashes of the setting that is the `number`-th of its axis, from 0."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)],
    }


def marker_look(number: int) -> dict[str, Any]:
    """Colour and marker of the class with this code."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def spans(values: Iterable[float], factor: float) -> bool:
    """Whether values are positive, and the greatest is `factor` times the least or more."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) >= factor * (1 - 1e-9) * min(known)


def number_axis(axis: Axis, ticks: int = 5, *, dense: bool = False, whole: bool = False) -> None:
    """Numbers at an axis, linear or logarithmic, as they are typed, at round places.

    Args:
        axis: The horizontal or the vertical one.
        ticks: How many places there are at most.
        dense: Whether a logarithmic axis is so short that powers of ten alone are too few.
        whole: Whether only whole numbers have a meaning.
    """
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if dense else (1.0,), numticks=ticks))
        axis.set_minor_locator(NullLocator())
    elif axis.get_scale() != "symlog":  # its own places are round
        axis.set_major_locator(MaxNLocator(ticks, integer=whole, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:.6g}"))


def short(text: object, limit: int = 22) -> str:
    """A name of the user's as it fits beside a line: cut in its middle, for ends tell apart."""
    return shortened(shown(text, 10_000), limit)


# Panels beside each other on one figure, and the figure as a file's bytes.


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


# What captions are made of: units and counts.


_UNITS = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1"), "from 0 to 1"),
    "mae": "in units of the target",
    "mse": "in squared units of the target",
    "r2": "1 is perfect",
}
_BETTER = {"maximize": "higher is better", "minimize": "lower is better"}


def explained(metric: str, direction: str) -> str:
    """A metric with its unit, where that is known, and its direction."""
    unit = _UNITS.get(metric.rpartition("/")[2])
    return (
        f"{metric} ({unit}, {_BETTER[direction]})" if unit else f"{metric} ({_BETTER[direction]})"
    )


def many(count: int, noun: str) -> str:
    """A count with its noun in the singular or the plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
