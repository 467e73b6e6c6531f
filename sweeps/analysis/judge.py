"""From what was observed of settings to verdicts, whatever tool the results come from.

The statistics are in `paribus.sweeps.stats.verdicts`; here is what they are applied to, and by
which margin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

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
Question = Literal["new data", "this part"]
COUNTED = ("accuracy", "precision", "recall", "f1")  # they move in steps of one example


class Outputs(NamedTuple):
    """What a model answered on a part: outputs `[m, C]`, targets `[m]` or `[m, L]`."""

    configuration: Mapping[str, Any]
    outputs: NDArray[Any]
    targets: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Observed:
    """What was seen of a setting.

    Attributes:
        label: Its name.
        values: Seed to the metric's value, of complete runs.
        failed: Seeds whose run failed by itself.
        metric: ``<split>/<name>``.
        read: Seed to what the model answered, or None.
    """

    label: str
    values: Mapping[int, float]
    failed: tuple[int, ...] = ()
    metric: str = ""
    read: Callable[[int], Outputs | None] = field(default=lambda _seed: None)
    _scores: dict[int, Array | None] = field(default_factory=dict, init=False)

    def scores(self, seed: int) -> Array | None:
        """Return what each example adds to the metric: `[m]`; None where it is no mean of them."""
        if seed not in self._scores:  # the baseline's are wanted for every setting
            found = self.read(seed)
            self._scores[seed] = found and example_scores(self.metric, self.values[seed], *found)
        return self._scores[seed]

    def pairs(self, baseline: Observed, seeds: Sequence[int] | None = None) -> Pairs:
        """Pair a setting with the baseline, by the seeds of both; None: all of them."""
        shared = sorted(self.values.keys() & baseline.values.keys())
        shared = [seed for seed in shared if seeds is None or seed in seeds]
        level = [self.values[seed] for seed in shared]
        base = [baseline.values[seed] for seed in shared]
        same = bool(shared) and level == base and all(
            _same_outputs(self.read(seed), baseline.read(seed)) for seed in shared
        )  # fmt: skip
        return Pairs.of(level, base, self._differences(baseline, shared), identical=same)

    def _differences(self, baseline: Observed, seeds: Sequence[int]) -> Array | None:
        """Return level minus baseline for each example: `[n, m]`; None unless all are known."""
        rows = []
        for seed in seeds:
            ours, theirs = self.scores(seed), baseline.scores(seed)
            if ours is None or theirs is None or len(ours) != len(theirs):
                return None
            rows.append(ours - theirs)
        return np.stack(rows) if rows else None

    def lost(self, baseline: Observed) -> tuple[int, ...]:
        """Return the seeds that have no pair because one of the two runs failed."""
        seeds = {*self.values, *self.failed}
        return tuple(sorted({*self.failed, *(seed for seed in baseline.failed if seed in seeds)}))

    def has_ended(self, seeds: Sequence[int]) -> bool:
        return {*seeds} <= {*self.values, *self.failed}


def _same_outputs(one: Outputs | None, other: Outputs | None) -> bool:
    """Return whether two models answered the same, bit for bit."""
    if one is None or other is None:
        return False
    return one.outputs.tobytes() == other.outputs.tobytes()


def observed(study: Study, result: SettingResult, metric: str) -> Observed:
    """Return a setting's values by seed, and its recorded outputs, read when they are needed.

    Args:
        study: Its study. The records were verified when `result` was made.
        result: What happened with the setting.
        metric: What the result is of.
    """

    def read(seed: int) -> Outputs | None:
        run = result.setting.runs[seed]
        record, file = study.outcomes.record(run), study.root.run(run).folder / PREDICTIONS
        if record is None or not file.is_file():  # a function kept its outputs to itself
            return None
        from safetensors.numpy import load_file

        found = load_file(file)
        return Outputs(record.configuration, found["outputs"], found["targets"])

    values = dict(zip(result.seeds, result.values, strict=True))
    return Observed(result.label, values, result.failed, metric, read)


@dataclass(frozen=True, eq=False)
class Judged:
    """Verdicts on settings.

    Attributes:
        standard: By which margin and for how many settings.
        by_label: Each setting's.
        lost: Seeds for which the setting or the baseline failed, by label.
        pairs: What the verdicts rest on, by label.
        looks: After how many seeds verdicts are given, where seeds are added until it is decided.
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
        # Whether the differences vary by more than the steps in which the metric moves.
        varies = pairs.std is not None and pairs.std > self.standard.resolution / 2
        return {
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
            "unpaired_worth": pairs.unpaired_worth if varies else None,
            "lost": list(self.lost[label]),
            "look": one.look,
            "no_verdict": _why_none(one, self.lost[label], self.looks),
            **self._undecided(one),
        }

    def _undecided(self, one: Judgement) -> dict[str, Any]:
        """Return the minimum detectable effect, and how many seeds would decide a setting."""
        headline = one.headline
        if headline is None or one.verdict != "undecided" or one.mean is None:
            return {}
        spent, sure = 1 - one.confidence, headline.uncertainty
        alpha = spent / max(1, self.standard.planned)
        needed = next_look = None
        if not self.looks:
            needed = seeds_to_decide(sure, one.pairs, one.mean, self.standard.margin, alpha, spent)
        elif seeds_can_decide(one, self.standard):
            next_look = next((n for n in self.looks if n > (one.look or 0)), None)
        return {
            "detectable": smallest_difference(sure, one.pairs, alpha),
            "seeds_to_decide": needed,
            "next_look": next_look,
        }


