"""The stored Optuna study: a view of the whole, for Optuna's dashboard, plots and API."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from paribus.core.config.values import show_value
from paribus.core.errors import RequestError
from paribus.sweeps.study.optuna_storage import SQLITE, damage, open_storage, set_aside, sqlite_file
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

_MARK = "paribus_root"


@cache
def warm_up() -> None:
    """Do beforehand what only the first `write` of a process takes long for, in memory."""
    open_storage("sqlite://").remove_session()


def default_storage(root: ResultsDir) -> str:
    """Return the SQLite file under the root."""
    return f"{SQLITE}{root.path / 'optuna.db'}"


def storage_url(study: Study) -> str:
    """Return the storage's URL, with an absolute path for SQLite."""
    return study.asked["storage"] or default_storage(study.root)


def check_stored(study: Study, storage: str | None = None) -> None:
    """Refuse a storage that cannot be opened, or that is no place for this study.

    A database that is not there yet is not looked for: `write` makes it.

    Raises:
        RequestError: As `write` does.
    """
    url = storage or storage_url(study)
    file = sqlite_file(url)
    if file is not None and (not file.exists() or damage(url)):
        return  # `repair` makes it
    if (study.root.path / "root.json").exists():
        with _room(study, url) as opened:
            _stored(study, opened)
    else:  # a root that is not there yet can own no study
        import optuna

        with _opened(url) as opened:
            if study.name in optuna.study.get_all_study_names(opened):
                raise _foreign(study)


def repair(study: Study, storage: str | None = None) -> list[str]:
    """Set a damaged SQLite file aside and refuse a foreign study, when a sweep begins.

    Returns:
        A sentence on what has to be built anew: a file that is damaged, a study that has results
        and is not stored.

    Raises:
        RequestError: As `write` does.
    """
    url = storage or storage_url(study)
    file = sqlite_file(url)
    said: list[str] = []
    with study.root.lock("optuna", "The Optuna storage", wait=True):  # another may be repairing it
        if file is not None and (found := damage(url)):
            new = set_aside(url)
            return [f"The Optuna storage was damaged ({found}); it is now {new}, and built anew."]
    stored = None
    if file is None or file.exists():
        with _room(study, url) as opened:
            stored = _stored(study, opened)
    if stored is None and any(result.runs for result in study.results()):
        said.append(f"{study.name} was not in the Optuna storage; it is built anew from the runs.")
    return said


def write(
    study: Study,
    storage: str | None = None,
    *,
    only_add: bool = False,
    unfinished: Collection[str] = (),
) -> None:
    """Bring the stored study up to date: one trial for each setting that has ended.

    It is built anew where a finished setting changed or Optuna cannot change it in place. The same
    call rebuilds a lost database.

    Args:
        study: What was asked and what happened.
        storage: The storage's URL; None takes the study's own.
        only_add: While settings are being trained: adds those that ended before the first that has
            not, so that trials have the settings' order; leaves the rest to a later call.
        unfinished: Labels of the settings that may get more seeds.

    Raises:
        RequestError: If the storage cannot be opened, or holds a study of this name that is not
            this root's.
    """

    def has_ended(result: SettingResult) -> bool:
        return result.status != "interrupted" and result.setting.label not in unfinished

    results = study.results()
    ended = list(takewhile(has_ended, results) if only_add else filter(has_ended, results))
    distributions = {axis["key"]: _distribution(axis) for axis in study.asked["axes"]}
    # A step is a seed's place among the baseline's: by it, Optuna's pruners pair settings.
    steps = {seed: step for step, seed in enumerate(sorted(study.find(BASELINE).runs))}
    trials = [_trial(study, result, distributions, steps) for result in ended]
    with _room(study, storage or storage_url(study)) as opened:
        stored = _stored(study, opened)
        old = stored.get_trials(deepcopy=False) if stored else []
        left = {trial.user_attrs["label"]: trial for trial in trials}
        as_stored = [left.pop(there.user_attrs.get("label"), None) for there in old]
        changed = any(
            trial is None
            or there.distributions != distributions
            or _content(there) != _content(trial)
            for there, trial in zip(old, as_stored, strict=True)
        )
        if stored is None or (changed and not only_add):
            stored = _create(study, opened, anew=stored is not None)
            # In the order they had before, then the new ones: numbers stay what they were.
            places = {there.user_attrs.get("label"): place for place, there in enumerate(old)}
            trials.sort(key=lambda trial: places.get(trial.user_attrs["label"], len(places)))
            stored.add_trials(trials)
        elif not changed:
            stored.add_trials(list(left.values()))


