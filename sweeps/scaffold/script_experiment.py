"""Write the experiment of a script as it is: for `new --script`, and for `sweep … -- COMMAND`."""

import ast
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from paribus.core.config.command import key_of
from paribus.core.config.schema import DIRECTIONS, split_override
from paribus.core.config.values import parse_value, split_commas
from paribus.core.errors import Faults, RequestError, nearest, shown
from paribus.core.fileio import creating
from paribus.sweeps.scaffold.write_experiment import (
    check_name,
    comment,
    create_file,
    literal,
    prose,
)

_SEEDS = ("seed", "random_seed", "random_state", "manual_seed")
_FOLDERS = re.compile(
    r"out(put)?|(out|output|save|log|logging|results?|run|model)_?(dir|path|folder)"
)
_PLAIN = re.compile(r"[\w@%+=:,./{}-]+")


def for_command(
    words: Sequence[str],
    axes: Sequence[str],
    overrides: Sequence[str],
    select: Mapping[str, str | None],
    metrics: str | None,
    folder: Path,
    faults: Faults,
    undo: ExitStack,
) -> Path:
    """Write the experiment of a typed command, unless it is there; `undo` removes it again.

    The baseline has the first level of each axis, or what the overrides set.

    Raises:
        RequestError: With `faults` and those of axes and overrides.
    """
    typed = {
        key: [v] for text in overrides for key, v in [split_override(text, faults) or ("", "")]
    }
    for text in axes:
        key, equals, levels = text.partition("=")
        if not equals:
            faults.add(f"'{shown(text)}' is not KEY=LEVELS.", "Only these and options stand before "
                       "-- COMMAND; the experiment is the command itself.")  # fmt: skip
        elif ":" not in levels:
            typed[key] = [*typed.get(key, ()), *split_commas(levels)]
        elif key not in typed:
            faults.add(f"{shown(text)}: a range does not say which level is the baseline.",
                       f"Add --set {key}=VALUE.")  # fmt: skip
    baseline = {}
    for key, texts in typed.items():
        with faults.collecting():
            values = [parse_value(text, key) for text in texts]
            whole = {type(value) for value in values} == {int, float}
            baseline[key.removeprefix("script.")] = float(values[0]) if whole else values[0]
    if not select["metric"]:
        faults.add("A command needs --metric, which chooses the best epoch: a name that it prints.",
                   "Such as --metric val/loss --direction minimize.")  # fmt: skip
    elif not select["direction"] and select["metric"].split("/")[-1] not in DIRECTIONS:
        faults.add(f"--metric {shown(select['metric'])}: it is not known which way is better.",
                   "Add --direction maximize or --direction minimize.")  # fmt: skip
    faults.check()
    command = " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)
    more = {"FOLDER": str(Path.cwd()), **({"METRICS": metrics} if metrics else {})}
    text = _text(command, command, baseline, {k: v for k, v in select.items() if v}, more)
    script = next((word for word in words if word.endswith(".py")), words[0])
    stem, content = re.sub(r"\W+", "_", Path(script).stem), text.encode()
    # A run's id has the file's name: of the command alone, as levels are part of it already.
    folder /= hashlib.sha256(content).hexdigest()[:12]
    file = folder / f"{stem[:40]}_{hashlib.sha256(command.encode()).hexdigest()[:6]}.py"
    if file.exists():
        if file.read_bytes() != content:  # it would be executed
            raise RequestError(f"{shown(file, 300)} is there, with other content.", "Move it away.")
    else:
        for place in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
            undo.callback(_remove_folder, place)
        undo.callback(file.unlink, missing_ok=True)
        with creating(f"The experiment {file}"):
            folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return file


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # another command has put something there
        folder.rmdir()


