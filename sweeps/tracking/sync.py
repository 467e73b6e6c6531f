"""Brings to W&B's server what is offline, from the records: `paribus sync`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Literal

from paribus.core.errors import DamagedError, ParibusError, RequestError, shown
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking import run_layout, study_layout
from paribus.sweeps.tracking.background import BackgroundTracker, within
from paribus.sweeps.tracking.ledger import (
    LEDGER,
    Folders,
    Ledger,
    Line,
    Offline,
    Waiting,
    run_line,
    study_line,
)
from paribus.sweeps.tracking.session import LostFileError, Session, project_name, reason
from paribus.sweeps.tracking.tracker_callback import (
    as_recorded,
    hand_over,
    tracked_document,
    tracked_study,
)
from paribus.sweeps.tracking.wandb_file import is_whole, upload
from paribus.sweeps.tracking.wandb_tracker import WandbTracker, finish_run, open_run, write_study

FINISH_SECONDS = 15.0  # for the end of one run; nobody trains meanwhile
PATIENCE = 60.0  # for all of one run
MOST_FAILURES = 2  # one after the other: then it is the server

Watched = Callable[[Sequence[Any]], Iterable[Any]]
Became = Literal["uploaded", "rebuilt", "amended", "unchanged", "gone"]


def sync(
    root: ResultsDir,
    offline: Offline,
    warn: Callable[[str], None],
    watched: Watched = list,
) -> dict[str, Any]:
    """Uploads what waits.

    Args:
        root: Where results live.
        offline: What waits.
        warn: Shows a line.
        watched: Shows how far it is.

    Returns:
        The `sync` document.

    Raises:
        RequestError: W&B has no key, or its settings are of no use.
        ParibusError: The server does not answer.
    """
    found, tried, failures = nothing_waits(offline), 0, 0
    with root.lock("wandb", "The upload to W&B"), _online(root) as session:
        found["server"] = session.server
        uploader = _Uploader(root, session)
        for item in watched(offline.waiting):
            tried += 1
            try:
                with uploader.in_use_by_no_other(item):  # not in the thread, which may hang
                    became = within(PATIENCE, partial(uploader.upload, item))
            except Exception as error:
                told = isinstance(error, ParibusError)
                why = shown(error, 600) if told else reason(error)
                found["failed"].append(item.document() | {"reason": why})
                if told:  # it is not the server that fails
                    continue
                failures += 1
                if not _answers_again(session, failures):
                    break
            else:
                failures = 0
                if became in ("unchanged", "gone"):
                    found[became] += 1
                else:
                    found[became].append(item.document())
    if left := offline.waiting[tried:]:
        found["failed"] += [item.document() | {"reason": "not tried"} for item in left]
        warn(
            f"W&B: {found['server']} takes nothing more; {len(left)} of {len(offline.waiting)} are "
            "left for the same command."
        )
    return found


def nothing_waits(offline: Offline) -> dict[str, Any]:
    """The `sync` document before anything was uploaded."""
    found = {"server": "", "uploaded": [], "rebuilt": [], "amended": []}
    return found | {"unchanged": offline.unchanged, "gone": 0, "failed": []}


class _Uploader:
    """Uploads one after the other; a study is read once."""

    def __init__(self, root: ResultsDir, session: Session) -> None:
        self._root, self._session = root, session
        self._ledger = Ledger(root.path / LEDGER)
        self._folders = Folders(root.path / "wandb")
        self._studies: dict[str, Study | None] = {}

    def upload(self, item: Waiting) -> Became:
        """Uploads it from the record, or, where that is gone, by wandb's own file.

        Raises:
            ParibusError: It cannot be uploaded.
            Exception: The server is in trouble.
        """
        study = self._study(item.study) if item.study else None
        try:
            if item.run is None:
                line = self._from_study(item, study) if study else None
            else:
                line = self._from_record(item, study)
        except LostFileError:
            self._ledger.add({**item.document(), **item.line, "mode": "offline", "lost": True})
            raise
        if line is None:
            return self._from_file(item)
        new = line.pop("new")
        self._note(line)
        if not new:
            return "unchanged"
        if item.line.get("mode") in ("owed", "online"):
            return "amended"
        return "uploaded" if item.files and all(map(is_whole, item.files)) else "rebuilt"

    def _from_record(self, item: Waiting, study: Study | None) -> Line | None:
        assert item.run
        folder = self._root.run(item.run)
        record = self._root.finished(item.run)
        if record is None or (item.study and (study is None or not study.place_of(item.run))):
            return None
        told = as_recorded(item.run, record, study)
        document = tracked_document(folder, record, study)
        history = [epoch.to_json() for epoch in folder.history()]
        live = open_run(self._session, told, item.line.get("project"))
        finish_run(self._session, live, document, history, again=item.line.get("lost", False))
        return run_line(told, document, history) | {"new": live.new}

    def _from_study(self, item: Waiting, study: Study) -> Line | None:
        told = tracked_study(study)
        if told is None:
            return None
        project, again = item.line.get("project"), item.line.get("lost", False)
        _, new = write_study(self._session, told, project, again=again)
        return study_line(told) | {"new": new}

    def _from_file(self, item: Waiting) -> Became:
        """What no record is left of."""
        if not item.files:  # nor any file: it was removed, or is there and cannot be amended
            return "unchanged" if item.line.get("mode") == "owed" else "gone"
        for file in item.files:
            if not is_whole(file):
                raise DamagedError(f"{file} is damaged, and there is no record to build it from.")
            if self._session.has_rows(item.wandb_id, item.line.get("project")):
                raise ParibusError(
                    f"{file} is there in part; its record is gone, and wandb sync would write "
                    f"rows twice. As another run: wandb sync --id {item.wandb_id}-2 {file}"
                )
            if why := upload(file):
                raise ParibusError(f"{file}: {why}")
        self._note(item.line or {"study": None, "run": None, "wandb_id": item.wandb_id})
        return "uploaded"

    def _note(self, line: Line) -> None:
        wandb_id = line["wandb_id"]
        self._folders.mark_uploaded(wandb_id)
        project = (self._ledger.line(wandb_id) or {}).get("project") or project_name()
        self._ledger.add(line | {"mode": "online", "project": project})

    def _study(self, name: str) -> Study | None:
        if name not in self._studies:
            self._studies[name] = None
            if name in self._root.study_names():
                with suppress(DamagedError):
                    self._studies[name] = Study.load(self._root, name)
        return self._studies[name]

    @contextmanager
    def in_use_by_no_other(self, item: Waiting) -> Iterator[None]:
        """Holds what it is of, while it is uploaded.

        Raises:
            RequestError: Another command does.
        """
        if item.study:
            with self._root.lock(f"study-{item.study}", f"The study {item.study}"):
                yield
        elif item.run:
            with self._root.lock(item.run, f"The run {item.run}"):
                yield
        else:
            yield


@contextmanager
def _online(root: ResultsDir) -> Iterator[Session]:
    """wandb, begun where its server answers; ended with the block."""
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


def _answers_again(session: Session, failures: int) -> bool:
    """Begins anew after a failure, unless it is the server that fails."""
    session.stop()
    if failures >= MOST_FAILURES:
        return False
    try:
        return not within(PATIENCE, partial(session.start, only="online"))
    except Exception:
        return False


# Brings a study that is recorded into W&B: `paribus compare STUDY --wandb`.


def log_study(study: Study, warn: Callable[[str], None], watched: Watched) -> dict[str, Any]:
    """Logs the runs that W&B has not, the differences it does not know, and the summary run.

    Args:
        study: The study; the caller holds its lock.
        warn: Shows a line.
        watched: Shows how far it is.

    Returns:
        ``wandb`` of the `compare` document.
    """
    names = [run for setting in study.settings for run in setting.runs.values()]
    runs = [run for run in dict.fromkeys(names) if study.outcomes.record(run)]
    concluded = tracked_study(study)
    wandb = WandbTracker(study.root.path, warn)
    with closing(BackgroundTracker(wandb)) as tracker:
        for run in watched(runs):
            record = study.outcomes.record(run)
            assert record
            hand_over(tracker, study.root.run(run), record, study)
            if not tracker.settle():
                break
        else:
            tracker.conclude(lambda: concluded)
            tracker.settle()
    ids = [run_layout.id_of(study.name, run) for run in runs]
    summary = study_layout.wandb_id(study.name)
    counts = Counter(wandb.given.get(wandb_id, "failed") for wandb_id in ids)
    ledger = Ledger(study.root.path / LEDGER)
    lines = [line for wandb_id in (*ids, summary) if (line := ledger.line(wandb_id))]
    return {
        "mode": wandb.mode,
        **{what: counts[what] for what in ("logged", "amended", "unchanged", "failed")},
        "study": wandb.given.get(summary, "failed") if concluded else None,
        "waiting": sum(line.get("mode") != "online" for line in lines),
    }
