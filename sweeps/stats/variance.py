"""How much differences vary from seed to seed, by the study's other settings as well.

With three seeds a setting's own variance is known badly. Where a study has at least five settings,
it is averaged with what the others say, as far as they agree with each other: the empirical Bayes
variances of G. K. Smyth (2004), Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments, Stat. Appl. Genet. Mol. Biol. 3(1), 3. That a
setting gives the others no more weight than itself, that outliers are cut, and that a setting
much noisier than the rest keeps its own variance was chosen by simulation: with three seeds and a
shared baseline, Smyth's own procedure finds up to 21 % of null studies significant.

What settings agree on is, for an accuracy, not the variance itself: it grows with the number of
examples that a setting decides differently. Divided by what it would be if examples changed
independently of each other (`Spread.scale`), it is much the same for all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_SETTINGS, FEWEST_PAIRS = 5, 3  # from which on settings borrow from each other
_NOISIER = 4.0  # times the common variance: then a setting stands for itself


@dataclass(frozen=True, eq=False)
class Variances:
    """Variances of each setting's paired differences, and their degrees of freedom: `[k]`."""

    values: Array
    df: Array


_LEAST_RATIO = 0.5  # of variance and scale, that is believed


@dataclass(frozen=True)
class Spread:
    """How one setting's mean difference varies.

    Attributes:
        mean: Of the units' differences: units are folds, or seeds on one fixed part.
        units: How many.
        variance: Of the units' differences, with units - 1, not below what the steps of the metric
            allow: equal differences of one example are no certainty.
        scale: What the variance would be if examples changed independently; None where what each
            example adds to the metric is not known, or no such scale fits the metric.
        examples: Variance that the draw of examples adds to the mean; 0 where units differ in their
            examples, and their variance has it already.
    """

    mean: float
    units: int
    variance: float
    scale: float | None = None
    examples: float = 0.0


def spread_of_folds(
    values: Array, folds: NDArray[np.int64], resolution: float, examples: Array | None = None
) -> Spread:
    """Return the spread of differences whose seeds validate on different folds, two or more.

    The seeds of a fold are averaged first: they share its examples. Differences `[n]` are by seed,
    of an accuracy also for each example of the fold `[n, m]`; their smallest step is `resolution`.
    """
    seen, counts = np.unique(folds, return_counts=True)
    d = np.array([values[folds == fold].mean() for fold in seen])
    least = resolution**2 / 4 * float(np.mean(1 / counts))
    variance = max(float(d.var(ddof=1)), least)
    scale = None
    if examples is not None:
        by_example = np.stack([examples[folds == fold].mean(0) for fold in seen])
        m = examples.shape[1]
        left = float(((by_example - by_example.mean(1, keepdims=True)) ** 2).sum())
        # Two changes of one example more than were seen: without any, it is above 0 too.
        left += 2 * float(np.mean(1 / counts))
        scale = left / (len(seen) * (m - 1)) / m if m > 1 else None
    return Spread(float(d.mean()), len(seen), variance, scale)


def spread_of_seeds(
    values: Array, resolution: float, examples: Array | None = None, *, scaled: bool = False
) -> Spread:
    """Return the spread of differences of two or more seeds on one fixed part.

    Arguments are as in `spread_of_folds`, `scaled`: whether the examples are of an accuracy.
    """
    n = len(values)
    variance = max(float(values.var(ddof=1)), resolution**2 / 4)
    scale, drawn = None, 0.0
    if examples is not None and (m := examples.shape[1]) > 1:
        left = examples - examples.mean(0) - examples.mean(1)[:, None] + examples.mean()
        residual, free = float((left**2).sum()), (n - 1) * (m - 1)
        # Two-way analysis of variance without replication (J. Cornfield and J. W. Tukey 1956):
        # averages over examples contain the seeds' own part too.
        drawn = max(0.0, float(examples.mean(0).var(ddof=1)) / m - residual / free / (n * m))
        scale = (residual + 2) / free / m if scaled else None
    return Spread(float(values.mean()), n, variance, scale, drawn)


def pooled(spreads: Sequence[Spread]) -> Variances:
    """Return variances averaged with what is common to the settings, where there are enough.

    Common is the ratio of variance and scale where all have one, else the variance.
    """
    own = np.array([one.variance for one in spreads])
    df = np.array([one.units - 1 for one in spreads], dtype=np.float64)
    scales = [one.scale for one in spreads if one.units >= FEWEST_PAIRS]
    if None in scales or len(scales) < FEWEST_SETTINGS:
        return half_pooled(own, df)
    scale = np.array([one.scale or np.nan for one in spreads])
    found = half_pooled(own / scale, df, _LEAST_RATIO)
    takes_part = df >= FEWEST_PAIRS - 1
    return Variances(np.where(takes_part, scale * found.values, own), found.df)


