"""Seeds that are no seeds: runs of different seeds that are equal, bit for bit."""

from collections.abc import Callable, Sequence
from typing import Any

from paribus.core.records.record import RunRecord
from paribus.core.sources.seeding_calls import where_seeded
from paribus.sweeps.formatting import listed
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

_ENOUGH = 5  # numbers in a curve, from which on it is not equal by chance


def repeated_seeds(study: Study, results: Sequence[SettingResult]) -> dict[str, str]:
    """Return the settings in which two seeds are one, and why; all, if the baseline is among them.

    All are one if the model seeds the generators itself, and so begins with the same weights. Other
    runs are one if they validate on the same examples and end with equal weights; a function keeps
    these to itself, so its metrics of all epochs have to be equal. Few numbers may be so by chance:
    they count where no seed of any setting changes anything.
    """
    why = {}
    for result in results:
        first = next((r for run in result.runs if (r := study.outcomes.record(run))), None)
        if first and first.facts.seeds_overridden:
            of = "the baseline's seeds" if result.label == BASELINE else "its seeds"
            why[result.label] = (
                f"{of} change nothing: the model seeds the generators itself, so all begin with "
                f"the same weights{calls_of(study, first)}"
            )
    groups = {result.label: _equal_runs(study, result) for result in results}
    if any(1 <= len(groups[r.label]) < len(r.seeds) for r in results):
        groups = {k: g for k, g in groups.items() if len(g) > 1 and _is_no_chance(study, g[0])}
    for label, group in groups.items():
        if len(group) > 1 and label not in why:
            seeds = listed([str(record.seed) for record in group])
            what = "weights" if group[0].weights_sha256 else "metrics in every epoch"
            calls = calls_of(study, group[0])
            of = "the baseline's seeds" if label == BASELINE else "seeds"
            why[label] = f"{of} {seeds} change nothing: their runs have equal {what}{calls}"
    if BASELINE in why:
        return {result.label: why[BASELINE] for result in results}
    return why


def calls_of(study: Study, record: RunRecord) -> str:
    """Return `where_seeded` of the sources that a run carries."""
    folder = study.root.run(record.run).folder / "source"
    files = sorted(folder.rglob("*.py"))
    return where_seeded({file.relative_to(folder).as_posix(): file.read_bytes() for file in files})


def _equal_runs(study: Study, result: SettingResult) -> list[RunRecord]:
    """Return complete runs that are equal: the first ones there are; else the first run alone."""
    records = [study.outcomes.record(result.setting.runs[seed]) for seed in result.seeds]
    runs = [record for record in records if record]
    groups = _grouped(runs, lambda r: (r.fold, r.weights_sha256 or repr((r.best, r.last))))
    if groups and not groups[0][0].weights_sha256:  # histories of those alone that end alike
        groups = [g for group in groups for g in _grouped(group, lambda r: repr(_curves(study, r)))]
    return next(iter(groups), runs[:1])


def _grouped(runs: Sequence[RunRecord], key: Callable[[RunRecord], Any]) -> list[list[RunRecord]]:
    """Return the runs of which several have the same key."""
    groups: dict[Any, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return [group for group in groups.values() if len(group) > 1]


def _curves(study: Study, record: RunRecord) -> list[dict[str, float | None]]:
    return [epoch.metrics for epoch in study.root.run(record.run).history()]


def _is_no_chance(study: Study, record: RunRecord) -> bool:
    """Return whether a run that equals another does so by more than a few numbers."""
    telling = [study.metric, *[name for name in record.metrics if name.endswith("loss")]]
    numbers = {line.get(name) for line in _curves(study, record) for name in telling}
    return bool(record.weights_sha256) or len(numbers) >= _ENOUGH
