"""A command as an experiment: `COMMAND` starts any script, and its braces are hyperparameters.

``{name}`` is a hyperparameter, and ``{--flag}`` one that is true or false: its word is there or
not. ``{seed}`` and ``{out}``, the run's own folder, are filled in.
"""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Formatter
from typing import Any

from paribus.core.config.values import as_plain, show_value
from paribus.core.errors import Faults, did_you_mean, shown
from paribus.core.sources.import_closure import ImportClosure

COMMAND = "COMMAND"
TYPED = "commands"  # the folder of results in which a typed command has its file
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

    def function(self) -> Callable[..., Any]:
        """Return a generator with the hyperparameters as keywords, in the place of `train`.

        It is never called.
        """

        def train(**levels: Any) -> Iterator[Any]:
            yield levels

        kind = inspect.Parameter.KEYWORD_ONLY
        keywords = [inspect.Parameter(k, kind, default=v) for k, v in self.levels.items()]
        signature = inspect.Signature([*keywords, inspect.Parameter("seed", kind)])
        train.__signature__ = signature  # type: ignore[attr-defined]
        return train

    def imports(self, words: list[str]) -> ImportClosure:
        """Return what the Python script or module among these words imports."""
        scripts = (self.folder / word for word in words if word.endswith(".py"))
        script = next((path for path in scripts if path.is_file()), None)
        modules = words[words.index("-m") + 1 :][:1] if "-m" in words else []
        return ImportClosure.of_script(script, self.folder, modules)

    def files(self, words: list[str]) -> Iterator[Path]:
        """Yield the files that these words name, ``--option=FILE`` too, and those of `INPUTS`.

        ``FOLDER/*`` is all files of a folder.
        """
        for word in words[words[0] == sys.executable :]:
            for text in {word, word.partition("=")[2]} - {""}:
                if len(text) < 1000 and (path := self.folder / text).is_file():
                    yield path
        for item in self.inputs:
            yield from _matches(self.folder, item)


def key_of(flag: str) -> str:
    """Return the hyperparameter of an option: ``use_amp`` of ``--use-amp``."""
    return flag.lstrip("-").replace("-", "_")


def fill_in(text: str, known: Mapping[str, str]) -> str:
    """Return a text with its braces filled in."""
    parts = Formatter().parse(text)
    return "".join(before + (known[name] if name else "") for before, name, _, _ in parts)


def _matches(folder: Path, item: str) -> list[Path]:
    if (folder / item).is_dir():
        below = (folder / item).rglob("*")
        return [folder / item / "*", *sorted(path / "*" for path in below if path.is_dir())]
    return sorted(path for path in folder.glob(item) if path.is_file())


def read_command(where: str, objects: Mapping[str, Any], faults: Faults) -> Command:
    """Read what a file says of its command; `faults` takes all that is wrong."""

    def fault(message: str, hint: str = "") -> None:
        faults.add(message if is_typed else f"{where}: {message}", hint)

    is_typed = Path(objects["__file__"]).parent.name == TYPED
    folder = Path(objects.get("FOLDER") or Path(objects["__file__"]).parent)
    words: list[str] = []
    try:
        words = shlex.split(objects[COMMAND]) or [""]
    except (ValueError, AttributeError, TypeError) as error:
        fault(f"COMMAND is no command: {error}.", 'Such as "python train.py --seed {seed}".')
    names = {key_of(name): name for word in words for name in _braces(word, fault)}
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
    elif not (program in _PYTHON or shutil.which(program) or (folder / program).is_file()):
        fault(f"there is no program '{shown(program)}'.")
    elif rest and re.fullmatch(r"[^{]+\.py", rest[0]) and not (folder / rest[0]).is_file():
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
        if form or conversion or not _NAME.fullmatch(key_of(name) if is_flag else name):
            fault(
                f"{{{shown(name)}}} in '{shown(text)}' is no hyperparameter.",
                "Write {name}, or {--flag} as a word of its own; {{ and }} for braces.",
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
