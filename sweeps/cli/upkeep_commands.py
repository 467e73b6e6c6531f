"""`remove`, `doctor` and `sync`: make room, examine the machine, bring W&B up to date."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import rich_click as click
from rich.filesize import decimal

from paribus.core.errors import Faults, ParibusError, RequestError, many
from paribus.sweeps.cli.completion import complete_study, complete_subject
from paribus.sweeps.cli.console import (
    bar,
    checked_option,
    faults_of,
    json_option,
    print_json,
    root_option,
    say,
    table,
    warn,
)
from paribus.sweeps.study.results_dir import ResultsDir


@click.command("remove")
@click.argument(
    "names", nargs=-1, required=True, metavar="STUDY|RUN...", shell_complete=complete_subject
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
@json_option
def remove_command(names: tuple[str, ...], yes: bool, root: ResultsDir, as_json: bool) -> None:
    """Remove studies and runs; asks first. Runs that other studies use stay."""
    removal = plan_removal(root, names)
    for run, studies in removal.kept.items():
        warn(f"{run} stays: {', '.join(studies)} uses it.")
    what = [f"study {name}" for name in removal.studies]
    if removal.runs:
        what.append(f"{many(len(removal.runs), 'run')} ({decimal(removal.bytes)})")
    if not what:
        raise RequestError("There is nothing to remove.", "See: paribus runs")
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise RequestError(f"This would remove {' and '.join(what)}.", "To do it, add --yes.")
        click.confirm(f"Remove {' and '.join(what)} from {root.path}?", abort=True)
    try:
        notes = remove_planned(removal, root)
    except OSError as error:
        raise ParibusError(
            f"Not all could be removed: {error}.", "Run the same command again."
        ) from error
    warn(*notes)
    if as_json:
        return print_json(asdict(removal))
    say(f"Removed {' and '.join(what)}.")
    return None


@dataclass(frozen=True)
class Removal:
    """What would be removed: studies, runs that are finished or interrupted, and how many bytes.

    `kept` maps other runs to the studies that still need them.
    """

    studies: list[str]
    runs: list[str]
    kept: dict[str, list[str]]
    bytes: int


def plan_removal(root: ResultsDir, names: Sequence[str]) -> Removal:
    """Return what goes with these studies and runs; refuse names that mean nothing."""
    from paribus.sweeps.study.lookup import find_run
    from paribus.sweeps.study.study import Study

    faults = Faults()
    studies: list[str] = []
    wanted: list[str] = []
    for name in dict.fromkeys(names):
        with faults.collecting():
            if name in root.study_names():
                studies.append(name)
                wanted += Study.load(root, name).run_ids
            elif name in root.interrupted():
                wanted.append(name)
            elif (folder := find_run(root, name)).folder.parent == root.runs:
                wanted.append(folder.id)
            else:
                where = f"{folder.folder} is not in this root."
                raise RequestError(where, "Delete the folder by hand.")
    faults.check()
    kept = _kept(root, wanted, studies)
    places = {run: root.places_of(run) for run in wanted if run not in kept}
    freed = sum(place.size() for found in places.values() for place in found)
    return Removal(studies, [run for run, found in places.items() if found], kept, freed)


def _kept(root: ResultsDir, runs: Sequence[str], studies: Sequence[str]) -> dict[str, list[str]]:
    """Return runs that other studies than these use, with their names; all have to be readable."""
    from paribus.sweeps.study.study import Study

    kept: dict[str, list[str]] = {}
    for name in root.study_names():
        if name not in studies:
            for run in {*Study.load(root, name).run_ids}.intersection(runs):
                kept.setdefault(run, []).append(name)
    return dict(sorted(kept.items()))


def remove_planned(removal: Removal, root: ResultsDir) -> list[str]:
    """Remove runs first, each study last, so that the same command goes on after a kill.

    Nothing is removed where another command has one of them in use. Return sentences on what could
    not be removed.
    """
    from paribus.sweeps.study import optuna_studies
    from paribus.sweeps.study.study import Study

    notes: list[str] = []
    with ExitStack() as locks:
        for name in removal.studies:
            locks.enter_context(root.lock(f"study-{name}", f"The study {name}"))
        for run in removal.runs:
            locks.enter_context(root.lock(run, f"The run {run}"))
        kept = _kept(root, removal.runs, removal.studies)  # a study may have come meanwhile
        for run in removal.runs:
            if run in kept:
                notes.append(f"{run} stays: {', '.join(kept[run])} uses it now.")
            else:
                root.remove_run(run)
        for name in removal.studies:
            study = Study.load(root, name)
            try:
                optuna_studies.remove(study)
            except Exception as error:
                notes.append(f"The Optuna study {name} stays: {str(error).splitlines()[0]}")
            for path in study.folder.iterdir():
                if path.name != "study.json":
                    path.unlink()
            (study.folder / "study.json").unlink()
            study.folder.rmdir()
    return notes


# `doctor`: the machine, the libraries, and what is missing.


LIBRARIES = (
    *("torch", "torchvision", "torchmetrics", "wandb", "optuna", "click", "rich-click", "rich"),
    *("pydantic", "safetensors", "scikit-learn", "scipy", "PyYAML", "numpy"),
)
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")  # where wandb looks, one after the other
_NO_KEY = "none; runs are logged offline (upload later: paribus sync)"


@click.command("doctor")
@checked_option("on", metavar="ray[:HOST:PORT]", help="Also the nodes of a Ray cluster.")
@root_option
@json_option
@click.pass_context
def doctor_command(context: click.Context, on: str | None, root: ResultsDir, as_json: bool) -> None:
    """Versions, devices, threads, and what is missing."""
    faults_of(context).check()
    document = examine(root)
    if on:
        document["hosts"] = _hosts(on)
    if as_json:
        print_json(document)
    else:
        for part in ("versions", "environment", "machine"):
            table((part, ""), [[k, str(v)] for k, v in document[part].items()])
        say(*document.get("hosts", ()))
        for problem in document["problems"]:
            say(f"problem: {problem}")
        say("All is well." if not document["problems"] else "")
    context.exit(1 if document["problems"] else 0)


def examine(root: ResultsDir) -> dict[str, Any]:
    """Versions, environment, machine and problems."""
    from paribus.core.fingerprint import environment
    from paribus.core.training.cohort.eligibility import members_keep_their_bits
    from paribus.sweeps.execution.gpus import find_gpus
    from paribus.sweeps.execution.pool import Pool, cores

    problems: list[str] = []
    versions = {"paribus": importlib.metadata.version("paribus")}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
            problems.append(f"{name} is not installed; run pip install -e .")

    with Pool(1) as pool:
        found = pool.call(environment)
        members = pool.call(members_keep_their_bits, "cpu")
        gpus = pool.call(find_gpus)
    if not found["aligned"]:
        problems.append("matrix products depend on memory alignment here: bits may not repeat")
    if not found["pinned"]:
        problems.append("training processes are not pinned to one thread: bits may not repeat")
    if not members:
        problems.append("runs trained together get other bits here: the loop trains each alone")
    place = root.path
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        problems.append(f"the root {root.path} cannot be written; name another with --root")
    machine = {
        "cores": cores(),
        "cohorts": "keep each run's bits" if members else "are not offered",
        "cuda": "; ".join(f"{n}: {gpu.kind}" for n, gpu in enumerate(gpus)) or "none",
        "root": str(root.path),
        "free_space": f"{shutil.disk_usage(place).free / 2**30:.1f} GiB",
        "wandb_key": _wandb_key(),
    }
    return {"versions": versions, "environment": found, "machine": machine, "problems": problems}


def _hosts(on: str) -> list[str]:
    """Return a line for each host of a cluster."""
    from paribus.sweeps.execution.executor import Placement, make_executor

    with make_executor(Placement(on=on)) as cluster:
        cluster.start()
        cluster.prepare()
        return cluster.summary(())


def _wandb_key() -> str:
    """Where W&B's key is configured; never the key itself."""
    import netrc
    from urllib.parse import urlparse

    if os.environ.get("WANDB_API_KEY"):
        return "set in WANDB_API_KEY"
    server = os.environ.get("WANDB_BASE_URL")
    hosts = (urlparse(server).netloc,) if server else _WANDB_HOSTS
    try:
        file = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return _NO_KEY
    return next((f"in ~/.netrc for {host}" for host in hosts if file.authenticators(host)), _NO_KEY)


