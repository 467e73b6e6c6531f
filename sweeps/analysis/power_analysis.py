"""Before anything is trained: which differences a number of seeds can tell from chance."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from paribus.sweeps.analysis.judge import standard_for, standard_of
from paribus.sweeps.stats.power import MOST_SEEDS, detectable
from paribus.sweeps.stats.variance import FEWEST_PAIRS, FEWEST_SETTINGS
from paribus.sweeps.stats.verdicts import ALPHA, Pairs, Standard, mean_and_std
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study


@dataclass(frozen=True)
class PowerAnalysis:
    """What seeds can find on this validation part, with a probability of 80 %.

    Attributes:
        seeds: Of each setting.
        settings: Besides the baseline: each of them is a chance to err.
        in_std: The smallest difference, in standard deviations of the paired differences; None with
            one seed.
        std: Those, as far as is known: the median of the settings that have pairs, else what the
            baseline's spread would give without any pairing; None before it was trained.
        margin: What does not matter, in the metric's units; None before the baseline was trained.
        seeds_for_margin: How many seeds find a difference of the margin; None if that is not known,
            or more than `MOST_SEEDS`.
    """

    seeds: int
    settings: int
    in_std: float | None
    std: float | None
    margin: float | None
    seeds_for_margin: int | None

    @property
    def difference(self) -> float | None:
        """The smallest difference in the metric's own units; None where it is not known."""
        return None if self.in_std is None or self.std is None else self.in_std * self.std

    def document(self) -> dict[str, Any]:
        """Return ``power`` of the `sweep` document."""
        return {**vars(self), "difference": self.difference}


def warm_up() -> None:
    """Import beforehand what verdicts are computed with."""
    from scipy import special  # noqa: F401


def analyse_power(study: Study, seeds: int, settings: int, alpha: float = ALPHA) -> PowerAnalysis:
    """Return what a sweep can find out.

    Args:
        study: What is known of it already counts.
        seeds: Of each setting.
        settings: Besides the baseline.
        alpha: Of the test over all settings: what the last look spends, where there are looks.
    """
    known, metric, direction = study.results(), study.metric, study.direction
    if any(result.setting.key is None for result in known):
        standard = standard_of(study, known, metric, direction)
    else:
        standard = standard_for(metric, direction, [], settings, margin=study.asked.get("margin"))
    std = _std(known)
    return PowerAnalysis(
        seeds,
        settings,
        _detectable(seeds, settings, standard, alpha) if seeds > 1 and settings else None,
        std,
        standard.margin if std else None,
        _seeds_for(standard.margin / std, settings, standard, alpha) if std else None,
    )


def _detectable(seeds: int, settings: int, standard: Standard, alpha: float) -> float:
    borrows = standard.pooled and settings >= FEWEST_SETTINGS and seeds >= FEWEST_PAIRS
    return detectable(seeds, (seeds - 1) * (2 if borrows else 1), alpha / settings)


def _std(results: Sequence[SettingResult]) -> float | None:
    """Return the standard deviation of a paired difference, as far as is known."""
    baseline = next((r for r in results if r.setting.key is None), None)
    if baseline is None:
        return None
    ours = dict(zip(baseline.seeds, baseline.values, strict=True))
    found = []
    for result in results:
        shared = {s: v for s, v in zip(result.seeds, result.values, strict=True) if s in ours}
        std = Pairs.of([*shared.values()], [ours[seed] for seed in shared]).std
        if result is not baseline and std:
            found.append(std)
    spread = mean_and_std(baseline.values)[1]
    return median(found) if found else spread and spread * math.sqrt(2)


def _seeds_for(in_std: float, settings: int, standard: Standard, alpha: float) -> int | None:
    """Return the fewest seeds that find a difference of so many standard deviations."""
    if not settings or _detectable(MOST_SEEDS, settings, standard, alpha) > in_std:
        return None

    def finds(seeds: int) -> bool:
        return _detectable(seeds, settings, standard, alpha) <= in_std

    return 2 + bisect_left(range(2, MOST_SEEDS), True, key=finds)