def judge_observed(
    baseline: Observed,
    settings: Sequence[Observed],
    standard: Standard,
    *,
    planned_looks: tuple[int, ...] = (),
    seeds: Sequence[int] = (),
) -> Judged:
    """Return verdicts on settings against a baseline.

    Args:
        baseline: What they are compared with.
        settings: Each with what was seen of it.
        standard: By which margin and for how many settings.
        planned_looks: After how many of `seeds` verdicts are given; none where their number was
            fixed.
        seeds: All that may be used, in the order in which they were added.
    """
    pairs = [one.pairs(baseline) for one in settings]
    if planned_looks:
        looks = []
        for n in planned_looks:
            here = [
                one.pairs(baseline, seeds[:n])
                if baseline.has_ended(seeds[:n]) and one.has_ended(seeds[:n])
                else None
                for one in settings
            ]
            looks.append(Look(n, here))
        judged = judge_looks(looks, planned_looks, standard)
        for place, (one, found) in enumerate(zip(settings, judged, strict=True)):
            if found.look:
                pairs[place] = one.pairs(baseline, seeds[: found.look])
            else:
                judged[place] = replace(found, pairs=pairs[place].n, mean=pairs[place].mean)
    else:
        judged = judge(pairs, standard)
    labels = [one.label for one in settings]
    return Judged(
        standard,
        dict(zip(labels, judged, strict=True)),
        {one.label: one.lost(baseline) for one in settings},
        dict(zip(labels, pairs, strict=True)),
        planned_looks,
    )


def standard_of(
    study: Study,
    results: Sequence[SettingResult],
    metric: str,
    direction: Direction,
    margin: float | None = None,
) -> Standard:
    """Return by which margin and for how many settings a study is judged.

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
    run = baseline.setting.runs[baseline.seeds[0]] if baseline.seeds else None
    record, decisions = study.outcomes.record(run) if run else None, None
    if record and record.data.val:  # how many decisions an accuracy counts: of each label one
        matrix = record.confusion_matrix
        labels = len(matrix) if matrix and isinstance(matrix[0][0], list) else 1
        decisions = record.data.val * labels
    return standard_for(
        metric,
        direction,
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
    """Return by which margin and for how many settings results of a metric are judged.

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
        if name == "r2":
            usual = 0.01
        elif counted or (direction == "maximize" and 0 <= mean <= 1):
            usual = 0.005
        else:
            usual = 0.02 * abs(mean)
        margin = max(usual, step)
    return Standard(margin, planned, direction == "maximize", step, counted)


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
    """Return why there is no verdict."""
    if one.verdict is not None:
        return None
    if looks and one.look is None:
        least = f"{looks[0]} seeds of it and the baseline"
        return f"not looked at yet: {least} have to be finished first"
    seeds = f"; lost to failures: {', '.join(map(str, lost))}" if lost else ""
    many = "one complete pair" if one.pairs == 1 else "no complete pair"
    return f"{many} of seeds, and a verdict needs two{seeds}"
