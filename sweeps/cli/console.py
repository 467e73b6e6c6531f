"""What commands print: lines, tables, JSON; and the clean stop."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import rich_click as click

from paribus.core.config.values import null_if_not_finite
from paribus.core.errors import inert, shortened
from paribus.core.records.run_dir import BEST
from paribus.sweeps.study.optuna_storage import without_credentials
from paribus.sweeps.study.results_dir import ResultsDir

INTERRUPTED = 130  # exit code


_LONGEST_CELL = 120  # characters


def root_words(root: ResultsDir) -> list[str]:
    """``--root DIR`` for a command to paste; nothing where that is where it looks anyway."""
    usual = ResultsDir(Path(os.environ.get("PARIBUS_ROOT") or "results"))
    return [] if usual.path == root.path else ["--root", str(root.path)]


def command(*words: str) -> str:
    """A command to paste, without the secrets of a ``--storage``."""
    shown_words = list(words)
    for number, word in enumerate(words):
        if word.startswith("--storage="):
            shown_words[number] = "--storage=" + without_credentials(word.partition("=")[2])
        elif number and words[number - 1] == "--storage":
            shown_words[number] = without_credentials(word)
    return shlex.join(["paribus", *shown_words])


def print_json(document: Any) -> None:
    """One JSON document on standard output; numbers that are not finite are null."""
    text = json.dumps(null_if_not_finite(document), indent=2, ensure_ascii=False)
    # Half a character, as in the name of a file, stands there as JSON's own escape.
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def say(text: str = "") -> None:
    """A line on standard output."""
    click.echo(inert(text))


def warn(text: str) -> None:
    """A line on standard error, above what is drawn there: click would write past it."""
    sys.stderr.write(f"{inert(text)}\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """A table on standard output. Markup in cells is inert, very long ones are cut in the middle.

    Args:
        columns: Headings.
        rows: Cells.
        right: Columns that are set to the right.
        styles: Of each row, on a terminal; none at all: plain.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [
        [shortened(" ".join(inert(cell).split("\n")), _LONGEST_CELL) for cell in row]
        for row in rows
    ]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if number in right else "left"
        # What names a row, and numbers, are never cut; the last column gives way.
        widest = max(len(cell) for cell in (column, *(row[number] for row in rows)))
        last = number == len(columns) - 1 and number > 0
        drawn.add_column(
            Text(column), justify=side, overflow="fold", min_width=None if last else widest
        )
    for number, row in enumerate(rows):
        drawn.add_row(*[Text(cell) for cell in row], style=styles[number] if styles else None)
    console = Console(highlight=False)
    if console.is_terminal:
        # A narrow terminal folds the lines itself; cutting columns off would hide results.
        needed = sum((column.min_width or 12) + 3 for column in drawn.columns)
        Console(highlight=False, width=max(console.width, needed)).print(drawn)
        return
    # To a pipe or a file: as wide as it has to be, and no spaces at the ends of lines.
    text = io.StringIO()
    Console(file=text, highlight=False, width=10_000, color_system=None).print(drawn)
    click.echo("\n".join(line.rstrip() for line in text.getvalue().rstrip("\n").split("\n")))


def bar(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Shows on a terminal how far one is in going through something."""

    def watched(items: Sequence[Any]) -> Iterable[Any]:
        from rich.console import Console
        from rich.progress import track

        quiet = not sys.stderr.isatty()
        return track(items, what, console=Console(stderr=True), transient=True, disable=quiet)

    return watched


@contextmanager
def clean_stop() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop.

    The first Ctrl-C or SIGTERM asks for a clean stop, a second Ctrl-C stops at once.
    """
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        warn("Stopping after this epoch; once more to stop at once.")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def best_of_run(folder: Path) -> str:
    """Where the best of a run lies: its model, if it has one."""
    file = folder / BEST
    return f"best model: {file}" if file.exists() else f"best run: {folder}"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"
