"""When W&B is brought up to the records: while a sweep trains, and by `paribus sync`.

All of it goes through `WandbWriter.write`. A sweep calls it on a thread of its own, goes from
online to offline at the first failure and waits a bounded time at its end; `paribus sync` writes
what no server has confirmed, online only.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from paribus.core.errors import DamagedError, ParibusError, RequestError, shown
from paribus.core.records.record import Epoch, RunRecord
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import (
    TrackedRun,
    TrackedStudy,
    Tracker,
    check_variables,
    recorded_run,
    tracked_study,
)
from paribus.sweeps.tracking.wandb_layout import (
    WandbRun,
    epoch_row,
    run_id,
    run_layout,
    study_id,
    study_layout,
)
from paribus.sweeps.tracking.wandb_session import Session, reason, within
from paribus.sweeps.tracking.wandb_writer import Ledger, WandbWriter

PATIENCE = 12.0  # seconds that a command waits at its end for one call
HURRY = 5.0  # seconds after its end from which the rest is written offline
FINISH_SECONDS = 15.0  # for `sync`, the end of one run; nobody trains meanwhile
SYNC_PATIENCE = 60.0  # for `sync` and `compare --wandb`, all of one run
MOST_FAILURES = 2  # one after the other: then it is the server

Outcome = Literal["logged", "amended", "unchanged", "failed"]
ProgressBar = Callable[[Sequence[Any]], Iterable[Any]]


class WandbTracker(Tracker):
    """Logs to W&B on a daemon thread, so that training never waits for it.

    It starts online or offline, goes from online to offline at the first failure, and from
    offline to nothing at the next. Runs that are not in the ledger by then are logged by the same
    command when it is given again.

    Attributes:
        mode: ``online``, ``offline``, ``disabled``, ``off``; None: not known before the first run.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        self.mode: str | None = None
        self._warn, self._warned = warn, False
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._done, self._closed = 0, False
        self._deadline = float("inf")
        self._session = Session(root)
        self._runs: dict[str, TrackedRun] = {}  # begun and not finished
        try:
            self._writer = WandbWriter(self._session, Ledger(root))
        except OSError as error:
            self._give_up(error)

    # The calls of the protocol, which leave the work to the thread.

    def begin(self, run: TrackedRun) -> None:
        self._put(lambda: self._begin(run))

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        self._put(lambda: self._log(run, epoch))

    def finish(
        self, run: str, record: RunRecord, history: list[Epoch], delta: float | None = None
    ) -> None:
        self._put(lambda: self._finish(run, record, history, delta))

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        if self._closed:
            return
        try:
            found = study()  # here, as no other thread may read a study
        except Exception as error:
            self._say(reason(error))
        else:
            if found:
                self._put(lambda: self._write(study_layout(found)))

    def bring(self, contents: WandbRun) -> Future[Outcome]:
        """Write contents on the thread; the result is what became of them."""
        outcome: Future[Outcome] = Future()
        self._put(lambda: outcome.set_result(self._write(contents)))
        return outcome

    def close(self) -> None:
        self._deadline = time.monotonic() + HURRY
        if self._thread.ident is not None:
            self._put(self._end)
            self._calls.put(None)
        self._closed = True
        # Many short calls may be left, each of which comes to its end; one that hangs does not.
        done, since = self._done, time.monotonic()
        try:
            while self._thread.is_alive() and time.monotonic() - since < PATIENCE:
                self._thread.join(0.5)
                if self._done != done:
                    done, since = self._done, time.monotonic()
        finally:  # also where a second Ctrl-C cuts the wait short
            if self._thread.is_alive():
                self._say("it did not finish in time; the same command logs what is missing")
                self.mode = "off"
                self._session.stop(seconds=2)

    def _put(self, call: Callable[[], object]) -> None:
        if not self._closed:
            self._calls.put(call)
            if self._thread.ident is None:
                self._thread.start()

    # What the thread does. None of it raises an exception.

    def _work(self) -> None:
        while call := self._calls.get():
            call()
            self._done += 1

    def _begin(self, run: TrackedRun) -> None:
        if self.mode != "off":
            self._runs[run.run] = run
            if not self._writer.ledger.line(run_id(run.study, run.run)):  # else it may be reused
                self._attempt(lambda: self._writer.log(run_layout(run)), "online")

    def _log(self, run: str, epoch: dict[str, Any]) -> None:
        if self.mode == "off" or (known := self._runs.get(run)) is None:
            return
        if self._writer.ledger.line(run_id(known.study, run)).get("status") != "complete":
            self._attempt(lambda: self._writer.log(run_layout(known), epoch_row(epoch)), "online")

    def _finish(
        self, run: str, record: RunRecord, history: list[Epoch], delta: float | None
    ) -> None:
        if known := self._runs.pop(run, None):
            self._write(run_layout(known, record, history, delta))

    def _write(self, contents: WandbRun) -> Outcome:
        if self.mode == "off":
            return "failed"
        before = self._writer.ledger.line(contents.id)
        if contents.id not in self._writer.live and before.get("digest") == contents.digest:
            return "unchanged"
        if self._attempt(lambda: self._writer.write(contents), "online", "offline"):
            return "amended" if before else "logged"
        return "failed"

    def _end(self) -> None:
        """Close the runs that were not finished, as interrupted."""
        for run in self._runs.values():
            contents = run_layout(run)
            if contents.id in self._writer.live:
                self._attempt(partial(self._writer.write, contents), "online")
        self._session.stop()

    def _attempt(self, action: Callable[[], object], *modes: str) -> bool:
        """Do something in the first of these modes in which it works; return whether it did."""
        for _ in modes:
            try:
                if self.mode is None:
                    self.mode = "online"  # what fails from here on may still work offline
                    why = self._session.start()
                    self.mode = self._session.mode
                    if why:
                        self._say(f"{why}, {self._offline()}", failure=False)
                if self.mode == "online" and time.monotonic() > self._deadline:
                    raise TimeoutError("not everything reached the server in time")
                if self.mode in modes:
                    action()
                    return True
            except Exception as error:
                self._step_back(error)
        return False

    def _step_back(self, error: Exception) -> None:
        """Go on offline after a failure online; give up after one offline."""
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
        self._say(f"{reason(error)}; {self._offline()}")

    def _give_up(self, error: Exception) -> None:
        self.mode = "off"
        self._say(f"{reason(error)}; the same command logs later what is missing")

    def _offline(self) -> str:
        return f"logging offline to {self._session.folder} (upload later: paribus sync)"

    def _say(self, text: str, *, failure: bool = True) -> None:
        """Show a line; of failures only the first."""
        if not (failure and self._warned):
            self._warned = self._warned or failure
            with suppress(Exception):  # standard error may be closed
                self._warn(f"W&B: {text}")


