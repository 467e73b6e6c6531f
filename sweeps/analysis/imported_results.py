"""Compare runs of any tool: which columns hold what, the baseline, the settings beside it."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paribus.core.config.schema import Direction, same_value
from paribus.core.config.values import NULL_WORDS, show_value, split_commas
from paribus.core.errors import Faults, RequestError, did_you_mean, first_few, many, shown
from paribus.sweeps.analysis.compare import Comparison, SettingComparison
from paribus.sweeps.analysis.judge import judge_observed
from paribus.sweeps.analysis.observed import Observed
from paribus.sweeps.analysis.read_results import ReadRun, read_results
from paribus.sweeps.stats.variance import step_of
from paribus.sweeps.stats.verdicts import Standard, mean_and_std
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Metric

_LABEL, _VALUE = "setting", "value"  # columns: of labels, one of them `baseline`; of the metric
_UNFINISHED = ("running", "pending", "preempting")
_FAILED = ("failed", "crashed", "killed", "preempted")
# Words of a metric's name; neg_error is of both.
_LOWER = re.compile(
    r".*loss|.*error|(err|mae|mape|mse|rmse|nll|perplexity|ppl|wer|cer|fid|brier|neg)\d*"
)
_HIGHER = re.compile(
    r"f1|r2|(acc|accuracy|precision|recall|auc|auroc|auprc|iou|miou|dice|bleu|rouge|kappa|mcc|ndcg|"
    r"psnr|ssim|reward|neg)\d*"
)
_MOST = 5  # faults, and settings that are not comparable, in lines of text
_LARGEST = 1e100  # whose squares are numbers still


@dataclass(frozen=True)
class Row:
    """A run: the level of each hyperparameter, its seed, its value; None: it failed."""

    levels: Mapping[str, Any]
    seed: str
    value: float | None


@dataclass(frozen=True)
class ResultsTable:
    """Runs by hyperparameters and seed; `keys` are those that vary, `notes` what was left out."""

    source: str
    seed: str
    metric: str
    keys: tuple[str, ...]
    rows: list[Row]
    notes: list[str]


class ResultsComparison(Comparison):
    """The comparison of another tool's results.

    Attributes:
        step: The smallest step between its values.
        not_comparable: Settings that differ from the baseline in several hyperparameters:
            these with their `levels`, and the number of `runs`.
        notes: The baseline, what is not comparable, what was left out: in sentences.
    """

    results: str
    step: float
    not_comparable: list[dict[str, Any]]
    notes: list[str]


def load_table(
    source: str, setting: Sequence[str] = (), seed: str | None = None, metric: str | None = None
) -> ResultsTable:
    """Read the runs of a source by hyperparameters and seed, or raise all that is wrong with it.

    Without `setting` its hyperparameters are all that W&B and TensorBoard know, of a file the
    labels in its column `setting`.
    """
    results, name, faults = read_results(source), shown(source, 200), Faults()
    runs, columns = results.runs, [*results.columns]
    config = columns or [*dict.fromkeys(key for run in runs for key in run.config)]
    metrics = columns or [*dict.fromkeys(key for run in runs for key in run.metrics)]
    seeds = [key for key in config if re.split(r"[./]", key.lower())[-1] in ("seed", "random_seed")]
    seed = seed or (seeds[0] if len(seeds) == 1 else "")
    usual = [key for key in config if key == _LABEL or (not columns and key != seed)]
    setting = [*dict.fromkeys(setting or usual)]
    metric = metric or (metrics[0] if len(metrics) == 1 else _VALUE if _VALUE in metrics else "")
    for option, needed, known in (
        ("seed", [seed] * bool(seed), config),
        ("setting", setting, config),
        ("metric", [metric] * bool(metric), metrics),
    ):
        missing = [shown(column, 40) for column in needed if known.count(column) != 1]
        if missing or not needed:
            there = first_few([shown(column, 40) for column in known], 12) or "none"
            what = " and ".join(missing) or f"with the {option}"
            hint = did_you_mean(missing[0], known) if missing else f"Name it with --{option}."
            faults.add(f"{name}: needs one column {what}; it has {there}.", hint)
    faults.check()

    rows: dict[tuple[str, ...], Row] = {}
    lost: set[tuple[str, ...]] = set()  # of these rows those whose run failed
    left_out: Counter[str] = Counter()
    for run in runs:
        with faults.collecting():
            row = _row(run, setting, seed, metric)
            if isinstance(row, str):
                left_out[row] += 1
                continue
            key, failed = (*_texts(row, setting), row.seed), run.state.lower() in _FAILED
            if key in rows:
                if not failed and key not in lost:
                    raise RequestError(
                        f"{run.where}: a second value of {_text(row.levels)} and seed "
                        f"{shown(row.seed, 40)}.",
                        "Give each run one line, or name with --setting what tells them apart.",
                    )
                left_out["that failed beside another of these levels and seed"] += 1
            if key not in rows or not failed:
                rows[key] = row
                (lost.add if failed else lost.discard)(key)
    del faults.found[_MOST:]
    faults.check()
    if not rows:
        message = f"{name}: no run has a value of {shown(metric, 40)}."
        raise RequestError(message, "; ".join(left_out))
    varying = [key for key in setting if len({_texts(row, [key]) for row in rows.values()}) > 1]
    notes = [f"left out: {many(count, 'run')} {why}" for why, count in left_out.items()]
    notes += [f"{metric}: each run's {results.value}"] if results.value else []
    return ResultsTable(source, seed, metric, tuple(varying), [*rows.values()], notes)


def _row(run: ReadRun, setting: Sequence[str], seed: str, metric: str) -> Row | str:
    """Return a run with its levels, or why it is left out."""
    seed_level, cell = level_of(run.config.get(seed)), run.metrics.get(metric)
    if run.state.lower() in _UNFINISHED:
        return "that did not finish yet"
    if run.state.lower() in _FAILED:
        cell = math.nan
    if cell is None or not str(cell).strip():
        return f"without {metric}"
    if seed_level is None:
        raise RequestError(f"{run.where}: has no {seed}.", "Give each run its seed.")
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        message = f"{run.where}: {metric} {shown(cell, 40)} is no number."
        raise RequestError(
            message, "Write nan for a run that failed; leave it empty for none."
        ) from None
    if math.isfinite(value) and abs(value) > _LARGEST:
        raise RequestError(f"{run.where}: {metric} {shown(cell, 40)} is too large.")
    levels = {key: level_of(run.config.get(key)) for key in setting}
    return Row(levels, show_value(seed_level), value if math.isfinite(value) else None)


def level_of(cell: Any) -> Any:
    """Return a hyperparameter's value, the same however it is written: 64.0 and "64" are 64."""
    value = cell.strip() if isinstance(cell, str) else cell
    if value in ("", *NULL_WORDS) or isinstance(value, bool):
        return value if isinstance(value, bool) else None
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return show_value(value)
    if not math.isfinite(number):
        return show_value(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _texts(row: Row, keys: Iterable[str]) -> tuple[str, ...]:
    """Return a run's levels as texts, which tell true from 1."""
    return tuple(show_value(row.levels[key]) for key in keys)


def _text(levels: Mapping[str, Any], comma: str = ", ") -> str:
    return shown(comma.join(f"{key}={show_value(level)}" for key, level in levels.items()), 200)


def read_direction(metric: str, direction: Direction | None) -> Direction:
    """Return which way is better, as the metric's name says if it is not given; or refuse."""
    words = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*", metric)
    lower, higher = (any(x.fullmatch(word.lower()) for word in words) for x in (_LOWER, _HIGHER))
    if direction is None and lower == higher:
        message = f"Whether higher values of {shown(metric, 40)} are better is not known."
        raise RequestError(message, "Give --direction maximize or minimize.")
    return direction or ("minimize" if lower else "maximize")


def compare_results(
    table: ResultsTable,
    direction: Direction | None = None,
    margin: float | None = None,
    baseline: str | None = None,
    *,
    strict: bool = False,
) -> ResultsComparison:
    """Compare the settings that are one hyperparameter away from the baseline.

    The direction is as the metric's name says, where none is given. A margin of
    None is half a point of values that are maximized, 0.005 of those up to 1 and 0.5 of those up to
    100, else 2 % of the baseline's mean. The baseline, ``KEY=VALUE,…``, is the most frequent
    configuration if none is named.

    Raises:
        RequestError: If no verdict can come from it.
    """
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in table.rows:
        grouped.setdefault(_texts(row, table.keys), []).append(row)
    first = _baseline(table, grouped, baseline)
    labelled = table.keys == (_LABEL,) and first == (BASELINE,)
    names = list(dict.fromkeys(row.seed for row in table.rows))
    numbers = {name: number for number, name in enumerate(names)}
    seen: dict[str, tuple[Observed, dict[str, list[Any]]]] = {}
    others: list[dict[str, Any]] = []
    before = grouped[first][0].levels
    for texts in (first, *(texts for texts in grouped if texts != first)):
        levels = grouped[texts][0].levels
        changed = {
            key: [before[key], levels[key]]
            for key, text, other in zip(table.keys, texts, first, strict=True)
            if text != other
        }
        if len(changed) > 1:
            after = {key: level for key, (_, level) in changed.items()}
            others.append({"levels": after, "runs": len(grouped[texts])})
            continue
        label = "".join(f"{key}={show_value(pair[1])}" for key, pair in changed.items()) or BASELINE
        if changed and labelled:  # a label key=level names its axis
            (label,) = texts
            key, equals, level = label.partition("=")
            changed = {key: [None, level]} if equals else {}
        values = {numbers[row.seed]: row.value for row in grouped[texts]}
        complete = {seed: value for seed, value in values.items() if value is not None}
        failed = tuple(seed for seed, value in values.items() if value is None)
        seen[label] = Observed(label, complete, failed), changed
    base, *settings = (one for one, _ in seen.values())
    name = shown(table.source, 200)
    if not base.values:
        message = f"{name}: the baseline has no complete run."
        raise RequestError(message, "Name one with --baseline.")
    pairs = [len(one.values.keys() & base.values.keys()) for one in settings]
    if max(pairs, default=0) < 2:
        what = "no setting shares two seeds with the baseline" if settings else (
            "no configuration is one hyperparameter away from the baseline"
        )  # fmt: skip
        hint = "A verdict needs two; --setting names the hyperparameters that matter."
        raise RequestError(f"{name}: {what}.", hint)
    direction = read_direction(table.metric, direction)
    every = [value for one in (base, *settings) for value in one.values.values()]
    higher = direction == "maximize"
    shares = higher and min(every) >= 0 and max(every) <= 100  # or percentages
    if margin is None:
        margin = 0.02 * abs(sum(base.values.values()) / len(base.values))
        if shares:
            margin = 0.005 if max(every) <= 1 else 0.5
    standard = Standard(margin, len(settings), higher, step_of(every), pooled=shares, strict=strict)
    judged = judge_observed(base, settings, standard)
    notes = [f"baseline: {_text(dict(zip(table.keys, first, strict=True)))}"] * (not labelled)
    notes += [
        f"not comparable: {_text(one['levels'])} differs from the baseline in "
        f"{first_few([*one['levels']])} ({many(one['runs'], 'run')})"
        for one in others[:_MOST]
    ]
    if len(others) > _MOST:
        notes.append(f"not comparable: {len(others) - _MOST} more (see --json)")
    return ResultsComparison(
        study=None,
        results=table.source,
        metric=Metric(name=table.metric, direction=direction),
        sameness="not proven",
        **judged.document(),
        step=standard.resolution,
        not_comparable=others,
        notes=[*notes, *table.notes],
        settings=[
            SettingComparison(
                label=one.label,
                changed=changed,
                seeds=[names[number] for number in one.values],
                values=[*one.values.values()],
                mean=mean_and_std([*one.values.values()])[0],
                std=mean_and_std([*one.values.values()])[1],
                status="failed" if one.failed else "complete",
                **judged.effect(one.label),
            )
            for one, changed in seen.values()
        ],
    )


def _baseline(
    table: ResultsTable, grouped: Mapping[tuple[str, ...], list[Row]], requested: str | None
) -> tuple[str, ...]:
    """Return the most frequent of the configurations that have the requested levels."""
    if requested is None and table.keys == (_LABEL,) and (BASELINE,) in grouped:
        return (BASELINE,)
    wanted = dict(pair.partition("=")[::2] for pair in split_commas(requested or "") if pair)
    counts = {
        texts: len(rows)
        for texts, rows in grouped.items()
        if all(
            key in rows[0].levels and same_value(rows[0].levels[key], level_of(text))
            for key, text in wanted.items()
        )
    }
    best = [texts for texts, count in counts.items() if count == max(counts.values())]
    if len(best) == 1:
        return best[0]
    such = [_text(dict(zip(table.keys, texts, strict=True)), ",") for texts in best or grouped]
    what = f"{len(best)} configurations have as many runs" if best else (
        f"no run has {shown(requested)}"
    )  # fmt: skip
    raise RequestError(
        f"{shown(table.source, 200)}: {what}; there is {first_few(such, 3)}.",
        f"Name the baseline, such as --baseline {such[0]}; --setting names the hyperparameters "
        "that matter.",
    )
