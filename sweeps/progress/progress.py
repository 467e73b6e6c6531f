"""Training watched: a table on a terminal, a bar in a notebook, or lines; and a tracker."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from markupsafe import Markup
from rich.console import Console

from paribus.core.errors import first_few, shown
from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import USUAL, RunEvent, RunnerOptions
from paribus.sweeps.execution.pool import Stop, never
from paribus.sweeps.formatting import about, cut_middle, number
from paribus.sweeps.progress.progress_state import ProgressState, Training
from paribus.sweeps.tracking.tracker import open_tracker

_PARTS = 10  # of what is to be trained: a line when another one is done
_LATER_PARTS = 2  # of what a round adds that could not be predicted
_LABEL = 60  # columns
_EVERY = 0.25  # seconds between updates of a bar


def train_watched(
    training: Training,
    *,
    warn: Callable[[str], None],
    track: Sequence[str] = (),
    options: RunnerOptions = USUAL,
    stop: Stop = never,
    quiet: bool = False,
    plain: bool = False,
    lines: bool = False,
) -> None:
    """Train what was planned, showing its progress on a terminal and in other tools.

    Args:
        training: What was planned.
        warn: Shows a line.
        track: Names of the trackers that follow.
        options: How runs are trained and kept.
        stop: Asked between epochs; true makes a clean stop.
        quiet: Show no progress.
        plain: No live table, whatever the terminal can show.
        lines: Where standard error is no terminal, show progress in a few lines.
    """
    for note in _notes([*training.runs.values()]):
        warn(note)
    tracker = open_tracker(training.root.path, track, warn=warn)
    with watched(training, warn, quiet=quiet, plain=plain, lines=lines) as show, closing(tracker):
        for event in training.train(tracker, options, stop=stop):
            show(event)
            if event.message:
                warn(event.message)
            elif event.progress and event.progress.ended == "attempt":
                warn(f"{event.run.id} stopped: {event.progress.reason}")


def _notes(runs: Sequence[RunSpec]) -> Iterator[str]:
    """Yield what to know of these runs before they are trained."""
    absent = [run.facts["absent"] for run in runs if "absent" in run.facts]
    if absent:
        yield (
            f"Validation has no example of {first_few([*map(shown, absent[0])])}: nothing is known "
            "of it, and means over classes leave out what is neither there nor predicted."
        )
    by_batch = [run for run in runs if "loss_by_batch" in run.facts]
    if by_batch:
        loss = shown(by_batch[0].configuration["loss"]["name"])
        yield (
            f"val/loss depends on train.eval_batch_size: loss {loss} is another number where every "
            "example is there twice, so it is no mean over examples."
        )
    if secrets := sorted({name for run in runs for name in run.noted.get("secrets", ())}):
        names = first_few([*map(shown, secrets)])
        yield (
            f"Not recorded, as it may be a secret by its name: {names}. Another value trains "
            "nothing again."
        )


@contextmanager
def watched(
    training: Training,
    say: Callable[[str], None],
    *,
    quiet: bool,
    lines: bool,
    plain: bool = False,
) -> Iterator[Callable[[RunEvent], None]]:
    """Give what shows the driver's events: in a notebook, on a terminal, in lines, or not."""
    if quiet:
        yield lambda _event: None
        return
    state = ProgressState(training)
    ipython = sys.modules.get("IPython")
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if ipython and hasattr(ipython.get_ipython(), "kernel"):
        bar = NotebookBar(state)
        yield bar.take
        bar.show()
    elif not plain and sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal:
        from paribus.sweeps.progress.live_table import LowerEnd, Table

        with LowerEnd(Table(state), console):
            yield state.take
    else:
        plain_lines = PlainLines(state)

        def show(event: RunEvent) -> None:
            state.take(event)
            if lines and (line := plain_lines.due()):
                say(line)

        yield show


class PlainLines:
    """A line when another tenth of what is to be trained is done; none at the end."""

    def __init__(self, state: ProgressState) -> None:
        self._state = state
        self._work, self._parts = state.work, _PARTS
        self._begun = self._shown = 0.0

    def due(self) -> str | None:
        """Return the line, if it is time for one."""
        state = self._state
        trained = state.worked - state.given
        if state.work != self._work:
            self._work, self._parts = state.work, _LATER_PARTS
            self._begun = self._shown = trained
        part = (state.work - state.given - self._begun) / self._parts
        if state.share == 1 or trained < self._shown + part * (1 - 1e-9):
            return None
        self._shown = trained - (trained - self._begun) % part
        return _line(state)


class NotebookBar:
    """A bar and a line in a notebook that events move; it needs no ipywidgets."""

    def __init__(self, state: ProgressState) -> None:
        from IPython.display import display

        self._state, self._shown = state, time.monotonic()
        self._handle: Any = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def take(self, event: RunEvent) -> None:
        """Take in an event of the driver."""
        self._state.take(event)
        if time.monotonic() - self._shown >= _EVERY:
            self.show()

    def show(self) -> None:
        """Show the present state."""
        self._shown = time.monotonic()
        self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = Markup('<progress max="1" value="{:.4f}" style="width: 20em"></progress> {}')
        return bar.format(self._state.share, _line(self._state))

    def __repr__(self) -> str:
        return _line(self._state)


def _line(state: ProgressState) -> str:
    """Return ``12/63 runs (40 % of all epochs), best val/accuracy 0.9630 (…), about 20 s left``"""
    words = [f"{state.done}/{state.total} runs ({100 * state.share:.0f} % of all epochs)"]
    if best := state.best(state.settings()):
        mean = f"mean of {best.of} runs" if best.of > 1 else "one run"
        label = cut_middle(best.label, _LABEL)
        words.append(f"best {shown(state.metric)} {number(best.value)} ({label}, {mean})")
    words += [f"{n} {how}" for how in ("failed", "stopped") if (n := state.states[how])]
    if (left := state.seconds_left()) is not None:
        words.append(f"about {about(left)} left")
    return ", ".join(words)
