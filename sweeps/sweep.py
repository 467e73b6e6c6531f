"""A sweep, end to end: the main path of the harness.

A design proposes settings, each one hyperparameter away from the baseline; the study plans their
runs; workers train them; the record decides the next round.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from paribus.core.config.schema import Configuration
from paribus.core.errors import MISUSED, Fault, Faults, ParibusError, RequestError, many
from paribus.core.records.record import RunRecord, folds_of
from paribus.core.records.run_dir import LOG
from paribus.core.run_spec import RunSpec
from paribus.sweeps.analysis import power_analysis
from paribus.sweeps.analysis.compare import Comparison, best_setting, compare_study
from paribus.sweeps.analysis.judge import judge_study
from paribus.sweeps.analysis.power_analysis import PowerAnalysis, analyse_power
from paribus.sweeps.execution import planner
from paribus.sweeps.execution.driver import RunEvent, RunnerOptions, drive
from paribus.sweeps.execution.executor import HERE, Executor, Placement, make_executor
from paribus.sweeps.execution.pool import Pool, Stop, never
from paribus.sweeps.formatting import without_credentials
from paribus.sweeps.progress.progress_state import Training
from paribus.sweeps.stats.power import seeds_can_decide
from paribus.sweeps.study import optuna_studies
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.designs import OneAtATime, UntilDecided
from paribus.sweeps.study.lookup import find_trained_run, request_for
from paribus.sweeps.study.optuna_studies import checked_storage
from paribus.sweeps.study.request import Request, StudyOptions, check_search
from paribus.sweeps.study.results import SettingResult, reasons_of
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import BASELINE, Setting
from paribus.sweeps.study.study import Study, check_study_name, made_before_folds
from paribus.sweeps.tracking import tracker as tracking
from paribus.sweeps.tracking.tracker import Tracker, TrackerCallback

Runs = Mapping[tuple[str, int], RunSpec]  # by label and seed
VIEW_EVERY = 5.0  # seconds between updates of the Optuna view while a sweep goes on


@contextmanager
def planned_sweep(
    root: ResultsDir,
    request: Request,
    options: StudyOptions,
    faults: Faults,
    *,
    placement: Placement = HERE,
    track: Sequence[str] = (),
) -> Iterator[Sweep]:
    """Check and plan what `paribus sweep` requests; nothing is created yet.

    `faults` are those of the command's options, reported with those of the request. Workers end
    with the block.
    """
    with faults.collecting():
        root.check_writable()
    with faults.collecting():
        if options.name is not None:
            check_study_name(options.name)
    with faults.collecting():
        options = replace(options, storage=options.storage and checked_storage(options.storage))
    with make_executor(placement) as pool:
        pool.start()
        # This process is idle while the workers import torch.
        optuna_studies.warm_up()
        power_analysis.warm_up()
        tracking.warm_up(track)
        with faults.collecting():
            pool.prepare()
        yield Sweep(request, options, root, pool, faults.found)


class Sweep(Training):
    """One command's part of a study: planned when it is made, trained by `train`."""

    def __init__(
        self,
        request: Request,
        options: StudyOptions,
        root: ResultsDir,
        pool: Executor,
        found: Sequence[Fault] = (),
    ) -> None:
        self.root, self.pool, self._options = root, pool, options
        self.search = options.search
        self.settings: list[Setting] = []
        self.runs: dict[tuple[str, int], RunSpec] = {}  # by label and seed
        self.notes: list[str] = []
        self.page: Path | None = None
        self.seconds = 0.0
        self._misused: RunRecord | None = None  # a command that will fail whatever the setting
        self._ended = {"trained": 0, "reused": 0, "failed": 0}
        self._stopped: dict[str, str] = {}  # run id to why it was not finished

        self.question = pool.call(planner.read_request, request, found)
        if earlier := made_before_folds(root, self.question, options.name):
            name, one_part = earlier
            request = replace(request, overrides=(*request.overrides, one_part))
            self.question = pool.call(planner.read_request, request)
            self.notes.append(
                f"{name} was made before there were folds: it goes on with {one_part}."
            )
        self.request = self.question.request  # with full keys
        check_search(self.search, self.question.axes)
        self.study = study = Study.open(root, self.question, options)
        self.name = study.name
        looks = study.requested.looks if options.decision.looks else ()
        self.decision = replace(options.decision, looks=looks)
        self.seeds = range(looks[0]) if looks else options.seeds
        optuna_studies.check_stored(study)
        # Looking once more, at the whole 5 %, is what looks are there to avoid.
        self.replaces_verdicts = bool(looks and study.settings and not study.had_looks)
        self.design: OneAtATime | UntilDecided = OneAtATime(
            self.question.baseline, self.question.axes, self.seeds, study.direction, self.search
        )
        if looks:
            self.design = UntilDecided(self.design, looks, self._undecided)
        self._propose()
        if self.runs:
            pool.check(next(iter(self.runs.values())))

    def train(
        self, tracker: Tracker, options: RunnerOptions, *, stop: Stop = never
    ) -> Iterator[RunEvent]:
        """Train what is not finished yet, yielding each run's epochs and end, until `stop`.

        Raises:
            ParibusError: If a command is misused: it was given options that it has not, or prints
                other metrics. No other run is begun then.
        """
        started = time.monotonic()

        def halted() -> bool:
            return self._misused is not None or stop()

        self.root.create()
        with self.root.lock(f"study-{self.name}", f"The study {self.name}"):
            # Another command may have added to it until now.
            self.study = Study.open(self.root, self.question, self._options)
            self.notes += optuna_studies.repair(self.study)
            driven: set[str] = set()  # a setting of a later round may be one of an earlier one
            while self._wanted and not halted():
                settings, runs = self._wanted
                self.notes += self.study.plan(self.question, settings, runs)
                new = [run for run in runs.values() if run.id not in driven]
                driven.update(run.id for run in new)
                yield from self._drive(new, tracker, options, halted)
                if not halted():
                    if self.search.pruner and (labels := self.design.pruned(self._values())):
                        self.study.prune(labels, self.seeds, self.search.pruner)
                    self._propose()
            if not halted():
                self.notes += self._fewer_trials()
            self.notes += [f"{r.label} stopped: {r.reason}" for r in self.results()
                           if r.status == "interrupted" and r.reason]  # fmt: skip
            if self.study.settings:  # else it was stopped before anything was planned
                self._export_to_optuna()
            if not halted():
                self._write_page(tracker)
        self.seconds = time.monotonic() - started
        if self._misused is not None:
            log = self.root.run(self._misused.run).folder / LOG
            raise ParibusError(
                f"{str(self._misused.reason).partition(': ')[2]} No other run was begun.",
                f"Correct the command, its --metric or SELECT; what it printed: {log}",
            )

    def _propose(self) -> None:
        """Ask the design for the next round, given what was found, and plan its runs.

        A run of an earlier round that has no result is left to the next command.
        """
        wanted = []
        for setting, seeds in self.design.propose(self._values()):
            if new := [seed for seed in seeds if (setting.label, seed) not in self.runs]:
                wanted.append((setting, new))
        self._wanted: tuple[list[Setting], Runs] | None = None
        if wanted:
            baseline = self.question.baseline
            self._wanted = self.pool.call(planner.plan_runs, self.request, baseline, wanted)
            known = {setting.label for setting in self.settings}
            self.settings += [s for s in self._wanted[0] if s.label not in known]
            self.runs.update(self._wanted[1])

    def _drive(
        self, runs: Sequence[RunSpec], tracker: Tracker, options: RunnerOptions, stop: Stop
    ) -> Iterator[RunEvent]:
        """Train runs; the tracker and, from time to time, Optuna's view follow."""
        viewed, pause = time.monotonic(), VIEW_EVERY
        with closing(TrackerCallback(tracker, self.root, self.study, runs)) as callback:
            for event in drive(runs, self.root, self.pool, options, stop=stop):
                if event.progress and event.progress.ended == "attempt":
                    said = (event.progress.reason, event.progress.advice)
                    self._stopped[event.run.id] = "; ".join(text for text in said if text)
                if event.record:
                    self.study.outcomes.take(event.record)
                    self._ended["reused" if event.reused else "trained"] += 1
                    self._ended["failed"] += event.record.status == "failed"
                    misused = str(event.record.reason).startswith(MISUSED)
                    if misused and not any(result.seeds for result in self.study.results()):
                        self._misused = event.record
                    if time.monotonic() - viewed > pause:
                        began = time.monotonic()
                        self._export_to_optuna(only_add=True)
                        viewed = time.monotonic()
                        pause = max(VIEW_EVERY, 10 * (viewed - began))  # a server may not answer
                callback.on_event(event)
                yield event

    def _values(self) -> dict[str, dict[int, float | None]]:
        """Return the values of this command's own runs, by label and seed; None of failed ones."""
        return {
            r.label: {seed: x for seed, x in r.by_seed.items() if (r.label, seed) in self.runs}
            for r in self.results()
        }

    def _undecided(self) -> dict[str, int]:
        """Return settings that more seeds may decide, with the seeds of their last look."""
        study = self.study
        judged = judge_study(study, study.results(), study.metric)
        return {
            label: one.look or 0
            for label, one in (judged.by_label if judged else {}).items()
            if judged and seeds_can_decide(one, judged.standard)
        }

    def _fewer_trials(self) -> list[str]:
        """Return sentences on the axes whose range has fewer levels than trials were requested."""
        if any(result.status == "interrupted" for result in self.results()):
            return []
        wanted = self.search.trials_of_a_range
        counts = Counter(setting.key for setting in self.settings)
        return [
            f"{axis.key}: {counts[axis.key]} trials instead of {wanted}, as these are all levels "
            f"of {axis.range.text}."
            for axis in self.question.axes
            if axis.range is not None and counts[axis.key] < wanted
        ]

    def _export_to_optuna(self, *, only_add: bool = False) -> None:
        """Update the Optuna view; where that fails, the next command writes it."""
        try:
            unfinished = [r.label for r in self.results() if r.status == "interrupted"]
            optuna_studies.write(self.study, only_add=only_add, unfinished=unfinished)
        except Exception as error:
            if not only_add:
                line = f"{type(error).__name__}: {error}".split("\n")[0]
                self.notes.append(f"The Optuna view is not up to date ({line}); run this again.")

    def _write_page(self, tracker: Tracker) -> None:
        """Write the page and log the study; if that fails, the results are still there."""
        try:
            self.page = tracking.conclude(self.study, tracker)
        except Exception as error:
            line = f"{type(error).__name__}: {error}".split("\n")[0]
            self.notes.append(f"The page was not written ({line}); see: paribus report.")

    def results(self) -> list[SettingResult]:
        """Return what happened with this command's settings and seeds, and why it stopped."""
        found = self.study.results([s.label for s in self.settings], self._fixed_seeds)
        stopped: dict[str, dict[int, str]] = {}
        for (label, seed), run in self.runs.items():
            if reason := self._stopped.get(run.id):
                stopped.setdefault(label, {})[seed] = reason
        return [
            replace(r, reason=reasons_of(stopped[r.label]))
            if r.status == "interrupted" and r.label in stopped
            else r
            for r in found
        ]

    def comparison(self) -> Comparison:
        """Compare this command's settings on its seeds."""
        family = self.study.results(seeds=self._fixed_seeds)  # all of the study's settings
        return compare_study(self.study, family, labels=[s.label for s in self.settings])

    @property
    def _fixed_seeds(self) -> Sequence[int] | None:
        """None: as many as were planned, where seeds are added until it is decided."""
        return None if self.decision.looks else self.seeds

    def document(self) -> dict[str, Any]:
        """Return the `sweep` document of the contract."""
        results = self.results()
        best = best_setting(results, self.study.direction)
        return {
            "study": self.study.name,
            "experiment": self.study.experiment,
            "metric": {"name": self.study.metric, "direction": self.study.direction},
            "sameness": sameness(self.question.baseline.to_dict()),
            "runs": self.counts,
            "settings": [result.document() for result in results],
            "best": best.label if best else None,
            "seconds": round(self.seconds, 3),
            "power": self.power_analysis().document(),
            "until_decided": self.cost_of_deciding(),
            "page": None if self.page is None else str(self.page.absolute()),
            "storage": without_credentials(optuna_studies.url_of(self.study)),
        }

    @property
    def counts(self) -> dict[str, int]:
        """Runs ``planned``, ``trained`` by this command, ``reused``, and ``failed`` of these."""
        return {"planned": len(self.distinct_runs()), **self._ended}

    def distinct_runs(self) -> list[RunSpec]:
        """Return this command's runs as far as they are planned, each once."""
        return list({run.id: run for run in self.runs.values()}.values())

    def most_runs(self) -> int:
        """Return how many runs there are at most, with those that later rounds may ask for."""
        later = (self.design.size - len(self.settings)) * len(self.seeds)
        if self.search.pruner is not None:
            planned = Counter(label for label, _ in self.runs)
            ended = {r.label for r in self.results() if r.status in ("failed", "pruned")}
            labels = (setting.label for setting in self.settings if setting.label not in ended)
            later += sum(len(self.seeds) - planned[label] for label in labels)
        return len(self.distinct_runs()) + later

    def time_updates(self, requested: Configuration) -> tuple[float, float]:
        """Return seconds per update and per validation, from one short epoch; writes nothing."""
        return self.pool.call(planner.time_updates, self.request, requested)

    def power_analysis(self) -> PowerAnalysis:
        """Return what so many seeds can find, given what is known of the study."""
        seeds = self.decision.most_seeds if self.decision.looks else len(self.seeds)
        labels = {setting.label for setting in self.settings}
        # Those of an explored axis may be what it is about to propose again.
        explored = {a.key for a in self.question.axes if self.search.trials_of(a) is not None}
        others = sum(
            setting.label not in labels and setting.key not in explored
            for setting in self.study.settings
        )
        settings, alpha = self.design.size - 1 + others, self.decision.alpha
        return analyse_power(self.study, seeds, settings, self.folds, alpha)

    @property
    def folds(self) -> int:
        """Over how many folds the seeds validate; 1: all on one part."""
        run = next(iter(self.runs.values()))
        return folds_of(run.configuration)

    def cost_of_deciding(self) -> dict[str, Any] | None:
        """Return the runs that adding seeds took, and how many the most seeds would have taken."""
        if not self.decision.looks:
            return None
        taken = sum(len(result.runs) for result in self.results())
        fixed = len(self.settings) * self.decision.most_seeds
        return {"looks": list(self.decision.looks), "runs": taken, "fixed": fixed}


