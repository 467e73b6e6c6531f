"""wandb's own file of an offline run: whether it is whole, and its upload by wandb itself."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from paribus.core.errors import shown
from paribus.sweeps.tracking.ledger import mark_of

UPLOAD_SECONDS = 45.0
_HEADER, _BLOCK = 7, 32768  # bytes of the file's and of each chunk's head; chunks end with a block
_FULL, _LAST = 1, 4  # kinds of chunks that end a record


def is_whole(file: Path) -> bool:
    """Whether all that wandb writes of a run is in its file, and is what was written."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    try:
        *_, last = _records(file.read_bytes())
        kind: str | None = Record.FromString(last).WhichOneof("record_type")
        return kind == "exit"
    except Exception:  # whatever a file of other bytes leads to
        return False


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a file in the form of LevelDB's log.

    Raises:
        ValueError: It ends within one, or a checksum is not that of its chunk.
    """
    at, record = _HEADER, b""
    while at < len(content):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # nothing begins there
            at += left
            continue
        checksum, length, kind = struct.unpack("<IHB", content[at : at + _HEADER])
        chunk = content[at + _HEADER : at + _HEADER + length]
        if len(chunk) < length or zlib.crc32(bytes([kind]) + chunk) != checksum:
            raise ValueError(f"byte {at}")
        record += chunk
        at += _HEADER + length
        if kind in (_FULL, _LAST):
            yield record
            record = b""


def upload(file: Path) -> str:
    """Uploads a run by `wandb sync`.

    Returns:
        Why it failed; empty where it did not. wandb says that on standard error alone, and marks
        the file as uploaded all the same: the mark is taken away.
    """
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_MODE"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(file)],
            env=environment,
            cwd=file.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=UPLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        why = "wandb sync did not end"
    else:
        told = [line for line in done.stderr.splitlines() if "ERROR" in line]
        why = "" if done.returncode == 0 and mark_of(file).exists() else "wandb sync failed"
        why = told[0].partition("ERROR")[2].strip() if told else why
    if why:
        mark_of(file).unlink(missing_ok=True)
    return shown(why, 200)
