"""The framing of W&B's own file: records in blocks, as in LevelDB's logs."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

_HEADER = b":W&B\xe1\xbe\x00"
_BLOCK = 32768
_CHUNK = struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_records(file: Path) -> Iterator[Any]:
    """Yield the records of a ``.wandb`` file, up to where a kill cut it off.

    Raises:
        ValueError: It is another file, or one of them is damaged.
        DecodeError: One of them is none.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, at, parts = file.read_bytes(), len(_HEADER), b""
    if data[:4] != _HEADER[:4]:
        raise ValueError
    while at + _CHUNK.size <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _CHUNK.size:
            at += left
            continue
        checksum, length, kind = _CHUNK.unpack_from(data, at)
        start, at = at + _CHUNK.size, at + _CHUNK.size + length
        if kind == 0 or at > len(data):
            return
        if crc32(data[start - 1 : at]) != checksum:  # of the kind and what follows
            raise ValueError
        parts += data[start:at]
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(parts)
            parts = b""


def framed(records: Iterable[Any]) -> bytes:
    """Return the content of a ``.wandb`` file."""
    data = bytearray(_HEADER)
    for record in records:
        rest, begun = record.SerializeToString(), False
        while rest or not begun:
            left = _BLOCK - len(data) % _BLOCK
            if left < _CHUNK.size:
                data += bytes(left)
                continue
            part, rest = rest[: left - _CHUNK.size], rest[left - _CHUNK.size :]
            kind = (_MIDDLE if rest else _LAST) if begun else (_FIRST if rest else _WHOLE)
            checksum = crc32(bytes([kind]) + part)
            data += _CHUNK.pack(checksum, len(part), kind) + part
            begun = True
    return bytes(data)
