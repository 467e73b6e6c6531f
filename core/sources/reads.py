"""What code of the user's reads while it is imported, while a model is built and while it trains.

Python reports every file that it opens and every module that it executes to an audit hook
(`sys.addaudithook`), and `os.environ` is made to report look-ups while something is observed.
Counted is what a frame of a user's file reads, also through a library; not what importing a
library reads. What code in C reads is not seen.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from types import CodeType, FrameType
from typing import Any, TypeVar

from paribus.core.errors import ParibusError, RequestError, shown
from paribus.core.sources.module_finder import OWN_FOLDERS, site_folders

EXPERIMENT = "paribus_experiment_"  # what the module of an experiment's file is called
Item = TypeVar("Item")


@dataclass
class Reads:
    """Names of what was read: absolute paths, variables, and files executed as modules.

    ``FOLDER/`` among the files is a folder whose names were listed.
    """

    files: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.files or self.variables or self.modules)

    def __or__(self, other: Reads) -> Reads:
        return Reads(
            self.files | other.files,
            self.variables | other.variables,
            self.modules | other.modules,
        )


@dataclass(frozen=True)
class Observed:
    """What planning saw the user's code read; a worker looks at the same again.

    Attributes:
        modules: Name to file of modules that were imported by a name that is computed.
        files: Absolute paths read, and ``FOLDER/`` listed, on import and when the model was built.
        variables: Names of environment variables looked up then.
    """

    modules: Mapping[str, Path] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


# What the import of a file read, by the file; and what everything else reads goes to the innermost
# `observing`.
_by_import: dict[str, Reads] = {}
_observers: list[Reads] = []
# What files and variables were when they were read: when a file changed, what a variable held.
_states: dict[tuple[str, str], object] = {}
_written: set[str] = set()  # files that this process wrote itself, and ``FOLDER/`` of each
# Variables that code of the user's set while observed: what they were, and what they became.
_set_by_code: dict[str, tuple[str | None, str | None]] = {}
_is_installed = False


@contextmanager
def observing(reads: Reads) -> Iterator[None]:
    """Add to `reads` what code of the user's reads meanwhile, other than by being imported."""
    global _is_installed, _copied
    if not _is_installed:
        sys.addaudithook(_audit)
        _is_installed = True
    _observers.append(reads)
    usual = type(os.environ)
    os.environ.__class__ = _ReportingEnviron
    try:
        yield
    finally:
        _observers.pop()
        os.environ.__class__ = usual
        _copied = None  # a frame keeps its variables alive


def observed_each(items: Iterator[Item], reads: Reads) -> Iterator[Item]:
    """Yield the items; add to `reads` what code of the user's reads while they are made."""
    done = object()
    while True:
        with observing(reads):
            item = next(items, done)
        if item is done:
            return
        yield item  # type: ignore[misc]


def add_from_worker(reads: Reads) -> None:
    """Add what a loader worker read for this process to what is being observed."""
    if _observers:
        _observers[-1].files |= reads.files
        _observers[-1].variables |= reads.variables
        _observers[-1].modules |= reads.modules


def has_changed() -> bool:
    """Return whether a file or variable that was read in this process is no longer what it was."""
    now = {"file": _changed_at, "variable": given_value}
    return any(now[kind](name) != state for (kind, name), state in _states.items())


