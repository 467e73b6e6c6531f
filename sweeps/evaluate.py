"""A study's chosen settings on a part of the data: the test part, once, when all is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from paribus.core.errors import RequestError
from paribus.core.fileio import append_line, creating, read_lines
from paribus.core.inference.evaluate import Evaluated
from paribus.sweeps.analysis.compare import (
    Comparison,
    Metric,
    SettingComparison,
    best_setting,
    compare_study,
)
from paribus.sweeps.analysis.judge import Judged, Observed, Outputs, judge_observed, standard_for
from paribus.sweeps.stats.verdicts import mean_and_std
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

Split = Literal["val", "test"]
Evaluate = Callable[[Path, Split], Evaluated]


class EvaluatedSetting(SettingComparison):
    """A setting compared on a part of the data, with the means of all its metrics there."""

    metrics: dict[str, float | None]


class EvaluationComparison(Comparison):
    """Chosen settings compared on a part of the data.

    Attributes:
        split: The part.
        readings: How often the test part was read by the study or one of its runs.
        environment: What of machine and versions is not as it was: ``{name: [then, now]}``.
        differs: Metrics that are not as they were recorded: ``{name: [then, now]}``.
    """

    split: Split
    readings: int
    environment: dict[str, list[Any]]
    differs: dict[str, list[Any]]


def chosen_settings(study: Study, labels: Sequence[str]) -> list[SettingResult]:
    """Return the baseline, and what is evaluated beside it.

    Args:
        study: The study.
        labels: Settings by label; none takes those that are better than the baseline on validation,
            or, where there is none, the best one.

    Raises:
        RequestError: If there is no such setting, or too few seeds for a verdict.
    """
    for label in labels:
        study.find(label)
    results = {r.setting.label: r for r in study.results()}
    baseline = results.get(BASELINE)
    if baseline is None or not baseline.seeds:
        raise RequestError(
            f"The study {study.name} has no complete baseline.",
            "Finish it first: the sweep's command goes on where it stopped.",
            "no-baseline",
        )
    wanted = [label for label in labels if label != BASELINE]
    if not wanted:  # those that are better on validation, or where there is none, the best one
        compared = compare_study(study, [*results.values()])
        best = best_setting(compared.settings, study.direction, besides_baseline=True)
        better = [one.label for one in compared.settings if one.verdict == "better"]
        wanted = better or ([best.label] if best else [])
    few = [x for x in wanted if len({*results[x].seeds} & {*baseline.seeds}) < 2]
    if few or not wanted:
        raise RequestError(
            f"The study {study.name}: {', '.join(few) or 'no setting'} has fewer than two seeds in "
            "common with the baseline, and a verdict needs two.",
            "Train more seeds first: --seeds 3.",
            "one-seed",
        )
    return [baseline, *[results[label] for label in wanted]]


def evaluate_settings(
    study: Study,
    chosen: Sequence[SettingResult],
    split: Split,
    evaluate: Evaluate,
    watched: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> EvaluationComparison:
    """Evaluate all runs of settings, and judge them as `compare` does. One reading of the part.

    Args:
        study: Their study.
        chosen: The baseline first.
        split: The part.
        evaluate: Evaluates the run in a folder.
        watched: Shows how far it is while runs are gone through.
    """
    shared = {seed for result in chosen for seed in result.seeds} & {*chosen[0].seeds}
    runs = [r.setting.runs[s] for r in chosen for s in r.seeds if s in shared]
    found = {run: evaluate(study.root.run(run).folder, split) for run in watched(runs)}
    if split == "test":
        with creating("The count of test readings"):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            line = {"study": study.name, "runs": runs, "split": "test", "at": now}
            append_line(study.root.path / "readings.jsonl", line)
    metric = f"{split}/{study.metric.rpartition('/')[2]}"
    seen = [_observed(study, result, found, metric) for result in chosen]
    example = next(iter(found.values()))
    standard = standard_for(
        metric,
        study.direction,
        [*seen[0].values.values()],
        len(seen) - 1,
        margin=study.asked.get("margin"),
        examples=example.outputs.size if example.outputs.shape == example.targets.shape
        else len(example.targets),
    )  # fmt: skip
    judged = judge_observed(seen[0], seen[1:], standard)
    return EvaluationComparison(
        study=study.name,
        split=split,
        metric=Metric(name=metric, direction=study.direction),
        question=judged.question,
        margin=standard.margin,
        tests=standard.planned,
        examples=len(example.targets),
        looks=[],
        sameness=sameness(study.asked["baseline"]),
        settings=[
            _setting(r, o, judged, [found[run] for run in r.setting.runs.values() if run in found])
            for r, o in zip(chosen, seen, strict=True)
        ],
        readings=readings(study),
        environment=_differing(found, "environment"),
        differs=_differing(found, "differs"),
    )


def readings(study: Study) -> int:
    """Return how often the test part was read by a run of a study, or by the study."""
    runs = {run for setting in study.settings for run in setting.runs.values()}
    lines = read_lines(study.root.path / "readings.jsonl")
    read = (line for line in lines if isinstance(line, dict))
    return sum(bool(runs & {line.get("run"), *line.get("runs", ())}) for line in read)


def _observed(
    study: Study, result: SettingResult, found: Mapping[str, Evaluated], metric: str
) -> Observed:
    by_seed = {
        seed: found[run] for seed, run in result.setting.runs.items()
        if run in found and found[run].metrics.get(metric) is not None
    }  # fmt: skip

    def read(seed: int) -> Outputs | None:
        record, one = study.outcomes.record(result.setting.runs[seed]), by_seed[seed]
        return Outputs(record.configuration, one.outputs, one.targets) if record else None

    values = {seed: float(one.metrics[metric] or 0.0) for seed, one in sorted(by_seed.items())}
    return Observed(result.label, values, result.failed, metric, read)


def _setting(
    result: SettingResult, seen: Observed, judged: Judged, evaluated: Sequence[Evaluated]
) -> EvaluatedSetting:
    """Return a setting with its values on the part, and the means of all metrics."""
    values = [*seen.values.values()]
    mean, std = mean_and_std(values)
    numbers = {
        name: [one.metrics[name] for one in evaluated if one.metrics[name] is not None]
        for name in evaluated[0].metrics
    }
    setting = result.document() | {
        "runs": [result.setting.runs[seed] for seed in seen.values],
        "seeds": [*seen.values],
        "values": values,
        "mean": mean,
        "std": std,
    }
    return EvaluatedSetting(
        **setting,
        **({} if result.label == BASELINE else judged.effect(result.label)),
        metrics={name: mean_and_std(x)[0] for name, x in numbers.items()},  # type: ignore[arg-type]
    )


def _differing(found: Mapping[str, Evaluated], what: str) -> dict[str, list[Any]]:
    """Return what any run's evaluation says was otherwise when it was trained."""
    return {k: v for one in found.values() for k, v in getattr(one, what).items()}
