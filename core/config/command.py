"""A command as an experiment: `COMMAND` starts any script, and its braces are hyperparameters.

``{name}`` is a hyperparameter, and ``{--flag}`` one that is true or false: its word is there or
not. ``{seed}`` and ``{out}``, the run's own folder, are filled in.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Formatter
from typing import Any

from paribus.core.config.values import as_plain, show_value
from paribus.core.errors import Faults, did_you_mean, shown
from paribus.core.sources.import_closure import ImportClosure

COMMAND = "COMMAND"
TYPED = "commands"  # the folder of results in which typed commands have their files
_PYTHON = ("python", "python3")
_NAME = re.compile(r"[A-Za-z_]\w*")
_FILES = (".json", ".jsonl", ".csv", "")  # what metrics are read from; "": a folder of events


@dataclass(frozen=True)
class Command:
    """What an experiment's file says of its command."""

    words: Sequence[str]  # of `COMMAND`, with their braces
    folder: Path  # where it runs, and where relative paths begin
    levels: Mapping[str, Any]  # the baseline's level of each hyperparameter
    inputs: Sequence[str]  # `INPUTS`: what decides the numbers besides the files in `words`
    pattern: re.Pattern[str] | None  # `METRICS` as an expression; None: a line's form decides
    written: str | None  # `METRICS` as a file, or folder of TensorBoard events, that it writes

    def render(self, levels: Mapping[str, Any], seed: int, out: Path) -> list[str]:
        """Return the words to start; numbers as Python writes them, ``true``, ``false``, ``none``.

        ``python`` is the interpreter of this process.
        """
        known = {name: show_value(value) for name, value in levels.items()}
        known |= {"seed": str(seed), "out": str(out)}
        found = []
        for word in self.words:
            if not word.startswith("{-"):
                found.append(fill_in(word, known))
            elif levels[key_of(word[1:-1])]:
                found.append(word[1:-1])
        return [sys.executable if found[0] in _PYTHON else found[0], *found[1:]]

    def imports(self, words: list[str]) -> list[ImportClosure]:
        """Return what each Python script among these words imports, and what a module does."""
        modules = words[words.index("-m") + 1 :][:1] if "-m" in words else []
        scripts = [None, *(path for path in self.files(words) if path.suffix == ".py")]
        return [ImportClosure.of_script(s, self.folder, () if s else modules) for s in scripts]

    def files(self, words: list[str]) -> Iterator[Path]:
        """Yield the files that these words name, ``--option=FILE`` too, and those of `INPUTS`.

        ``FOLDER/*`` is all files of a folder.
        """
        for word in words[words[0] == sys.executable :]:
            for text in {word, word.partition("=")[2]} - {""}:
                if _is_file(self.folder / text):
                    yield self.folder / text
        for item in self.inputs:
            yield from _matches(self.folder, item)


def key_of(flag: str) -> str:
    """Return the hyperparameter of an option: ``use_amp`` of ``--use-amp``."""
    return flag.lstrip("-").replace("-", "_")


def fill_in(text: str, known: Mapping[str, str]) -> str:
    """Return a text with its braces filled in."""
    parts = Formatter().parse(text)
    return "".join(before + (known[name] if name else "") for before, name, _, _ in parts)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises if a name is too long


def _matches(folder: Path, item: str) -> list[Path]:
    path = folder / item
    with suppress(OSError, ValueError):  # no name of a file, no pattern
        if path.is_dir():
            below = path.rglob("*")
            return [path / "*", *sorted(inner / "*" for inner in below if inner.is_dir())]
        top = folder / Path(item).anchor
        return sorted(filter(_is_file, top.glob(item.lstrip("/"))))
    return []


