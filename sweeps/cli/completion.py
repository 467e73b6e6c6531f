"""Completion in a shell: experiments, their hyperparameters, studies and runs. Imports no torch."""

import ast
import functools
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import rich_click as click
from click.shell_completion import get_completion_class

from paribus.core.config.command import COMMAND
from paribus.core.config.experiment import FUNCTION, HIDDEN, catalogue, find_experiment
from paribus.core.config.registry import NAMES
from paribus.core.config.schema import COMPONENTS, SCRIPT, fixed_keys, flatten
from paribus.core.errors import RequestError

_VARIABLE = "_PARIBUS_COMPLETE"  # click's, for a program of this name
# A completed KEY= is followed by its value, so the shell must not add a space.
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


Words = Callable[[click.Context, str], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(words: Words) -> Complete:
    """Make what click calls of a function that gives the words which are valid.

    A word is completed by its beginning, a dotted one by its last part too.
    """

    @functools.wraps(words)
    def complete(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        try:
            known = list(dict.fromkeys(words(context, typed)))
        except Exception:  # a shell has no place for an error: the command itself reports it
            return []
        found = [word for word in known if word.startswith(typed)]
        return found or [word for word in known if word.rpartition(".")[2].startswith(typed)]

    return complete


@_completing
def complete_experiment(context: click.Context, typed: str) -> Iterator[str]:
    """Complete an experiment: of the catalogue, a file or a run."""
    yield from catalogue()
    folder = typed[: typed.rfind("/") + 1]
    yield from (f"{folder}{path.name}" for path in sorted(Path(folder).glob("*.py")))
    yield from context.params["root"].run_ids()


complete_study = _completing(lambda context, _typed: context.params["root"].study_names())
complete_subject = _completing(  # a study or a run
    lambda at, _typed: [*at.params["root"].study_names(), *at.params["root"].run_ids()]
)


@_completing
def complete_key(context: click.Context, _typed: str) -> Iterator[str]:
    """Complete ``KEY=`` of the experiment that was typed."""
    # Where the value of an option is completed, click has left the arguments unread.
    experiment = context.params["experiment"] or context.args[0]
    try:
        keys = _keys_of_file(find_experiment(experiment))
    except RequestError:
        from paribus.sweeps.study.lookup import find_run

        keys = iter(flatten(find_run(context.params["root"], experiment).record().configuration))
    yield from (f"{key}=" for key in keys)


# An experiment's file is read and not executed, as it may import torch.


def _keys_of_file(path: Path) -> Iterator[str]:
    """Yield the hyperparameters of an experiment's file, those of its own axes first."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    dicts = {
        target.id: _items(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    yield from dicts.get("AXES", ())
    if "BASELINE" not in dicts or COMMAND in dicts:
        yield from fixed_keys((SCRIPT,))
        names = dicts.get("BASELINE") or _keywords(tree, FUNCTION)
        yield from (f"{SCRIPT}.{name}" for name in names if name not in HIDDEN)
        return
    yield from fixed_keys()
    for kind in [kind for kind in COMPONENTS if kind in dicts["BASELINE"]]:
        component = dicts["BASELINE"][kind]
        given = _items(component)
        component = given.pop("name", component)
        keywords: Iterator[str] = iter(())
        if isinstance(component, ast.Name):
            keywords = _keywords(tree, component.id)
        elif isinstance(component, ast.Constant):
            name = str(component.value).partition("(")[0]
            keywords = _keywords_of(NAMES[kind].get(name, name))
        yield from (f"{kind}.{keyword}" for keyword in (*given, *keywords))


def _items(node: ast.expr) -> dict[str, ast.expr]:
    """Return the items of a dict whose keys are words; none of another expression."""
    pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    return {str(key.value): value for key, value in pairs if isinstance(key, ast.Constant)}


def _keywords(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield the keywords of a class or function that a module defines or imports."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield from _keywords_of(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            made: list[Any] = [node] if isinstance(node, ast.FunctionDef) else node.body
            for function in made:
                if function is node or getattr(function, "name", "") == "__init__":
                    arguments = [*function.args.args, *function.args.kwonlyargs]
                    yield from (a.arg for a in arguments if a.arg not in _NOT_TYPED)


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
