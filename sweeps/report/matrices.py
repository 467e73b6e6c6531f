"""Confusion matrices of the baseline, of the chosen setting, and what changed, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.core.errors import shown
from paribus.sweeps.effects.cells import surely_changed
from paribus.sweeps.plots.confusion import change_panel, confusion_panel
from paribus.sweeps.plots.style import short
from paribus.sweeps.plots.words import many
from paribus.sweeps.report.graphic import Graphic, Numbers, graphic
from paribus.sweeps.report.view import View
from paribus.sweeps.settings import BASELINE

_MOST_CLASSES = 40  # of which the numbers stand in a table


def matrix_graphics(view: View) -> list[Graphic]:
    """Means over the seeds that both have; nothing where there is no matrix of one label."""
    if BASELINE not in view.by_label:
        return []
    seeds = set(view.by_label[BASELINE].seeds)
    if view.chosen is not None:
        seeds &= set(view.by_label[view.chosen].seeds)
    base = _matrices(view, BASELINE, sorted(seeds))
    if base is None:
        return []
    names = _names(view, sorted(seeds)[0])
    found = [_matrix("baseline", "baseline", base, names)]
    level = None if view.chosen is None else _matrices(view, view.chosen, sorted(seeds))
    if view.chosen is None or level is None or level.shape != base.shape:
        return found
    found.append(_matrix("chosen", view.chosen, level, names))
    if len(seeds) > 1:
        found.append(_change(view, level, base, names))
    return found


def _matrices(view: View, label: str, seeds: Sequence[int]) -> NDArray[np.float64] | None:
    """One matrix of counts for each seed: `[n, C, C]`; None where there is none of one label."""
    found = [view.record(label, seed)["best"]["confusion_matrix"] for seed in seeds]
    if not found or any(matrix is None for matrix in found):
        return None
    matrices = np.array(found, dtype=np.float64)
    return matrices if matrices.ndim == 3 else None


def _names(view: View, seed: int) -> list[str]:
    record = view.record(BASELINE, seed)
    classes = len(record["best"]["confusion_matrix"])
    names = record["data"]["preprocessing"]["class_names"] or range(classes)
    return [shown(name) for name in names]


def _matrix(place: str, label: str, matrices: NDArray[np.float64], names: Sequence[str]) -> Graphic:
    mean = matrices.mean(0)
    title = short(label, 34)
    panel = confusion_panel(f"confusion: {label}", title, mean, names, half=True)
    right = float(np.trace(mean) / max(mean.sum(), 1))
    caption = (
        f"Counts of the best epoch on the {round(mean.sum())} validation examples, mean over "
        f"{many(len(matrices), 'seed')}; empty where there are none; shade: share of the row."
    )
    alt = (
        f"Confusion matrix of {label}: {100 * right:.1f} % on the diagonal. {_errors(mean, names)}"
    )
    return graphic(panel, f"confusion-{place}", alt, caption, _numbers(mean, names, "{:.4g}"))


def _change(
    view: View, level: NDArray[np.float64], base: NDArray[np.float64], names: Sequence[str]
) -> Graphic:
    change, changed = (level - base).mean(0), surely_changed(level, base)
    title = f"{short(view.chosen, 22)} minus baseline"
    panel = change_panel("confusion: change", title, change, changed, names)
    cells = int(changed.sum())
    sure = f"{many(cells, 'cell')} surely changed" if cells else "no cell surely changed"
    caption = (
        f"Difference of counts, mean over {many(len(level), 'seed')}. Framed: cells that changed "
        f"by more than chance over seeds, held to all cells together ({sure})."
    )
    places = [f"{names[t]} → {names[p]} {change[t, p]:+.1f}" for t, p in np.argwhere(changed)[:8]]
    alt = (
        f"What changed in the confusion matrix: {sure}{': ' if places else ''}{', '.join(places)}."
    )
    return graphic(panel, "confusion-change", alt, caption, _numbers(change, names, "{:+.3g}"))


def _errors(mean: NDArray[np.float64], names: Sequence[str]) -> str:
    """The most frequent confusion, in words."""
    off = mean - np.diag(np.diag(mean))
    if not off.any():
        return "Nothing is confused."
    true, predicted = divmod(int(off.argmax()), len(off))
    count = off[true, predicted]
    return f"Most often confused: {names[true]} taken for {names[predicted]} ({count:.3g})."


def _numbers(matrix: NDArray[Any], names: Sequence[str], form: str) -> Numbers:
    if len(names) > _MOST_CLASSES:
        pairs = sorted(np.argwhere(matrix).tolist(), key=lambda at: -abs(matrix[tuple(at)]))[:100]
        rows = [[names[t], names[p], form.format(matrix[t, p])] for t, p in pairs]
        return Numbers(["true", "predicted", "the 100 largest"], rows)
    rows = [
        [name, *[form.format(x) if x else "0" for x in row]]
        for name, row in zip(names, matrix, strict=True)
    ]
    return Numbers(["true ╲ predicted", *names], rows)
