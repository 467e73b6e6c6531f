"""What the linter's rules look at: a study as plain data. Only `evidence_of` reads files."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paribus.core.config.schema import Direction
from paribus.core.config.values import show_value
from paribus.core.fileio import read_lines
from paribus.sweeps.study.lookup import start_of
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

LENGTH = ("train.epochs", "train.updates")  # the keys of the length of training
NO_BASELINE = "the baseline has no complete run"
_MOST_NAMED = 3  # names in a sentence

History = Sequence[Mapping[str, Any]]  # the metrics of each epoch, from the first


@dataclass(frozen=True)
class Seen:
    """What a rule found in a study.

    Attributes:
        sentence: The problem, with numbers, and the remedy; why, where it is not judged.
        about: The label of a setting or the key of an axis; None: several, or the whole study.
        judged: False where the rule could not be evaluated.
    """

    sentence: str
    about: str | None = None
    judged: bool = True


@dataclass(frozen=True)
class Finding:
    """What a rule found, with its name and why that matters: an entry of ``linter``."""

    rule: str
    about: str | None
    sentence: str
    reason: str
    judged: bool = True


def not_judged(why: str) -> list[Seen]:
    """Return the answer of a rule that cannot be evaluated."""
    return [Seen(f"cannot be judged: {why}", judged=False)]


@dataclass(frozen=True)
class AxisSeen:
    """An axis as it was requested.

    Attributes:
        key: The hyperparameter.
        baseline: The baseline's level.
        levels: The levels to try, without the baseline's.
        log: Whether they were requested as a logarithmic range.
    """

    key: str
    baseline: Any
    levels: tuple[Any, ...]
    log: bool = False


@dataclass(frozen=True)
class SettingSeen:
    """A setting and what its runs recorded.

    Attributes:
        label: ``baseline`` or ``key=level``.
        key: The changed hyperparameter, None for the baseline.
        level: Its value.
        values: Seed to the selection metric of the best epoch, of complete runs.
        derived: What follows from the change: ``{key: [baseline, level]}``.
        histories: Seed to the metrics of each epoch, of complete runs.
        runs: Seed to run id, of all planned runs.
        failures: Seed to reason, of the runs that failed by themselves.
        stopped: Seeds whose runs were ended by patience.
    """

    label: str
    key: str | None = None
    level: Any = None
    values: Mapping[int, float] = field(default_factory=dict)
    derived: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    histories: Mapping[int, History] = field(default_factory=dict)
    runs: Mapping[int, str] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    stopped: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Evidence:
    """A study as the rules look at it.

    Attributes:
        study: Its name.
        start: EXPERIMENT of a command that begins at its baseline.
        metric: The selection metric.
        direction: Which way it is better.
        margin: The smallest difference of the metric that matters; None where it is not known.
        axes: As requested.
        settings: The baseline and the others.
        configuration: The baseline's, with all defaults where one of its runs is finished.
        confusion_matrix: Of a baseline's best epoch on validation, rows are true classes
            `[C, C]`; for several labels `[L, 2, 2]`; None where there is none.
        readings: Lines of ``readings.jsonl``.
        ended: When the last of its runs ended.
        options: Of every command to paste, such as ``--root DIR``.
        looks: Whether seeds are added until it is decided.
    """

    study: str
    start: str
    metric: str
    direction: Direction
    margin: float | None
    axes: tuple[AxisSeen, ...] = ()
    settings: tuple[SettingSeen, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    confusion_matrix: Sequence[Any] | None = None
    readings: Sequence[Any] = ()
    ended: datetime | None = None
    options: tuple[str, ...] = ()
    looks: bool = False

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.direction == "maximize" else -1

    @property
    def baseline(self) -> SettingSeen | None:
        """The baseline, if one of its runs is complete."""
        return next((s for s in self.settings if s.key is None and s.values), None)

    def on(self, key: str) -> list[SettingSeen]:
        """Return the settings of an axis, in order."""
        return [setting for setting in self.settings if setting.key == key]

    def gain(self, setting: SettingSeen) -> float | None:
        """Return by how much a setting is better than the baseline, mean over the seeds of both."""
        ours, theirs = setting.values, self.baseline.values if self.baseline else {}
        pairs = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        return self.sign * sum(pairs) / len(pairs) if pairs else None


def evidence_of(
    study: Study,
    results: Sequence[SettingResult],
    margin: float | None,
    options: Sequence[str] = (),
) -> Evidence:
    """Read what the rules look at.

    Args:
        study: The study.
        results: Of all its settings, by the selection metric.
        margin: The smallest difference of that metric that matters; None: not known.
        options: For commands to paste.
    """
    found = [
        (result, record)
        for result in results
        for run in result.runs
        if (record := study.outcomes.record(run))
    ]
    baseline = [record for result, record in found if result.setting.key is None]
    complete = [record for record in baseline if record.status == "complete"]
    times = [time for _, record in found if (time := read_time(record.ended))]
    return Evidence(
        study=study.name,
        start=start_of(study),
        metric=study.metric,
        direction=study.direction,
        margin=margin,
        axes=tuple(
            AxisSeen(axis.key, axis.baseline, tuple(axis.levels), axis.log)
            for axis in study.requested.axes
        ),
        settings=tuple(_setting_seen(study, result) for result in results),
        configuration=baseline[0].configuration if baseline else study.requested.baseline,
        confusion_matrix=complete[0].confusion_matrix if complete else None,
        readings=read_lines(study.root.path / "readings.jsonl"),
        ended=max(times, default=None),
        options=tuple(options),
        looks=bool(study.requested.looks),
    )


def read_time(text: Any) -> datetime | None:
    """Return a recorded time; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _setting_seen(study: Study, result: SettingResult) -> SettingSeen:
    setting = result.setting
    seeds = {run: seed for seed, run in setting.runs.items()}
    histories: dict[int, History] = {}
    failures: dict[int, str] = {}
    stopped = set()
    for run in result.runs:
        record, seed = study.outcomes.record(run), seeds[run]
        if record is None:
            continue
        if record.status == "failed":
            failures[seed] = record.reason or ""
        elif seed in result.seeds:
            lines = study.root.run(run).history()
            histories[seed] = [line.metrics for line in lines]
            patience = record.configuration.get("train", {}).get("patience")
            if patience is not None and record.epochs < record.facts.epochs:
                stopped.add(seed)
    return SettingSeen(
        label=setting.label,
        key=setting.key,
        level=setting.level,
        values=dict(zip(result.seeds, result.values, strict=True)),
        derived=setting.derived,
        histories=histories,
        runs=setting.runs,
        failures=failures,
        stopped=frozenset(stopped),
    )


