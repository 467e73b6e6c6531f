"""What a comparison means, in words: its answer, what is undecided, a sentence for each axis."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from paribus.core.config.values import show_value
from paribus.core.errors import first_few, shown
from paribus.sweeps.analysis.compare import Comparison, SettingComparison, best_setting
from paribus.sweeps.analysis.linter.evidence import Finding
from paribus.sweeps.formatting import cut_middle, listed, number, signed
from paribus.sweeps.study.settings import BASELINE

_SAME = 1e-12  # means this close differ by rounding only
_MOST_UNDECIDED = 6  # lines
_MOST_SEEDS = 20  # that are proposed where fewer would decide nothing
_LONGEST_NAME = 40  # columns, in a sentence
_FINE = 1e-6  # steps below are those of floating-point numbers
NOT_PROVEN = "sameness not proven: a script keeps its model, data and random draws to itself"
PROMISE = (
    "of the settings called better or worse, at most 1 in 20 is wrong on average; if nothing has "
    "an effect, 19 of 20 studies call nothing"
)
STRICT_PROMISE = "in 19 of 20 studies no setting is called better or worse by mistake"
GRADES = {  # by their first word
    "likely": "likely better or worse: with these, at most 1 in 5 is wrong on average",
    "no": "no better, no worse: not by the margin or more, by a one-sided 95 % bound",
}
QUESTIONS = {"new data": "on new data", "this part": "on this validation part"}
# In a line each, what the linter's rules warn of; those first that put a verdict most in doubt.
_WARNINGS = {
    "test-read": "the test part was read more than once, or before the study ended",
    "many-failures": "many of the runs failed",
    "same-seeds": "seeds of {about} give equal runs: seed with the run's seed, or not at all",
    "one-seed": "one seed only: a difference may be chance",
    "not-tuned-again": "levels of {about} lost at the baseline's learning rate; tune it for them",
    "edge-of-axis": "the best level of {about} is the highest or lowest tried; try more beyond it",
    "still-improving": "{about} still improved when training ended; train longer",
    "derived-quantity": "{about} changed more than itself (see derived)",
    "overfitting": "the validation loss of {about} rose again before the end",
    "accuracy-alone": "classes are unbalanced; accuracy favours the most frequent one",
    "different-curves": "the best epoch of {about} is chosen from a curve of another form",
}

Paste = Callable[[str, str, str], str]
Setting = SettingComparison


def in_order(comparison: Comparison) -> list[Setting]:
    """Return the baseline, then the settings by axis, the best of each first."""
    sign = comparison.metric.sign
    axes = list(dict.fromkeys(key for s in comparison.settings for key in s.changed))

    def place(setting: Setting) -> tuple[bool, int, float]:
        axis = next((axes.index(key) for key in setting.changed), len(axes))
        delta = -math.inf if setting.delta is None else sign * setting.delta
        return setting.label != BASELINE, axis, -delta

    return sorted(comparison.settings, key=place)


def where(comparison: Comparison) -> str:
    """Return which question the headline verdicts answer."""
    if not comparison.study:
        return "on the same data"
    return QUESTIONS[comparison.question or "this part"].replace("validation", _part(comparison))


def interval_text(interval: Sequence[float] | None) -> str:
    """Return ``-0.01 to +0.02``."""
    return "–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def interval_heading(comparison: Comparison) -> str:
    """Return ``97.8 % interval``; ``interval`` where looks differ in their confidence."""
    found = {_percent(s.confidence) for s in comparison.settings if _has_own_confidence(s)}
    return f"{found.pop()} interval" if len(found) == 1 else "interval"


def _has_own_confidence(setting: Setting) -> bool:
    """Return whether the interval has the study's confidence: an equivalent one has 90 %."""
    return setting.confidence is not None and setting.verdict != "equivalent"


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0.0):.3g} %"


def p_text(setting: Setting) -> str:
    """Return p; adjusted for all settings of the study where that decides (`--strict`)."""
    p = setting.p_holm if setting.threshold is None else setting.p
    return "–" if p is None else f"{p:.2g}"


def p_heading(comparison: Comparison) -> str:
    """Return how p is called in a table."""
    return "p (Holm)" if comparison.strict else "p"


def value_text(setting: Setting) -> str:
    """Return mean ± standard deviation over seeds, or why there is none."""
    if setting.mean is None:
        return "failed" if setting.status == "failed" else "not finished"
    spread = "" if setting.std is None else f" ± {number(setting.std)}"
    return number(setting.mean) + spread


