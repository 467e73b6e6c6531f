"""One stylesheet for all plots, their colours, and figures made of panels.

Nothing here uses pyplot or leaves matplotlib's settings changed.
"""

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
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from paribus.core.errors import many, shown
from paribus.sweeps.formatting import cut_middle

# The hues of M. Okabe and K. Ito, Color Universal Design (2008), but for their yellow, as dark as
# marks on white have to be (contrast 3:1, WCAG 2.2). Any two, and black, which is the baseline's,
# are at least 0.1 apart in OKLab with every colour vision (G. M. Machado et al. 2009).
COLOURS = ("#0F5398", "#BF4408", "#198669", "#871156", "#279EC5", "#C18719")
MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", ":", "-.")
INK, FAINT, GRID, PAPER = "#222222", "#666666", "#E4E4E4", "#FFFFFF"
BASELINE_COLOUR, VAL, TRAIN = "#000000", COLOURS[0], COLOURS[5]
# Shapes differ as well as colours, for readers and printers without colours.
VERDICTS: dict[str, dict[str, Any]] = {
    "better": {"color": COLOURS[2], "marker": "^"},
    "worse": {"color": COLOURS[1], "marker": "v"},
    "equivalent": {"color": COLOURS[0], "marker": "s"},
    "undecided": {"color": FAINT, "marker": "o", "markerfacecolor": PAPER},
    "identical": {"color": FAINT, "marker": "x"},
    # What is likely, or excluded, is no verdict: its marks are hollow.
    "likely better": {"color": COLOURS[2], "marker": "^", "markerfacecolor": PAPER},
    "likely worse": {"color": COLOURS[1], "marker": "v", "markerfacecolor": PAPER},
    "no better": {"color": FAINT, "marker": "<", "markerfacecolor": PAPER},
    "no worse": {"color": FAINT, "marker": ">", "markerfacecolor": PAPER},
}
SMALL = 7.5  # points: text inside a panel

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so its widths are always known
    "font.size": 8.0,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a user's name is a $
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
    "svg.hashsalt": "paribus",  # else ids are random, and equal plots differ
}


@contextmanager
def stylesheet() -> Iterator[None]:
    """Use the stylesheet inside the block, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def line_look(number: int) -> dict[str, Any]:
    """Return colour and dashes of the `number`-th setting of an axis, counted from 0."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)],
    }


def marker_look(number: int) -> dict[str, Any]:
    """Return colour and marker of the class with this code."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def spans(values: Iterable[float], factor: float) -> bool:
    """Return whether values are positive and the largest is at least `factor` times the least."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) >= factor * (1 - 1e-9) * min(known)


