"""Decide verdicts: better, worse, equivalent, undecided or identical.

`decide` is the rule, `judge` applies it to all settings of a study. What it is applied to, read
from records, is in `paribus.sweeps.analysis.judge`; `power` adds seeds until it is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paribus.sweeps.stats.variance import (
    Uncertainty,
    Variances,
    examples_variance,
    floored,
    half_pooled,
)

Array = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "undecided", "identical"]
ALPHA = 0.05


@dataclass(frozen=True, eq=False)
class Pairs:
    """Values of a setting and of the baseline, paired by seed.

    Attributes:
        level, baseline: One value per seed, in the same order: `[n]`.
        examples: Level minus baseline for each example `[n, m]`, where the metric is a mean over
            examples; else None.
        identical: Whether all recorded outputs are equal, bit for bit, in every pair.
    """

    level: Array
    baseline: Array
    examples: Array | None = None
    identical: bool = False

    @classmethod
    def of(
        cls,
        level: Sequence[float] | Array,
        baseline: Sequence[float] | Array,
        examples: Array | None = None,
        *,
        identical: bool = False,
    ) -> Pairs:
        """Pair plain numbers.

        Raises:
            ValueError: If the lengths differ.
        """
        ours = np.asarray(level, dtype=np.float64)
        theirs = np.asarray(baseline, dtype=np.float64)
        if len(ours) != len(theirs):  # numpy would repeat a single value
            raise ValueError(f"{len(ours)} values of the level, {len(theirs)} of the baseline")
        return cls(ours, theirs, examples, identical)

    @property
    def n(self) -> int:
        """How many pairs."""
        return len(self.level)

    @property
    def differences(self) -> Array:
        """Level minus baseline, in the metric's own units: `[n]`."""
        return self.level - self.baseline

    @property
    def mean(self) -> float | None:
        """Of the differences; None without a pair."""
        return float(self.differences.mean()) if self.n else None

    @property
    def std(self) -> float | None:
        """Of the differences, with n - 1; None with fewer than two pairs."""
        return float(self.differences.std(ddof=1)) if self.n > 1 else None

    @property
    def correlation(self) -> float | None:
        """Pearson's, between level and baseline over seeds; None where one of them is constant."""
        if self.n < 3 or not (np.ptp(self.level) and np.ptp(self.baseline)):
            return None
        return float(np.corrcoef(self.level, self.baseline)[0, 1])

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
    """The margin, and how many settings p is adjusted for.

    Attributes:
        margin: Differences smaller than this do not matter, in the metric's units.
        planned: Settings of the study besides the baseline, whether they have pairs or not.
        resolution: Smallest step of the values: 1/m for an accuracy over m examples.
        pooled: Whether settings borrow variance from each other (`half_pooled`). Decided
            beforehand, by the metric: it gains power for accuracies and loses some for losses.
    """

    margin: float
    planned: int
    higher_is_better: bool = True
    resolution: float = 0.0
    pooled: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer to one question about one setting; all of it comes from `uncertainty`.

    Attributes:
        low, high: Ends of the interval of the mean difference, in the metric's units.
        p: Two-sided, of the test whose interval this is.
        p_holm: The same, adjusted for all planned settings (S. Holm 1979).
    """

    low: float
    high: float
    p: float
    p_holm: float
    verdict: Verdict
    uncertainty: Uncertainty


@dataclass(frozen=True)
class Judgement:
    """The verdict on one setting.

    Attributes:
        pairs: What it rests on.
        validation: On this validation part; None with fewer than two pairs.
        new_data: On new data; None also where the metric is no mean over examples.
        confidence: Of the intervals.
        look: After how many seeds this was decided, where seeds are added until it is; else None.
    """

    pairs: Pairs = field(compare=False)  # of arrays, whose comparison is no truth value
    validation: Answer | None = None
    new_data: Answer | None = None
    confidence: float = 1 - ALPHA
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


def decide(
    mean: float, uncertainty: Uncertainty, p_holm: float, standard: Standard, alpha: float
) -> Verdict:
    """Return the verdict on one mean difference, level minus baseline.

    Equivalence comes first: a difference that is surely too small to matter is not *better*. It
    is shown by two one-sided tests (D. J. Schuirmann 1987): the interval of confidence 1 - 2 alpha
    lies inside the margin. `p_holm` is of the two-sided test, adjusted for all settings.
    """
    if abs(mean) + uncertainty.reach(2 * alpha) < standard.margin:
        return "equivalent"
    if p_holm > alpha:
        return "undecided"
    return "better" if (mean > 0) == standard.higher_is_better else "worse"


def judge(settings: Sequence[Pairs], standard: Standard) -> list[Judgement]:
    """Return verdicts on a study whose number of seeds was fixed beforehand."""
    spreads = variances_of(settings, standard)
    return judgements(settings, spreads, standard, ALPHA, standard.planned)


def judgements(
    settings: Sequence[Pairs],
    spreads: Variances,
    standard: Standard,
    alpha: float,
    multiplicity: int,
) -> list[Judgement]:
    """Return verdicts of one look at the data.

    Args:
        settings: Each with its pairs.
        spreads: The variances of their differences.
        standard: The margin.
        alpha: For better and worse over all settings, for equivalent per setting; 1 - alpha is the
            intervals' confidence.
        multiplicity: Settings that may still be called better or worse.
    """
    on_validation = [
        Uncertainty(float(np.sqrt(v / pairs.n)), float(df)) if pairs.n > 1 else None
        for pairs, v, df in zip(settings, spreads.values, spreads.df, strict=True)
    ]
    on_new_data = [
        None if found is None or pairs.examples is None
        else replace(found, examples=examples_variance(pairs.examples))
        for pairs, found in zip(settings, on_validation, strict=True)
    ]  # fmt: skip
    validation = _answers(settings, on_validation, standard, alpha, multiplicity)
    new_data = _answers(settings, on_new_data, standard, alpha, multiplicity)
    return [
        Judgement(pairs, one, other, 1 - alpha)
        for pairs, one, other in zip(settings, validation, new_data, strict=True)
    ]


def variances_of(settings: Sequence[Pairs], standard: Standard) -> Variances:
    """Return variances of all settings' differences; NaN with fewer than two pairs."""
    own = np.array([np.nan if pairs.std is None else pairs.std**2 for pairs in settings])
    df = np.array([max(0, pairs.n - 1) for pairs in settings], dtype=np.float64)
    found = Variances(floored(own, standard.resolution), df)
    return half_pooled(found.values, found.df) if standard.pooled else found


def _answers(
    settings: Sequence[Pairs],
    uncertainties: Sequence[Uncertainty | None],
    standard: Standard,
    alpha: float,
    multiplicity: int,
) -> list[Answer | None]:
    known = [
        (number, float(pairs.differences.mean()), found)
        for number, (pairs, found) in enumerate(zip(settings, uncertainties, strict=True))
        if found is not None
    ]
    p = np.array([found.p(mean) for _, mean, found in known])
    answers: list[Answer | None] = [None] * len(settings)
    for (number, mean, found), one, adjusted in zip(known, p, holm(p, multiplicity), strict=True):
        reach = found.reach(alpha)
        verdict = decide(mean, found, float(adjusted), standard, alpha)
        answers[number] = Answer(
            mean - reach, mean + reach, float(one), float(adjusted), verdict, found
        )
    return answers


def holm(p: Array, multiplicity: int) -> Array:
    """Return adjusted p of the most significant of `multiplicity` tests: `[k]`, k <= multiplicity.

    S. Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6.
    """
    order = np.argsort(p, kind="stable")
    factors = multiplicity - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
