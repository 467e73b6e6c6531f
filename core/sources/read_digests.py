"""Digests and values of what code of the user's read, as ids and records have them."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import count
from pathlib import Path

from paribus.core.fileio import sha256_file
from paribus.core.runtime import PINNED
from paribus.core.sources.reads import Reads, given_value, is_byproduct, read_by_import_of

_MANY = 1000  # files of one folder
# Set by paribus itself, or for it.
_NOT_COUNTED = {*PINNED, "CUDA_VISIBLE_DEVICES", "PARIBUS_ROOT", "PARIBUS_RESTARTED"}
_SECRET = {"KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASS"}
_SECRET |= {"CREDENTIAL", "CREDENTIALS", "AUTH", "DSN"}


def read_later(reads: Reads, before: Reads, folder: Path) -> dict[str, dict[str, str | None]]:
    """Return digests of files and values of variables that were read, other than `before`.

    Paths inside the folder are relative to it: a project may be moved. A folder whose names were
    listed is ``FOLDER/``; many files of one folder are one entry, ``FOLDER/*``.
    """
    read = reads | read_by_import_of()
    by_folder: dict[str, list[str]] = {}
    for file in sorted((read.files | read.modules) - before.files - before.modules):
        by_folder.setdefault(file.rpartition("/")[0], []).append(file)
    files = {}
    for parent, inside in by_folder.items():
        for path in inside if len(inside) <= _MANY else [f"{parent}/*"]:
            files[path.removeprefix(f"{folder}/") or "./"] = _file_digest(path)
    return {"files": files, "variables": values_of(read.variables - before.variables)}


def changed_since(
    files: Mapping[str, str | None], variables: Mapping[str, str | None], folder: Path
) -> dict[str, list[str | None]]:
    """Return what of `read_later` is not as it was, by name: ``[then, now]``."""
    # Joined so that `FOLDER/` keeps its end.
    now = {name: _file_digest(os.path.join(folder, name)) for name in files}  # noqa: PTH118
    now |= values_of(variables)
    then = {**files, **variables}
    return {name: [then[name], now[name]] for name in sorted(now) if then[name] != now[name]}


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


def by_base_name(digests: Mapping[str, str | None], project: Path) -> dict[str, str | None]:
    """Return digests by the files' names: where a project lies is no part of an id.

    Files of one name have as much of their paths as tells them apart. The project's folder is
    ``./``, the one above it ``../``.
    """
    found = {}
    by_name: dict[tuple[str, str], list[str]] = {}
    for path, digest in digests.items():
        end = "/" if path.endswith("/") else ""
        if end and project.is_relative_to(path):
            found[os.path.relpath(path, project) + end] = digest
        else:
            by_name.setdefault((Path(path).name, end), []).append(path)
    for (_, end), paths in by_name.items():
        common = os.path.commonpath([Path(path).parent for path in paths])
        parts = [Path(path).relative_to(common).parts for path in paths]
        length = next(n for n in count(1) if len({part[-n:] for part in parts}) == len(parts))
        for path, part in zip(paths, parts, strict=True):
            found["/".join(part[-length:]) + end] = digests[path]
    return dict(sorted(found.items()))


def _file_digest(file: str) -> str | None:
    """Return the sha256 of a file, of the names of ``FOLDER/``, or of all files of ``FOLDER/*``."""
    path = Path(file)
    try:
        if path.name == "*":
            inside = sorted(name for name in path.parent.iterdir() if name.is_file())
            return _text_digest([[name.name, _file_digest(str(name))] for name in inside])
        if file.endswith("/"):
            return _text_digest(sorted(p.name for p in path.iterdir() if not is_byproduct(p)))
        if not path.is_file():  # it is gone, a folder, or a device without end
            return None
        status = path.stat()
        return _content_digest(path, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):  # a record may name anything
        return None


def _text_digest(names: object) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


@cache
def _content_digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    # Files of /proc say of themselves that they are empty; some of them are waited for.
    return sha256_file(path) if size else hashlib.sha256().hexdigest()
