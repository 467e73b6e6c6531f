"""Designs: which settings to train next, given what has been found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from core.config import Direction
from core.errors import RequestError
from sweeps.axes import Axis, Level
from sweeps.settings import Setting, baseline_setting, setting_of


class Design(Protocol):
    """Proposes settings in rounds."""

    def propose(self, results: Mapping[str, float | None]) -> list[Setting]:
        """The settings of the next round; none when the design is done.

        A proposal follows from the design and the results alone, never from timing.

        Args:
            results: Label to the mean of the selection metric over seeds (None: failed), for the
                settings that have ended.
        """


class OneAtATime:
    """The baseline, and for each axis each of its levels with all else left alone.

    Each axis has an Optuna study of its own, in memory: its levels are enqueued, asked for, and
    told. So one axis never informs another.

    Args:
        baseline: The baseline's configuration as asked.
        axes: What to try.
        direction: ``maximize`` or ``minimize``.
    """

    def __init__(
        self, baseline: Mapping[str, Any], axes: Sequence[Axis], direction: Direction
    ) -> None:
        self._baseline = baseline_setting(baseline)
        self._axes = [_AskedAxis(axis, direction) for axis in axes]
        self._began = False

    def propose(self, results: Mapping[str, float | None]) -> list[Setting]:
        for axis in self._axes:
            axis.tell(results)
        first = [] if self._began else [self._baseline]
        self._began = True
        return first + [setting for axis in self._axes for setting in axis.ask()]


class _AskedAxis:
    """One axis and its Optuna study in memory. Levels are asked for by their place in the list."""

    def __init__(self, axis: Axis, direction: Direction) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.axis = axis
        self.study = optuna.create_study(
            direction=direction, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        self.waiting = len(axis.levels)
        self.choices = optuna.distributions.CategoricalDistribution(
            [level.text for level in axis.levels]
        )
        self.by_text = {level.text: level for level in axis.levels}
        self.open: dict[str, Any] = {}
        for level in axis.levels:
            self.study.enqueue_trial({axis.key: level.text})

    def ask(self) -> list[Setting]:
        # An empty queue would make Optuna sample a level, so ask as often as there are levels.
        settings = []
        for _ in range(self.waiting):
            trial = self.study.ask(fixed_distributions={self.axis.key: self.choices})
            setting = setting_of(self.axis, self._level(trial.params[self.axis.key]))
            self.open[setting.label] = trial
            settings.append(setting)
        self.waiting = 0
        return settings

    def tell(self, results: Mapping[str, float | None]) -> None:
        import optuna

        for label in [label for label in self.open if label in results]:
            value = results[label]
            state = optuna.trial.TrialState.FAIL if value is None else None
            self.study.tell(self.open.pop(label), value, state=state)

    def _level(self, text: str) -> Level:
        if text not in self.by_text:
            raise RequestError(f"Optuna proposed {text}, which is no level of {self.axis.key}.")
        return self.by_text[text]
