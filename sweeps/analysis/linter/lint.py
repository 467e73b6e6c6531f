"""The linter of method: rules that warn of how a study was made, and what they find in one."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paribus.core.config.schema import flatten
from paribus.core.config.values import show_value
from paribus.core.errors import many
from paribus.sweeps.analysis.judge import standard_of
from paribus.sweeps.analysis.linter.curve_rules import (
    different_curves,
    overfitting,
    still_improving,
)
from paribus.sweeps.analysis.linter.evidence import (
    LENGTH,
    NO_BASELINE,
    Evidence,
    Finding,
    Seen,
    asked,
    evidence_of,
    figure,
    levels,
    named,
    not_judged,
    read_time,
)
from paribus.sweeps.study.request import SEEDS
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import AxisRecord, Study

_TOO_MANY_FAILED = 1 / 5  # of the planned runs
# Keywords that make a model wider.
_WIDTHS = (
    *("hidden", "hidden_dim", "hidden_size", "hidden_units", "units", "width", "dim", "d_model"),
    *("channels", "filters", "num_filters", "embedding_dim", "embed_dim"),
)
_RATES = ("lr", "learning_rate")
_FACTORS = (0.3, 3.0)  # learning rates to try where the axis shifts the best one a little,
_WIDE_FACTORS = (0.1, 10.0, 100.0)  # and where each level has a scale of its own
_BELOW_ONE = ("dropout", "momentum", "label_smoothing")  # hyperparameters that stay below 1
_FACTOR = 2  # from this ratio of the last two on, levels are taken to be factors apart
_LARGEST_FACTOR, _LARGEST_WHOLE = math.sqrt(10), 4  # to go on by
# How many times as frequent as the rarest class the most frequent of two, or of more, may be.
_OF_TWO, _OF_MANY = 2.0, 3.0


def edge_of_axis(evidence: Evidence) -> list[Seen]:
    """Find a numeric axis whose best level is the first or the last of those tried.

    It must be better than the baseline's by more than the margin, and the hyperparameter has to be
    able to go further. Levels that failed count as tried.
    """
    axes = [
        axis
        for axis in evidence.requested.axes
        if axis.levels and all(map(_is_number, (axis.baseline, *axis.levels)))
    ]
    if axes and evidence.baseline is None:
        return not_judged(NO_BASELINE)
    seen = []
    for axis in axes:
        on_axis = [s for s in evidence.on(axis.key) if _is_number(s.setting.level)]
        tried = sorted({
            axis.baseline,
            *[s.setting.level for s in on_axis if s.values or evidence.failures(s)],
        })  # fmt: skip
        gains = {s.setting.level: gain for s in on_axis if (gain := evidence.gain(s)) is not None}
        best = max(gains, key=lambda level: gains[level], default=None)
        if best not in (tried[0], tried[-1]) or gains.get(best, 0.0) <= (evidence.margin or 0.0):
            continue
        if beyond := _beyond(axis, tried if best == tried[-1] else tried[::-1]):
            go_on = evidence.sweep([levels(axis.key, beyond)], "--study", evidence.requested.study)
            which = "highest" if best == tried[-1] else "lowest"
            seen.append(Seen(
                f"the best level of {axis.key}, {show_value(best)}, is the {which} one tried "
                f"({evidence.metric} better by {figure(gains[best])} than the baseline's "
                f"{show_value(axis.baseline)}). Go on: {go_on}",
                axis.key,
            ))  # fmt: skip
    return seen


def _beyond(axis: AxisRecord, tried: Sequence[Any]) -> list[Any]:
    """Return two levels further on than the last one, `tried` in the order that leads there.

    There are fewer where there is no more room.
    """
    whole = all(isinstance(level, int) for level in tried)
    floor = (1 if whole else 0) if min(tried) >= 0 else -math.inf
    before, last = tried[-2:]
    found: list[Any] = []
    for number in (1, 2):
        if axis.key.split(".")[-1] in _BELOW_ONE and before < tried[-1] < 1:
            new = 1 - (1 - tried[-1]) / 2**number
        elif min(tried) > 0 and (axis.log or max(before, tried[-1]) >= _FACTOR * min(tried[-2:])):
            most = _LARGEST_WHOLE if whole else _LARGEST_FACTOR
            new = tried[-1] * min(max(tried[-1] / before, 1 / most), most) ** number
        else:
            new = tried[-1] + number * (tried[-1] - before)
        new = max(round(new), floor) if whole else _rounded(new, last)
        if new == last or new < floor:
            break
        found.append(new)
        last = new
    return found


def _rounded(value: float, before: float) -> float:
    """Return the shortest number near a value that is still beyond the one before."""
    for digits in range(1, 6):
        short = float(f"{value:.{digits}g}")
        if (short > before) is (value > before) and short != before:
            return short
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def derived_quantity(evidence: Evidence) -> list[Seen]:
    """Find an axis along which the number of updates, or the engine, changed as well.

    Other derived quantities, such as the parameters of a wider model, are the axis itself.
    """
    seen = []
    for axis in evidence.requested.axes:
        derived = [one.setting.derived for one in evidence.on(axis.key)]
        for name, what, remedy in (
            ("updates", "number of updates", "keep it constant"),
            ("engine", "engine", "train all with the same one"),
        ):
            pairs = [each[name] for each in derived if name in each]
            pairs = [pair for pair in pairs if None not in pair and 0 not in pair]
            if not pairs or (name == "updates" and axis.key in LENGTH):
                continue
            before, after = pairs[0][0], dict.fromkeys(show_value(pair[1]) for pair in pairs)
            fixed = ("--set", f"train.updates={before}")
            options = fixed if name == "updates" else ("--engine", "loop")
            seen.append(Seen(
                f"{axis.key} changed the {what} too: {show_value(before)} → {named([*after])}. "
                f"To {remedy}: {evidence.sweep([asked(axis)], *options)}",
                axis.key,
            ))  # fmt: skip
    return seen


def not_tuned_again(evidence: Evidence) -> list[Seen]:
    """Find levels that lost with the baseline's learning rate where another may be best.

    A level that loses by more than the margin may only need another learning rate; one with a
    learning rate of its own is left out.
    """
    configuration = flatten(evidence.configuration).items()
    rates = [
        (key, value) for key, value in configuration
        if key.split(".")[-1] in _RATES and _is_number(value) and value > 0
    ]  # fmt: skip
    axes = [axis for axis in evidence.requested.axes if _shifts_rate(axis.key)]
    if not rates or not axes:
        return []
    if evidence.baseline is None:
        return not_judged(NO_BASELINE)
    seen, (rate, value) = [], rates[0]
    for axis in axes:
        lost: dict[str, float] = {}
        for one in evidence.on(axis.key):
            gain, level = evidence.gain(one), show_value(one.setting.level)
            has_own = rate in one.setting.derived or any(f"{name}=" in level for name in _RATES)
            if gain is not None and gain < -(evidence.margin or 0.0) and not has_own:
                lost[one.label] = gain
        if not lost:
            continue
        nearest = max(lost, key=lambda label: lost[label])
        factors = _WIDE_FACTORS if axis.key in ("optimizer", "model") else _FACTORS
        others = [float(f"{value * factor:.1g}") for factor in factors]
        tune = evidence.sweep([levels(rate, others)], "--set", nearest)
        seen.append(Seen(
            f"{named([*lost])} did worse than the baseline at its {rate} {show_value(value)}, "
            f"which usually has to be tuned again along {axis.key}. Tune it there: {tune}",
            axis.key,
        ))  # fmt: skip
    return seen


def _shifts_rate(key: str) -> bool:
    """Return whether another learning rate is usually best along an axis."""
    group, last = key.split(".")[0], key.split(".")[-1]
    is_wider = last in _WIDTHS and group in ("model", "script")
    return key in ("optimizer", "model") or last == "batch_size" or is_wider


def accuracy_alone(evidence: Evidence) -> list[Seen]:
    """Find that accuracy selects epochs and settings where the classes are unbalanced.

    The validation examples are counted by the baseline's confusion matrix; of several labels, yes
    and no over all of them.
    """
    if evidence.metric.split("/")[-1] != "accuracy":
        return []
    if evidence.baseline is None:
        return not_judged(NO_BASELINE)
    counts = evidence.supports(evidence.baseline)
    if counts is None or len(counts) < 2 or not counts.any():
        return not_judged("the runs do not say how many examples each class has")
    most, least = counts.max(), counts.min()
    if most <= (_OF_TWO if len(counts) == 2 else _OF_MANY) * least:
        return []
    again = evidence.sweep_again([None], "--set", "select.metric=val/f1")
    return [Seen(
        f"{evidence.metric} selects, and the classes are unbalanced: {most} validation examples "
        f"of the most frequent, {least} of the rarest. Always predicting the most frequent gives "
        f"{figure(most / counts.sum())}. Select by F1, as a study of its own: {again}"
    )]  # fmt: skip


def many_failures(evidence: Evidence) -> list[Seen]:
    """Find that more than a fifth of the planned runs failed, non-finite ones among them."""
    planned = sum(len(one.setting.runs) for one in evidence.results)
    failed = {one.label: reasons for one in evidence.results if (reasons := evidence.failures(one))}
    reasons = [reason for of_setting in failed.values() for reason in of_setting]
    if len(reasons) <= _TOO_MANY_FAILED * planned:
        return []
    not_finite = sum(reason.startswith("non-finite") for reason in reasons)
    which = "all" if not_finite == len(reasons) else not_finite
    kinds = f", {which} of them with non-finite numbers" if not_finite else ""
    where = [f"{label} ({len(reasons)})" for label, reasons in failed.items()]
    remedy = (
        f"Check the baseline: paribus check {evidence.start}"
        if BASELINE in failed
        else "Choose levels that can be trained, or repair what makes these fail"
    )
    return [Seen(f"{len(reasons)} of {many(planned, 'run')} failed{kinds}: {named(where)}. "
                 f"{remedy}")]  # fmt: skip


def one_seed(evidence: Evidence) -> list[Seen]:
    """Find settings of which no second seed is planned."""
    alone = [one for one in evidence.results if len(one.setting.runs) == 1]
    if not alone:
        return []
    if len(alone) == len(evidence.results):
        who = "every setting has"
    else:
        who = f"{named([s.label for s in alone])} {'have' if len(alone) > 1 else 'has'}"
    keys = [one.setting.key for one in alone]
    again = evidence.sweep_again(keys, "--seeds", str(SEEDS), "--study", evidence.requested.study)
    return [Seen(f"{who} one seed only. Add seeds: {again}")]


def same_seeds(evidence: Evidence) -> list[Seen]:
    """Find settings of which two seeds are one."""
    found = evidence.repeated
    labels = {why: [k for k, of in found.items() if of == why] for why in found.values()}
    return [
        Seen(
            f"{named(of)}: {why}. Take such a call out, or give it the run's seed",
            of[0] if len(of) == 1 else None,
        )
        for why, of in labels.items()
    ]


def reading_of_test(evidence: Evidence) -> list[Seen]:
    """Find that the test part was read more than once, or before the study ended.

    Readings of one setting beside the baseline, each seed once, are one reading: nothing was
    chosen by them. So is a line of ``readings.jsonl`` on a whole study.
    """
    of_run = {run: one.label for one in evidence.results for run in one.setting.runs.values()}
    of_run |= evidence.requested.finals
    lines = [
        line
        for line in evidence.readings
        if line.get("split") == "test"
        and (
            line.get("study") == evidence.requested.study
            or not of_run.keys().isdisjoint([line.get("run"), *line.get("runs", ())])
        )
    ]
    counts = Counter(line["run"] for line in lines if line.get("run") in of_run)
    by_setting: dict[str, int] = {}
    for run, count in counts.items():
        by_setting[of_run[run]] = max(by_setting.get(of_run[run], 0), count)
    baseline = by_setting.pop(BASELINE, 0)
    whole = sum("runs" in line or "run" not in line for line in lines)
    times, seen = whole + max(baseline, sum(by_setting.values())), []
    if times > 1:
        seen.append(Seen(
            f"the test part was read {times} times. Report the first reading, and choose by the "
            "validation part alone"
        ))  # fmt: skip
    at = [time for line in lines if (time := read_time(line.get("at")))]
    ends = [time for record in evidence.records.values() if (time := read_time(record.ended))]
    if at and ends and min(at) < max(ends):
        seen.append(Seen(
            f"the test part was read at {min(at).isoformat(sep=' ')}, and runs were trained until "
            f"{max(ends).isoformat(sep=' ')}. It does not test choices made in between: say "
            "so, or keep other data for that"
        ))  # fmt: skip
    if lines and not at:
        return seen + not_judged("the readings of the test part have no time")
    return seen


class Rule(NamedTuple):
    """A rule: its name, what it finds in a study, and why that matters."""

    name: str
    look: Callable[[Evidence], list[Seen]]
    reason: str


RULES = (
    Rule("edge-of-axis", edge_of_axis,
         "the best value may lie beyond the levels that were tried."),
    Rule("many-failures", many_failures,
         "the finished runs are a biased sample: those that fail would seldom have done well."),
    Rule("still-improving", still_improving,
         "the comparison is of how fast settings learn, and longer training may reverse it."),
    Rule("overfitting", overfitting,
         "from there on the model memorizes its training examples; a fair comparison needs each "
         "setting at its best."),
    Rule("one-seed", one_seed,
         "one seed cannot distinguish a difference from chance."),
    Rule("same-seeds", same_seeds,
         "runs that are equal say nothing of what another seed would give."),
    Rule("test-read", reading_of_test,
         "a test part that choices were made by no longer estimates performance on new data."),
    Rule("accuracy-alone", accuracy_alone,
         "a model that never predicts the rare class can still have a high accuracy."),
    Rule("different-curves", different_curves,
         "the best of many epochs is partly luck, more so on a noisy curve than on a smooth one."),
    Rule("derived-quantity", derived_quantity,
         "the verdict is on both changes together; which of them caused it is not known."),
    Rule("not-tuned-again", not_tuned_again,
         "a learning rate chosen for the baseline favours the baseline."),
)  # fmt: skip


def lint(evidence: Evidence) -> list[Finding]:
    """Return all that the rules find, in their order; also which rules cannot be judged."""
    return [
        Finding(rule.name, seen.about, seen.sentence, rule.reason, seen.judged)
        for rule in RULES
        for seen in rule.look(evidence)
    ]


def lint_study(
    study: Study, margin: float | None = None, options: Sequence[str] = ()
) -> list[Finding]:
    """Return what the rules find in a study; its margin, or the metric's own, if none is given.

    The `options`, such as ``--root DIR``, are for commands to paste.
    """
    results = study.results()
    if any(result.values for result in results if result.setting.key is None):
        margin = standard_of(study, results, study.metric, margin).margin
    return lint(evidence_of(study, results, margin, options))
