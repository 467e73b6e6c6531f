"""A finished run on disk, read back. Needs no torch but for weights."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.errors import DamagedError, RequestError, shown
from paribus.core.fileio import MANIFEST, read_json, read_lines, verify_manifest
from paribus.core.records.record import Epoch, RunRecord, read_record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


RECORD, HISTORY = "run.json", "history.jsonl"
BEST, PREDICTIONS = "best.safetensors", "predictions.safetensors"


@dataclass(frozen=True)
class RunFolder:
    """A finished run on disk.

    Attributes:
        folder: ``runs/<id>``.
    """

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    def record(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            DamagedError: If it cannot be read.
        """
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
        if record.status != "complete":
            raise RequestError(f"{self.id} failed and has no weights.", kind="failed-run")
        if record.weights_sha256 is None:
            what = f"{self.id} is of a function, which keeps its weights to itself."
            raise RequestError(what, "There are compare and reproduce for it.", "script")
        verify_manifest(self.folder, only=(RECORD, BEST))
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / BEST, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise DamagedError(f"{self.folder / BEST}: cannot be read ({error}).") from error

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return the best epoch's outputs and targets of the validation part, by these names.

        Raises:
            DamagedError: If they are not what was written.
            RequestError: If the run failed and has none.
        """
        if self.record().status != "complete":
            raise RequestError(f"{self.id} failed and has no predictions.", kind="failed-run")
        verify_manifest(self.folder, only=(RECORD, PREDICTIONS))
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.folder / PREDICTIONS)
        except SafetensorError as error:
            raise DamagedError(f"{self.folder / PREDICTIONS}: cannot be read ({error}).") from error

    def experiment_file(self, record: RunRecord) -> Path:
        """Return the experiment's file as the run carries it.

        Raises:
            DamagedError: If the record names a file that lies elsewhere.
        """
        name = record.experiment_file
        if Path(name).name != name or not name.endswith(".py"):
            raise DamagedError(f"{self.folder / RECORD}: {shown(name)} is no file that it carries.")
        return self.folder / "source" / name

    def size(self) -> int:
        """Return bytes of all its files."""
        return _size(self.folder)


def _size(folder: Path) -> int:
    found = 0
    with suppress(OSError), os.scandir(folder) as entries:  # a sweep may be renaming it just now
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            found += _size(Path(entry)) if is_folder else entry.stat(follow_symlinks=False).st_size
    return found


def is_finished(folder: Path) -> bool:
    """Return whether an attempt is whole: its manifest, written last, is there."""
    return (folder / MANIFEST).is_file()
