"""Brings W&B's server up to the records: `paribus sync` and `paribus compare STUDY --wandb`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from paribus.core.errors import DamagedError, ParibusError, RequestError, shown
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker_callback import recorded_run, tracked_study
from paribus.sweeps.tracking.wandb_layout import (
    WandbRun,
    run_id,
    run_layout,
    study_id,
    study_layout,
)
from paribus.sweeps.tracking.wandb_session import LostFileError, Session, reason, within
from paribus.sweeps.tracking.wandb_tracker import WandbTracker
from paribus.sweeps.tracking.wandb_writer import Ledger, WandbWriter

FINISH_SECONDS = 15.0  # for the end of one run; nobody trains meanwhile
PATIENCE = 60.0  # for all of one run
MOST_FAILURES = 2  # one after the other: then it is the server

ProgressBar = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Unconfirmed:
    """A run or a study's summary run (``run`` is None) that the server has not confirmed."""

    study: str | None
    run: str | None
    wandb_id: str


class Sync:
    """What of a root is in W&B, and the upload of the rest.

    Args:
        root: Where results live.
        study: Only what is of this study; None: everything.

    Attributes:
        waiting: What the server has not confirmed.
        document: The `sync` document so far.

    Raises:
        RequestError: There is no such study, and none was logged.
    """

    def __init__(self, root: ResultsDir, study: str | None) -> None:
        self._root, self._ledger = root, Ledger(root.path)
        self._studies: dict[str, Study | None] = {}
        self.waiting: list[Unconfirmed] = []
        self.document: dict[str, Any] = {"server": "", "uploaded": [], "rebuilt": [], "amended": []}
        self.document |= {"unchanged": 0, "gone": 0, "failed": []}
        if study and all(self._ledger.line(i).get("study") != study for i in self._ledger.ids()):
            root.require_study(study)
        named: dict[str, Unconfirmed] | None = None
        for wandb_id in self._ledger.ids():
            if line := self._ledger.line(wandb_id):
                item = Unconfirmed(line.get("study"), line.get("run"), wandb_id)
            else:  # the ledger was lost, or the folder is another program's
                named = named or self._by_wandb_id()
                item = named.get(wandb_id, Unconfirmed(None, None, wandb_id))
            if study not in (None, item.study):
                continue
            if line.get("mode") == "online" and not self._ledger.files(wandb_id):
                self.document["unchanged"] += 1
            else:
                self.waiting.append(item)

    def upload(self, warn: Callable[[str], None], bar: ProgressBar = list) -> None:
        """Write what waits, from the records.

        Args:
            warn: Shows a line.
            bar: Shows the progress.

        Raises:
            RequestError: W&B has no key, or its settings cannot be used.
            ParibusError: The server does not answer.
        """
        tried = failures = 0
        lock = self._root.lock("wandb", "The upload to W&B")
        with lock, _online(self._root) as session:
            self.document["server"] = session.server
            writer = WandbWriter(session, self._ledger)
            for item in bar(self.waiting):
                tried += 1
                try:
                    with self._lock(item):  # not in the thread, which may hang
                        became = within(PATIENCE, partial(self._upload, writer, item))
                except ParibusError as error:  # it is not the server that fails
                    self._fail(item, shown(error, 600))
                except Exception as error:
                    self._fail(item, reason(error))
                    failures += 1
                    writer.live.clear()
                    session.stop()
                    if failures >= MOST_FAILURES or not _starts(session):
                        break
                else:
                    failures = 0
                    if became in ("uploaded", "amended"):
                        self.document[became].append(vars(item))
                    else:
                        self.document[became] += 1
        left = self.waiting[tried:]
        for item in left:
            self._fail(item, "not tried")
        if left:
            warn(
                f"W&B: {self.document['server']} accepts nothing more; {len(left)} of "
                f"{len(self.waiting)} are left for the same command."
            )

    def _upload(self, writer: WandbWriter, item: Unconfirmed) -> str:
        """Write one of them, and return the category of the `sync` document that it is in then."""
        contents = self._recorded(item)
        files = self._ledger.files(item.wandb_id)
        known = self._ledger.server_has(item.wandb_id)
        if contents is None and files:
            raise ParibusError(
                f"its record is gone. W&B's own file is left: wandb sync {files[0]} (if the server "
                f"has a part of it already: wandb sync --id {item.wandb_id}-2 {files[0]})"
            )
        if contents is None:
            return "unchanged" if known else "gone"
        try:
            changed = writer.write(contents)
        except LostFileError:
            writer.note_lost(contents)
            raise
        return ("amended" if known else "uploaded") if changed else "unchanged"

    def _recorded(self, item: Unconfirmed) -> WandbRun | None:
        """Return what the record holds; None where there is none."""
        study = self._study(item.study) if item.study else None
        if item.run is None:
            compared = tracked_study(study) if study else None
            return study_layout(compared) if compared else None
        record = self._root.finished(item.run)
        if record is None or (item.study and (study is None or not study.place_of(item.run))):
            return None
        return run_layout(*recorded_run(self._root.run(item.run), record, study))

    def _study(self, name: str) -> Study | None:
        if name not in self._studies:
            self._studies[name] = None
            if name in self._root.study_names():
                with suppress(DamagedError):
                    self._studies[name] = Study.load(self._root, name)
        return self._studies[name]

    def _fail(self, item: Unconfirmed, why: str) -> None:
        self.document["failed"].append(vars(item) | {"reason": why})

    def _lock(self, item: Unconfirmed) -> AbstractContextManager[None]:
        if item.study:
            return self._root.lock(f"study-{item.study}", f"The study {item.study}")
        return self._root.lock(item.run, f"The run {item.run}") if item.run else nullcontext()

    def _by_wandb_id(self) -> dict[str, Unconfirmed]:
        """Return all runs and studies of the root by their ids in W&B."""
        found = [Unconfirmed(None, run, run_id(None, run)) for run in self._root.run_ids()]
        for name in self._root.study_names():
            found.append(Unconfirmed(name, None, study_id(name)))
            if study := self._study(name):
                runs = [run for setting in study.settings for run in setting.runs.values()]
                found += [Unconfirmed(name, run, run_id(name, run)) for run in runs]
        return {item.wandb_id: item for item in found}


