"""The stored Optuna study: a view of the whole, for Optuna's dashboard, plots and API.

It is written from the record and never read by a sweep; only a study that bears the root's id is
replaced.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, shown
from paribus.core.fileio import user_path
from paribus.sweeps.formatting import without_credentials
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import AxisRecord, Study

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import URL

_MARK = "paribus_root"  # attribute of a stored study: the id of its root
_SERVER = "postgresql+psycopg://USER:PASSWORD@HOST/DB"
_CONNECT_SECONDS = 10  # for a server to answer in, while training may wait


def checked_storage(url: str) -> str:
    """Return the URL of a database, a SQLite path in a folder that is there made absolute."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    hint = f"Such as sqlite:///FILE or {_SERVER}, or leave it out."
    place = without_credentials(url)[:100]
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except ImportError as error:
        why = f"--storage {place}: its driver is not installed: {shown(error, 200)}."
        if url.startswith("postgresql"):
            hint = f"Give: pip install 'paribus[postgresql]', and such as {_SERVER}."
        raise RequestError(why, hint) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise RequestError(f"--storage {place} is no URL of a database.", hint) from error
    if "@" in (parsed.host or ""):  # it would be part of a message
        raise RequestError(f"--storage {place} has an @ too many.", "Write %40 in a password.")
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return url
    file = user_path(parsed.database).absolute()
    if not file.parent.is_dir():
        raise RequestError(f"--storage: there is no folder {file.parent}.", hint)
    return _text(parsed.set(database=str(file)))


def url_of(study: Study) -> str:
    """Return the URL of a study's storage, with its secrets."""
    from sqlalchemy.engine import URL

    own = study.root.path / "optuna.db"
    return study.storage or _text(URL.create("sqlite", database=str(own)))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@cache
def warm_up() -> None:
    """Do beforehand what only the first `write` of a process takes long for, in memory."""
    with _open("sqlite://"):
        pass


def check_stored(study: Study) -> None:
    """Refuse a storage that cannot be opened, or that has another root's study of this name.

    A database that is not there yet is not looked for: `write` makes it, and its tables.
    """
    file = _sqlite_file(study)
    there = _has_tables(url_of(study)) if file is None else file.exists() and not _damage(file)
    if there:  # else `repair` makes it
        try:
            with _opened(study):  # which refuses it
                pass
        except _Unreadable:
            if file is None:
                raise


def repair(study: Study) -> list[str]:
    """Set a damaged SQLite file aside and refuse a foreign study, when a sweep begins.

    Return a sentence on what has to be built anew: a file that is damaged, a study that has results
    and is not stored.
    """
    file = _sqlite_file(study)
    with _lock(study):  # another command may be repairing it
        if file is not None and (found := _damage(file)):
            return [_set_aside(file, found)]
    if file is None or file.exists():
        try:
            with _opened(study) as (_, stored):
                if stored is not None:
                    return []
        except _Unreadable as error:
            if file is None:
                raise
            with _lock(study):
                return [_set_aside(file, repr(error.__cause__))]
    if any(result.runs for result in study.results()):
        return [f"{study.name} was not in the Optuna storage; it is built anew from the runs."]
    return []


