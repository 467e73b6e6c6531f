"""What a study says of its settings: the table, what it means, a sentence for each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from paribus.core.config.values import show_value
from paribus.sweeps.formatting import number, signed
from paribus.sweeps.study.settings import BASELINE

_SAME = 1e-12  # means this close differ by rounding only
_MOST_UNDECIDED = 6  # lines
_FINE = 1e-6  # steps below are those of floating-point numbers
NOT_PROVEN = "sameness not proven: a function keeps its model, data and random draws to itself"
QUESTIONS = {"new data": "on new data", "this part": "on this validation part"}

Paste = Callable[[str, str, str], str]
Comparison = Mapping[str, Any]


def meaning(comparison: Comparison) -> list[str]:
    """Which question the verdicts answer, what is undecided and why, what was lost."""
    lines = [*_legend(comparison), *_undecided(comparison), *_lost(comparison)]
    proven = comparison["sameness"] == "proven" or not comparison["study"]
    return lines if proven else [*lines, NOT_PROVEN]


def table_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and cells; *here* is the verdict on this validation part where another is shown."""
    metric, on_new = comparison["metric"]["name"], comparison["question"] == "new data"
    interval = "interval" if comparison["looks"] else "95 % interval"
    columns = ["setting", f"{metric} mean ± sd", "vs baseline", interval, "verdict"]
    columns += [*(["here"] if on_new else []), "seeds", "derived"]
    rows = []
    for setting in in_order(comparison):
        here = setting["this_part"]
        rows.append([
            setting["label"],
            _value(setting),
            signed(setting["delta"]),
            interval_text(setting["interval"]),
            verdict_text(comparison, setting),
            *([here["verdict"] if here else "–"] if on_new else []),
            seeds_text(setting, len(comparison["settings"][0]["runs"])),
            derived_text(setting["derived"]),
        ])  # fmt: skip
    return columns, rows


def verdict_text(comparison: Comparison, setting: Mapping[str, Any]) -> str:
    """The verdict; *(here)* where it is on this validation part, and others are on new data."""
    verdict: str = setting["verdict"] or "–"
    if setting["verdict"] and comparison["question"] == "new data" != setting["question"]:
        verdict += " (here)"  # that is all that can be said of it
    return verdict


def in_order(comparison: Comparison) -> list[Mapping[str, Any]]:
    """The baseline, then the settings by axis, the best of each first."""
    sign = 1 if comparison["metric"]["direction"] == "maximize" else -1
    axes = list(dict.fromkeys(key for s in comparison["settings"] for key in s["changed"]))

    def place(setting: Mapping[str, Any]) -> tuple[bool, int, float]:
        axis = next((axes.index(key) for key in setting["changed"]), len(axes))
        delta = -math.inf if setting["delta"] is None else sign * setting["delta"]
        return setting["label"] != BASELINE, axis, -delta

    return sorted(comparison["settings"], key=place)


def where(comparison: Comparison) -> str:
    """Which question the headline verdicts answer."""
    if not comparison["study"]:
        return "on the same data"
    return QUESTIONS[comparison["question"]].replace("validation", _part(comparison))


def _part(comparison: Comparison) -> str:
    return "test" if comparison.get("split") == "test" else "validation"


def interval_text(interval: Sequence[float] | None) -> str:
    """``-0.01 to +0.02``"""
    return "–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


@dataclass(frozen=True)
class AxisSaid:
    """What a study says of an axis.

    Attributes:
        sentence: What was best, by how much, how sure.
        change: Key, the baseline's level and the best one; None where no level beat the baseline.
        it: What the best level is called where that is told.
    """

    sentence: str
    change: tuple[str, str, str] | None = None
    it: str = "it"


def axis_lines(comparison: Comparison, key: str, paste: Paste) -> list[str]:
    """What was best on an axis, by how much, how sure; and how to make it the baseline.

    Args:
        comparison: The `compare` document.
        key: The axis.
        paste: From key, baseline's level and new level to a command.
    """
    said = axis_said(comparison, key)
    if said.change is None:
        return [said.sentence]
    return [said.sentence, f"  to make {said.it} the baseline: {paste(*said.change)}"]


