"""README and docs are true: `python tests/docs.py [PAGE…]` runs their commands, writes the output.

A block marked ``console`` holds commands after ``$`` and their output; blocks marked ``python`` are
run too, and one that begins with a docstring naming a file (``paribus sweep FILE.py``, or
``python FILE.py`` of a script) is that file. Parts of `docs/cli.md` and
`docs/configuration.md` are generated from the commands, the configuration's schema and signatures.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent
GENERATED = ("cli", "configuration")
# In this order, in one folder: a study that an earlier page trained is reused by a later one.
PAGES = [
    TOP / "README.md",
    *(
        TOP / "docs" / f"{name}.md"
        for name in (
            "tutorial", "verdicts", "data", "experiments", "models", "scripts", "tracking",
            "reproduce", "benchmarks", "statistics", "reliability", "architecture", *GENERATED,
        )
    ),
]  # fmt: skip
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN_FOLDER = "/home/you/work"
SHARED = ("root", "as_json", "trust", "plain")  # options that the head of docs/cli.md explains


def blocks(text: str) -> Iterator[tuple[re.Match[str], str, str]]:
    """(match, kind, content) of each block that is run."""
    for match in BLOCK.finditer(text):
        yield match, match.group(1), match.group(2)


def commands(block: str) -> list[str]:
    """The commands of a console block."""
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def file_of(block: str) -> str | None:
    """The file that a Python block is, as its docstring's command says."""
    found = re.match(r'"""[^"]*?(?:paribus sweep|python) (\w+\.py)', block)
    return found.group(1) if found else None


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, without a W&B key, output as a file would get it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "PARIBUS"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_block(
    kind: str, block: str, folder: Path
) -> list[tuple[str, subprocess.CompletedProcess[str]]]:
    """Runs all of a block, in order."""
    if kind == "console":
        return [(command, run(command, folder)) for command in commands(block)]
    file = write_block(block, folder)
    return [("python", run([sys.executable, file], folder))] if file else []


def write_block(block: str, folder: Path) -> str | None:
    """Writes the file that a Python block is; the name of one that is to be run at once."""
    name = file_of(block)
    (folder / (name or "from_python.py")).write_text(block)
    return None if name else "from_python.py"


def with_output(text: str, folder: Path) -> str:
    """A page with what its commands print now."""
    for match, kind, block in list(blocks(text)):
        written = ""
        for command, done in run_block(kind, block, folder):
            print(f"{done.returncode}  {command}", file=sys.stderr)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
            lines = [line.rstrip() for line in done.stdout.splitlines()]
            shown = "\n".join(lines).strip("\n").replace(str(folder), SHOWN_FOLDER)
            written += f"$ {command}\n{shown}\n" + ("\n" if shown else "")
        if kind == "console":
            text = text.replace(match.group(0), f"```console\n{written.rstrip()}\n```")
    return text


def generated(name: str) -> str:
    """A page with its generated part as it has to be now."""
    part = {"cli": _commands, "configuration": _keys}[name]()
    text = (TOP / "docs" / f"{name}.md").read_text()
    before, begin, rest = text.partition(f"<!-- generated: python tests/docs.py {name} -->\n")
    return before + begin + part + rest[rest.index("<!-- end -->") :]


def _commands() -> str:
    from paribus.sweeps.cli.app import app

    tables, usages = {}, {}
    for name, command in app.commands.items():
        import click

        context = click.Context(command, info_name=f"paribus {name}")
        usages[name] = " ".join(command.collect_usage_pieces(context))
        tables[name] = [
            f"| `{', '.join(option.opts)}{_metavar(option, context)}` | {_default(option)} | "
            f"{_cell(option.help or '')} |"
            for option in command.params
            if option.param_type_name == "option" and option.name not in SHARED
        ]
    counted = Counter(row for rows in tables.values() for row in rows)
    common: dict[str, list[str]] = {}  # names of commands to the options that they share
    for row in (row for row, count in counted.items() if count > 2):
        names = ", ".join(f"`{name}`" for name, rows in tables.items() if row in rows)
        common.setdefault(names, []).append(row)
    parts = [f"## Options of {names}\n\n{_table(rows)}" for names, rows in common.items()]
    for name, command in app.commands.items():
        parts.append(
            f"## {name}\n\n`paribus {name} {usages[name]}`\n\n{_paragraphs(command.help or '')}\n"
        )
        if own := [row for row in tables[name] if counted[row] < 3]:
            parts.append(_table(own))
    return "\n".join(parts)


