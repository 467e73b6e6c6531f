"""Start a command, and read the metrics that it prints or writes."""

import json
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Event, Thread
from typing import Any

from paribus.core.config.command import Command, fill_in
from paribus.core.errors import MISUSED, ProcessEnded, RequestError, did_you_mean, first_few, shown
from paribus.core.records.run_dir import LOG
from paribus.core.training.metric_files import read_rows, read_scalars

_PATIENCE = 5.0  # seconds that a command that is stopped, or what one left running, has to end
_PARTS = {*("train", "training", "val", "valid", "validation", "dev", "eval", "evaluation"),
          *("test", "testing")}  # fmt: skip
# ``name=1.5``, ``val name: 1.5``, ``'name': 93.2%``, and no part of a longer word or number: 1,234.
_PAIR = re.compile(
    rf"(?<![\w./@-])((?:(?:best|{'|'.join(_PARTS)}) )*[a-z_][\w./@-]*)['\"]?\s*[=:]\s*"
    r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf))"
    r"(?![,\xa0\u2009\u202f]\d)(?=%?(?:[\s,;|)\]}]|$))",
    re.IGNORECASE,
)
_USAGE = 2  # the exit code of argparse, click and Python for words that they do not take
_HINT = r'Say where it is with METRICS (--metrics-from), such as "valid: loss=(?P<loss>\S+)".'
_COUNTERS = ("epoch", "step")  # they tell epochs apart, and are no metrics

Numbers = dict[str, float]


def run_command(
    command: Command, levels: Mapping[str, Any], seed: int, folder: Path, metric: str
) -> Iterator[Numbers]:
    """Start a command with these levels; yield the metrics of each epoch as it reports them.

    ``log.txt``, and ``out`` with what it writes, stay in `folder`.

    Raises:
        RequestError: If it cannot be started, fails, or never reports the metric.
        ProcessEnded: If it was killed.
    """
    out = folder / "out"
    out.mkdir(exist_ok=True)
    last: deque[str] = deque(maxlen=2)
    reported: dict[str, None] = {}
    with _started(command.render(levels, seed, out), command.folder) as process:
        printed = _lines(process, folder / LOG, last)
        if command.written is None:
            yield from _epochs(_read_lines(printed, command.pattern, metric), metric, reported)
        for _ in printed:
            pass
        code = process.wait()
    end = f"{' | '.join(last) or 'it printed nothing'} (log.txt)."
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    if code in (-signal.SIGKILL, -signal.SIGTERM):
        raise ProcessEnded(f"the command was ended by {how}: {end}")
    if code == _USAGE:
        end = f"{' '.join([*last][-1:]) or 'it printed nothing'} (log.txt)."
        raise RequestError(f"the command failed ({how}): {end}", kind=MISUSED)
    if code:
        raise RequestError(f"the command failed ({how}): {end}")
    if command.written is not None:
        path = Path(fill_in(command.written, {"out": str(out)}))
        yield from _epochs(_read_written(path), metric, reported)
    if metric not in reported:
        text = f"'{shown(metric)}' never came; these did: {first_few([*reported], 20) or 'none'}."
        if reported:
            raise RequestError(text, f"{did_you_mean(metric, reported)} {_HINT}", MISUSED)
        raise RequestError(f"{text} {_HINT} Its last lines: {end}")


