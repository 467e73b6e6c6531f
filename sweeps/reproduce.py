"""Finished runs trained again from their records, and compared bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from paribus.core.errors import DamagedError, RequestError
from paribus.core.fileio import manifest_faults
from paribus.core.fingerprint import explain, run_id, without_places
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import BEST, PREDICTIONS, RunFolder
from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import RunEvent, RunnerOptions, drive
from paribus.sweeps.execution.pool import Pool, Stop, never
from paribus.sweeps.progress.progress_state import Training
from paribus.sweeps.stats.variance import prediction_interval
from paribus.sweeps.stats.verdicts import mean_and_std
from paribus.sweeps.study.lookup import find_run
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker

Grade = Literal["bit-exact", "agrees", "differs"]


@contextmanager
def planned_reproduction(
    root: ResultsDir, text: str, *, workers: int | None = None, trust: bool = False
) -> Iterator[Reproduction]:
    """Plan the training of a run, or of all seeds of ``STUDY/LABEL``, once more.

    The scratch folder ends with the block. What the records name beyond themselves takes `trust`.

    Raises:
        DamagedError: If a record cannot be parsed, or its sources are not what they were.
        RequestError: If there is no such run, or it cannot be trained here.
    """
    folders, missing = _wanted(root, text)
    records = [folder.record() for folder in folders]
    with (
        Pool(1 if len(folders) == 1 else workers) as pool,
        tempfile.TemporaryDirectory(prefix="paribus-reproduce-") as scratch,
    ):
        planned = []
        for folder, record in zip(folders, records, strict=True):
            damaged = (*manifest_faults(folder.folder), *_own_faults(record))
            try:
                run, differs = pool.call(_plan, folder, record, trust)
            except RequestError as error:
                if not damaged or error.kind == "untrusted":
                    raise
                raise DamagedError(f"{damaged[0]} It cannot be trained: {error}") from (error)
            planned.append(Again(folder, record, damaged, run, differs))
        place = ResultsDir(Path(scratch))
        place.create()
        yield Reproduction(planned, place, pool, missing)


class Reproduction(Training):
    """Finished runs that are trained again, in a root that is thrown away.

    `missing` are the seeds of the setting that have no finished run.
    """

    def __init__(
        self, planned: Sequence[Again], root: ResultsDir, pool: Pool, missing: Sequence[int]
    ) -> None:
        self.planned, self.root, self.pool, self.missing = planned, root, pool, missing
        self.runs = {(BASELINE, again.run.seed): again.run for again in planned}

    def train(
        self,
        tracker: Tracker,  # noqa: ARG002
        options: RunnerOptions,
        *,
        stop: Stop = never,
    ) -> Iterator[RunEvent]:
        """Train the runs; nothing is tracked."""
        return drive([*self.runs.values()], self.root, self.pool, options, stop=stop)

    def results(self) -> list[Reproduced]:
        """Return each run compared with what it was."""
        found = []
        for again in self.planned:
            record, difference = self.root.finished(again.run.id), None
            if record is not None:
                now = self.root.run(again.run.id)
                difference = _first_difference(again.folder, now, again.record, record)
            values = _values_over_seeds(again)
            spread = prediction_interval(values)
            found.append(Reproduced(again, record, difference, spread, len(values)))
        return found


@dataclass(frozen=True)
class Again:
    """A recorded run, and the same planned here.

    Attributes:
        damaged: A sentence for each part of it that is not what was written.
        differs: What of its identity and of what it read is not as it was: ``{name: [then, now]}``.
    """

    folder: RunFolder
    record: RunRecord
    damaged: tuple[str, ...]
    run: RunSpec
    differs: dict[str, list[Any]]


@dataclass(frozen=True)
class Difference:
    """Where two runs first differ: in an epoch counted from 1, or 0 before the first step."""

    epoch: int
    quantity: str
    then: Any
    now: Any


@dataclass(frozen=True)
class Reproduced:
    """A recorded run compared with the one trained again.

    Attributes:
        record: The new record; None if it was not finished.
        difference: Where the two first differ.
        spread: Where the selection metric of another seed would lie (95 %); None if not known.
        seeds: From how many seeds that is known.
    """

    again: Again
    record: RunRecord | None
    difference: Difference | None
    spread: tuple[float, float] | None
    seeds: int

    @property
    def identical(self) -> bool:
        return self.record is not None and self.difference is None and not self.again.damaged

    @property
    def grade(self) -> Grade:
        """``agrees``: not the bits, but inside the setting's spread over seeds."""
        if self.identical:
            return "bit-exact"
        now = self.values[1]
        inside = self.spread and now is not None and self.spread[0] <= now <= self.spread[1]
        return "agrees" if inside else "differs"

    @property
    def values(self) -> tuple[float | None, float | None]:
        """The selection metric of the best epoch, then and now."""
        return self.again.record.value, self.record.value if self.record else None

    @property
    def run(self) -> str:
        """The run's id."""
        return self.again.record.run

    @property
    def environment(self) -> dict[str, list[Any]]:
        """What of its identity is not as it was: ``{name: [then, now]}``."""
        return self.again.differs

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus reproduce RUN --json`` prints."""
        then, now = self.again.record, self.record
        return {
            "run": self.run,
            "identical": self.identical,
            "grade": self.grade,
            "first_difference": vars(self.difference) if self.difference else None,
            "environment": self.environment,
            "damaged": list(self.again.damaged),
            "metric": then.metric,
            "values": list(self.values),
            "spread": self.spread and list(self.spread),
            "certificate": {
                "experiment": then.experiment,
                "seed": then.seed,
                "epochs": then.epochs,
                "configuration": then.configuration,
                "data_sha256": then.identity["data"],
                "weights_sha256": [then.weights_sha256, now and now.weights_sha256],
                "environment": [
                    then.identity["environment"],
                    self.again.run.identity["environment"],
                ],
                "distributions": then.identity["distributions"],
                "command": f"paribus reproduce {then.run}",
            },
        }


@dataclass(frozen=True)
class ReproducedSetting:
    """All seeds of a setting, ``STUDY/LABEL``, trained again."""

    run: str
    runs: Sequence[Reproduced]

    @property
    def identical(self) -> bool:
        return all(result.identical for result in self.runs)

    @property
    def grade(self) -> Grade:
        """The worst of its runs."""
        order: tuple[Grade, ...] = ("differs", "agrees", "bit-exact")
        return min((result.grade for result in self.runs), key=order.index)

    @property
    def difference(self) -> Difference | None:
        """Where the first run that differs does so first."""
        return next((result.difference for result in self.runs if result.difference), None)

    @property
    def environment(self) -> dict[str, list[Any]]:
        """What of their identities is not as it was: ``{name: [then, now]}``."""
        return {k: pair for result in self.runs for k, pair in result.environment.items()}

    @property
    def statistics(self) -> list[tuple[float | None, float | None]]:
        """Mean and standard deviation of the selection metric, then and now."""
        return [
            mean_and_std([v for r in self.runs if (v := r.values[i]) is not None]) for i in (0, 1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus reproduce STUDY/LABEL --json`` prints."""
        means, deviations = zip(*self.statistics, strict=True)
        return {
            "run": self.run,
            "identical": self.identical,
            "grade": self.grade,
            "first_difference": vars(self.difference) if self.difference else None,
            "environment": self.environment,
            "mean": list(means),
            "std": list(deviations),
            "runs": [result.to_dict() for result in self.runs],
        }


