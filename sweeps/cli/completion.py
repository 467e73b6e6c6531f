"""Completion in a shell: experiments, their hyperparameters, studies and runs. Imports no torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from click.shell_completion import CompletionItem, get_completion_class

from paribus.core.config.experiment import FUNCTION, HIDDEN, catalogue, find_experiment
from paribus.core.config.registry import NAMES
from paribus.core.config.schema import COMPONENTS, SCRIPT, fixed_keys, flatten
from paribus.core.errors import ParibusError
from paribus.sweeps.cli.options import root_of

_VARIABLE = "_PARIBUS_COMPLETE"  # click's, for a program of this name
# A completed KEY= is followed by its value, not by a space.
_ADD = {"bash": "COMPREPLY+=($value)", "zsh": "compadd -U -V unsorted -a completions"}
_NO_SPACE = {
    "bash": f"{_ADD['bash']}; [[ $value == *= ]] && compopt -o nospace",
    "zsh": f"[[ $completions[1] == *= ]] && compadd -S '' {_ADD['zsh'][8:]} || {_ADD['zsh']}",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that completes paribus in a SHELL.

    \b
    bash: paribus completion bash >> ~/.bashrc
    zsh:  paribus completion zsh >> ~/.zshrc
    fish: paribus completion fish > ~/.config/fish/completions/paribus.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "paribus", _VARIABLE).source()
    click.echo(script.replace(_ADD.get(shell, ""), _NO_SPACE.get(shell, "")))


class _Completed(click.ParamType[str]):
    """A word that is completed by those that a function gives."""

    name = "text"

    def __init__(self, words: Callable[[click.Context], Iterable[str]]) -> None:
        self._words = words

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        try:
            words = list(dict.fromkeys(self._words(ctx)))
        except (ParibusError, OSError, SyntaxError, ValueError):  # the command itself reports it
            return []
        found = [word for word in words if word.startswith(incomplete)]
        found = found or [w for w in words if w.rpartition(".")[2].startswith(incomplete)]
        return [CompletionItem(word) for word in found]


def complete_arguments(commands: Iterable[click.Command]) -> None:
    """Let the shell complete what commands take: it is known by its name or metavar."""
    for command in commands:
        for parameter in command.params:
            name, metavar = parameter.name, parameter.metavar or ""
            words = {name, *metavar.replace("[", "").replace(" ", "").split("|")}
            if name == "experiment":
                parameter.type = _Completed(_experiments)
            elif "KEY=" in metavar:
                parameter.type = _Completed(_keys)
            elif words & {"study", "run", "STUDY", "RUN", "RUN..."}:
                parameter.type = _Completed(_studies_and_runs)


def _studies_and_runs(context: click.Context) -> Iterator[str]:
    root = root_of(context)
    yield from root.study_names()
    yield from root.run_ids()


def _experiments(context: click.Context) -> Iterator[str]:
    yield from catalogue()
    yield from (str(path) for path in Path().glob("*.py"))
    yield from root_of(context).run_ids()


def _keys(context: click.Context) -> list[str]:
    """Return ``KEY=`` of the hyperparameters of the experiment that was typed."""
    experiment = context.params["experiment"]
    try:
        keys = list(_keys_of_file(find_experiment(experiment)))
    except ParibusError:
        from paribus.sweeps.study.lookup import find_run

        keys = list(flatten(find_run(root_of(context), experiment).record().configuration))
    return [f"{key}=" for key in keys]


def _keys_of_file(path: Path) -> Iterator[str]:
    """Yield the hyperparameters of an experiment's file, which is read and not executed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    dicts = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for key in dicts["AXES"].keys if "AXES" in dicts else ():
        if isinstance(key, ast.Constant):
            yield str(key.value)
    if "BASELINE" not in dicts:
        yield from fixed_keys((SCRIPT,))
        yield from (f"{SCRIPT}.{name}" for name in _keywords(tree, FUNCTION) if name not in HIDDEN)
        return
    yield from fixed_keys()
    for key, value in zip(dicts["BASELINE"].keys, dicts["BASELINE"].values, strict=True):
        if not isinstance(key, ast.Constant) or key.value not in COMPONENTS:
            continue
        kind, given = str(key.value), dict[Any, ast.expr]()
        if isinstance(value, ast.Dict):
            given = {k.value: v for k, v in zip(value.keys, value.values, strict=True)
                     if isinstance(k, ast.Constant)}  # fmt: skip
            value = given.pop("name", value)
        yield from (f"{kind}.{keyword}" for keyword in given)
        if isinstance(value, ast.Name):
            yield from (f"{kind}.{keyword}" for keyword in _keywords(tree, value.id))
        elif isinstance(value, ast.Constant):
            name = str(value.value).partition("(")[0]
            dotted = NAMES[kind].get(name, name)
            yield from (f"{kind}.{keyword}" for keyword in _keywords_of(dotted))


def _keywords(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield the keywords of a class or function that a module defines or imports."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield from _keywords_of(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            made = [node] if isinstance(node, ast.FunctionDef) else node.body
            for function in made:
                if isinstance(function, ast.FunctionDef) and (
                    function is node or function.name == "__init__"
                ):
                    args = [*function.args.args, *function.args.kwonlyargs]
                    yield from (a.arg for a in args if a.arg not in _NOT_TYPED)


_NOT_TYPED = ("self", "params", "optimizer", "last_epoch")  # given by training


def _keywords_of(dotted: str) -> Iterator[str]:
    """Yield the keywords of a dotted path, from its source: importing it may take seconds."""
    module, _, name = dotted.rpartition(".")
    top = "paribus.core" if module.startswith("paribus.core.") else module.partition(".")[0]
    spec = importlib.util.find_spec(top) if top else None
    for folder in (spec and spec.submodule_search_locations) or ():
        inner = module.removeprefix(top).strip(".").replace(".", "/")
        for file in (Path(folder, f"{inner}.py"), Path(folder, inner, "__init__.py")):
            if file.is_file():
                yield from _keywords(ast.parse(file.read_text(encoding="utf-8")), name)
