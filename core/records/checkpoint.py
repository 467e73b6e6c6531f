"""The resume state of an attempt: one file with its own sha256, the one before kept beside it."""

from __future__ import annotations

import hashlib
import io
import time
from pathlib import Path
from typing import Any

from paribus.core.errors import DamagedError
from paribus.core.fileio import sync_folder, write_bytes

LAST, BEFORE = "last.pt", "last.1.pt"
_MARK = b"\nsha256:"


class CheckpointClock:
    """Durability has a clock, not an epoch: a synced save takes longer than an epoch of digits.

    Args:
        every: Seconds between saves; 0 saves at each epoch's end.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self._saved = time.monotonic()
        self._pause = every

    def due(self) -> bool:
        """Return whether it is time to save."""
        return self.every == 0 or time.monotonic() - self._saved >= self._pause

    def saved(self, seconds: float) -> None:
        """Note that a save took this long; the next is at least 50 times as far away."""
        self._saved = time.monotonic()
        self._pause = max(self.every, 50 * seconds)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the resume state whole; the one before stays as ``last.1.pt``.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
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
    """Return the bytes of a resume state, after comparing their sha256.

    Raises:
        DamagedError: If the file does not hold what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read ({error.strerror}).") from error
    body, mark, digest = content[:-72], content[-72:-64], content[-64:]
    if mark != _MARK or hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError(f"{path}: does not hold what was written (sha256 differs).")
    return body


def load_state(path: Path) -> dict[str, Any]:
    """Load a resume state; nothing but tensors and plain values is unpickled.

    Raises:
        DamagedError: If the file does not hold what was written.
    """
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
