"""Writes a run's manifest anew, as somebody would who changed its files on purpose."""

import hashlib

from paribus.core.fileio import MANIFEST, write_json


def write_manifest(folder):
    """The sha256 of each file of the folder, but of resume states."""
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (MANIFEST, "last.pt", "last.1.pt")
    )
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    write_json(folder / MANIFEST, digests)