@contextmanager
def _online(root: ResultsDir) -> Iterator[Session]:
    """Start wandb where its server answers; end it with the block."""
    session = Session(root.path, FINISH_SECONDS)
    try:
        try:
            why = within(PATIENCE, partial(session.start, only="online"))
        except OSError as error:
            raise ParibusError(
                f"W&B: {reason(error)}.", "Give the same command again once it does.", "server"
            ) from error
        except Exception as error:
            why = reason(error)
        if why:
            raise RequestError(
                f"W&B: {why}.",
                "Set WANDB_API_KEY, or give: wandb login; WANDB_BASE_URL names a server of one's "
                "own.",
                "wandb",
            )
        yield session
    except KeyboardInterrupt:
        session.stop(seconds=1)  # what is on its way need not arrive
        raise
    finally:
        session.stop()


def _starts(session: Session) -> bool:
    """Start wandb once more after a failure."""
    try:
        return not within(PATIENCE, partial(session.start, only="online"))
    except Exception:
        return False


def log_study(study: Study, warn: Callable[[str], None], bar: ProgressBar) -> dict[str, Any]:
    """Log the runs that W&B lacks, the differences it does not know, and the summary run.

    Args:
        study: The study; the caller holds its lock.
        warn: Shows a line.
        bar: Shows the progress.

    Returns:
        ``wandb`` of the `compare` document.
    """
    names = [run for setting in study.settings for run in setting.runs.values()]
    records = {run: record for run in names if (record := study.outcomes.record(run))}
    compared = tracked_study(study)
    with closing(WandbTracker(study.root.path, warn)) as tracker:
        for name in bar(list(records)):
            run, document, history = recorded_run(study.root.run(name), records[name], study)
            tracker.begin(run)
            tracker.finish(name, document, history)
            if not tracker.settle():
                break
        else:
            tracker.conclude(lambda: compared)
            tracker.settle()
    ids, summary = [run_id(study.name, run) for run in records], study_id(study.name)
    counts = Counter(tracker.given.get(wandb_id, "failed") for wandb_id in ids)
    ledger = Ledger(study.root.path)
    lines = [line for wandb_id in (*ids, summary) if (line := ledger.line(wandb_id))]
    return {
        "mode": tracker.mode,
        **{what: counts[what] for what in ("logged", "amended", "unchanged", "failed")},
        "study": tracker.given.get(summary, "failed") if compared else None,
        "waiting": sum(line.get("mode") != "online" for line in lines),
    }
