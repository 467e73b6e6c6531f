"""Find where the user's sources seed the global generators."""

import ast
from collections.abc import Iterator, Mapping

from paribus.core.errors import first_few, shown


def seeding_calls(sources: Mapping[str, bytes]) -> list[str]:
    """Return calls that seed a global generator, as ``train.py, line 7: torch.manual_seed(42)``.

    That is what a function does whose name has "seed" in it: `manual_seed`, `np.random.seed`,
    `seed_everything`, a helper of the user's. Where some take constants or nothing, only these are
    returned: the others may well follow from the run's seed.
    """
    calls = [
        (f"{file}, line {call.lineno}: {shown(ast.unparse(call), 60)}", call)
        for file, content in sources.items()
        for call in _seeding(content)
    ]
    fixed = [
        text
        for text, call in calls
        if all(
            isinstance(value, ast.Constant)
            for value in (*call.args, *(keyword.value for keyword in call.keywords))
        )
    ]
    return fixed or [text for text, _ in calls]


def where_seeded(sources: Mapping[str, bytes]) -> str:
    """Return the first of `seeding_calls` to end a sentence with; nothing where there are none."""
    calls = seeding_calls(sources)
    return f"; a seed is set in {first_few(calls, 3)}" if calls else ""


def _seeding(content: bytes) -> Iterator[ast.Call]:
    try:
        nodes = [*ast.walk(ast.parse(content))]
    except (SyntaxError, ValueError):  # importing it fails, if anything ever does
        return
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in nodes:
        if isinstance(node, ast.Call):
            *owners, name = ast.unparse(node.func).split(".")
            # A method is that of one generator: `torch.Generator().manual_seed(0)`.
            is_global = imported.issuperset(owners[:1]) and all(map(str.isidentifier, owners))
            if "seed" in name and name != "initial_seed" and is_global:
                yield node
