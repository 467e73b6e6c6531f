"""The stored Optuna study: a view of the whole, for Optuna's dashboard, plots and API."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import RequestError
from core.values import show_value
from sweeps.root import Root
from sweeps.settings import BASELINE
from sweeps.study import SettingResult, Study

_MARK = "paribus_root"


def default_storage(root: Root) -> str:
    """The SQLite file under the root."""
    return f"sqlite:///{root.path / 'optuna.db'}"


def storage_url(study: Study) -> str:
    """The storage's URL, with an absolute path for SQLite."""
    return study.asked["storage"] or default_storage(study.root)


def absolute_storage(url: str) -> str:
    """The same URL with a relative SQLite path made absolute."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/"):
        return prefix + str(Path(url.removeprefix(prefix)).expanduser().absolute())
    return url


def check_storage(url: str) -> None:
    """Refuses a storage URL that cannot work; creates nothing.

    Raises:
        RequestError: If it is no URL of a database, or its folder is not there.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    hint = "Such as sqlite:///FILE, or leave it out."
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, ImportError, ValueError) as error:
        raise RequestError(
            f"--storage {without_credentials(url)[:100]} is no URL of a database.", hint, "storage"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        folder = Path(parsed.database).parent
        if not folder.is_dir():
            raise RequestError(f"--storage: there is no folder {folder}.", hint, "storage")


def without_credentials(url: str) -> str:
    """The URL as it may be written down: no user, no password."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rsplit('@', 1)[-1]}{slash}{path}"


def write(study: Study, storage: str | None = None) -> str:
    """Brings the stored study up to date: one trial for each setting that has ended.

    It is built anew where a finished setting changed or Optuna cannot change it in place. The same
    call rebuilds a lost database.

    Args:
        study: What was asked and what happened.
        storage: The storage's URL; None takes the study's own.

    Returns:
        The storage's URL without credentials.

    Raises:
        RequestError: If the storage cannot be opened, or holds a study of this name that is not
            this root's.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    url = storage or storage_url(study)
    mark = f"{study.root.id}"
    ended = [result for result in study.results() if result.status != "interrupted"]
    distributions = _distributions(study)
    trials = [_trial(study, result, distributions) for result in ended]
    opened = open_storage(url)
    names = optuna.study.get_all_study_names(opened)
    if study.name in names:
        stored = optuna.load_study(study_name=study.name, storage=opened)
        if stored.user_attrs.get(_MARK) != mark:
            raise RequestError(
                f"The Optuna storage has a study '{study.name}' that is not this root's.",
                "Name another study with --study, or another storage with --storage.",
                "foreign-study",
            )
        new = _continuation(stored.get_trials(deepcopy=False), trials)
        if new is not None:
            stored.add_trials(new)
            return without_credentials(url)
        optuna.delete_study(study_name=study.name, storage=opened)
    stored = optuna.create_study(study_name=study.name, storage=opened, direction=study.direction)
    stored.set_user_attr(_MARK, mark)
    stored.set_user_attr("experiment", study.experiment)
    stored.add_trials(trials)
    return without_credentials(url)


def open_storage(url: str) -> Any:
    """Optuna's storage of a URL.

    Raises:
        RequestError: If it cannot be opened.
    """
    import optuna

    try:
        return optuna.storages.get_storage(url)
    except Exception as error:
        shown = without_credentials(url)
        text = str(error).split("\n")[0].replace(url, shown)
        raise RequestError(
            f"The Optuna storage {shown} cannot be opened: {text}",
            "Give --storage sqlite:///FILE, or leave it out.",
            "storage",
        ) from None


def _continuation(stored: Sequence[Any], wanted: Sequence[Any]) -> list[Any] | None:
    """The trials to add to those that are there; None if one of those is not as wanted."""
    by_label = {trial.user_attrs.get("label"): trial for trial in stored}
    if len(by_label) != len(stored):
        return None
    labels = [trial.user_attrs["label"] for trial in wanted]
    if not set(by_label) <= set(labels):
        return None
    new = []
    for trial in wanted:
        there = by_label.get(trial.user_attrs["label"])
        if there is None:
            new.append(trial)
        if any(not _compatible(trial, other) for other in stored):
            return None
        if there is not None and (there.user_attrs, there.state, there.params) != (
            trial.user_attrs,
            trial.state,
            trial.params,
        ):
            return None
    return new


def _compatible(trial: Any, other: Any) -> bool:
    """Whether Optuna takes both into one study: a hyperparameter's categories can never change."""
    return bool(trial.distributions == other.distributions)


def _distributions(study: Study) -> dict[str, Any]:
    return {axis["key"]: _distribution(axis) for axis in study.asked["axes"]}


def _distribution(axis: Mapping[str, Any]) -> Any:
    """Float or int for numbers, else categorical; lists as their JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    levels = [axis["baseline"], *axis["levels"]]
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels):
        whole = all(isinstance(x, int) for x in levels)
        kind = IntDistribution if whole else FloatDistribution
        return kind(min(levels), max(levels), log=bool(axis["log"]) and min(levels) > 0)
    return CategoricalDistribution(list(dict.fromkeys(_category(x) for x in levels)))


def _category(level: Any) -> Any:
    if isinstance(level, list):
        return json.dumps(level)
    return show_value(level) if isinstance(level, Mapping) else level


def _trial(study: Study, result: SettingResult, distributions: Mapping[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    setting = result.setting
    params = {axis["key"]: _category(axis["baseline"]) for axis in study.asked["axes"]}
    if setting.label != BASELINE and setting.key is not None:
        params[setting.key] = _category(setting.level)
    complete = result.status == "complete"
    return create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
        value=result.mean if complete else None,
        params=params,
        distributions=dict(distributions),
        user_attrs={
            "label": setting.label,
            "changed": setting.key or "",
            "runs": list(result.runs),
            "values": {str(s): v for s, v in zip(result.seeds, result.values, strict=True)},
            **({"reason": result.reason} if result.reason else {}),
        },
    )
