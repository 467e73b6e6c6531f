"""Which engines there are, and which one an experiment is for."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from paribus.core.config.experiment import Experiment, load_experiment
from paribus.core.config.schema import Configuration, ScriptConfiguration
from paribus.core.data.loader import ReaderDied
from paribus.core.errors import ParibusError, RequestError, shown
from paribus.core.fingerprint import explain
from paribus.core.run_spec import Ended, RunSpec, WorkerEvent
from paribus.core.runtime import settle
from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Engine, Job, Report
from paribus.core.training.loop import Loop
from paribus.core.training.resolve import Resolver
from paribus.core.training.run_writer import RunWriter
from paribus.core.training.script import Script, ScriptResolver


def engine_of(name: str) -> Engine:
    """The engine of this name (as `paribus.core.run_spec.choose_engine` gives it)."""
    engines: dict[str, type[Engine]] = {"loop": Loop, "cohort": Cohort, "script": Script}
    return engines[name]()


def resolver_of(experiment: Experiment) -> Resolver:
    """What resolves an experiment's configurations for the engine that trains them."""
    is_script = isinstance(experiment.baseline, ScriptConfiguration)
    return ScriptResolver(experiment) if is_script else Resolver(experiment)


# What a worker does with a job: train it, write its attempts, say how it goes.


def train_job(
    runs: tuple[RunSpec, ...],
    attempts: Mapping[str, Path],
    checkpoint_every: float,
    loader_workers: int = 0,
) -> Iterator[WorkerEvent]:
    """Trains a job in this process.

    Closing the iterator after an epoch saves the resume state: the clean stop.

    Args:
        runs: The job's runs, all of one experiment.
        attempts: Run id to its attempt's folder.
        checkpoint_every: Seconds between saves of the resume state.
        loader_workers: Processes that read and augment batches ahead.
    """
    written: dict[str, RunWriter] = {}
    epochs = {run.id: int(run.facts["epochs"]) for run in runs}
    told: dict[str, int] = {}  # the last epoch of each run that was told
    untold: dict[str, WorkerEvent] = {}  # of runs that are finished
    finished: set[str] = set()
    alone: list[RunSpec] = []
    try:
        resolver = resolver_for_file(runs[0].path, runs[0].import_paths)
        for run in runs:
            check_same(run, resolver)
            asked = Configuration.parse(run.asked, run.id)
            data = resolver.data_record(asked)
            written[run.id] = RunWriter(attempts[run.id], run, data, checkpoint_every)
        settle()  # the user's modules, imported by now, may have changed threads or precision
        states = {run.id: state for run in runs if (state := written[run.id].restore())}
        for name, attempt in written.items():
            if why := attempt.unused_state:
                yield WorkerEvent(name, epochs[name], said=f"{why} {name} begins at the start.")
        job = Job(runs, resolver, loader_workers)
        for reports in engine_of(runs[0].engine).train(job, states):
            progress = []
            for report in reports:  # all are written before any is told: a stop may come between
                progress.append(_kept(report, written[report.run], epochs[report.run]))
                if report.finished:
                    finished.add(report.run)
                    untold[report.run] = progress[-1]
            for each in progress:
                untold.pop(each.run, None)
                told[each.run] = each.line["epoch"] if each.line else 0
                yield each
    except GeneratorExit:
        for name, attempt in written.items():
            if name not in finished:
                attempt.save()
        raise
    except (Exception, SystemExit) as error:
        yield from untold.values()
        left = [run for run in runs if run.id not in finished]
        if len(left) > 1 and not (_surroundings(error) or "").startswith("disk"):
            alone = left
        else:
            for run in left:
                yield _ended_by(error, run, written.get(run.id), epochs[run.id])
    # Whose fault it was shows when each is trained by itself, to the same bits; not before the
    # error has let go of what the job had in memory.
    for run in alone:
        for each in train_job((run,), attempts, checkpoint_every, loader_workers):
            if each.line and each.line["epoch"] <= told.get(run.id, 0):
                each = replace(each, line=None)
            if each.line or each.ended or each.said:
                yield each


def _kept(report: Report, attempt: RunWriter, epochs: int) -> WorkerEvent:
    """Writes what an epoch left of a run, and says so."""
    attempt.write(report)
    ended: Ended | None = None
    if report.finished:
        ended = "failed" if report.failure else "complete"
    return WorkerEvent(report.run, epochs, attempt.history[-1], ended, report.failure)


def resolver_for_file(path: Path, import_paths: tuple[Path, ...] = ()) -> Resolver:
    """The resolver of an experiment's file; kept, so that a warm worker has its data."""
    key = (path, path.stat().st_mtime_ns, import_paths)
    if key not in _resolvers:
        _resolvers.clear()  # one experiment's data at a time
        _resolvers[key] = resolver_of(load_experiment(path, import_paths))
    return _resolvers[key]


def check_same(run: RunSpec, resolver: Resolver) -> None:
    """Holds what would be trained here to what was planned: data, weights, sources, environment.

    Raises:
        RequestError: Naming what differs.
    """
    asked = Configuration.parse(run.asked, run.id)
    here = resolver.specify(asked, run.seed, run.engine)
    if here.id != run.id:
        differs = explain(run.identity, here.identity)
        text = "; ".join(f"{name}: {a} → {b}" for name, (a, b) in differs.items())
        raise RequestError(
            f"{run.id}: what would be trained is not what was planned: {shown(text, 400)}.",
            "Run the command again; data or weights that differ at each call have to be seeded.",
            "changed",
        )


_resolvers: dict[tuple[Path, int, tuple[Path, ...]], Resolver] = {}


def _ended_by(
    error: BaseException, run: RunSpec, attempt: RunWriter | None, epochs: int
) -> WorkerEvent:
    """The end of a run by an exception: its own failure, or the surroundings'."""
    kind = "" if isinstance(error, ParibusError) else f"{type(error).__name__}: "
    message = f"{kind}{shown(error, 500)}"
    if surroundings := _surroundings(error):
        return WorkerEvent(run.id, epochs, None, "attempt", f"{surroundings}: {message}")
    if attempt is None or (isinstance(error, ParibusError) and error.kind == "changed"):
        return WorkerEvent(run.id, epochs, None, "attempt", str(error))
    frames = getattr(error, "frames", None)  # of a loader worker
    if frames is None:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    names = {Path(name).name for name in run.sources} | {run.path.name}
    user = [(Path(file).name, line) for file, line in frames if Path(file).name in names]
    at = f" ({user[-1][0]}, line {user[-1][1]})" if user else ""
    reason = f"exception: {message}{at}"
    try:
        attempt.fail(reason)
    except OSError as disk:
        return WorkerEvent(run.id, epochs, None, "attempt", f"disk: {disk}")
    return WorkerEvent(run.id, epochs, None, "failed", reason)


# What a disk says of itself; any other OSError is of whoever opened the file or socket.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)


def _surroundings(error: BaseException) -> str | None:
    """``killed``, ``memory`` or ``disk`` where the run itself is not to blame."""
    if isinstance(error, ReaderDied):
        return "killed"
    text = str(error).lower()
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "memory"
    full = isinstance(error, OSError) and error.errno in _DISK
    return "disk" if full else None
