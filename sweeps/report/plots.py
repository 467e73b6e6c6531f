"""Curves over epochs, effects of settings with their intervals, and responses to an axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, SymmetricalLogLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from paribus.core.config.values import show_value
from paribus.sweeps.analysis.compare import SettingComparison
from paribus.sweeps.formatting import number
from paribus.sweeps.report.figure import (
    BASELINE_COLOUR,
    FAINT,
    GRID,
    INK,
    PAPER,
    SMALL,
    TRAIN,
    VAL,
    VERDICTS,
    Panel,
    Plot,
    Table,
    number_axis,
    short,
    spans,
)

Values = NDArray[np.float64]
_LABEL = 0.15  # inches, from one label to the next
_TOP = 0.95  # of the panel: a higher label would touch the title
_MANY = 60  # epochs: with more, a wide line that oscillates would fill an area
_MOST_ROWS = 100  # epochs in a table


@dataclass(frozen=True, eq=False)
class Curve:
    """One line over epochs.

    Attributes:
        values: One per epoch: `[E]`; NaN where there is none.
        look: Colour and dashes, as matplotlib's keywords.
        low, high: Edges of its band: `[E]`; None without a band.
        is_behind: Drawn without a label; the limits ignore it.
    """

    label: str
    values: Values
    look: Mapping[str, Any]
    low: Values | None = None
    high: Values | None = None
    is_behind: bool = False


def curves_panel(
    name: str, title: str, curves: Sequence[Curve], *, best_epoch: int | None = None
) -> Panel:
    """Return curves on common axes, with the best epoch dotted.

    Values over two decades make the vertical axis logarithmic.
    """
    front = [curve for curve in curves if not curve.is_behind]
    height = max(2.0, 0.8 + _LABEL * len(front))

    def draw(axes: Axes) -> None:
        edges = [e for c in front for e in (c.values, c.low, c.high) if e is not None]
        if spans(np.concatenate(edges), 100):
            axes.set_yscale("log")
        number_axis(axes.yaxis)
        number_axis(axes.xaxis, whole=True)
        if max(len(curve.values) for curve in front) == 1:
            axes.set_xticks([1])
        axes.grid(axis="y")
        if best_epoch is not None:
            axes.axvline(best_epoch, color=FAINT, linewidth=0.8, linestyle=":")
        for curve in front:
            _draw_curve(axes, curve)
        axes.autoscale_view()
        axes.autoscale(enable=False)
        for curve in curves:
            if curve.is_behind:
                _draw_curve(axes, curve)
        axes.set_xlabel("epoch")
        _label_ends(axes, front, height)

    return Panel(name, title, draw, height=height)


def curves_plot(panel: Panel, quantity: str, curves: Sequence[Curve], caption: str) -> Plot:
    """Describe a panel of curves of a quantity: where each begins and ends, values by epoch."""
    ends = [
        f"{curve.label} from {number(float(curve.values[0]))} to {number(float(curve.values[-1]))}"
        for curve in curves
        if len(curve.values)
    ]
    epochs = max(len(curve.values) for curve in curves)
    rows = [
        [
            str(epoch + 1),
            *[number(float(c.values[epoch])) if epoch < len(c.values) else "" for c in curves],
        ]
        for epoch in sorted({*range(0, epochs, -(-epochs // _MOST_ROWS)), epochs - 1})
    ]
    table = Table(["epoch", *[curve.label for curve in curves]], rows)
    return Plot(panel, f"{quantity} over epochs: {'; '.join(ends)}.", caption, table)


def train_and_val(train: Values | None, val: Values | None) -> list[Curve]:
    """Return the curves of a quantity of a run that were recorded."""
    named = (("train", train, TRAIN), ("val", val, VAL))
    return [Curve(name, v, {"color": colour}) for name, v, colour in named if v is not None]


def mean_and_band(
    label: str, look: Mapping[str, Any], seeds: Sequence[Sequence[float | None] | Values]
) -> Curve:
    """Return the mean over seeds, with the band from the lowest to the highest of them.

    All seeds are cut to the shortest: a mean over fewer of them would jump.
    """
    epochs = min(len(values) for values in seeds)
    table = np.array([values[:epochs] for values in seeds], dtype=np.float64)  # [S, E]; None is NaN
    if len(seeds) == 1:
        return Curve(label, table[0], look)
    return Curve(label, table.mean(0), look, table.min(0), table.max(0))


def _draw_curve(axes: Axes, curve: Curve) -> None:
    epochs = np.arange(1, len(curve.values) + 1)
    if curve.low is not None and curve.high is not None:
        colour = curve.look["color"]
        axes.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
    alone = np.isfinite(curve.values).sum() == 1  # one point makes no line
    width = 0.6 if curve.is_behind else 0.8 if len(epochs) > _MANY else 1.4
    axes.plot(
        epochs, curve.values, label=curve.label, marker="o" if alone else "", linewidth=width,
        zorder=1.5 if curve.is_behind else 2, **curve.look,
    )  # fmt: skip


def _label_ends(axes: Axes, curves: Sequence[Curve], height: float) -> None:
    """Write names at the right edge, each as near to its line's end as the others allow."""
    to_axes = axes.transScale + axes.transLimits
    ends = []
    for curve in curves:
        known = curve.values[np.isfinite(curve.values)]
        ends.append(float(to_axes.transform((1, known[-1]))[1]) if len(known) else 0.0)
    for curve, y in zip(curves, spread(ends, _LABEL / (height - 0.7)), strict=True):
        sample = Line2D([1.02, 1.07], [y, y], transform=axes.transAxes, clip_on=False, **curve.look)
        axes.add_artist(sample)
        name = short(curve.label)
        axes.text(1.09, y, name, transform=axes.transAxes, va="center", fontsize=SMALL, color=INK)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places apart, in their order, to at least `gap` between them, below the title."""
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    # Pushed up by those below, then down from the top by those above.
    moved = np.maximum.accumulate(np.asarray(places, dtype=np.float64)[order] - steps) + steps
    if len(moved) and moved[-1] > _TOP:
        moved = np.minimum(moved, _TOP - steps[::-1])
    found = np.empty(len(moved))
    found[order] = moved
    return [float(place) for place in found]


# Effects: every setting's difference to the baseline.


MOST_EFFECTS = 60
_ROW = 0.19  # inches, of a setting or an axis' name
_AROUND = 0.75  # inches, above and below the rows
_TEXT = 8.5  # points: this panel has to be readable on a phone
_FAR = 4.0  # times the median reach of intervals: beyond it is an outlier
_NO_VERDICT = {"color": FAINT, "marker": "."}


def effects_panel(
    metric: str,
    settings: Sequence[SettingComparison],
    margin: float | None,
    looks: Mapping[str, Mapping[str, Any]],
    texts: Mapping[str, str],
) -> Panel:
    """Return differences with their intervals, and the margin as a band around 0.

    An outlier is an arrow at the edge, with its number beside it: it does not set the scale. There
    is at least one setting, each with a difference, those of an axis together. By label, `looks`
    are its colour and dashes in other plots, as matplotlib's keywords, `texts` the text beside it.
    """
    by_axis = [list(own) for _, own in groupby(settings, key=lambda setting: setting.key)]
    rows = len(by_axis) + len(settings)

    def draw(axes: Axes) -> None:
        # All effects but outliers lie inside the edge.
        reaches = np.abs([_ends(setting)[1:] for setting in settings]).max(axis=1)
        usual = max(float(np.median(reaches)), 2 * (margin or 0.0))
        limit = 1.05 * max(usual, *reaches[reaches <= _FAR * usual]) or 1.0
        axes.set(xlim=(-limit, limit), ylim=(rows - 0.4, -0.6))
        number_axis(axes.xaxis)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("setting minus baseline")
        if margin is not None:
            axes.axvspan(-margin, margin, color=GRID, linewidth=0)
            for edge in (-margin, margin):
                axes.axvline(edge, color=FAINT, linewidth=0.5, linestyle=":")
        axes.axvline(0, color=FAINT, linewidth=0.8)
        levels: dict[int, str] = {}
        place = 0
        for own in by_axis:
            # Of another tool's results a label may name no hyperparameter.
            key, (baseline, _) = next(iter(own[0].changed.items()), ("setting", (None, "")))
            _draw_axis_name(axes, place, key, baseline)
            for setting in own:
                place, label = place + 1, setting.label
                _draw_effect(axes, place, setting, limit, looks[label], texts[label])
                levels[place] = short(label.removeprefix(f"{key}="), 17)
            place += 1
        axes.set_yticks(list(levels), list(levels.values()))
        axes.tick_params(axis="y", length=0, pad=22, labelcolor=INK, labelsize=_TEXT)

    title = f"{metric}: setting minus baseline"
    return Panel("effects", title, draw, width=3, height=_AROUND + _ROW * rows)


def _ends(setting: SettingComparison) -> tuple[float, float, float]:
    """Return the difference, and the ends of its interval: itself where there is none."""
    assert setting.delta is not None
    low, high = setting.interval or (setting.delta, setting.delta)
    return setting.delta, low, high


def _draw_axis_name(axes: Axes, place: int, name: str, baseline: Any) -> None:
    """Write it above its settings, on a background: it crosses the line at 0."""
    style: Any = {
        "textcoords": "offset points", "va": "center", "fontsize": _TEXT,
        "bbox": {"facecolor": PAPER, "linewidth": 0, "pad": 1},
    }  # fmt: skip
    text = axes.annotate(
        short(name, 26), (0, place), xycoords=("axes fraction", "data"), xytext=(-14, 0),
        fontweight="bold", **style,
    )  # fmt: skip
    if baseline is not None:
        axes.annotate(f"baseline {short(show_value(baseline), 18)}", (1, 0.5), xycoords=text,
                      xytext=(5, 0), color=FAINT, **style)  # fmt: skip


def _draw_effect(
    axes: Axes,
    place: int,
    setting: SettingComparison,
    limit: float,
    look: Mapping[str, Any],
    text: str,
) -> None:
    mark = VERDICTS.get(setting.grade or setting.verdict or "", _NO_VERDICT)
    colour, (mean, low, high) = mark["color"], _ends(setting)
    ends = np.clip([low, high], -0.97 * limit, 0.97 * limit)
    axes.plot(ends, (place, place), color=colour, linewidth=1.4)
    beyond = {-limit: min(low, mean) < -limit, limit: max(high, mean) > limit}
    for edge, continues in beyond.items():
        if continues:
            axes.annotate(
                "", (edge, place), xytext=(0.85 * edge, place),
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.4},
            )  # fmt: skip
    if abs(mean) <= limit:
        axes.plot(mean, place, markersize=5.5, linestyle="", zorder=3, **mark)
    axes.annotate(
        text, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", fontsize=_TEXT, color=INK,
    )  # fmt: skip
    # A sample of the setting's line: this plot is the legend of the others.
    at = ("axes points", "data")
    axes.annotate(
        "", (-6, place), xycoords=at, xytext=(-18, place), textcoords=at, annotation_clip=False,
        arrowprops={"arrowstyle": "-", "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0, **look},
    )  # fmt: skip


# The response to an axis: level against the best metric.


_MOST_MARKED = 12  # levels that are ticks of the axis
_LETTER = 0.035  # of the axis' width, that of a letter
_STROKE = 14  # typographic points: the width of a mean, and of all its seeds together


@dataclass(frozen=True)
class Level:
    """One level of an axis, with the best epoch's metric of each seed, and its colour."""

    value: Any
    seeds: Mapping[int, float]
    look: Mapping[str, Any]
    baseline: bool = False

    @property
    def text(self) -> str:
        """The level as it is typed."""
        return show_value(self.value)

    @property
    def mean(self) -> float:
        return sum(self.seeds.values()) / len(self.seeds)


