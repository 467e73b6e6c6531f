"""Numbers as a person reads them."""

from __future__ import annotations

_ROUNDING = 1e-12  # what float64 leaves of a difference that is none


def number(value: float | None, digits: int = 4) -> str:
    """A metric as a person reads it."""
    if value is None:
        return "–"
    if abs(value) < _ROUNDING:
        value = 0.0
    return f"{value:.{digits}f}" if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference with its sign."""
    if value is None:
        return "–"
    if abs(value) < _ROUNDING:
        value = 0.0
    return f"{value:+.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:+.2g}"


def duration(seconds: float) -> str:
    """Seconds as a person says it."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
