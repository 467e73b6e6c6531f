"""Removing studies and runs: what goes, what stays because a study still needs it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from paribus.core.errors import Faults, RequestError
from paribus.sweeps.study import optuna_export
from paribus.sweeps.study.lookup import find_run
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study


@dataclass(frozen=True)
class Removal:
    """What would be removed.

    Attributes:
        studies: Names.
        runs: Ids, of finished and of interrupted ones.
        kept: Run id to the studies that still need it.
        bytes: What it frees.
    """

    studies: tuple[str, ...]
    runs: tuple[str, ...]
    kept: dict[str, list[str]]
    bytes: int


def plan_removal(root: ResultsDir, names: Sequence[str]) -> Removal:
    """Return what goes with these studies and runs; removes nothing.

    Raises:
        RequestError: With all names that mean nothing.
    """
    faults = Faults()
    studies: list[str] = []
    wanted: list[str] = []
    for name in dict.fromkeys(names):
        if name in root.study_names():
            studies.append(name)
            for setting in Study.load(root, name).settings:
                wanted += setting.runs.values()
            continue
        with faults.collecting():
            if name not in root.interrupted():
                folder = find_run(root, name)
                if folder.folder.parent != root.runs:
                    raise RequestError(
                        f"{folder.folder} is not in this root.",
                        "Delete the folder by hand.",
                        "other-root",
                    )
                name = folder.id
            wanted.append(name)
    faults.check()
    kept = _kept(root, wanted, studies)
    runs = [run for run in dict.fromkeys(wanted) if run not in kept and _places(root, run)]
    files = (path for run in runs for place in _places(root, run) for path in place.rglob("*"))
    freed = sum(path.stat().st_size for path in files if path.is_file())
    return Removal(tuple(studies), tuple(runs), kept, freed)


def _kept(root: ResultsDir, runs: Sequence[str], studies: Sequence[str]) -> dict[str, list[str]]:
    """Return runs that other studies than these use, with their names.

    Raises:
        DamagedError: If a study cannot be read: it may use any of them.
    """
    kept: dict[str, list[str]] = {}
    for name in root.study_names():
        if name not in studies:
            used = {r for s in Study.load(root, name).settings for r in s.runs.values()}
            for run in used.intersection(runs):
                kept.setdefault(run, []).append(name)
    return dict(sorted(kept.items()))


def remove(removal: Removal, root: ResultsDir) -> list[str]:
    """Remove runs first, each study last, so that the same command goes on after a kill.

    Returns:
        Sentences on what could not be removed.

    Raises:
        RequestError: If another command has one of them in use; then nothing is removed.
    """
    said: list[str] = []
    with ExitStack() as locks:
        for name in removal.studies:
            locks.enter_context(root.lock(f"study-{name}", f"The study {name}"))
        for run in removal.runs:
            locks.enter_context(root.lock(run, f"The run {run}"))
        kept = _kept(root, removal.runs, removal.studies)  # a study may have come meanwhile
        for run in removal.runs:
            if run in kept:
                said.append(f"{run} stays: {', '.join(kept[run])} uses it now.")
            else:
                root.remove_run(run)
        for name in removal.studies:
            study = Study.load(root, name)
            try:
                optuna_export.remove(study)
            except Exception as error:
                said.append(f"The Optuna study {name} stays: {str(error).splitlines()[0]}")
            for path in study.folder.iterdir():
                if path.name != "study.json":
                    path.unlink()
            (study.folder / "study.json").unlink()
            study.folder.rmdir()
    return said


def _places(root: ResultsDir, run: str) -> list[Path]:
    """Return its folder and those of its attempts, as far as they are there."""
    finished = root.run(run).folder
    return [*([finished] if finished.is_dir() else []), *root.attempts_of(run)]