# One run, planned and trained: what `paribus run` does.


@contextmanager
def planned_run(
    root: ResultsDir, request: Request, seed: int, faults: Faults
) -> Iterator[SingleRun]:
    """Check and plan what `paribus run` requests, as `planned_sweep` does."""
    with faults.collecting():
        root.check_writable()
    with Pool(1) as pool:
        run = pool.call(planner.plan_run, request, seed, faults.found)
        yield SingleRun(run, root, pool)


class SingleRun(Training):
    """One command's one run; `reused` where it was there already."""

    def __init__(self, run: RunSpec, root: ResultsDir, pool: Pool) -> None:
        self.run, self.root, self.pool = run, root, pool
        self.runs = {(BASELINE, run.seed): run}
        self.record: RunRecord | None = None
        self.reused = False
        self._advice: str | None = None  # where it was stopped

    def summary(self) -> list[str]:
        """Return lines on what is trained, where more is to be said than the command did."""
        return []

    def train(
        self, tracker: Tracker, options: RunnerOptions, *, stop: Stop = never
    ) -> Iterator[RunEvent]:
        """Train the run, or take it from the root, yielding its epochs and its end."""
        self.root.create()
        callback = TrackerCallback(tracker, self.root, None, [self.run])
        for event in drive([self.run], self.root, self.pool, options, stop=stop):
            callback.on_event(event)
            self.record, self.reused = event.record, event.reused
            self._advice = event.progress.advice if event.progress else None
            yield event

    def finished(self, again: str) -> RunRecord:
        """Return the record; if the run was not finished, raise an error with the hint `again`."""
        if self.record is None:
            why = f"; {self._advice}" if self._advice else ""
            raise ParibusError(f"{self.run.id} was not finished{why}.", again)
        return self.record


