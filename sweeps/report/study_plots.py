"""The plots of a study: effects, responses to each axis, learning curves, confusion matrices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, many, shown
from paribus.core.records.record import RunRecord
from paribus.sweeps.analysis.compare import Comparison, SettingComparison, compare_and_lint
from paribus.sweeps.analysis.judge import has_other_units
from paribus.sweeps.analysis.verdict_text import (
    in_order,
    interval_heading,
    interval_text,
    p_heading,
    p_text,
    verdict_text,
    where,
)
from paribus.sweeps.formatting import number, signed
from paribus.sweeps.report.figure import (
    BASELINE_COLOUR,
    FAINT,
    Panel,
    Picture,
    Plot,
    Table,
    explained,
    line_look,
    short,
)
from paribus.sweeps.report.plots import (
    MOST_EFFECTS,
    Curve,
    Level,
    Values,
    curves_panel,
    curves_plot,
    effects_panel,
    mean_and_band,
    response_panel,
)
from paribus.sweeps.report.prediction_plots import (
    change_panel,
    confusion_panel,
    matrix_table,
    of_classes,
)
from paribus.sweeps.stats.confusion import between, errors_by_count, most_confused, surely_changed
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import AxisRecord, Study

_MOST_BEHIND = 60  # settings drawn faint
_BEHIND = {"color": FAINT, "linestyle": "-", "alpha": 0.35}


class StudyView:
    """A study as its plots and its page show it: its comparison, and what its runs recorded.

    Attributes:
        results: What happened with each setting, in the study's order; `by_label` the same.
        looks: Label to colour and dashes in every plot: by the place on its axis, so that the
            settings of a study that grows keep theirs.
    """

    def __init__(self, study: Study) -> None:
        self.study, self.results = study, study.results()
        self.by_label = {result.label: result for result in self.results}
        self.looks: dict[str, dict[str, Any]] = {}
        places: Counter[str] = Counter()
        for label, result in self.by_label.items():
            key = result.setting.key or ""
            self.looks[label] = line_look(places[key])
            places[key] += 1
        self.looks[BASELINE] = {"color": BASELINE_COLOUR, "linestyle": "-"}
        self._curves = cache(self._read_curves)  # there may be thousands of histories

    @cached_property
    def comparison(self) -> Comparison:
        """The study compared, with the linter's warnings."""
        return compare_and_lint(self.study)

    @property
    def metric(self) -> str:
        """The selection metric with its unit and direction."""
        return explained(self.study.metric, self.study.direction)

    @cached_property
    def chosen(self) -> SettingComparison | None:
        """The setting shown beside the baseline: the best of those that are better, else the best.

        None where no level is complete.
        """
        sign = self.comparison.metric.sign
        return max(self.comparison.chosen, key=lambda s: sign * (s.delta or 0.0), default=None)

    def seconds(self, label: str) -> float | None:
        """Return the mean time of training of a setting's complete runs."""
        found = [self.record(label, seed).seconds for seed in self.by_label[label].seeds]
        return sum(found) / len(found) if found else None

    def seeds(self) -> str:
        """Return ``5 seeds``, or ``3 to 5 seeds``, of the settings that have any."""
        counts = sorted({len(result.seeds) for result in self.results if result.seeds} or {0})
        most = many(counts[-1], "seed")
        return most if len(counts) == 1 else f"{counts[0]} to {most}"

    def levels(self, axis: AxisRecord) -> dict[str, Level]:
        """Return the baseline's level and those of an axis that have a value, by label."""
        return {
            result.label: Level(
                axis.baseline if key is None else result.setting.level,
                dict(zip(result.seeds, result.values, strict=True)),
                self.looks[result.label],
                key is None,
            )
            for result in self.results
            if result.values and (key := result.setting.key) in (None, axis.key)
        }

    def curves(self, label: str, metric: str) -> list[Values]:
        """Return a metric in each epoch `[E]`, for each complete seed; NaN where undefined."""
        return self._curves(label)[metric]

    def _read_curves(self, label: str) -> dict[str, list[Values]]:
        result, selected = self.by_label[label], self.study.metric
        names = ("val/loss", "train/loss", selected, _training(selected))
        histories = [self.study.root.run(result.setting.runs[seed]).history()
                     for seed in result.seeds]  # fmt: skip
        return {
            name: [
                np.array([epoch.metrics.get(name) for epoch in history], dtype=np.float64)
                for history in histories
            ]
            for name in names
        }

    def record(self, label: str, seed: int) -> RunRecord:
        """Return the record of a setting's complete run."""
        record = self.study.outcomes.record(self.by_label[label].setting.runs[seed])
        assert record is not None  # a value of it is in the result
        return record


