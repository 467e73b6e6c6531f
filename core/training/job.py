"""A worker's job: runs trained together by one engine, each written to its attempt's folder."""

import errno
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from paribus.core.config.experiment import Experiment, load_experiment
from paribus.core.config.schema import ScriptConfiguration
from paribus.core.errors import MISUSED, ParibusError, ProcessEnded, shown
from paribus.core.run_spec import Ended, RunSpec, WorkerEvent, unfinished
from paribus.core.runtime import settle
from paribus.core.sources.reads import has_changed, observed_each
from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.dry_run import TOO_LARGE
from paribus.core.training.engine import Engine, Job, Report
from paribus.core.training.loop import Loop
from paribus.core.training.resolve import Resolver
from paribus.core.training.run_writer import RunWriter
from paribus.core.training.script import Script, ScriptResolver

_ENGINES = (Path(__file__).parent, Path(__file__).parent / "cohort")  # folders


def engine_of(name: str) -> Engine:
    """Return the engine of this name (as `paribus.core.run_spec.choose_engine` gives it)."""
    engines: dict[str, type[Engine]] = {"loop": Loop, "cohort": Cohort, "script": Script}
    return engines[name]()


def resolver_of(experiment: Experiment) -> Resolver:
    """Return what resolves an experiment's configurations for the engine that trains them."""
    is_script = isinstance(experiment.baseline, ScriptConfiguration)
    return ScriptResolver(experiment) if is_script else Resolver(experiment)


