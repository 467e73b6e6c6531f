"""Where a sampler proposes levels: a range of numbers, or the levels of a list as categories."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Protocol

from paribus.core.config.schema import Configuration, Direction
from paribus.core.config.values import show_value
from paribus.sweeps.study.axes import Axis, Level
from paribus.sweeps.study.design import Ended
from paribus.sweeps.study.levels import Range


class Space(Protocol):
    """The possible levels of an axis.

    Attributes:
        distribution: Optuna's.
        baseline: The baseline's level as Optuna knows it; None where it lies outside.
    """

    distribution: Any
    baseline: float | str | None

    def around(self, proposed: Any) -> Iterator[Any]:
        """The level that is nearest to a proposal, then the others, nearest first."""

    def level(self, chosen: Any) -> Level:
        """The level that is known to Optuna by this."""


class Numbers:
    """A range: whole numbers, or numbers of three digits, so that labels read well."""

    def __init__(self, axis: Axis, range: Range, configuration: Configuration) -> None:
        from optuna.distributions import FloatDistribution, IntDistribution

        self._key, self._range, self._configuration = axis.key, range, configuration
        self.distribution: Any
        if range.whole:
            self.distribution = IntDistribution(int(range.low), int(range.high), log=range.log)
        else:
            self.distribution = FloatDistribution(range.low, range.high, log=range.log)
        number = type(axis.baseline) in (int, float)
        self.baseline = (
            axis.baseline if number and range.low <= axis.baseline <= range.high else None
        )
        # A narrow range far from zero needs more: 0.99:0.9999 has two numbers of three digits.
        widest = max(abs(range.low), abs(range.high))
        self._digits = 3 + math.floor(math.log10(max(1.0, widest / (range.high - range.low))))

    def around(self, proposed: float) -> Iterator[float]:
        low, high = self._range.low, self._range.high
        yield self._rounded(proposed)
        size = abs(proposed) or high - low
        step = 1 if self._range.whole else 10 ** (1 - self._digits + math.floor(math.log10(size)))
        for steps in itertools.count(1):
            both = (proposed - steps * step, proposed + steps * step)
            inside = [number for number in both if low <= number <= high]
            if not inside:
                return
            yield from map(self._rounded, inside)

    def level(self, chosen: float) -> Level:
        return Level(chosen, show_value(chosen), self._configuration.replace(self._key, chosen))

    def _rounded(self, number: float) -> float:
        if self._range.whole:
            return int(number)
        rounded = float(f"{number:.{self._digits}g}")
        return min(max(rounded, self._range.low), self._range.high)


class Categories:
    """The levels of a list, and the baseline's."""

    def __init__(self, axis: Axis) -> None:
        from optuna.distributions import CategoricalDistribution

        self._by_text = {level.text: level for level in axis.levels}
        self.baseline: float | str | None = axis.baseline_text
        self.distribution: Any = CategoricalDistribution([self.baseline, *self._by_text])

    def around(self, proposed: str) -> Iterator[str]:
        yield proposed
        yield from self._by_text

    def level(self, chosen: str) -> Level:
        return self._by_text[chosen]


# The next levels of an axis by one of Optuna's samplers, in a study of the axis' own, in memory.
#
# The study is built from what has ended, for every round anew: nothing else decides a proposal.


_SAMPLER_SEED = 0
_ASKS = 8  # how often a sampler may propose what was tried already


