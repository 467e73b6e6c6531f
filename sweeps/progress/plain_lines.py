"""How training stands, where there is no terminal: in plain lines, or a bar below a cell."""

from __future__ import annotations

import time
from typing import Any

from markupsafe import Markup

from paribus.core.errors import shown
from paribus.sweeps.execution.driver import RunEvent
from paribus.sweeps.formatting import about, brief_number, cut_middle
from paribus.sweeps.progress.progress_state import ProgressState

_PARTS = 10  # of what is to be trained: a line when another one is done
_LATER_PARTS = 2  # of what a round adds that nobody could analyse_power
_LABEL = 60  # columns
_EVERY = 0.25  # seconds between updates of a bar


class PlainLines:
    """A line when another tenth of what is to be trained is done; none at the end.

    Args:
        standing: How training stands.
    """

    def __init__(self, standing: ProgressState) -> None:
        self._standing = standing
        self._work, self._parts = standing.work, _PARTS
        self._begun = self._told = 0.0

    def due(self) -> str | None:
        """The line, if it is time for one."""
        standing = self._standing
        trained = standing.worked - standing.given
        if standing.work != self._work:
            self._work, self._parts = standing.work, _LATER_PARTS
            self._begun = self._told = trained
        part = (standing.work - standing.given - self._begun) / self._parts
        if standing.share == 1 or trained < self._told + part * (1 - 1e-9):
            return None
        self._told = trained - (trained - self._begun) % part
        return _line(standing)


class NotebookBar:
    """A bar and a line in a notebook that the steps of training move; it needs no ipywidgets.

    Args:
        standing: How training stands.
    """

    def __init__(self, standing: ProgressState) -> None:
        from IPython.display import display

        self._standing, self._shown = standing, time.monotonic()
        self._handle: Any = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def take(self, step: RunEvent) -> None:
        """Take in a step of the driver."""
        self._standing.take(step)
        if time.monotonic() - self._shown >= _EVERY:
            self.show()

    def show(self) -> None:
        """Show how it stands now."""
        self._shown = time.monotonic()
        self._handle.update(self)

    def _repr_html_(self) -> str:
        bar = Markup('<progress max="1" value="{:.4f}" style="width: 20em"></progress> {}')
        return bar.format(self._standing.share, _line(self._standing))

    def __repr__(self) -> str:
        return _line(self._standing)


def _line(standing: ProgressState) -> str:
    """Return ``12/63 runs (40 % of all epochs), best val/accuracy 0.9630 (…), about 20 s left``"""
    share = f"{standing.share:.0%}".replace("%", " %")
    words = [f"{standing.done}/{standing.total} runs ({share} of all epochs)"]
    if best := standing.best(standing.settings()):
        mean = f"mean of {best.of} runs" if best.of > 1 else "one run"
        label = cut_middle(best.label, _LABEL)
        words.append(f"best {shown(standing.metric)} {brief_number(best.value)} ({label}, {mean})")
    for state in ("failed", "stopped"):
        if count := standing.states[state]:
            words.append(f"{count} {state}")
    if (left := standing.seconds_left()) is not None:
        words.append(f"about {about(left)} left")
    return ", ".join(words)