# A chosen setting, trained once on all but the test part: what `paribus finalize` does.


@contextmanager
def planned_final(
    root: ResultsDir,
    name: str,
    label: str | None,
    engine: str = "auto",
    *,
    test: bool = False,
    trust: bool = False,
) -> Iterator[FinalRun]:
    """Check and plan the final run of a study's setting; None: of its best one.

    With `test` it has to have a test part.
    """
    root.check_writable()
    study = Study.load(root, name)
    results = {result.label: result for result in study.results()}
    if label is None:
        best = best_setting([*results.values()], study.direction)
        label = best.label if best else BASELINE
    seeds = results[study.find(label).label].seeds
    if not seeds:
        raise RequestError(
            f"{name}/{label} has no complete run, and the best epochs of a setting's runs say how "
            "long to train.",
            "Finish it first: the sweep's command goes on where it stopped.",
        )
    ids = [study.find(label).runs[seed] for seed in seeds]
    records = [find_trained_run(root, run, "finalize")[1] for run in ids]
    request = request_for(root, ids[0], engine=engine, trust=trust)
    epochs = {record.run: record.best.epoch for record in records if record.best}
    origin = {"study": name, "label": label, "best_epochs": epochs}
    with Pool(1) as pool:
        run, sizes = pool.call(planner.plan_final, request, records, origin)
        if test and not sizes["test"]:
            raise RequestError(
                f"--test: {name} has no test part (split.test_fraction is 0).", "Leave it out."
            )
        yield FinalRun(run, root, pool, sizes)


