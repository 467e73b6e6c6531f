"""Which source text an object of a user's file or module depends on.

An object depends on its definition and on every top-level name that this uses, through imports
into the user's other modules. Files are parsed and modules found, but nothing is executed. A module
that cannot be found is left out: importing it fails elsewhere, with its own message. A name in a
string (`importlib.import_module("mine")`) is not followed.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.metadata
import os
import site
import symtable
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from core.errors import Faults, RequestError, did_you_mean, shown

Owner = Literal["stdlib", "installed", "own", "user"]

_OWN = frozenset({"core", "experiments", "sweeps"})
_ALWAYS_RECORDED = frozenset({"torch", "numpy"})  # part of every run's environment
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
    root = _Module("", ".".join(package), file, _read(file, _CONFIGURATION))
    trace = _Trace(_Finder(file.parent, folder), root)
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
    trace = _Trace(_Finder())
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
    return _Finder().owner(module)


def tree_digest(text: str) -> str:
    """The sha256 of a file's whole syntax tree, without comments and docstrings."""
    return hashlib.sha256(_dump(ast.parse(text)).encode()).hexdigest()


def _inert(node: object) -> bool:
    """Whether it is a statement without effect: `pass`, a docstring, `...`."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _dump(node: object) -> str:
    # ast.dump differs between versions of Python (which empty fields it shows); this does not.
    if isinstance(node, ast.AST):
        fields = (
            f"{name}={_dump(value)}"
            for name, value in ast.iter_fields(node)
            if value is not None and value != [] and name not in ("kind", "type_comment")
        )
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node if not _inert(item))}]"
    return ascii(node)


_BUILTINS = frozenset(dir(builtins))
_IS_MAIN = _dump(ast.parse('__name__ == "__main__"', mode="eval").body)


@dataclass(frozen=True, eq=False)
class _Statement:
    """A top-level statement: the names that it binds or changes, and those that it uses."""

    text: str
    binds: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    imports: tuple[ast.Import | ast.ImportFrom, ...] = ()
    is_import: bool = False
    any_name: bool = False  # it may bind any name: a star import, a C extension


@dataclass(eq=False)
class _Module:
    """A module of the user's; the experiment file itself has no name."""

    name: str
    package: str
    path: Path | None  # None for a namespace package
    statements: list[_Statement]

    @cached_property
    def _by_name(self) -> dict[str, list[_Statement]]:
        found: dict[str, list[_Statement]] = {}
        for statement in self.statements:
            for name in statement.binds:
                found.setdefault(name, []).append(statement)
        return found

    def binding(self, name: str) -> list[_Statement]:
        return self._by_name.get(name, [])

    @cached_property
    def binding_any(self) -> list[_Statement]:
        return [statement for statement in self.statements if statement.any_name]

    def names(self) -> list[str]:
        """The names to offer to a person: its own, or where it has none, those it imports."""
        public = [name for name in self._by_name if not name.startswith("_")]
        return [n for n in public if not all(s.is_import for s in self.binding(n))] or public

    def targets(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None]]:
        """(module, name in it) that an import statement here reads; None for all of it."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds a, `import a.b as c` binds b.
                names = [alias.name] if alias.asname else _with_parents(alias.name)
                yield from ((name, None) for name in names)
            return
        base = self.package.split(".") if self.package else []
        if node.level > len(base):
            return  # Python refuses this relative import
        base = base[: len(base) - node.level + 1] if node.level else []
        module = ".".join([*base, node.module] if node.module else base)
        for alias in node.names:
            yield module, None if alias.name == "*" else alias.name


def _with_parents(module: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _read(path: Path, hidden: frozenset[str] = frozenset()) -> list[_Statement]:
    """The top-level statements of a file, without those that only concern hidden names."""
    try:
        content = path.read_bytes()
        if path.suffix != ".py":
            return [_Statement(hashlib.sha256(content).hexdigest(), any_name=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is not ours to complain about
            tree = ast.parse(content, str(path))
    except OSError as error:
        raise RequestError(
            f"{shown(path, 500)} cannot be read: {error.strerror or error}."
        ) from error
    except SyntaxError as error:
        raise RequestError(f"{shown(path, 500)}, line {error.lineno}: {error.msg}.") from error
    statements = []
    for node in _flatten(tree.body):
        bound, used = _scan(node)
        bound |= _changed(node, hidden)
        if not bound or bound - hidden:
            imports = tuple(n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
            star = any(alias.name == "*" for n in imports for alias in n.names)
            names = bound - hidden, used
            statements.append(_Statement(_dump(node), *names, imports, node in imports, star))
    return statements


def _flatten(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that an import runs, with one name per import statement."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.Import([alias]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
        elif isinstance(node, ast.If) and _dump(node.test) == _IS_MAIN:
            yield from _flatten(node.orelse)
        elif not _inert(node):
            yield node


def _scan(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """The top-level names that a top-level statement binds, and those that it uses."""
    try:
        top = symtable.symtable(ast.unparse(node), "", "exec")
    except (SyntaxError, ValueError):  # ast.unparse fails at some f-strings: all names count
        fields = (item for part in ast.walk(node) for item in ast.iter_fields(part))
        names = frozenset(str(value) for key, value in fields if key in ("id", "name", "asname"))
        return names, names
    bound = {
        symbol.get_name()
        for symbol in top.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    return frozenset(bound), frozenset(_used(top))


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    # In a class, `width = width` reads the global one; in a function it would be an error.
    local_falls_back = table.get_type() != "function"
    for symbol in table.get_symbols():
        if symbol.is_global() or (local_falls_back and symbol.is_referenced()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _used(child)


def _changed(node: ast.stmt, hidden: frozenset[str]) -> set[str]:
    """Names whose values a statement may change in place: `SIZES["a"] = 1`, `shuffle(LAYERS)`."""
    found: set[str] = set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return found
    for part in ast.walk(node):
        if isinstance(part, ast.Expr) and not _inert(part):
            names = {n.id for n in ast.walk(part) if isinstance(n, ast.Name)} - _BUILTINS
            found |= hidden if names & hidden else names
        elif isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load):
            target: ast.expr = part
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
            found |= {target.id} if isinstance(target, ast.Name) else set()
    return found


@dataclass(frozen=True)
class _Place:
    """Where a module lies: its file, and the folders of its submodules."""

    file: Path | None
    folders: tuple[str, ...]


class _Finder:
    """Finds modules as an import would, but executes none."""

    def __init__(self, *folders: Path) -> None:
        importlib.invalidate_caches()  # a file may be younger than the import system's listing
        self._path = [*sys.path, *map(str, folders)]
        self._places: dict[str, _Place | None] = {}

    def find(self, module: str) -> _Place | None:
        if module not in self._places:
            self._places[module] = self._find(module)
        return self._places[module]

    def _find(self, module: str) -> _Place | None:
        parent, _, last = module.rpartition(".")
        spec = None
        if parent:
            above = self.find(parent)
            if above is not None and above.folders:
                # By its last name alone: a namespace package asks sys.modules for its parent.
                spec = PathFinder.find_spec(last, above.folders)
        else:
            # Not importlib.util.find_spec: it answers for what happens to be imported already.
            for finder in sys.meta_path:
                path = self._path if finder is PathFinder else None
                spec = spec or finder.find_spec(last, path)
        if spec is None:
            return None
        file = Path(spec.origin or "").absolute()
        folders = tuple(spec.submodule_search_locations or ())
        return _Place(file if file.is_file() else None, folders)

    def owner(self, module: str) -> Owner:
        top = module.partition(".")[0]
        if top in _OWN:
            return "own"
        if top in sys.stdlib_module_names:
            return "stdlib"
        place = self.find(module)
        if place is None:
            parent = module.rpartition(".")[0]
            return self.owner(parent) if parent else "user"
        homes = [place.file] if place.file else [Path(folder) for folder in place.folders]
        if homes and all(_within(home, _site_folders()) for home in homes):
            return "installed" if _version(top) else "user"
        stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
        return "stdlib" if homes and all(_within(home, stdlib) for home in homes) else "user"


def _site_folders() -> list[str]:
    pure, plat = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
    return [pure, plat, *site.getsitepackages(), site.getusersitepackages()]


def _within(path: Path, folders: Iterable[str]) -> bool:
    """Whether a path lies in one of the folders, as it is spelled or with its links resolved."""
    real = Path(os.path.realpath(path))
    return any(
        path.is_relative_to(folder) or real.is_relative_to(os.path.realpath(folder))
        for folder in folders
    )


@lru_cache
def _version(top: str) -> str:
    """The version of the distribution that owns an import name; empty if none does."""
    try:
        return str(importlib.metadata.version(top))
    except importlib.metadata.PackageNotFoundError:
        owners = sorted(set(importlib.metadata.packages_distributions().get(top, ())))
    versions = [importlib.metadata.version(name) for name in owners]
    if len(owners) == 1:
        return versions[0]
    return ", ".join(f"{name} {version}" for name, version in zip(owners, versions, strict=True))


_Bindings = list[tuple[_Module, _Statement]]


class _Trace:
    """Follows names through the user's modules, each parsed once."""

    def __init__(self, finder: _Finder, root: _Module | None = None) -> None:
        self._finder, self._root = finder, root
        self._loaded: dict[str, _Module | None] = {}
        self.modules: set[_Module] = set()
        self.distributions: dict[str, str] = {}

    def note(self, module: str) -> None:
        """Records the version of an installed module."""
        top = module.partition(".")[0]
        if top not in _ALWAYS_RECORDED and self._finder.owner(module) == "installed":
            self.distributions[top] = _version(top)

    def load(self, name: str) -> _Module | None:
        """The user's module of that name, or None if there is none."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> _Module | None:
        place = self._finder.find(name) if self._finder.owner(name) == "user" else None
        if place is None:
            return None
        root, path = self._root, place.file
        if root and path and root.path and path.samefile(root.path):
            return root
        package = name if place.folders else name.rpartition(".")[0]
        return _Module(name, package, path, _read(path) if path else [])

    def reach(self, name: str, member: str | None, asker: _Module | None = None) -> _Bindings:
        """The statements that bind a member of a module; all of the module for None."""
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

    def bindings(self, module: _Module, name: str) -> _Bindings:
        """The statements of a module that bind a name."""
        found = module.binding(name) or module.binding("__getattr__")
        return [(module, statement) for statement in [*found, *module.binding_any]]

    def digest(self, module: _Module, dotted: str, where: str) -> str:
        """The sha256 of all that an object (`Net`, `Net.small`; "" for all) depends on."""
        name = dotted.partition(".")[0]
        found = (
            self.reach(module.name, name or None) if module.name else self.bindings(module, name)
        )
        if not found and name and module.path:
            message = f"{shown(where)} has no object named '{shown(name)}'."
            raise RequestError(message, did_you_mean(name, module.names()), "unknown-object")
        closure = self._closure(found)
        self.modules.update(closure)
        text = hashlib.sha256()
        for part in sorted(closure, key=lambda part: part.name):
            lines = [s.text for s in part.statements if s in closure[part]]
            text.update("\n".join([part.name, *lines, ""]).encode())
        return text.hexdigest()

    def _closure(self, todo: _Bindings) -> dict[_Module, set[_Statement]]:
        closure: dict[_Module, set[_Statement]] = {}
        while todo:
            module, statement = todo.pop()
            seen = closure.setdefault(module, set())
            if statement in seen:
                continue
            seen.add(statement)
            todo += [(module, s) for name in statement.uses for s in module.binding(name)]
            for node in statement.imports:
                for name, member in module.targets(node):
                    todo += self.reach(name, member, asker=module)
        return closure

    def files(self) -> dict[str, Path]:
        """The files of all modules reached, and of all that importing these imports."""
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
            parts = {part for name in names if name for part in _with_parents(name)}
            todo += [other for part in parts if (other := self.load(part))]
        return dict(sorted(found.items()))
