"""Effects: each setting's difference to the baseline with its interval, grouped by axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from paribus.sweeps.plots.figure import Panel
from paribus.sweeps.plots.style import FAINT, GRID, INK, PAPER, VERDICTS, number_axis, short

MOST_EFFECTS = 60
_ROW = 0.19  # inches, of a setting or an axis' name
_AROUND = 0.75  # inches, above and below the rows
_TEXT = 8.5  # points: this panel has to be read on a phone too
_FAR = 4.0  # times the usual reach of intervals: what lies beyond would crush the rest
_NO_VERDICT = {"color": FAINT, "marker": "."}


@dataclass(frozen=True)
class Effect:
    """A setting against the baseline.

    Attributes:
        axis: The hyperparameter, under whose name it stands.
        level: Its level, as it is typed.
        mean: Level minus baseline, in the metric's units.
        interval: Of `mean`; None with one seed.
        verdict: Gives shape and colour; None without one.
        look: The setting's colour and dashes in other plots, as matplotlib's keywords.
        said: Stands at the right.
    """

    axis: str
    level: str
    mean: float
    interval: tuple[float, float] | None
    verdict: str | None
    look: Mapping[str, Any]
    said: str

    @property
    def reach(self) -> float:
        """The far end of its interval from 0."""
        return max(abs(end) for end in self.interval or (self.mean, self.mean))


def effects_panel(
    name: str,
    title: str,
    effects: Sequence[Effect],
    margin: float | None,
    baselines: Mapping[str, str],
) -> Panel:
    """Differences with their intervals, and the margin as a band around 0.

    What lies far outside is drawn as an arrow at the edge; its number stands beside it.

    Args:
        name: The panel's.
        title: Stands above it.
        effects: At least one, those of an axis together.
        margin: Differences smaller than this do not matter; None: no band.
        baselines: For each axis the baseline's level.
    """
    rows: list[str | Effect] = []
    for effect in effects:
        if effect.axis not in rows:
            rows.append(effect.axis)
        rows.append(effect)

    def draw(axes: Axes) -> None:
        limit = _limit(effects, margin)
        axes.set(xlim=(-limit, limit), ylim=(len(rows) - 0.4, -0.6))
        number_axis(axes.xaxis)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("setting minus baseline")
        if margin is not None:
            axes.axvspan(-margin, margin, color=GRID, linewidth=0)
            for edge in (-margin, margin):
                axes.axvline(edge, color=FAINT, linewidth=0.5, linestyle=":")
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for place, row in enumerate(rows):
            if isinstance(row, str):
                _draw_axis_name(axes, place, row, baselines[row])
            else:
                _draw_effect(axes, place, row, limit)
        settings = [(place, row) for place, row in enumerate(rows) if isinstance(row, Effect)]
        axes.set_yticks(
            [place for place, _ in settings], [short(effect.level, 17) for _, effect in settings]
        )
        axes.tick_params(axis="y", length=0, pad=22, labelcolor=INK, labelsize=_TEXT)

    return Panel(name, title, draw, width=3, height=_AROUND + _ROW * len(rows))


def _limit(effects: Sequence[Effect], margin: float | None) -> float:
    """The edge of the plot: most effects, and all that are not far outside."""
    reaches = np.array([effect.reach for effect in effects])
    usual = max(float(np.median(reaches)), 2 * (margin or 0.0))
    near = reaches[reaches <= _FAR * usual]
    return 1.05 * max(float(near.max()) if len(near) else usual, usual) or 1.0


def _draw_axis_name(axes: Axes, place: int, name: str, baseline: str) -> None:
    """Above its settings, on paper of its own: it crosses the line at 0."""
    text = axes.annotate(
        short(name, 26), (0, place), xycoords=("axes fraction", "data"), xytext=(-14, 0),
        textcoords="offset points", va="center", fontsize=_TEXT, fontweight="bold",
        bbox={"facecolor": PAPER, "linewidth": 0, "pad": 1},
    )  # fmt: skip
    axes.annotate(
        f"baseline {short(baseline, 18)}", (1, 0.5), xycoords=text, xytext=(5, 0),
        textcoords="offset points", va="center", fontsize=_TEXT, color=FAINT,
        bbox={"facecolor": PAPER, "linewidth": 0, "pad": 1},
    )  # fmt: skip


def _draw_effect(axes: Axes, place: int, effect: Effect, limit: float) -> None:
    look = VERDICTS.get(effect.verdict or "", _NO_VERDICT)
    colour = look["color"]
    low, high = effect.interval or (effect.mean, effect.mean)
    ends = np.clip([low, high], -0.97 * limit, 0.97 * limit)
    axes.plot(ends, (place, place), color=colour, linewidth=1.4)
    beyond = {-limit: min(low, effect.mean) < -limit, limit: max(high, effect.mean) > limit}
    for edge, goes_on in beyond.items():
        if goes_on:
            axes.annotate(
                "", (edge, place), xytext=(0.85 * edge, place),
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4},
            )  # fmt: skip
    if abs(effect.mean) <= limit:
        axes.plot(effect.mean, place, markersize=5.5, linestyle="", zorder=3, **look)
    _beside(axes, place, effect.said)
    # The sample of its line in the other plots: the key to them all.
    at = ("axes points", "data")
    axes.annotate(
        "", (-6, place), xycoords=at, xytext=(-18, place), textcoords=at, annotation_clip=False,
        arrowprops={"arrowstyle": "-", "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0, **effect.look},
    )  # fmt: skip


def _beside(axes: Axes, place: int, text: str) -> None:
    axes.annotate(
        text, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", fontsize=_TEXT, color=INK,
    )  # fmt: skip
