"""The root: the folder of all results. Only the driver moves anything in it."""

import fcntl
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from paribus.core.errors import DamagedError, RequestError, did_you_mean, shown
from paribus.core.fileio import (
    DATA_FOLDER,
    creating,
    read_json,
    read_lines,
    sync_folder,
    user_path,
    verify_manifest,
    write_json,
)
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import BEFORE, LAST, RECORD, RunFolder, is_finished, read_state

_SEED = re.compile(r"(.+)-s(\d+)$")


class ResultsDir:
    """The folder where results live: ``--root``, ``PARIBUS_ROOT`` or ``./results``."""

    def __init__(self, path: str | Path) -> None:
        text = os.fspath(path)
        try:
            if not text or b"\0" in text.encode():
                raise ValueError
        except ValueError:  # half a character, too, which no document could hold
            raise RequestError(
                f"The root '{shown(text)}' is no path in UTF-8.", "Name a folder with --root DIR."
            ) from None
        self.path = user_path(text).absolute()
        try:
            (self.path / ("x" * 250)).stat()  # with room for what will lie below it
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:  # too long, a loop of links, nothing for this user to read
            raise RequestError(
                f"The root '{shown(text)}' cannot be read: {error.strerror}.",
                "Name a folder with --root DIR.",
            ) from error
        self.runs = self.path / "runs"
        self.attempts = self.path / "attempts"
        self.studies = self.path / "studies"

    def create(self) -> None:
        """Make the folders."""
        with creating(f"The root {self.path}"):
            for folder in (self.runs, self.attempts, self.studies):
                folder.mkdir(parents=True, exist_ok=True)
            if not (self.path / "root.json").exists():
                with self.lock("root", "The root", wait=True):  # two commands, but one id
                    if not (self.path / "root.json").exists():
                        write_json(self.path / "root.json", {"format": 1, "id": uuid.uuid4().hex})

    def check_writable(self) -> None:
        """Refuse a place that cannot be written; create nothing."""
        place = self.path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise RequestError(
                f"The root {shown(self.path, 300)} cannot be written: {shown(place, 300)} is not a "
                "folder that this user may write.",
                "Name another place with --root DIR.",
            )

    @property
    def id(self) -> str | None:
        """What marks stored Optuna studies as this root's; None where the root is not there yet."""
        file = self.path / "root.json"
        if not file.exists():
            return None
        content = read_json(file)
        found = content.get("id") if isinstance(content, dict) else None
        if not isinstance(found, str):
            raise DamagedError(f"{file}: has no id.", "Bring it back.")
        return found

    def run(self, name: str) -> RunFolder:
        """Return the folder of a finished run, whether it is there or not."""
        return RunFolder(self.runs / name)

    def run_ids(self) -> list[str]:
        """Return ids of all finished runs, in order of name."""
        return sorted(file.parent.name for file in self.runs.glob(f"*/{RECORD}"))

    def study_names(self) -> list[str]:
        """Return names of all studies, in order of name."""
        return sorted(file.parent.name for file in self.studies.glob("*/study.json"))

    def readings(self) -> list[dict[str, Any]]:
        """Return the readings of test parts that are noted; lines that are none are left out."""
        return [line for line in read_lines(self.path / "readings.jsonl") if _is_reading(line)]

    def finished(self, name: str) -> RunRecord | None:
        """Return the verified record of a run that need not be trained; None if it must be."""
        with suppress(DamagedError):
            return self.run(name).verified_record()
        return None

    def damage(self, name: str) -> str | None:
        """Return what is wrong with a finished run; None if nothing is, or if it is not there."""
        folder = self.run(name)
        try:
            folder.verified_record()
        except DamagedError as error:
            return str(error) if folder.folder.is_dir() else None
        return None

    def adopt(self, name: str) -> RunRecord | None:
        """Take in a finished attempt that was never renamed, and return its record.

        A complete one before one that failed, which was set aside for it. None if there is no good
        one, or another driver is about to take it in.
        """
        if self.run(name).folder.is_dir() or not any(map(is_finished, self.attempts_of(name))):
            return None
        with suppress(RequestError), self.lock(name, name):
            if record := self.finished(name):
                return record
            good = []
            for attempt in reversed(self.attempts_of(name)):
                with suppress(DamagedError):
                    good.append((attempt, RunFolder(attempt).verified_record().is_complete))
            if good:
                return self.accept(name, max(good, key=lambda pair: pair[1])[0])
        return None

    def new_attempt(self, name: str) -> tuple[Path, list[str]]:
        """Make a folder for the next attempt, with the newest good state of earlier ones.

        Earlier ones without a resume state are cleared. Return a sentence, too, for each state that
        is damaged.
        """
        earlier, folder = self.attempts_of(name), self._next_attempt(name)
        notes: list[str] = []
        with creating(f"The attempt {folder}"):
            folder.mkdir()
            for attempt in reversed(earlier):
                states = [s for s in (attempt / LAST, attempt / BEFORE) if s.is_file()]
                for state in states:
                    try:
                        read_state(state)
                    except DamagedError as error:
                        notes.append(f"{error} {name} goes on from an earlier one, or the start.")
                        continue
                    try:
                        shutil.copyfile(state, folder / LAST)
                    except OSError:
                        shutil.rmtree(folder)  # half a copy would be reported as damage
                        raise
                    return folder, notes
                if not states and not is_finished(attempt):
                    shutil.rmtree(attempt, ignore_errors=True)
        return folder, notes

    def clear_attempts(self, name: str) -> None:
        """Remove what is left of attempts at a run that is finished, unless it is in use."""
        if left := self.attempts_of(name):
            with suppress(RequestError), self.lock(name, name):
                for attempt in left:
                    shutil.rmtree(attempt, ignore_errors=True)

    def accept(self, name: str, attempt: Path) -> RunRecord:
        """Verify a finished attempt and make it the run, by one rename; raise a `DamagedError`."""
        verify_manifest(attempt)
        record = RunFolder(attempt).record()
        (attempt / LAST).unlink(missing_ok=True)
        (attempt / BEFORE).unlink(missing_ok=True)
        target = self.runs / name
        if target.exists():
            target.rename(self._next_attempt(name))
        attempt.rename(target)
        sync_folder(self.runs)
        for old in self.attempts_of(name):
            if not is_finished(old):
                shutil.rmtree(old, ignore_errors=True)
        return record

    def remove_run(self, name: str) -> None:
        """Remove a run and its attempts; the caller holds its lock."""
        folder = self.run(name).folder
        if folder.is_dir():  # renamed first: half a folder must not look like a run
            folder.rename(self._next_attempt(name))
            sync_folder(self.runs)
        for attempt in self.attempts_of(name):
            shutil.rmtree(attempt)

    def attempts_of(self, name: str) -> list[Path]:
        """Return the folders of attempts at a run, in order of their numbers."""
        found = [p for p in self.attempts.glob(f"{name}.*") if p.suffix[1:].isdecimal()]
        return sorted(found, key=_number)

    def _next_attempt(self, name: str) -> Path:
        """Return a folder whose number is above those of all attempts at a run."""
        earlier = self.attempts_of(name)
        return self.attempts / f"{name}.{_number(earlier[-1]) + 1 if earlier else 1}"

    def places_of(self, name: str) -> list[RunFolder]:
        """Return the folders of a run and its attempts, as far as they are there."""
        places = [self.runs / name, *self.attempts_of(name)]
        return [RunFolder(place) for place in places if place.is_dir()]

    def interrupted(self) -> list[str]:
        """Return ids of runs that have an attempt and are not finished."""
        names = {p.name.rsplit(".", 1)[0] for p in self.attempts.glob("*/")}
        return sorted(names - set(self.run_ids()))

    def require_study(self, name: str) -> None:
        """Raise a `RequestError` unless there is a study of this name."""
        if name not in self.study_names():
            raise RequestError(
                f"There is no study '{shown(name)}' in {self.path}.",
                did_you_mean(name, self.study_names()) or "Begin one: paribus sweep digits",
            )

    @contextmanager
    def lock(self, name: str, what: str, *, wait: bool = False) -> Iterator[None]:
        """Hold a name for this driver; the lock ends with the process, however that ends.

        What another driver holds is refused, naming its process and host; `what` is how a message
        calls it. Wait only for what is held for a moment.
        """
        folder = self.path / ".locks"
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                file.seek(0)
                raise RequestError(
                    f"{what} is in use by another command ({shown(file.read()) or 'unknown'}).",
                    "Wait for it, or stop it.",
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield


def open_root(path: str | Path) -> ResultsDir:
    """Return a root; data sets render and cache below it, here and in processes begun later."""
    root = ResultsDir(path)
    os.environ[DATA_FOLDER] = str(root.path / "data")
    return root


def root_words(root: ResultsDir) -> list[str]:
    """Return ``--root DIR`` for a command to paste; nothing where that is where it looks anyway."""
    usual = ResultsDir(os.environ.get("PARIBUS_ROOT") or "results")
    return [] if usual.path == root.path else ["--root", str(root.path)]


def split_seed(text: str) -> tuple[str, int] | None:
    """Return ``LABEL-sSEED`` as (label, seed); None if it is not of that form."""
    match = _SEED.fullmatch(text)
    return (match.group(1), int(match.group(2))) if match else None


def _is_reading(line: Any) -> bool:
    """Return whether this is a line of ``readings.jsonl``: a dictionary that names runs."""
    if not isinstance(line, dict) or not isinstance(runs := line.get("runs", []), list):
        return False
    return all(isinstance(run, str) for run in (line.get("run", ""), *runs))


def _number(attempt: Path) -> int:
    return int(attempt.suffix[1:])
