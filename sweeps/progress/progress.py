"""Training watched: a table on a terminal, a tracker, and a line for each run that stops."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from paribus.sweeps.execution.driver import USUAL, RunEvent, RunnerOptions
from paribus.sweeps.progress.progress_state import Planned, ProgressState
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.tracking.tracker import Tracker, open_tracker

if TYPE_CHECKING:
    from rich.console import Console


class Training(Planned, Protocol):
    """What was planned and can be trained: a sweep, or a single run."""

    root: ResultsDir

    def train(
        self, tracker: Tracker, rules: RunnerOptions, *, stop: Callable[[], bool]
    ) -> Iterator[RunEvent]:
        """Trains what is not finished yet."""


def train_watched(
    training: Training,
    *,
    warn: Callable[[str], None],
    wandb: bool = True,
    rules: RunnerOptions = USUAL,
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    plain: bool = False,
    lines: bool = False,
) -> None:
    """Trains what was planned, telling a terminal and W&B how it goes.

    Args:
        training: What was planned.
        warn: Shows a line.
        wandb: Whether W&B follows.
        rules: How runs are looked after.
        stop: Asked between epochs; true makes a clean stop.
        quiet: Say nothing of how it goes.
        plain: No live table, whatever the terminal can show.
        lines: Where standard error is no terminal, say in a few lines how it goes.
    """
    tracker = open_tracker(training.root.path, enabled=wandb, warn=warn)
    with watched(training, warn, quiet=quiet, plain=plain, lines=lines) as show, closing(tracker):
        for step in training.train(tracker, rules, stop=stop):
            show(step)
            if step.message:
                warn(step.message)
            elif step.progress and step.progress.ended == "attempt":
                warn(f"{step.run.id} stopped: {step.progress.reason}")


@contextmanager
def watched(
    training: Planned,
    say: Callable[[str], None],
    *,
    quiet: bool,
    lines: bool,
    plain: bool = False,
) -> Iterator[Callable[[RunEvent], None]]:
    """Give what shows the driver's steps: on a terminal, in a notebook's cell, in lines, or not."""
    ipython = sys.modules.get("IPython")
    if not quiet and ipython and hasattr(ipython.get_ipython(), "kernel"):
        from paribus.sweeps.progress.plain_lines import NotebookBar

        bar = NotebookBar(ProgressState(training))
        yield bar.take
        bar.show()
        return
    if quiet or plain or not (console := _terminal()):
        yield _in_lines(training, say) if lines and not quiet else lambda _step: None
        return
    from paribus.sweeps.progress.live_table import LowerEnd, Table

    standing = ProgressState(training)
    with LowerEnd(Table(standing), console):
        yield standing.take


def _terminal() -> Console | None:
    """Standard error, if it is a terminal whose cursor can be moved."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    return None if console.is_dumb_terminal or not console.is_terminal else console


def _in_lines(training: Planned, say: Callable[[str], None]) -> Callable[[RunEvent], None]:
    from paribus.sweeps.progress.plain_lines import PlainLines

    standing = ProgressState(training)
    plain = PlainLines(standing)

    def show(step: RunEvent) -> None:
        standing.take(step)
        if line := plain.due():
            say(line)

    return show
