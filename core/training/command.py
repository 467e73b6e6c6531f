"""Start a command, and read the metrics that it prints or writes."""

import csv
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
from typing import Any

from paribus.core.config.command import Command, fill_in
from paribus.core.errors import MISUSED, ProcessEnded, RequestError, did_you_mean, first_few, shown
from paribus.core.records.run_dir import LOG

_PATIENCE = 5.0  # seconds that a command that is stopped has to end by itself
# ``name=1.5``, ``name: 1.5`` or ``name: 93.2%``, and no part of a longer word.
_PAIR = re.compile(
    r"(?<![\w./@-])([a-z_][\w./@-]*)\s*[=:]\s*"
    r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf))(?=%?(?:[\s,;|)\]}]|$))",
    re.IGNORECASE,
)
_USAGE = 2  # the exit code of argparse, click and Python for words that they do not take
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
    came: dict[str, None] = {}
    with _started(command.render(levels, seed, out), command.folder) as process:
        printed = _lines(process, folder / LOG, last)
        if command.written is None:
            yield from _epochs((_read_line(x, command.pattern) for x in printed), metric, came)
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
        yield from _epochs(_read_written(path), metric, came)
    if metric not in came:
        text = f"'{shown(metric)}' never came; these did: {first_few([*came], 20) or 'none'}."
        if came:
            raise RequestError(text, did_you_mean(metric, came), MISUSED)
        raise RequestError(f"{text} Its last lines: {end}")


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
    try:
        yield process
    finally:
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


def _epochs(items: Iterable[Numbers], metric: str, came: dict[str, None]) -> Iterator[Numbers]:
    """Yield the numbers of each epoch: it ends when a name comes again after the metric came."""
    epoch: Numbers = {}
    for item in chain(items, [None]):
        if metric in epoch and (item is None or epoch.keys() & item.keys()):
            yield {name: x for name, x in epoch.items() if name not in _COUNTERS}
            epoch = {}
        epoch |= item or {}
        came |= dict.fromkeys(name for name in item or {} if name not in _COUNTERS)


def _read_line(line: str, pattern: re.Pattern[str] | None) -> Numbers:
    """Return the metrics of a printed line: a JSON object's, or ``name=value`` and ``name: value``.

    Or what the groups of a pattern hold.
    """
    if pattern is not None:
        return _as_numbers(found.groupdict() if (found := pattern.search(line)) else {})
    with suppress(ValueError, RecursionError):
        if isinstance(value := json.loads(line), dict):
            return _of_json(value)
    return _as_numbers(dict(_PAIR.findall(line)))


def _of_json(value: Mapping[str, Any], above: str = "") -> Numbers:
    """Return the numbers of a JSON object; one inside another as ``outer/inner``."""
    found: Numbers = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            found |= _of_json(inner, f"{above}{name}/")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            found[above + name] = float(inner)
    return {name: number for name, number in found.items() if not name.startswith("_")}


def _as_numbers(texts: Mapping[str, Any]) -> Numbers:
    """Return the texts that are numbers."""
    found: Numbers = {}
    for name, text in texts.items():
        with suppress(ValueError, TypeError):
            found[name] = float(text)
    return found


def _read_written(path: Path) -> list[Numbers]:
    """Return the metrics of a file, or of the TensorBoard events below a folder, in their order.

    Raises:
        RequestError: If it is not there, or not of its form.
    """
    if path.is_dir():
        return _read_events(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if path.suffix == ".csv":
            return [_as_numbers(row) for row in csv.DictReader(lines)]
        values = map(json.loads, lines if path.suffix == ".jsonl" else ["\n".join(lines)])
        each = [
            item for value in values for item in (value if isinstance(value, list) else [value])
        ]
        return [_of_json(item) for item in each]
    except (OSError, ValueError, AttributeError, csv.Error) as error:
        raise RequestError(f"{path.name}, which METRICS names, cannot be read: {error}.") from error


def _read_events(folder: Path) -> list[Numbers]:
    """Return the scalars of TensorBoard events by step.

    Where several folders hold events, names begin with the folder's.
    """
    import numpy as np
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    places = sorted({file.parent for file in folder.rglob("*tfevents*")})
    steps: dict[int, Numbers] = {}
    for place in places:
        events = EventAccumulator(str(place), size_guidance={"scalars": 0})
        events.Reload()
        before = f"{place.relative_to(folder)}/" if len(places) > 1 else ""
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                # The shortest text of a float32 is the number that was logged: not 0.91000003.
                value = float(str(np.float32(event.value)))
                steps.setdefault(event.step, {"step": event.step})[before + tag] = value
    return [steps[step] for step in sorted(steps)]
