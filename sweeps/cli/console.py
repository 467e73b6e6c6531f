"""What commands share: lines and tables that fit the terminal, JSON, the clean stop, options."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from rich.cells import cell_len, set_cell_size

from paribus.core.config.values import null_if_not_finite, split_commas
from paribus.core.errors import Faults, inert
from paribus.core.records.run_dir import BEST
from paribus.sweeps.cli.completion import complete_experiment, complete_key
from paribus.sweeps.execution.driver import RunnerOptions
from paribus.sweeps.formatting import cut, distinct_cuts, without_credentials
from paribus.sweeps.study.request import OPTIONS, read_option
from paribus.sweeps.study.results_dir import ResultsDir, open_root

if TYPE_CHECKING:
    from paribus.sweeps.progress.progress_state import Training

INTERRUPTED = 130  # exit code

PLAIN = "paribus.plain"  # where click's context keeps whether `--plain` was given
_WIDTH = 100  # columns, where there is no terminal
_NARROWEST = 8  # columns that a text column keeps
_PASTED = re.compile(r"(?<=: )paribus (?=[a-z])")  # where a command to paste begins
_GAP = "  "
# What json leaves: control characters, what turns letters, half a character as in a file's name.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def width() -> int:
    """Return the columns of the terminal; 100 where there is none."""
    return max(20, shutil.get_terminal_size((_WIDTH, 24)).columns)


def is_plain() -> bool:
    """Return whether ``--plain`` was given."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(PLAIN))


def has_symbols() -> bool:
    """Return whether standard output may have symbols: a terminal, without ``--plain``."""
    return sys.stdout.isatty() and not is_plain()


def fitted(text: str) -> str:
    """Break lines that are too long between words; a command to paste stays one for the shell.

    A word longer than a line, such as a path, stays whole.
    """
    return "\n".join(part for line in text.split("\n") for part in _broken(line, width()))


def _broken(line: str, cells: int) -> list[str]:
    if cell_len(line) <= cells:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    pasted = _PASTED.search(line)
    start = line[: pasted.start()] if pasted else line
    lines = textwrap.wrap(
        start, cells, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    if not pasted:
        return lines
    try:
        words = [shlex.quote(word) for word in shlex.split(line[pasted.start() :])]
    except ValueError:  # a sentence that goes on
        words = line[pasted.start() :].split(" ")
    row = indent + words[0]
    for word in words[1:]:
        if cell_len(row) + 1 + cell_len(word) > cells - 2:
            lines.append(f"{row} \\")
            row = f"{indent}  {word}"
        else:
            row += f" {word}"
    return [*lines, row]


def command(*words: str) -> str:
    """Return a command to paste, without the secrets of a ``--storage``."""
    shown_words = list(words)
    for number, word in enumerate(words):
        if word.startswith("--storage="):
            shown_words[number] = "--storage=" + without_credentials(word.partition("=")[2])
        elif number and words[number - 1] == "--storage":
            shown_words[number] = without_credentials(word)
    return shlex.join(["paribus", *shown_words])


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """Print one JSON document; numbers that are not finite are null."""
    text = json.dumps(null_if_not_finite(document), indent=indent, ensure_ascii=False)
    click.echo(_UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text))


def say(*texts: str) -> None:
    """Print each text on standard output, broken into lines that fit."""
    for text in texts:
        click.echo(fitted(inert(text)))


