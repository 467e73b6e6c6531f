"""Which source text an object of a user's file or module depends on.

An object depends on its definition and on every top-level name that this uses, through imports
into the user's other modules. Files are parsed into top-level statements (what each binds, uses and
imports) and modules found, but nothing is executed. A module that cannot be found is left out:
importing it fails when it is used, with its own message. A name in a string
(`importlib.import_module("mine")`) is not followed.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.sources.module_finder import Finder, Owner, version_of


def tree_digest(text: str) -> str:
    """Return the sha256 of a file's whole syntax tree, without comments and docstrings."""
    return hashlib.sha256(_dump(ast.parse(text)).encode()).hexdigest()


def _inert(node: object) -> bool:
    """Return whether it is a statement without effect: `pass`, a docstring, `...`."""
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
_ALWAYS_RECORDED = frozenset({"torch", "numpy"})  # part of every run's environment
_CONFIGURATION = frozenset({"BASELINE", "AXES"})  # counts as resolved values, not as source


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement: the names that it binds or changes, and those that it uses."""

    text: str
    binds: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    imports: tuple[ast.Import | ast.ImportFrom, ...] = ()
    is_import: bool = False
    any_name: bool = False  # it may bind any name: a star import, a C extension


@dataclass(eq=False)
class Module:
    """A module of the user's; the experiment file itself has no name."""

    name: str
    package: str
    path: Path | None  # None for a namespace package
    statements: list[Statement]

    @cached_property
    def _by_name(self) -> dict[str, list[Statement]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.binds:
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def binding_any(self) -> list[Statement]:
        """Return the statements that may bind any name."""
        return [statement for statement in self.statements if statement.any_name]

    def binding(self, name: str) -> list[Statement]:
        """Return the statements that bind a name or change what it holds."""
        return self._by_name.get(name, [])

    def names(self) -> list[str]:
        """Return the names to offer to a person: its own, or if it has none, those it imports."""
        public = [name for name in self._by_name if not name.startswith("_")]
        return [n for n in public if not all(s.is_import for s in self.binding(n))] or public

    def targets(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str | None]]:
        """Yield (module, name in it) that an import statement here reads; None for all of it."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds a, `import a.b as c` binds b.
                names = [alias.name] if alias.asname else with_parents(alias.name)
                yield from ((name, None) for name in names)
            return
        base = self.package.split(".") if self.package else []
        if node.level > len(base):
            return  # Python refuses this relative import
        base = base[: len(base) - node.level + 1] if node.level else []
        module = ".".join([*base, node.module] if node.module else base)
        for alias in node.names:
            yield module, None if alias.name == "*" else alias.name


def with_parents(module: str) -> list[str]:
    """Return `a`, `a.b` and `a.b.c` of ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def read_statements(path: Path, hidden: frozenset[str] = frozenset()) -> list[Statement]:
    """Return the top-level statements of a file, without those that only concern hidden names.

    Raises:
        RequestError: If the file cannot be read or parsed.
    """
    try:
        content = path.read_bytes()
        if path.suffix != ".py":
            return [Statement(hashlib.sha256(content).hexdigest(), any_name=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is not ours to complain about
            tree = ast.parse(content, str(path))
    except OSError as error:
        raise RequestError(
            f"{shown(path, 500)} cannot be read: {error.strerror or error}."
        ) from error
    except SyntaxError as error:
        raise RequestError(f"{shown(path, 500)}, line {error.lineno}: {error.msg}.") from error
    found = []
    try:
        for node in _flatten(tree.body):
            bound, used = scan(node)
            bound |= _changed(node, hidden)
            if bound and not bound - hidden:
                continue
            imports = tuple(n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
            star = any(alias.name == "*" for n in imports for alias in n.names)
            found.append(
                Statement(_dump(node), bound - hidden, used, imports, node in imports, star)
            )
    except RecursionError:
        raise RequestError(
            f"{shown(path, 500)}: an expression is nested too deeply to be read.",
            "Write a sum of hundreds of terms as a list.",
        ) from None
    return found


def _flatten(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that an import runs, with one name per import statement."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.Import([alias]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (ast.ImportFrom(node.module, [alias], node.level) for alias in node.names)
        elif isinstance(node, ast.If) and _dump(node.test) == _IS_MAIN:
            yield from _flatten(node.orelse)
        elif not _inert(node):
            yield node


def scan(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Return the top-level names that a top-level statement binds, and those that it uses."""
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
    """Return names whose values a statement may change: `SIZES["a"] = 1`, `shuffle(LAYERS)`."""
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
        if name in self._loaded:
            return self._loaded[name]
        place = self._finder.find(name) if self._finder.owner(name) == "user" else None
        root, module = self._root, None
        if place and place.file and root and root.path and place.file.samefile(root.path):
            module = root  # the experiment file itself, imported by a helper
        elif place:
            package = name if place.folders else name.rpartition(".")[0]
            statements = read_statements(place.file) if place.file else []
            module = Module(name, package, place.file, statements)
        self._loaded[name] = module
        return module

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
    return Finder().owner(module)