def write(study: Study, *, only_add: bool = False, unfinished: Collection[str] = ()) -> None:
    """Bring the stored study up to date: one trial for each setting that has ended.

    It is built anew where a finished setting changed or Optuna cannot change it in place. The same
    call rebuilds a lost database. A storage that cannot be opened, and another root's study of this
    name, are refused.

    Args:
        study: What was requested and what happened.
        only_add: While settings are being trained: adds those that ended before the first that has
            not, so that trials have the settings' order; leaves the rest to a later call.
        unfinished: Labels of the settings that may get more seeds.
    """

    def has_ended(result: SettingResult) -> bool:
        return result.status != "interrupted" and result.label not in unfinished

    results = study.results()
    ended = takewhile(has_ended, results) if only_add else filter(has_ended, results)
    distributions = {axis.key: _distribution(axis) for axis in study.requested.axes}
    # A step is a seed's place among the baseline's: by it, Optuna's pruners pair settings.
    steps = {seed: step for step, seed in enumerate(sorted(study.find(BASELINE).runs))}
    wanted = {result.label: _trial(study, result, distributions, steps) for result in ended}
    with _opened(study) as (opened, stored):
        old = stored.get_trials(deepcopy=False) if stored else []
        # In the order they had before, then the new ones: numbers stay what they were.
        labels = dict.fromkeys([*(there.user_attrs.get("label", "") for there in old), *wanted])
        trials = [wanted[label] for label in labels if label in wanted]
        unchanged = len(old) <= len(trials) and all(map(_is_equal, old, trials))
        if stored is None or not (unchanged or only_add):
            stored, old, unchanged = _create(study, opened, anew=stored is not None), [], True
        if unchanged:
            stored.add_trials(trials[len(old) :])


def remove(study: Study) -> None:
    """Delete the stored study, if it is there; raise as `write` does."""
    import optuna

    file = _sqlite_file(study)
    if file is None or file.exists():
        with _opened(study) as (opened, stored):
            if stored is not None:
                optuna.delete_study(study_name=study.name, storage=opened)


# The storage: a SQLite file or a server.


def _sqlite_file(study: Study) -> Path | None:
    """Return the file of a SQLite storage; None for a server's."""
    from sqlalchemy.engine import make_url

    url = make_url(url_of(study))
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _damage(file: Path) -> str | None:
    """Return what is wrong with a SQLite file; None if nothing, or if there is none."""
    if not file.exists() or file.stat().st_size == 0:
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:  # locked or unreadable, which is no damage
        return None
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of a text, or a message on it
        return str(error)
    return None if found == "ok" else str(found).replace("\n", " ")