# `sync`: W&B's server gets what it has not confirmed.


_DID = {"uploaded": "uploaded", "amended": "brought up to date"}


@click.command("sync")
@click.argument("study", required=False, shell_complete=complete_study)
@root_option
@json_option
@click.pass_context
def sync_command(
    context: click.Context, study: str | None, root: ResultsDir, as_json: bool
) -> None:
    """Upload to Weights & Biases what was logged offline: all of it, or a STUDY's.

    The upload is made from the records; twice changes nothing. A run whose record is gone is left
    to W&B's own command, which is printed: wandb sync FILE.
    """
    from paribus.sweeps.tracking.wandb_sync import sync

    document = sync(root, study, warn, bar("uploading to W&B"))
    if as_json:
        print_json(document)
    else:
        _tell(document)
    context.exit(1 if document["failed"] else 0)


def _tell(document: Mapping[str, Any]) -> None:
    did = []
    for what, words in _DID.items():
        studies = sum(item["run"] is None and item["study"] is not None for item in document[what])
        counts = {"run": len(document[what]) - studies, "summary run": studies}
        if done := ", ".join(many(count, noun) for noun, count in counts.items() if count):
            did.append(f"{words}: {done}")
    if document["unchanged"]:
        did.append(f"there already: {document['unchanged']}")
    if document["gone"]:
        did.append(f"gone, with W&B's file: {document['gone']}")
    if document["server"]:
        say(f"W&B: {document['server']}")
    say(*(did or ([] if document["failed"] else ["Nothing was logged to W&B offline."])))
    for failed in document["failed"]:
        what = failed["run"] or failed["study"] or failed["wandb_id"]
        warn(f"failed: {what}: {failed['reason']}")
