"""Where the time of study100 goes, part by part.

    python tests/benchmarks/parts.py

Each part of ``paribus sweep`` with a hundred runs of digits is done here by itself, with one
thread, as the driver and the workers do it; jobs are those of two workers, 25 members each. Two
workers do what is called training in half of this time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import surroundings  # noqa: E402

from paribus.core.runtime import restart_pinned, settle  # noqa: E402

WORKERS = 2


def main() -> None:
    """Does each part and prints what it took."""
    restart_pinned()
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    if sys.argv[1:2] == ["--track"]:
        print(_track(Path(sys.argv[2]), sys.argv[3]))
        return
    settle()
    from paribus.core.components.optim import skip_compiler_import

    skip_compiler_import()  # as workers do
    seconds: dict[str, float] = {
        "start: driver's imports": _imports(
            "import paribus.sweeps.cli.app, paribus.sweeps.sweep, wandb, optuna"
        ),
        "start: torch, in a worker": _imports(  # the server that workers are forked from
            "import gc; gc.disable(); import paribus.core.training.forkserver_preload; gc.freeze()"
        ),
    }
    with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
        _study(Path(folder), seconds)
    for part, took in seconds.items():
        print(f"{part:<42}{took:>8.2f} s")
    print(surroundings())


def _study(folder: Path, seconds: dict[str, float]) -> None:
    from study100 import KEYS, LEVELS, OVERRIDES, SEEDS

    from paribus.sweeps.execution.driver import schedule
    from paribus.sweeps.execution.pool import Pool
    from paribus.sweeps.execution.worker import Task
    from paribus.sweeps.study import optuna_studies
    from paribus.sweeps.study.lookup import request_for
    from paribus.sweeps.study.request import StudyOptions
    from paribus.sweeps.study.results_dir import ResultsDir
    from paribus.sweeps.study.study import Study
    from paribus.sweeps.sweep import Sweep

    root = ResultsDir(folder / "results")
    axes = tuple(f"{KEYS[name]}={','.join(map(str, LEVELS[name]))}" for name in LEVELS)
    request = request_for(root, "digits", OVERRIDES, axes)
    with Pool(1) as here, _timed(seconds, "planning"):
        sweep = Sweep(request, StudyOptions(range(SEEDS)), root, here)
    root.create()
    sweep.study.plan(sweep.question, sweep.settings, sweep.runs)
    runs = sweep.distinct_runs()
    with _parts(seconds):
        for job in schedule(runs, WORKERS):
            attempts = {run.id: root.new_attempt(run.id)[0] for run in job}
            _train(Task(job, attempts, 5.0))
            with _timed(seconds, "driver: records verified and renamed"):
                for run in job:
                    root.accept(run.id, attempts[run.id])
    study = Study.load(root, sweep.study.name)
    optuna_studies.warm_up()
    with _timed(seconds, "driver: the Optuna view"):
        optuna_studies.write(study)
    track = [sys.executable, __file__, "--track", root.path, study.name]  # no torch, as the driver
    done = subprocess.run(track, check=True, text=True, stdout=subprocess.PIPE)
    seconds["driver: W&B, beside training"] = float(done.stdout)


def _train(task: Any) -> None:
    from paribus.core.training.job import train_job

    for progress in train_job(*task.arguments):
        assert progress.ended in (None, "complete"), progress


def _track(place: Path, name: str) -> float:
    from paribus.sweeps.study.results_dir import ResultsDir
    from paribus.sweeps.study.study import Study
    from paribus.sweeps.tracking.tracker import recorded_run
    from paribus.sweeps.tracking.wandb_layout import run_layout
    from paribus.sweeps.tracking.wandb_sync import WandbTracker

    root = ResultsDir(place)
    study = Study.load(root, name)
    tracker = WandbTracker(root.path, lambda _: None)
    started = time.perf_counter()
    for setting in study.settings:
        for run in setting.runs.values():
            folder = root.run(run)
            tracker.bring(run_layout(*recorded_run(folder, folder.record(), study))).result()
    tracker.close()
    return time.perf_counter() - started


@contextmanager
def _parts(seconds: dict[str, float]) -> Iterator[None]:
    """Times what workers do, by the functions that do it."""
    from paribus.core.training import engine, run_writer
    from paribus.core.training.cohort import cohort_engine, program

    places: list[tuple[Any, str, str]] = [
        (cohort_engine, "programs_of", "training: models, orders of memory"),
        (program.Program, "train_epoch", "training: steps"),
        (program.Program, "measure", "training: validation"),
        (cohort_engine, "evaluate_outputs", "training: metrics, matrices"),
        (engine.RunState, "report", "training: hashes, best weights"),
        (run_writer.RunWriter, "finish", "training: records, synced"),
        (run_writer.RunWriter, "save", "training: checkpoints"),
    ]
    before = [getattr(owner, name) for owner, name, _ in places]
    for (owner, name, part), function in zip(places, before, strict=True):
        setattr(owner, name, _timing(function, seconds, part))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(places, before, strict=True):
            setattr(owner, name, function)


def _timing(function: Any, seconds: dict[str, float], part: str) -> Any:
    def timed(*arguments: Any, **keywords: Any) -> Any:
        with _timed(seconds, part):
            return function(*arguments, **keywords)

    seconds.setdefault(part, 0.0)
    return timed


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started


def _imports(statements: str) -> float:
    """The least of three."""
    command = [sys.executable, "-c", statements]
    takes = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
        takes.append(time.perf_counter() - started)
    return min(takes)


if __name__ == "__main__":
    main()