class FinalRun(SingleRun):
    """The final run of a study's setting; `sizes` are the examples of each part."""

    def __init__(self, run: RunSpec, root: ResultsDir, pool: Pool, sizes: dict[str, Any]) -> None:
        super().__init__(run, root, pool)
        self.sizes, self.origin = sizes, run.noted["finalized"]

    def summary(self) -> list[str]:
        """Return lines on what is trained, on how much, and for how long."""
        origin, best = self.origin, [*self.origin["best_epochs"].values()]
        on = f"trained on {many(self.sizes['train'], 'example')}, all but the test part's"
        stop = f"stops after epoch {self.run.facts['epochs']} of {origin['schedule']}"
        return [
            f"study {origin['study']}, setting {origin['label']}: its final model",
            f"{on} {self.sizes['test']}; seed {self.run.seed}",
            f"{stop}, the median of its runs' best epochs: {', '.join(map(str, best))}",
        ]

    def train(
        self, tracker: Tracker, options: RunnerOptions, *, stop: Stop = never
    ) -> Iterator[RunEvent]:
        """Note the run in its study; the rest as for any run."""
        name = self.origin["study"]
        with self.root.lock(f"study-{name}", f"The study {name}"):
            Study.load(self.root, name).plan_final(self.run.id, self.origin["label"])
        yield from super().train(tracker, options, stop=stop)