def next_levels(
    key: str,
    space: Space,
    sampler: str,
    direction: Direction,
    told: Sequence[Ended],
    number: int,
    count: int,
) -> list[Level]:
    """The levels of a round, none of which was tried before; fewer where nothing else is left.

    Args:
        key: The axis.
        space: Where its levels lie.
        sampler: One of `SAMPLERS`.
        direction: ``maximize`` or ``minimize``.
        told: The baseline and the levels of earlier rounds, in order.
        number: The round's, from 0 on.
        count: How many levels are wanted.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tried = {space.baseline, *(ended.level for ended in told)}
    chosen: list[Level] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that samplers, or options of theirs, are experimental
        asked = _Asked(key, space, sampler, direction, told, number)
        for _ in range(count):
            level = asked.untried(tried)
            if level is None:
                break
            tried.add(level)
            chosen.append(space.level(level))
    return chosen


class _Asked:
    """A study in memory, and how it is asked."""

    def __init__(
        self,
        key: str,
        space: Space,
        sampler: str,
        direction: Direction,
        told: Sequence[Ended],
        number: int,
    ) -> None:
        import optuna

        self._key, self._space, self._sampler = key, space, sampler
        # The first round knows nothing, and four numbers drawn at random may all lie in one half of
        # the range. A scrambled Sobol sequence puts one of its first four into each quarter. Ten
        # trials by TPE on a learning rate over four decades then came within a factor of three of
        # the best for 100 of 100 seeds of the sampler, for 95 after a random start.
        if number == 0 and sampler in ("tpe", "gp") and isinstance(space, Numbers):
            sampler = "qmc"
        seed = _seed(key, 0 if sampler == "qmc" else number)  # a sequence goes on, others begin
        self._study = optuna.create_study(direction=direction, sampler=_sampler(sampler, seed))
        for ended in told:
            if ended.level is not None:  # a baseline that lies outside the range
                self._study.add_trial(self._trial(ended))
        self._asks = _ASKS
        if sampler == "qmc":
            self._asks += len(told)  # which are the points that the sequence begins with
            # Without a trial the sampler would not know the space, and draw its first at random.
            self._study.add_trial(self._created("RUNNING", space.distribution.low))

    def untried(self, tried: set[Any]) -> Any:
        """The sampler's next proposal that was not tried; None where all were."""
        proposed = None
        for _ in range(self._asks):
            # What is rejected stays a running trial, which tells samplers to look elsewhere.
            trial = self._study.ask({self._key: self._space.distribution})
            proposed = trial.params[self._key]
            level = next(self._space.around(proposed))
            if level not in tried:
                return level
        return next((x for x in self._space.around(proposed) if x not in tried), None)

    def _trial(self, ended: Ended) -> Any:
        if ended.state == "failed":
            return self._created("FAIL", ended.level)
        by_seed = dict(enumerate(ended.values))
        # GP looks at complete trials only; Optuna's advice for it is to tell the mean so far.
        if ended.state == "pruned" and self._sampler != "gp":
            return self._created("PRUNED", ended.level, intermediate_values=by_seed)
        value = ended.mean
        return self._created("COMPLETE", ended.level, value=value, intermediate_values=by_seed)

    def _created(self, state: str, level: Any, **what: Any) -> Any:
        from optuna.trial import TrialState, create_trial

        return create_trial(
            state=TrialState[state],
            params={self._key: level},
            distributions={self._key: self._space.distribution},
            **what,
        )


def _sampler(name: str, seed: int) -> Any:
    from optuna import samplers

    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "qmc":
        return samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    # The first round of four is their start; Optuna's ten would leave eight trials to chance.
    if name == "gp":
        return samplers.GPSampler(
            seed=seed, n_startup_trials=4, deterministic_objective=False,
            warn_independent_sampling=False,
        )  # fmt: skip
    return samplers.TPESampler(seed=seed, n_startup_trials=4, constant_liar=True)


def _seed(key: str, number: int) -> int:
    """A sampler's seed: the same for an axis and a round, whatever else is asked."""
    text = f"{_SAMPLER_SEED}/{key}/{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


# Whether a setting that has some of its seeds gets more: Optuna's pruners, asked between seeds.


# One-sided, on pairs: four seeds that all lose are the first that can fall below it (1/16).
_WILCOXON_P = 0.1


@cache
def loses(
    pruner: str, direction: Direction, others: tuple[Ended, ...], values: tuple[float, ...]
) -> bool:
    """Whether a setting's first seeds lose to those that have ended.

    Steps are the places of the seeds, so that values are paired by seed.

    Args:
        pruner: ``wilcoxon`` compares with the best of the others, ``median`` with their median
            from the fifth on.
        direction: ``maximize`` or ``minimize``.
        others: The baseline, and the settings of the rounds before.
        values: The selection metric of the setting's first seeds.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        study = optuna.create_study(direction=direction, pruner=_pruner(pruner))
        for other in others:
            if other.state == "complete":
                study.add_trial(
                    optuna.trial.create_trial(
                        value=other.mean, intermediate_values=dict(enumerate(other.values))
                    )
                )
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(value, step)
        return trial.should_prune()


def _pruner(name: str) -> Any:
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner()
    return pruners.WilcoxonPruner(p_threshold=_WILCOXON_P)
