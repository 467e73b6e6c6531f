"""The driver: which runs are trained together and when, and what becomes of them.

Nothing here changes a bit of any run.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

from paribus.core.errors import DamagedError, RequestError
from paribus.core.records.record import RunRecord
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.core.sources.read_digests import changed_since
from paribus.sweeps.execution.executor import Executor
from paribus.sweeps.execution.pool import Stop, never
from paribus.sweeps.execution.worker import Task
from paribus.sweeps.study.results_dir import ResultsDir

Job = tuple[RunSpec, ...]

# Measured (digits, one core): a member's step takes 152 to 180 µs alone, 63 to 73 among 20, 65
# to 67 among 32, 68 to 70 among 50. What a step touches, four numbers for each parameter, should
# stay in a core's cache.
_MEMBERS = 32
_NUMBERS = 1 << 20


def schedule(runs: Sequence[RunSpec], workers: int) -> list[Job]:
    """Return the jobs that these runs make for so many workers, the costliest first.

    Runs of one group are members of as few jobs as their size allows; a group whose jobs take
    longest is divided further for as long as the study ends sooner by it.
    """
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(run.group or run.id, []).append(run)
    parts = {}
    for name, group in groups.items():
        parameters = max(1, int(group[0].facts["parameters"]))
        parts[name] = math.ceil(len(group) / max(1, min(_MEMBERS, _NUMBERS // (4 * parameters))))

    def divided(parts: Mapping[str, int]) -> list[Job]:
        return [job for name, group in groups.items() for job in _divided(group, parts[name])]

    while jobs := divided(parts):
        longest = max(jobs, key=cost)
        name = longest[0].group or longest[0].id
        more = range(parts[name] + 1, min(parts[name] + workers, len(groups[name])) + 1)
        now = length(jobs, workers)
        better = (n for n in more if length(divided(parts | {name: n}), workers) < now)
        if (fewest := next(better, None)) is None:
            break
        parts[name] = fewest
    return sorted(jobs, key=cost, reverse=True)


def cost(job: Job) -> float:
    """Return about how long a job takes; only to be compared."""
    first = job[0]
    train = first.configuration.get("train", {})
    batch_size = train.get("batch_size", 1) * train.get("accumulate", 1)
    member = 20 + first.facts["parameters"] * batch_size / 16_000  # microseconds of an update
    update = 80 + len(job) * member if first.group else 400 + 2 * member
    return float(update * max(run.facts["updates"] for run in job))


def length(jobs: Sequence[Job], workers: int) -> float:
    """Return when the last worker is done, each taking the costliest that is left, as `cost`."""
    loads = [0.0] * workers
    for each in sorted((cost(job) for job in jobs), reverse=True):
        heapq.heapreplace(loads, loads[0] + each)
    return max(loads)


def _divided(runs: Sequence[RunSpec], parts: int) -> list[Job]:
    """Return runs in so many parts that differ by at most one run."""
    size, more = divmod(len(runs), parts)
    ends = [size * part + min(part, more) for part in range(parts + 1)]
    return [tuple(runs[begin:end]) for begin, end in pairwise(ends)]


# What drives runs: reuses those that are finished, trains the rest, renames verified attempts.


@dataclass(frozen=True)
class RunnerOptions:
    """How runs are trained and kept; none of it changes a bit of theirs."""

    checkpoint_every: float = 5.0  # seconds between saves of a run's resume state; 0: each epoch
    # Seconds without an epoch after which a worker is given up on; None: ten times the median
    # epoch, at least 60, and 3600 before one is known.
    run_timeout: float | None = None
    retry_failed: bool = False  # runs whose training failed are trained again
    loader_workers: int = 0  # processes of each trainer that read files and augment ahead


USUAL = RunnerOptions()


@dataclass(frozen=True)
class RunEvent:
    """An event of the driver: an epoch, an end, or a message for a person and nothing else."""

    run: RunSpec
    progress: WorkerEvent | None = None  # what its worker sent; None for a run that is reused
    record: RunRecord | None = None  # once it is finished
    reused: bool = False  # it was finished before
    message: str | None = None


def drive(
    runs: Sequence[RunSpec],
    root: ResultsDir,
    pool: Executor,
    options: RunnerOptions = USUAL,
    *,
    stop: Stop = never,
) -> Iterator[RunEvent]:
    """Bring runs, each named once, to their end; yield every epoch and every end.

    Runs that another driver is training come last. Those that were killed, or ran out of memory or
    time, are tried once more. `stop` is asked between epochs; true makes a clean stop.
    """
    pool.resize_for(runs)
    left = {run.id: run for run in runs}
    tried_again: set[str] = set()
    reported_damage: set[str] = set()
    while left and not stop():
        for run in list(left.values()):
            if record := _finished_record(run, root, options):
                del left[run.id]
                root.clear_attempts(run.id)
                yield RunEvent(run, record=record, reused=True)
            elif run.id not in reported_damage and (damage := _no_longer_good(run, root)):
                reported_damage.add(run.id)
                yield RunEvent(
                    run, message=f"{damage} It is trained again; that goes to attempts/."
                )
        began = False
        # What stopped once is tried again alone: it may have taken others with it.
        wanted = {r.id: replace(r, group=None) if r.id in tried_again else r for r in left.values()}
        with closing(_Claims(root, options)) as claims:
            tasks = claims.tasks(schedule(list(wanted.values()), pool.size), tried_again)
            for event in chain(pool.execute(tasks, stop, options.run_timeout), claims.lost):
                began, run = True, wanted[event.run]
                while claims.warnings:
                    yield claims.warnings.pop(0)
                if event.message:
                    yield RunEvent(run, message=event.message)
                    continue
                record = None
                if event.ended in ("complete", "failed"):
                    try:
                        record = root.accept(run.id, claims.attempts[run.id])
                    except (DamagedError, OSError) as error:
                        event = replace(event, line=None, ended="attempt", reason=str(error))
                if event.ended:
                    claims.locks[run.id].close()
                reason = event.reason or ""
                # A signal, a full memory, a hang: it may not come again.
                passing = reason.partition(":")[0] in ("killed", "memory", "timeout")
                again = event.ended == "attempt" and passing and run.id not in tried_again
                if again and not stop():
                    tried_again.add(run.id)
                    yield RunEvent(
                        run, message=f"{run.id} stopped ({reason}); it is tried once more."
                    )
                    continue
                if event.ended:
                    del left[run.id]
                yield RunEvent(run, event, record)
        if left and not began:
            time.sleep(0.5)


def _finished_record(run: RunSpec, root: ResultsDir, options: RunnerOptions) -> RunRecord | None:
    """Return the record of a run that need not be trained."""
    record = root.finished(run.id) or root.adopt(run.id)
    if record is None or (options.retry_failed and record.status == "failed"):
        return None
    return None if _changed_since(record, run) else record


def _changed_since(record: RunRecord, run: RunSpec) -> Iterable[str]:
    """Return the files and variables that were read while it trained and have changed since."""
    later = record.read_later
    return changed_since(later.files, later.variables, run.path.parent) if later else []


def _no_longer_good(run: RunSpec, root: ResultsDir) -> str | None:
    """Return why a run that is there has to be trained again, if that is so."""
    record = root.finished(run.id)
    if record and (changed := _changed_since(record, run)):
        return f"{run.id} read {', '.join(changed)} while it trained, which has changed since."
    return root.damage(run.id)


class _Claims:
    """The runs that this driver has locked, which are not finished: attempts and locks by id."""

    def __init__(self, root: ResultsDir, options: RunnerOptions) -> None:
        self.root, self.options = root, options
        self.attempts: dict[str, Path] = {}
        self.locks: dict[str, ExitStack] = {}
        self.lost: list[WorkerEvent] = []  # ends of runs for which there was no room on the disk
        self.warnings: list[RunEvent] = []  # of runs that were taken

    def close(self) -> None:
        for lock in self.locks.values():
            lock.close()

    def tasks(self, jobs: Iterable[Job], alone: Container[str]) -> Iterator[Task]:
        """Yield a task for the runs of each job that can be taken when it is its turn.

        Those that are `alone` have their GPU to themselves.
        """
        for job in jobs:
            if ours := tuple(run for run in job if self._take(run)):
                folders = {run.id: self.attempts[run.id] for run in ours}
                every, loaders = self.options.checkpoint_every, self.options.loader_workers
                yield Task(ours, folders, every, loaders, ours[0].id in alone)

    def _take(self, run: RunSpec) -> bool:
        """Lock a run that is still to be trained, and make its attempt's folder."""
        self.locks[run.id] = lock = ExitStack()
        try:
            try:
                lock.enter_context(self.root.lock(run.id, run.id))
            except RequestError:  # another driver has it
                return False
            if _finished_record(run, self.root, self.options):
                lock.close()
                return False
            self.attempts[run.id], warnings = self.root.new_attempt(run.id)
        except (OSError, RequestError) as error:
            self.lost.append(WorkerEvent(run.id, 0, None, "attempt", f"disk: {error}"))
            return False
        self.warnings += [RunEvent(run, message=warning) for warning in warnings]
        return True
