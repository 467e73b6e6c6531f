"""What happened with the settings of a study: records that may be compared, and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from paribus.core.errors import DamagedError
from paribus.core.records.record import Epoch, RunRecord
from paribus.sweeps.stats.verdicts import Pairs, mean_and_std
from paribus.sweeps.study.controls import disagreement, same_surroundings, shared_tensors
from paribus.sweeps.study.results_dir import ResultsDir

Pair = Annotated[list[Any], Field(min_length=2, max_length=2)]  # of the baseline, of the setting
Status = Literal["complete", "failed", "pruned", "interrupted"]


@dataclass
class PlannedSetting:
    """A setting as `study.json` holds it; more in `Setting`."""

    label: str
    key: str | None
    level: Any
    changed: dict[str, Pair]
    derived: dict[str, Pair]
    runs: dict[int, str] = field(default_factory=dict)  # seed to run id
    pruned: str | None = None  # by which pruner, before it had all seeds


@dataclass(frozen=True)
class SettingResult:
    """What happened with a setting.

    It is ``complete``, ``failed`` if any seed failed, ``pruned`` if it gets no more seeds, else
    ``interrupted``.
    """

    setting: PlannedSetting
    seeds: tuple[int, ...]  # of its complete runs
    values: tuple[float, ...]  # the selection metric of the best epoch of each of these
    runs: tuple[str, ...]  # ids of its planned runs that were found, in order of seed
    status: Status
    reason: str | None
    failed: tuple[int, ...] = ()  # seeds whose training failed, or whose run cannot be compared
    shared_tensors: tuple[int, int] | None = None  # of a change of the model, as `shared_tensors`
    folds: int = 1  # into which the examples are cut

    @property
    def label(self) -> str:
        return self.setting.label

    @property
    def by_seed(self) -> dict[int, float | None]:
        """Seed to value of the runs that ended; None where it failed."""
        return dict.fromkeys(self.failed) | dict(zip(self.seeds, self.values, strict=True))

    @property
    def mean(self) -> float | None:
        return mean_and_std(self.values)[0]

    @property
    def std(self) -> float | None:
        return mean_and_std(self.values)[1]

    def paired(self, baseline: SettingResult) -> Pairs:
        """Return the values of the seeds that both have."""
        base = dict(zip(baseline.seeds, baseline.values, strict=True))
        shared = {s: v for s, v in zip(self.seeds, self.values, strict=True) if s in base}
        folds = [seed % self.folds for seed in shared]
        return Pairs.of([*shared.values()], [base[seed] for seed in shared], folds=folds)

    def document(self) -> dict[str, Any]:
        """Return SETTING of the contract."""
        return {
            "label": self.setting.label,
            "changed": self.setting.changed,
            "derived": self.setting.derived,
            "runs": list(self.runs),
            "seeds": list(self.seeds),
            "values": list(self.values),
            "mean": self.mean,
            "std": self.std,
            "status": self.status,
            "reason": self.reason,
            "pruned": self.setting.pruned if self.status == "pruned" else None,
            "shared_tensors": self.shared_tensors and list(self.shared_tensors),
        }


def reasons_of(failed: Mapping[int, str]) -> str | None:
    """Return why seeds failed, each reason once: ``seeds 0, 1: …; seed 2: …``"""
    seeds: dict[str, list[str]] = {}
    for seed, reason in failed.items():
        seeds.setdefault(reason, []).append(str(seed))
    texts = [f"seed{'s' * (len(n) > 1)} {', '.join(n)}: {reason}" for reason, n in seeds.items()]
    return "; ".join(texts) or None


class Outcomes:
    """The records of a study's runs, each read once, and the results of its settings.

    Of a run only the files in `only` have to be whole; None: all.

    Attributes:
        damaged: Run id to what is wrong with it, of those that were read.
    """

    def __init__(self, root: ResultsDir, only: tuple[str, ...] | None = None) -> None:
        self._root, self._only = root, only
        self.damaged: dict[str, str] = {}
        self._records: dict[str, RunRecord] = {}
        self._proofs: dict[tuple[str, str], str | None] = {}
        self._histories: dict[str, list[Epoch]] = {}

    def record(self, run: str) -> RunRecord | None:
        """Return a finished run's record, read once; None if there is none, or it is damaged."""
        if run not in self._records:
            folder = self._root.run(run)
            try:
                self._records[run] = folder.verified_record(self._only)
            except DamagedError as error:
                if folder.folder.is_dir():
                    self.damaged[run] = str(error)
                return None
        return self._records[run]

    def take(self, record: RunRecord) -> None:
        """Note the verified record of a run that has just ended, in place of an earlier one."""
        run = record.run
        if run in self._records or run in self.damaged:
            self._proofs = {runs: p for runs, p in self._proofs.items() if run not in runs}
        self._records[run] = record
        self.damaged.pop(run, None)
        self._histories.pop(run, None)

    def of(
        self,
        setting: PlannedSetting,
        baseline: PlannedSetting | None,
        metric: str,
        seeds: Sequence[int] | None = None,
    ) -> SettingResult:
        """Return what happened with a setting, in the newest environment it was trained in.

        The metric is that of the best epoch. A baseline is compared with where it is planned.
        """
        complete: dict[int, float] = {}
        found: list[str] = []
        failed: dict[int, str] = {}
        folds = 1
        wanted = sorted(s for s in setting.runs if seeds is None or s in seeds)
        same_data = setting.key is None or setting.key.split(".")[0] != "data"
        newest = ((self._newest(setting), True), (self._newest(baseline), same_data))
        for seed in wanted:
            record = self.record(setting.runs[seed])
            if record is None or not all(
                other is None or same_surroundings(other.identity, record.identity, data=data)
                for other, data in newest
            ):
                continue
            found.append(setting.runs[seed])
            folds = record.folds
            reason, value = record.reason, record.metrics.get(metric)
            if record.is_complete and (base := self._complete(baseline, seed)):
                reason = self._disagreement(setting, base, record)
            if reason is None and value is not None:
                complete[seed] = value
            else:
                failed[seed] = reason or f"{metric} is not defined"
        ended = bool(wanted) and len(complete) == len(wanted)
        all_seeds = seeds is None or len(wanted) == len(set(seeds))
        if failed:
            status: Status = "failed"
        elif ended and setting.pruned and (seeds is None or not all_seeds):
            status = "pruned"
        else:
            status = "complete" if ended and all_seeds else "interrupted"
        shared = None
        if setting.key and setting.key.split(".")[0] == "model" and complete:
            first = min(complete)
            ours, theirs = self._complete(baseline, first), self._complete(setting, first)
            shared = shared_tensors(ours, theirs) if ours and theirs else None
        return SettingResult(
            setting,
            tuple(complete),
            tuple(complete.values()),
            tuple(found),
            status,
            reasons_of(failed),
            tuple(failed),
            shared,
            folds,
        )

    def _newest(self, setting: PlannedSetting | None) -> RunRecord | None:
        """Return the record of the run that was planned last, of those that are finished."""
        planned = reversed(setting.runs.values()) if setting else ()
        return next((record for run in planned if (record := self.record(run))), None)

    def _complete(self, setting: PlannedSetting | None, seed: int) -> RunRecord | None:
        """Return the record of a setting's run, if it is complete."""
        record = self.record(setting.runs[seed]) if setting and seed in setting.runs else None
        return record if record and record.is_complete else None

    def _disagreement(
        self, setting: PlannedSetting, base: RunRecord, record: RunRecord
    ) -> str | None:
        """Return why a run cannot be compared with the baseline's of the same seed, if so."""
        if setting.key is None:
            return None
        runs = (base.run, record.run)
        if runs not in self._proofs:
            history = self._root.run(record.run).history
            self._proofs[runs] = disagreement(
                setting.key, base, record, lambda: self._baseline_history(base.run), history
            )
        return self._proofs[runs]

    def _baseline_history(self, run: str) -> list[Epoch]:
        """Return the epochs of a baseline's run, read once: every setting is checked against it."""
        if run not in self._histories:
            self._histories[run] = self._root.run(run).history()
        return self._histories[run]
