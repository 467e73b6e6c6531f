"""Names of modules in records of format 1, which the packages `core` and `sweeps` wrote.

Such a record names an object as ``core.models.MLP``, and the sources that it carries import it so.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from paribus.core.records.record import RunRecord

_MOVED = {
    f"core.{old}": f"paribus.core.{new}"
    for old, new in {
        "augment": "data.images",
        "components": "config.registry",
        "config": "config.schema",
        "data": "data",
        "data.ahead": "data.loader",
        "data.digits": "data.images",
        "data.forms": "data.load",
        "data.part": "data.loader",
        "data.prepared": "data.prepare",
        "data.source": "data.load",
        "data.standardize": "data.arrays",
        "errors": "errors",
        "experiment": "config.experiment",
        "extra_metrics": "components.torchmetrics_adapter",
        "files": "fileio",
        "losses": "components.losses",
        "metrics": "components.metrics",
        "models": "components.models",
        "optimizers": "components.optim",
        "process": "runtime",
        "seeding": "rng",
        "tasks": "components.tasks",
        "transfer": "components.pretrained",
        "values": "config.values",
    }.items()
}


def present_name(dotted: str) -> str:
    """Return today's path of what was at ``core.…``; another path as it is."""
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        if module := _MOVED.get(".".join(parts[:length])):
            return ".".join([module, *parts[length:]])
    return dotted


def has_old_names(record: RunRecord) -> bool:
    """Return whether ``core`` in a record is this package: none that the user's project has."""
    identity = record.identity
    known = {name.partition(":")[0].partition(".")[0] for name in identity["sources"]}
    return record.format == 1 and "core" not in {*known, *identity["distributions"]}


def with_present_names(configuration: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """Return a record's configuration, requested or resolved, with today's names of components."""
    if not has_old_names(record):
        return dict(configuration)
    return {
        key: {**value, "name": present_name(value["name"])}
        if isinstance(value, Mapping) and isinstance(value.get("name"), str)
        else value
        for key, value in configuration.items()
    }


class _PresentImports(ast.NodeTransformer):
    """Lets imports from ``core`` read today's modules."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.ImportFrom]:
        if node.level or not node.module or node.module.split(".")[0] != "core":
            return [node]
        found = []
        for alias in node.names:
            module, _, name = present_name(f"{node.module}.{alias.name}").rpartition(".")
            renamed = ast.alias(name, alias.asname or (alias.name if alias.name != name else None))
            found.append(ast.copy_location(ast.ImportFrom(module, [renamed], 0), node))
        return found

    def visit_Import(self, node: ast.Import) -> ast.Import:
        for alias in node.names:
            if alias.asname:  # else it binds `core` itself
                alias.name = present_name(alias.name)
        return node


def read_old_source(content: bytes, file: str) -> ast.Module:
    """Parse a carried source so that what it imports from ``core`` is found today.

    Raises:
        SyntaxError: If it is not Python.
    """
    tree: ast.Module = _PresentImports().visit(ast.parse(content, file))
    return ast.fix_missing_locations(tree)
