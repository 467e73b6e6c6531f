"""A tracker on a thread of its own, so that training never waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy, Tracker

Result = TypeVar("Result")
PATIENCE = 12.0  # seconds that `close` waits for one call
HURRY = 5.0  # seconds after which `close` asks for the quick way


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What a call gives that may hang; it is left to a daemon thread then.

    Raises:
        TimeoutError: It hangs.
    """
    done: list[Result] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError("wandb hangs")
    return done[0]


class SlowTracker(Tracker, Protocol):
    """A tracker whose calls may take their time, but raise nothing."""

    def hurry(self, seconds: float) -> None:
        """From another thread: what is not done within `seconds` has to go the quick way."""

    def abandon(self) -> None:
        """From another thread: a call hangs and will not be waited for."""

    def trouble(self, error: Exception) -> None:
        """What was to be handed over could not be made."""


class BackgroundTracker:
    """Hands each call to a daemon thread, in order, and returns."""

    def __init__(self, tracker: SlowTracker) -> None:
        self._tracker = tracker
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._closed = False
        self._done = 0

    def begin(self, run: TrackedRun) -> None:
        self._put(lambda: self._tracker.begin(run))

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        self._put(lambda: self._tracker.log(run, epoch))

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        lines = list(history)
        self._put(lambda: self._tracker.finish(run, document, lines))

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        if self._closed:
            return
        try:
            found = study()  # here, as no other thread may read a study
        except Exception as error:
            self._put(partial(self._tracker.trouble, error))
            return
        self._put(lambda: self._tracker.conclude(lambda: found))

    def settle(self) -> bool:
        """Waits until all calls were done, however many; False where one hangs."""
        settled = threading.Event()
        self._put(settled.set)
        return self._closed or self._wait(settled.is_set, settled.wait)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._thread.is_alive():
            return
        self._tracker.hurry(HURRY)
        self._calls.put(None)
        try:
            self._wait(lambda: not self._thread.is_alive(), self._thread.join)
        finally:  # also where a second Ctrl-C cuts the wait short
            if self._thread.is_alive():
                self._tracker.abandon()

    def _put(self, call: Callable[[], None]) -> None:
        if self._closed:
            return
        self._calls.put(call)
        if self._thread.ident is None:
            self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            self._done += 1
        self._tracker.close()

    def _wait(self, ended: Callable[[], bool], wait: Callable[[float], object]) -> bool:
        # Many short calls may be left, each of which comes to its end; one that hangs does not.
        done, since = self._done, time.monotonic()
        while not ended() and time.monotonic() - since < PATIENCE:
            wait(0.5)
            if self._done != done:
                done, since = self._done, time.monotonic()
        return ended()
