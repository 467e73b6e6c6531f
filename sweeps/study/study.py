"""A study: what was requested, in `study.json`, and what happened, read from the runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from paribus.core.config.schema import (
    DIRECTIONS,
    VAL_FRACTION,
    Direction,
    difference,
    get,
    with_value,
)
from paribus.core.config.values import canonical_json, show_value
from paribus.core.errors import DamagedError, RequestError, did_you_mean, shown
from paribus.core.fileio import creating, read_json, write_json
from paribus.core.fingerprint import explain
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec
from paribus.sweeps.formatting import without_credentials
from paribus.sweeps.study.request import Decision, StudyOptions, StudySpec
from paribus.sweeps.study.results import Outcomes, PlannedSetting, SettingResult
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import Setting

RUN_ID = re.compile(r"(\w[\w-]*)-s(\d+)-[0-9a-f]{12}", re.ASCII)


class Metric(BaseModel):
    """The metric that settings are compared by, and which direction of it is better."""

    model_config = ConfigDict(frozen=True)

    name: str
    direction: Direction

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.direction == "maximize" else -1


class AxisRecord(BaseModel):
    """An axis as `study.json` holds it; it grows with the commands given to the study."""

    key: str
    baseline: Any
    levels: list[Any]  # those that were requested or proposed
    log: bool = False  # it is searched by its logarithm
    range: list[float | int] | None = None  # where levels were proposed: lowest and highest


class StudyRecord(BaseModel):
    """`study.json`: what was requested; more in `Decision`."""

    format: int = 1
    study: str
    experiment: str
    baseline: dict[str, Any]  # with paths as `_portable`
    metric: Metric
    axes: list[AxisRecord]
    settings: list[PlannedSetting]
    storage: str | None  # URL of the Optuna storage without its secrets; None: the root's own
    created: str  # in UTC
    margin: float | None = None
    looks: tuple[int, ...] = ()
    strict: bool = False
    finals: dict[str, str] = {}  # final runs to the labels of their settings, as they were planned

    @field_validator("looks")
    @classmethod
    def _grow(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if looks and (looks[0] < 3 or list(looks) != sorted(set(looks))):
            raise ValueError("looks")
        return looks

    def to_json(self) -> dict[str, Any]:
        """Return `study.json`'s content without its sha256."""
        options = ("margin", "looks", "strict", "finals")
        not_requested = {name for name in options if getattr(self, name) in (None, (), False, {})}
        return self.model_dump(mode="json", exclude=not_requested)


