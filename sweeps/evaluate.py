"""Best checkpoints evaluated on a part of the data, or used to predict new data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from paribus.core.config.schema import get
from paribus.core.errors import RequestError, shown
from paribus.core.fileio import append_line, creating
from paribus.sweeps.analysis.compare import Comparison, SettingComparison, compare_study
from paribus.sweeps.analysis.judge import Judged, judge_observed, standard_for
from paribus.sweeps.analysis.observed import Observed, Outputs
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.stats.verdicts import mean_and_std
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.lookup import find_trained_run
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.same_seeds import repeated_seeds
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Metric, Study

if TYPE_CHECKING:
    from paribus.core.inference.evaluate import Evaluation
    from paribus.core.inference.export import Exported
    from paribus.core.inference.new_inputs import Given
    from paribus.core.inference.predict import Predictions

Split = Literal["val", "test"]


class EvaluatedSetting(SettingComparison):
    """A setting compared on a part of the data, with the means of all its metrics there."""

    metrics: dict[str, float | None]


class EvaluationComparison(Comparison):
    """Chosen settings compared on a part of the data; more in `Evaluation`.

    Attributes:
        readings: How often the test part was read by the study or one of its runs.
    """

    split: Split
    readings: int
    environment: dict[str, list[Any]]
    differs: dict[str, list[Any]]


def chosen_settings(study: Study, labels: Sequence[str]) -> list[SettingResult]:
    """Return the baseline, and the settings of these labels or, without any, the chosen ones.

    Those are all that are better than the baseline on validation, or, where none is, the best one.

    Raises:
        RequestError: If there is no such setting, or too few seeds for a verdict.
    """
    for label in labels:
        study.find(label)  # raises, where there is none
    results = {r.label: r for r in study.results()}
    baseline = results.get(BASELINE)
    if baseline is None or not baseline.seeds:
        raise RequestError(
            f"The study {study.name} has no complete baseline.",
            "Finish it first: the sweep's command goes on where it stopped.",
        )
    wanted = [label for label in labels if label != BASELINE]
    if not wanted:
        wanted = [one.label for one in compare_study(study, [*results.values()]).chosen]
    few = [x for x in wanted if len({*results[x].seeds} & {*baseline.seeds}) < 2]
    if few or not wanted:
        raise RequestError(
            f"The study {study.name}: {', '.join(few) or 'no setting'} has fewer than two seeds in "
            "common with the baseline, and a verdict needs two.",
            "Train more seeds first: --seeds 5.",
        )
    return [baseline, *[results[label] for label in wanted]]


def evaluate_named(
    root: ResultsDir,
    name: str,
    split: Split,
    labels: Sequence[str] = (),
    trust: bool = False,
    watched: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Evaluation | EvaluationComparison:
    """Evaluate the best checkpoint of a run, or those of a study's chosen settings.

    Labels are as `chosen_settings` takes them; `watched` shows how far it is while the runs of a
    study are gone through. A reading of the test part is counted.

    Raises:
        DamagedError: If a file of a run, or the data, is not what it was.
        RequestError: If it cannot be evaluated: there is no such run, model, part, or second seed.
    """
    if name in root.study_names():
        return _evaluate_study(Study.load(root, name), labels, split, trust, watched)
    if labels:
        raise RequestError(
            f"{shown(name)} is no study, so it has no settings to name.",
            "Name one run, or a study and its settings.",
        )
    folder, _ = find_trained_run(root, name, "evaluate")
    from paribus.core.inference.evaluate import evaluate_run

    with Pool(1) as pool:
        found = pool.call(evaluate_run, folder.folder, split, trust)
    # Beside the run, wherever that lies: readings of a test part count where the run is.
    beside = ResultsDir(folder.folder.parent.parent)
    if split == "test":
        _count_reading(beside, {"run": folder.id})
    return replace(found, readings=_readings(beside, {folder.id}))


def predict_named(
    root: ResultsDir, name: str, read_given: Callable[[], Given], trust: bool = False
) -> Predictions:
    """Predict new data, which is read once the run is found, with a run's best checkpoint.

    Raises what `find_trained_run` and `predict_run` do.
    """
    folder, _ = find_trained_run(root, name, "predict with")
    from paribus.core.inference.predict import predict_run

    with Pool(1) as pool:
        return pool.call(predict_run, folder.folder, read_given(), trust)


def export_named(root: ResultsDir, name: str, trust: bool = False) -> Exported:
    """Return a run's best checkpoint as ONNX; raises what `find_run` and `export_run` do."""
    folder, _ = find_trained_run(root, name, "export")
    from paribus.core.inference.export import export_run

    with Pool(1) as pool:
        return pool.call(export_run, folder.folder, trust)


