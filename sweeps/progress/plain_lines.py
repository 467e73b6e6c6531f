"""How training stands, in plain lines, where there is no terminal that could show more."""

from __future__ import annotations

from paribus.core.errors import shown
from paribus.sweeps.formatting import about, brief_number, cut_middle
from paribus.sweeps.progress.progress_state import ProgressState

_PARTS = 10  # of what is to be trained: a line when another one is done
_LATER_PARTS = 2  # of what a round adds that nobody could analyse_power
_LABEL = 60  # columns


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


def _line(standing: ProgressState) -> str:
    """``12/63 runs (40 % of all epochs), best val/accuracy 0.9630 (…), about 20 s left``"""
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