def _plan(
    folder: RunFolder, record: RunRecord, trust: bool
) -> tuple[RunSpec, dict[str, list[Any]]]:
    """Return the recorded run as this machine would train it, and what is not as it was."""
    from paribus.core.inference.load_run import changed_later, naming_sources, recorded_run
    from paribus.core.training.job import resolver_for_file

    recorded = recorded_run(folder, record, trust=trust, to_train=True)
    with naming_sources(recorded):
        resolver = resolver_for_file(recorded.path, recorded.import_paths)
        run = resolver.specify(recorded.requested, recorded.seed, recorded.engine)
    return run, explain(record.identity, run.identity) | changed_later(record)


def _wanted(root: ResultsDir, text: str) -> tuple[list[RunFolder], list[int]]:
    """Return the run meant, or all finished runs of ``STUDY/LABEL`` and the seeds without one."""
    name, slash, label = text.partition("/")
    if slash and name in root.study_names():
        study = Study.load(root, name)
        if label in [setting.label for setting in study.settings]:
            found = {seed: root.run(run) for seed, run in study.find(label).runs.items()}
            missing = [seed for seed, folder in found.items() if not folder.folder.is_dir()]
            if len(missing) == len(found):
                raise RequestError(f"{text} has no finished run.", "Train it first.", "unknown-run")
            return [folder for seed, folder in found.items() if seed not in missing], missing
    return [find_run(root, text)], []


