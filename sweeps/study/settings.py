"""Settings: the baseline, or the baseline with exactly one hyperparameter changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paribus.core.config.schema import COMPONENTS, Configuration
from paribus.sweeps.study.axes import Axis, Level

BASELINE = "baseline"


@dataclass(frozen=True)
class Setting:
    """The baseline with at most one hyperparameter changed.

    Attributes:
        label: ``baseline`` or ``optimizer.lr=0.0001``.
        key: The changed hyperparameter, None for the baseline.
        level: Its value.
        changed: ``{key: [baseline, level]}``.
        configuration: The whole configuration as asked.
        derived: What else differs because of the change: ``{key: [baseline, level]}``.
        stated: Where the level is a component, the keywords that it names.
    """

    label: str
    key: str | None
    level: Any
    changed: dict[str, list[Any]]
    configuration: Configuration = field(repr=False)
    derived: dict[str, list[Any]] = field(default_factory=dict)
    stated: tuple[str, ...] = ()


def baseline_setting(configuration: Configuration) -> Setting:
    """The baseline itself."""
    return Setting(BASELINE, None, None, {}, configuration)


def setting_of(axis: Axis, level: Level) -> Setting:
    """The setting that an axis' level makes."""
    value = level.text if axis.key in COMPONENTS else level.value
    return Setting(
        label=f"{axis.key}={level.text}",
        key=axis.key,
        level=value,
        changed={axis.key: [axis.baseline, value]},
        configuration=level.configuration,
        stated=tuple(level.value) if axis.key in COMPONENTS else (),
    )