def warn(*texts: str) -> None:
    """Print lines on standard error, above what is drawn there: click would write past it."""
    for text in texts:
        sys.stderr.write(f"{inert(text)}\n")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str] | str],
    right: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """Print a table that fits the terminal's width.

    Columns set to the `right` hold numbers, which are never cut. Of the others the widest is cut
    until the row fits; a last column of text is broken into lines instead. A row is its cells, or
    the heading of the rows that follow; its style is a colour on a terminal.
    """
    last, most = len(columns) - 1, width()
    folds = last > 0 and last not in right
    cells = [
        row if isinstance(row, str) else [inert(cell).replace("\n", " ") for cell in row]
        for row in rows
    ]
    body = [row for row in cells if not isinstance(row, str)]
    sizes = [max(map(cell_len, column)) for column in zip(columns, *body, strict=True)]
    flexible = [n for n in range(len(columns)) if n not in right]
    while flexible and (over := 1 + sum(sizes) + len(_GAP) * last - most) > 0:
        widest = last if folds and sizes[last] > 30 else max(flexible, key=sizes.__getitem__)
        floor = max((sizes[n] for n in flexible if n != widest), default=0)
        if sizes[widest] <= _NARROWEST:
            break
        sizes[widest] = max(_NARROWEST, sizes[widest] - over, min(floor, sizes[widest] - 1))
    for number in flexible:
        if not (folds and number == last):
            short = distinct_cuts([row[number] for row in body], sizes[number])
            for row, cell in zip(body, short, strict=True):
                row[number] = cell
    coloured = styles and has_symbols() and not os.environ.get("NO_COLOR")

    def line(row: Sequence[str], size: Sequence[int]) -> str:
        aligned = [
            " " * (n - cell_len(cell)) + cell if number in right else set_cell_size(cell, n)
            for number, (cell, n) in enumerate(zip(row, size, strict=True))
        ]
        return f" {_GAP.join(aligned)}".rstrip()

    click.echo()
    click.echo(line([cut(c, n) for c, n in zip(columns, sizes, strict=True)], sizes))
    click.echo(" " + "─" * (sum(sizes) + len(_GAP) * last))
    for number, cell_or_row in enumerate(cells):
        if isinstance(cell_or_row, str):
            click.echo(f" {cut(inert(cell_or_row), most - 1)}")
            continue
        row = cell_or_row
        folded = textwrap.wrap(row[last], sizes[last]) if folds else []
        text = "\n".join(
            line([*(row[:last] if not n else [""] * last), part], sizes)
            for n, part in enumerate(folded or [row[last]])
        )
        colour = styles[number] if coloured else ""
        click.echo(click.style(text, fg=colour) if colour else text)
    click.echo()


