"""What was recorded of a study's settings, as verdicts take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from paribus.core.config.schema import Direction
from paribus.core.records.run_dir import PREDICTIONS
from paribus.sweeps.analysis.example_scores import example_scores
from paribus.sweeps.stats.power import seeds_to_decide, smallest_difference
from paribus.sweeps.stats.sequential import Look, judge_looks, seeds_can_decide
from paribus.sweeps.stats.variance import step_of
from paribus.sweeps.stats.verdicts import Answer, Judgement, Pairs, Standard, judge, mean_and_std
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study

Array = NDArray[np.float64]


def observed(study: Study, result: SettingResult, metric: str) -> Observed:
    """A setting's values by seed, and its recorded outputs, read when they are asked for.

    Args:
        study: Its study. The records were verified when `result` was made.
        result: What happened with the setting.
        metric: What the result is of.
    """
    values = dict(zip(result.seeds, result.values, strict=True))

    @cache
    def scores(seed: int) -> Array | None:
        run = result.setting.runs[seed]
        record, found = study.outcomes.record(run), _predictions(study, run)
        if record is None or found is None:
            return None
        configuration = record.configuration
        return example_scores(
            metric, values[seed], configuration, found["outputs"], found["targets"]
        )

    def outputs(seed: int) -> bytes | None:
        found = _predictions(study, result.setting.runs[seed])
        return None if found is None else found["outputs"].tobytes()

    return Observed(result.setting.label, values, result.failed, scores, outputs)


def standard_of(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    direction: Direction,
    margin: float | None = None,
) -> Standard:
    """What the settings of a study are held to.

    Args:
        study: The study.
        results: Of all its settings; the baseline is among them.
        metric: What the results are of.
        direction: Which way of it is better.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
    """
    baseline = next(result for result in results if result.setting.key is None)
    if margin is None and metric == study.metric:
        margin = study.asked.get("margin")
    values = baseline.values
    if looks := study.asked.get("looks"):  # what follows from it must not move from look to look
        values = tuple(v for s, v in zip(baseline.seeds, values, strict=True) if s < looks[0])
    return standard_for(
        metric,
        direction,
        values,
        len(results) - 1,
        values=[value for result in results for value in result.values],
        examples=decisions(study, baseline),
        margin=margin,
    )


def decisions(study: Study, result: SettingResult) -> int | None:
    """How many decisions an accuracy counts: validation examples, times the labels of each."""
    run = result.setting.runs[result.seeds[0]] if result.seeds else None
    record = study.outcomes.record(run) if run else None
    if record is None or not record.data.val:
        return None
    matrix = record.confusion_matrix
    labels = len(matrix) if matrix and isinstance(matrix[0][0], list) else 1
    return int(record.data.val) * labels


def _predictions(study: Study, run: str) -> dict[str, NDArray[Any]] | None:
    """Outputs and targets of the best epoch; None where a function kept them to itself."""
    file = study.root.run(run).folder / PREDICTIONS
    if not file.is_file():
        return None
    from safetensors.numpy import load_file

    return load_file(file)


# From what was observed of settings to verdicts, whatever tool the results come from.


Question = Literal["new data", "this part"]

COUNTED = ("accuracy", "precision", "recall", "f1")  # they move in steps of one example


@dataclass(frozen=True, eq=False)
class Observed:
    """What was seen of a setting.

    Attributes:
        label: Its name.
        values: Seed to the metric's value, of complete runs.
        failed: Seeds whose run failed by itself.
        scores: From a seed to what each example adds to the metric: `[m]`; None where the metric is
            no mean over examples.
        outputs: From a seed to the bytes of all outputs, or None.
    """

    label: str
    values: Mapping[int, float]
    failed: tuple[int, ...] = ()
    scores: Callable[[int], Array | None] = field(default=lambda _seed: None)
    outputs: Callable[[int], bytes | None] = field(default=lambda _seed: None)


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts on settings.

    Attributes:
        standard: What they were held to.
        by_label: Each setting's.
        lost: Seeds for which the setting or the baseline failed, by label.
        pairs: What the verdicts rest on, by label.
        looks: After how many seeds it was looked, where they were added until it was decided.
    """

    standard: Standard
    by_label: Mapping[str, Judgement]
    lost: Mapping[str, tuple[int, ...]]
    pairs: Mapping[str, Pairs]
    looks: tuple[int, ...] = ()

    @property
    def question(self) -> Question:
        """What the headline verdicts answer: any of them on new data means that all can."""
        answered = any(one.new_data for one in self.by_label.values())
        return "new data" if answered else "this part"

    def effect(self, label: str) -> dict[str, Any]:
        """Return what a verdict adds to a setting: fields of `SettingComparison`."""
        one, pairs = self.by_label[label], self.pairs[label]
        headline = one.headline
        found: dict[str, Any] = {
            "delta": one.mean,
            "interval": headline and [headline.low, headline.high],
            "p": headline and headline.p,
            "p_holm": headline and headline.p_holm,
            "verdict": one.verdict,
            "pairs": one.pairs,
            "question": headline and ("new data" if one.new_data else "this part"),
            "confidence": one.confidence,
            "this_part": _answer(one.validation, one),
            "new_data": _answer(one.new_data, one),
            "std_of_differences": pairs.std,
            "correlation": pairs.correlation,
            "unpaired_worth": pairs.unpaired_worth if self._varies(pairs) else None,
            "lost": list(self.lost[label]),
            "look": one.look,
        }
        why = _why_none(one, self.lost[label], self.looks)
        return {**found, **self._undecided(one), "no_verdict": why}

    def _varies(self, pairs: Pairs) -> bool:
        """Whether the differences vary by more than the steps in which the metric moves."""
        return pairs.std is not None and pairs.std > self.standard.resolution / 2

    def _undecided(self, one: Judgement) -> dict[str, Any]:
        """The smallest difference that this many seeds find, and how many would decide it."""
        headline = one.headline
        if headline is None or one.verdict != "undecided" or one.mean is None:
            return {"detectable": None, "seeds_to_decide": None, "next_look": None}
        spent, sure = 1 - one.confidence, headline.uncertainty
        alpha = spent / max(1, self.standard.planned)
        needed = seeds_to_decide(sure, one.pairs, one.mean, self.standard.margin, alpha, spent)
        return {
            "detectable": smallest_difference(sure, one.pairs, alpha),
            "seeds_to_decide": None if self.looks else needed,  # a look follows, or none does
            "next_look": self._next_look(one),
        }

    def _next_look(self, one: Judgement) -> int | None:
        """After how many seeds a setting is looked at again; None if that would be in vain."""
        if not seeds_can_decide(one, self.standard):
            return None
        return next((n for n in self.looks if n > (one.look or 0)), None)


