"""Which runs are trained together, and in which order jobs begin. Changes no bit of any run."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

from paribus.core.spec import RunSpec

Job = tuple[RunSpec, ...]

# Measured (digits, one core): a lane's step takes 152 to 180 µs alone, 63 to 73 among 20, 65 to 67
# among 32, 68 to 70 among 50. What a step touches, four numbers for each parameter, should stay in
# a core's cache.
_LANES = 32
_NUMBERS = 1 << 20


def schedule(runs: Sequence[RunSpec], workers: int) -> list[Job]:
    """The jobs that these runs make, the costliest first.

    Runs of one group are lanes of as few jobs as their size allows; a group whose jobs take longest
    is divided further for as long as the study ends sooner by it.

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
    lane = 20 + first.facts["parameters"] * batch_size / 16_000  # microseconds of an update
    update = 80 + len(job) * lane if first.group else 400 + 2 * lane
    return float(update * max(run.facts["updates"] for run in job))


def length(jobs: Sequence[Job], workers: int) -> float:
    """When the last worker is done, each taking the costliest that is left; as `cost` counts."""
    loads = [0.0] * workers
    for each in sorted((cost(job) for job in jobs), reverse=True):
        heapq.heapreplace(loads, loads[0] + each)
    return max(loads)


def _parts(group: Sequence[RunSpec]) -> int:
    lanes = max(1, min(_LANES, _NUMBERS // (4 * max(1, int(group[0].facts["parameters"])))))
    return -(-len(group) // lanes)


def _divided(runs: Sequence[RunSpec], parts: int) -> list[Job]:
    """Runs in so many parts that differ by at most one run."""
    size, more = divmod(len(runs), parts)
    ends = [size * part + min(part, more) for part in range(parts + 1)]
    return [tuple(runs[begin:end]) for begin, end in pairwise(ends)]