def axis_said(comparison: Comparison, key: str) -> AxisSaid:
    """What a study says of an axis."""
    base = comparison["settings"][0]
    on_axis = [s for s in comparison["settings"] if key in s["changed"]]
    failed = [show_value(s["changed"][key][1]) for s in on_axis if s["status"] == "failed"]
    end = f" {_and(failed)} failed." if failed else ""
    if pruned := sum(s["status"] == "pruned" for s in on_axis):
        end += f" {pruned} {'level was' if pruned == 1 else 'levels were'} pruned."
    if not base["values"]:
        what = "failed" if base["status"] == "failed" else "is not finished"
        return AxisSaid(f"{key}: the baseline {what}, so there is nothing to compare with.{end}")
    ended = [s for s in on_axis if s["status"] == "complete" and s["delta"] is not None]
    if not ended:
        unfinished = len(failed) + pruned < len(on_axis) or not on_axis
        none = " no level has finished." if unfinished else ""
        return AxisSaid(f"{key}:{none}{end}")
    sign = 1 if comparison["metric"]["direction"] == "maximize" else -1
    gain = max(sign * s["delta"] for s in ended)
    best = [s for s in ended if math.isclose(sign * s["delta"], gain, abs_tol=_SAME)]
    before, level = (show_value(value) for value in best[0]["changed"][key])
    levels = _few([show_value(s["changed"][key][1]) for s in best])
    metric = f"{comparison['metric']['name']} {number(base['mean'])}"
    if gain <= _SAME:
        how = (
            f"did exactly as well{_how_sure(best[0])}"
            if gain >= -_SAME
            else f"came nearest, {_apart(best[0])}{_how_sure(best[0])}"
        )
        told = f"{key}: no level beat the baseline's {before} ({metric}); {levels} {how}.{end}"
        return AxisSaid(told)
    metric = f"{comparison['metric']['name']} {number(best[0]['mean'])}"
    were, it = ("was", "it") if len(best) == 1 else ("were equally", level)
    told = f"{key}: {levels} {were} best ({metric}), {_apart(best[0])} than the baseline's {before}"
    return AxisSaid(f"{told}{_how_sure(best[0])}.{end}", (key, before, level), it)


def cell_lines(comparison: Comparison) -> list[str]:
    """Of better and worse settings, the cells of the confusion matrix that changed most."""
    lines = []
    for setting in in_order(comparison):
        if setting["cells"]:
            texts = [_cell(cell) for cell in setting["cells"]]
            lines.append(f"  {setting['label']}: {', '.join(texts)}")
    return ["confusion matrix, what changed most (examples, true → told):", *lines] if lines else []


def derived_text(derived: Mapping[str, Sequence[Any]], limit: int = 3) -> str:
    """What else changed, in short; keywords that came or went without effect are counted only."""
    telling = {
        k: pair for k, pair in derived.items() if pair[0] is not None and pair[1] is not None
    }
    texts = [f"{_last(k)} {show_value(a)} → {show_value(b)}" for k, (a, b) in telling.items()]
    new = [f"{_last(k)} {show_value(b)}" for k, (a, b) in derived.items() if a is None]
    gone = [_last(k) for k, (a, b) in derived.items() if b is None]
    texts += [f"new: {', '.join(new[:limit])}{_more(new, limit)}"] if new else []
    texts += [f"dropped: {', '.join(gone[:limit])}{_more(gone, limit)}"] if gone else []
    return "; ".join(texts)


def _legend(comparison: Comparison) -> list[str]:
    """Which question the verdicts answer, and what they are held to."""
    if not any(setting["verdict"] for setting in comparison["settings"]):
        why = next((s["no_verdict"] for s in comparison["settings"] if s["no_verdict"]), None)
        return [f"no verdict: {why}"] if why else []
    examples, tests = comparison["examples"], comparison["tests"]
    if comparison["question"] == "new data":
        told = (
            f"verdict: on new data, for other seeds and other examples than these {examples}; "
            "here: on these examples, for other seeds."
        )
    else:
        told = f"verdict: {where(comparison)}, for other seeds."
    many = "one setting" if tests == 1 else f"{tests} settings"
    metric = comparison["metric"]
    better = "higher" if metric["direction"] == "maximize" else "lower"
    held = f"{better} is better, margin {number(comparison['margin'])}; a verdict is held to "
    held += f"{many} together, an interval to its own alone" if tests != 1 else many
    worth = [
        s["unpaired_worth"] / s["pairs"] for s in comparison["settings"] if s["unpaired_worth"]
    ]
    pairing = f"; a pair was worth {median(worth):.1f} unpaired seeds of each" if worth else ""
    return [
        told,
        f"{held}{pairing}",
        *_unpaired(comparison),
        *_steps(comparison),
        *_looks(comparison),
    ]


def _unpaired(comparison: Comparison) -> list[str]:
    """Means are over all seeds of a setting, differences over those of pairs."""
    counts = {len(s["seeds"]) for s in comparison["settings"] if s["seeds"]}
    counts |= {s["pairs"] for s in comparison["settings"] if s["pairs"]}
    return (
        ["differences are over the seeds that both have, means over all"] if len(counts) > 1 else []
    )


def _steps(comparison: Comparison) -> list[str]:
    """Of a file nobody says how many examples its values are of."""
    step = comparison.get("step")
    return [f"values are taken to move in steps of {step:.3g}"] if step and step > _FINE else []


def _looks(comparison: Comparison) -> list[str]:
    """Where seeds were added until it was decided: how sure an interval is after each look."""
    sure = {s["look"]: s["confidence"] for s in comparison["settings"] if s["look"]}
    texts = [f"{100 * sure[look]:.4g} % after {look} seeds" for look in sorted(sure)]
    return [f"intervals hold with {', '.join(texts)}"] if texts else []


