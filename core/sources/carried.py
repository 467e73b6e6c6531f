"""Import the sources that a finished run carries, each as from where it lay when it was trained.

A module finds its neighbours by `__file__`: `Path(__file__).parent / "png"`.
"""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.resources.readers import FileReader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from paribus.core.errors import RequestError
from paribus.core.sources.import_closure import file_digest


class _Loader(SourceFileLoader):
    """Executes one file as if it lay in another place."""

    def __init__(self, name: str, file: Path, place: Path) -> None:
        super().__init__(name, str(file))
        self._place = place

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._place)
        super().exec_module(module)

    def get_resource_reader(self, name: str | None = None) -> FileReader:  # noqa: ARG002
        return FileReader(SimpleNamespace(path=self._place))  # type: ignore[arg-type]


class _CarriedSources(MetaPathFinder):
    """Finds the modules in a record's ``source/`` folder, before any of the same name."""

    def __init__(self, folder: Path, places: Mapping[str, Path]) -> None:
        self.files = {}
        for name, place in places.items():
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            self.files[module] = folder / name, place

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if name not in self.files:
            return None
        file, place = self.files[name]
        return carried_spec(name, file, place)


def carried_spec(name: str, file: Path, place: Path, *, is_experiment: bool = False) -> ModuleSpec:
    """Return how to import a carried file: the one in its place while that says the same."""
    used = place if file.stat().st_size and _same(file, place, is_experiment) else file
    packages = [str(file.parent)] if file.stem == "__init__" else None
    spec = importlib.util.spec_from_file_location(
        name, used, loader=_Loader(name, used, place), submodule_search_locations=packages
    )
    assert spec is not None
    return spec


def import_from(folder: Path, places: Mapping[str, Path]) -> None:
    """Let imports find what a record carries in this folder; nothing where there are no places."""
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _CarriedSources)]
    if places:
        sys.meta_path.insert(0, _CarriedSources(folder, places))


def edited_since(folder: Path, places: Mapping[str, Path]) -> Iterator[Path]:
    """Yield the places where the user's file no longer is what the record carries."""
    for name, place in places.items():
        if not _same(folder / name, place, is_experiment="/" not in name):
            yield place


def _same(file: Path, place: Path, is_experiment: bool) -> bool:
    try:
        if not (file.is_file() and place.is_file()):  # a record may name a device without end
            return False
        first, second = (file_digest(f, is_experiment=is_experiment) for f in (file, place))
    except (OSError, RequestError):
        return False
    return first == second
