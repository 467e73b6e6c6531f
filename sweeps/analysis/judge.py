"""Decide a study's verdicts: from what was observed of settings to a verdict on each.

`judge_study` begins with a study's records, `judge_observed` with any tool's results. The procedure
is `paribus.sweeps.stats.verdicts`; here is what it is applied to, and by which margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from paribus.core.config.schema import Direction
from paribus.sweeps.analysis.observed import Observed, observed
from paribus.sweeps.stats.power import (
    Look,
    judge_looks,
    seeds_can_decide,
    seeds_to_decide,
    smallest_difference,
)
from paribus.sweeps.stats.variance import step_of
from paribus.sweeps.stats.verdicts import Answer, Judgement, Standard, judge, mean_and_std
from paribus.sweeps.study.results import PlannedSetting, SettingResult
from paribus.sweeps.study.same_seeds import repeated_seeds
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

Question = Literal["new data", "this part"]
COUNTED = ("accuracy", "precision", "recall", "f1")  # they move in steps of one example


def judge_study(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    margin: float | None = None,
    *,
    strict: bool = False,
) -> Judged | None:
    """Return verdicts on all settings of a study; None where the baseline is not planned.

    The `results` of a `metric` are judged together. A `margin` of None is the study's, or the
    metric's own; a study that was requested `strict` is judged so anyway.
    """
    by_label = {result.label: result for result in results}
    if BASELINE not in by_label:
        return None
    standard = standard_of(study, results, metric, margin)
    standard = replace(standard, strict=strict or study.requested.strict)
    baseline = by_label.pop(BASELINE)
    settings = [
        observed(study, result, metric)
        for result in by_label.values()
        if not has_other_units(result.setting, metric)
    ]
    return judge_observed(
        observed(study, baseline, metric),
        settings,
        standard,
        study.requested.looks,
        repeated_seeds(study, results),
    )


def has_other_units(setting: PlannedSetting, metric: str) -> bool:
    """Return whether the metric is in other units than the baseline's: the loss, of another one."""
    return (setting.key or "").split(".")[0] == "loss" and metric.rpartition("/")[2] == "loss"


def judge_observed(
    baseline: Observed,
    settings: Sequence[Observed],
    standard: Standard,
    planned_looks: tuple[int, ...] = (),
    repeated: Mapping[str, str] | None = None,
) -> Judged:
    """Return the verdicts on settings against a baseline.

    Where the number of seeds is not fixed, verdicts are given after the `planned_looks`, numbers of
    seeds. Settings in which two seeds are one, `repeated` with the reason, have one pair and no
    verdict.
    """
    repeated = repeated or {}
    settings = [one.alone(baseline) if one.label in repeated else one for one in settings]
    if not planned_looks:
        judged = judge([one.pairs(baseline) for one in settings], standard)
    else:
        looks = [
            Look(n, [
                one.pairs(baseline, range(n))
                if one.has_ended(range(n)) and baseline.has_ended(range(n)) else None
                for one in settings
            ])
            for n in planned_looks
        ]  # fmt: skip
        judged = [
            found if found.look else replace(found, pairs=one.pairs(baseline))
            for one, found in zip(
                settings, judge_looks(looks, planned_looks, standard), strict=True
            )
        ]
    needed: list[int | None] = [None] * len(judged)
    if not planned_looks:
        needed = seeds_to_decide(judged, standard, baseline.folds)
    return Judged(
        standard,
        {one.label: found for one, found in zip(settings, judged, strict=True)},
        {one.label: one.lost(baseline) for one in settings},
        {one.label: seeds for one, seeds in zip(settings, needed, strict=True)},
        planned_looks,
        repeated,
    )