def _changed_at(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def forget_imports() -> None:
    """Let all modules of the user's that were imported while observed be imported anew.

    What is read then is seen again: an id must not depend on what a process did before.
    """
    modules = _modules_by_file(list(sys.modules)) if _by_import else {}
    for file in _by_import.keys() | {m for reads in _by_import.values() for m in reads.modules}:
        name = modules.get(file)
        if name is None:
            continue
        del sys.modules[name]
        parent, _, last = name.rpartition(".")
        # `from package import module` would take the attribute, and not import it.
        if parent in sys.modules and last in vars(sys.modules[parent]):
            delattr(sys.modules[parent], last)
    _by_import.clear()
    _states.clear()


def read_by_import_of(files: Iterable[str | Path] | None = None) -> Reads:
    """Return what the import of these files, or of all, read; and of those executed in turn."""
    found, todo = Reads(), list(map(str, _by_import if files is None else files))
    seen = set()
    while todo:
        file = os.path.realpath(todo.pop())
        if file not in seen and (reads := _by_import.get(file)):
            found |= reads
            todo += reads.modules
        seen.add(file)
    return found


def module_names(files: Iterable[str], known: Iterable[str]) -> dict[str, Path]:
    """Return the names under which these real paths are imported now, to the file.

    One that was executed by its path, and is no module of the process, has the file's own name.
    Names that are `known` are taken first, where they are imported.
    """
    files = sorted(file for file in files if Path(file).is_file())
    names = _modules_by_file(known)
    if not names.keys() >= set(files):
        names = _modules_by_file(list(sys.modules)) | names  # slow: there are thousands
    return {names.get(file, Path(file).stem): Path(file) for file in files}


def _modules_by_file(names: Iterable[str]) -> dict[str, str]:
    return {
        os.path.realpath(file): name
        for name in names
        # Where it was read from: a source that a run carries says it is in its place.
        if isinstance(
            file := getattr(getattr(sys.modules.get(name), "__spec__", None), "origin", None), str
        )
        and is_users(file)
        and not name.startswith(EXPERIMENT)
    }


@cache
def is_users(file: str) -> bool:
    """Return whether a file is the user's: not the standard library's, installed, or ours."""
    # As it is spelled first: most files need no look at the disk.
    return not file.startswith(_others()) and not os.path.realpath(file).startswith(_others())


@contextmanager
def refusing(what: str, hint: str) -> Iterator[None]:
    """Turn any exception that the user's code raises in the block into a `RequestError`.

    Its message is `what`, the exception's type and message, and the last line of the user's code.
    """
    try:
        yield
    except ParibusError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {shown(error, 300).rstrip('.')}"
        own = [f for f in traceback.extract_tb(error.__traceback__) if is_users(f.filename)]
        at = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise RequestError(f"{what}: {why}{at}.", hint) from error


@cache
def _others() -> tuple[str, ...]:
    stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    folders = [*stdlib, *site_folders(), *OWN_FOLDERS]
    both = {*folders, *map(os.path.realpath, folders)}
    return ("<", *(f"{folder}/" for folder in both))


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _observers:
        return
    if event in ("open", "os.listdir", "os.scandir"):
        frame, path = sys._getframe(1), arguments[0]
        if not isinstance(path, str | bytes | os.PathLike | None) or not _by_user(frame):
            return
        name, reads = os.path.realpath(os.fsdecode(path or ".")), _target(frame)
        if event != "open":
            folders, by = (Path(name), *Path(name).parents), frame.f_code.co_filename
            # Imports, and look-ups of distributions, list the folders of `sys.path`.
            if any(map(is_byproduct, folders)) or ("importlib" in by and not is_users(by)):
                return
            name += "/"
        elif arguments[2] & _WRITES or set(arguments[1] or "") & set("wax"):
            folder = f"{Path(name).parent}/"
            _written.update((name, folder))
            reads.files.discard(folder)
            return
        elif os.path.isdir(name) or "/__pycache__/" in name:  # noqa: PTH112
            return
        if name not in _written and not name.startswith(_SPECIAL) and is_users(name):
            reads.files.add(name)
            _states["file", name] = _changed_at(name)
    elif event == "exec":
        code = arguments[0]
        if isinstance(code, CodeType) and code.co_name == "<module>" and is_users(code.co_filename):
            file = os.path.realpath(code.co_filename)
            _by_import.setdefault(file, Reads())
            _target(sys._getframe(1), past_imports=True).modules.add(file)
            _states["file", file] = _changed_at(file)


# `r+` is not among them: what is changed in its place is read, as by `numpy.memmap`.
_WRITES = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_EXCL
_SPECIAL = ("/proc/", "/sys/", "/dev/")


def is_byproduct(folder: Path) -> bool:
    """Return whether the names in a folder never count: a cache's, and those of results."""
    names = ("__pycache__", ".ipynb_checkpoints")
    return folder.name in names or os.path.exists(folder / "root.json")  # noqa: PTH110


def _by_user(frame: FrameType | None) -> bool:
    """Return whether a frame of the user's called for this, and no import of a library did."""
    while frame is not None and not _imports(frame) and not _is_own(frame.f_code.co_filename):
        if is_users(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def _imports(frame: FrameType) -> bool:
    code = frame.f_code
    # Loaders also read what they are asked for: `pkgutil.get_data`.
    return code.co_name == "_find_and_load" and code.co_filename.startswith("<frozen importlib")


@cache
def _is_own(file: str) -> bool:
    """Return whether a source file is paribus' own: who called it does not matter."""
    return os.path.realpath(file).startswith(tuple(f"{folder}/" for folder in OWN_FOLDERS))


def _target(frame: FrameType | None, *, past_imports: bool = False) -> Reads:
    """Return where to add what a frame reads: the import that it is part of, else the observer."""
    while frame is not None and (past_imports or not _imports(frame)):
        code = frame.f_code
        if _is_own(code.co_filename):
            break
        if code.co_name == "<module>" and is_users(code.co_filename):
            return _by_import.setdefault(os.path.realpath(code.co_filename), Reads())
        frame = frame.f_back
    return _observers[-1]


class _ReportingEnviron(type(os.environ)):  # type: ignore[misc]
    """`os.environ` while something is observed."""

    def __getitem__(self, name: str) -> str:
        frame = sys._getframe(1)
        at_all = (frame, frame.f_lasti) == _copied
        while frame.f_back and frame.f_code.co_filename in _LOOKUPS:
            at_all |= frame.f_code.co_name in _NO_LOOKUPS
            frame = frame.f_back
        if is_users(frame.f_code.co_filename) and not at_all:
            _target(frame).variables.add(name)
            _states["variable", name] = given_value(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: str) -> None:
        before = given_value(name)
        super().__setitem__(name, value)
        _set_by_code[name] = before, value

    def __delitem__(self, name: str) -> None:
        before = given_value(name)
        super().__delitem__(name)
        _set_by_code[name] = before, None

    def keys(self) -> Any:
        # `dict(os.environ)` is no look-up of any one: keys and values in one instruction.
        global _copied
        frame = sys._getframe(1)
        _copied = frame, frame.f_lasti
        return super().keys()


_copied: tuple[FrameType, int] | None = None
# What looks a variable up for its caller; and what looks at all of them, or for a place.
_LOOK_UP = (os.getenv, os.environ.get, os.path.expandvars, Template.substitute, ChainMap.get)
_LOOKUPS = {function.__code__.co_filename for function in _LOOK_UP}
_NO_LOOKUPS = {"__iter__", "expanduser"}


def given_value(name: str) -> str | None:
    """Return a variable's value, as before the user's code set it; None: not set."""
    value = os.environ.get(name)
    before, after = _set_by_code.get(name, (value, value))
    return before if value == after else value


def given_environment() -> dict[str, str]:
    """Return all variables, as before the user's code set them."""
    names = {*os.environ, *_set_by_code}
    return {name: value for name in names if (value := given_value(name)) is not None}