def judge_observed(
    baseline: Observed,
    settings: Sequence[Observed],
    standard: Standard,
    *,
    planned_looks: tuple[int, ...] = (),
    seeds: Sequence[int] = (),
) -> Judged:
    """Verdicts on settings against a baseline.

    Args:
        baseline: What they are compared with.
        settings: Each with what was seen of it.
        standard: What they are held to.
        planned_looks: After how many of `seeds` it is looked; none where their number was fixed.
        seeds: All that may be used, in the order in which they were added.
    """
    pairs = [_pairs(one, baseline, None) for one in settings]
    if planned_looks:
        looks = [_look(baseline, settings, seeds[:n]) for n in planned_looks]
        judged = judge_looks(looks, planned_looks, standard)
        pairs = [
            _pairs(one, baseline, seeds[: found.look]) if found.look else whole
            for one, found, whole in zip(settings, judged, pairs, strict=True)
        ]
        judged = [
            found if found.look else replace(found, pairs=whole.n, mean=whole.mean)
            for found, whole in zip(judged, pairs, strict=True)
        ]
    else:
        judged = judge(pairs, standard)
    labels = [one.label for one in settings]
    return Judged(
        standard,
        dict(zip(labels, judged, strict=True)),
        {one.label: _lost(one, baseline) for one in settings},
        dict(zip(labels, pairs, strict=True)),
        planned_looks,
    )


