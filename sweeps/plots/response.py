"""The response to an axis: level against the best metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, SymmetricalLogLocator
from matplotlib.transforms import ScaledTranslation, Transform

from paribus.sweeps.plots.figure import Panel
from paribus.sweeps.plots.style import BASELINE, FAINT, SMALL, number_axis, short, spans

_MOST_MARKED = 12  # levels that stand at the axis themselves
_LETTER = 0.035  # of the axis' width, that of a letter
_STROKE = 14  # typographic points, as are a mean's width and all its seeds together


@dataclass(frozen=True)
class Level:
    """One level of an axis.

    Attributes:
        text: As it is typed.
        value: A number, or anything else: then levels stand side by side.
        seeds: The best epoch's metric, one per seed.
        look: The setting's colour, as matplotlib's keywords.
        baseline: Whether this is the baseline's.
    """

    text: str
    value: Any
    seeds: Sequence[float]
    look: Mapping[str, Any]
    baseline: bool = False


def response_panel(
    name: str, title: str, key: str, levels: Sequence[Level], *, log: bool = False
) -> Panel:
    """Seeds as points side by side, their mean as a stroke; numbers' means are joined by a line.

    Args:
        name: The panel's.
        title: Stands above it.
        key: The axis, which stands below it.
        levels: Those with at least one seed, in the study's order.
        log: Whether the levels were asked for as a logarithmic range.
    """
    numeric = all(_is_number(level.value) for level in levels)

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        number_axis(axes.yaxis)
        places = _draw_numbers(axes, levels, log) if numeric else _draw_words(axes, levels)
        for level, place in zip(levels, places, strict=True):
            colour = level.look["color"]
            for seed, value in zip(_beside(axes, len(level.seeds)), level.seeds, strict=True):
                axes.plot(place, value, "o", color=colour, transform=seed, zorder=3,
                          markeredgewidth=0)  # fmt: skip
            axes.update_datalim([(place, value) for value in level.seeds])
            if level.baseline:
                mean = float(np.mean(level.seeds))
                axes.axhline(mean, color=BASELINE, linewidth=0.8, linestyle=":")
                axes.annotate("baseline", (1.03, mean), xycoords=("axes fraction", "data"),
                              va="center", fontsize=SMALL)  # fmt: skip
        axes.set_xlabel(short(key, 40))
        axes.autoscale_view()

    return Panel(name, title, draw)


def _draw_numbers(axes: Axes, levels: Sequence[Level], log: bool) -> list[float]:
    places = [float(level.value) for level in levels]
    positive = [place for place in places if place > 0]
    if spans(places, 1 if log else 8):
        axes.set_xscale("log")
    elif log and positive and min(places) == 0:  # 0 beside a logarithmic range
        least = min(positive)
        axes.set_xscale("symlog", linthresh=least)
        step = 100 if spans(positive, 1e4) else 10
        axes.xaxis.set_major_locator(SymmetricalLogLocator(base=step, linthresh=least))
    axes.margins(x=0.08)
    axes.update_datalim([(place, levels[0].seeds[0]) for place in places])
    if len(levels) <= _MOST_MARKED:
        _mark_levels(axes, levels, places)
    else:
        number_axis(axes.xaxis, dense=not spans(places, 100))
    order = np.argsort(places, kind="stable")
    means = [float(np.mean(levels[i].seeds)) for i in order]
    axes.plot([places[i] for i in order], means, "_-", color=FAINT, linewidth=0.8,
              markersize=_STROKE, markeredgewidth=1.4)  # fmt: skip
    return places


def _mark_levels(axes: Axes, levels: Sequence[Level], places: Sequence[float]) -> None:
    """The levels themselves stand at the axis, the baseline's first, as many as there is room."""
    axes.autoscale_view()
    to_axes = axes.transScale + axes.transLimits
    marked: list[tuple[float, float]] = []  # left and right end, in parts of the axis
    ticks: list[tuple[float, str]] = []
    for level, place in sorted(zip(levels, places, strict=True), key=lambda p: not p[0].baseline):
        x, text = float(to_axes.transform((place, 0))[0]), short(level.text, 10)
        half = (len(text) + 1) * _LETTER / 2
        if all(x + half < left or right < x - half for left, right in marked):
            marked.append((x - half, x + half))
            ticks.append((place, text))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])


def _draw_words(axes: Axes, levels: Sequence[Level]) -> list[float]:
    places = [float(number) for number in range(len(levels))]
    means = [float(np.mean(level.seeds)) for level in levels]
    axes.plot(places, means, "_", color=FAINT, markersize=_STROKE, markeredgewidth=1.4)
    texts = [short(level.text, 18) for level in levels]
    slanted = len(texts) * max(map(len, texts)) > 28
    axes.set_xticks(
        places,
        texts,
        rotation=25 if slanted else 0,
        rotation_mode="anchor" if slanted else None,
        ha="right" if slanted else "center",
    )
    axes.set_xlim(-0.6, len(levels) - 0.4)
    return places


def _beside(axes: Axes, seeds: int) -> list[Transform]:
    """Where the points of a level stand: a few typographic points apart, so that equals show."""
    figure = axes.get_figure(root=True)
    assert figure
    apart = min(4.0, _STROKE / max(1, seeds - 1)) / 72
    steps = (apart * (number - (seeds - 1) / 2) for number in range(seeds))
    return [axes.transData + ScaledTranslation(step, 0, figure.dpi_scale_trans) for step in steps]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