def half_pooled(variances: Array, df: Array, least: float = 0.0) -> Variances:
    """Return variances averaged with the common one where there are enough settings.

    Each setting's own are above 0; those with fewer than 2 degrees of freedom take no part. No
    common or averaged variance is below `least`.
    """
    from scipy import special

    takes_part = df >= FEWEST_PAIRS - 1
    if takes_part.sum() < FEWEST_SETTINGS:
        return Variances(variances, df)
    own, own_df = variances[takes_part], df[takes_part]
    prior_df = _prior_df(own, own_df)
    # The mean, without the excess of variances far above the median.
    median = float(np.median(own * own_df / special.chdtri(own_df, 0.5)))
    common = max(least, float(np.minimum(own, _NOISIER * median).mean()))
    weight = np.minimum(prior_df, own_df)
    alike = own <= _NOISIER * common
    values, shared_df = variances.copy(), df.copy()
    mixed = (weight * common + own_df * own) / (weight + own_df)
    values[takes_part] = np.maximum(least, np.where(alike, mixed, own))
    shared_df[takes_part] = np.where(alike, own_df + weight, own_df)
    return Variances(values, shared_df)


def _prior_df(variances: Array, df: Array) -> float:
    """Return how many degrees of freedom the settings' agreement is worth."""
    from scipy import special

    logs = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, df / 2).mean())
    if excess <= 0:
        return math.inf
    return 2 * root(lambda x: excess - float(special.polygamma(1, x)), 1e-9, 1e9)


# How far a mean difference may be off: by the draw of seeds, and by the draw of examples.
#
# Two questions are kept apart. *On this validation part*: would other seeds give the same answer on
# these examples? Only seeds are drawn. *On new data*: would other seeds give the same answer on
# other examples of the same kind? Seeds and examples are drawn. With folds the variance between
# them has both parts. On a fixed part they are added: the modified large-sample method of F. A.
# Graybill and C.-M. Wang (1980), Confidence intervals on nonnegative linear combinations of
# variances, JASA 75, 869-873.


@dataclass(frozen=True)
class Uncertainty:
    """Of one setting's mean difference.

    Attributes:
        error: Standard error over seeds, with `df` degrees of freedom.
        examples: Variance of the mean that examples bring; 0 where they are not drawn.
    """

    error: float
    df: float
    examples: float = 0.0

    def reach(self, alpha: float) -> float:
        """Return half the width of the interval that covers the truth but for `alpha`."""
        from scipy import special

        t = float(special.stdtrit(self.df, alpha / 2))
        z = float(special.ndtri(alpha / 2))
        return math.hypot(t * self.error, z * math.sqrt(self.examples))

    def p(self, mean: float) -> float:
        """Return two-sided p of a mean difference: the alpha whose interval just reaches 0."""
        from scipy import special

        if mean == 0:
            return 1.0
        if not self.examples:
            tail = float(special.stdtr(self.df, -abs(mean) / self.error)) if self.error else 0.0
            return 2 * tail
        least = -300.0  # of ln alpha
        if self.reach(math.exp(least)) <= abs(mean):
            return 0.0
        return math.exp(root(lambda x: abs(mean) - self.reach(math.exp(x)), least, 0.0))


# How far another run of a setting may lie from those there are.


def prediction_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return where one more value of the same normal distribution lies with this confidence.

    mean ± t · s · √(1 + 1/n); G. J. Hahn and W. Q. Meeker, Statistical Intervals (1991), 4.8. None
    for fewer than three values, of which the interval would exclude nothing.
    """
    from scipy import special  # scipy.stats takes longer to import than all that is done here

    n = len(values)
    if n < 3:
        return None
    array = np.asarray(values, dtype=np.float64)
    t = special.stdtrit(n - 1, (1 + confidence) / 2)
    half = float(t * array.std(ddof=1) * np.sqrt(1 + 1 / n))
    mean = float(array.mean())
    return mean - half, mean + half


# In which steps values move, where nobody says of how many examples they are.


_PARTS = (1, 2, 3)  # of the smallest gap that is seen, which the true step may be
_ROUNDED = 0.05  # how far multiples may be off, in steps: values are often printed with few digits


def step_of(values: Sequence[float]) -> float:
    """Return the step that all gaps are multiples of: 1/m for accuracies of m examples.

    It is the resolution of float32 where there is no such step, as for losses.
    """
    found = np.unique(np.asarray(values, dtype=np.float64))
    gaps = np.diff(found)
    gaps = gaps[gaps > 1e-9 * np.abs(found).max(initial=0.0)]
    if len(gaps):
        for parts in _PARTS:
            multiples = gaps / (gaps.min() / parts)
            if (np.abs(multiples - np.rint(multiples)) <= _ROUNDED).all():
                return float(gaps.min() / parts)
    return float(np.spacing(np.float32(np.abs(found).max(initial=0.0))))


# Where a function is zero. `scipy.optimize` takes longer to import than a study to judge.


_HALVINGS = 100  # until neighbouring numbers, from any interval


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Find where a function is zero, by bisection; it rises from below 0 at `low`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return high
