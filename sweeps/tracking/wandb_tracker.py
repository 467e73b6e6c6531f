"""Runs in Weights & Biases: live where its server answers, else in offline folders."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from paribus.sweeps.tracking.tracker import CallThread, TrackedRun, TrackedStudy
from paribus.sweeps.tracking.wandb_layout import (
    WandbRun,
    epoch_row,
    run_id,
    run_layout,
    study_layout,
)
from paribus.sweeps.tracking.wandb_session import Session, reason
from paribus.sweeps.tracking.wandb_writer import Ledger, WandbWriter

HURRY = 5.0  # seconds after `close` from which the rest is written offline
_LATER = "(upload later: paribus sync)"


class WandbTracker:
    """Logs to W&B on a thread of its own.

    It starts online or offline, goes from online to offline at the first failure, and from
    offline to nothing at the next. Runs that are not in the ledger by then are logged by the same
    command when it is given again.

    Attributes:
        given: W&B's id to what became of it: ``logged``, ``amended`` or ``unchanged``.
        mode: ``online``, ``offline``, ``disabled``, ``off``; None: not known before the first run.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.given: dict[str, str] = {}
        self.mode: str | None = None
        self._warn, self._warned = warn, False
        self._calls = CallThread()
        self._session = Session(root)
        self._runs: dict[str, TrackedRun] = {}  # begun and not finished
        self._deadline = float("inf")
        try:
            self._writer = WandbWriter(self._session, Ledger(root))
        except OSError as error:
            self._give_up(error)

    def begin(self, run: TrackedRun) -> None:
        self._calls.put(lambda: self._begin(run))

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        self._calls.put(lambda: self._log(run, epoch))

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        self._calls.put(lambda: self._finish(run, document, history))

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        found: Future[TrackedStudy | None] = Future()
        try:
            found.set_result(study())  # here, as no other thread may read a study
        except Exception as error:
            found.set_exception(error)
        self._calls.put(lambda: self._conclude(found))

    def settle(self) -> bool:
        """Wait until all calls were made, however many; False where one hangs."""
        return self._calls.settle()

    def close(self) -> None:
        self._deadline = time.monotonic() + HURRY
        ended = False
        try:
            ended = self._calls.close(self._end)
        finally:  # also where a second Ctrl-C cuts the wait short
            if not ended:
                self._failed("it did not finish in time; the same command logs what is missing")
                self.mode = "off"
                self._session.stop(seconds=2)

    def _begin(self, run: TrackedRun) -> None:
        if self.mode == "off":
            return
        self._runs[run.run] = run
        if not self._writer.ledger.line(run_id(run.study, run.run)):  # else it may be reused
            self._attempt("online", lambda: self._writer.log(run_layout(run)))

    def _log(self, run: str, epoch: dict[str, Any]) -> None:
        if self.mode == "off" or (known := self._runs.get(run)) is None:
            return
        if self._writer.ledger.line(run_id(known.study, run)).get("status") != "complete":
            self._attempt("online", lambda: self._writer.log(run_layout(known), epoch_row(epoch)))

    def _finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        if known := self._runs.pop(run, None):
            self._write(run_layout(known, document, history))

    def _conclude(self, found: Future[TrackedStudy | None]) -> None:
        try:
            if study := found.result():
                self._write(study_layout(study))
        except Exception as error:
            self._failed(reason(error))

    def _write(self, contents: WandbRun) -> None:
        if self.mode == "off":
            return
        before = self._writer.ledger.line(contents.id)
        if contents.id not in self._writer.live and self._writer.ledger.is_given(contents):
            self.given[contents.id] = "unchanged"
        elif any(
            self._attempt(mode, lambda: self._writer.write(contents))
            for mode in ("online", "offline")
        ):
            self.given[contents.id] = "amended" if before else "logged"

    def _end(self) -> None:
        """Close the runs that were not finished, as interrupted."""
        for run in self._runs.values():
            contents = run_layout(run)
            if self.mode == "online" and contents.id in self._writer.live:
                self._attempt("online", partial(self._writer.write, contents))
        self._session.stop()

    def _attempt(self, mode: str, action: Callable[[], object]) -> bool:
        """Do something if this is the mode, and return whether it was done."""
        try:
            if self._current_mode() == mode:
                action()
                return True
        except Exception as error:
            self._step_back(error)
        return False

    def _current_mode(self) -> str:
        if self.mode is None:
            self.mode = "online"  # what fails from here on may still work offline
            why = self._session.start()
            self.mode = self._session.mode
            if why:
                self._say(f"W&B: {why}, logging offline to {self._session.folder} {_LATER}")
        if self.mode == "online" and time.monotonic() > self._deadline:
            self._step_back(TimeoutError("not everything reached the server in time"))
        return self.mode

    def _step_back(self, error: Exception) -> None:
        self._writer.live.clear()
        if self.mode != "online":
            self._give_up(error)
            return
        try:
            self._session.stop()  # a fresh service, in case the old one is what fails
            if self.mode == "off":  # closed in the meantime
                return
            self._session.start(only="offline")
        except Exception as second:
            self._give_up(second)
            return
        self.mode = self._session.mode
        self._failed(f"{reason(error)}; logging offline to {self._session.folder} {_LATER}")

    def _give_up(self, error: Exception) -> None:
        self.mode = "off"
        self._failed(f"{reason(error)}; the same command logs later what is missing")

    def _failed(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._say(f"W&B: {text}")

    def _say(self, line: str) -> None:
        try:
            self._warn(line)
        except Exception:  # a tracker raises nothing, not even where standard error is closed
            self._warned = True
