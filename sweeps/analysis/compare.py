"""Records of a study compared: typed results that every `--json` document is dumped from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, SerializeAsAny

from paribus.core.config.schema import Direction
from paribus.core.errors import RequestError
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.analysis.judge import Judged, Question, judge_observed, observed, standard_of
from paribus.sweeps.analysis.linter.evidence import Finding
from paribus.sweeps.analysis.linter.lint import lint_study
from paribus.sweeps.stats.verdicts import Verdict, changed_cells
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

if TYPE_CHECKING:
    from pandas import DataFrame


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class Metric(_Frozen):
    """What settings are compared by."""

    name: str
    direction: Direction


class PartAnswer(_Frozen):
    """A verdict on one question: other seeds on this part of the data, or on new data too."""

    interval: list[float]
    p: float
    p_holm: float
    verdict: Verdict


class ChangedCell(_Frozen):
    """A cell of the confusion matrix: classes by name, change of its count, 95 % interval."""

    label: str | None = None
    true: str
    predicted: str
    mean: float
    interval: list[float]


class SettingComparison(_Frozen):
    """A setting against the baseline: SETTING of the contract with its verdict.

    Everything from `delta` on is None for the baseline, and where it is not known.

    Attributes:
        label: ``baseline`` or ``key=level``.
        changed: ``{key: [baseline, level]}``.
        derived: What follows from the change: ``{key: [baseline, level]}``.
        runs: Ids of the runs that were found.
        values: The metric of each complete run, one per seed in `seeds`.
        delta: Mean of level minus baseline over the seeds of both, in the metric's units.
        interval: Of `delta`, with the study's confidence; like `p` and `verdict` on new data where
            that can be answered.
        p_holm: `p` adjusted for all settings of the study (S. Holm 1979).
        pairs: Seeds that both have.
        lost: Seeds without a pair because a run failed.
        look: After how many seeds this was decided, where seeds are added until it is.
        detectable: The minimum detectable effect of an undecided setting.
        seeds_to_decide: How many seeds would decide it; None also where none would.
        no_verdict: Why there is no verdict.
        cells: What changed most in the confusion matrix, where it is better or worse.
    """

    label: str
    changed: dict[str, list[Any]]
    derived: dict[str, list[Any]]
    runs: list[str]
    seeds: list[int] | list[str]
    values: list[float]
    mean: float | None
    std: float | None
    status: Literal["complete", "failed", "pruned", "interrupted"]
    reason: str | None
    pruned: str | None = None
    shared_tensors: list[int] | None = None
    delta: float | None = None
    interval: list[float] | None = None
    p: float | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None
    pairs: int | None = None
    question: Question | None = None
    confidence: float | None = None
    this_part: PartAnswer | None = None
    new_data: PartAnswer | None = None
    std_of_differences: float | None = None
    correlation: float | None = None
    unpaired_worth: float | None = None
    lost: list[int] | None = None
    look: int | None = None
    detectable: float | None = None
    seeds_to_decide: int | None = None
    next_look: int | None = None
    no_verdict: str | None = None
    cells: list[ChangedCell] | None = None

    @property
    def key(self) -> str | None:
        """The changed hyperparameter; None for the baseline."""
        return next(iter(self.changed), None)


class Comparison(_Frozen):
    """The `compare` document: every setting against the baseline, on the seeds that both have.

    Attributes:
        study: Its name; None where the results are another tool's.
        sameness: Whether the record proves that only one hyperparameter changed.
        question: What the verdicts answer: ``new data`` or ``this part``.
        margin: Differences smaller than this do not matter.
        tests: Settings that p values are adjusted for.
        examples: In the part that was measured on.
        looks: After how many seeds verdicts are given, where seeds are added until it is decided.
        settings: The baseline and the others, in the study's order.
        linter: Warnings of method; None where they were not asked for.
    """

    study: str | None
    metric: Metric
    sameness: Literal["proven", "not proven"]
    question: Question | None
    margin: float | None
    tests: int | None
    examples: int | None
    looks: list[int]
    settings: Sequence[SerializeAsAny[SettingComparison]]
    linter: list[Finding] | None = None

    @property
    def by_label(self) -> Mapping[str, SettingComparison]:
        return {setting.label: setting for setting in self.settings}

    def __getitem__(self, label: str) -> SettingComparison:
        """Return the setting of this label."""
        return self.by_label[label]

    def to_frame(self) -> DataFrame:
        """Return one row per setting, with its attributes as columns."""
        from pandas import DataFrame

        return DataFrame(self.to_json()["settings"]).set_index("label")

    @property
    def best(self) -> SettingComparison | None:
        """See `best_setting`."""
        return best_setting(self.settings, self.metric.direction)

    def to_dict(self) -> dict[str, Any]:
        """Return what the command prints with ``--json``."""
        return self.to_json()

    def _repr_html_(self) -> str:
        from paribus.sweeps.analysis.verdict_text import paper_table

        columns, *rows = paper_table(self)
        return html_table(f"study {self.study}" if self.study else "results", columns, rows)

    def to_json(self) -> dict[str, Any]:
        """Return the `compare` document."""
        found = self.model_dump(exclude={"linter"} if self.linter is None else None)
        for setting in found["settings"]:
            for cell in setting["cells"] or ():
                if cell["label"] is None:
                    del cell["label"]
        return found


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as a notebook shows it; markup in names stays text."""
    from markupsafe import escape
    from pandas import DataFrame

    table = DataFrame(rows, columns=list(columns)).to_html(index=False, border=0)
    return f"<p>{escape(caption)}</p>{table}"


