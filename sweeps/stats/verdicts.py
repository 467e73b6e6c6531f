"""Decide verdicts: better, worse, equivalent, undecided or identical.

Of the settings called better or worse, at most 1 in 20 is wrong on average; if nothing has an
effect, 19 of 20 studies call nothing. `judge` decides on all settings of a study. What it is
applied to, read from records, is in `paribus.sweeps.analysis.judge`; `power` adds seeds until it is
decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paribus.sweeps.stats.variance import (
    Spread,
    Uncertainty,
    Variances,
    pooled,
    spread_of_folds,
    spread_of_seeds,
)

Array = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "undecided", "identical"]
# What is said of an undecided setting; no verdict.
Grade = Literal["likely better", "likely worse", "no better", "no worse"]
_Found = tuple[float, Uncertainty] | None  # the mean of a setting's differences
ALPHA = 0.05
LIKELY = 4.0  # times the error rate of verdicts


@dataclass(frozen=True, eq=False)
class Pairs:
    """Values of a setting and of the baseline, paired by seed.

    Attributes:
        level, baseline: One value per seed, in the same order: `[n]`.
        examples: Level minus baseline for each example `[n, m]`, where the metric is a mean over
            examples; else None.
        identical: Whether all recorded outputs are equal, bit for bit, in every pair.
        folds: The fold that each seed validates on: int64 `[n]`; None: all on one part.
    """

    level: Array
    baseline: Array
    examples: Array | None = None
    identical: bool = False
    folds: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        level: Sequence[float] | Array,
        baseline: Sequence[float] | Array,
        examples: Array | None = None,
        *,
        identical: bool = False,
        folds: Sequence[int] | None = None,
    ) -> Pairs:
        """Pair plain numbers.

        Raises:
            ValueError: If the lengths differ.
        """
        ours = np.asarray(level, dtype=np.float64)
        theirs = np.asarray(baseline, dtype=np.float64)
        if len(ours) != len(theirs):  # numpy would repeat a single value
            raise ValueError(f"{len(ours)} values of the level, {len(theirs)} of the baseline")
        of_each = None if folds is None else np.asarray(folds, dtype=np.int64)
        return cls(ours, theirs, examples, identical, of_each)

    @property
    def n(self) -> int:
        """How many pairs."""
        return len(self.level)

    @property
    def differences(self) -> Array:
        """Level minus baseline, in the metric's own units: `[n]`."""
        return self.level - self.baseline

    @property
    def over_folds(self) -> bool:
        """Whether the seeds validate on two folds at least."""
        return self.folds is not None and len(set(self.folds.tolist())) > 1

    @property
    def units(self) -> int:
        """What the variance is between: folds, or the seeds of one part."""
        folds = [] if self.folds is None else set(self.folds.tolist())
        return len(folds) if len(folds) > 1 else self.n

    @property
    def mean(self) -> float | None:
        """Of the differences, where there are folds of their means by fold; None without a pair."""
        if not self.n:
            return None
        if not self.over_folds:
            return float(self.differences.mean())
        assert self.folds is not None
        by_fold = [self.differences[self.folds == fold].mean() for fold in np.unique(self.folds)]
        return float(np.mean(by_fold))

    @property
    def std(self) -> float | None:
        """Of the differences, with n - 1; None with fewer than two pairs."""
        return float(self.differences.std(ddof=1)) if self.n > 1 else None

    @property
    def unpaired_worth(self) -> float | None:
        """How many seeds of each, unpaired, would give a difference as precise as these pairs.

        Unpaired, the variance of the difference is that of both added up.
        """
        if self.n < 3 or not (spread := float(self.differences.var(ddof=1))):
            return None
        apart = float(self.level.var(ddof=1) + self.baseline.var(ddof=1))
        return self.n * apart / spread


def mean_and_std(values: Sequence[float] | Array) -> tuple[float | None, float | None]:
    """Return mean, and standard deviation with n - 1; None where there are too few values."""
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean()) if len(array) else None
    return mean, float(array.std(ddof=1)) if len(array) > 1 else None