class Study:
    """All settings of a question; grows with every command given to it."""

    def __init__(self, root: ResultsDir, requested: StudyRecord) -> None:
        self.root, self.requested = root, requested
        self.name, self.experiment = requested.study, requested.experiment
        self.metric, self.direction = requested.metric.name, requested.metric.direction
        self.settings = requested.settings
        self.folder = root.studies / self.name
        # Of the Optuna storage; with its secrets where a command gave them; None: the root's.
        self.storage = requested.storage
        self.outcomes = Outcomes(root)
        self.had_looks = bool(requested.looks)  # before this command

    @classmethod
    def load(cls, root: ResultsDir, name: str) -> Study:
        """Read the study of this name."""
        root.require_study(name)
        file = root.studies / name / "study.json"
        content = read_json(file)
        try:
            if content.pop("sha256") != _digest(content):
                raise ValueError("sha256")
            study = cls(root, StudyRecord.model_validate({**content, "study": name}))
            if not all(map(RUN_ID.fullmatch, study.run_ids)):  # they become part of paths
                raise ValueError("runs")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(
                f"{file}: is not a study.", "Bring it back, or delete it."
            ) from error
        return study

    @classmethod
    def open(cls, root: ResultsDir, question: StudySpec, options: StudyOptions) -> Study:
        """Return the study of this name, or a new one; nothing is written before `plan`.

        Refuse another experiment, baseline or metric. Of a storage in the options no secrets are
        recorded.
        """
        name = study_name(question) if options.name is None else check_study_name(options.name)
        decision = options.decision
        if name in root.study_names():
            study = cls.load(root, name)
            study._refuse_other(question, decision)
        else:
            study = cls(root, StudyRecord(
                study=name,
                experiment=question.experiment,
                baseline=_portable(question.baseline.to_dict(), question),
                metric=Metric(name=question.metric, direction=question.direction),
                axes=[],
                settings=[],
                storage=None,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            ))  # fmt: skip
        requested = study.requested
        if options.storage is not None:
            study.storage = options.storage
            requested.storage = without_credentials(options.storage)
        requested.margin = requested.margin if decision.margin is None else decision.margin
        requested.looks = requested.looks or decision.looks
        requested.strict = decision.strict or requested.strict
        return study

    def plan(
        self,
        question: StudySpec,
        settings: Sequence[Setting],
        runs: Mapping[tuple[str, int], RunSpec],
    ) -> list[str]:
        """Add settings and runs; on disk, synced, when this returns. Return `what_changed`."""
        notes = self.what_changed(runs)
        known = {setting.label: setting for setting in self.settings}
        for setting in settings:
            planned = known.get(setting.label)
            if planned is None:
                planned = PlannedSetting(
                    setting.label, setting.key, setting.level, setting.changed, setting.derived
                )
                self.settings.append(planned)
            planned.changed, planned.derived = setting.changed, setting.derived
            for (label, seed), run in runs.items():
                if label == setting.label:
                    if seed not in planned.runs:
                        planned.pruned = None
                    planned.runs.pop(seed, None)  # the order of `runs` is that of planning
                    planned.runs[seed] = run.id
        self._merge_axes(question, settings)
        self._write()
        return notes

    def prune(self, labels: Collection[str], seeds: Sequence[int], pruner: str) -> None:
        """Note that settings get no more of these seeds; on disk, synced, when this returns.

        Seeds that an earlier command requested, and that are not finished, are no longer requested.
        A setting that has them all is left as it is.
        """
        for result in self.results(labels, seeds):
            if set(seeds) - set(result.seeds):
                planned = result.setting
                planned.runs = {seed: run for seed, run in planned.runs.items()
                                if seed not in seeds or run in result.runs}  # fmt: skip
                planned.pruned = pruner
        self._write()

    def results(
        self,
        labels: Collection[str] | None = None,
        seeds: Sequence[int] | None = None,
        metric: str | None = None,
    ) -> list[SettingResult]:
        """Return what happened, by setting; of one environment only, the newest baseline's.

        Labels and seeds leave out all others; the metric is of the best epoch, by default the
        selection metric.
        """
        baseline = self._baseline()
        return [
            self.outcomes.of(setting, baseline, metric or self.metric, seeds)
            for setting in self.settings
            if labels is None or setting.label in labels
        ]

    def direction_of(self, metric: str) -> Direction:
        """Return which way is better, of any metric that the study's runs have; refuse others."""
        if metric == self.metric:
            return self.direction
        records = map(self.outcomes.record, self.run_ids)
        best = next((r for r in records if r is not None and r.best), None)
        known = list(best.metrics) if best else []
        if best is None or metric not in known:
            raise RequestError(
                f"The runs of {self.name} have no metric '{shown(metric)}'.",
                did_you_mean(metric, known) if known else "None of them is complete.",
            )
        found = DIRECTIONS.get(metric.split("/")[-1])
        found = found or best.facts.directions.get(metric)
        if found is None:
            raise RequestError(
                f"{metric}: it is not known whether more or less of it is better.",
                f"Sweep with --set select.metric={metric} --set select.direction=maximize, or "
                "minimize.",
            )
        return found

    def place_of(self, run: str) -> tuple[PlannedSetting, int] | None:
        """Return the setting and seed that a run is for, if it is one of this study's."""
        for setting in self.settings:
            for seed, name in setting.runs.items():
                if name == run:
                    return setting, seed
        return None

    def baseline_of(self, seed: int) -> str | None:
        """Return the baseline's run of a seed, if it is planned."""
        baseline = self._baseline()
        return baseline.runs.get(seed) if baseline else None

    def delta_of(self, run: str) -> float | None:
        """Return the run's setting minus the baseline, of its seed, by the selection metric.

        None for the baseline's own runs, and where either is not known or they are not comparable.
        """
        place, baseline = self.place_of(run), self._baseline()
        if place is None or baseline is None or place[0] is baseline:
            return None
        level, base = (
            self.outcomes.of(setting, baseline, self.metric, [place[1]]).by_seed.get(place[1])
            for setting in (place[0], baseline)
        )
        return None if level is None or base is None else level - base

    @property
    def run_ids(self) -> list[str]:
        """Ids of all runs that are planned, final ones last."""
        runs = [run for setting in self.settings for run in setting.runs.values()]
        return [*runs, *self.requested.finals]

    def plan_final(self, run: str, label: str) -> None:
        """Note a setting's final run; on disk, synced, when this returns."""
        self.requested.finals.pop(run, None)
        self.requested.finals[run] = label
        self._write()

    def final_of(self, label: str | None = None) -> RunFolder | None:
        """Return the latest final run that is complete, of the setting or of any."""
        runs = [run for run, its in self.requested.finals.items() if label in (None, its)]
        records = map(self.outcomes.record, runs)
        complete = [record.run for record in records if record and record.is_complete]
        return self.root.run(complete[-1]) if complete else None

    def find(self, label: str) -> PlannedSetting:
        """Return the setting of this label; refuse another label."""
        by_label = {setting.label: setting for setting in self.settings}
        if label not in by_label:
            raise RequestError(
                f"The study {self.name} has no setting '{shown(label)}'.",
                did_you_mean(label, by_label),
            )
        return by_label[label]

    def _baseline(self) -> PlannedSetting | None:
        return next((setting for setting in self.settings if setting.key is None), None)

    def what_changed(self, runs: Mapping[tuple[str, int], RunSpec]) -> list[str]:
        """Return sentences on planned runs whose id is not what it was: which part changed."""
        planned, found = {s.label: s.runs for s in self.settings}, []
        for (label, seed), run in runs.items():
            before = planned.get(label, {}).get(seed)
            if before in (None, run.id) or (record := self.outcomes.record(str(before))) is None:
                continue
            parts = explain(record.identity, run.identity)
            digests = {"data", "initial_weights"}
            for identity in (record.identity, run.identity):
                digests |= identity["sources"].keys() | identity.get("files", {}).keys()
            texts = [  # a digest means nothing to a person
                f"{k}: changed" if k in digests else f"{k}: {_short(a)} → {_short(b)}"
                for k, (a, b) in parts.items()
            ]
            found.append(f"Trained anew because of what changed: {'; '.join(texts)}.")
        return list(dict.fromkeys(found))

    def _write(self) -> None:
        with creating(f"The study {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            content = self.requested.to_json()
            write_json(self.folder / "study.json", {**content, "sha256": _digest(content)})

    def _merge_axes(self, question: StudySpec, settings: Sequence[Setting]) -> None:
        axes = {axis.key: axis for axis in self.requested.axes}
        for axis in question.axes:
            known = axes.setdefault(
                axis.key,
                AxisRecord(key=axis.key, baseline=axis.baseline, levels=[], log=axis.log),
            )
            levels = [setting.level for setting in axis.levels]
            if axis.range is not None:
                levels = [setting.level for setting in settings if setting.key == axis.key]
                ends = [axis.range.low, axis.range.high, *(known.range or ())]
                known.range, known.log = [min(ends), max(ends)], axis.log
            texts = [show_value(level) for level in known.levels]
            known.levels += [level for level in levels if show_value(level) not in texts]
        self.requested.axes = list(axes.values())

    def _refuse_other(self, question: StudySpec, decision: Decision) -> None:
        """Refuse another baseline or metric, and other looks, whose errors are spent already."""
        there = self.requested
        both = there.baseline, _portable(question.baseline.to_dict(), question)
        differs = difference(*(_comparable(one, question) for one in both)) and {
            key: pair for key, pair in difference(*both).items() if pair != [None, None]
        }
        if question.experiment != self.experiment:
            differs = {"experiment": [self.experiment, question.experiment], **differs}
        if (question.metric, question.direction) != (self.metric, self.direction) and not differs:
            differs["select.metric"] = [self.metric, question.metric]
        if differs:
            text = ", ".join(f"{k}: {_short(a)} there, {_short(b)} here"
                             for k, (a, b) in differs.items())  # fmt: skip
            raise RequestError(
                f"The study {self.name} has another baseline ({text}).",
                "Name another study with --study, or leave --study out.",
            )
        most = there.looks[-1] if there.looks else None
        if most and decision.looks and decision.named_most and most != decision.most_seeds:
            raise RequestError(
                f"The study {self.name} was begun with --max-seeds {most}, and its looks have "
                "spent their share of the errors.",
                f"Take --max-seeds {most}, or name another study with --study.",
            )


def _digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a study's content, kept beside it."""
    return hashlib.sha256(canonical_json(json.loads(json.dumps(content))).encode()).hexdigest()


def _short(value: Any) -> str:
    return shown(show_value(value), 40)


# A study's name: checked, or made from a request.


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def study_name(question: StudySpec) -> str:
    """Return the name that follows from the experiment, its baseline and the names of the axes."""
    keys = sorted(axis.key for axis in question.axes)
    digest = hashlib.sha256(
        canonical_json(
            [question.experiment, _comparable(question.baseline.to_dict(), question), keys]
        ).encode()
    ).hexdigest()[:6]
    words = [key.rsplit(".", 1)[-1] for key in keys]
    middle = "-".join(words) if len(words) <= 3 else f"{len(words)}-axes"
    experiment = re.sub(r"[^A-Za-z0-9_]+", "-", question.experiment).strip("-") or "experiment"
    return f"{experiment[:40]}-{middle}-{digest}"


def _portable(baseline: dict[str, Any], question: StudySpec) -> dict[str, Any]:
    """Return a baseline with paths relative to the experiment's folder, which may be moved."""
    folder = question.request.path.parent
    for key in ("data.path", "data.root", "train.start_from"):
        place = get(baseline, key)
        if isinstance(place, str) and Path(place).is_relative_to(folder):
            baseline = with_value(baseline, key, str(Path(place).relative_to(folder)))
    return baseline


def _comparable(baseline: dict[str, Any], question: StudySpec) -> dict[str, Any]:
    """Return a portable baseline; one validation part is written as before there were folds."""
    share = get(baseline, "split.val_fraction")
    if share is not None or get(baseline, "split.folds") == 1:
        split = {k: v for k, v in baseline["split"].items() if k != "folds"}
        baseline = baseline | {"split": split | {"val_fraction": share or VAL_FRACTION}}
    return _portable(baseline, question)


def made_before_folds(
    root: ResultsDir, question: StudySpec, name: str | None
) -> tuple[str, str] | None:
    """Return the study that a request goes on with, if it was made before there were folds.

    Its seeds validate on one part, and so do those that are added to it: by the override beside it.
    """
    split = question.baseline.to_dict().get("split")
    if split is None or split["folds"] is not None or split["val_fraction"] is not None:
        return None
    one_part = replace(question, baseline=question.baseline.replace("split.folds", 1))
    name = name or study_name(one_part)
    if name not in root.study_names():
        return None
    there = Study.load(root, name).requested.baseline.get("split")
    if not isinstance(there, dict) or "folds" in there:
        return None
    share = there.get("val_fraction", VAL_FRACTION)
    return name, f"split.val_fraction={share!r}" if share != VAL_FRACTION else "split.folds=1"


def check_study_name(name: str) -> str:
    """Refuse a name that is no plain folder's name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise RequestError(
            f"--study '{shown(name, 60)}' is no name for a study.",
            "Take 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        )
    return name


def latest_study(root: ResultsDir) -> str:
    """Return the study that was planned last; refuse a root without one."""
    names = root.study_names()
    if not names:
        raise RequestError(f"There is no study in {root.path}.", "Begin one: paribus sweep digits")
    return max(names, key=lambda n: (root.studies / n / "study.json").stat().st_mtime_ns)