def train_job(
    runs: tuple[RunSpec, ...],
    attempts: Mapping[str, Path],
    checkpoint_every: float,
    loader_workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[WorkerEvent]:
    """Train a job in this process and write its attempts, yielding each run's epochs and its end.

    Args:
        runs: The job's runs, all of one experiment.
        attempts: Run id to its attempt's folder.
        checkpoint_every: Seconds between saves of the resume state.
        loader_workers: As of `Job`.
        stop: Asked between epochs; true saves the resume state and ends. So does closing the
            iterator.
    """
    writers: dict[str, RunWriter] = {}
    left = {run.id: run for run in runs}  # not finished yet
    yielded: dict[str, int] = {}  # the last epoch of each run that was yielded
    ends: dict[str, WorkerEvent] = {}  # of finished runs, not yielded yet
    alone: list[RunSpec] = []
    try:
        resolver = resolver_for_file(runs[0].path, runs[0].import_paths)
        for run in runs:
            resolver.refuse_changed(run)
            data = resolver.data_record(run.requested, run.seed)
            later = partial(resolver.reads.later_of, run)
            writers[run.id] = RunWriter(attempts[run.id], run, data, checkpoint_every, later)
        settle()  # the user's modules, imported by now, may have changed threads or precision
        states = {}
        for run in runs:
            if state := writers[run.id].restore():
                states[run.id] = state
            elif why := writers[run.id].unused_state:
                text = f"{why} {run.id} begins at the start."
                yield WorkerEvent(run.id, int(run.facts["epochs"]), message=text)
        engine = engine_of(runs[0].engine)
        epochs_of_all = engine.train(Job(runs, resolver, loader_workers, attempts), states)
        for reports in observed_each(epochs_of_all, resolver.reads.later):
            events = []
            # All are written before any is yielded: a stop may come between.
            for report in _written(reports, writers):
                writer, epochs = writers[report.run], int(left[report.run].facts["epochs"])
                ended: Ended | None = None
                if report.finished:
                    ended = "failed" if report.failure else "complete"
                line = writer.history[-1]
                events.append(WorkerEvent(report.run, epochs, line, ended, report.failure))
                if ended:
                    ends[report.run] = events[-1]
                    del left[report.run]
            for event in events:
                ends.pop(event.run, None)
                yielded[event.run] = event.line["epoch"] if event.line else 0
                yield event
            if left and stop():
                try:
                    for name in left:
                        writers[name].save()
                except OSError as error:
                    reason = f"disk: the resume state is not saved: {error}"
                    yield from unfinished(left.values(), reason)
                return
    except GeneratorExit:
        for name in left.keys() & writers.keys():
            writers[name].save()
        raise
    except (Exception, SystemExit) as error:
        yield from ends.values()
        if len(left) > 1 and not (_outside_cause(error) or "").startswith("disk"):
            alone = list(left.values())
        else:
            for run in left.values():
                yield _ended_by(error, run, writers.get(run.id))
    # Which run was the cause shows when each is trained alone, to the same bits; not before the
    # error has released what the job had in memory.
    for run in alone:
        if stop():
            return
        for event in train_job((run,), attempts, checkpoint_every, loader_workers, stop):
            if event.line and event.line["epoch"] <= yielded.get(run.id, 0):
                event = replace(event, line=None)
            if event.line or event.ended or event.message:
                yield event


def resolver_for_file(
    path: Path, import_paths: tuple[Path, ...] = (), *, as_it_is_now: bool = False
) -> Resolver:
    """Return the resolver of an experiment's file; kept, so that a warm worker has its data.

    For planning it is made anew where something that it read has changed (`as_it_is_now`).
    """
    if as_it_is_now and has_changed():
        _load_resolver.cache_clear()
    return _load_resolver(path, path.stat().st_mtime_ns, import_paths)


@lru_cache(maxsize=1)  # one experiment's data at a time
def _load_resolver(path: Path, changed: int, import_paths: tuple[Path, ...]) -> Resolver:  # noqa: ARG001
    return resolver_of(load_experiment(path, import_paths))


def _written(reports: Sequence[Report], writers: Mapping[str, RunWriter]) -> Iterator[Report]:
    """Add an epoch's reports to their runs, and yield each when what is due of its run is written.

    Members are written at the same time: what a disk syncs together takes it no longer than one.
    """
    for report in reports:
        writers[report.run].add(report)
    if not any(writers[report.run].is_due for report in reports):
        yield from reports
        return
    with ThreadPoolExecutor(16) as threads:
        done = threads.map(lambda report: writers[report.run].persist(), reports)
        for report, _ in zip(reports, done, strict=True):
            yield report


def _ended_by(error: BaseException, run: RunSpec, writer: RunWriter | None) -> WorkerEvent:
    """Return the end of a run by an exception: its own failure, or one with an outside cause."""
    kind = "" if isinstance(error, ParibusError) else f"{type(error).__name__}: "
    message = f"{kind}{shown(error, 500)}"
    if isinstance(error, IndexError) and TOO_LARGE in message:
        message = "the inputs hold a larger id than the model's embedding has rows"
    if cause := _outside_cause(error):
        end = unfinished([run], f"{cause}: {message}")[0]
        if cause != "memory" or writer is None or run.engine == "script":
            return end
        short = message.partition(" GPU ")[0].rstrip(".")  # what others use differs each time
        return replace(end, reason=f"memory: {short}", advice=_smaller(error, run, writer.data))
    if writer is None or (isinstance(error, ParibusError) and error.kind == "changed"):
        return unfinished([run], str(error))[0]
    frames = getattr(error, "frames", None)  # of a loader worker
    if frames is None:
        frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    names = {Path(name).name for name in run.sources} | {run.path.name}
    user = [(Path(file).name, line) for file, line in frames if Path(file).name in names]
    at = f" ({user[-1][0]}, line {user[-1][1]})" if user else ""
    misused = isinstance(error, ParibusError) and error.kind == MISUSED
    reason = f"{MISUSED if misused else 'exception'}: {message}{at}"
    try:
        writer.finish(reason)
    except OSError as disk:
        return unfinished([run], f"disk: {disk}")[0]
    return WorkerEvent(run.id, int(run.facts["epochs"]), None, "failed", reason)


def _smaller(error: BaseException, run: RunSpec, data: Mapping[str, Any]) -> str | None:
    """Return sizes of batches that may fit where these do not; None: of one example."""
    train, frames = run.configuration["train"], traceback.extract_tb(error.__traceback__)
    if any(f.name == "measure" and Path(f.filename).parent in _ENGINES for f in frames):
        half = min(train["eval_batch_size"], data["val"]) // 2
        fewer = f"fewer at a time may fit, for example train.eval_batch_size={half}"
        return fewer if half else None
    size, half = train["batch_size"], (min(train["batch_size"], data["train"]) + 1) // 2
    parts = next((n for n in range(2, size + 1) if size % n == 0 and size // n <= half), None)
    if parts is None:
        return None
    accumulate = parts * train.get("accumulate", 1)
    smaller = f"train.batch_size={size // parts} train.accumulate={accumulate}"
    return f"a smaller batch may fit: {smaller}, for example, makes the same updates"


# Error numbers of a disk; any other OSError belongs to the code that opened the file or socket.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)


def _outside_cause(error: BaseException) -> str | None:
    """Return ``killed``, ``memory`` or ``disk`` where the run itself is not the cause."""
    if isinstance(error, ProcessEnded):
        return "killed"
    text = str(error).lower()
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "memory"
    full = isinstance(error, OSError) and error.errno in _DISK
    return "disk" if full else None