# Parts of sentences, and commands to paste.


def listed(names: Sequence[str]) -> str:
    """Return ``the baseline, b, c and 5 more``"""
    names = ["the baseline" if name == BASELINE else name for name in names]
    more = len(names) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(names[:_MOST_NAMED])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def figure(value: float) -> str:
    """Return a number as a person reads it."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span(values: Sequence[float]) -> str:
    """Return ``0.1`` or ``0.1 to 0.3``"""
    ends = dict.fromkeys(figure(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def levels(key: str, values: Iterable[Any]) -> str:
    """Return ``KEY=a,b,c``"""
    return f"{key}={','.join(show_value(value) for value in values)}"


def sweep(evidence: Evidence, axes: Sequence[str], *options: str) -> str:
    """Return the command of a sweep from the study's baseline with the study's seeds."""
    seeds = sorted({seed for setting in evidence.settings for seed in setting.runs})
    words = ["--until-decided"] if evidence.looks else seed_words(seeds)
    words = [] if "--seeds" in options else words
    return shlex.join(
        ["paribus", "sweep", evidence.start, *axes, *options, *words, *evidence.options]
    )


def sweep_again(evidence: Evidence, keys: Iterable[str | None], *options: str) -> str:
    """Return the study's sweep with other options: as a command where that is short.

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
    """Return an axis as it is typed."""
    return levels(axis.key, axis.levels)