@dataclass(frozen=True)
class Standard:
    """The margin, and how many settings are judged together.

    Attributes:
        margin: Differences smaller than this do not matter, in the metric's units.
        planned: Settings of the study besides the baseline, whether they have pairs or not.
        resolution: Smallest step of the values: 1/m for an accuracy over m examples.
        pooled: Whether settings borrow variance from each other (`pooled`). Decided beforehand, by
            the metric: it gains power for accuracies and loses some for losses.
        strict: Whether at most 5 % of studies may call any setting better or worse by mistake
            (Holm), in place of at most 5 % of the settings that are called so.
    """

    margin: float
    planned: int
    higher_is_better: bool = True
    resolution: float = 0.0
    pooled: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one setting; all of it comes from `uncertainty`.

    Attributes:
        low, high: Ends of the interval of the mean difference, in the metric's units.
        confidence: Of the interval: it excludes 0 exactly where the setting is better or worse; of
            an equivalent one it is the interval that lies inside the margin.
        p: Two-sided, of the test whose interval this is.
        p_holm: The same, adjusted for all planned settings (S. Holm 1979).
        threshold: The largest p at which a setting of this study is better or worse; None where
            that is `p_holm`'s affair.
        grade: What is likely, or excluded, of an undecided setting.
    """

    low: float
    high: float
    confidence: float
    p: float
    p_holm: float
    threshold: float | None
    verdict: Verdict
    grade: Grade | None
    uncertainty: Uncertainty


@dataclass(frozen=True)
class Judgement:
    """The verdict on one setting.

    Attributes:
        pairs: What it rests on.
        validation: On one validation part; None with fewer than two pairs, and over folds.
        new_data: On new data; None also where the metric is no mean over examples of one part.
        look: After how many seeds this was decided, where seeds are added until it is; else None.
    """

    pairs: Pairs = field(compare=False)  # of arrays, whose comparison is no truth value
    validation: Answer | None = None
    new_data: Answer | None = None
    look: int | None = None

    @property
    def identical(self) -> bool:
        """Whether all outputs are equal in every pair."""
        return self.pairs.identical and self.pairs.n > 1

    @property
    def headline(self) -> Answer | None:
        """On new data where that can be answered, else on this validation part."""
        return self.new_data or self.validation

    @property
    def verdict(self) -> Verdict | None:
        """The headline's; None with fewer than two pairs."""
        if self.headline is None:
            return None
        return "identical" if self.identical else self.headline.verdict

    @property
    def decided(self) -> bool:
        return self.verdict not in (None, "undecided")


def judge(settings: Sequence[Pairs], standard: Standard) -> list[Judgement]:
    """Return verdicts on a study whose number of seeds was fixed beforehand."""
    spreads = [spread_of(pairs, standard) for pairs in settings]
    return judgements(settings, spreads, variances_of(spreads, standard), standard, ALPHA)


def spread_of(pairs: Pairs, standard: Standard) -> Spread | None:
    """Return how a setting's differences vary; None with fewer than two pairs."""
    if pairs.n < 2:
        return None
    d, step = pairs.differences, standard.resolution
    if pairs.over_folds:
        assert pairs.folds is not None
        examples = pairs.examples if standard.pooled else None
        return spread_of_folds(d, pairs.folds, step, examples)
    return spread_of_seeds(d, step, pairs.examples, scaled=standard.pooled)


def variances_of(spreads: Sequence[Spread | None], standard: Standard) -> Variances:
    """Return variances of all settings' units; NaN with fewer than two pairs."""
    known = [one or Spread(0.0, 1, np.nan) for one in spreads]
    if standard.pooled:
        return pooled(known)
    df = [one.units - 1.0 for one in known]
    return Variances(np.array([one.variance for one in known]), np.array(df))


