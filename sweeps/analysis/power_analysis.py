"""Estimate before training which differences a number of seeds can detect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from paribus.sweeps.analysis.judge import standard_of
from paribus.sweeps.stats.power import detectable
from paribus.sweeps.stats.variance import FEWEST_PAIRS, FEWEST_SETTINGS
from paribus.sweeps.stats.verdicts import ALPHA, mean_and_std, threshold
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study


@dataclass(frozen=True)
class PowerAnalysis:
    """The minimum detectable effect, with 80 % power.

    With folds it is one on new data; the spread between folds is taken for the seeds', so it is the
    least there can be beyond one rotation. Without, it is one on this validation part.

    Attributes:
        settings: Besides the baseline: they are judged together.
        in_std: The effect, in standard deviations of the paired differences; None with one seed.
        std: This standard deviation: the median of the settings that have pairs, else that of
            unpaired seeds with the baseline's spread; None before it was trained.
        margin: In the metric's units; None before the baseline was trained.
    """

    seeds: int
    settings: int
    in_std: float | None
    std: float | None
    margin: float | None

    @property
    def difference(self) -> float | None:
        """The effect in the metric's units; None where it is not known."""
        return None if self.in_std is None or self.std is None else self.in_std * self.std

    def document(self) -> dict[str, Any]:
        """Return ``power`` of the `sweep` document."""
        return {**vars(self), "difference": self.difference}


def warm_up() -> None:
    """Import what verdicts are computed with, while others wait for the first run."""
    from scipy import special  # noqa: F401


def analyse_power(
    study: Study, seeds: int, settings: int, folds: int = 1, alpha: float = ALPHA
) -> PowerAnalysis:
    """Return the minimum detectable effect of so many seeds of settings besides the baseline.

    The study's finished runs are used. `alpha` is that of the test over all settings: what the last
    look spends, where there are looks.
    """
    known = study.results()
    standard = standard_of(study, known, study.metric)
    std = _std(known)
    # Of the only setting that has an effect.
    limit = threshold(np.zeros(1), settings, alpha)
    if study.requested.strict:
        limit = alpha / max(1, settings)

    units = min(seeds, folds) if folds > 1 else seeds
    pools = standard.pooled and settings >= FEWEST_SETTINGS and units >= FEWEST_PAIRS
    in_std = None
    if seeds > 1 and settings:
        in_std = detectable(seeds, (units - 1) * (2 if pools else 1), limit)
    return PowerAnalysis(seeds, settings, in_std, std, standard.margin if std else None)


def _std(results: Sequence[SettingResult]) -> float | None:
    """Return the standard deviation of a paired difference, as far as is known."""
    baseline = next((r for r in results if r.setting.key is None), None)
    if baseline is None:
        return None
    stds = [result.paired(baseline).std for result in results if result is not baseline]
    found = [std for std in stds if std]
    spread = mean_and_std(baseline.values)[1]
    return median(found) if found else spread and spread * math.sqrt(2)