def log_study(study: Study, warn: Callable[[str], None], bar: ProgressBar) -> dict[str, Any]:
    """Log the runs that W&B lacks, the differences it does not know, and the summary run.

    The caller holds the study's lock.

    Returns:
        ``wandb`` of the `compare` document.
    """
    runs = [run for setting in study.settings for run in setting.runs.values()]
    records = {run: record for run in runs if (record := study.outcomes.record(run))}
    compared = tracked_study(study)
    ids, summary = [run_id(study.name, run) for run in records], study_id(study.name)
    became: dict[str, Outcome] = {}
    with closing(WandbTracker(study.root.path, warn)) as tracker, suppress(TimeoutError):
        for name, record in bar(list(records.items())):
            contents = run_layout(*recorded_run(study.root.run(name), record, study))
            became[contents.id] = tracker.bring(contents).result(SYNC_PATIENCE)
        if compared:
            became[summary] = tracker.bring(study_layout(compared)).result(SYNC_PATIENCE)
    counts = Counter(became.get(wandb_id, "failed") for wandb_id in ids)
    ledger = Ledger(study.root.path)
    lines = [line for wandb_id in (*ids, summary) if (line := ledger.line(wandb_id))]
    return {
        "mode": tracker.mode,
        **{what: counts[what] for what in ("logged", "amended", "unchanged", "failed")},
        "study": became.get(summary, "failed") if compared else None,
        "waiting": sum(line.get("mode") != "online" for line in lines),
    }


# `paribus sync`: what no server has confirmed, from the records.


class Unconfirmed(NamedTuple):
    """A run or a study's summary run (``run`` is None) that the server has not confirmed."""

    study: str | None
    run: str | None
    wandb_id: str