def remove(study: Study) -> None:
    """Delete the stored study, if it is there and this root's.

    Raises:
        RequestError: If it is not this root's, or the storage cannot be opened.
    """
    import optuna

    url = storage_url(study)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return
    with _room(study, url) as opened:
        if _stored(study, opened) is not None:
            optuna.delete_study(study_name=study.name, storage=opened)


@contextmanager
def _room(study: Study, url: str) -> Iterator[Any]:
    """Open Optuna's storage, for this command alone: two cannot both make its tables."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with study.root.lock("optuna", "The Optuna storage", wait=True), _opened(url) as opened:
        yield opened


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    opened = open_storage(url)
    try:
        yield opened
    finally:
        opened.remove_session()


def _stored(study: Study, opened: Any) -> Any:
    """Return the stored study of this name; None if there is none.

    Raises:
        RequestError: If it is not this root's.
    """
    import optuna

    if study.name not in optuna.study.get_all_study_names(opened):
        return None
    stored = optuna.load_study(study_name=study.name, storage=opened)
    if stored.user_attrs.get(_MARK) == study.root.id:
        return stored
    if not stored.user_attrs and not stored.trials and _note(study).exists():
        # A kill came between its creation and its mark.
        optuna.delete_study(study_name=study.name, storage=opened)
        return None
    raise _foreign(study)


def _foreign(study: Study) -> RequestError:
    return RequestError(
        f"The Optuna storage has a study '{study.name}' that is not this root's.",
        "Name another study with --study, or another storage with --storage.",
        "foreign-study",
    )


def _create(study: Study, opened: Any, *, anew: bool) -> Any:
    """Create a stored study, marked as this root's, in place of the one that is there."""
    import optuna

    _note(study).touch()
    if anew:
        optuna.delete_study(study_name=study.name, storage=opened)
    stored = optuna.create_study(study_name=study.name, storage=opened, direction=study.direction)
    stored.set_user_attr(_MARK, study.root.id)
    stored.set_user_attr("experiment", study.experiment)
    _note(study).unlink()
    return stored


def _note(study: Study) -> Path:
    """Return the file that is there while the view is being created."""
    return study.folder / "optuna.new"


def _content(trial: Any) -> tuple[Any, ...]:
    return (
        trial.state,
        trial.values,
        trial.params,
        trial.user_attrs,
        trial.intermediate_values,
    )


def _distribution(axis: Mapping[str, Any]) -> Any:
    """Return float or int for numbers, else categorical; lists as their JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    levels = [axis["baseline"], *axis["levels"], *(axis.get("range") or ())]
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels):
        whole = all(isinstance(x, int) for x in levels)
        kind = IntDistribution if whole else FloatDistribution
        return kind(min(levels), max(levels), log=bool(axis["log"]) and min(levels) > 0)
    return CategoricalDistribution(list(dict.fromkeys(_category(x) for x in levels)))


def _category(level: Any) -> Any:
    if isinstance(level, list):
        return json.dumps(level)
    return show_value(level) if isinstance(level, Mapping) else level


def _trial(
    study: Study,
    result: SettingResult,
    distributions: Mapping[str, Any],
    steps: Mapping[int, int],
) -> Any:
    from optuna.trial import TrialState, create_trial

    setting = result.setting
    params = {axis["key"]: _category(axis["baseline"]) for axis in study.asked["axes"]}
    if setting.label != BASELINE and setting.key is not None:
        params[setting.key] = _category(setting.level)
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    return create_trial(
        state=states.get(result.status, TrialState.FAIL),
        value=result.mean if result.status == "complete" else None,
        intermediate_values={
            steps[seed]: value
            for seed, value in zip(result.seeds, result.values, strict=True)
            if seed in steps
        },
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