def read_command(where: str, objects: Mapping[str, Any], faults: Faults) -> Command:
    """Read what a file says of its command; `faults` takes all that is wrong."""

    def fault(message: str, hint: str = "") -> None:
        faults.add(message if is_typed else f"{where}: {message}", hint)

    is_typed = TYPED in Path(objects["__file__"]).parts[-3:-1]
    folder, words = Path(objects["__file__"]).parent, list[str]()
    try:
        folder = Path(objects.get("FOLDER") or folder)
    except TypeError:
        fault("FOLDER is no path.", 'Such as FOLDER = "/home/me/project".')
    try:
        if not isinstance(objects[COMMAND], str):
            raise ValueError("it is no text")
        words = shlex.split(objects[COMMAND]) or [""]
    except ValueError as error:
        fault(f"COMMAND is no command: {error}.", 'Such as "python train.py --seed {seed}".')
    names: dict[str, str] = {}
    for name in (name for word in words for name in _braces(word, fault)):
        known = names.setdefault(key_of(name), name)
        if known.startswith("-") != name.startswith("-"):
            flag, value = sorted((known, name))
            fault(f"{{{flag}}} is a flag, and {{{value}}} is none.", "Give one another name.")
    if words and "seed" not in names:
        fault("COMMAND has no {seed}.", "Such as --seed {seed}; seeds are what verdicts rest on.")
    wanted = [name for name in names if name not in ("seed", "out")]
    given, inputs = objects.get("BASELINE", {}), objects.get("INPUTS", [])
    if not isinstance(given, Mapping):
        fault("BASELINE is no dict from hyperparameter to value.")
        given = dict.fromkeys(wanted)
    for name in given.keys() - set(wanted):
        fault(f"COMMAND has no {{{shown(name)}}}.", did_you_mean(str(name), wanted))
    levels = {}
    for name in wanted:
        with faults.collecting():
            levels[name] = as_plain(given.get(name), f"{where}: BASELINE {name}")
        if name not in given:
            fault(f"BASELINE has no '{name}'.", f'Such as BASELINE = {{"{name}": VALUE}}.')
        elif names[name].startswith("-") and not isinstance(given[name], bool):
            fault(f"{{{names[name]}}} is a flag: BASELINE {name} must be True or False.")
    program, *rest = words or _PYTHON
    if not folder.is_dir():
        fault(f"the command's folder {shown(folder, 300)} is not there.", "Bring it back.")
    elif not (program in _PYTHON or shutil.which(program) or _is_file(folder / program)):
        fault(f"there is no program '{shown(program)}'.")
    elif rest and re.fullmatch(r"[^{]+\.py", rest[0]) and not _is_file(folder / rest[0]):
        near = did_you_mean(rest[0], [path.name for path in folder.glob("*.py")])
        fault(f"there is no '{shown(rest[0])}' in {shown(folder, 300)}.", near)
    if not (isinstance(inputs, list) and all(isinstance(item, str) for item in inputs)):
        fault("INPUTS is no list of files.", 'Such as INPUTS = ["data/*.csv"].')
        inputs = []
    for item in (item for item in inputs if not _matches(folder, item)):
        fault(f"INPUTS: there is no file '{shown(item)}' in {shown(folder, 300)}.")
    return Command(words, folder, levels, inputs, *_metrics(objects.get("METRICS"), fault))


def _braces(text: str, fault: Callable[..., None]) -> Iterator[str]:
    """Yield the names in a text's braces."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        return fault(f"'{shown(text)}': {error}.", "Write {{ and }} for braces.")
    for _, name, form, conversion in parts:
        if name is None:
            continue
        is_flag = name.startswith("-") and text == f"{{{name}}}"
        key = key_of(name) if is_flag else name
        taken = {"name", *(("seed", "out") if is_flag else ())}
        if form or conversion or key in taken or not _NAME.fullmatch(key):
            fault(
                f"{{{shown(name)}}} in '{shown(text)}' is no hyperparameter.",
                "Write {lr}, or {--flag} as a word of its own; {{ and }} for braces; {name} and "
                "the flags {--seed} and {--out} are none.",
            )
        else:
            yield name


def _metrics(given: Any, fault: Callable[..., None]) -> tuple[re.Pattern[str] | None, str | None]:
    """Return `METRICS` as a regular expression, or as the path of what is written."""
    text = given if isinstance(given, str) else ""
    if "(?P<" in text:
        try:
            return re.compile(text), None
        except re.error as error:
            fault(f"METRICS is no regular expression: {error}.")
    elif given is None:
        return None, None
    elif not re.fullmatch(r"\{out\}(/[^{}]*)?", text) or Path(text).suffix not in _FILES:
        fault(
            f"METRICS: '{shown(given)}' is neither a regular expression with (?P<name>…) nor a "
            "path below {out} of a file .json, .jsonl or .csv, or a folder of TensorBoard events.",
            "Such as {out}/metrics.json.",
        )
    elif not Path(text).suffix and find_spec("tensorboard") is None:
        fault("TensorBoard events are read by tensorboard.", "pip install 'paribus[tensorboard]'")
    return None, text
