"""Compare a study's records: typed results that every `--json` document is dumped from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from paribus.core.config.schema import Direction, get
from paribus.core.errors import RequestError
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.analysis.judge import Judged, Question, judge_study
from paribus.sweeps.analysis.linter.evidence import Finding
from paribus.sweeps.analysis.linter.lint import lint_study
from paribus.sweeps.stats.confusion import changed_cells
from paribus.sweeps.stats.verdicts import Grade, Verdict
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Metric, Study

if TYPE_CHECKING:
    from pandas import DataFrame


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


def _is_none(value: Any) -> bool:
    return value is None


class PartAnswer(_Frozen):
    """The verdict on one question: other seeds on this part of the data, or on new data too."""

    interval: list[float]
    p: float
    p_holm: float
    threshold: float | None = None
    verdict: Verdict


class ChangedCell(_Frozen):
    """A cell of the confusion matrix: its classes, the change of its count, 95 % interval.

    The change is the sum over the seeds' folds; on one part the mean over seeds.
    """

    label: str | None = Field(default=None, exclude_if=_is_none)
    true: str
    predicted: str
    mean: float
    interval: list[float]


class SettingComparison(_Frozen):
    """A setting compared with the baseline, and its verdict: an entry of ``settings``.

    From `delta` on all is None for the baseline, and where it is not known.

    Attributes:
        changed: ``{key: [baseline, level]}``; so is what follows from the change, `derived`.
        values: The metric of each complete run, one per seed in `seeds`.
        delta: Mean of level minus baseline over the seeds of both, in the metric's units.
        interval: Of `delta`, with its `confidence`: it excludes 0 exactly where the setting is
            better or worse; like `p` and `verdict` on new data where that can be answered.
        p_holm: `p` adjusted for all settings of the study (S. Holm 1979).
        threshold: The largest `p` at which it is better or worse; None where `p_holm` decides.
        grade: What is likely, or excluded, of an undecided setting; no verdict.
        pairs: Seeds that both have; `lost` are those without a pair because a run failed.
        look: The number of seeds after which it was decided, where seeds are added until it is.
        detectable: The minimum detectable effect, where it is undecided.
        seeds_to_decide: How many seeds would decide it; None also where no number would.
        cells: The cells of the confusion matrix that changed most, where it is better or worse.
    """

    label: str
    changed: dict[str, list[Any]]
    derived: dict[str, list[Any]] = {}
    runs: list[str] = []
    seeds: list[int] | list[str]
    values: list[float]
    mean: float | None
    std: float | None
    status: Literal["complete", "failed", "pruned", "interrupted"]
    reason: str | None = None
    pruned: str | None = None
    shared_tensors: list[int] | None = None
    delta: float | None = None
    interval: list[float] | None = None
    p: float | None = None
    p_holm: float | None = None
    threshold: float | None = None
    verdict: Verdict | None = None
    grade: Grade | None = None
    pairs: int | None = None
    question: Question | None = None
    confidence: float | None = None
    this_part: PartAnswer | None = None
    new_data: PartAnswer | None = None
    std_of_differences: float | None = None
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
    """Every setting compared with the baseline, on the seeds that both have.

    Attributes:
        study: Its name; None where the results are another tool's.
        margin: Differences smaller than this do not matter.
        tests: How many settings are judged together.
        examples: How many the part has that was measured on.
        folds: How many folds the baseline's seeds validate on; 1: all on one part.
        group_on: The column whose values are each in one part; verdicts hold for new ones.
        strict: Whether the error rate is controlled over all settings together (Holm).
        looks: The numbers of seeds after which verdicts are given, where seeds are added until it
            is decided.
        linter: Warnings of method; None where they were not requested.
    """

    study: str | None
    metric: Metric
    sameness: Literal["proven", "not proven"]
    question: Question | None = None
    margin: float | None = None
    tests: int | None = None
    examples: int | None = None
    looks: list[int] = []
    folds: int = 1
    group_on: str | None = Field(default=None, exclude_if=_is_none)
    strict: bool = False
    settings: Sequence[SerializeAsAny[SettingComparison]]
    linter: list[Finding] | None = Field(default=None, exclude_if=_is_none)

    @property
    def by_label(self) -> Mapping[str, SettingComparison]:
        return {setting.label: setting for setting in self.settings}

    def __getitem__(self, label: str) -> SettingComparison:
        """Return the setting of this label."""
        return self.by_label[label]

    def to_frame(self) -> DataFrame:
        """Return one row per setting, with its attributes as columns."""
        from pandas import DataFrame

        return DataFrame(self.to_dict()["settings"]).set_index("label")

    @property
    def levels(self) -> list[SettingComparison]:
        """The settings besides the baseline."""
        return [setting for setting in self.settings if setting.label != BASELINE]

    @property
    def chosen(self) -> list[SettingComparison]:
        """The settings that are better than the baseline; where none is, the best one."""
        better = [s for s in self.levels if s.verdict == "better"]  # a seed may have failed
        best = best_setting(self.levels, self.metric.direction)
        return better or ([best] if best else [])

    @property
    def best(self) -> SettingComparison | None:
        """See `best_setting`."""
        return best_setting(self.settings, self.metric.direction)

    def _repr_html_(self) -> str:
        from paribus.sweeps.analysis.verdict_text import paper_table

        columns, *rows = paper_table(self)
        return html_table(f"study {self.study}" if self.study else "results", columns, rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the `compare` document: what the command prints with ``--json``."""
        return self.model_dump()


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as a notebook shows it; markup in names stays text."""
    from markupsafe import escape
    from pandas import DataFrame

    table = DataFrame(rows, columns=list(columns)).to_html(index=False, border=0)
    return f"<p>{escape(caption)}</p>{table}"


def compare_study(
    study: Study,
    results: Sequence[SettingResult] | None = None,
    metric: str | None = None,
    *,
    margin: float | None = None,
    strict: bool = False,
    labels: Sequence[str] | None = None,
) -> Comparison:
    """Compare every setting with the baseline, on the seeds that both have.

    All settings are judged together; only those of `labels`, if any are named, are in the
    comparison. `results` are read where they are not given; they are of the best epoch's `metric`,
    None: the selection metric. `margin` and `strict` are as of `judge_study`.

    Raises:
        RequestError: If the runs have no such metric.
    """
    metric = metric or study.metric
    direction = study.direction_of(metric)
    results = study.results(metric=metric) if results is None else results
    judged = judge_study(study, results, metric, margin, strict=strict)
    baseline = next((r for r in results if r.label == BASELINE), None)
    first = study.outcomes.record(baseline.runs[0]) if baseline and baseline.runs else None
    seeds = baseline.seeds if baseline else ()
    return Comparison(
        study=study.name,
        metric=Metric(name=metric, direction=direction),
        sameness=sameness(study.requested.baseline),
        **(judged.document() if judged else {"strict": strict}),
        examples=first.data.val if first else None,
        folds=len({seed % first.folds for seed in seeds} or [0]) if first else 1,
        group_on=get(first.configuration, "split.group_on") if first else None,
        settings=[
            SettingComparison(
                **result.document(),
                **(judged.effect(result.label) if judged else {}),
                cells=_cells(study, result, baseline, judged),
            )
            for result in results
            if labels is None or result.label in labels
        ],
    )


def _cells(
    study: Study, result: SettingResult, baseline: SettingResult | None, judged: Judged | None
) -> list[ChangedCell] | None:
    """Return the cells of the confusion matrix that a better or worse setting changed most."""
    found = judged.by_label.get(result.label) if judged else None
    if found is None or found.verdict not in ("better", "worse") or baseline is None:
        return None
    shared = sorted(set(result.seeds) & set(baseline.seeds))
    shared = [seed for seed in shared if found.look is None or seed < found.look]
    records = [study.outcomes.record(result.setting.runs[seed]) for seed in shared]
    others = [study.outcomes.record(baseline.setting.runs[seed]) for seed in shared]
    matrices = [record.confusion for record in (*records, *others) if record]
    known = [matrix for matrix in matrices if matrix is not None]
    if len(known) < 2 * len(shared) or len({matrix.shape for matrix in known}) > 1:
        return None
    level, base = known[: len(shared)], known[len(shared) :]
    first = records[0]
    names = [str(name) for name in (first and first.class_names) or range(base[0].shape[0])]
    cells = []
    times = len({record.fold for record in records if record})  # each fold has its examples
    for place, mean, low, high in changed_cells(level, base):
        *label, true, predicted = place  # of several labels each matrix is of no and yes
        classes = ("no", "yes") if label else names
        cells.append(ChangedCell(
            label=names[label[0]] if label else None,
            true=classes[true],
            predicted=classes[predicted],
            mean=times * mean,
            interval=[times * low, times * high],
        ))  # fmt: skip
    return cells


def compare_and_lint(
    study: Study,
    metric: str | None = None,
    margin: float | None = None,
    options: Sequence[str] = (),
    *,
    strict: bool = False,
) -> Comparison:
    """Compare a study as `compare_study` does and add the linter's warnings.

    The `options`, such as ``--root DIR``, are for commands to paste.
    """
    found = compare_study(study, metric=metric, margin=margin, strict=strict)
    own = margin if metric in (None, study.metric) else None
    return found.model_copy(update={"linter": lint_study(study, own, options)})


def checked_comparison(
    study: Study,
    metric: str | None,
    margin: float | None,
    options: Sequence[str] = (),
    *,
    strict: bool = False,
) -> Comparison:
    """Return `compare_and_lint` of a study that something can be said of.

    Raises:
        RequestError: If no run of the baseline is complete, the runs have no such metric, or a
            verdict is requested of single seeds.
    """
    comparison = compare_and_lint(study, metric, margin, options, strict=strict)
    if study.outcomes.damaged:  # the caller reports these instead
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
        )
    seeds = {*baseline.seeds}
    if margin is not None and not any(len(seeds & {*s.seeds}) > 1 for s in comparison.levels):
        raise RequestError(
            f"--margin {margin}: no setting of {name} shares two seeds with the baseline, and a "
            "verdict needs two.",
            "Train more: the sweep's command with --seeds 5.",
        )
    return comparison


T = TypeVar("T", SettingResult, SettingComparison)


def best_setting(settings: Sequence[T], direction: Direction) -> T | None:
    """Return the setting with the best mean difference to the baseline, over the seeds of both.

    The baseline's own is 0, whichever of its seeds failed; of the others complete ones count, and
    of equals the first. Results without a value of the baseline are ranked by their means. Of a
    comparison the baseline may be left out of `settings`.
    """
    baseline = next((one for one in settings if one.label == BASELINE and one.values), None)

    def delta(one: T) -> float | None:
        if one is baseline:
            return 0.0
        if one.status != "complete":
            return None
        if isinstance(one, SettingComparison):
            return one.delta
        return one.paired(baseline).mean if isinstance(baseline, SettingResult) else one.mean

    sign = 1 if direction == "maximize" else -1
    known = [(sign * found, one) for one in settings if (found := delta(one)) is not None]
    return max(known, key=lambda pair: pair[0], default=(0.0, None))[1]


def run_document(
    folder: RunFolder,
    record: RunRecord,
    *,
    study: Study | None = None,
    studies: Sequence[str] = (),
    reused: bool = False,
) -> dict[str, Any]:
    """Return the `run` document; its setting in the study, if one is given."""
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
        "best": record.best.model_dump(exclude_unset=True) if record.best else None,
        "last": record.last.model_dump() if record.last else None,
        "weights_sha256": record.weights_sha256,
        "seconds": record.seconds,
        "class_names": record.class_names,
        "finalized": record.finalized,
    }
