"""Write the experiment of a script as it is: for `new --script`, and for `sweep … -- COMMAND`."""

import ast
import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from paribus.core.config.command import key_of
from paribus.core.config.schema import split_override
from paribus.core.config.values import parse_value, split_commas
from paribus.core.errors import Faults, shown
from paribus.core.fileio import creating
from paribus.sweeps.scaffold.write_experiment import (
    check_name,
    comment,
    create_file,
    literal,
    prose,
)

_SEEDS = ("seed", "random_seed", "random_state", "manual_seed")
_FOLDERS = re.compile(r"(out|output|save|log|logging|results?|run|model)(_?(dir|path|folder))?")
_TYPES = {"int": int, "float": float, "str": str}
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
    given = dict(pair for text in overrides if (pair := split_override(text, faults)))
    typed = {key: [value] for key, value in given.items()}
    for text in axes:
        key, equals, levels = text.partition("=")
        if not equals:
            faults.add(f"'{shown(text)}' is not KEY=LEVELS.", "Only these and options stand before "
                       "-- COMMAND; the experiment is the command itself.", "command")  # fmt: skip
        elif ":" in levels and key not in given:
            faults.add(f"{shown(text)}: a range does not say which level is the baseline.",
                       f"Add --set {key}=VALUE.", "command")  # fmt: skip
        elif ":" not in levels:
            typed[key] = [*typed.get(key, ()), *split_commas(levels)]
    baseline = {}
    for key, texts in typed.items():
        with faults.collecting():
            first, *others = (parse_value(text, key) for text in texts)
            whole = type(first) is int and any(type(value) is float for value in others)
            baseline[key.removeprefix("script.")] = float(first) if whole else first
    if not select["metric"]:
        faults.add("A command needs --metric, which chooses the best epoch: a name that it prints.",
                   "Such as --metric val/loss --direction minimize.", "command")  # fmt: skip
    faults.check()
    command = " ".join(word if _PLAIN.fullmatch(word) else shlex.quote(word) for word in words)
    known = {key: value for key, value in select.items() if value}
    text = _text(command, command, baseline, known, {}, metrics, Path.cwd())
    script = next((word for word in words if word.endswith(".py")), words[0])
    stem = re.sub(r"\W+", "_", Path(script).stem)[:40]
    file = folder / f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:6]}.py"
    if not file.exists():
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        undo.callback(_remove, file, missing)
        with creating(f"The experiment {file}"):
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return file


def _remove(file: Path, folders: Sequence[Path]) -> None:
    file.unlink(missing_ok=True)
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def for_script(name: str, script: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write ``NAME.py`` after reading a script's options of argparse or click; runs nothing.

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
    except (OSError, SyntaxError, ValueError) as error:
        faults.add(f"{shown(script)} cannot be read: {error}.", "Name a Python script.", "script")
    faults.check()
    words, baseline, axes, notes = ["python", str(script)], {}, {}, list[str]()
    names = set()
    for call in calls:
        for flag, key, default, choices, why in _option(call):
            names.add(key)
            if key in _SEEDS:
                words += [flag, "{seed}"]
            elif _FOLDERS.fullmatch(key):
                words += [flag, "{out}"]
            elif why or default is None:
                notes.append(f"{flag} {why or 'has no default'}: it is left out of COMMAND.")
            else:
                words += [f"{{{flag}}}"] if isinstance(default, bool) else [flag, f"{{{key}}}"]
                baseline[key] = default
                if others := [level for level in choices if level != default]:
                    axes[f"script.{key}"] = others
                elif isinstance(default, float) and re.search(r"(^|_)(lr|learning_rate)$", key):
                    axes[f"script.{key}"] = [float(f"{default * x:.6g}") for x in (0.1, 10)]
    if not names & set(_SEEDS):
        words += ["--seed", "{seed}"]
        notes.append("No option for a seed was found: give the script one, or correct COMMAND.")
    if not baseline:
        notes.append("No options with defaults were found: add those to try, such as --lr {lr}, "
                     "to COMMAND and BASELINE.")  # fmt: skip
    notes.append("SELECT names no metric yet: write one as the script prints it, as in "
                 '{"metric": "val/loss", "direction": "minimize"}.')  # fmt: skip
    question = f"What do the options of {script} change?"
    command, select = " ".join(words), {"metric": ""}
    create_file(file, _text(question, command, baseline, select, axes, notes=notes))
    return file, notes


def _option(call: ast.Call) -> Iterator[tuple[str, str, Any, Sequence[Any], str]]:
    """Yield an option's flag, key, default, choices, and why it cannot be used, if it is one."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    flags = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    flag = max((f for f in flags if f.startswith("-")), key=len, default="")
    if name not in ("add_argument", "option") or not flag:
        return
    given: dict[str, Any] = {}
    for word in call.keywords:
        given[word.arg or "**"] = ast.unparse(word.value)
        with suppress(ValueError):
            given[word.arg or "**"] = ast.literal_eval(word.value)
    kind, action, default = given.get("type", "str"), given.get("action"), given.get("default")
    choices = given.get("choices", ())
    if found := re.fullmatch(r"(?:click\.)?Choice\((\[.*?\]).*\)", str(kind)):
        kind, choices = "str", ast.literal_eval(found.group(1))
    if action in ("store_true", "store_false") or given.get("is_flag") is True:
        yield flag, key_of(flag), False, (True, False), ("/" in flag and "has two flags") or ""
        return
    accepts = _TYPES.get(kind if "type" in given else type(default).__name__)
    if accepts and default is not None:
        fits = isinstance(default, accepts) or (accepts is float and type(default) is int)
        default = accepts(default) if fits and not isinstance(default, bool) else None
    why = "" if accepts or default is None else f"is of type {kind}"
    yield (
        flag,
        key_of(flag),
        default if accepts else None,
        choices,
        ("takes several values" if {"nargs", "multiple"} & given.keys() else why),
    )


def _text(
    question: str,
    command: str,
    baseline: Mapping[str, Any],
    select: Mapping[str, str],
    axes: Mapping[str, Sequence[Any]],
    metrics: str | None = None,
    folder: Path | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the text of a command experiment."""
    lines = [f'"""{prose(question)}"""', "", *(comment(note) for note in notes)]
    lines += [f"FOLDER = {_source(str(folder))}  # where it runs"] if folder else []
    lines += [f"COMMAND = {_source(command)}"]
    for name, items in (("BASELINE", baseline), ("AXES", axes)):
        each = (f"    {_source(key)}: {_source(value)}," for key, value in items.items())
        lines += [f"{name} = {{", *each, "}"] if items else []
    lines += [f"METRICS = {_source(metrics)}"] if metrics else []
    chosen = ", ".join(f"{_source(key)}: {_source(value)}" for key, value in select.items())
    return "\n".join([*lines, f"SELECT = {{{chosen}}}", ""])


def _source(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_source, value))}]"
    return literal(value) if isinstance(value, str) else repr(value)
