"""Designs: which settings to train next, with which seeds, given what has been found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from paribus.core.config.schema import Configuration, Direction
from paribus.sweeps.study.axes import Axis
from paribus.sweeps.study.request import Search
from paribus.sweeps.study.samplers import Categories, Ended, Numbers, Space, loses, next_levels
from paribus.sweeps.study.settings import BASELINE, Setting, baseline_setting

# Label to seed to the selection metric of that seed's finished run; None: the run failed.
Values = Mapping[str, Mapping[int, float | None]]
Wanted = list[tuple[Setting, tuple[int, ...]]]
_ROUND = 4
_State = Ended | tuple[int, ...]  # how a setting ended, or the seeds that are wanted of it now


class OneAtATime:
    """The baseline, and for each axis its levels with all else left alone.

    Levels of a list are all tried, those of a range are proposed by a sampler. No axis informs
    another. It is at most `size` settings.
    """

    def __init__(
        self,
        baseline: Configuration,
        axes: Sequence[Axis],
        seeds: Sequence[int],
        direction: Direction,
        search: Search,
    ) -> None:
        self._baseline, self._seeds = baseline_setting(baseline), seeds
        self._axes = [_AxisRounds(axis, baseline, seeds, direction, search) for axis in axes]
        self.size = 1 + sum(axis.size for axis in self._axes)

    def propose(self, values: Values) -> Wanted:
        """Return the settings of this round, each with those of its seeds that have no value yet.

        None when the design is done. The answer follows from the design and the values found alone:
        what has been trained without a result is wanted again, and the caller decides on that.
        """
        missing = tuple(seed for seed in self._seeds if seed not in values.get(BASELINE, {}))
        wanted = [(self._baseline, missing)] if missing else []
        states = (state for axis in self._axes for state in axis.states(values))
        return wanted + [(s, now) for s, now in states if isinstance(now, tuple) and now]

    def pruned(self, values: Values) -> list[str]:
        """Return labels of the settings that get no more seeds, as their first ones lose."""
        states = (state for axis in self._axes for state in axis.states(values))
        return [s.label for s, now in states if isinstance(now, Ended) and now.state == "pruned"]


class _AxisRounds:
    """The rounds of an axis; those of a sampler or a pruner are of four settings.

    All of a round end before the next begins, and a sampler sees them in their order: so neither
    workers nor the order in which runs end change what is proposed or pruned.
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
        self._proposed: dict[tuple[Ended, ...], list[Setting]] = {}  # a sampler may take seconds

    def states(self, values: Values) -> Iterator[tuple[Setting, _State]]:
        """Yield all settings so far with their states, those of the open round last."""
        baseline = self._with_all_seeds(
            self._space.baseline if self._space else None, values.get(BASELINE, {})
        )
        others: tuple[Ended, ...] = (baseline,) if isinstance(baseline, Ended) else ()
        before: tuple[Ended, ...] = ()  # the levels of earlier rounds
        while settings := self._round(before, others):
            ended = []
            for setting in settings:
                state = self._state(setting, values.get(setting.label, {}), others)
                yield setting, state
                if isinstance(state, Ended):
                    ended.append(state)
            if len(ended) < len(settings) or not others:
                return  # without the baseline nothing is known of a later round
            before += tuple(ended)
            others += tuple(ended)

    def _round(self, before: tuple[Ended, ...], others: tuple[Ended, ...]) -> Sequence[Setting]:
        """Return the next round, given those before, and these with the baseline."""
        place = len(before)
        if self._space is None:
            end = len(self._axis.levels) if self._pruner is None else place + _ROUND
            return self._axis.levels[place:end]
        if place >= self.size or place % _ROUND:  # the round before found nothing more to try
            return ()
        known = others if before else ()  # the first round begins with the baseline
        if known not in self._proposed:
            number, count = place // _ROUND, min(_ROUND, self.size - place)
            self._proposed[known] = next_levels(
                self._axis.key, self._space, self._sampler, self._direction, known, number, count
            )
        return self._proposed[known]

    def _state(
        self, setting: Setting, found: Mapping[int, float | None], others: tuple[Ended, ...]
    ) -> _State:
        level = setting.text if self._axis.range is None else setting.level
        if self._pruner is None:
            return self._with_all_seeds(level, found)
        values: list[float] = []
        for seed in self._seeds:
            if seed not in found:
                return (seed,)
            if (value := found[seed]) is None:
                return Ended(level, tuple(values), "failed")
            values.append(value)
            if len(values) < len(self._seeds):
                if not others:
                    return ()  # the pruner waits for the baseline
                if loses(self._pruner, self._direction, others, tuple(values)):
                    return Ended(level, tuple(values), "pruned")
        return Ended(level, tuple(values), "complete")

    def _with_all_seeds(self, level: Any, found: Mapping[int, float | None]) -> _State:
        missing = tuple(seed for seed in self._seeds if seed not in found)
        values = tuple(found[seed] for seed in self._seeds if seed in found)
        known = tuple(value for value in values if value is not None)
        return missing or Ended(level, known, "complete" if known == values else "failed")


class UntilDecided:
    """Gives more seeds to undecided settings, look by look, once the inner design is done.

    `undecided` returns, for each setting that more seeds may decide, after how many it was looked
    at. It follows from the records alone.
    """

    def __init__(
        self, design: OneAtATime, looks: Sequence[int], undecided: Callable[[], Mapping[str, int]]
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
        for label, setting in self._settings.items():
            seeds = range(after.get(label, 0))
            if missing := tuple(seed for seed in seeds if seed not in values.get(label, {})):
                wanted.append((setting, missing))
        return wanted

    def pruned(self, values: Values) -> list[str]:
        return self._design.pruned(values)
