"""Runs in Weights & Biases: live where its server can be reached, else in offline folders."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import shown
from core.files import append_line, read_lines
from sweeps.tracking import layout
from sweeps.tracking.session import Session
from sweeps.tracking.tracker import TrackedRun

if TYPE_CHECKING:
    import wandb

_LATER = "(upload later: wandb sync)"


class Ledger:
    """``tracked.jsonl``: which runs W&B has been given as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A line that a power cut left unfinished would swallow the next one.
        self._torn = path.exists() and not path.read_bytes().endswith(b"\n")
        self._status: dict[str, str] = {}
        for line in read_lines(path):
            if isinstance(line, dict) and "wandb_id" in line:
                self._status[line["wandb_id"]] = line.get("status", "complete")

    def status(self, run: TrackedRun) -> str | None:
        """How the run stood when it was given to W&B; None if it was not."""
        return self._status.get(layout.wandb_id(run))

    def add(self, run: TrackedRun, *, mode: str, status: str, epochs: int) -> None:
        """Notes a run, durably."""
        wandb_id = layout.wandb_id(run)
        if self._torn:
            self._torn = False
            with self._path.open("ab") as file:
                file.write(b"\n")
        line = {"study": run.study, "run": run.run, "wandb_id": wandb_id, "mode": mode}
        append_line(self._path, line | {"epochs": epochs, "status": status})
        self._status[wandb_id] = status


@dataclass
class _Live:
    """A run that is open on the server; epochs up to `last` were there before."""

    opened: wandb.Run
    last: int
    logged: set[int] = field(default_factory=set)

    def log(self, epoch: dict[str, Any]) -> None:
        number = epoch["epoch"]
        if number > self.last and number not in self.logged:
            self.logged.add(number)
            self.opened.log(layout.row(epoch))


class WandbTracker:
    """A tracker whose calls may take seconds; `BackgroundTracker` keeps them off training.

    It starts online or offline, goes from online to offline at the first trouble, and from
    offline to nothing at the next. Runs that were not noted in the ledger by then are logged by
    the same command when it is given again.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self._root = root
        self._warn = warn
        self._warned = False
        self._session = Session(root)
        self._mode: str | None = None  # not known before the first run
        self._runs: dict[str, TrackedRun] = {}
        self._live: dict[str, _Live] = {}
        self._deadline = float("inf")
        try:
            self._ledger = Ledger(root / "tracked.jsonl")
        except OSError as error:
            self._give_up(error)

    def begin(self, run: TrackedRun) -> None:
        if self._mode == "off" or run.run in self._live:
            return
        status = self._ledger.status(run)
        if status == "complete":
            self._runs.pop(run.run, None)
            return
        self._runs[run.run] = run
        if status is None:  # one that failed may be trained again, or just be shown again
            self._attempt("online", lambda: self._open(run))

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        if run in self._runs:
            self._attempt("online", lambda: self._open(self._runs[run]).log(epoch))

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        known = self._runs.pop(run, None)
        if known is None or self._mode == "off":
            return
        status = document.get("status", "complete")
        if self._ledger.status(known) == status and run not in self._live:
            return
        for mode in ("online", "offline"):
            if self._attempt(mode, lambda: self._write(known, document, history)):
                self._note(known, mode, status, len(history))
                return

    def close(self) -> None:
        for live in list(self._live.values()):
            if not self._attempt("online", partial(self._session.end, live.opened, None)):
                break
        self._live.clear()
        self._session.stop()

    def hurry(self, seconds: float) -> None:
        """What has not reached the server within `seconds` is written offline."""
        self._deadline = time.monotonic() + seconds

    def abandon(self) -> None:
        """Ends wandb though a call of it hangs."""
        self._trouble("it did not finish in time; the same command logs what is missing")
        self._mode = "off"
        self._session.stop(seconds=2)

    def _open(self, run: TrackedRun) -> _Live:
        if run.run not in self._live:
            opened = self._session.open(run)
            self._live[run.run] = _Live(opened, _last_epoch(opened))
        return self._live[run.run]

    def _write(
        self, run: TrackedRun, document: dict[str, Any], history: list[dict[str, Any]]
    ) -> None:
        live = self._open(run)
        for epoch in history:
            live.log(epoch)
        del self._live[run.run]
        self._session.end(live.opened, document)

    def _note(self, run: TrackedRun, mode: str, status: str, epochs: int) -> None:
        try:
            self._ledger.add(run, mode=mode, status=status, epochs=epochs)
        except OSError as error:
            self._give_up(error)

    def _attempt(self, mode: str, action: Callable[[], object]) -> bool:
        """Does something if this is the mode, and says whether it was done."""
        try:
            if self._current_mode() == mode:
                action()
                return True
        except Exception as error:
            self._step_back(error)
        return False

    def _current_mode(self) -> str:
        if self._mode is None:
            self._mode = "online"  # what fails from here on may still work offline
            reason = self._session.start()
            self._mode = self._session.mode
            if reason:
                self._say(f"W&B: {reason}, logging offline to {self._session.folder} {_LATER}")
        if self._mode == "online" and time.monotonic() > self._deadline:
            self._step_back(TimeoutError("not everything reached the server in time"))
        return self._mode

    def _step_back(self, error: Exception) -> None:
        self._live.clear()
        if self._mode != "online":
            self._give_up(error)
            return
        try:
            self._session.stop()  # a fresh service, in case the old one is what fails
            if self._mode == "off":  # abandoned in the meantime
                return
            self._session.start(offline=True)
        except Exception as second:
            self._give_up(second)
            return
        self._mode = self._session.mode
        self._trouble(f"{_reason(error)}; logging offline to {self._session.folder} {_LATER}")

    def _give_up(self, error: Exception) -> None:
        self._mode = "off"
        self._trouble(f"{_reason(error)}; the same command logs later what is missing")

    def _trouble(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._say(f"W&B: {text}")

    def _say(self, line: str) -> None:
        try:
            self._warn(line)
        except Exception:  # a tracker raises nothing, not even where standard error is closed
            self._warned = True


def _last_epoch(opened: wandb.Run) -> int:
    """The last epoch that the server has of a run; -1 for a new one."""
    epoch = dict(opened.summary).get("epoch") if opened.resumed else None
    # A summary may be ahead of the rows when the process that sent it was killed.
    return min(int(epoch), opened.starting_step) if isinstance(epoch, int | float) else -1


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    if text in ("", "<no message>"):  # the latter is wandb's word
        text = f"wandb failed ({type(error).__name__})"
    return shown(text, 160)
