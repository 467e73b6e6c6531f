"""The progress of training: of each run, of each setting and of all of it."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import RunEvent, RunnerOptions
from paribus.sweeps.execution.pool import Stop
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.tracking.tracker import Tracker

State = Literal["waiting", "training", "done", "failed", "stopped"]
_ENDED = ("done", "failed", "stopped")


class Training:
    """What was planned and can be trained: a sweep, a single run, or runs once more.

    One run may be there under more than one label and seed. `runs` only grows.
    """

    name: str | None = None  # the study's
    root: ResultsDir
    runs: Mapping[tuple[str, int], RunSpec]

    def most_runs(self) -> int:
        """Return how many runs there are at most, with those that are planned later."""
        return len(self.runs)

    def train(self, tracker: Tracker, options: RunnerOptions, *, stop: Stop) -> Iterator[RunEvent]:
        """Train what is not finished yet, yielding each run's epochs and end, until `stop`."""
        raise NotImplementedError


@dataclass
class RunProgress:
    """What a run, named by label and seed, has reached."""

    name: str
    epochs: int  # it will have; 0: only its function knows
    state: State = "waiting"
    epoch: int = 0  # the last one that ended
    value: float | None = None  # the selection metric of its best epoch so far

    @property
    def work(self) -> float:
        """All of it, in epochs; 1 where only its function knows."""
        return self.epochs or 1

    @property
    def worked(self) -> float:
        """How much of that needs no more training."""
        return self.work if self.state in _ENDED else min(self.epoch, self.epochs)


@dataclass(frozen=True)
class SettingProgress:
    """What a setting has reached."""

    label: str
    runs: int
    done: int  # finished ones, failed ones too
    state: State  # ``training`` if any run is; else ``failed`` if any run did
    epoch: tuple[int, int]  # of the run in training that is furthest, and of how many
    value: float | None  # the mean of best epochs so far: of finished runs, if there are any
    of: int  # how many runs that is the mean of


class ProgressState:
    """The progress of training. An event costs the same however many runs there are.

    It may be read by another thread while events are taken in: what is gone through there is
    replaced, never added to.

    Attributes:
        total: How many runs there are at most.
        work: All epochs, with those of later rounds.
        worked, given: How many of them need no more training, and how many of those never did.
        warning: The last thing that went wrong; empty: nothing did.
    """

    def __init__(self, planned: Training, clock: Callable[[], float] = time.monotonic) -> None:
        self._planned, self._clock, self._began = planned, clock, clock()
        select = next(iter(planned.runs.values())).configuration["select"]
        self.name, self.metric = planned.name, str(select["metric"])
        self._better = max if select["direction"] == "maximize" else min
        self.states: Counter[State] = Counter()
        self.worked, self.given = 0.0, 0.0
        self.warning = ""
        self._runs: dict[str, RunProgress] = {}
        self._count()

    def take(self, event: RunEvent) -> None:
        """Take in an event of the driver."""
        if event.message:
            self.warning = event.message
            return
        if len(self._planned.runs) > self._places:  # a later round's
            self._count()
        run, progress, record = self._runs[event.run.id], event.progress, event.record
        before, worked = run.state, run.worked
        if progress and progress.line:
            if run.state == "waiting":  # it may go on where it was stopped
                self.given += min(progress.line["epoch"] - 1, run.epochs)
            run.state, run.epoch = "training", progress.line["epoch"]
            self._compare(run, progress.line["metrics"].get(self.metric))
        if record:
            run.state = "failed" if record.status == "failed" else "done"
            self._compare(run, record.metrics.get(self.metric))
            self.given += run.work if event.reused else 0
        elif progress and progress.ended:
            run.state = "stopped"
        self.worked += run.worked - worked
        if run.state != before:
            self.states[before] -= 1
            self.states[run.state] += 1
            reason = record.reason if record else progress and progress.reason
            if run.state in ("failed", "stopped"):
                self.warning = f"{run.name} {run.state}: {reason}"

    @property
    def done(self) -> int:
        """How many runs are finished, failed ones too."""
        return self.states["done"] + self.states["failed"]

    @property
    def share(self) -> float:
        """How much of all needs no more training, from 0 to 1."""
        return min(1.0, self.worked / self.work)

    def seconds_left(self) -> float | None:
        """Return how long it will take at the pace so far; None where not known, or over."""
        trained, left = self.worked - self.given, self.work - self.worked
        if trained <= 0 or left <= 0:
            return None
        return left / trained * (self._clock() - self._began)

    def settings(self) -> list[SettingProgress]:
        """Return what each setting has reached, in the order they were planned."""
        return [self._setting(label, runs) for label, runs in self._settings.items()]

    def ranked(self, settings: Iterable[SettingProgress]) -> list[SettingProgress]:
        """Return those of the settings that have a value, the best first."""
        sign = -1 if self._better is max else 1
        known = [(sign * s.value, s) for s in settings if s.value is not None]
        return [setting for _, setting in sorted(known, key=lambda pair: pair[0])]

    def best(self, settings: Iterable[SettingProgress]) -> SettingProgress | None:
        """Return the best of these so far; None while none has a value."""
        return next(iter(self.ranked(settings)), None)

    def _count(self) -> None:
        """Take in what is planned by now; runs of later rounds are taken to be as long."""
        places = dict(self._planned.runs)
        runs, settings = dict(self._runs), dict[str, list[RunProgress]]()
        for (label, seed), run in places.items():
            if run.id not in runs:
                runs[run.id] = RunProgress(f"{label}, seed {seed}", int(run.facts["epochs"]))
                self.states["waiting"] += 1
            settings.setdefault(label, []).append(runs[run.id])
        self._places, self._runs, self._settings = len(places), runs, settings
        self.total = max(self._planned.most_runs(), len(runs))
        self.work = sum(run.work for run in runs.values()) * self.total / len(runs)

    def _compare(self, run: RunProgress, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            run.value = value if run.value is None else self._better(run.value, value)

    def _setting(self, label: str, runs: list[RunProgress]) -> SettingProgress:
        states = [run.state for run in runs]
        some: tuple[State, ...] = ("training", "failed", "stopped", "waiting")
        done = [run for run in runs if run.state == "done"]
        training = [run for run in runs if run.state == "training"]
        furthest = max(training, key=lambda run: run.epoch, default=runs[0])
        values = [run.value for run in done or training if run.value is not None]
        return SettingProgress(
            label,
            len(runs),
            len(done) + states.count("failed"),
            next((state for state in some if state in states), "done"),
            (furthest.epoch, furthest.epochs),
            sum(values) / len(values) if values else None,
            len(values),
        )
