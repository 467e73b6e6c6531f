"""A finished run as it was planned: where `evaluate`, `predict`, `reproduce` and the API begin."""

import glob
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paribus.core.config.registry import NAMES
from paribus.core.config.schema import Component, Configuration, get, walk_components, with_value
from paribus.core.errors import MISSING, DamagedError, RequestError, shown
from paribus.core.fileio import existing, manifest_faults
from paribus.core.records.record import (
    ReadLater,
    RunRecord,
    noted_files,
    places_of_sources,
    with_present_names,
)
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec
from paribus.core.sources.carried import edited_since
from paribus.core.sources.import_closure import file_digest
from paribus.core.sources.module_finder import Finder
from paribus.core.sources.read_digests import changed_since

# What a record may name, by kind: objects of installed libraries that are safe to call.
TRUSTED = {
    "data": r"sklearn\.datasets\.(load|make|fetch)_\w+|torchvision\.datasets\.[A-Z]\w+",
    "model": r"(torch\.nn|torchvision\.models)(\.\w+)+",
    "loss": r"torch\.nn(\.\w+)+",
    "optimizer": r"torch\.optim(\.\w+)+",
    "scheduler": r"torch\.optim(\.\w+)+",
    "metrics": r"torchmetrics(\.\w+)+",
}


def recorded_run(
    folder: RunFolder, record: RunRecord, *, trust: bool = False, to_train: bool = False
) -> RunSpec:
    """Return a finished run as it was planned, with the sources it carries. Executes nothing.

    With `trust` whatever the record names may be imported and executed. A run `to_train` is trained
    again, whatever has changed; else its weights are used.

    Raises:
        DamagedError: If a source that it carries, or a file or variable that it read, is not what
            it was trained with.
        RequestError: If it names something that only `trust` allows.
    """
    path = folder.experiment_file(record)
    source = path.parent
    # The resolved configuration; the device as it was requested.
    values = {**record.configuration, "device": record.requested["device"]}
    requested = Configuration.parse(with_places(values, record), record.run)
    if not trust:
        check_trusted(folder, record, requested)
    if not to_train:
        _refuse_changed_reads(record)
    return RunSpec(
        id=record.run,
        experiment=record.experiment,
        path=path,
        requested=requested,
        configuration=with_present_names(record.configuration, record),
        seed=record.seed,
        engine=record.engine,
        identity=record.identity,
        facts=record.facts.model_dump(exclude_unset=True),
        sources={
            str(file.relative_to(source)): file.read_bytes()
            for file in sorted(source.rglob("*.py"))
        },
        import_paths=(Path.cwd(),) if trust else (),
        noted=record.noted if isinstance(record.noted, Mapping) else {},
    )


def with_places(configuration: Mapping[str, Any], record: RunRecord) -> dict[str, Any]:
    """Return a run's configuration as it is to be read here, with today's names.

    Relative paths that lead nowhere from here begin at the folder that its record notes.
    """
    found, noted = with_present_names(configuration, record), record.noted
    folder = noted.get("folder") if isinstance(noted, Mapping) else None
    for key in ("data.root", "data.path", "train.start_from"):
        place = get(found, key)  # a record may hold anything
        if isinstance(place, str) and isinstance(folder, str) and not existing(place):
            then = existing(str(Path(folder, place)))
            found = with_value(found, key, str(then)) if then else found
    return found


def _refuse_changed_reads(record: RunRecord) -> None:
    """Refuse a run whose model was made of files and variables that are something else now."""
    files, variables = noted_files(record.noted), record.identity.get("variables", {})
    later, read = changed_later(record), record.read_later or ReadLater()
    # Of what was read while it trained, data that was moved makes no other model, nor do
    # other files in a folder.
    data = {n for n in read.files if n.endswith(("/", "*")) or later.get(n, ["", None])[1] is None}
    changed = [*changed_since(files, variables, Path()), *sorted(later.keys() - data)]
    if changed:
        raise DamagedError(
            f"{', '.join(shown(name, 500) for name in changed)}: not what {record.run} read when "
            "it was trained, so its weights would be another model's.",
            "Bring back what it was, or train again: paribus run.",
        )


def changed_later(record: RunRecord) -> dict[str, list[str | None]]:
    """Return what a run read while it trained and is not as it was, by name: ``[then, now]``."""
    later, places = record.read_later or ReadLater(), places_of_sources(record.noted)
    place = places.get(record.experiment_file) or next(iter(places.values()), Path("_"))
    return changed_since(later.files, later.variables, place.parent)