def for_script(name: str, script: str, folder: Path) -> tuple[Path, list[str]]:
    """Write ``NAME.py`` after reading a script's options of argparse or click; run nothing.

    Returns:
        The file, and what is to be filled in there.

    Raises:
        RequestError: If the name or the script will not do.
    """
    file, faults, calls = folder / f"{name}.py", Faults(), list[ast.Call]()
    with faults.collecting():
        check_name(name, file)
    try:
        tree = ast.parse((folder / script).read_bytes())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    except FileNotFoundError:
        near = nearest(script, [path.name for path in folder.glob("*.py")])
        faults.add(f"There is no file {shown(script)}.",
                   f"Did you mean '{near}'?" if near else "Name a Python script.")  # fmt: skip
    except SyntaxError as error:
        faults.add(f"{shown(script)}, line {error.lineno}: {error.msg}.", "Correct it.")
    except (OSError, ValueError) as error:
        faults.add(f"{shown(script)} cannot be read: {error}.", "Name a Python script.")
    faults.check()
    words, baseline, axes, notes = ["python", shlex.quote(script)], {}, {}, list[str]()
    for flag, default, choices, kind in filter(None, map(_option, calls)):
        key = key_of(flag)
        if (key in _SEEDS and kind is not bool) or (_FOLDERS.fullmatch(key) and kind is str):
            words += [flag, "{seed}" if key in _SEEDS else "{out}"]
        elif default is None:
            notes.append(f"{flag} is left out: it has no default that is one number or word.")
        elif key in ("seed", "out", "name"):
            notes.append(f"{flag} is left out: it cannot be {{{key}}}, which is no hyperparameter.")
        else:
            words += [f"{{{flag}}}"] if isinstance(default, bool) else [flag, f"{{{key}}}"]
            baseline[key] = default
            if isinstance(default, float) and re.search(r"(^|_)(lr|learning_rate)$", key):
                choices = [float(f"{default * factor:.6g}") for factor in (0.1, 10)]
            if others := [level for level in choices if level != default]:
                axes[f"script.{key}"] = others
    if "{seed}" not in words:
        words += ["--seed", "{seed}"]
        notes.append("No option for a seed was found: give the script one, or correct COMMAND.")
    if not baseline:
        notes.append("No option to try was found: add some to COMMAND and BASELINE: --lr {lr}.")
    notes.append('SELECT names no metric yet: write one as the script prints it, such as {"metric":'
                 ' "val/loss", "direction": "minimize"}.')  # fmt: skip
    question, command = f"What do the options of {script} change?", " ".join(words)
    create_file(file, _text(question, command, baseline, {"metric": ""}, {"AXES": axes}, notes))
    return file, notes


def _option(call: ast.Call) -> tuple[str, Any, Sequence[Any], type | None] | None:
    """Return an option's flag, default, choices and type; None where a call defines no option.

    The default is None if it is not one plain value; the type is bool where it takes no value,
    and str where it takes any text.
    """
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    flags = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    flag = max((f for f in flags if re.fullmatch(r"--?[A-Za-z][\w-]*", f)), key=len, default="")
    if name not in ("add_argument", "option") or not flag:
        return None
    texts = {word.arg: ast.unparse(word.value) for word in call.keywords}
    if found := re.search(r"Choice\((\[.*?\])", texts.get("type", "")):  # click's
        texts["choices"] = found.group(1)
    given: dict[str | None, Any] = {}
    for keyword, text in texts.items():
        with suppress(ValueError):
            given[keyword] = ast.literal_eval(text)
    if given.get("action") in ("store_true", "store_false") or given.get("is_flag"):
        return flag, False, (True,), bool
    default = given.get("default")
    if texts.get("type") == "float" and type(default) is int:
        default = float(default)
    if type(default) not in (int, float, str) or {"nargs", "multiple"} & texts.keys():
        default = None
    kind: type | None = bool if "action" in texts else str
    if "choices" in texts or texts.get("type") in ("int", "float") or type(default) in (int, float):
        kind = None
    return flag, default, given.get("choices", ()), kind


def _text(
    question: str,
    command: str,
    baseline: Mapping[str, Any],
    select: Mapping[str, Any],
    more: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> str:
    """Return the text of a command experiment."""
    parts = {"COMMAND": command, "BASELINE": baseline, **more, "SELECT": select}
    lines = [f"{name} = {literal(value)}" for name, value in parts.items()]
    return "\n".join([f'"""{prose(question)}"""', "", *map(comment, notes), *lines, ""])
