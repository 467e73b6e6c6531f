"""Where a module lies and whose it is, found as an import would, but executing nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

Owner = Literal["stdlib", "installed", "own", "user"]

# Where the repository is on the path, what is found there by its short name is ours all the same.
_ROOMS = [str(Path(__file__).resolve().parents[2] / room) for room in ("core", "sweeps")]


@dataclass(frozen=True)
class Place:
    """Where a module lies: its file, and the folders of its submodules."""

    file: Path | None
    folders: tuple[str, ...]


class Finder:
    """Finds modules as an import would, but executes none."""

    def __init__(self, *folders: Path) -> None:
        self._path = [*sys.path, *map(str, folders)]
        self._places: dict[str, Place | None] = {}

    def find(self, module: str) -> Place | None:
        """Return where a module lies, or None."""
        if module in self._places:
            return self._places[module]
        if not self._places:
            importlib.invalidate_caches()  # a file may be younger than the import system's listing
        parent, _, last = module.rpartition(".")
        spec = None
        if not parent:
            # Not importlib.util.find_spec: it answers for what happens to be imported already.
            for finder in sys.meta_path:
                path = self._path if finder is PathFinder else None
                spec = spec or finder.find_spec(last, path)
        elif (above := self.find(parent)) and above.folders:
            # By its last name alone: a namespace package asks sys.modules for its parent.
            spec = PathFinder.find_spec(last, above.folders)
        place = None
        if spec is not None:
            file = Path(spec.origin or "").absolute()
            folders = tuple(spec.submodule_search_locations or ())
            place = Place(file if file.is_file() else None, folders)
        self._places[module] = place
        return place

    def owner(self, module: str) -> Owner:
        """Return whose a module is; one that cannot be found counts as the user's."""
        top, _, rest = module.partition(".")
        if top == "paribus":
            return "own"
        if top in sys.stdlib_module_names:
            return "stdlib"
        place = self.find(module)
        if place is None:
            return self.owner(module.rpartition(".")[0]) if rest else "user"
        homes = [place.file] if place.file else [Path(folder) for folder in place.folders]
        stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
        if homes and all(_within(home, _ROOMS) for home in homes):
            return "own"
        if homes and all(_within(home, _site_folders()) for home in homes):
            return "installed" if version_of(top) else "user"
        return "stdlib" if homes and all(_within(home, stdlib) for home in homes) else "user"


def _site_folders() -> list[str]:
    pure, plat = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
    # Another environment's may be on the path too, by PYTHONPATH or a .pth file.
    more = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return [pure, plat, *site.getsitepackages(), site.getusersitepackages(), *more]


def _within(path: Path, folders: Iterable[str]) -> bool:
    """Return whether a path lies in one of the folders, as spelled or with its links resolved."""
    real = Path(os.path.realpath(path))
    return any(
        path.is_relative_to(folder) or real.is_relative_to(os.path.realpath(folder))
        for folder in folders
    )


@lru_cache
def version_of(top: str) -> str:
    """Return the version of the distribution that owns an import name; empty if none does."""
    try:
        return str(importlib.metadata.version(top))
    except importlib.metadata.PackageNotFoundError:
        owners = sorted(set(importlib.metadata.packages_distributions().get(top, ())))
    versions = [importlib.metadata.version(name) for name in owners]
    if len(owners) == 1:
        return versions[0]
    return ", ".join(f"{name} {version}" for name, version in zip(owners, versions, strict=True))