def _evaluate_study(
    study: Study,
    labels: Sequence[str],
    split: Split,
    trust: bool,
    watched: Callable[[Sequence[str]], Iterable[str]],
) -> EvaluationComparison:
    """Evaluate all runs of chosen settings in one reading, and judge them as `compare` does."""
    chosen = chosen_settings(study, labels)
    for result in chosen:
        find_trained_run(study.root, result.setting.runs[result.seeds[0]], "evaluate")
    from paribus.core.inference.evaluate import evaluate_run

    shared = {seed for result in chosen for seed in result.seeds} & {*chosen[0].seeds}
    runs = [r.setting.runs[s] for r in chosen for s in r.seeds if s in shared]
    with Pool(1) as pool:
        found: dict[str, Evaluation] = {
            run: pool.call(evaluate_run, study.root.run(run).folder, split, trust)
            for run in watched(runs)
        }
    if split == "test":
        _count_reading(study.root, {"study": study.name, "runs": runs})
    metric = f"{split}/{study.metric.rpartition('/')[2]}"
    record = study.outcomes.record(runs[0])
    folds = record.folds if record and split == "val" else 1  # all have the same test part
    seen = [_observed(study, result, found, metric, folds) for result in chosen]
    example = next(iter(found.values()))
    standard = standard_for(
        metric,
        study.direction,
        [*seen[0].values.values()],
        len(seen) - 1,
        margin=study.requested.margin,
        examples=example.outputs.size if example.outputs.shape == example.targets.shape
        else len(example.targets),
    )  # fmt: skip
    standard = replace(standard, strict=study.requested.strict)
    judged = judge_observed(seen[0], seen[1:], standard, repeated=repeated_seeds(study, chosen))
    return EvaluationComparison(
        study=study.name,
        split=split,
        metric=Metric(name=metric, direction=study.direction),
        **judged.document(),
        examples=len(example.targets),
        folds=folds,
        group_on=get(record.configuration, "split.group_on") if record else None,
        sameness=sameness(study.requested.baseline),
        settings=[
            _setting(r, o, judged, [found[run] for run in r.setting.runs.values() if run in found])
            for r, o in zip(chosen, seen, strict=True)
        ],
        readings=_readings(study.root, {*study.run_ids}),
        environment=_differing(found, "environment"),
        differs=_differing(found, "differs"),
    )


def _count_reading(root: ResultsDir, line: Mapping[str, Any]) -> None:
    with creating("The count of test readings"):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(root.path / "readings.jsonl", {**line, "split": "test", "at": now})


def _readings(root: ResultsDir, runs: set[str]) -> int:
    """Return how often the test part was read by one of the runs, alone or in its study."""
    return sum(bool(runs & {line.get("run"), *line.get("runs", ())}) for line in root.readings())


def _observed(
    study: Study, result: SettingResult, found: Mapping[str, Evaluation], metric: str, folds: int
) -> Observed:
    by_seed = {
        seed: found[run] for seed, run in result.setting.runs.items()
        if run in found and found[run].metrics.get(metric) is not None
    }  # fmt: skip

    def read(seed: int) -> Outputs | None:
        record, one = study.outcomes.record(result.setting.runs[seed]), by_seed[seed]
        return Outputs(record.configuration, one.outputs, one.targets) if record else None

    values = {seed: float(one.metrics[metric] or 0.0) for seed, one in sorted(by_seed.items())}
    return Observed(result.label, values, result.failed, metric, read, folds)


def _setting(
    result: SettingResult, seen: Observed, judged: Judged, evaluated: Sequence[Evaluation]
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
        **judged.effect(result.label),
        metrics={name: mean_and_std(x)[0] for name, x in numbers.items()},  # type: ignore[arg-type]
    )


def _differing(found: Mapping[str, Evaluation], what: str) -> dict[str, list[Any]]:
    """Return what differs from when the runs were trained: ``{name: [then, now]}``."""
    return {k: v for one in found.values() for k, v in getattr(one, what).items()}