def _training(metric: str) -> str:
    """Return a metric of validation on the training part; any other as it is."""
    return metric.replace("val/", "train/", 1)


def study_picture(view: StudyView) -> Picture:
    """Return for each axis the learning curves of its settings, and the response to its levels.

    Raises:
        RequestError: If no run is complete.
    """
    study = view.study
    if not any(result.values for result in view.results):
        raise RequestError(
            f"The study {study.name} has no complete run to draw.",
            "Run its sweep again, which continues it.",
        )
    panels: list[Panel] = []
    for axis in study.requested.axes:
        key, levels, metric = axis.key, view.levels(axis), short(study.metric, 16)
        curves = [
            mean_and_band(
                f"{short(level.text, 11)} (baseline)" if level.baseline else level.text,
                level.look,
                view.curves(label, study.metric),
            )
            for label, level in levels.items()
        ]
        if levels:
            title = f"{short(key, 22)}: {metric}"
            panels += [
                curves_panel(f"curves: {key}", title, curves),
                response_panel(f"best {metric}", key, [*levels.values()], log=axis.log),
            ]
    caption = [
        f"{shown(study.experiment)}, {view.seeds()} each; {view.metric}.",
        "Left: mean over seeds, band from lowest to highest, as far as the shortest goes.",
        "Right: each seed's best epoch; stroke: mean; dotted: the baseline's mean.",
    ]
    left_out = [f"{r.label} ({r.status})" for r in view.results if not r.values]
    if left_out:
        caption.append(f"Left out: {shown(', '.join(left_out), 300)}.")
    return Picture(f"study {study.name}", " ".join(caption), panels)


# Effects.


