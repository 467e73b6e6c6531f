"""Where a function is zero. `scipy.optimize` takes longer to import than a study to judge."""

from __future__ import annotations

from collections.abc import Callable

_HALVINGS = 100  # until neighbouring numbers, from any interval


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """By bisection.

    Args:
        function: Rises from below 0 at `low` to above it at `high`.
        low: An end of the interval.
        high: The other.
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return high
