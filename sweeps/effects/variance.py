"""How much differences vary from seed to seed, borrowing from other settings of the study.

With three seeds a setting's own variance is known badly. Where a study has at least five settings,
it is averaged with what the others say, as far as they agree with each other: the empirical Bayes
variances of G. K. Smyth (2004), Linear models and empirical Bayes methods for assessing
differential expression in microarray experiments, Stat. Appl. Genet. Mol. Biol. 3(1), 3. That a
setting gives the others no more weight than itself, that outliers are cut, and that a setting
much noisier than the rest keeps its own variance was chosen by simulation: with three seeds and a
shared baseline, Smyth's own procedure finds up to 21 % of null studies significant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_SETTINGS, FEWEST_PAIRS = 5, 3  # from which on settings borrow from each other
_NOISIER = 4.0  # times the common variance: then a setting stands for itself


@dataclass(frozen=True, eq=False)
class Variances:
    """Variances of paired differences.

    Attributes:
        values: Of each setting's differences: `[k]`.
        df: Degrees of freedom of each: `[k]`.
    """

    values: Array
    df: Array


def floored(variances: Array, resolution: float) -> Array:
    """Variances `[k]`, not below a quarter of the resolution's square.

    Three equal differences of one example are no certainty: with accuracies on few examples such
    ties are common, and would make any difference significant.
    """
    return np.maximum(variances, resolution**2 / 4)


def half_pooled(variances: Array, df: Array) -> Variances:
    """Each setting's variance, averaged with the common one where there are enough settings.

    Args:
        variances: Each setting's own, above 0: `[k]`.
        df: Its degrees of freedom, pairs - 1: `[k]`. Those below 2 take no part.
    """
    takes_part = df >= FEWEST_PAIRS - 1
    if takes_part.sum() < FEWEST_SETTINGS:
        return Variances(variances, df)
    own, own_df = variances[takes_part], df[takes_part]
    prior_df = _prior_df(own, own_df)
    common = _common(own, own_df)
    weight = np.minimum(prior_df, own_df)
    alike = own <= _NOISIER * common
    values, shared_df = variances.copy(), df.copy()
    mixed = (weight * common + own_df * own) / (weight + own_df)
    values[takes_part] = np.where(alike, mixed, own)
    shared_df[takes_part] = np.where(alike, own_df + weight, own_df)
    return Variances(values, shared_df)


def _prior_df(variances: Array, df: Array) -> float:
    """How many degrees of freedom the settings' agreement is worth; infinite if they all agree."""
    from scipy import special

    logs = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, df / 2).mean())
    return 2 * _inverse_trigamma(excess) if excess > 0 else math.inf


def _common(variances: Array, df: Array) -> float:
    """The mean variance of settings, those far above the median cut."""
    from scipy import special

    median = float(np.median(variances * df / special.chdtri(df, 0.5)))
    return float(np.minimum(variances, _NOISIER * median).mean())


def _inverse_trigamma(value: float) -> float:
    """X with trigamma(x) = value, by Newton's method (Smyth 2004, appendix)."""
    from scipy import special

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x
