"""A run on disk: the folder of a finished one, and the resume state of one that is training."""

from __future__ import annotations

import hashlib
import io
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.errors import DamagedError, RequestError, shown
from paribus.core.fileio import (
    MANIFEST,
    read_json,
    read_lines,
    sync_folder,
    verify_manifest,
    write_bytes,
)
from paribus.core.records.record import Epoch, RunRecord, read_record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


RECORD, HISTORY = "run.json", "history.jsonl"
LOG = "log.txt"  # what a script's command printed
BEST, PREDICTIONS = "best.safetensors", "predictions.safetensors"


@dataclass(frozen=True)
class RunFolder:
    """A finished run on disk."""

    folder: Path  # ``runs/<id>``

    @property
    def id(self) -> str:
        return self.folder.name

    def record(self) -> RunRecord:
        """Read ``run.json``; raise DamagedError if it cannot be read."""
        path = self.folder / RECORD
        try:
            return read_record(read_json(path))
        except ValueError as error:
            raise DamagedError(f"{path}: {error}.") from error

    def verified_record(self, only: tuple[str, ...] | None = None) -> RunRecord:
        """Read the record after comparing every file, or those named, with the manifest."""
        verify_manifest(self.folder, only)
        return self.record()

    def history(self) -> list[Epoch]:
        """Read the epochs of ``history.jsonl``; lines that are none are left out."""
        found = []
        for line in read_lines(self.folder / HISTORY):
            with suppress(ValueError):
                found.append(Epoch.model_validate(line))
        return found

    def weights(self) -> dict[str, Tensor]:
        """Return the best epoch's weights, after their sha256 was compared with the manifest.

        Raises:
            DamagedError: If they are not what was written.
            RequestError: If the run failed, or is a function's, and has none.
        """
        record = self.record()
        if not record.is_complete:
            raise RequestError(f"{self.id} failed and has no weights.")
        if record.weights_sha256 is None:
            what = f"{self.id} is of a function, which keeps its weights to itself."
            raise RequestError(what, "There are compare and reproduce for it.")
        return self._tensors(BEST, "pt")

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return the best epoch's outputs and targets of the validation part, by these names.

        Raises:
            DamagedError: If they are not what was written.
            RequestError: If the run failed and has none.
        """
        if not self.record().is_complete:
            raise RequestError(f"{self.id} failed and has no predictions.")
        return self._tensors(PREDICTIONS, "np")

    def _tensors(self, name: str, library: str) -> dict[str, Any]:
        from safetensors import SafetensorError, safe_open

        verify_manifest(self.folder, only=(RECORD, name))
        try:
            with safe_open(self.folder / name, library) as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise DamagedError(f"{self.folder / name}: cannot be read ({error}).") from error

    def experiment_file(self, record: RunRecord) -> Path:
        """Return the experiment's file as the run carries it; refuse a name outside the folder."""
        name = record.experiment_file
        if Path(name).name != name or not name.endswith(".py"):
            raise DamagedError(f"{self.folder / RECORD}: {shown(name)} is no file that it carries.")
        return self.folder / "source" / name

    def size(self) -> int:
        """Return bytes of all its files."""
        found = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # a sweep may be renaming it just now
                    found += Path(folder, name).lstat().st_size
        return found


def is_finished(folder: Path) -> bool:
    """Return whether an attempt is whole: its manifest, written last, is there."""
    return (folder / MANIFEST).is_file()


# The resume state of an attempt: one file with its own sha256, the one before kept beside it.


LAST, BEFORE = "last.pt", "last.1.pt"
_MARK = b"\nsha256:"


class CheckpointClock:
    """Durability has a clock, not an epoch: a synced save takes longer than an epoch of digits."""

    def __init__(self, every: float) -> None:
        self.every = every  # seconds between saves; 0 saves at each epoch's end
        self._next = time.monotonic() + every

    def due(self) -> bool:
        """Return whether it is time to save."""
        return self.every == 0 or time.monotonic() >= self._next

    def saved(self, seconds: float) -> None:
        """Note that a save took this long; the next is at least 50 times as far away."""
        self._next = time.monotonic() + max(self.every, 50 * seconds)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the resume state whole; what was there stays if it cannot be, else as ``last.1.pt``."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode()
    last = folder / LAST
    if last.exists():
        # A link, not a rename: at every moment one of the two names holds a good state.
        before = folder / BEFORE
        before.unlink(missing_ok=True)
        before.hardlink_to(last)
        sync_folder(folder)
    write_bytes(last, content + _MARK + digest)


def read_state(path: Path) -> bytes:
    """Return the bytes of a resume state; raise DamagedError if they are not what was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror}).") from error
    body, mark, digest = content[:-72], content[-72:-64], content[-64:]
    if mark != _MARK or hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError(f"{path}: does not hold what was written (sha256 differs).")
    return body


def load_state(path: Path) -> dict[str, Any]:
    """Load a resume state, of tensors and plain values alone; raise DamagedError if it is none."""
    import torch

    body = read_state(path)
    try:
        state = torch.load(io.BytesIO(body), weights_only=True)
    except Exception as error:  # what another program packed may fail in any way
        raise DamagedError(
            f"{path}: holds more than tensors and plain values, or is no resume state."
        ) from error
    if not isinstance(state, dict):
        raise DamagedError(f"{path}: is no resume state.")
    return state
