"""Which runs are trained together, and in which order jobs begin. Changes no bit of any run."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

from paribus.core.errors import DamagedError, RequestError
from paribus.core.records.record import RunRecord
from paribus.core.run_spec import RunSpec, WorkerEvent
from paribus.sweeps.execution.pool import Executor
from paribus.sweeps.execution.worker import Task
from paribus.sweeps.study.results_dir import ResultsDir

Job = tuple[RunSpec, ...]

# Measured (digits, one core): a member's step takes 152 to 180 µs alone, 63 to 73 among 20, 65
# to 67 among 32, 68 to 70 among 50. What a step touches, four numbers for each parameter, should
# stay in a core's cache.
_LANES = 32
_NUMBERS = 1 << 20


def schedule(runs: Sequence[RunSpec], workers: int) -> list[Job]:
    """The jobs that these runs make, the costliest first.

    Runs of one group are members of as few jobs as their size allows; a group whose jobs take
    longest is divided further for as long as the study ends sooner by it.

    Args:
        runs: What is to be trained.
        workers: How many jobs are trained at the same time.
    """
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(run.group or run.id, []).append(run)
    parts = {name: _parts(group) for name, group in groups.items()}
    while jobs := _jobs(groups, parts):
        longest = max(jobs, key=cost)
        name = longest[0].group or longest[0].id
        more = range(parts[name] + 1, min(parts[name] + workers, len(groups[name])) + 1)
        better = [n for n in more if length(_jobs(groups, parts | {name: n}), workers)
                  < length(jobs, workers)]  # fmt: skip
        if not better:
            break
        parts[name] = better[0]
    return sorted(jobs, key=cost, reverse=True)


def _jobs(groups: Mapping[str, Sequence[RunSpec]], parts: Mapping[str, int]) -> list[Job]:
    return [job for name, group in groups.items() for job in _divided(group, parts[name])]


def cost(job: Job) -> float:
    """About how long a job takes; only to be compared."""
    first = job[0]
    batch_size = first.configuration.get("train", {}).get("batch_size", 1)
    member = 20 + first.facts["parameters"] * batch_size / 16_000  # microseconds of an update
    update = 80 + len(job) * member if first.group else 400 + 2 * member
    return float(update * max(run.facts["updates"] for run in job))


def length(jobs: Sequence[Job], workers: int) -> float:
    """When the last worker is done, each taking the costliest that is left; as `cost` counts."""
    loads = [0.0] * workers
    for each in sorted((cost(job) for job in jobs), reverse=True):
        heapq.heapreplace(loads, loads[0] + each)
    return max(loads)


def _parts(group: Sequence[RunSpec]) -> int:
    members = max(1, min(_LANES, _NUMBERS // (4 * max(1, int(group[0].facts["parameters"])))))
    return -(-len(group) // members)


def _divided(runs: Sequence[RunSpec], parts: int) -> list[Job]:
    """Runs in so many parts that differ by at most one run."""
    size, more = divmod(len(runs), parts)
    ends = [size * part + min(part, more) for part in range(parts + 1)]
    return [tuple(runs[begin:end]) for begin, end in pairwise(ends)]


# Drives runs: reuses what is finished, trains the rest, makes verified attempts into runs.


@dataclass(frozen=True)
class RunnerOptions:
    """How runs are looked after; none of it changes a bit of theirs.

    Attributes:
        checkpoint_every: Seconds between saves of a run's resume state; 0: each epoch.
        run_timeout: Seconds without an epoch after which a worker is given up on; None: ten times
            the median epoch, at least 60, and 3600 before one is known.
        retry_failed: Whether runs that failed by themselves are trained again.
        loader_workers: Processes of each trainer that read files and augment ahead.
    """

    checkpoint_every: float = 5.0
    run_timeout: float | None = None
    retry_failed: bool = False
    loader_workers: int = 0


USUAL = RunnerOptions()


@dataclass(frozen=True)
class RunEvent:
    """What the driver has to say of a run.

    Attributes:
        run: The run.
        progress: After an epoch or at its end; None for a run that is reused.
        record: Its record, once it is finished.
        reused: Whether it was finished before.
        said: Something a person should know; then nothing else.
    """

    run: RunSpec
    progress: WorkerEvent | None = None
    record: RunRecord | None = None
    reused: bool = False
    said: str | None = None


def drive(
    runs: Sequence[RunSpec],
    root: ResultsDir,
    executor: Executor,
    rules: RunnerOptions = USUAL,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[RunEvent]:
    """Brings runs to their end, yielding every epoch and every end.

    Runs that another driver has out are looked at again when one's own work is done; so are those
    that were killed, ran out of memory or time, once.

    Args:
        runs: What is wanted; each once.
        root: Where results live.
        executor: Trains.
        rules: How they are looked after.
        stop: Asked between epochs; true makes a clean stop.
    """
    left = {run.id: run for run in runs}
    tried_again: set[str] = set()
    named: set[str] = set()  # whose damage was told
    while left and not stop():
        for run in list(left.values()):
            if record := _finished(run, root, rules):
                del left[run.id]
                root.clear_attempts(run.id)
                yield RunEvent(run, record=record, reused=True)
            elif run.id not in named and (damage := root.damage(run.id)):
                named.add(run.id)
                yield RunEvent(run, said=f"{damage} It is trained again; that goes to attempts/.")
        began = 0
        # What stopped once is tried again by itself: it may have taken others with it.
        wanted = [replace(r, group=None) if r.id in tried_again else r for r in left.values()]
        for step in _train(wanted, root, executor, rules, stop):
            began += 1
            ended = step.progress and step.progress.ended
            why = _another_try(step)
            if why and step.run.id not in tried_again and not stop():
                tried_again.add(step.run.id)
                yield RunEvent(
                    step.run, said=f"{step.run.id} stopped ({why}); it is tried once more."
                )
                continue
            if ended:
                del left[step.run.id]
            yield step
        if left and not began:
            time.sleep(0.5)


def _finished(run: RunSpec, root: ResultsDir, rules: RunnerOptions) -> RunRecord | None:
    """The record of a run that need not be trained."""
    record = root.finished(run.id) or _adopted(run, root)
    again = rules.retry_failed and record is not None and record.status == "failed"
    return None if again else record


def _adopted(run: RunSpec, root: ResultsDir) -> RunRecord | None:
    """The record of a finished attempt that was never renamed, made the run now."""
    if root.run(run.id).folder.is_dir() or not root.has_finished_attempt(run.id):
        return None
    try:
        with root.lock(run.id, run.id):  # else this is another driver's, about to be renamed
            return root.finished(run.id) or root.adopt(run.id)
    except RequestError:
        return None


def _another_try(step: RunEvent) -> str | None:
    """Why a run stopped, if that may not come again: a signal, a full memory, a hang."""
    if step.progress is None or step.progress.ended != "attempt":
        return None
    why = step.progress.reason or ""
    return why if why.partition(":")[0] in ("killed", "memory", "timeout") else None


def _train(
    runs: Sequence[RunSpec],
    root: ResultsDir,
    executor: Executor,
    rules: RunnerOptions,
    stop: Callable[[], bool],
) -> Iterator[RunEvent]:
    """Trains the runs that no other driver has out or has finished meanwhile."""
    by_id = {run.id: run for run in runs}
    attempts: dict[str, Path] = {}
    lost: list[WorkerEvent] = []  # runs for which there is no room on the disk
    said: list[RunEvent] = []
    with ExitStack() as everything:
        locks = {run.id: everything.enter_context(ExitStack()) for run in runs}

        def is_ours(run: RunSpec) -> bool:
            """Takes a run that is still to be trained, and makes its attempt's folder."""
            try:
                locks[run.id].enter_context(root.lock(run.id, run.id))
            except RequestError:
                return False
            except OSError as error:
                lost.append(WorkerEvent(run.id, 0, None, "attempt", f"disk: {error}"))
                return False
            if _finished(run, root, rules):
                locks[run.id].close()
                return False
            try:
                attempts[run.id], warnings = root.new_attempt(run.id)
            except (OSError, RequestError) as error:
                lost.append(WorkerEvent(run.id, 0, None, "attempt", f"disk: {error}"))
                return False
            said.extend(RunEvent(run, said=warning) for warning in warnings)
            return True

        def tasks() -> Iterator[Task]:
            for job in schedule(runs, executor.size):
                if ours := tuple(run for run in job if is_ours(run)):
                    folders = {run.id: attempts[run.id] for run in ours}
                    yield Task(ours, folders, rules.checkpoint_every, rules.loader_workers)

        for progress in chain(executor.execute(tasks(), stop, rules.run_timeout), lost):
            while said:
                yield said.pop(0)
            if progress.said:
                yield RunEvent(by_id[progress.run], said=progress.said)
                continue
            record = None
            if progress.ended in ("complete", "failed"):
                try:
                    record = root.accept(progress.run, attempts[progress.run])
                except (DamagedError, OSError) as error:
                    progress = replace(progress, line=None, ended="attempt", reason=str(error))
            if progress.ended:
                locks[progress.run].close()
            yield RunEvent(by_id[progress.run], progress, record)