def judgements(
    settings: Sequence[Pairs],
    spreads: Sequence[Spread | None],
    variances: Variances,
    standard: Standard,
    alpha: float,
    decided: int = 0,
) -> list[Judgement]:
    """Return verdicts of one look at the data.

    The variances of the differences have what settings borrow from each other; alpha is for better
    and worse over all settings, for equivalent per setting. Settings `decided`, called better or
    worse at earlier looks, are not among these.
    """
    on_part: list[_Found] = []
    on_new: list[_Found] = []
    for pairs, one, v, df in zip(settings, spreads, variances.values, variances.df, strict=True):
        found: _Found = None
        if one:
            found = one.mean, Uncertainty(float(np.sqrt(v / one.units)), float(df))
        on_part.append(None if pairs.over_folds else found)
        if one and found and not pairs.over_folds:
            with_examples = replace(found[1], examples=one.examples)
            found = None if pairs.examples is None else (one.mean, with_examples)
        on_new.append(found)
    validation = _answers(on_part, standard, alpha, decided)
    new_data = _answers(on_new, standard, alpha, decided)
    return [
        Judgement(pairs, one, other)
        for pairs, one, other in zip(settings, validation, new_data, strict=True)
    ]


def _answers(
    found: Sequence[_Found], standard: Standard, alpha: float, decided: int
) -> list[Answer | None]:
    """Return answers to one question; mean and uncertainty are None where there is none.

    Equivalence comes first: a difference that is surely too small to matter is not *better*. It
    is shown by two one-sided tests (D. J. Schuirmann 1987): the interval of confidence 1 - 2 alpha
    lies inside the margin.
    """
    every_p = np.array([uncertainty.p(mean) for mean, uncertainty in filter(None, found)])
    limit = None if standard.strict else threshold(every_p, standard.planned, alpha, decided)
    likely = threshold(every_p, standard.planned, LIKELY * alpha, decided)

    def answer(mean: float, uncertainty: Uncertainty, p: float, p_holm: float) -> Answer:
        one_sided = uncertainty.reach(2 * alpha)
        gain = mean if standard.higher_is_better else -mean
        miss = alpha if limit is None else limit
        verdict: Verdict = "undecided"
        grade: Grade | None = None
        if abs(mean) + one_sided < standard.margin:
            verdict, miss = "equivalent", 2 * alpha
        elif p_holm <= alpha if limit is None else p <= limit:
            verdict = "better" if gain > 0 else "worse"
        elif p <= likely:
            grade = "likely better" if gain > 0 else "likely worse"
        elif gain + one_sided < standard.margin:
            grade = "no better"
        elif gain - one_sided > -standard.margin:
            grade = "no worse"
        reach = uncertainty.reach(miss)
        return Answer(
            mean - reach, mean + reach, 1 - miss, p, p_holm, limit, verdict, grade, uncertainty
        )

    adjusted = holm(every_p, standard.planned - decided)
    tests = iter(zip(every_p.tolist(), adjusted.tolist(), strict=True))
    return [each and answer(*each, *next(tests)) for each in found]


def threshold(p: Array, planned: int, q: float, decided: int = 0) -> float:
    """Return the largest p at which a setting is better or worse.

    Of the settings called so a share of q is wrong, on average, at most: the step-up procedure of
    Y. Benjamini and Y. Hochberg (1995), or its two-stage form, which estimates how many settings
    have no effect (Y. Benjamini, A. M. Krieger and D. Yekutieli 2006), whichever allows more.

    The two-sided `p` are of the settings still open `[k]`; of those `planned` the others count as
    p = 1, but for those `decided`, called better or worse at earlier looks.
    """
    ordered, planned = np.sort(p), max(1, planned)
    ranks = np.arange(1, len(p) + 1) + decided

    def rejected(level: float, tests: int) -> int:
        below = np.flatnonzero(ordered <= level * ranks / tests)
        return decided + (int(below[-1]) + 1 if len(below) else 0)

    first_stage = q / (1 + q)
    true_nulls = max(1, planned - rejected(first_stage, planned))
    one_stage = max(1, rejected(q, planned)) * q / planned
    two_stage = max(1, rejected(first_stage, true_nulls)) * first_stage / true_nulls
    return min(q, max(one_stage, two_stage))


def holm(p: Array, multiplicity: int) -> Array:
    """Return adjusted p of the most significant of `multiplicity` tests: `[k]`, k <= multiplicity.

    S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6.
    """
    order = np.argsort(p, kind="stable")
    factors = multiplicity - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