def standard_of(
    study: Study, results: Sequence[SettingResult], metric: str, margin: float | None = None
) -> Standard:
    """Return the margin and how many settings are judged together; arguments: `judge_study`'s."""
    if margin is None and metric == study.metric:
        margin = study.requested.margin
    baseline = next((one for one in results if one.setting.key is None and one.seeds), None)
    pairs = zip(baseline.seeds, baseline.values, strict=True) if baseline else ()
    looks = study.requested.looks  # the same margin at every look
    values = [value for seed, value in pairs if not looks or seed < looks[0]]
    run = baseline.setting.runs[baseline.seeds[0]] if baseline else None
    record, decisions = study.outcomes.record(run) if run else None, None
    if record and record.data.val:  # an accuracy counts one decision of each label
        matrix = record.confusion
        labels = len(matrix) if isinstance(matrix, np.ndarray) else 1
        decisions = record.data.val * labels
    return standard_for(
        metric,
        study.direction_of(metric),
        values,
        len(results) - 1,
        values=[value for result in results for value in result.values],
        examples=decisions,
        margin=margin,
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
    """Return the margin for a metric's results, and how many settings are judged together.

    `baseline` are its values, `values` all there are, `planned` the settings besides it. Where it
    is not known on how many decisions, `examples`, a metric that counts them rests, its step is
    taken from the values. A margin of None is the metric's own: half a point of accuracy, F1 and
    the like, 0.01 of R², 2 % of the baseline's loss or error, and never less than an example's.
    """
    name = metric.rpartition("/")[2]
    counted = name in COUNTED
    mean = mean_and_std(baseline)[0] or 0.0
    step = float(np.spacing(np.float32(abs(mean))))
    # A share of right answers, or of right orders (AUROC): equal ones may differ by an example.
    is_share = counted or (direction == "maximize" and 0 <= mean <= 1 and name != "r2")
    if is_share and examples:
        step = 1 / examples
    elif counted:
        step = step_of([*baseline, *values])
    if margin is None:
        usual = 0.005 if is_share else 0.01 if name == "r2" else 0.02 * abs(mean)
        margin = max(usual, step)
    return Standard(margin, planned, direction == "maximize", step, counted)


@dataclass(frozen=True, eq=False)
class Judged:
    """The verdicts on settings, by label.

    Attributes:
        lost: The seeds for which the setting or the baseline failed.
        needed: How many seeds would decide an undecided setting; None: no reasonable number.
        looks: The numbers of seeds after which verdicts are given, where seeds are added until it
            is decided.
        repeated: Why there is no verdict where two seeds are one.
    """

    standard: Standard
    by_label: Mapping[str, Judgement]
    lost: Mapping[str, tuple[int, ...]]
    needed: Mapping[str, int | None]
    looks: tuple[int, ...] = ()
    repeated: Mapping[str, str] = field(default_factory=dict)

    @property
    def question(self) -> Question:
        """The question that headline verdicts answer: if one is on new data, all can be."""
        answered = any(one.new_data for one in self.by_label.values())
        return "new data" if answered else "this part"

    def document(self) -> dict[str, Any]:
        """Return what the verdicts are on and by which standard: fields of `Comparison`."""
        return {
            "question": self.question,
            "margin": self.standard.margin,
            "tests": self.standard.planned,
            "strict": self.standard.strict,
            "looks": list(self.looks),
        }

    def effect(self, label: str) -> dict[str, Any]:
        """Return what a verdict adds to a setting: fields of `SettingComparison`."""
        if label == BASELINE:
            return {}
        if label not in self.by_label:
            why = "a change of the loss gives val/loss other units"
            return {"pairs": 0, "lost": [], "no_verdict": why}
        one, lost = self.by_label[label], self.lost[label]
        pairs, headline = one.pairs, one.headline
        # Whether the differences vary by more than the steps in which the metric moves.
        varies = pairs.std is not None and pairs.std > self.standard.resolution / 2
        why_none = None
        if one.verdict is None and self.looks and one.look is None:
            least = f"{self.looks[0]} seeds of it and the baseline"
            why_none = f"not looked at yet: {least} have to be finished first"
        elif one.verdict is None:
            failed = f"; lost to failures: {', '.join(map(str, lost))}" if lost else ""
            count = "one complete pair" if pairs.n == 1 else "no complete pair"
            why_none = f"{count} of seeds, and a verdict needs two{failed}"
        found: dict[str, Any] = {
            "delta": pairs.mean,
            "pairs": pairs.n,
            "std_of_differences": pairs.std,
            "unpaired_worth": pairs.unpaired_worth if varies else None,
            "lost": list(lost),
            "look": one.look,
            "no_verdict": self.repeated.get(label, why_none),
        }
        if headline is None:
            return found
        found |= {
            **_answer(headline, one),
            "confidence": headline.confidence,
            "question": "new data" if one.new_data else "this part",
            "this_part": one.validation and _answer(one.validation, one),
            "new_data": one.new_data and _answer(one.new_data, one),
        }
        if one.verdict != "undecided":
            return found
        next_look = None
        if self.looks and seeds_can_decide(one, self.standard):
            next_look = next((n for n in self.looks if n > (one.look or 0)), None)
        alpha = headline.threshold
        if alpha is None:
            alpha = (1 - headline.confidence) / max(1, self.standard.planned)
        return found | {
            "grade": headline.grade,
            "detectable": smallest_difference(headline.uncertainty, alpha),
            "seeds_to_decide": self.needed[label],
            "next_look": next_look,
        }


def _answer(answer: Answer, one: Judgement) -> dict[str, Any]:
    return {
        "interval": [answer.low, answer.high],
        "p": answer.p,
        "p_holm": answer.p_holm,
        "threshold": answer.threshold,
        "verdict": "identical" if one.identical else answer.verdict,
    }