def verdict_text(comparison: Comparison, setting: Setting) -> str:
    """Return the verdict, or what is likely, or excluded, of an undecided setting.

    *(here)* is added where it is on this validation part, and others are on new data.
    """
    verdict: str = setting.grade or setting.verdict or "–"
    if setting.verdict and comparison.question == "new data" != setting.question:
        verdict += " (here)"
    return verdict


def seeds_text(setting: Setting, all_seeds: int) -> str:
    """Return how many seeds a setting has, and how many of them decided."""
    count, look = len(setting.seeds), setting.look
    if setting.status == "pruned":
        return f"pruned after {count} of {all_seeds}"
    return f"{look} of {count}" if look and look < count else str(count)


def derived_text(derived: Mapping[str, Sequence[Any]], limit: int = 3) -> str:
    """Return what else changed; keywords that came or went without effect are counted only."""
    names = {key: key.rsplit(".", 1)[-1] for key in derived}
    texts = [
        f"{names[key]} {show_value(a)} → {show_value(b)}"
        for key, (a, b) in derived.items()
        if a is not None and b is not None
    ]
    new = [f"{names[key]} {show_value(b)}" for key, (a, b) in derived.items() if a is None]
    gone = [names[key] for key, (_, b) in derived.items() if b is None]
    for word, found in (("new", new), ("dropped", gone)):
        texts += [f"{word}: {first_few(found, limit)}"] if found else []
    return "; ".join(texts)


def paper_table(comparison: Comparison) -> list[list[str]]:
    """Return a table to publish: the headings, then the cells of each setting."""
    metric = comparison.metric.name
    head = ["setting", "seeds", f"{metric}, mean ± sd", "difference", interval_heading(comparison)]
    rows = [[*head, p_heading(comparison), "verdict"]]
    for s in in_order(comparison):
        spread = "" if s.std is None else f" ± {number(s.std)}"
        cells = [s.label, str(len(s.seeds)), f"{number(s.mean)}{spread}"]
        cells += [signed(s.delta), interval_text(s.interval), p_text(s), s.verdict or "–"]
        rows.append(cells)
    return rows


def answer(comparison: Comparison) -> str:
    """Return the answer of a study in one sentence."""
    base, *_ = settings = in_order(comparison)
    if base.label != BASELINE or not base.values:
        return f"No answer: {_no_baseline(base)}."
    others = settings[1:]
    judged = [s for s in others if s.verdict]
    best = best_setting(others, comparison.metric.direction)
    if not judged:
        why = next((s.no_verdict for s in others if s.no_verdict), "no setting has finished")
        one_seed = max((len(s.seeds) for s in settings), default=0) < 2
        why = "one seed may be chance; --seeds 5 gives verdicts" if one_seed else why
        nearest = f"; best mean: {_shortened(best.label)} ({signed(best.delta)})" if best else ""
        return f"No verdict: {why}{nearest}."
    if len(others) == 1:
        verdict = judged[0].verdict
        is_so = f"{verdict} than" if verdict in ("better", "worse") else f"{verdict} to"
        if verdict == "undecided":
            grade = judged[0].grade
            is_so = f"undecided: {grade} than" if grade else "not shown to differ from"
        effect = f"{signed(judged[0].delta)}, {interval_text(judged[0].interval)}"
        return f"{_shortened(judged[0].label)} is {is_so} the baseline ({effect})."
    counts = _counts(others)
    better = [s for s in judged if s.verdict == "better"]
    if not better:
        return f"No setting is shown to be better than the baseline; {counts}."
    better.sort(key=lambda s: -comparison.metric.sign * (s.delta or 0.0))
    first_one, *more = better
    low, high = first_one.interval or (None, None)
    text = f"{_shortened(first_one.label)} is better: {signed(first_one.delta)} "
    text += f"[{signed(low)}, {signed(high)}]"
    if more:
        also = listed([f"{_shortened(s.label)} ({signed(s.delta)})" for s in more], 1)
        text += f", so {'is' if len(more) == 1 else 'are'} {also}"
    return f"{text}; {counts}."


