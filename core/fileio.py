"""Files that survive a power cut: written whole, synced, renamed.

A rename without a sync loses the file, and a write in place loses the old one when the disk is
full. So: temporary file, fsync, rename, fsync of the folder.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paribus.core.errors import DamagedError, RequestError

MANIFEST = "manifest.json"


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_path(text: str | Path) -> Path:
    """Return the path that a person named; only a whole first part ``~`` or ``~USER`` is a home.

    The text decides: `Path` makes ``~x`` of ``./~x``.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111


def existing(name: str) -> Path | None:
    """Return the path that a person's or a record's text names, if there is something."""
    try:
        path = user_path(name)
        return path if path.exists() else None
    except (OSError, ValueError):  # too long, a zero byte
        return None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole; on any failure the old one stays and nothing else is left.

    Only a kill leaves the temporary file, which the next write of the same file takes. Two
    processes never write one file: the writer holds its lock, or owns its folder.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write_synced(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder that is nothing yet, and last the manifest that makes it whole."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(path, content)
    for parent in {parent for name in files for parent in Path(name).parents}:
        sync_folder(folder / parent)
    write_json(folder / MANIFEST, {
        name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())
    })  # fmt: skip


def json_text(value: Any) -> str:
    """Return JSON to be read by people: a line for each entry of a dictionary, or for numbers."""
    return _indented(value, "\n")


_plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _indented(value: Any, line: str) -> str:
    more = line + "  "
    if isinstance(value, dict) and value:
        entries = [f"{_plain(str(key))}: {_indented(each, more)}" for key, each in value.items()]
        return "{" + more + f",{more}".join(entries) + line + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + more + f",{more}".join(_indented(each, more) for each in value) + line + "]"
    return _plain(value)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file as a whole. Numbers that are not finite are refused."""
    write_bytes(path, json_text(value).encode() + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raise DamagedError if that cannot be done."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}).") from error


def append_line(path: Path, value: Any) -> None:
    """Append one line of JSON, synced."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line that a kill cut off must not take this one with it
                line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """Return all lines of a file of JSON lines; lines that were cut off are left out."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return lines


def verify_manifest(folder: Path, only: tuple[str, ...] | None = None) -> None:
    """Compare files, all or `only` these, with the manifest; raise DamagedError at the first."""
    for fault in manifest_faults(folder, only):
        raise DamagedError(fault)


def manifest_faults(folder: Path, only: tuple[str, ...] | None = None) -> Iterator[str]:
    """Yield a sentence for each file that is not what the manifest says."""
    try:
        manifest = read_json(folder / MANIFEST)
    except DamagedError as error:
        yield error.message
        return
    if not isinstance(manifest, dict) or not (folder / MANIFEST).read_bytes().endswith(b"}\n"):
        yield f"{folder / MANIFEST}: is not a whole manifest."
        return
    for name in only or ():
        if name not in manifest:
            yield f"{folder / name}: is not in the manifest."
    for name, digest in manifest.items():
        if only is not None and name not in only:
            continue
        path = folder / name.replace("\0", "?")
        if not _is_within(folder, path):
            yield f"{path}: is missing, though the manifest names it."
        elif sha256_file(path) != digest:
            yield f"{path}: does not hold what was written (sha256 differs)."
    if only is None:  # what is imported from there must have been there
        for path in sorted((folder / "source").rglob("*.py")):
            if str(path.relative_to(folder)) not in manifest:
                yield f"{path}: was not there when the run was finished."


def _is_within(folder: Path, path: Path) -> bool:
    """Return whether this is a file in the folder or its folders, and no link leads to it."""
    # Not Path.is_file: it raises for names that no file can have.
    if not (path.is_relative_to(folder) and os.path.isfile(path)):  # noqa: PTH113
        return False
    return path.resolve() == folder.resolve() / path.relative_to(folder)


@contextmanager
def creating(what: str, option: str = "--root DIR") -> Iterator[None]:
    """Turn a refusal of the file system into a message that says which place it was."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"{what} cannot be written: {error.strerror or error}.",
            f"Name another place with {option}.",
        ) from error


DATA_FOLDER = "PARIBUS_DATA"  # set where the root is known, and inherited by workers


def data_folder() -> Path:
    """Return the root's folder ``data``, where data sets render and cache; it may not exist yet."""
    root = os.environ.get("PARIBUS_ROOT") or "results"
    return Path(os.environ.get(DATA_FOLDER) or Path(root, "data")).absolute()