def bar(what: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    """Return what shows on a terminal how many of some items are done."""

    def watched(items: Sequence[Any]) -> Iterable[Any]:
        from rich.console import Console
        from rich.progress import track

        quiet = not sys.stderr.isatty()
        return track(items, what, console=Console(stderr=True), transient=True, disable=quiet)

    return watched


@contextmanager
def clean_stop() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether to stop.

    The first Ctrl-C or SIGTERM requests a clean stop, a second Ctrl-C stops at once.
    """
    requests: list[int] = []

    def request(number: int, _frame: Any) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)
        warn("Stopping after this epoch; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requests)
    except KeyboardInterrupt:
        context = click.get_current_context(silent=True)
        if requests and context and context.info_name in ("run", "sweep", "finalize"):
            warn_stopped(command(*context.obj))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def warn_stopped(again: str, *, any_finished: bool = True) -> None:
    """Say after a clean stop that finished runs are kept, if any, and which command goes on."""
    line = f"to continue: {again}"
    line = f"Stopped. Finished runs are kept.\n{line}" if any_finished else (
        f"Stopped before a run finished; {line}"
    )  # fmt: skip
    warn(fitted(line) if sys.stderr.isatty() else line)


def watch(training: Training, stop: Callable[[], bool], *, quiet: bool, **how: Any) -> None:
    """Train what was planned until `stop`, shown as this command's options say."""
    from paribus.sweeps.progress.progress import train_watched

    train_watched(training, warn=warn, stop=stop, quiet=quiet, plain=is_plain(), **how)


def nearby(path: Path) -> str:
    """Return a path as it is typed here: relative below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def best_of_run(folder: Path) -> str:
    """Return where the best of a run lies: its model, if it has one."""
    file = folder / BEST
    return f"best model: {nearby(file)}" if file.exists() else f"best run: {nearby(folder)}"


# Options that commands share.


Command = TypeVar("Command", bound=Callable[..., Any])


def _keep_plain(context: click.Context, _parameter: Any, plain: bool) -> None:
    context.meta[PLAIN] = plain  # which `console.is_plain` reads


experiment_argument = click.argument("experiment", shell_complete=complete_experiment)
overrides_argument = click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=complete_key
)
root_option = click.option(
    "--root", metavar="DIR", envvar="PARIBUS_ROOT", show_envvar=True, default="results",
    show_default=True, callback=lambda _context, _parameter, path: open_root(path),
    help="Where results live.",
)  # fmt: skip
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)
strict_option = click.option(
    "--strict", is_flag=True,
    help="Control the error rate over all settings together (Holm, 95 % intervals), for papers.",
)  # fmt: skip
verbose_option = click.option("--verbose", is_flag=True, help="Print everything that is known.")
plain_option = click.option(
    "--plain", is_flag=True, expose_value=False, callback=_keep_plain,
    help="No colours, no symbols, no live table; NO_COLOR: no colours.",
)  # fmt: skip
trust_option = click.option(
    "--trust", is_flag=True, help="Import and run any code that the record of a run names."
)


def run_options(command: Command) -> Command:
    """``--trust``, ``--root`` and ``--json``, of commands on runs."""
    return trust_option(root_option(json_option(command)))


def _names(_context: Any, _parameter: Any, texts: Sequence[str]) -> list[str]:
    return [name.strip() for text in texts for name in split_commas(text) if name.strip()]


def results_options(command: Command) -> Command:
    """Add what says how RESULTS of another tool are read and compared."""
    for option in (
        click.option("--direction", type=click.Choice(["maximize", "minimize"]),
                     help="Which way is better in RESULTS; default: as the metric's name says, "
                     "such as loss or accuracy."),
        click.option("--baseline", metavar="KEY=VALUE,...",
                     help="The baseline in RESULTS; default: the most frequent configuration."),
        click.option("--seed", metavar="COLUMN",
                     help="The seed in RESULTS; default: its column seed."),
        click.option("--setting", metavar="COLUMN,...", multiple=True, callback=_names,
                     help="The hyperparameters in RESULTS; default: its column setting, or all "
                     "that W&B and TensorBoard know."),
        click.option("--metric", metavar="NAME",
                     help="Another metric of each run's best epoch; of RESULTS the column of "
                     "values."),
    ):  # fmt: skip
        command = option(command)
    return command


def names_results(names: Sequence[str], root: ResultsDir) -> bool:
    """Return whether a command's only name is that of another tool's results."""
    from paribus.sweeps.analysis.read_results import is_results

    return len(names) == 1 and names[0] not in root.study_names() and is_results(names[0])


_FAULTS = "paribus.faults"  # of a command's options, in its context


def faults_of(context: click.Context) -> Faults:
    """Return the faults of a command's options, to be reported with those of its request."""
    return context.meta.setdefault(_FAULTS, Faults())


class _CheckedOption(click.RichOption):
    """An option of `OPTIONS`, whose faults are collected with those of the others."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        return read_option(self.opts[0][2:], value, faults_of(ctx))


def checked_option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """``--name``, of a type in `OPTIONS`."""
    return click.option(f"--{name}", type=OPTIONS[name][0], cls=_CheckedOption, **attributes)


_HOW_TO_RUN = [
    "--engine", "--workers", "--gpus", "--per-gpu", "--on", "--strict-class",
    "--run-timeout", "--checkpoint-every", "--loader-workers",
    "--retry-failed", "--trust", "--root", "--study", "--storage", "--track",
    "--no-wandb",
]  # fmt: skip
_WHAT_TO_SHOW = ["--dry-run", "--plain", "--verbose", "--json", "--help"]


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `run`, `sweep` and `finalize` share; give context, `options` and names `track`."""

    @click.pass_context
    @wraps(command)
    def call(
        context: click.Context,
        /,
        checkpoint_every: float,
        retry_failed: bool,
        loader_workers: int,
        track: str,
        no_wandb: bool,
        **others: Any,
    ) -> Any:
        from paribus.sweeps.tracking.tracker import read_trackers

        options = RunnerOptions(checkpoint_every, None, retry_failed, loader_workers)
        names = read_trackers(track, faults_of(context), wandb=not no_wandb)
        return command(context, options=options, track=names, **others)

    added: Callable[..., Any] = call
    for option in (
        click.option(
            "--engine", default="auto", metavar="auto|loop|cohort", show_default=True,
            help="What trains.",
        ),
        checked_option(
            "checkpoint-every", default="5", metavar="S", show_default=True,
            help="Seconds between saves of a run's resume state; 0: each epoch.",
        ),
        click.option(
            "--retry-failed", is_flag=True, help="Train again the runs that failed before."
        ),
        checked_option(
            "loader-workers", default="0", metavar="N", show_default=True,
            help="Processes of each worker that read files and augment ahead.",
        ),
        click.option(
            "--track", default="wandb", metavar="wandb,tensorboard|none", show_default=True,
            help="Where runs are logged: Weights & Biases, TensorBoard.",
        ),
        click.option(
            "--no-wandb", is_flag=True,
            help="Log nothing to Weights & Biases; so does WANDB_MODE=disabled. WANDB_API_KEY, "
            "WANDB_PROJECT and WANDB_BASE_URL say where it is logged.",
        ),
        plain_option,
        click.option_panel("What to show", options=_WHAT_TO_SHOW),
        click.option_panel("How to run", options=_HOW_TO_RUN),
    ):  # fmt: skip
        added = option(added)
    return added
