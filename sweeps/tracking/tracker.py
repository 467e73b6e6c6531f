"""The `Tracker` protocol: what is called while runs train, and which tracker a command gets.

To add another tool (TensorBoard, MLflow), write a class with the five methods of `Tracker` in a
module beside `wandb_tracker.py` and return it from `open_tracker`.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PATIENCE = 12.0  # seconds that `close` waits for one call


@dataclass(frozen=True)
class TrackedRun:
    """What is known of a run before its first epoch.

    Attributes:
        run: The run's id, such as ``digits-s0-0123456789ab``.
        experiment: The experiment's name.
        study: The study's name; None for a run of its own.
        label: The setting's label, such as ``optimizer.lr=0.0001``; ``baseline`` without a study.
        changed: Name of the changed key; empty for the baseline.
        seed: The run's seed.
        configuration: The resolved configuration: nested, fit for JSON.
        environment: Versions and the like, fit for JSON.
    """

    run: str
    experiment: str
    study: str | None
    label: str
    changed: str
    seed: int
    configuration: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True)
class TrackedStudy:
    """A study that has something to compare.

    Attributes:
        study: Its name.
        experiment: The experiment's name.
        baseline: The baseline's configuration: nested, fit for JSON.
        comparison: The `compare` document of all its settings, with ``linter``.
        picture: The plot of effects, as a PNG; None: there is none.
        page: The study's page, an HTML file; None: there is none.
    """

    study: str
    experiment: str
    baseline: dict[str, Any]
    comparison: dict[str, Any]
    picture: bytes | None = None
    page: Path | None = None


class Tracker(Protocol):
    """Follows the runs of one command. `TrackerCallback` makes these calls for a sweep.

    Each run gets `begin`, then `log` for each epoch as it ends, then `finish` once it is recorded.
    A reused run gets `begin` and `finish` only. The calls of different runs interleave; a call may
    be repeated; `log` and `finish` of a run that was not begun do nothing; calls after `close` do
    nothing. The same command given again makes the same calls: a tracker must not write twice.

    No call raises an exception or waits for a server, except `close`, which waits a bounded time:
    whatever a tracker does slowly it does on a thread of its own (see `CallThread`). The record is
    the truth, so a tracker that fails only warns. It must not change what it is given, and may
    read it after the call has returned.
    """

    def begin(self, run: TrackedRun) -> None:
        """Announce a run that is about to train, or to be logged from its record."""

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        """Log one epoch of a run: a line of ``history.jsonl``."""

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        """Log the result of a run that is recorded.

        Args:
            run: The run's id.
            document: The run document, complete or failed, with ``delta``: the setting minus the
                baseline of the same seed; None or left out where that is not known.
            history: All lines of its history, whether logged before or not.
        """

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        """Log a study's comparison, after its last run.

        Args:
            study: Called before this returns, or never by a tracker that has no use for it; returns
                None where nothing can be compared yet.
        """

    def close(self) -> None:
        """End the tracker. May be called twice."""


class NoTracker:
    """Tracks nothing."""

    def begin(self, run: TrackedRun) -> None:
        pass

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        pass

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        pass

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        pass

    def close(self) -> None:
        pass


class CallThread:
    """Makes calls one after the other on a daemon thread, so that training never waits for them.

    The calls raise nothing.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._closed = False
        self._done = 0

    def put(self, call: Callable[[], object]) -> None:
        """Leave a call to the thread; ignored after `close`."""
        if not self._closed:
            self._calls.put(call)
            if self._thread.ident is None:
                self._thread.start()

    def settle(self) -> bool:
        """Wait until all calls were made, however many; False where one hangs."""
        settled = threading.Event()
        self.put(settled.set)
        return self._closed or self._wait(settled.is_set, settled.wait)

    def close(self, last: Callable[[], object]) -> bool:
        """Make a last call, if there was any before, and wait for it; False where one hangs."""
        if self._closed or not self._thread.is_alive():
            self._closed = True
            return True
        self.put(last)
        self._calls.put(None)
        self._closed = True
        return self._wait(lambda: not self._thread.is_alive(), self._thread.join)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            self._done += 1

    def _wait(self, ended: Callable[[], bool], wait: Callable[[float], object]) -> bool:
        # Many short calls may be left, each of which comes to its end; one that hangs does not.
        done, since = self._done, time.monotonic()
        while not ended() and time.monotonic() - since < PATIENCE:
            wait(0.5)
            if self._done != done:
                done, since = self._done, time.monotonic()
        return ended()


def open_tracker(root: Path, *, enabled: bool = True, warn: Callable[[str], None]) -> Tracker:
    """Return the tracker of one command.

    Args:
        root: Where results live. W&B's files go to its folder ``wandb``.
        enabled: Whether anything is tracked; ``WANDB_MODE=disabled`` switches tracking off too.
        warn: Shows one line. Called from another thread, at most once for where the runs go
            and once for all failures together.
    """
    if not (enabled and is_wanted()):
        return NoTracker()
    from paribus.sweeps.tracking.wandb_tracker import WandbTracker

    return WandbTracker(root.absolute(), warn)


def warm_up(*, enabled: bool) -> None:
    """Import what the first call of a tracker needs, which takes half a second."""
    if enabled and is_wanted():
        with suppress(Exception):  # the tracker reports what is wrong with it
            import wandb  # noqa: F401


def is_wanted() -> bool:
    """Return whether W&B is not switched off by its own variable."""
    return os.environ.get("WANDB_MODE", "").strip().lower() != "disabled"
