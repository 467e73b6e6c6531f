"""Numbers as a person reads them."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from paribus.core.errors import shown

_ROUNDING = 1e-12  # what float64 leaves of a difference that is none
_LARGE = 1e7  # from which on decimals say nothing


def number(value: float | None, digits: int = 4) -> str:
    """A metric as a person reads it."""
    if value is None:
        return "–"
    if abs(value) < _ROUNDING:
        value = 0.0
    if abs(value) >= _LARGE:
        return f"{value:.4g}"
    return f"{value:.{digits}f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference with its sign."""
    if value is None:
        return "–"
    if abs(value) < _ROUNDING:
        value = 0.0
    if abs(value) >= _LARGE:
        return f"{value:+.4g}"
    return f"{value:+.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:+.2g}"


def duration(seconds: float) -> str:
    """Seconds as a person says it."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# How numbers, times and names of the user's are told while runs are trained.


def brief_number(value: float | None) -> str:
    """A metric, in about as many places whatever it is, so that columns keep still."""
    if value is None:
        return "–"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10_000 or value == 0 else f"{value:.3g}"


def about(seconds: float) -> str:
    """Seconds as a person guesses them; coarse, so that they do not flicker."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@lru_cache(maxsize=4096)
def cut(text: str, cells: int) -> str:
    """Text of the user's as it fits into so many cells of a terminal: inert, on one line.

    It is cut in its middle, for the ends of labels tell them apart.
    """
    line = shown(text, 10_000)
    if cell_len(line) <= cells:
        return line
    if cells < 1:
        return ""
    end = (cells - 1) // 2
    tail = line[len(line) - end :]
    while cell_len(tail) > end:
        tail = tail[1:]
    return f"{set_cell_size(line, cells - 1 - cell_len(tail))}…{tail}"
