"""Confusion matrices of any number of classes: which cells changed, and which classes to show.

A matrix holds counts of (true, predicted): sparse `[C, C]`, or for labels an array `[L, 2, 2]`.
Nothing here takes time or memory by the square of C.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from paribus.sweeps.stats.variance import Uncertainty
from paribus.sweeps.stats.verdicts import ALPHA, Array, holm

Counts: TypeAlias = csr_array | NDArray[Any]
MOST_SHOWN = 30  # classes of a matrix that is drawn, printed or logged
MOST_ROWS = 100  # of a table with a row for each class, or each cell


class Cell(NamedTuple):
    """One cell, level minus baseline: mean difference of its count, with the 95 % interval.

    Its place is (true, predicted), or (label, true, predicted); the interval is over seeds and of
    this cell alone.
    """

    place: tuple[int, ...]
    mean: float
    low: float
    high: float


def changed_cells(level: Sequence[Counts], baseline: Sequence[Counts], most: int = 3) -> list[Cell]:
    """Return the cells whose counts changed most, the largest change first.

    There is a matrix for each seed, at least two.
    """
    from scipy import special

    places, d = _differences(level, baseline)
    n = len(d)
    mean, error = d.mean(0), d.std(0, ddof=1) / np.sqrt(n)
    reach = float(special.stdtrit(n - 1, 0.975)) * error
    order = np.argsort(-np.abs(mean), kind="stable")[:most]
    return [
        Cell(
            tuple(int(i) for i in np.unravel_index(places[at], level[0].shape)),
            float(mean[at]),
            float(mean[at] - reach[at]),
            float(mean[at] + reach[at]),
        )
        for at in order
        if mean[at]
    ]


def surely_changed(level: Sequence[Counts], baseline: Sequence[Counts]) -> NDArray[np.int64]:
    """Return the cells whose counts changed by more than chance over seeds: (true, predicted) each.

    A paired t-test of each cell, adjusted for all cells that ever count anything (S. Holm 1979): at
    most one study in twenty marks any cell where nothing changed. Counts are whole numbers, so
    that three equal differences are no certainty: variances have a floor, as those of accuracies.
    There is a matrix `[C, C]` for each seed, more than one.
    """
    places, d = _differences(level, baseline)
    n, mean = len(d), d.mean(0)
    errors = np.sqrt(np.maximum(d.var(0, ddof=1), 0.25) / n)
    p = [
        Uncertainty(float(error), n - 1).p(float(m)) for m, error in zip(mean, errors, strict=True)
    ]
    changed = places[holm(np.array(p), len(p)) <= ALPHA]
    return np.stack(np.unravel_index(changed, level[0].shape), 1)


def _differences(
    level: Sequence[Counts], baseline: Sequence[Counts]
) -> tuple[NDArray[np.int64], Array]:
    """Return the flat places of cells that ever count `[K]`, and level minus baseline `[n, K]`."""
    rows = [csr_array(matrix.reshape(1, -1)) for matrix in (*level, *baseline)]
    counts = vstack(rows, format="csr", dtype=np.float64)
    places = np.unique(counts.indices)
    used = counts[:, places].toarray()
    return places, used[: len(level)] - used[len(level) :]


def errors_by_count(matrix: csr_array) -> NDArray[np.int64]:
    """Return the cells off the diagonal, the largest first: (true, predicted) each, `[K, 2]`."""
    cells = matrix.tocoo()
    wrong = (cells.row != cells.col) & (cells.data != 0)
    places: NDArray[np.int64] = np.stack([cells.row, cells.col], 1)[wrong]
    return places[np.argsort(-np.abs(cells.data[wrong]), kind="stable")]


def most_confused(matrix: csr_array) -> list[int]:
    """Return the classes to show: all, or of many those of the most frequent errors, in order."""
    found = dict.fromkeys([*errors_by_count(matrix).ravel().tolist(), *range(matrix.shape[0])])
    return sorted([*found][:MOST_SHOWN])


def between(matrix: csr_array, classes: Sequence[int]) -> Array:
    """Return the counts between some of the classes: `[k, k]`."""
    return matrix[classes][:, classes].toarray()


def rows_of_classes(f1: Sequence[float]) -> list[int]:
    """Return the classes that have a row in a table: all, or of many those of the lowest F1."""
    if len(f1) <= MOST_ROWS:
        return [*range(len(f1))]
    return np.argsort(f1, kind="stable")[:MOST_ROWS].tolist()