def standard_for(
    metric: str,
    direction: Direction,
    baseline: Sequence[float],
    planned: int,
    *,
    values: Sequence[float] = (),
    examples: int | None = None,
    margin: float | None = None,
) -> Standard:
    """What settings are held to, by the metric.

    Args:
        metric: ``<split>/<name>``.
        direction: Which way is better.
        baseline: The baseline's values.
        planned: Settings of the study besides it.
        values: All there are; they tell in which steps a metric moves that counts examples.
        examples: How many decisions it counts; None where that is not known.
        margin: Differences smaller than this do not matter; None takes the metric's own: half a
            point of accuracy, F1 and the like, 0.01 of R², 2 % of the baseline's loss or error,
            and never less than one example's worth.
    """
    name = metric.rpartition("/")[2]
    counted = name in COUNTED
    mean = mean_and_std(baseline)[0] or 0.0
    step = float(np.spacing(np.float32(abs(mean))))
    if counted:
        step = 1 / examples if examples else step_of([*baseline, *values])
    if margin is None:
        margin = max(_usual_margin(name, direction, mean, counted=counted), step)
    return Standard(margin, planned, direction == "maximize", step, counted)


def _usual_margin(name: str, direction: Direction, mean: float, *, counted: bool) -> float:
    if name == "r2":
        return 0.01
    if counted or (direction == "maximize" and 0 <= mean <= 1):
        return 0.005
    return 0.02 * abs(mean)


def _pairs(setting: Observed, baseline: Observed, seeds: Sequence[int] | None) -> Pairs:
    shared = sorted(setting.values.keys() & baseline.values.keys())
    shared = [seed for seed in shared if seeds is None or seed in seeds]
    examples = _differences(setting, baseline, shared)
    level = [setting.values[seed] for seed in shared]
    base = [baseline.values[seed] for seed in shared]
    same = len(shared) > 0 and level == base and all(
        map(partial(_same_outputs, setting, baseline), shared)
    )  # fmt: skip
    return Pairs.of(level, base, examples, identical=same)


def _differences(setting: Observed, baseline: Observed, seeds: Sequence[int]) -> Array | None:
    """Level minus baseline for each example: `[n, m]`; None unless all are known."""
    rows = []
    for seed in seeds:
        ours, theirs = setting.scores(seed), baseline.scores(seed)
        if ours is None or theirs is None or len(ours) != len(theirs):
            return None
        rows.append(ours - theirs)
    return np.stack(rows) if rows else None


def _same_outputs(setting: Observed, baseline: Observed, seed: int) -> bool:
    ours = setting.outputs(seed)
    return ours is not None and ours == baseline.outputs(seed)


def _lost(one: Observed, baseline: Observed) -> tuple[int, ...]:
    """Seeds that there would be pairs of, had not the one or the other failed."""
    seeds = {*one.values, *one.failed}
    return tuple(sorted({*one.failed, *(seed for seed in baseline.failed if seed in seeds)}))


def _look(baseline: Observed, settings: Sequence[Observed], seeds: Sequence[int]) -> Look:
    def ended(one: Observed) -> bool:
        return {*seeds} <= {*one.values, *one.failed}

    here = ended(baseline)
    return Look(
        len(seeds),
        [_pairs(one, baseline, seeds) if here and ended(one) else None for one in settings],
    )


def _answer(answer: Answer | None, one: Judgement) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "interval": [answer.low, answer.high],
        "p": answer.p,
        "p_holm": answer.p_holm,
        "verdict": "identical" if one.identical else answer.verdict,
    }


def _why_none(one: Judgement, lost: Sequence[int], looks: Sequence[int]) -> str | None:
    if one.verdict is not None:
        return None
    if looks and one.look is None:
        least = f"{looks[0]} seeds of it and the baseline"
        return f"not looked at yet: {least} have to be finished first"
    seeds = f"; lost to failures: {', '.join(map(str, lost))}" if lost else ""
    many = "one complete pair" if one.pairs == 1 else "no complete pair"
    return f"{many} of seeds, and a verdict needs two{seeds}"
