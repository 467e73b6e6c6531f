"""The result of a study in one sentence: what was tried, what helped, by how much, how sure."""

from __future__ import annotations

from collections import Counter

from paribus.core.errors import shown
from paribus.sweeps.numbers import number, signed
from paribus.sweeps.plots.words import many
from paribus.sweeps.report.view import View
from paribus.sweeps.settings import BASELINE
from paribus.sweeps.verdicts.words import QUESTIONS

_COUNTED = {
    "worse": ("made it worse", "made it worse"),
    "equivalent": ("makes no difference that matters", "make no difference that matters"),
    "identical": ("changed no output at all", "changed no output at all"),
    "undecided": ("is undecided", "are undecided"),
}


def headline(view: View) -> str:
    """What a reader should take away, if it is but one sentence (or two)."""
    levels = [row for label, row in view.rows.items() if label != BASELINE]
    axes = len(view.study.asked["axes"])
    tried = f"Of {many(len(levels), 'change')} to {shown(view.study.experiment)}"
    tried += f", one at a time on {many(axes, 'hyperparameter')},"
    verdicts = Counter(row["verdict"] for row in levels)
    better, rest = verdicts["better"], _rest(verdicts)
    if not any(verdict is not None for verdict in verdicts):
        return f"{tried} none has a verdict yet{_why(view)}."
    if not better or view.chosen is None:
        return f"{tried} none surely helped; {rest}.{_most_promising(view)}"
    helped = "one helped" if better == 1 else f"{better} helped"
    most = "it" if better == 1 else "the most"
    others = f" Of the others, {rest}." if rest else ""
    return f"{tried} {helped}; {most}: {_effect(view, view.chosen)}.{others}"


def _effect(view: View, label: str) -> str:
    """``optimizer.lr=0.01 raises val/accuracy by 0.0119 (…) from 0.9652 to 0.9770``"""
    row, base = view.rows[label], view.rows[BASELINE]
    way = "raises" if row["delta"] > 0 else "lowers"
    return (
        f"{shown(row['label'])} {way} {view.study.metric} by {number(abs(row['delta']))}, from "
        f"{number(base['mean'])} ({_sure(view, label)})"
    )


def _sure(view: View, label: str) -> str:
    row = view.rows[label]
    if row["interval"] is None:
        return "one seed: it may be chance"
    low, high = (signed(end) for end in row["interval"])
    sure = f"{100 * row['confidence']:.3g} % interval {low} to {high}"
    return f"{sure} {QUESTIONS[row['question']]}, {many(row['pairs'], 'seed')}"


def _most_promising(view: View) -> str:
    """The best level of those that are undecided."""
    if view.chosen is None or view.rows[view.chosen]["verdict"] != "undecided":
        return ""
    row = view.rows[view.chosen]
    if view.sign * row["delta"] <= 0:
        return ""
    return (
        f" The most promising, {shown(row['label'])}, is at {signed(row['delta'])} "
        f"{view.study.metric} ({_sure(view, view.chosen)}), which may be chance."
    )


def _rest(verdicts: Counter[str | None]) -> str:
    parts = [
        f"{verdicts[verdict]} {words[verdicts[verdict] > 1]}"
        for verdict, words in _COUNTED.items()
        if verdicts[verdict]
    ]
    if verdicts[None]:
        parts.append(f"{verdicts[None]} without a verdict")
    return ", ".join(parts)


def _why(view: View) -> str:
    why = next((row["no_verdict"] for row in view.rows.values() if row["no_verdict"]), None)
    return f": {shown(why, 200)}" if why else ""