class Ended(Protocol):
    """What `best_setting` looks at, of a `SettingResult` or `SettingComparison`."""

    @property
    def label(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def seeds(self) -> Sequence[Any]: ...
    @property
    def values(self) -> Sequence[float]: ...
    @property
    def mean(self) -> float | None: ...


T = TypeVar("T", bound=Ended)


def best_setting(
    settings: Sequence[T], direction: Direction, *, besides_baseline: bool = False
) -> T | None:
    """Return the complete setting that is best on the seeds it shares with the baseline.

    Of equals the first; by its mean where there is no complete baseline.

    Args:
        settings: The baseline among them, if there is one.
        direction: Which way of the metric is better.
        besides_baseline: Whether the baseline itself is left out.
    """
    complete = [one for one in settings if one.status == "complete" and one.mean is not None]
    baseline = next((one for one in complete if one.label == BASELINE), None)
    base = dict(zip(baseline.seeds, baseline.values, strict=True)) if baseline else {}
    sign = 1 if direction == "maximize" else -1

    def gain(one: T) -> float:
        if baseline is None:
            return sign * (one.mean or 0.0)
        shared = zip(one.seeds, one.values, strict=True)
        gains = [sign * (value - base[seed]) for seed, value in shared if seed in base]
        return sum(gains) / len(gains) if gains else -math.inf

    levels = [one for one in complete if not (besides_baseline and one is baseline)]
    return max(levels, key=gain, default=None)


def compare_study(
    study: Study,
    results: Sequence[SettingResult] | None = None,
    metric: str | None = None,
    *,
    margin: float | None = None,
    labels: Sequence[str] | None = None,
) -> Comparison:
    """Compare every setting with the baseline, on the seeds that both have.

    Args:
        study: The study.
        results: Of all its settings: p values are adjusted for how many there are; None: all that
            happened.
        metric: What the results are of; None: the selection metric.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
        labels: Only these settings are in the comparison.

    Raises:
        RequestError: If the runs have no such metric.
    """
    metric = metric or study.metric
    direction = study.direction_of(metric)
    results = study.results(metric=metric) if results is None else results
    judged = judge_study(study, results, metric, direction, margin)
    baseline = next((r for r in results if r.label == BASELINE), None)
    first = study.outcomes.record(baseline.runs[0]) if baseline and baseline.runs else None
    return Comparison(
        study=study.name,
        metric=Metric(name=metric, direction=direction),
        sameness=sameness(study.asked["baseline"]),
        question=judged.question if judged else None,
        margin=judged.standard.margin if judged else None,
        tests=judged.standard.planned if judged else None,
        examples=first.data.val if first else None,
        looks=list(judged.looks) if judged else [],
        settings=[
            SettingComparison(
                **result.document(),
                **_effect(result, judged),
                cells=_cells(study, result, baseline, judged),
            )
            for result in results
            if labels is None or result.label in labels
        ],
    )


def compare_and_lint(
    study: Study,
    metric: str | None = None,
    margin: float | None = None,
    options: Sequence[str] = (),
) -> Comparison:
    """Compare a study and add the linter's warnings: what `compare`, the page and W&B show.

    Args:
        study: The study.
        metric: Another metric of the best epoch than the selection metric.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
        options: For commands to paste, such as ``--root DIR``.
    """
    found = compare_study(study, metric=metric, margin=margin)
    own = margin if metric in (None, study.metric) else None
    return found.model_copy(update={"linter": lint_study(study, own, options)})


def checked_comparison(
    study: Study, metric: str | None, margin: float | None, options: Sequence[str] = ()
) -> Comparison:
    """Return `compare_and_lint` of a study that something can be said of.

    Raises:
        RequestError: If no run of the baseline is complete, the runs have no such metric, or a
            verdict is requested of single seeds.
    """
    comparison = compare_and_lint(study, metric, margin, options)
    if study.outcomes.damaged:  # which is what a person is shown then
        return comparison
    name, baseline = study.name, comparison.by_label.get(BASELINE)
    if baseline is None or not baseline.values:
        why = f": {baseline.reason}" if baseline and baseline.reason else ""
        raise RequestError(
            f"The study {name} has no complete run of its baseline, so there is nothing to compare "
            f"with{why}.",
            f"Name another metric, or run its sweep again, which goes on; see: paribus runs {name}"
            if why
            else f"Run its sweep again, which goes on; see: paribus runs {name}",
            "no-baseline",
        )
    if margin is not None and not any(setting.verdict for setting in comparison.settings):
        raise RequestError(
            f"--margin {margin}: no setting of {name} shares two seeds with the baseline, and a "
            "verdict needs two.",
            "Train more: the sweep's command with --seeds 3.",
            "one-seed",
        )
    return comparison


def run_document(
    folder: RunFolder,
    record: RunRecord,
    *,
    study: Study | None = None,
    studies: Sequence[str] = (),
    reused: bool = False,
) -> dict[str, Any]:
    """Return a run, with its setting if a study is asked about."""
    place = study.place_of(folder.id) if study else None
    return {
        "run": record.run,
        "experiment": record.experiment,
        "study": study.name if study and place else None,
        "studies": list(studies),
        "setting": {"label": place[0].label, "changed": place[0].changed} if place else None,
        "seed": record.seed,
        "status": record.status,
        "reason": record.reason,
        "engine": record.engine,
        "dir": str(folder.folder.absolute()),
        "reused": reused,
        "epochs": record.epochs,
        "best": record.best.model_dump() if record.best else None,
        "last": record.last.model_dump() if record.last else None,
        "weights_sha256": record.weights_sha256,
        "seconds": record.seconds,
        "class_names": record.class_names,
    }


def judge_study(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    direction: Direction,
    margin: float | None = None,
) -> Judged | None:
    """Return verdicts on all settings of a study; None where the baseline is not planned."""
    by_label = {result.label: result for result in results}
    if BASELINE not in by_label:
        return None
    standard = standard_of(study, results, metric, direction, margin)
    baseline = by_label.pop(BASELINE)
    looks = tuple(study.asked.get("looks") or ())
    settings = [
        observed(study, result, metric)
        for result in by_label.values()
        if not _has_other_units(result, metric)
    ]
    return judge_observed(
        observed(study, baseline, metric),
        settings,
        standard,
        planned_looks=looks,
        seeds=range(looks[-1]) if looks else (),
    )


def _effect(result: SettingResult, judged: Judged | None) -> dict[str, Any]:
    """Return what a verdict adds to a setting; nothing for the baseline."""
    if judged is None or result.label == BASELINE:
        return {}
    if result.label not in judged.by_label:
        why = "a change of the loss gives val/loss other units"
        return {"pairs": 0, "lost": [], "no_verdict": why}
    return judged.effect(result.label)


def _has_other_units(result: SettingResult, metric: str) -> bool:
    """Return whether a setting's metric is none that the baseline's can be subtracted from."""
    key = result.setting.key or ""
    return key.split(".")[0] == "loss" and metric.rpartition("/")[2] == "loss"


def _cells(
    study: Study, result: SettingResult, baseline: SettingResult | None, judged: Judged | None
) -> list[ChangedCell] | None:
    """Return the three cells of the confusion matrix that a better or worse setting changed most.

    None where there is no confusion matrix, or there are fewer than two pairs.
    """
    found = judged.by_label.get(result.label) if judged else None
    if found is None or found.verdict not in ("better", "worse") or baseline is None:
        return None
    shared = sorted(set(result.seeds) & set(baseline.seeds))
    shared = [seed for seed in shared if found.look is None or seed < found.look]
    pairs = [
        [study.outcomes.record(one.setting.runs[seed]) for seed in shared]
        for one in (result, baseline)
    ]
    matrices = [[record and record.confusion_matrix for record in records] for records in pairs]
    if len(shared) < 2 or any(matrix is None for part in matrices for matrix in part):
        return None
    level, base = (np.asarray(part, dtype=np.float64) for part in matrices)
    if level.shape != base.shape:
        return None
    first = pairs[0][0]
    names = (first.class_names if first else None) or []
    return [
        ChangedCell(**_named(cell.place, names), mean=cell.mean, interval=[cell.low, cell.high])
        for cell in changed_cells(level, base)
    ]


def _named(place: tuple[int, ...], names: Sequence[str]) -> dict[str, str]:
    words = [str(names[code]) if code < len(names) else str(code) for code in place]
    if len(place) == 2:
        return {"true": words[0], "predicted": words[1]}
    yes = ("no", "yes")
    return {"label": words[0], "true": yes[place[1]], "predicted": yes[place[2]]}
