"""Where a module lies and whose it is, found as an import would, but executing nothing."""

import hashlib
import importlib
import importlib.metadata
import os
import re
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
OWN_FOLDERS = [
    str(Path(__file__).resolve().parents[2] / name) for name in ("core", "sweeps", "experiments")
]
_FOLDERS = sysconfig.get_paths()


@dataclass(frozen=True)
class Place:
    """Where a module lies: its file, and the folders of its submodules."""

    file: Path | None
    folders: tuple[str, ...]


class Finder:
    """Finds modules as an import would, but executes none."""

    def __init__(self, *folders: Path, first: Path | None = None) -> None:
        self._path = [*([str(first)] if first else []), *sys.path, *map(str, folders)]
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
        """Return whose a module is; 'own' is this package. One not found counts as the user's."""
        top, _, rest = module.partition(".")
        if top == "paribus":
            return "own"
        if top in sys.stdlib_module_names:
            return "stdlib"
        place = self.find(module)
        if place is None:
            return self.owner(module.rpartition(".")[0]) if rest else "user"
        homes = [place.file] if place.file else [Path(folder) for folder in place.folders]
        stdlib = [_FOLDERS["stdlib"], _FOLDERS["platstdlib"]]
        if homes and all(_within(home, OWN_FOLDERS) for home in homes):
            return "own"
        if homes and all(_within(home, site_folders()) for home in homes):
            return "installed" if _distributions(top) else "user"
        return "stdlib" if homes and all(_within(home, stdlib) for home in homes) else "user"


def site_folders() -> list[str]:
    """Return the folders that packages are installed to."""
    # Another environment's may be on the path too, by PYTHONPATH or a .pth file.
    more = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    installed = [_FOLDERS["purelib"], _FOLDERS["platlib"]]
    return [*installed, *site.getsitepackages(), site.getusersitepackages(), *more]


def _within(path: Path, folders: Iterable[str]) -> bool:
    """Return whether a path lies in one of the folders, as spelled or with its links resolved."""
    real = Path(os.path.realpath(path))
    return any(
        path.is_relative_to(folder) or real.is_relative_to(os.path.realpath(folder))
        for folder in folders
    )


@lru_cache
def _distributions(top: str) -> tuple[importlib.metadata.Distribution, ...]:
    """Return the distributions that own an import name; most have its name."""
    try:
        return (importlib.metadata.distribution(top),)
    except importlib.metadata.PackageNotFoundError:
        found = {d.name: d for d in importlib.metadata.distributions() if _provides(d, top)}
        return tuple(found[name] for name in sorted(found))


def _provides(distribution: importlib.metadata.Distribution, top: str) -> bool:
    """Return whether a distribution installs an import name.

    As `importlib.metadata.packages_distributions`, which makes a path of each installed file.
    """
    if declared := distribution.read_text("top_level.txt"):
        return top in declared.split()
    lines = distribution.read_text("RECORD") or ""
    return re.search(rf"^{re.escape(top)}(/|\.[^/,]*,)", lines, re.MULTILINE) is not None


@lru_cache
def distribution_of(top: str) -> str:
    """Return version and digest of the installed files of the distribution that owns a name.

    Such as ``1.7.2, files 3f0c9a41be12``: a package that was edited and installed again has
    another digest. Empty if none owns it.
    """
    found = _distributions(top)
    texts = [f"{one.version}{_files_digest(one)}" for one in found]
    if len(found) == 1:
        return texts[0]
    return "; ".join(f"{one.name} {text}" for one, text in zip(found, texts, strict=True))


def _files_digest(distribution: importlib.metadata.Distribution) -> str:
    """Return a digest of the lines of `RECORD`, which has the sha256 of each installed file.

    What tells where it was installed to, or from, is left out: scripts, metadata, caches.
    """
    text = distribution.read_text("RECORD")
    if text is None:  # not installed by pip
        return ""
    lines = [
        line
        for line in text.splitlines()
        if not line.startswith("..") and ".dist-info/" not in line and ".pyc," not in line
    ]
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    return f", files {digest[:12]}"
