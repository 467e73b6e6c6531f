"""What the linter's rules look at. Only `evidence_of` reads files."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.core.config.values import show_value
from paribus.core.records.record import RunRecord
from paribus.sweeps.formatting import listed
from paribus.sweeps.study.lookup import start_of
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.same_seeds import repeated_seeds
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import AxisRecord, Study, StudyRecord

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
class Evidence:
    """A study as the rules look at it.

    Attributes:
        results: Of the baseline and the other settings, by the selection metric.
        start: EXPERIMENT of a command that begins at the baseline.
        margin: The smallest difference of the metric that matters; None where it is not known.
        records: Run id to record, of those in `results`.
        histories: Run id to the metrics of each epoch, of the complete ones.
        readings: Of test parts, as `ResultsDir.readings` gives them.
        options: Of every command to paste, such as ``--root DIR``.
        repeated: Label to why two seeds of a setting are one.
    """

    requested: StudyRecord
    results: Sequence[SettingResult]
    start: str
    margin: float | None
    records: Mapping[str, RunRecord]
    histories: Mapping[str, History]
    readings: Sequence[Mapping[str, Any]] = ()
    options: tuple[str, ...] = ()
    repeated: Mapping[str, str] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        return self.requested.metric.name

    @property
    def sign(self) -> int:
        return self.requested.metric.sign

    @property
    def baseline(self) -> SettingResult | None:
        """The baseline, if one of its runs is complete."""
        return next((one for one in self.results if not one.setting.key and one.values), None)

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The baseline's, with all defaults where one of its runs is finished."""
        found = [r for one in self.results if not one.setting.key for r in self.finished(one)]
        return found[0].configuration if found else self.requested.baseline

    def on(self, key: str) -> list[SettingResult]:
        """Return the settings of an axis, in order."""
        return [one for one in self.results if one.setting.key == key]

    def gain(self, one: SettingResult) -> float | None:
        """Return by how much a setting is better than the baseline, mean over the seeds of both."""
        delta = None if self.baseline is None else one.paired(self.baseline).mean
        return None if delta is None else self.sign * delta

    def finished(self, one: SettingResult) -> list[RunRecord]:
        """Return the records of a setting's runs, complete and failed."""
        return [self.records[run] for run in one.runs if run in self.records]

    def complete(self, one: SettingResult) -> dict[str, RunRecord]:
        """Return run id to record of the runs whose values count."""
        runs = [one.setting.runs[seed] for seed in one.seeds]
        return {run: self.records[run] for run in runs}

    def supports(self, one: SettingResult) -> NDArray[np.int64] | None:
        """Return the validation examples of each class, or of no and yes over all labels.

        They are counted by a complete run's confusion matrix; None if its task has none.
        """
        counts = next(iter(self.complete(one).values())).confusion
        if counts is None:
            return None
        return np.asarray(counts.sum(-1)) if counts.ndim == 2 else counts.sum((0, 2))

    def sweep(self, axes: Sequence[str], *options: str) -> str:
        """Return the command of a sweep from the baseline with the study's seeds."""
        seeds = sorted({seed for one in self.results for seed in one.setting.runs})
        words = ["--until-decided"] if self.requested.looks else seed_words(seeds)
        words = [] if "--seeds" in options else words
        return shlex.join(["paribus", "sweep", self.start, *axes, *options, *words, *self.options])

    def sweep_again(self, keys: Iterable[str | None], *options: str) -> str:
        """Return the study's sweep with other options: as a command where that is short.

        The `keys` are the axes it is about; None stands for the baseline, so for all of them.
        """
        wanted = set(keys)
        axes = [axis for axis in self.requested.axes if None in wanted or axis.key in wanted]
        if 1 <= len(axes) <= 2:
            return self.sweep([asked(axis) for axis in axes], *options)
        return f"the same sweep with {shlex.join(options)}"

    def failures(self, one: SettingResult) -> list[str]:
        """Return the reasons of the runs that failed by themselves."""
        return [r.reason or "" for r in self.finished(one) if r.status == "failed"]


def evidence_of(
    study: Study,
    results: Sequence[SettingResult],
    margin: float | None,
    options: Sequence[str] = (),
) -> Evidence:
    """Read what the rules look at: the results of all settings, by the selection metric."""
    runs = [run for result in results for run in result.runs]
    records = {run: record for run in runs if (record := study.outcomes.record(run))}
    return Evidence(
        study.requested,
        results,
        start_of(study),
        margin,
        records,
        {
            run: [epoch.metrics for epoch in study.root.run(run).history()]
            for run, record in records.items()
            if record.is_complete
        },
        study.root.readings(),
        tuple(options),
        repeated_seeds(study, results),
    )


def ended_by_patience(record: RunRecord) -> bool:
    """Return whether a complete run was given more epochs than it took."""
    patience = record.configuration.get("train", {}).get("patience")
    return patience is not None and record.epochs < record.facts.epochs


def read_time(text: Any) -> datetime | None:
    """Return a recorded time; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# Parts of sentences, and commands to paste.


def named(labels: Sequence[str]) -> str:
    """Return ``the baseline, b, c and 5 more``"""
    names = ["the baseline" if label == BASELINE else label for label in labels]
    return listed(names, _MOST_NAMED)


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


def asked(axis: AxisRecord) -> str:
    """Return an axis as it is typed."""
    return levels(axis.key, axis.levels)