def sync(
    root: ResultsDir, study: str | None, warn: Callable[[str], None], bar: ProgressBar = list
) -> dict[str, Any]:
    """Upload what the server has not confirmed, from the records.

    Args:
        root: Where results live.
        study: Only what is of this study; None: everything.
        warn: Shows a line.
        bar: Shows the progress.

    Returns:
        The `sync` document.

    Raises:
        RequestError: There is no such study, and none was logged; W&B has no key, or its settings
            cannot be used.
        ParibusError: The server does not answer.
    """
    ledger = Ledger(root.path)
    ids = ledger.ids()
    if study and all(ledger.line(wandb_id).get("study") != study for wandb_id in ids):
        root.require_study(study)
    document: dict[str, Any] = {"server": "", "uploaded": [], "rebuilt": [], "amended": []}
    document |= {"unchanged": 0, "gone": 0, "failed": []}
    by_id = {} if all(map(ledger.line, ids)) else _by_wandb_id(root)  # the ledger was lost
    waiting = []
    for wandb_id in ids:
        line = ledger.line(wandb_id)  # of another program's folder there is none
        noted = Unconfirmed(line.get("study"), line.get("run"), wandb_id)
        item = by_id.get(wandb_id, noted)
        if study in (None, item.study):
            if line.get("mode") == "online" and not ledger.files(wandb_id):
                document["unchanged"] += 1
            else:
                waiting.append(item)
    if not waiting:
        return document
    tried = failures = 0
    with root.lock("wandb", "The upload to W&B"), _online(root) as session:
        document["server"] = session.server
        writer, read = WandbWriter(session, ledger), _reader(root)
        for item in bar(waiting):
            tried += 1
            try:
                with _lock(root, item):  # not in the thread, which may hang
                    became = within(SYNC_PATIENCE, partial(_upload, writer, item, read))
            except Exception as error:
                of_server = not isinstance(error, ParibusError)
                why = reason(error) if of_server else shown(error, 600)
                document["failed"].append(item._asdict() | {"reason": why})
                if of_server:
                    failures += 1
                    writer.live.clear()
                    session.stop()
                    if failures >= MOST_FAILURES or _cannot_start(session):
                        break
            else:
                failures = 0
                if became in ("uploaded", "amended"):
                    document[became].append(item._asdict())
                else:
                    document[became] += 1
    if left := waiting[tried:]:
        document["failed"] += [item._asdict() | {"reason": "not tried"} for item in left]
        warn(
            f"W&B: {document['server']} accepts nothing more; {len(left)} of {len(waiting)} are "
            "left for the same command."
        )
    return document


def _upload(
    writer: WandbWriter, item: Unconfirmed, read: Callable[[Unconfirmed], WandbRun | None]
) -> str:
    """Write one of them, and return the category of the `sync` document that it is in then."""
    contents, files = read(item), writer.ledger.files(item.wandb_id)
    known = writer.ledger.server_has(item.wandb_id)
    if contents is not None:
        changed = writer.write(contents)
        return ("amended" if known else "uploaded") if changed else "unchanged"
    if files:
        raise ParibusError(
            f"its record is gone. W&B's own file is left: wandb sync {files[0]} (if the server "
            f"has a part of it already: wandb sync --id {item.wandb_id}-2 {files[0]})"
        )
    return "unchanged" if known else "gone"


def _reader(root: ResultsDir) -> Callable[[Unconfirmed], WandbRun | None]:
    """Return what gives the contents of a record; None where there is none."""

    @cache
    def load(name: str) -> Study | None:
        with suppress(DamagedError):
            return Study.load(root, name) if name in root.study_names() else None
        return None

    def read(item: Unconfirmed) -> WandbRun | None:
        study = load(item.study) if item.study else None
        if item.run is None:
            compared = tracked_study(study) if study else None
            return study_layout(compared) if compared else None
        record = root.finished(item.run)
        if record is None or (item.study and (study is None or not study.place_of(item.run))):
            return None
        return run_layout(*recorded_run(root.run(item.run), record, study))

    return read


def _lock(root: ResultsDir, item: Unconfirmed) -> AbstractContextManager[None]:
    if item.study:
        return root.lock(f"study-{item.study}", f"The study {item.study}")
    return root.lock(item.run, f"The run {item.run}") if item.run else nullcontext()


def _by_wandb_id(root: ResultsDir) -> Mapping[str, Unconfirmed]:
    """Return all runs and studies of the root by their ids in W&B."""
    found = [Unconfirmed(None, run, run_id(None, run)) for run in root.run_ids()]
    for name in root.study_names():
        found.append(Unconfirmed(name, None, study_id(name)))
        with suppress(DamagedError):
            runs = Study.load(root, name).run_ids
            found += [Unconfirmed(name, run, run_id(name, run)) for run in runs]
    return {item.wandb_id: item for item in found}


@contextmanager
def _online(root: ResultsDir) -> Iterator[Session]:
    """Start wandb where its server answers; end it with the block."""
    check_variables()
    session = Session(root.path, FINISH_SECONDS)
    try:
        try:
            why = within(SYNC_PATIENCE, partial(session.start, only="online"))
        except OSError as error:
            raise ParibusError(
                f"W&B: {reason(error)}.", "Give the same command again once it does."
            ) from error
        except Exception as error:
            why = reason(error)
        if why:
            raise RequestError(
                f"W&B: {why}.",
                "Set WANDB_API_KEY, or give: wandb login; WANDB_BASE_URL names a server of one's "
                "own.",
            )
        yield session
    except KeyboardInterrupt:
        session.stop(seconds=1)  # what is on its way need not arrive
        raise
    finally:
        session.stop()


def _cannot_start(session: Session) -> bool:
    """Start wandb once more after a failure; return whether that fails, too."""
    try:
        return bool(within(SYNC_PATIENCE, partial(session.start, only="online")))
    except Exception:
        return True
