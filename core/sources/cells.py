"""Classes and functions of a notebook's cells, written as a module that can be imported and kept.

A run's sources travel with its record. What is defined in a cell has no file, so it gets one: its
source, that of the definitions it uses, the imports and the constants. The module's name follows
from its content, so equal cells give equal ids.
"""

import ast
import linecache
import math
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from paribus.core.errors import RequestError, shown
from paribus.core.fileio import creating, write_bytes
from paribus.core.sources.import_closure import names_used, tree_digest

_CONSTANTS = (bool, int, float, str, bytes, type(None))


def is_of_cell(value: object) -> bool:
    """Return whether a class or function is of a notebook's cell, or of the script that runs."""
    return (
        isinstance(value, type | FunctionType)
        and value.__module__ == "__main__"
        and vars(sys.modules["__main__"]).get(value.__name__) is value
    )


def write_cells(value: type | FunctionType, folder: Path) -> str:
    """Write what a class or function of a cell needs as a module; return its path in it.

    The module's folder is appended to the import path. Refused is what uses an object that only
    lives in the notebook, or has no source.
    """
    parts: dict[str, str] = {}
    _collect(value.__name__, value, parts)
    imports = [text for text in parts.values() if text.startswith(("import ", "from "))]
    others = [text for text in parts.values() if text not in imports]
    text = "\n\n".join(["\n".join(sorted(imports)), *others]) + "\n"
    module = f"notebook_{tree_digest(text)[:12]}"
    file = folder / f"{module}.py"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        with creating(f"The module {file}"):
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(file, text.encode())
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return f"{module}.{value.__name__}"


def _collect(name: str, value: Any, parts: dict[str, str]) -> None:
    """Add the statement that binds a name, after those that it uses when it is executed."""
    if name in parts:
        return
    if isinstance(value, ModuleType):
        alias = "" if value.__name__ == name else f" as {name}"
        parts[name] = f"import {value.__name__}{alias}"
        return
    module, qualified = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if module not in ("", "__main__") and found is value:
        alias = "" if qualified == name else f" as {name}"
        parts[name] = f"from {module} import {qualified}{alias}"
        return
    if _is_constant(value):
        parts[name] = f"{name} = {value!r}"
        return
    if not (isinstance(value, type | FunctionType) and module == "__main__"):
        kind = type(value).__name__
        article = "an" if kind[0] in "AEIOUaeiou" else "a"
        raise RequestError(
            f"'{shown(name)}' is {article} {kind} that lives in the notebook only.",
            "Make it inside the class or function that uses it, or pass it as a keyword; constants "
            "(numbers, words, lists of these), functions and classes of cells are taken along.",
        )
    source = _source(name, value)
    parts[name] = ""  # a mark: what it uses may use it in turn
    namespace = vars(sys.modules["__main__"])
    for used in sorted(names_used(ast.parse(source).body[0])):
        if used in namespace and used != name and not used.startswith("__"):
            _collect(used, namespace[used], parts)
    del parts[name]
    parts[name] = source


def _is_constant(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_constant(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return all(_is_constant(item) for item in value)
    return type(value) in _CONSTANTS and value == value and value not in (math.inf, -math.inf)


def _source(name: str, value: type | FunctionType) -> str:
    """Return the source of a class or function at a cell's top level, decorators included."""
    codes = [value, *vars(value).values()] if isinstance(value, type) else [value]
    files = [code.co_filename for v in codes if (code := getattr(v, "__code__", None))]
    # A class without a method has no code object that names its cell: the latest cell counts.
    cells = ["".join(linecache.getlines(file)) for file in files]
    cells += reversed(vars(sys.modules["__main__"]).get("In") or [])
    defined = name if value.__name__ == "<lambda>" else value.__name__
    for cell in cells:
        try:
            body = ast.parse(cell).body
        except SyntaxError:  # a cell with a magic command
            continue
        for node in reversed(body):
            if _binds(node, defined):
                if isinstance(node, ast.ClassDef) and not node.decorator_list:
                    _refuse_replaced(value, node, cell)
                first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
                lines = cell.splitlines()[first - 1 : node.end_lineno]
                return "\n".join([*lines, *([f"{name} = {defined}"] if name != defined else [])])
    raise RequestError(
        f"The source of '{shown(value.__name__)}' is not known.",
        "Define it at the top level of a cell, or in a file.",
    )


def _refuse_replaced(value: Any, node: ast.ClassDef, cell: str) -> None:
    """Refuse a class with a function that its statement, in this cell, does not define."""
    # Its statement may take one that is defined outside: `forward = other`, or by a decorator.
    parts = list(ast.walk(node))
    taken = {p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store)}
    taken |= {p.name for p in parts if isinstance(p, ast.FunctionDef) and p.decorator_list}
    lines = range(node.lineno, (node.end_lineno or 0) + 1)
    for name, function in vars(value).items():
        code = getattr(function, "__code__", None)
        if code is None or function.__module__ != "__main__" or name in taken:
            continue
        is_here = "".join(linecache.getlines(code.co_filename)) == cell
        if not is_here or code.co_firstlineno not in lines:
            raise RequestError(
                f"'{shown(value.__name__)}.{shown(name)}' was put into the class after its "
                "definition.",
                "Write it into the class, or take the class from a file.",
            )


def _binds(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name == name
    # act = lambda x: …
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