def effects_plot(
    comparison: Comparison, looks: Mapping[str, Mapping[str, Any]], seeds: str
) -> Plot | None:
    """Return every setting's difference to the baseline; None where there is none yet.

    `looks` are as of `effects_panel`; `seeds` says how many each setting has: ``5 seeds``.
    """
    metric = comparison.metric
    settings = [setting for setting in in_order(comparison) if setting.label != BASELINE]
    effects = [setting for setting in settings if setting.delta is not None]
    if not effects:
        return None
    drawn = effects
    if len(effects) > MOST_EFFECTS:  # the first of each axis, and its last, which is the worst
        axes = [list(own) for _, own in groupby(effects, key=lambda setting: setting.key)]
        each = max(2, MOST_EFFECTS // len(axes))
        drawn = [
            s for own in axes for s in (own if len(own) <= each else [*own[: each - 1], own[-1]])
        ]
    texts = {s.label: f"{signed(s.delta)}  {verdict_text(comparison, s)}" for s in drawn}
    panel = effects_panel(metric.name, drawn, comparison.margin, looks, texts)
    quantity = explained(metric.name, metric.direction)
    caption = [f"Setting minus baseline in {quantity}, {seeds}, {where(comparison)}."]
    if any(setting.interval for setting in settings):
        caption.append(f"Lines: {interval_heading(comparison)}s; 90 % where equivalent.")
    if comparison.margin is not None:
        caption.append(f"Band: the margin of {number(comparison.margin)}.")
    caption.append("Arrow: continues beyond the edge.")
    if len(drawn) < len(effects):
        caption.append(f"{len(effects) - len(drawn)} more settings are in the table below.")
    counts = Counter(s.grade or s.verdict or "without a verdict" for s in effects)
    first = max(effects, key=lambda setting: abs(setting.delta or 0.0))
    alt = (
        f"Differences of {many(len(effects), 'setting')} to the baseline with their intervals: "
        f"{', '.join(f'{count} {verdict}' for verdict, count in counts.items())}. "
        f"The largest: {first.label}, {signed(first.delta)}."
    )
    cells = [
        [
            setting.label,
            signed(setting.delta),
            interval_text(setting.interval),
            p_text(setting),
            verdict_text(comparison, setting),
        ]
        for setting in settings
    ]
    head = ["setting", "difference", interval_heading(comparison), p_heading(comparison), "verdict"]
    return Plot(panel, alt, " ".join(caption), Table(head, cells))


# Responses.


def response_plot(view: StudyView, axis: AxisRecord) -> Plot | None:
    """Return the levels of an axis against the metric; None where only the baseline has values."""
    key, metric, levels = axis.key, view.study.metric, [*view.levels(axis).values()]
    if all(level.baseline for level in levels):
        return None
    names = [f"{level.text} (baseline)" if level.baseline else level.text for level in levels]
    means = [number(level.mean) for level in levels]
    pairs = ", ".join(f"{name} {mean}" for name, mean in zip(names, means, strict=True))
    seeds = sorted({seed for level in levels for seed in level.seeds})
    rows = [
        [name, mean, *[number(level.seeds.get(seed)) for seed in seeds]]
        for name, mean, level in zip(names, means, levels, strict=True)
    ]
    return Plot(
        response_panel(f"{short(key, 30)}: {metric}", key, levels, log=axis.log),
        f"Mean {metric} at each level of {key}: {pairs}.",
        f"Each seed's best epoch by {view.metric}, {view.seeds()}; stroke: mean; dotted: the "
        "baseline's mean.",
        Table(["level", "mean", *[f"seed {seed}" for seed in seeds]], rows),
    )


# Learning curves of the baseline and the chosen setting, in front of all others.


def learning_plots(view: StudyView) -> list[Plot]:
    """Return loss and selection metric over epochs, as far as they were recorded."""
    found = []
    for metric in dict.fromkeys(("val/loss", view.study.metric)):
        labels = [
            label
            for label in (BASELINE, *([view.chosen.label] if view.chosen else []))
            if label in view.by_label and not has_other_units(view.by_label[label].setting, metric)
        ]
        front = [curve for label in labels for curve in _front(view, label, metric)]
        if not front:
            continue
        others = (
            Curve("", curve.values, _BEHIND, is_behind=True)
            for label, result in view.by_label.items()
            if label not in labels and not has_other_units(result.setting, metric)
            for curve in _of_part(view, label, metric, "")
        )
        behind = list(islice(others, _MOST_BEHIND))  # no history is read beyond these
        panel = curves_panel(f"learning: {metric}", metric.removeprefix("val/"), [*behind, *front])
        is_selected = metric == view.study.metric
        what = view.metric if is_selected else explained(metric, "minimize")
        caption = f"{what}, mean and band from lowest to highest over {view.seeds()}."
        if any(curve.look["linestyle"] == "--" for curve in front):
            caption += " Dashed: training, mean over the epoch's updates; solid: validation, after "
            caption += "the epoch."
        if behind:
            caption += " Faint: the other settings."
        found.append(curves_plot(panel, metric, front, caption))
    return found


def _front(view: StudyView, label: str, metric: str) -> list[Curve]:
    """Return validation, and training where it was recorded."""
    setting = view.by_label[label].setting
    name = label
    if setting.key is not None:
        name = f"{setting.key.rpartition('.')[2]}={short(show_value(setting.level), 10)}"
    if not metric.startswith("val/"):  # a function's metric may be of no part
        return _of_part(view, label, metric, name)
    return [
        *_of_part(view, label, metric, f"{name} val"),
        *_of_part(view, label, _training(metric), f"{name} train", "--"),
    ]


def _of_part(view: StudyView, label: str, metric: str, name: str, dashes: str = "-") -> list[Curve]:
    """Return the curve of a metric; none where it was never recorded."""
    seeds = [values for values in view.curves(label, metric) if len(values)]
    if not any(np.isfinite(values).any() for values in seeds):
        return []
    look = {"color": view.looks[label]["color"], "linestyle": dashes}
    return [mean_and_band(name, look, seeds)]


# Confusion matrices of the baseline, of the chosen setting, and their difference.


def matrix_plots(view: StudyView) -> list[Plot]:
    """Return means over the seeds that both have; nothing without a matrix of one label."""
    labels = [BASELINE, *([view.chosen.label] if view.chosen else [])]
    if BASELINE not in view.by_label:
        return []
    seeds = sorted(set.intersection(*({*view.by_label[label].seeds} for label in labels)))
    matrices = {label: found for label in labels if (found := _matrices(view, label, seeds))}
    if BASELINE not in matrices:
        return []
    first, shape = view.record(BASELINE, seeds[0]), matrices[BASELINE][0].shape
    names = [shown(name) for name in first.class_names or range(shape[0])]
    folds = len({view.record(BASELINE, seed).fold for seed in seeds})
    over = f"mean over {many(len(seeds), 'seed')}"
    if folds > 1:  # each has its own examples
        over = f"sum over the {folds} folds of {many(len(seeds), 'seed')}"
    totals = {
        label: sum(found[1:], found[0]) * (folds / len(seeds))
        for label, found in matrices.items()
        if found[0].shape == shape
    }
    kept = most_confused(sum(totals.values(), csr_array(shape)))  # the same in all of them
    plots = [_matrix(label, total, names, kept, over) for label, total in totals.items()]
    if len(totals) == 2 and len(seeds) > 1:
        base, level = (matrices[label] for label in totals)
        change = totals[labels[1]] - totals[BASELINE]
        plots.append(_change(labels[1], change, surely_changed(level, base), names, kept, over))
    return plots


def _matrices(view: StudyView, label: str, seeds: Sequence[int]) -> list[csr_array] | None:
    """Return a matrix of counts `[C, C]` for each seed; None where there is none."""
    found = [view.record(label, seed).confusion for seed in seeds]
    matrices = [matrix for matrix in found if isinstance(matrix, csr_array)]
    return matrices if len(matrices) == len(found) else None


def _matrix(
    label: str, total: csr_array, names: Sequence[str], kept: Sequence[int], over: str
) -> Plot:
    right = float(total.trace() / max(total.sum(), 1))
    most = "There is no error."
    for true, predicted in errors_by_count(total)[:1].tolist():
        most = f"Most frequent error: {names[true]} predicted as {names[predicted]} "
        most += f"({total[true, predicted]:.3g})."
    drawn, drawn_names = between(total, kept), [names[code] for code in kept]
    return Plot(
        confusion_panel(f"confusion: {label}", short(label, 34), drawn, drawn_names, half=True),
        f"Confusion matrix of {label}: {100 * right:.1f} % on the diagonal. {most}",
        f"Counts{of_classes(kept, names)} of the best epoch on {round(total.sum())} validation "
        f"examples, {over}; empty: 0; shade: share of the row.",
        matrix_table(total, names, lambda count, _share: f"{count:.4g}"),
    )


def _change(
    label: str,
    change: csr_array,
    changed: NDArray[np.int64],
    names: Sequence[str],
    kept: Sequence[int],
    over: str,
) -> Plot:
    significant = many(len(changed), "cell") if len(changed) else "none"
    places = [f"{names[t]} → {names[p]} {change[t, p]:+.1f}" for t, p in changed[:8].tolist()]
    framed = csr_array((np.ones(len(changed), dtype=bool), tuple(changed.T)), change.shape)
    drawn, drawn_names = between(change, kept), [names[code] for code in kept]
    title = f"{short(label, 22)} minus baseline"
    return Plot(
        change_panel("confusion: change", title, drawn, between(framed, kept), drawn_names),
        f"Change of the confusion matrix; significant: {', '.join([significant, *places])}.",
        f"Difference of counts, {over}. Framed: significant over seeds (p adjusted for all cells, "
        f"Holm): {significant}.",
        matrix_table(change, names, lambda count, _share: f"{count:+.3g}"),
    )
