"""A finished run as it was planned: what `evaluate`, `reproduce` and the API begin from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paribus.core.config.experiment import extend_import_path
from paribus.core.config.registry import NAMES
from paribus.core.config.schema import Configuration, get, walk_components, with_value
from paribus.core.errors import MISSING, DamagedError, RequestError, shown
from paribus.core.fileio import manifest_faults
from paribus.core.fingerprint import trace_components
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec

# What a record may name, by kind: parts of an installation, none of which does more than it says.
TRUSTED = {
    "data": r"sklearn\.datasets\.(load|make|fetch)_\w+|torchvision\.datasets\.[A-Z]\w+",
    "model": r"(torch\.nn|torchvision\.models)(\.\w+)+",
    "loss": r"torch\.nn(\.\w+)+",
    "optimizer": r"torch\.optim(\.\w+)+",
    "scheduler": r"torch\.optim(\.\w+)+",
    "metrics": r"torchmetrics(\.\w+)+",
}


def recorded_run(folder: RunFolder, record: RunRecord, *, trust: bool = False) -> RunSpec:
    """A finished run as it was planned, with the sources it carries. Executes nothing.

    Args:
        folder: Where it lies.
        record: Its record.
        trust: Whether whatever the record names may be imported and executed.

    Raises:
        DamagedError: If a source that it carries is not what it was trained with.
        RequestError: If it names something that only `trust` allows.
    """
    path = folder.experiment_file(record)
    source = path.parent
    asked = as_recorded(record)
    if not trust:
        check_trusted(folder, record, asked)
    return RunSpec(
        id=record.run,
        experiment=record.experiment,
        path=path,
        asked=asked.to_dict(),
        configuration=record.configuration,
        seed=record.seed,
        engine=record.engine,
        identity=record.identity,
        facts=record.facts.model_dump(exclude_unset=True),
        sources={
            str(file.relative_to(source)): file.read_bytes()
            for file in sorted(source.rglob("*.py"))
        },
        import_paths=(Path.cwd(),) if trust else (),
    )


def as_recorded(record: RunRecord) -> Configuration:
    """The resolved configuration of a record, to be trained again; the device as it was asked."""
    told = {**record.configuration, "device": record.requested["device"]}
    return Configuration.parse(with_places(told, record), str(record.run))


def with_places(configuration: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """A run's configuration, with relative paths that lead nowhere from here as they were then.

    Args:
        configuration: The record's, as it was asked for or resolved.
        record: Notes the folder that the run was trained from.
    """
    told, noted = dict(configuration), record.noted
    folder = noted.get("folder") if isinstance(noted, Mapping) else None
    for key in ("data.root", "data.path", "train.start_from"):
        place = get(told, key)
        if isinstance(place, str) and isinstance(folder, str) and not _exists(Path(place)):
            then = Path(folder) / Path(place).expanduser()
            told = with_value(told, key, str(then)) if _exists(then) else told
    return told


def _exists(path: Path) -> bool:
    try:
        return path.expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # a record may hold anything
        return False


@contextmanager
def told_of(run: str) -> Iterator[None]:
    """Says of data that is no longer there whose it is: no override can name another place.

    Raises:
        RequestError: With the run and the next step.
    """
    try:
        yield
    except RequestError as error:
        if error.kind != MISSING:
            raise
        raise RequestError(
            f"{run}: its data is gone. {error.message}", "Bring it back there.", MISSING
        ) from error


def check_trusted(folder: RunFolder, record: RunRecord, configuration: Configuration) -> None:
    """Holds a record to what it may have imported and executed. Executes nothing.

    A record may come from anyone, and importing a module runs it.

    Raises:
        DamagedError: If a source that it carries is not what it was trained with.
        RequestError: If it names what is neither an installed library's nor its own.
    """
    carried = {key.partition(":")[0] for key in record.identity["sources"]}
    names = [name for kind, name in _names(configuration) if not _is_trusted(kind, name, carried)]
    if names:
        raise RequestError(
            f"{record.run} names {', '.join(shown(name) for name in names)}, which is neither "
            "of torch, torchvision, torchmetrics and sklearn.datasets nor of the sources that it "
            "carries.",
            "If you trust whoever made this record, add --trust.",
            "untrusted",
        )
    path = folder.experiment_file(record)
    for fault in manifest_faults(folder.folder):
        if str(path.parent) in fault:
            raise DamagedError(fault, "To use what is there now, add --trust.", "sources-changed")
    extend_import_path(path)
    _hold_sources(record, configuration, path)


def _names(configuration: Configuration) -> Iterator[tuple[str, str]]:
    for kind, component in walk_components(configuration):
        if component.name not in NAMES[kind]:
            yield kind, component.name
    yield from (
        ("metrics", name) for name in configuration.to_dict().get("metrics", ()) if "." in name
    )


def _is_trusted(kind: str, name: str, carried: set[str]) -> bool:
    module = name.partition(":")[0]
    if module in carried or any(name.startswith(f"{other}.") for other in carried):
        return True
    return kind in TRUSTED and re.fullmatch(TRUSTED[kind], name) is not None


def _hold_sources(record: RunRecord, configuration: Configuration, path: Path) -> None:
    """Refuses other sources than the run was trained with.

    Raises:
        DamagedError: Naming what differs.
    """
    here = trace_components(configuration, path).digests
    then = record.identity["sources"]
    differs = sorted(k for k in {**then, **here} if then.get(k) != here.get(k))
    if differs:
        raise DamagedError(
            f"{record.run}: {', '.join(map(shown, differs))} is not what it was trained with.",
            "To use what is there now, add --trust.",
            "sources-changed",
        )
