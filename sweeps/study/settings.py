"""Settings: the baseline, or the baseline with exactly one hyperparameter changed, proved so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from paribus.core.config.registry import FROM_DATA, FROM_LENGTH, FROM_LR
from paribus.core.config.schema import COMPONENTS, Configuration, difference
from paribus.core.errors import RequestError
from paribus.core.run_spec import RunSpec
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


def prove_one_change(setting: Setting, baseline: RunSpec, run: RunSpec) -> dict[str, list[Any]]:
    """Holds a setting to its promise, and says what follows from the change.

    Everything in which the two resolved configurations differ must be the changed key, or a value
    that the harness computed from it.

    Returns:
        What is derived: ``{key: [baseline, level]}``.

    Raises:
        RequestError: If anything else differs, or nothing does.
    """
    assert setting.key is not None
    asked = difference(baseline.requested.to_dict(), run.requested.to_dict())
    stray = [key for key in asked if not _belongs(key, setting.key)]
    resolved = difference(baseline.configuration, run.configuration)
    follows = {
        key: pair
        for key, pair in resolved.items()
        if not _is_change(key, setting) and pair != [None, None]  # a keyword unset, and none there
    }
    stray += [key for key in follows if not _belongs(key, setting.key) and not _computed(key)]
    if stray:
        raise RequestError(
            f"{setting.label} would also change {', '.join(dict.fromkeys(stray))}.",
            "Only one hyperparameter may differ from the baseline.",
            "not-one-change",
        )
    if not resolved:
        raise RequestError(
            f"{setting.label} changes nothing: it resolves to the baseline's configuration.",
            "Leave it out; the baseline is trained anyway.",
            "levels",
        )
    for name in dict.fromkeys([*baseline.facts, *run.facts]):
        before, value = baseline.facts.get(name), run.facts.get(name)
        if value != before and f"train.{name}" != setting.key:
            follows[name] = [before, value]
    if run.engine != baseline.engine:
        follows["engine"] = [baseline.engine, run.engine]
    return follows


def _belongs(key: str, changed: str) -> bool:
    """Whether a key is the changed one, or a keyword of the changed component."""
    if {key, changed} == {"train.epochs", "train.updates"}:
        return True
    return key == changed or (changed in COMPONENTS and key.startswith(f"{changed}."))


def _is_change(key: str, setting: Setting) -> bool:
    """Whether a difference is what was asked for, and so not derived."""
    if key == setting.key:
        return True
    kind, _, keyword = key.partition(".")
    return kind == setting.key and keyword in setting.stated


def _computed(key: str) -> bool:
    kind, _, keyword = key.partition(".")
    return (
        (kind == "model" and keyword in FROM_DATA)
        or (kind == "scheduler" and keyword in (*FROM_LENGTH, *FROM_LR))
        or key == "optimizer.fused"
    )