@contextmanager
def _started(words: list[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a process in a group of its own, which ends with the block or with this process."""
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # lines come as they are printed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),  # workers ignore it
        )
    except OSError as error:
        raise RequestError(f"{shown(words[0])} cannot be started: {error.strerror}.") from error
    # However this process ends, the pipe closes, and the guard ends the group.
    guard = subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill -9 -{process.pid} 2>/dev/null"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    ended = Event()

    def end_what_is_left() -> None:
        process.wait()  # while what it started holds the pipe, its end is not read
        if not ended.wait(_PATIENCE):
            guard.communicate()

    Thread(target=end_what_is_left, daemon=True).start()
    try:
        yield process
    finally:
        ended.set()
        if process.poll() is None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(_PATIENCE)
        with process:  # closes its pipe and waits for it
            guard.communicate()


def _lines(process: "subprocess.Popen[bytes]", log: Path, last: deque[str]) -> Iterator[str]:
    """Yield lines as they are printed; of one that a progress bar overwrites its last state."""
    assert process.stdout is not None
    with log.open("wb") as file:
        for line in process.stdout:
            file.write(line)
            file.flush()
            text = line.decode(errors="replace").rstrip().rpartition("\r")[2]
            last += [shown(text.strip(), 110)] if text.strip(" ^~") else []
            yield text


def _epochs(items: Iterable[Numbers], metric: str, reported: dict[str, None]) -> Iterator[Numbers]:
    """Yield the numbers of each epoch: it ends when a name comes again after the metric came."""
    epoch: Numbers = {}
    for item in chain(items, [None]):
        if metric in epoch and (item is None or epoch.keys() & item.keys()):
            yield {name: x for name, x in epoch.items() if name not in _COUNTERS}
            epoch = {}
        epoch |= item or {}
        reported |= dict.fromkeys(name for name in item or {} if name not in _COUNTERS)


def _read_lines(
    lines: Iterable[str], pattern: re.Pattern[str] | None, metric: str
) -> Iterator[Numbers]:
    """Yield the metrics of each printed line: a JSON object's, else `_PAIR`s.

    Or what the groups of a pattern hold. Of a name with two values in one line neither is right.

    Raises:
        RequestError: If that is the metric, or lines have it of different parts of the data.
    """
    before: set[str] | None = None  # the metric's first value
    for line in lines:
        if pattern is not None:
            yield _as_numbers(match.groupdict() if (match := pattern.search(line)) else {})
            continue
        with suppress(ValueError, RecursionError):
            if isinstance(value := json.loads(line), dict):
                yield _of_json(value)
                continue
        pairs: dict[str, set[float]] = {}
        for match in _PAIR.finditer(line):
            pairs.setdefault(match[1], set()).add(float(match[2]))
            words = _words(line[: match.start()]) & _PARTS
            if match[1] == metric and before not in (None, words) and not _words(metric) & _PARTS:
                first, other = ("/".join(sorted(x)) or "nothing" for x in (before or (), words))
                text = f"'{shown(metric)}' stands behind {first} in one line, {other} in another."
                raise RequestError(text, _HINT)
            before = words if match[1] == metric else before
        if len(twice := pairs.get(metric, ())) > 1:
            text = f"'{shown(metric)}' is {' and '.join(map(str, sorted(twice)))} in one line."
            raise RequestError(text, _HINT)
        yield {name: min(values) for name, values in pairs.items() if len(values) == 1}


def _words(text: str) -> set[str]:
    return set(re.findall("[a-z]+", text.lower()))


def _of_json(value: Mapping[str, Any], above: str = "") -> Numbers:
    """Return the numbers of a JSON object; one inside another as ``outer/inner``."""
    numbers: Numbers = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            numbers |= _of_json(inner, f"{above}{name}/")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            numbers[above + name] = float(str(inner))  # 10**400, too, which is infinite
    return {name: number for name, number in numbers.items() if not name.startswith("_")}


def _as_numbers(texts: Mapping[str, Any]) -> Numbers:
    """Return the texts that are numbers."""
    numbers: Numbers = {}
    for name, text in texts.items():
        with suppress(ValueError, TypeError):
            numbers[name] = float(text)
    return numbers


def _read_written(path: Path) -> list[Numbers]:
    """Return the metrics of a file, or of the TensorBoard events below a folder, in their order."""
    if path.is_dir():
        return _read_events(path)
    columns, rows = read_rows(path, f"METRICS: {path.name}")
    return [_as_numbers(row) if columns else _of_json(row) for _, row in rows]


def _read_events(folder: Path) -> list[Numbers]:
    """Return the scalars of TensorBoard events by step.

    Where several folders hold events, names begin with the folder's.
    """
    places = sorted({file.parent for file in folder.rglob("*tfevents*")})
    steps: dict[int, Numbers] = {}
    for place in places:
        before = f"{place.relative_to(folder)}/" if len(places) > 1 else ""
        for tag, scalars in read_scalars(place)[0].items():
            for step, value in scalars:
                steps.setdefault(step, {"step": step})[before + tag] = value
    return [steps[step] for step in sorted(steps)]