def _counts(settings: Sequence[Setting]) -> str:
    """Return ``12 of 20 settings decided, 4 likely, 4 open``, and what has no verdict."""
    decided = [s for s in settings if s.verdict not in (None, "undecided")]
    left = [s for s in settings if s.verdict == "undecided"]
    likely = sum((s.grade or "").startswith("likely") for s in left)
    counts = {"likely": likely, "open": len(left) - likely}
    counts |= Counter(s.status for s in settings if s.verdict is None)
    rest = "".join(f", {count} {what}" for what, count in counts.items() if count)
    return f"{len(decided)} of {len(settings)} settings decided{rest}"


class Deciding(NamedTuple):
    """What is undecided and why, and the settings that so many seeds, or the next look, decide."""

    sentence: str
    settings: list[Setting]
    seeds: int | None = None


def deciding(comparison: Comparison, most: int | None = None) -> Deciding | None:
    """Return what would decide the undecided settings; None where all are decided.

    At `most` so many settings are to be decided: those that need the fewest seeds.
    """
    left = [s for s in in_order(comparison) if s.verdict == "undecided"]
    if not left:
        return None
    judged = sum(bool(s.verdict) for s in comparison.settings)
    many = f"{len(left)} of {judged}" if len(left) < judged else f"all {judged}"
    text = f"undecided: {many} settings" if judged > 1 else "undecided"
    if looking := [s for s in left if s.next_look]:
        look = min(s.next_look for s in looking if s.next_look)
        return Deciding(f"{text}; the next look is after {look} seeds", looking)
    by_seeds = _by_seeds(left)
    if not by_seeds:
        return Deciding(f"{text}; {_why_undecided(comparison, left[0])}", [])
    few = [s for s in by_seeds if (s.seeds_to_decide or 0) <= _MOST_SEEDS][:most] or by_seeds[:1]
    seeds = few[-1].seeds_to_decide
    them = "it" if len(left) == 1 else f"{len(few)} of them" if len(few) < len(left) else "them"
    # What of the spread between folds comes from their examples does not shrink with more seeds.
    may = "may" if comparison.folds > 1 else "would"
    return Deciding(f"{text}; {seeds} seeds {may} decide {them}", few, seeds)


def method_warnings(comparison: Comparison, findings: Sequence[Finding]) -> list[str]:
    """Return the linter's warnings in a line each: one of each rule, the most important first.

    Of a rule's that is the one on the axis with the largest difference.
    """
    deltas: dict[str | None, float] = {}
    for setting in comparison.settings:
        for name in (setting.label, *setting.changed):
            deltas[name] = max(deltas.get(name, 0.0), abs(setting.delta or 0.0))
    judged = sorted((f for f in findings if f.judged), key=lambda f: -deltas.get(f.about, 0.0))
    about = {f.rule: f.about or "several settings" for f in reversed(judged)}
    about = {rule: "the baseline" if of == BASELINE else of for rule, of in about.items()}
    return [
        f"{rule}: {text.format(about=_shortened(about[rule]))}"
        for rule, text in _WARNINGS.items()
        if rule in about
    ]


def meaning(comparison: Comparison) -> list[str]:
    """Return what the verdicts rest on, what is undecided and why, what was lost."""
    return [*legend(comparison), *_undecided(comparison), *remarks(comparison)]


def legend(comparison: Comparison) -> list[str]:
    """Return which question the verdicts answer, and by which procedure."""
    if not any(setting.verdict for setting in comparison.settings):
        why = next((s.no_verdict for s in comparison.settings if s.no_verdict), None)
        return [f"no verdict: {why}"] if why and why not in answer(comparison) else []
    settings, tests = comparison.settings, comparison.tests
    others = " and other examples"
    if comparison.group_on:
        others = f" and new values of {shown(comparison.group_on)}"
    elif comparison.folds == 1:
        others += f" than these {comparison.examples}"
    on_new = comparison.question == "new data"
    lines = [f"verdict: {where(comparison)}, for other seeds{others if on_new else ''}"]
    better = "higher" if comparison.metric.direction == "maximize" else "lower"
    levels = _by_look((s.look, _percent(s.confidence)) for s in settings if _has_own_confidence(s))
    many = "one setting" if tests == 1 else f"{tests} settings"
    limits = ((s.look, f"{s.threshold:.2g}") for s in settings if s.threshold is not None)
    decides = f"p adjusted for {many} (Holm)" if comparison.strict else (
        f"better or worse where p ≤ {_by_look(limits)}, for {many}"
    )  # fmt: skip
    if any(s.verdict == "equivalent" for s in settings):
        levels = f"{levels}, 90 % where equivalent" if levels else "90 %"
    lines.append(
        f"{better} is better, margin {number(comparison.margin)}; {decides}; confidence of "
        f"intervals: {levels}"
    )
    for why in dict.fromkeys(s.no_verdict for s in settings if s.no_verdict):
        labels = [s.label for s in settings if s.no_verdict == why]
        lines.append(f"no verdict on {first_few(labels, 3)}: {why}")
    lines.append(STRICT_PROMISE if comparison.strict else PROMISE)
    grades = dict.fromkeys((s.grade or "").split()[0] for s in settings if s.grade)
    lines += [GRADES[word] for word in grades]
    worth = [s.unpaired_worth / s.pairs for s in settings if s.unpaired_worth and s.pairs]
    if worth:
        lines.append(f"pairing: as precise as {median(worth):.1f}× the seeds unpaired")
    counts = {len(s.seeds) for s in settings if s.seeds}
    if len(counts | {s.pairs for s in settings if s.pairs}) > 1:
        lines.append("differences are over the seeds that both have, means over all")
    if comparison.folds > 1 and any(s.pairs and s.pairs % comparison.folds for s in settings):
        lines.append("in differences each fold counts alike, however many seeds validate on it")
    # A file does not say how many examples its values are of.
    step = getattr(comparison, "step", None)
    return lines + ([f"steps of the values: {step:.3g}"] if step and step > _FINE else [])


