"""How every plot looks: one stylesheet, and colours that stay with what they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axis import Axis
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
