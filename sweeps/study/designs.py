"""One axis, round by round: which settings, and how each of them ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from paribus.core.config.schema import Configuration, Direction
from paribus.sweeps.study.axes import Axis, Level
from paribus.sweeps.study.design import Design, Ended, Values, Wanted
from paribus.sweeps.study.request import USUAL_SEARCH, Search
from paribus.sweeps.study.samplers import Categories, Numbers, Space, loses, next_levels
from paribus.sweeps.study.settings import BASELINE, Setting, baseline_setting, setting_of

_ROUND = 4
_State = Ended | tuple[int, ...]  # how a setting ended, or the seeds that are wanted of it now


class AxisRounds:
    """The rounds of an axis; those of a sampler or a pruner are of four settings.

    All of a round end before the next begins, and are told in their order: so neither workers nor
    the order in which runs end change what is proposed or pruned.

    Args:
        axis: What to try.
        configuration: The baseline's, as asked.
        seeds: Of each setting.
        direction: ``maximize`` or ``minimize``.
        search: How levels are proposed and settings pruned.

    Attributes:
        size: How many levels are tried at most.
    """

    def __init__(
        self,
        axis: Axis,
        configuration: Configuration,
        seeds: Sequence[int],
        direction: Direction,
        search: Search,
    ) -> None:
        self._axis, self._seeds, self._direction = axis, tuple(seeds), direction
        self._sampler, self._pruner = search.sampler, search.pruner
        trials = search.trials_of(axis)
        self.size = len(axis.levels) if trials is None else trials
        self._space: Space | None = None
        if axis.range is not None:
            self._space = Numbers(axis, axis.range, configuration)
        elif trials is not None:
            self._space = Categories(axis)
        self._proposed: dict[tuple[Ended, ...], list[Level]] = {}  # asking may take seconds

    def wanted(self, values: Values) -> Wanted:
        """The settings of the round at hand, each with its seeds that are wanted now."""
        return [(s, now) for s, now in self._states(values) if isinstance(now, tuple) and now]

    def pruned(self, values: Values) -> list[str]:
        """Labels of the settings that were pruned."""
        states = self._states(values)
        return [s.label for s, now in states if isinstance(now, Ended) and now.state == "pruned"]

    def _states(self, values: Values) -> Iterator[tuple[Setting, _State]]:
        """All settings so far, those of the open round last."""
        baseline = self._with_all_seeds(
            self._space.baseline if self._space else None, values.get(BASELINE, {})
        )
        others: tuple[Ended, ...] = (baseline,) if isinstance(baseline, Ended) else ()
        told: tuple[Ended, ...] = ()
        while levels := self._levels(told, others):
            ended = []
            for level in levels:
                setting = setting_of(self._axis, level)
                state = self._state(level, values.get(setting.label, {}), others)
                yield setting, state
                if isinstance(state, Ended):
                    ended.append(state)
            if len(ended) < len(levels) or not others:
                return  # without the baseline nothing is known of a later round
            told += tuple(ended)
            others += tuple(ended)

    def _levels(self, told: tuple[Ended, ...], others: tuple[Ended, ...]) -> Sequence[Level]:
        """The levels of the round that follows, given those told, and these with the baseline."""
        place = len(told)
        if self._space is None:
            end = len(self._axis.levels) if self._pruner is None else place + _ROUND
            return self._axis.levels[place:end]
        if place >= self.size or place % _ROUND:  # the round before found nothing more to try
            return ()
        known = others if told else ()  # the first round begins with the baseline
        if known not in self._proposed:
            number, count = place // _ROUND, min(_ROUND, self.size - place)
            self._proposed[known] = next_levels(
                self._axis.key, self._space, self._sampler, self._direction, known, number, count
            )
        return self._proposed[known]

    def _state(
        self, level: Level, found: Mapping[int, float | None], others: tuple[Ended, ...]
    ) -> _State:
        name = level.text if self._axis.range is None else level.value
        if self._pruner is None:
            return self._with_all_seeds(name, found)
        values: list[float] = []
        for seed in self._seeds:
            if seed not in found:
                return (seed,)
            if (value := found[seed]) is None:
                return Ended(name, tuple(values), "failed")
            values.append(value)
            if len(values) < len(self._seeds):
                if not others:
                    return ()  # the pruner waits for the baseline
                if loses(self._pruner, self._direction, others, tuple(values)):
                    return Ended(name, tuple(values), "pruned")
        return Ended(name, tuple(values), "complete")

    def _with_all_seeds(self, name: Any, found: Mapping[int, float | None]) -> _State:
        missing = tuple(seed for seed in self._seeds if seed not in found)
        values = tuple(found[seed] for seed in self._seeds if seed in found)
        known = tuple(value for value in values if value is not None)
        return missing or Ended(name, known, "complete" if known == values else "failed")


# The baseline, and one hyperparameter changed at a time.


class OneAtATime:
    """The baseline, and for each axis its levels with all else left alone.

    Levels of a list are all tried, those of a range are proposed by a sampler. No axis informs
    another.

    Args:
        baseline: The baseline's configuration as asked.
        axes: What to try.
        seeds: Of each setting.
        direction: ``maximize`` or ``minimize``.
        search: How levels are proposed and settings pruned.
    """

    def __init__(
        self,
        baseline: Configuration,
        axes: Sequence[Axis],
        seeds: Sequence[int],
        direction: Direction,
        search: Search = USUAL_SEARCH,
    ) -> None:
        self._baseline, self._seeds = baseline_setting(baseline), seeds
        self._axes = [AxisRounds(axis, baseline, seeds, direction, search) for axis in axes]
        self.size = 1 + sum(axis.size for axis in self._axes)

    def propose(self, values: Values) -> Wanted:
        missing = tuple(seed for seed in self._seeds if seed not in values.get(BASELINE, {}))
        wanted = [(self._baseline, missing)] if missing else []
        return wanted + [each for axis in self._axes for each in axis.wanted(values)]

    def pruned(self, values: Values) -> list[str]:
        return [label for axis in self._axes for label in axis.pruned(values)]


# Seeds added until it is decided: a design around another one.


class UntilDecided:
    """Gives more seeds to undecided settings, look by look, once the inner design is done.

    Args:
        design: Proposes settings with the seeds of the first look.
        looks: After how many seeds it is looked, the first one's included.
        undecided: Says of the settings that more seeds may decide after how many each was looked
            at. It follows from the records alone.
    """

    def __init__(
        self, design: Design, looks: Sequence[int], undecided: Callable[[], Mapping[str, int]]
    ) -> None:
        self._design, self._looks, self._undecided = design, looks, undecided
        self._settings: dict[str, Setting] = {}
        self.size = design.size

    def propose(self, values: Values) -> Wanted:
        wanted = self._design.propose(values)
        self._settings.update((setting.label, setting) for setting, _ in wanted)
        if wanted:
            return wanted
        after = {
            label: next((n for n in self._looks if n > reached), 0)
            for label, reached in self._undecided().items()
            if label in self._settings
        }
        after[BASELINE] = max(after.values(), default=0)
        rounds = ((label, range(after.get(label, 0))) for label in self._settings)
        missing = [
            (label, tuple(seed for seed in seeds if seed not in values.get(label, {})))
            for label, seeds in rounds
        ]
        return [(self._settings[label], seeds) for label, seeds in missing if seeds]

    def pruned(self, values: Values) -> Collection[str]:
        return self._design.pruned(values)


# Designs: which settings to train next, with which seeds, given what has been found.
