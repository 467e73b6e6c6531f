"""The top-level statements of a file: what each binds, uses and imports."""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from paribus.core.errors import RequestError, shown


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

    def binding(self, name: str) -> list[Statement]:
        return self._by_name.get(name, [])

    @cached_property
    def binding_any(self) -> list[Statement]:
        return [statement for statement in self.statements if statement.any_name]

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
    """Return the top-level statements of a file, without those that only concern hidden names."""
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
    try:
        return [found for node in _flatten(tree.body) for found in _read(node, hidden)]
    except RecursionError:
        raise RequestError(
            f"{shown(path, 500)}: an expression is nested too deeply to be read.",
            "Write a sum of hundreds of terms as a list.",
        ) from None


def _read(node: ast.stmt, hidden: frozenset[str]) -> Iterator[Statement]:
    """Yield the statement, unless it only concerns hidden names."""
    bound, used = scan(node)
    bound |= _changed(node, hidden)
    if not bound or bound - hidden:
        imports = tuple(n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
        star = any(alias.name == "*" for n in imports for alias in n.names)
        yield Statement(_dump(node), bound - hidden, used, imports, node in imports, star)


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
