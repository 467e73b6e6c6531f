"""Which source text an object of a user's file or module depends on.

An object depends on its definition and on every top-level name that this uses, through imports
into the user's other modules. Files are parsed and modules found, but nothing is executed. A
module that cannot be found is left out: importing it fails elsewhere, with its own message. A
name in a string (`importlib.import_module("mine")`) is not followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.sources.module_finder import Finder, Owner, known_owner, version_of
from paribus.core.sources.statements import Module, Statement, read_statements, with_parents

_ALWAYS_RECORDED = frozenset({"torch", "numpy"})  # part of every run's environment

Bindings = list[tuple[Module, Statement]]


class Trace:
    """Follows names through the user's modules, each parsed once."""

    def __init__(self, finder: Finder, root: Module | None = None) -> None:
        self._finder, self._root = finder, root
        self._loaded: dict[str, Module | None] = {}
        self.modules: set[Module] = set()
        self.distributions: dict[str, str] = {}

    def note(self, module: str) -> None:
        """Record the version of an installed module."""
        top = module.partition(".")[0]
        if top not in _ALWAYS_RECORDED and self._finder.owner(module) == "installed":
            self.distributions[top] = version_of(top)

    def load(self, name: str) -> Module | None:
        """Return the user's module of that name, or None if there is none."""
        if name not in self._loaded:
            place = self._finder.find(name) if self._finder.owner(name) == "user" else None
            root, path = self._root, place.file if place else None
            if place is None:
                self._loaded[name] = None
            elif root and path and root.path and path.samefile(root.path):
                self._loaded[name] = root
            else:
                package = name if place.folders else name.rpartition(".")[0]
                statements = read_statements(path) if path else []
                self._loaded[name] = Module(name, package, path, statements)
        return self._loaded[name]

    def reach(self, name: str, member: str | None, asker: Module | None = None) -> Bindings:
        """Return the statements that bind a member of a module; all of the module for None."""
        module = self.load(name)
        if module is None:
            self.note(name)
            return []
        if member is None:
            return [(module, statement) for statement in module.statements]
        inner = f"{name}.{member}"
        # `from . import nets` in a package's own __init__.py: that is the submodule.
        if (module is asker or not module.binding(member)) and self._finder.find(inner):
            return self.reach(inner, None)
        return self.bindings(module, member)

    def bindings(self, module: Module, name: str) -> Bindings:
        """Return the statements of a module that bind a name."""
        found = module.binding(name) or module.binding("__getattr__")
        return [(module, statement) for statement in [*found, *module.binding_any]]

    def digest(self, module: Module, dotted: str, where: str) -> str:
        """Return the sha256 of all that an object (`Net`, `Net.small`; "" for all) depends on."""
        name = dotted.partition(".")[0]
        todo = self.reach(module.name, name or None) if module.name else self.bindings(module, name)
        if not todo and name and module.path:
            message = f"{shown(where)} has no object named '{shown(name)}'."
            raise RequestError(message, did_you_mean(name, module.names()), "unknown-object")
        closure: dict[Module, set[Statement]] = {}
        while todo:
            part, statement = todo.pop()
            if statement in closure.setdefault(part, set()):
                continue
            closure[part].add(statement)
            todo += [(part, s) for used in statement.uses for s in part.binding(used)]
            for node in statement.imports:
                for other, member in part.targets(node):
                    todo += self.reach(other, member, asker=part)
        self.modules.update(closure)
        text = hashlib.sha256()
        for part in sorted(closure, key=lambda part: part.name):
            lines = [s.text for s in part.statements if s in closure[part]]
            text.update("\n".join([part.name, *lines, ""]).encode())
        return text.hexdigest()

    def files(self) -> dict[str, Path]:
        """Return the files of all modules reached, and of all that importing these imports."""
        found: dict[str, Path] = {}
        todo, seen = list(self.modules), set()
        while todo:
            module = todo.pop()
            if module in seen:
                continue
            seen.add(module)
            if module.path:
                folders = module.name.split(".")
                if module.path.stem != "__init__":
                    folders.pop()
                found["/".join([*folders, module.path.name])] = module.path
            names = {module.name}
            for node in (node for statement in module.statements for node in statement.imports):
                names |= {".".join(filter(None, pair)) for pair in module.targets(node)}
            parts = {part for name in names if name for part in with_parents(name)}
            todo += [other for part in parts if (other := self.load(part))]
        return dict(sorted(found.items()))


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
    """Trace what objects of an experiment file depend on.

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
    """Trace what the object at a dotted path depends on: an installed one, a name and a version.

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
    """Return whose a module is; 'own' is this package. One not found counts as the user's."""
    return known_owner(module) or Finder().owner(module)