def _by_look(texts: Iterable[tuple[int | None, str]]) -> str:
    """Return ``0.0067 after 3 seeds, 0.02 after 5 seeds``; of a fixed number of seeds its text."""
    ordered = dict.fromkeys(sorted(texts, key=lambda pair: pair[0] or 0))
    return ", ".join(f"{text} after {look} seeds" if look else text for look, text in ordered)


def remarks(comparison: Comparison) -> list[str]:
    """Return which seeds were lost to failures, and whether sameness is proven."""
    lines = [
        f"{s.label}: {listed([f'seed {seed}' for seed in s.lost])} lost to failures of it or "
        "the baseline; runs that fail are often the worst, so the rest is a selection"
        for s in comparison.settings
        if s.lost and s.pairs
    ]
    proven = comparison.sameness == "proven" or not comparison.study
    return lines if proven else [*lines, NOT_PROVEN]


def _undecided(comparison: Comparison) -> list[str]:
    """Return the minimum detectable effects, and how many seeds would decide the undecided."""
    left = [s for s in in_order(comparison) if s.verdict == "undecided"]
    by_seeds = _by_seeds(left)
    lines = [
        f"undecided: {s.label}: minimum detectable effect {number(s.detectable)} "
        f"({s.pairs} seeds, 80 % power); {s.seeds_to_decide} seeds "
        f"{'may' if comparison.folds > 1 else 'would'} decide it"
        for s in by_seeds[:_MOST_UNDECIDED]
    ]
    if len(by_seeds) > _MOST_UNDECIDED:
        lines.append(f"undecided: {len(by_seeds) - _MOST_UNDECIDED} more (see --json)")
    rest: dict[str, list[Setting]] = {}
    for setting in left:
        if not setting.seeds_to_decide:
            rest.setdefault(_why_undecided(comparison, setting), []).append(setting)
    for why, settings in rest.items():
        labels = [setting.label for setting in settings]
        ends = {number(end(s.detectable or 0.0 for s in settings)): None for end in (min, max)}
        effect = f"minimum detectable effect {' to '.join(ends)}"
        lines.append(f"undecided: {first_few(labels, 3)}: {effect}; {why}")
    return lines


def _why_undecided(comparison: Comparison, setting: Setting) -> str:
    """Return why a setting is undecided that no known number of seeds would decide."""
    if setting.next_look:
        return f"the next look is after {setting.next_look} seeds: run the sweep again"
    if comparison.looks and setting.look == comparison.looks[-1]:
        return f"{setting.look} seeds are the most that were requested"
    if comparison.question == "new data" and comparison.folds == 1:
        return f"limited by {comparison.examples} {_part(comparison)} examples"
    return "more seeds would hardly decide it"


@dataclass(frozen=True)
class AxisText:
    """The result of an axis; `change` is key, the baseline's level and the better one, `it`."""

    sentence: str
    change: tuple[str, str, str] | None = None
    it: str = "it"


def axis_lines(comparison: Comparison, key: str, paste: Paste) -> list[str]:
    """Return what was best on an axis, and the command that makes it the baseline."""
    found = axis_text(comparison, key)
    again = [f"  to make {found.it} the baseline: {paste(*found.change)}"] if found.change else []
    return [found.sentence, *again]


