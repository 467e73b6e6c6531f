"""URLs of Optuna storages: read, checked, opened, and shown without their secrets."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from paribus.core.errors import RequestError

SQLITE = "sqlite:///"


def absolute(url: str) -> str:
    """Return the same URL with a relative SQLite path made absolute."""
    if url.startswith(SQLITE) and not url.startswith(SQLITE + "/"):
        return SQLITE + str(Path(url.removeprefix(SQLITE)).expanduser().absolute())
    return url


def checked_storage(url: str) -> str:
    """Return a storage's URL with an absolute path, refused if it cannot work; creates nothing.

    Raises:
        RequestError: If it is no URL of a database, or its folder is not there.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    hint = "Such as sqlite:///FILE, or leave it out."
    url = absolute(url)
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except ImportError as error:
        raise RequestError(
            f"--storage {without_credentials(url)[:100]}: its driver is not installed: {error}.",
            hint,
            "storage",
        ) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise RequestError(
            f"--storage {without_credentials(url)[:100]} is no URL of a database.", hint, "storage"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        folder = Path(parsed.database).parent
        if not folder.is_dir():
            raise RequestError(f"--storage: there is no folder {folder}.", hint, "storage")
    return url


def damage(url: str) -> str | None:
    """Return what is wrong with a SQLite file; None if nothing, or if there is none."""
    file = sqlite_file(url)
    if file is None or not file.exists() or file.stat().st_size == 0:
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:  # locked, or not to be read: not for us to judge
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else str(found).replace("\n", " ")


def set_aside(url: str) -> Path:
    """Rename a damaged SQLite file, with the journals beside it; return its new name."""
    file = sqlite_file(url)
    assert file is not None
    number = 1
    while (new := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", "-journal"):
        beside = file.with_name(file.name + suffix)
        if beside.exists():
            beside.rename(f"{new}{suffix}")
    file.rename(new)
    return new


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for a server's."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def without_credentials(url: str) -> str:
    """Return the URL as it may be written down: no user, no password, no options."""
    scheme, separator, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        return url
    # A password may hold '/', ':' and '@': nothing before the last '@' is shown.
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]


def open_storage(url: str) -> Any:
    """Open Optuna's storage of a URL.

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
