"""Digests and values of what code of the user's read, as ids and records have them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from paribus.core.runtime import PINNED
from paribus.core.sources.reads import Reads, given_value, read_by_import_of

_MANY = 1000  # files of one folder
# Set by paribus itself, or for it.
_NOT_COUNTED = {*PINNED, "CUDA_VISIBLE_DEVICES", "PARIBUS_ROOT", "PARIBUS_RESTARTED"}
_SECRET = {"KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASS"}
_SECRET |= {"CREDENTIAL", "CREDENTIALS", "AUTH", "DSN"}


def read_later(reads: Reads, before: Reads, folder: Path) -> dict[str, dict[str, str | None]]:
    """Return digests of files and values of variables that were read, other than `before`.

    Paths inside the folder are relative to it: a project may be moved. Many files of one folder
    are one entry, ``FOLDER/*``.
    """
    read = reads | read_by_import_of()
    by_folder: dict[Path, list[Path]] = {}
    for file in (read.files | read.modules) - before.files - before.modules:
        by_folder.setdefault(Path(file).parent, []).append(Path(file))
    files = {}
    for parent, inside in sorted(by_folder.items()):
        for path in sorted(inside) if len(inside) <= _MANY else [parent / "*"]:
            near = path.is_relative_to(folder)
            files[str(path.relative_to(folder) if near else path)] = _file_digest(str(path))
    return {"files": files, "variables": values_of(read.variables - before.variables)}


def changed_since(
    files: Mapping[str, str | None], variables: Mapping[str, str | None], folder: Path
) -> list[str]:
    """Return the names in what `read_later` returned that are not as they were."""
    now = {name: _file_digest(str(folder / name)) for name in files}
    return sorted(
        [name for name, digest in now.items() if digest != files[name]]
        + [name for name, value in values_of(variables).items() if value != variables[name]]
    )


def is_secret(name: str) -> bool:
    """Return whether a variable looks like a secret by its name."""
    return bool(_SECRET & set(name.upper().split("_")))


def values_of(names: Iterable[str]) -> dict[str, str | None]:
    """Return the variables' values as `given_value`.

    Of an absolute path it says only that it is one: where something lies is no part of an id, and
    what is read there counts by content. Secrets are left out.
    """
    found = {}
    for name in sorted(names):
        if name not in _NOT_COUNTED and not is_secret(name):
            value = given_value(name)
            found[name] = "(path)" if (value or "").startswith("/") else value
    return found


def digests_of(files: Iterable[str]) -> dict[str, str | None]:
    """Return the sha256 of files by their paths; None: there is no such file."""
    return {file: _file_digest(file) for file in sorted(files)}


def by_base_name(digests: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return digests by the files' names without their folders, which are no part of an id."""
    found: dict[str, str | None] = {}
    for digest, name in sorted((str(v), Path(path).name) for path, v in digests.items()):
        number, key = 1, name
        while key in found:
            number += 1
            key = f"{name} ({number})"
        found[key] = None if digest == "None" else digest
    return dict(sorted(found.items()))


def _file_digest(file: str) -> str | None:
    """Return the sha256 of a file; of ``FOLDER/*`` that of all names and files in it."""
    path = Path(file)
    try:
        if path.name == "*":
            inside = sorted(name for name in path.parent.iterdir() if name.is_file())
            text = json.dumps([[name.name, _file_digest(str(name))] for name in inside])
            return hashlib.sha256(text.encode()).hexdigest()
        if not path.is_file():  # it is gone, a folder, or a device without end
            return None
        status = path.stat()
        return _content_digest(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@cache
def _content_digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