def axis_text(comparison: Comparison, key: str) -> AxisText:
    """Return what was best on an axis, by how much, how sure."""
    base, metric = comparison.settings[0], comparison.metric.name
    on_axis = [s for s in comparison.settings if key in s.changed]
    failed = [show_value(s.changed[key][1]) for s in on_axis if s.status == "failed"]
    end = f" {listed(failed)} failed." if failed else ""
    if pruned := sum(s.status == "pruned" for s in on_axis):
        end += f" {pruned} {'level was' if pruned == 1 else 'levels were'} pruned."
    if not base.values:
        return AxisText(f"{key}: {_no_baseline(base)}.{end}")
    best = best_setting(on_axis, comparison.metric.direction)
    if best is None:
        unfinished = len(failed) + pruned < len(on_axis) or not on_axis
        return AxisText(f"{key}:{' no level has finished.' if unfinished else ''}{end}")
    assert best.delta is not None
    gain = comparison.metric.sign * best.delta
    equal = [
        s for s in on_axis
        if s.status == "complete" and s.delta is not None
        and math.isclose(s.delta, best.delta, abs_tol=_SAME)
    ]  # fmt: skip
    before, level = (show_value(value) for value in best.changed[key])
    levels = listed([show_value(s.changed[key][1]) for s in equal], 4)
    apart = f"{number(abs(best.delta))} {'higher' if best.delta > 0 else 'lower'}"
    sure = how_sure(best)
    if gain <= _SAME:
        how = "did exactly as well" if gain >= -_SAME else f"came nearest, {apart}"
        mean = f"{metric} {number(base.mean)}"
        sentence = f"no level beat the baseline's {before} ({mean}); {levels} {how}{sure}.{end}"
        return AxisText(f"{key}: {sentence}")
    were, it = ("was", "it") if len(equal) == 1 else ("were equally", level)
    mean = f"{metric} {number(best.mean)}"
    sentence = f"{levels} {were} best ({mean}), {apart} than the baseline's {before}{sure}.{end}"
    return AxisText(f"{key}: {sentence}", (key, before, level), it)


def cell_lines(comparison: Comparison) -> list[str]:
    """Return of better and worse settings the cells of the confusion matrix that changed most."""
    lines = []
    for setting in in_order(comparison):
        cells = [
            f"{f'{cell.label}: ' if cell.label else ''}{cell.true} → {cell.predicted} "
            f"{cell.mean:+.1f} ({cell.interval[0]:+.1f} to {cell.interval[1]:+.1f})"
            for cell in setting.cells or ()
        ]
        lines += [f"  {setting.label}: {', '.join(cells)}"] * bool(cells)
    over = ", summed over folds" if comparison.folds > 1 else ""
    head = f"confusion matrix, largest changes (examples{over}, true → predicted):"
    return [head, *lines] * bool(lines)


def _by_seeds(settings: Sequence[Setting]) -> list[Setting]:
    """Return those that more seeds would decide, by how many."""
    found = [s for s in settings if s.seeds_to_decide]
    return sorted(found, key=lambda s: s.seeds_to_decide or 0)


def _shortened(label: str) -> str:
    return cut_middle(label, _LONGEST_NAME)


def how_sure(setting: Setting) -> str:
    """Return seeds, interval and verdict, to end a sentence on a setting's difference."""
    seeds = "1 seed" if setting.pairs == 1 else f"{setting.pairs} seeds"
    if setting.interval is None:
        return " (one seed only: it may be chance)"
    if setting.verdict == "identical":
        return f" ({seeds}: identical, all outputs are equal)"
    low, high = setting.interval
    verdict = str(setting.verdict)
    if verdict == "equivalent" and not low <= 0 <= high:
        verdict = "equivalent, though there is a difference"
    if verdict == "undecided":
        verdict = f"undecided, {setting.grade}" if setting.grade else "undecided, it may be chance"
    question = QUESTIONS[setting.question or "this part"]
    return f" ({seeds}; {question} {signed(low)} to {signed(high)}: {verdict})"


def _no_baseline(base: Setting) -> str:
    what = "failed" if base.status == "failed" else "is not finished"
    return f"the baseline {what}, so there is nothing to compare with"


def _part(comparison: Comparison) -> str:
    return "test" if getattr(comparison, "split", None) == "test" else "validation"
