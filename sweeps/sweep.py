"""A sweep, end to end: ask, prove, plan, train, record, show. The main path of the harness."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from core.config import COMPONENTS
from core.errors import RequestError, shown
from core.experiment import load_experiment
from core.process import is_pinned
from core.spec import RunSpec
from sweeps import optuna_view
from sweeps.designs import Design, OneAtATime
from sweeps.documents import best_setting, compare_document
from sweeps.drive import Step, drive
from sweeps.executors import Executor, InProcess, Pool
from sweeps.follow import Follower
from sweeps.request import Question, Request
from sweeps.root import Root
from sweeps.settings import Setting
from sweeps.storage import without_credentials
from sweeps.study import SettingResult, Study, check_study_name, study_name
from sweeps.tracking import Tracker

Result = TypeVar("Result")
VIEW_EVERY = 5.0  # seconds between updates of the Optuna view while a sweep goes on


class Workplace:
    """Where a command's work is done: in workers, or in this process where it is pinned.

    Workers also plan: this process then needs no torch, and where it is not pinned (a notebook,
    pytest) ids and bits are those of the command line.

    Args:
        path: The experiment's file; decides what workers import beforehand.
        workers: Worker processes; None takes the machine's cores.
    """

    def __init__(self, path: Path, workers: int | None) -> None:
        self.workers = workers if workers is not None else cores()
        self._preload = _preload(path)
        self._executor: Executor | None = None

    def begin(self) -> None:
        """Starts the forkserver, whose imports then overlap this process's own."""
        if self._executor is None and (self.workers > 1 or not is_pinned()):
            self._executor = Pool(self.workers, self._preload)

    def plan(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a planning function in a process that runs could be trained in."""
        if self._executor is None and is_pinned():
            return InProcess().call(function, *arguments)
        self.begin()
        assert self._executor is not None
        return self._executor.call(function, *arguments)

    def executor(self, jobs: Sequence[RunSpec]) -> Executor:
        """What trains these runs: at most as many workers as runs, on CUDA one per GPU."""
        size = max(1, min(self.workers, len(jobs)))
        if any(run.configuration["device"] == "cuda" for run in jobs):
            self.close()
            self._executor = Pool(size, gpus=_gpus())
            return self._executor
        self.begin()
        if self._executor is None:
            self._executor = InProcess()
        if isinstance(self._executor, Pool):
            self._executor.size = size
        return self._executor

    def close(self) -> None:
        """Ends all workers."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None


class Sweep:
    """One command's part of a study: planned when made, trained by `train`.

    Making it checks everything and creates nothing.

    Args:
        request: Experiment, overrides, axes and engine.
        seeds: The seeds of each setting.
        root: Where results live.
        workplace: Where planning and training happen.
        name: The study's name; None: it follows from the request.
        storage: URL of the Optuna storage; None: a SQLite file under the root.

    Raises:
        RequestError: With all faults of the request.
    """

    def __init__(
        self,
        request: Request,
        seeds: Sequence[int],
        root: Root,
        workplace: Workplace,
        *,
        name: str | None = None,
        storage: str | None = None,
    ) -> None:
        self.request, self.seeds, self.root, self.workplace = request, seeds, root, workplace
        self._storage = storage
        if name is not None:
            check_study_name(name)
        root.check_writable()
        self.question: Question = workplace.plan(_read_request, request)
        self.design: Design = OneAtATime(
            self.question.baseline, self.question.axes, self.question.direction
        )
        self._name = name or study_name(self.question)
        self.study = self._opened()
        optuna_view.check_stored(self.study, storage)
        self.settings: list[Setting] = []
        self.runs: dict[tuple[str, int], RunSpec] = {}
        self._wanted = self._plan(self.design.propose({}))
        self.counts = {"planned": len(self.distinct_runs()), "trained": 0, "reused": 0, "failed": 0}
        self.notes: list[str] = []
        self.seconds = 0.0

    def train(
        self,
        tracker: Tracker,
        *,
        checkpoint_every: float = 5.0,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Step]:
        """Trains what is not finished yet, yielding each run's epochs and end.

        Args:
            tracker: Follows the runs.
            checkpoint_every: Seconds between saves of a run's resume state.
            stop: Asked between epochs; true makes a clean stop.
        """
        started = time.monotonic()
        self.root.create()
        with self.root.lock(f"study-{self.study.name}", f"The study {self.study.name}"):
            self.study = self._opened()  # another command may have added to it until now
            optuna_view.check_stored(self.study, self._storage)
            while self._wanted and not stop():
                settings, runs = self._wanted
                self.notes += self.study.plan(self.question, settings, runs)
                yield from self._drive(list(runs.values()), tracker, checkpoint_every, stop)
                ended = [r for r in self.results() if r.status != "interrupted"]
                means = {r.setting.label: None if r.status == "failed" else r.mean for r in ended}
                self._wanted = None if stop() else self._plan(self.design.propose(means))
            self._view()
        self.seconds = time.monotonic() - started

    def results(self) -> list[SettingResult]:
        """What happened with this command's settings and seeds."""
        return self.study.results([s.label for s in self.settings], self.seeds)

    def distinct_runs(self) -> list[RunSpec]:
        """This command's runs, each once."""
        return list({run.id: run for run in self.runs.values()}.values())

    def document(self) -> dict[str, Any]:
        """The `sweep` document of the contract."""
        results = self.results()
        best = best_setting(results, self.study.direction)
        return {
            "study": self.study.name,
            "experiment": self.study.experiment,
            "metric": {"name": self.study.metric, "direction": self.study.direction},
            "runs": self.counts,
            "settings": [result.document() for result in results],
            "best": best.setting.label if best else None,
            "seconds": round(self.seconds, 3),
            "storage": without_credentials(self._storage or optuna_view.storage_url(self.study)),
        }

    def comparison(self) -> dict[str, Any]:
        """The `compare` document for this command's settings and seeds."""
        return compare_document(self.study, self.results())

    def _opened(self) -> Study:
        return Study.open(self.root, self._name, self.question, self._storage)

    def _view(self, *, only_add: bool = False) -> None:
        """Updates the Optuna view. Its trouble stops no training: the next command writes it."""
        try:
            optuna_view.write(self.study, self._storage, only_add=only_add)
        except Exception as error:
            if not only_add:
                line = f"{type(error).__name__}: {error}".split("\n")[0]
                self.notes.append(f"The Optuna view is not up to date ({line}); run this again.")

    def _plan(
        self, settings: list[Setting]
    ) -> tuple[list[Setting], Mapping[tuple[str, int], RunSpec]] | None:
        if not settings:
            return None
        planned, runs = self.workplace.plan(_plan_runs, self.request, settings, self.seeds)
        self.settings += planned
        self.runs.update(runs)
        return planned, runs

    def _drive(
        self,
        runs: Sequence[RunSpec],
        tracker: Tracker,
        checkpoint_every: float,
        stop: Callable[[], bool],
    ) -> Iterator[Step]:
        follower = Follower(tracker, self.root, self.study)
        viewed = time.monotonic()
        executor = self.workplace.executor(runs)
        for step in drive(runs, self.root, executor, checkpoint_every=checkpoint_every, stop=stop):
            follower.follow(step)
            if step.record:
                self.study.take(step.record)
                self.counts["reused" if step.reused else "trained"] += 1
                self.counts["failed"] += step.record["status"] == "failed"
                if time.monotonic() - viewed > VIEW_EVERY:
                    self._view(only_add=True)
                    viewed = time.monotonic()
            yield step


def _read_request(request: Request) -> Question:
    from sweeps.planning import read_request  # torch, in the process that plans

    return read_request(request)


def _plan_runs(
    request: Request, settings: Sequence[Setting], seeds: Sequence[int]
) -> tuple[list[Setting], dict[tuple[str, int], RunSpec]]:
    from sweeps.planning import plan_runs

    return plan_runs(request, settings, seeds)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_seeds(text: str) -> list[int]:
    """``--seeds``: ``3`` is 0, 1, 2; ``3,7,11`` just those.

    Raises:
        RequestError: If it is neither.
    """
    words = [word.strip() for word in text.split(",")]
    hint = "Write a number of seeds (3), or the seeds themselves (3,7,11)."
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise RequestError(
            f"--seeds {shown(text, 40)}: neither a number of seeds nor a list of them.",
            hint,
            "seeds",
        )
    if len(words) == 1:
        if not 1 <= int(words[0]) <= 10_000:
            raise RequestError(f"--seeds {words[0]}: must be 1 to 10000 seeds.", hint, "seeds")
        return list(range(int(words[0])))
    seeds = [int(word) for word in words]
    if len(set(seeds)) < len(seeds):
        raise RequestError(f"--seeds {shown(text, 40)}: a seed stands twice.", hint, "seeds")
    return seeds


def _preload(path: Path) -> tuple[str, ...]:
    """What the experiment's data needs imported, so that workers share one import of it."""
    from core.components import NAMES

    baseline = load_experiment(path).baseline
    names = [NAMES[kind].get(baseline.component(kind).name, "") for kind in COMPONENTS]
    names += [baseline.data.name]
    return ("sklearn.datasets",) if any(n.startswith("sklearn.") for n in names) else ()


def _gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]