def _undecided(comparison: Comparison) -> list[str]:
    """What so many seeds find four times in five, and how many would decide it."""
    left = [s for s in in_order(comparison) if s["verdict"] == "undecided"]
    by_seeds = sorted((s for s in left if s["seeds_to_decide"]), key=lambda s: s["seeds_to_decide"])
    lines = [
        f"undecided: {s['label']}: {s['pairs']} seeds find {number(s['detectable'])} four times in "
        f"five; {s['seeds_to_decide']} seeds would decide it"
        for s in by_seeds[:_MOST_UNDECIDED]
    ]
    if len(by_seeds) > _MOST_UNDECIDED:
        lines.append(f"undecided: {len(by_seeds) - _MOST_UNDECIDED} more (see --json)")
    rest: dict[str, list[Mapping[str, Any]]] = {}
    for setting in left:
        if not setting["seeds_to_decide"]:
            rest.setdefault(_why_undecided(comparison, setting), []).append(setting)
    for why, settings in rest.items():
        labels = [setting["label"] for setting in settings]
        ends = {number(end([s["detectable"] for s in settings])): None for end in (min, max)}
        lines.append(
            f"undecided: {', '.join(labels[:3])}{_more(labels, 3)}: differences of "
            f"{' to '.join(ends)} would be found four times in five; {why}"
        )
    return lines


def _why_undecided(comparison: Comparison, setting: Mapping[str, Any]) -> str:
    """Why a setting is still undecided that no number of seeds is told for."""
    if setting["next_look"]:
        return f"the next look is after {setting['next_look']} seeds: run the sweep again"
    if comparison["looks"] and setting["look"] == comparison["looks"][-1]:
        return f"{setting['look']} seeds are the most that were asked for"
    if comparison["question"] == "new data":
        return f"more seeds alone will not decide it, more {_part(comparison)} examples would"
    return "no 1000 seeds would decide it, a larger --margin may"


def _lost(comparison: Comparison) -> list[str]:
    """Seeds lost to failures: the runs that fail may be the worst ones."""
    return [
        f"{setting['label']}: {_and([f'seed {seed}' for seed in setting['lost']])} lost to "
        "failures, of it or the baseline: what is left is a selection, and those that fail are "
        "often the worst"
        for setting in comparison["settings"]
        if setting["lost"] and setting["pairs"]
    ]


def _value(setting: Mapping[str, Any]) -> str:
    spread = f" ± {number(setting['std'])}" if setting["std"] is not None else ""
    if setting["mean"] is None:
        return "failed" if setting["status"] == "failed" else "not finished"
    return number(setting["mean"]) + spread


def seeds_text(setting: Mapping[str, Any], all_seeds: int) -> str:
    """How many seeds a setting has, and how many of them decided."""
    count, look = len(setting["seeds"]), setting["look"]
    if setting["status"] == "pruned":
        return f"pruned after {count} of {all_seeds}"
    return f"{look} of {count}" if look and look < count else str(count)


def _apart(setting: Mapping[str, Any]) -> str:
    """``0.0123 higher``"""
    way = "higher" if setting["delta"] > 0 else "lower"
    return f"{number(abs(setting['delta']))} {way}"


def _how_sure(setting: Mapping[str, Any]) -> str:
    if setting["interval"] is None:
        return " (one seed only: it may be chance)"
    if setting["verdict"] == "identical":
        return f" ({_seeds(setting)}: identical, all outputs are equal)"
    question, verdict = QUESTIONS[setting["question"]], setting["verdict"]
    low, high = setting["interval"]
    if verdict == "equivalent" and setting["p_holm"] <= 1 - setting["confidence"]:
        verdict = "equivalent, though there is a difference"
    if verdict == "undecided":
        among = "" if low <= 0 <= high else f", p {setting['p_holm']:.2g} among all settings"
        verdict = f"undecided, it may be chance{among}"
    return f" ({_seeds(setting)}; {question} {signed(low)} to {signed(high)}: {verdict})"


def _seeds(setting: Mapping[str, Any]) -> str:
    return "1 seed" if setting["pairs"] == 1 else f"{setting['pairs']} seeds"


def _cell(cell: Mapping[str, Any]) -> str:
    label = f"{cell['label']}: " if "label" in cell else ""
    low, high = (f"{end:+.1f}" for end in cell["interval"])
    return f"{label}{cell['true']} → {cell['predicted']} {cell['mean']:+.1f} ({low} to {high})"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _few(words: Sequence[str]) -> str:
    """All of a few, or the first of many."""
    most = 4
    return _and(words) if len(words) <= most else f"{', '.join(words[:most])}{_more(words, most)}"


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _more(items: Sequence[Any], limit: int) -> str:
    return f" and {len(items) - limit} more" if len(items) > limit else ""
