"""The user's modules that a run depends on: the closure of import statements, from the files' text.

Files are parsed into syntax trees and modules found, but nothing is executed. Each module counts
whole, without comments and docstrings. What is imported by a name that is computed
(`importlib.import_module(f"nets.{kind}")`) shows only when it is executed: see
`paribus.core.sources.reads`.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from paribus.core.errors import RequestError, shown
from paribus.core.sources.module_finder import Finder, distribution_of

_ALWAYS_RECORDED = frozenset({"torch", "numpy"})  # part of every run's environment
_CONFIGURATION = frozenset({"BASELINE", "AXES", "SELECT"})  # counts as resolved values, not as text
# Where all of one set are used, any top-level name may be: `globals()[kind]`.
_ANY_NAME = [
    *({name} for name in ("globals", "vars", "locals", "eval", "exec", "getmodule")),
    *({name} for name in ("__dict__", "__globals__", "f_globals")),
    *({"sys", "modules"}, {"import_module", "__name__"}),
]
_EFFECTS = {"setattr", "delattr", "exec", "eval", "__import__"}
_PURE = {*dir(builtins), "math", "np", "numpy"} - _EFFECTS

Import = tuple[str, int, str | None]  # module, dots before it, the name imported from it


@dataclass(frozen=True)
class Sources:
    """What some objects depend on.

    Attributes:
        digests: ``mine.py`` (an experiment's file) or ``mypackage.nets`` to its tree's sha256.
        distributions: Import name of each installed package to its version and files' digest.
        files: Path inside a record's ``source/`` folder to the file on disk: all files of the
            user's that are needed to import these objects from there.
    """

    digests: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def tree_digest(text: str | bytes) -> str:
    """Return the sha256 of a file's whole syntax tree, without comments and docstrings."""
    return _digest(ast.parse(text).body)


def _digest(statements: list[ast.stmt]) -> str:
    return hashlib.sha256(_dump(statements).encode()).hexdigest()


def _is_inert(node: object) -> bool:
    # A statement without effect: `pass`, a docstring, `...`.
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
        return f"[{','.join(_dump(item) for item in node if not _is_inert(item))}]"
    return ascii(node)


_IS_MAIN = _dump(ast.parse('__name__ == "__main__"', mode="eval").body)


@lru_cache(maxsize=4096)  # by content: a file that was edited is another
def _parsed(content: bytes, is_experiment: bool) -> tuple[str, tuple[Import, ...]]:
    """Return the digest of a file's syntax tree, and what its import statements import."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is not ours to complain about
            body = ast.parse(content).body
        if is_experiment:
            body = _without_configuration(body)
        digest = _digest(body)
    except (SyntaxError, ValueError, RecursionError):  # importing it fails, if anything ever does
        return hashlib.sha256(content).hexdigest(), ()
    found: list[Import] = []
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.module or "", node.level, alias.name) for alias in node.names]
    return digest, tuple(dict.fromkeys(found))


def _without_configuration(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that an experiment's objects may depend on.

    Left out is what fills `BASELINE`, `AXES` and `SELECT`, which count by their values, and the
    constants that only these use and that are made of numbers, words, other such constants and
    what numpy, math and builtins make of them; and what the file does as a script. What a call
    that fills `AXES` does besides is not seen.
    """
    left: list[ast.stmt] = []
    for node in body:
        is_main = isinstance(node, ast.If) and _dump(node.test) == _IS_MAIN
        left += node.orelse if is_main and isinstance(node, ast.If) else [node]
    uses = {node: names_used(node) | _all(node, ast.Attribute) for node in left}
    changes = {node: _changes(node) for node in left}
    constants, more = set[str](), set(_CONFIGURATION)
    while not more <= constants:
        constants |= more
        if not any(names <= used for names in _ANY_NAME for used in uses.values()):
            filling = [node for node in left if changes[node] & constants]
            more = {name for node in filling for name in changes[node] | uses[node]}
    constants &= _CONFIGURATION.union(*changes.values()) - {""}  # no names of builtins
    # A constant that one of the statements left uses is no longer left out, nor what it uses.
    while True:
        hidden = [
            node
            for node in left
            if changes[node] <= constants
            and not uses[node] & _EFFECTS
            and (changes[node] & _CONFIGURATION or _all(node, ast.Name) <= _PURE | constants)
        ]
        used = {name for node in left if node not in hidden for name in uses[node]}
        if not constants & used:
            return [node for node in left if node not in hidden]
        constants -= used


def names_used(node: ast.stmt) -> set[str]:
    """Return the top-level names that a top-level statement binds or uses."""
    try:
        return set(_used(symtable.symtable(ast.unparse(node), "", "exec")))
    except (SyntaxError, ValueError):  # ast.unparse fails at some f-strings: all names count
        return _all(node, ast.Name)


def _used(table: symtable.SymbolTable) -> Iterator[str]:
    # In a class, `width = width` reads the global one; in a function it would be an error.
    local_falls_back = table.get_type() != "function"
    for symbol in table.get_symbols():
        if symbol.is_global() or (local_falls_back and symbol.is_referenced()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _used(child)


def _all(node: ast.stmt, kind: type[ast.Name | ast.Attribute]) -> set[str]:
    found = [part for part in ast.walk(node) if isinstance(part, kind)]
    return {part.id if isinstance(part, ast.Name) else part.attr for part in found}


def _changes(node: ast.stmt) -> set[str]:
    """Return the names that assignments, and loops of these, bind or change; "": it does more."""
    found = set()
    for part in ast.walk(node):
        target: ast.AST | None = None
        if isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.If):
            continue
        if isinstance(part, ast.Expr):  # AXES.update(…)
            target = getattr(getattr(part.value, "func", None), "value", None)
        elif not isinstance(part, ast.stmt):
            is_target = isinstance(getattr(part, "ctx", None), ast.Store)
            if not is_target or isinstance(part, ast.Tuple | ast.List | ast.Starred):
                continue
            target = part
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        found.add(target.id if isinstance(target, ast.Name) else "")
    return found


def file_digest(path: Path, *, is_experiment: bool = False) -> str:
    """Return the digest of a file's syntax tree; of an extension module, of its bytes.

    Of an experiment's file the configuration is left out: it counts as resolved values.
    """
    return _read(path, is_experiment)[0]


def _read(path: Path, is_experiment: bool) -> tuple[str, tuple[Import, ...]]:
    try:
        # Some files of /proc, which say that they are empty, are waited for.
        content = path.read_bytes() if path.stat().st_size else b""
    except OSError as error:
        raise RequestError(
            f"{shown(path, 500)} cannot be read: {error.strerror or error}."
        ) from error
    if path.suffix != ".py":
        return hashlib.sha256(content).hexdigest(), ()
    return _parsed(content, is_experiment)


@dataclass
class ImportClosure:
    """Modules of the user's, from some to all that they import, each read once; as `Sources` and:

    Attributes:
        finder: Finds modules by name.
        places: Name to file of modules that an import by name would not find there.
    """

    finder: Finder
    places: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    @classmethod
    def beside(cls, file: Path, places: dict[str, Path]) -> ImportClosure:
        """Return an empty closure that finds what an experiment's file can import."""
        return cls(Finder(file.parent, _package_of(file)[1]), places)

    @classmethod
    def of_script(cls, script: Path | None, folder: Path, modules: Iterable[str]) -> ImportClosure:
        """Return what a script, or modules run from a folder, import: from its folder first."""
        closure = cls(Finder(first=script.parent if script else folder), {})
        closure.add(closure._targets(_read(script, is_experiment=False)[1], "") if script else ())
        closure.add(name for module in modules for name in (module, f"{module}.__main__"))
        return closure

    def add(self, modules: Iterable[str]) -> None:
        """Add modules with all that they import."""
        todo = [part for module in modules for part in with_parents(module)]
        while todo:
            name = todo.pop()
            if not name or name in self._seen:
                continue
            self._seen.add(name)
            if name not in self.places and (owner := self.finder.owner(name)) != "user":
                top = name.partition(".")[0]
                if owner == "installed" and top not in _ALWAYS_RECORDED:
                    self.distributions[top] = distribution_of(top)
                continue
            place = self.finder.find(name)
            file = self.places.get(name) or (place and place.file)
            if not file:
                continue
            is_package = file.stem == "__init__"
            self.digests[name], imports = _read(file, is_experiment=False)
            folders = name.split(".") if is_package else name.split(".")[:-1]
            self.files["/".join([*folders, file.name])] = file
            todo += self._targets(imports, name if is_package else name.rpartition(".")[0])

    def add_named(self, places: Mapping[str, Path]) -> None:
        """Add modules that lie in these files, also those that an import was seen not to find."""
        self.places.update(places)
        self._seen -= places.keys()
        self.add(places)

    def add_experiment(self, file: Path) -> bool:
        """Add an experiment's file with all that it imports; return whether any is the user's."""
        before = len(self.files)
        self.digests[file.name], imports = _read(file, is_experiment=True)
        self.add(self._targets(imports, _package_of(file)[0]))
        imports_own = len(self.files) > before
        self.files[file.name] = file
        return imports_own

    def _targets(self, imports: Iterable[Import], package: str) -> Iterator[str]:
        """Yield the modules that import statements of a module of this package may import."""
        for module, level, name in imports:
            base = package.split(".") if package else []
            if level > len(base):
                continue  # Python refuses this relative import
            base = base[: len(base) - level + 1] if level else []
            whole = ".".join([*base, module] if module else base)
            yield from with_parents(whole)
            # `from package import module`: an attribute or a submodule.
            inner = f"{whole}.{name}"
            if name and self.finder.owner(whole) == "user" and self.finder.find(inner):
                yield inner

    def sources(self) -> Sources:
        """Return what was reached, in order of name."""
        return Sources(
            dict(sorted(self.digests.items())),
            dict(sorted(self.distributions.items())),
            dict(sorted(self.files.items())),
        )


def with_parents(module: str) -> list[str]:
    """Return `a`, `a.b` and `a.b.c` of ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _package_of(file: Path) -> tuple[str, Path]:
    """Return the package that a file is part of ("": none), and the folder that it lies in."""
    folder = next(f for f in file.parents if not (f / "__init__.py").is_file())
    return ".".join(file.parent.relative_to(folder).parts), folder