def number_axis(axis: Axis, ticks: int = 5, *, dense: bool = False, whole: bool = False) -> None:
    """Label a linear or logarithmic axis at no more than `ticks` round values.

    A `dense` logarithmic one has 3, 30, … too: it spans few powers of ten; `whole` ones only.
    """
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if dense else (1.0,), numticks=ticks))
        axis.set_minor_locator(NullLocator())
    elif axis.get_scale() != "symlog":  # symlog has round ticks
        axis.set_major_locator(MaxNLocator(ticks, integer=whole, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:.6g}"))


def short(text: object, limit: int = 22) -> str:
    """Cut a user's name in its middle: the ends tell names apart."""
    return cut_middle(str(text), limit)


# Panels, and the figures made of them.


# Half of a small screen, or all of a page: text is about a fiftieth of the width.
_WIDTH = 5.4  # inches
_PAD = 0.06  # inches
_QUARTERS = 4
_LINE = 0.145  # inches, of the caption
_CAPTION_WIDTH = 88  # characters


@dataclass(frozen=True)
class Panel:
    """One of the small plots of a figure, `width` quarters wide and `height` inches high."""

    name: str
    title: str
    draw: Callable[[Axes], None]
    width: int = 2
    height: float = 2.0


@dataclass(frozen=True)
class Table:
    """Headings, and rows of cells; the first cell names its row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Plot:
    """A panel with what it shows in words, its units and marks, and the numbers behind it."""

    panel: Panel
    alt: str
    caption: str
    table: Table


@dataclass(frozen=True)
class Picture:
    """A figure of several panels: a title above and a caption below them."""

    title: str
    caption: str
    panels: Sequence[Panel]


class StyledFigure(Figure):
    """A figure that looks the same wherever it is drawn or saved; a notebook shows it as an image.

    Some of a figure is made while it is drawn, such as tick labels, by matplotlib's settings then.
    """

    def __init__(self, width: float, height: float) -> None:
        with stylesheet():
            layout = ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
            super().__init__(figsize=(width, height), layout=layout)

    def draw(self, renderer: RendererBase) -> None:
        with stylesheet():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return rendered(self, "png")


def figure_of(picture: Picture) -> StyledFigure:
    """Return the panels in rows, the title above them and the caption below."""
    rows: list[list[Panel]] = [[]]
    for panel in picture.panels:
        if sum(other.width for other in rows[-1]) + panel.width > _QUARTERS:
            rows.append([])
        rows[-1].append(panel)
    heights = [max(panel.height for panel in row) for row in rows]
    lines = textwrap.wrap(shown(picture.caption, 10_000), _CAPTION_WIDTH)
    figure = StyledFigure(_WIDTH, sum(heights) + 0.35 + _LINE * (len(lines) + 1))
    with stylesheet():
        place: Any = {"x": _PAD / _WIDTH, "ha": "left"}
        figure.suptitle(short(picture.title, 60), fontsize=10.5, fontweight="bold", **place)
        figure.supxlabel("\n".join(lines), fontsize=SMALL, color=FAINT, **place)
        grid = figure.add_gridspec(len(rows), _QUARTERS, height_ratios=heights)
        for number, row in enumerate(rows):
            column = 0
            for panel in row:
                _draw(panel, figure.add_subplot(grid[number, column : column + panel.width]))
                column += panel.width
    return figure


def figure_of_panel(panel: Panel) -> StyledFigure:
    """Return one panel as a figure: a narrow one is larger than beside others."""
    larger = 4 / 3 if panel.width <= _QUARTERS / 2 else 1.0
    figure = StyledFigure(_WIDTH * panel.width / _QUARTERS * larger, panel.height * larger)
    with stylesheet():
        _draw(panel, figure.add_subplot())
    return figure


def _draw(panel: Panel, axes: Axes) -> None:
    axes.set_title(shown(panel.title))
    panel.draw(axes)


def rendered(figure: Figure, suffix: Literal["svg", "png"], *, transparent: bool = False) -> bytes:
    """Return the figure's file: equal figures give equal bytes; an SVG may be transparent."""
    buffer = io.BytesIO()
    with stylesheet(), warnings.catch_warnings():
        # A name in letters that the font lacks: in SVG the reader's own font has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        if suffix == "svg":
            # With a layout engine, savefig draws all of it to lay it out, and then once more.
            engine, dpi, canvas = figure.get_layout_engine(), figure.dpi, figure.canvas
            FigureCanvasSVG(figure)
            figure.dpi = 72  # as savefig draws an SVG
            if engine is not None:
                engine.execute(figure)
            figure.set_layout_engine(None)
            figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=transparent)
            figure.set_layout_engine(engine)
            figure.dpi, figure.canvas = dpi, canvas
        else:
            figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


# Units and counts in captions.


_UNITS = {
    **dict.fromkeys(("accuracy", "precision", "recall", "f1"), "from 0 to 1"),
    "mae": "in units of the target",
    "mse": "in squared units of the target",
    "r2": "1 is perfect",
}
_BETTER = {"maximize": "higher is better", "minimize": "lower is better"}


def explained(metric: str, direction: str) -> str:
    """Return a metric with its direction and, where that is known, its unit."""
    unit = _UNITS.get(metric.rpartition("/")[2])
    return f"{metric} ({f'{unit}, ' if unit else ''}{_BETTER[direction]})"


def part_of(drawn: int, total: int, noun: str) -> str:
    """Return ``5 seeds`` where all are drawn, else ``3 of 5 seeds``."""
    return many(total, noun) if drawn == total else f"{drawn} of {many(total, noun)}"