def response_panel(title: str, key: str, levels: Sequence[Level], *, log: bool = False) -> Panel:
    """Return seeds as points side by side, their mean as a stroke; a line joins means of numbers.

    Levels have at least one seed, and are in the study's order; `log` if they are from a
    logarithmic range.
    """
    numeric = all(
        isinstance(level.value, int | float) and not isinstance(level.value, bool)
        for level in levels
    )

    def draw(axes: Axes) -> None:
        axes.grid(axis="y")
        number_axis(axes.yaxis)
        places = _draw_numbers(axes, levels, log) if numeric else _draw_words(axes, levels)
        for level, place in zip(levels, places, strict=True):
            values = list(level.seeds.values())
            last = len(values) - 1
            apart = min(4.0, _STROKE / max(1, last)) / 72  # side by side: equal ones show
            for nth, value in enumerate(values):
                to_side = apart * (nth - last / 2)
                shift = ScaledTranslation(to_side, 0, axes.figure.dpi_scale_trans)
                axes.plot(place, value, "o", color=level.look["color"], zorder=3,
                          markeredgewidth=0, transform=axes.transData + shift)  # fmt: skip
            axes.update_datalim([(place, value) for value in values])
            if level.baseline:
                axes.axhline(level.mean, color=BASELINE_COLOUR, linewidth=0.8, linestyle=":")
                axes.annotate("baseline", (1.03, level.mean), xycoords=("axes fraction", "data"),
                              va="center", fontsize=SMALL)  # fmt: skip
        axes.set_xlabel(short(key, 40))
        axes.autoscale_view()

    return Panel(f"response: {key}", title, draw)


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
    axes.update_datalim([(place, levels[0].mean) for place in places])
    if len(levels) <= _MOST_MARKED:
        _mark_levels(axes, levels, places)
    else:
        number_axis(axes.xaxis, dense=not spans(places, 100))
    order = np.argsort(places, kind="stable")
    axes.plot([places[i] for i in order], [levels[i].mean for i in order], "_-", color=FAINT,
              linewidth=0.8, markersize=_STROKE, markeredgewidth=1.4)  # fmt: skip
    return places


def _mark_levels(axes: Axes, levels: Sequence[Level], places: Sequence[float]) -> None:
    """Make the levels the ticks of the axis, the baseline's first, as far as there is room."""
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
    places = [float(place) for place in range(len(levels))]
    means = [level.mean for level in levels]
    axes.plot(places, means, "_", color=FAINT, markersize=_STROKE, markeredgewidth=1.4)
    texts = [short(level.text, 18) for level in levels]
    if len(texts) * max(map(len, texts)) > 28:
        axes.set_xticks(places, texts, rotation=25, rotation_mode="anchor", ha="right")
    else:
        axes.set_xticks(places, texts)
    axes.set_xlim(-0.6, len(levels) - 0.4)
    return places