def _set_aside(file: Path, damage: str) -> str:
    """Rename a damaged SQLite file, with the journals beside it; return a sentence that says so."""
    number = 1
    while (new := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", "-journal", ""):
        beside = file.with_name(file.name + suffix)
        if beside.exists():
            beside.rename(f"{new}{suffix}")
    why = shown(damage, 200)
    return f"The Optuna storage was damaged ({why}); it is now {new}, and built anew."


@contextmanager
def _open(url: str) -> Iterator[BaseStorage]:
    """Open Optuna's storage of a URL, or raise a `RequestError`; close it at the end."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _connecting(url) as given:
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": given})
        cached = optuna.storages.get_storage(storage)
    try:
        yield cached
    finally:
        cached.remove_session()
        storage.engine.dispose()  # a server has so many connections, and no more


def _has_tables(url: str) -> bool:
    """Return whether a server's database has Optuna's tables; raise as `_open` does."""
    from sqlalchemy import create_engine, inspect

    with _connecting(url) as given:
        engine = create_engine(url, connect_args=given)
        try:
            return inspect(engine).has_table("studies")
        finally:
            engine.dispose()


@contextmanager
def _connecting(url: str) -> Iterator[dict[str, Any]]:
    """Give the driver's arguments of a connection; make a `RequestError` of what goes wrong."""
    from sqlalchemy.engine import make_url

    try:
        parsed, given = make_url(url), dict[str, Any]()
        if parsed.get_backend_name() == "sqlite":
            given["factory"] = _Unsynced
        elif "psycopg" in parsed.get_driver_name():
            given["connect_timeout"] = parsed.query.get("connect_timeout", _CONNECT_SECONDS)
        yield given
    except Exception as error:
        place = without_credentials(url)
        text = str(error).split("\n")[0].replace(url, place)
        hint = "Give --storage sqlite:///FILE, or leave it out."
        if not url.startswith("sqlite"):
            hint = "Give --storage URL with user and password, as they are not recorded."
        raise RequestError(
            f"The Optuna storage {place} cannot be opened: {text.rstrip('.')}.", hint
        ) from None


class _Unsynced(sqlite3.Connection):
    """A connection that waits for no disk: what a power cut damages is built anew.

    Else each trial is a commit of several syncs.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA synchronous = OFF")


def _lock(study: Study) -> AbstractContextManager[None]:
    return study.root.lock("optuna", "The Optuna storage", wait=True)


class _Unreadable(RequestError):
    """A storage that opens, but whose rows are not Optuna's."""


@contextmanager
def _opened(study: Study) -> Iterator[tuple[BaseStorage, optuna.Study | None]]:
    """Open the storage, and the study there, for this command: two cannot both make its tables."""
    with _lock(study) if study.root.id else nullcontext(), _open(url_of(study)) as storage:
        try:
            stored = _stored(study, storage)
            if stored is not None:
                stored.get_trials(deepcopy=False)
        except RequestError:
            raise
        except Exception as error:
            raise _Unreadable(
                f"The Optuna storage {without_credentials(url_of(study))} cannot be read: "
                f"{shown(repr(error), 200)}.",
                "Move it away; the next sweep builds it anew from the runs.",
            ) from error
        yield storage, stored


def _stored(study: Study, opened: BaseStorage) -> optuna.Study | None:
    """Return the stored study of this name, None if there is none; refuse another root's."""
    import optuna

    if study.name not in optuna.study.get_all_study_names(opened):
        return None
    stored = optuna.load_study(study_name=study.name, storage=opened)
    if stored.user_attrs.get(_MARK, "") == study.root.id:
        return stored
    if not stored.user_attrs and not stored.trials and _note(study).exists():
        # A kill came between its creation and its mark.
        optuna.delete_study(study_name=study.name, storage=opened)
        return None
    raise RequestError(
        f"The Optuna storage has a study '{study.name}' that is not this root's.",
        "Name another study with --study, or another storage with --storage.",
    )


def _create(study: Study, opened: BaseStorage, *, anew: bool) -> optuna.Study:
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
    """Return the file that is there while the stored study is being created."""
    return study.folder / "optuna.new"


# A setting as a trial.


def _is_equal(stored: FrozenTrial, trial: FrozenTrial) -> bool:
    content = ("state", "values", "params", "distributions", "user_attrs", "intermediate_values")
    return all(getattr(stored, name) == getattr(trial, name) for name in content)


def _distribution(axis: AxisRecord) -> BaseDistribution:
    """Return float or int for numbers, else categorical; lists as their JSON text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    levels = [axis.baseline, *axis.levels, *(axis.range or ())]
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels):
        whole = all(isinstance(x, int) for x in levels)
        kind = IntDistribution if whole else FloatDistribution
        return kind(min(levels), max(levels), log=axis.log and min(levels) > 0)
    return CategoricalDistribution(list(dict.fromkeys(_category(x) for x in levels)))


def _category(level: Any) -> Any:
    if isinstance(level, list):
        return json.dumps(level)
    return show_value(level) if isinstance(level, Mapping) else level


def _trial(
    study: Study,
    result: SettingResult,
    distributions: Mapping[str, BaseDistribution],
    steps: Mapping[int, int],
) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    setting = result.setting
    params = {axis.key: _category(axis.baseline) for axis in study.requested.axes}
    if setting.key is not None:
        params[setting.key] = _category(setting.level)
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    by_seed = dict(zip(result.seeds, result.values, strict=True))
    return create_trial(
        state=states.get(result.status, TrialState.FAIL),
        value=result.mean if result.status == "complete" else None,
        intermediate_values={steps[seed]: x for seed, x in by_seed.items() if seed in steps},
        params=params,
        distributions=dict(distributions),
        user_attrs={
            "label": setting.label,
            "changed": setting.key or "",
            "runs": list(result.runs),
            "values": {str(seed): value for seed, value in by_seed.items()},
            **({"reason": result.reason} if result.reason else {}),
        },
    )
