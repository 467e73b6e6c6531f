"""How the linter's sentences are put together."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from paribus.core.config.values import show_value
from paribus.sweeps.analysis.linter.evidence import AxisSeen, Evidence
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.settings import BASELINE

_MOST = 3  # names in a sentence


def many(count: int, word: str) -> str:
    """``1 run`` or ``3 runs``"""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def listed(names: Sequence[str]) -> str:
    """``the baseline, b, c and 5 more``"""
    names = ["the baseline" if name == BASELINE else name for name in names]
    more = len(names) - _MOST
    if more > 0:
        return f"{', '.join(names[:_MOST])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def figure(value: float) -> str:
    """A number as a person reads it."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span(values: Sequence[float]) -> str:
    """``0.1`` or ``0.1 to 0.3``"""
    ends = dict.fromkeys(figure(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def levels(key: str, values: Iterable[Any]) -> str:
    """``KEY=a,b,c``"""
    return f"{key}={','.join(show_value(value) for value in values)}"


def sweep(evidence: Evidence, axes: Sequence[str], *options: str) -> str:
    """A `sweep` from the study's baseline with the study's seeds, to paste."""
    seeds = sorted({seed for setting in evidence.settings for seed in setting.runs})
    words = ["--until-decided"] if evidence.looks else seed_words(seeds)
    words = [] if "--seeds" in options else words
    return shlex.join(
        ["paribus", "sweep", evidence.start, *axes, *options, *words, *evidence.options]
    )


def sweep_again(evidence: Evidence, keys: Iterable[str | None], *options: str) -> str:
    """The same sweep with other options: a command to paste where it is a short one.

    Args:
        evidence: The study.
        keys: The axes it is about; None stands for the baseline, so for all of them.
        options: What is different.
    """
    wanted = set(keys)
    axes = [axis for axis in evidence.axes if None in wanted or axis.key in wanted]
    if 1 <= len(axes) <= 2:
        return sweep(evidence, [asked(axis) for axis in axes], *options)
    return f"the same sweep with {shlex.join(options)}"


def asked(axis: AxisSeen) -> str:
    """An axis as it is typed."""
    return levels(axis.key, axis.levels)