def _own_faults(record: RunRecord) -> Iterator[str]:
    """Yield what in a record does not fit its own id."""
    identity = record.identity
    if run_id(record.experiment, identity) != record.run:
        yield f"{record.run}: the id does not follow from the identity in run.json."
    recorded = {**record.configuration, "data": without_places(record.configuration)}
    for key, (then, now) in explain(
        {"configuration": identity["configuration"], "seed": identity["seed"]},
        {"configuration": recorded, "seed": record.seed},
    ).items():
        yield f"{record.run}: in run.json {key} is {now}, its id was made of {then}."


def _values_over_seeds(again: Again) -> list[float]:
    """Return the recorded selection metric of the runs beside it that differ in the seed only."""
    values = []
    for folder in sorted(again.folder.folder.parent.glob("*-s*-*")):
        try:
            record = RunFolder(folder).verified_record()
        except DamagedError:
            continue
        same = {**record.identity, "seed": 0} == {**again.record.identity, "seed": 0}
        value = record.value
        if same and value is not None:
            values.append(value)
    return values


def _first_difference(
    then: RunFolder, now: RunFolder, before: RunRecord, after: RunRecord
) -> Difference | None:
    """Return where two runs first differ, as far as either recorded it."""
    for epoch, quantity, old, new in _quantities(then, now, before, after):
        if old != new:
            return Difference(epoch, quantity, old, new)
    if after.best is None:
        return None
    for file in (PREDICTIONS, BEST):
        paths = then.folder / file, now.folder / file
        if not any(path.exists() for path in paths):
            continue  # a function keeps them to itself
        if (tensor := _differing_tensor(*paths)) is not None:
            return Difference(after.best.epoch, f"{file} {tensor}".strip(), None, None)
    return None


def _quantities(
    then: RunFolder, now: RunFolder, before: RunRecord, after: RunRecord
) -> Iterator[tuple[int, str, Any, Any]]:
    """Yield what two runs recorded, epoch by epoch, then of the end: epoch, name, then, now."""
    a, b = before.initial_weights or {}, after.initial_weights or {}
    for name in {**a, **b}:
        yield 0, f"initial weights {name}", a.get(name), b.get(name)
    olds, news = ({epoch.epoch: epoch for epoch in run.history()} for run in (then, now))
    for number in sorted({**olds, **news}):
        old, new = olds.get(number), news.get(number)
        if old is None or new is None:
            yield number, "history", old and "a line", new and "a line"
            continue
        yield number, "batch order", old.order_sha256, new.order_sha256
        names = {**old.metrics, **new.metrics}
        for name in sorted(names, key=lambda name: (not name.startswith("train/"), name)):
            yield number, name, old.metrics.get(name), new.metrics.get(name)
        yield number, "weights", old.weights_sha256, new.weights_sha256
    for key in ("status", "reason", "epochs", "weights_sha256"):
        yield after.epochs, key, getattr(before, key), getattr(after, key)
    best, best_now = (r.best.model_dump() if r.best else None for r in (before, after))
    yield after.epochs, "best epoch", best, best_now


def _differing_tensor(then: Path, now: Path) -> str | None:
    """Return the first tensor that differs; "" if a file cannot be read, None if none does.

    Their metadata may differ: it names the run, and a run's id its environment.
    """
    from safetensors import SafetensorError, deserialize

    try:
        old, new = (dict(deserialize(path.read_bytes())) for path in (then, now))  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError):
        return ""
    return next((name for name in sorted({**old, **new}) if old.get(name) != new.get(name)), None)
