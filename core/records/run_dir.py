"""A finished run on disk, read back. Needs no torch but for weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.errors import DamagedError, RequestError, shown
from paribus.core.fileio import MANIFEST, read_json, read_lines, verify_manifest
from paribus.core.run_spec import ENGINES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


RECORD, HISTORY = "run.json", "history.jsonl"
BEST, PREDICTIONS = "best.safetensors", "predictions.safetensors"
_SHAPE: dict[str, tuple[type, ...]] = {  # what is read from a record: dotted key to its types
    **dict.fromkeys(("run", "experiment", "experiment_file", "status", "engine"), (str,)),
    **dict.fromkeys(("seed", "epochs", "facts.epochs", "facts.parameters", "data.val"), (int,)),
    **dict.fromkeys(("asked", "identity.environment"), (dict,)),
    **dict.fromkeys(("identity.sources", "identity.distributions"), (dict,)),
    **dict.fromkeys(("identity.configuration", "data.preprocessing"), (dict,)),
    **dict.fromkeys(
        ("configuration.select.metric", "configuration.device", "asked.device"), (str,)
    ),
    **dict.fromkeys(("reason", "weights_sha256"), (str, type(None))),
    **dict.fromkeys(("best", "last", "initial_weights"), (dict, type(None))),
    "seconds": (int, float),
}


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

    def record(self) -> dict[str, Any]:
        """``run.json``, parsed.

        Raises:
            DamagedError: If it cannot be.
        """
        record = read_json(self.folder / RECORD)
        if not _is_record(record):
            raise DamagedError(f"{self.folder / RECORD}: is not a run's record.")
        found: dict[str, Any] = record
        return found

    def verified_record(self, only: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The record, after every file, or those named, was compared with the manifest."""
        verify_manifest(self.folder, only)
        return self.record()

    def history(self) -> list[dict[str, Any]]:
        """One dict per epoch."""
        return read_lines(self.folder / HISTORY)

    def weights(self) -> dict[str, Tensor]:
        """The best epoch's weights, after their sha256 was compared with the manifest.

        Raises:
            DamagedError: If they are not what was written.
            RequestError: If the run failed, or is a function's, and has none.
        """
        record = self.record()
        if record["status"] != "complete":
            raise RequestError(f"{self.id} failed and has no weights.", kind="failed-run")
        if record["weights_sha256"] is None:
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
        """The best epoch's outputs and targets of the validation part, by these names.

        Raises:
            DamagedError: If they are not what was written.
            RequestError: If the run failed and has none.
        """
        if self.record()["status"] != "complete":
            raise RequestError(f"{self.id} failed and has no predictions.", kind="failed-run")
        verify_manifest(self.folder, only=(RECORD, PREDICTIONS))
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self.folder / PREDICTIONS)
        except SafetensorError as error:
            raise DamagedError(f"{self.folder / PREDICTIONS}: cannot be read ({error}).") from error

    def experiment_file(self, record: Mapping[str, Any]) -> Path:
        """The experiment's file as the run carries it.

        Raises:
            DamagedError: If the record names a file that lies elsewhere.
        """
        name = record["experiment_file"]
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
            raise DamagedError(f"{self.folder / RECORD}: {shown(name)} is no file that it carries.")
        return self.folder / "source" / name

    def size(self) -> int:
        """Bytes of all its files."""
        return _size(self.folder)


def _size(folder: Path) -> int:
    found = 0
    with suppress(OSError), os.scandir(folder) as entries:  # a sweep may be renaming it just now
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            found += _size(Path(entry)) if is_folder else entry.stat(follow_symlinks=False).st_size
    return found


def _is_record(record: Any) -> bool:
    """Whether all that is read from a record is there, and of its type."""
    is_script = isinstance(record, dict) and record.get("engine") == "script"
    component = "configuration.script" if is_script else "configuration.data"
    for key, types in {**_SHAPE, component: (dict,), f"{component}.name": (str,)}.items():
        value = record
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        if not isinstance(value, types):
            return False
    if record["engine"] not in ENGINES or record["status"] not in ("complete", "failed"):
        return False
    best = record["best"]
    if record["status"] == "failed" or best is None:
        return record["status"] == "failed" and best is None
    return (
        isinstance(best.get("metrics"), dict)
        and {"epoch", "confusion_matrix"} <= best.keys()
        and record["initial_weights"] is not None
    )


def is_finished(folder: Path) -> bool:
    """Whether an attempt is whole: its manifest, written last, is there."""
    return (folder / MANIFEST).is_file()
