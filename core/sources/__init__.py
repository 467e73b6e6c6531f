"""Which source text an object of a user's file or module depends on.

An object depends on its definition and on every top-level name that this uses, through imports
into the user's other modules. Files are parsed and modules found, but nothing is executed. A module
that cannot be found is left out: importing it fails elsewhere, with its own message. A name in a
string (`importlib.import_module("mine")`) is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from paribus.core.errors import Faults
from paribus.core.sources.finder import Finder, Owner, known_owner
from paribus.core.sources.statements import Module, read_statements, tree_digest
from paribus.core.sources.trace import Trace

__all__ = ["Owner", "Sources", "owner", "trace_file", "trace_module", "tree_digest"]

_CONFIGURATION = frozenset({"BASELINE", "AXES"})  # counts as resolved values, not as source


@dataclass(frozen=True)
class Sources:
    """What some objects depend on.

    Attributes:
        digests: ``mine.py:Net`` or ``mypackage.nets:Net`` to the sha256 of its syntax trees.
        distributions: Import name of each installed package they use to its version.
        files: Path inside a record's ``source/`` folder to the file on disk: all files of the
            user's that are needed to import these objects from there.
    """

    digests: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def __or__(self, other: Sources) -> Sources:
        return Sources(
            dict(sorted((self.digests | other.digests).items())),
            dict(sorted((self.distributions | other.distributions).items())),
            dict(sorted((self.files | other.files).items())),
        )


def trace_file(file: Path, names: Iterable[str]) -> Sources:
    """What objects of an experiment file depend on.

    Raises:
        RequestError: If the file lacks one of the names, or a file cannot be read or parsed.
    """
    file = file.absolute()
    package: list[str] = []
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        package.insert(0, folder.name)
    root = Module("", ".".join(package), file, read_statements(file, _CONFIGURATION))
    trace = Trace(Finder(file.parent, folder), root)
    faults, digests = Faults(), {}
    for name in sorted(set(names)):
        with faults.collecting():
            digests[f"{file.name}:{name}"] = trace.digest(root, name, file.name)
    faults.check()
    trace.modules.add(root)
    return Sources() | Sources(digests, trace.distributions, trace.files())


def trace_module(dotted: str) -> Sources:
    """What the object at a dotted path depends on: for an installed one, a name and a version.

    Raises:
        RequestError: If a module of the user's lacks the name, or cannot be read or parsed.
    """
    trace = Trace(Finder())
    parts = dotted.split(".")
    for length in range(max(len(parts) - 1, 1), 0, -1):  # the last part is no module's name
        name, rest = ".".join(parts[:length]), ".".join(parts[length:])
        module = trace.load(name)
        if module is not None:
            digest = trace.digest(module, rest, name)
            if trace.modules:  # else it is an installed part of a namespace package
                digests = {f"{name}:{rest}" if rest else name: digest}
                return Sources() | Sources(digests, trace.distributions, trace.files())
    trace.note(dotted)
    return Sources() | Sources(distributions=trace.distributions)


def owner(module: str) -> Owner:
    """Whose a module is; 'own' is this package. One that cannot be found counts as the user's."""
    return known_owner(module) or Finder().owner(module)