def _table(rows: list[str]) -> str:
    return "\n".join(["| option | default | |", "|---|---|---|", *rows]) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _metavar(option: Any, context: Any) -> str:
    if option.is_flag or option.count:
        return ""
    return " " + str(option.make_metavar(context)).replace("|", "\\|")


def _default(option: Any) -> str:
    default = option.default
    known = isinstance(default, str | int | float) and not option.is_flag
    variable = f" (`{option.envvar}`)" if option.envvar else ""
    return (f"`{default}`" if known and default != "" else "") + variable


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _keys() -> str:
    from paribus.core.config.registry import NAMES
    from paribus.core.config.schema import ModelConfiguration

    parts = ["## Keys\n", "| key | default | meaning |", "|---|---|---|"]
    for group, field in ModelConfiguration.model_fields.items():
        kind = field.annotation
        inner = getattr(kind, "model_fields", None)
        if group in (*NAMES, "final_epoch"):  # set by `finalize` alone
            continue
        if not inner:
            parts.append(f"| `{group}` | {_value(field)} | {_meaning(ModelConfiguration, group)} |")
            continue
        for key, item in inner.items():
            parts.append(f"| `{group}.{key}` | {_value(item)} | {_meaning(kind, key)} |")
    parts.append("")
    for kind, names in NAMES.items():
        if not names:
            continue
        parts += [f"## {kind}\n", "| name | is | keywords |", "|---|---|---|"]
        parts += [f"| `{n}` | `{path}` | {_keywords(kind, n)} |" for n, path in names.items()]
        parts.append("")
    return "\n".join(parts)


def _meaning(model: Any, key: str) -> str:
    """What the class's docstring says of an attribute."""
    attributes = inspect.cleandoc(model.__doc__).partition("Attributes:\n")[2]
    found = re.search(rf"^    {key}: (.*(?:\n      .*)*)", attributes, re.MULTILINE)
    return _cell(found.group(1)) if found else ""


def _value(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return {None: "none", (): "none"}.get(default, f"`{default}`")


def _keywords(kind: str, name: str) -> str:
    from paribus.core.config.experiment import find_experiment, load_experiment
    from paribus.core.config.registry import resolve_component
    from paribus.core.config.values import show_value

    resolved = resolve_component(kind, name, load_experiment(find_experiment("digits")))
    if not getattr(resolved.function, "__module__", "").startswith("paribus."):
        return "as in torch"  # they differ between its versions
    words = []
    for keyword, parameter in resolved.signature.parameters.items():
        if resolved.filled_later(keyword):
            continue
        required = parameter.required
        words.append(f"`{keyword}`" if required else f"`{keyword}={_shown(parameter, show_value)}`")
    return ", ".join(words)


def _shown(parameter: Any, show: Any) -> str:
    from paribus.core.config.signatures import plain_default

    return str(show(plain_default(parameter))).replace("|", "\\|")


def main(names: Iterable[str]) -> None:
    """Rewrites pages: those named, else all."""
    wanted = set(names)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for page in PAGES:
            if wanted and page.stem not in wanted:
                continue
            text = page.read_text() if page.exists() else ""
            new = generated(page.stem) if page.stem in GENERATED else with_output(text, folder)
            page.write_text(new)


if __name__ == "__main__":
    main(sys.argv[1:])