@contextmanager
def naming_sources(run: RunSpec) -> Iterator[None]:
    """Say of a recorded run that is refused which of its files are not what they were."""
    try:
        yield
    except RequestError as error:
        message, hint = error.message, error.hint
        if error.kind == MISSING:  # no override can name another place
            message, hint = f"{run.id}: its data is gone. {message}", "Bring it back there."
        source, places = run.path.parent, places_of_sources(run.noted)
        message = message if message.endswith(".") else f"{message}."
        if edited := list(edited_since(source, places)):
            each = (f"{shown(p, 500)} is {'edited' if p.exists() else 'gone'}" for p in edited)
            message += f" {', '.join(each)}, so the copy in {source} was used."
        gone = [shown(path, 500) for path in noted_files(run.noted) if not existing(path)]
        if gone:
            message += f" {', '.join(gone)}, which {run.id} read, is gone: bring it back there."
        raise RequestError(message, hint, error.kind) from error


def check_trusted(folder: RunFolder, record: RunRecord, configuration: Configuration) -> None:
    """Check what a record may have imported and executed. Executes nothing.

    A record may come from anyone, and importing a module runs it.

    Raises:
        DamagedError: If a source that it carries is not what it was trained with.
        RequestError: If it names what is neither an installed library's nor its own.
    """
    carried = {key.partition(":")[0] for key in record.identity["sources"]}
    used = [
        (kind, component.name)
        for kind, component in walk_components(configuration)
        if component.name not in NAMES[kind] and not _is_plain_model(component)
    ]
    metrics = configuration.to_dict().get("metrics", ())
    named = [metric if isinstance(metric, str) else metric["name"] for metric in metrics]
    used += [("metrics", name) for name in named if "." in name]
    names = [name for kind, name in used if not _is_trusted(kind, name, carried)]
    if names:
        raise RequestError(
            f"{record.run} names {', '.join(shown(name) for name in names)}, which is neither "
            "of torch, torchvision, torchmetrics and sklearn.datasets nor of the sources that it "
            "carries.",
            "If you trust the author of this record, add --trust.",
            "untrusted",
        )
    path = folder.experiment_file(record)
    faults = [fault for fault in manifest_faults(folder.folder) if str(path.parent) in fault]
    for name, digest in record.identity["sources"].items():
        # ``file:object`` is of a record of format 1: a digest of a part of the file.
        if ":" not in name and digest not in _carried_digests(path.parent, name):
            faults.append(f"{record.run}: {shown(name)} is not what it was trained with.")
    if faults:
        raise DamagedError(faults[0], "To use what is there now, add --trust.")


def _carried_digests(source: Path, name: str) -> list[str]:
    """Return the digest of a file that a run carries, or of a module: none where it has no such."""
    if name.endswith(".py"):
        files = [source / Path(name).name]
    else:
        module = source.joinpath(*name.split("."))
        files = [module.with_name(f"{module.name}.py"), module / "__init__.py"]
        files += module.parent.glob(f"{glob.escape(module.name)}.*.so")
    return [file_digest(f, is_experiment=name.endswith(".py")) for f in files if f.is_file()]


def _is_plain_model(component: Component) -> bool:
    """Return whether it is a model of timm or transformers whose keywords name no file.

    Texts may be files of pickles (`checkpoint_path` of timm) or repositories of code
    (`attn_implementation` of transformers); a word such as ``gelu`` is no repository.
    """
    of_timm = re.fullmatch(r"timm:[\w.]+", component.name)
    of_transformers = r"transformers\.(?!Auto)[A-Z]\w*(Model|For[A-Z]\w+)"
    if not of_timm and not re.fullmatch(of_transformers, component.name):
        return False
    texts = r"" if of_timm else r"\w+"
    return all(
        re.fullmatch(texts, value) if isinstance(value, str) else not isinstance(value, Mapping)
        for value in component.keywords.values()
    )


def _is_trusted(kind: str, name: str, carried: set[str]) -> bool:
    module = name.partition(":")[0]
    if module in carried and module.endswith(".py"):
        return True
    # A module that is carried must not be one that is here anyway: `os` of the record's.
    if any(name.startswith(f"{other}.") for other in carried) and Finder().owner(name) == "user":
        return True
    if name in NAMES.get(kind, {}).values():  # one of the short names, written in full
        return True
    return kind in TRUSTED and re.fullmatch(TRUSTED[kind], name) is not None
