"""`compare`, `evaluate`, `studies` and `runs`: what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from core.config import difference
from core.errors import DamagedError, Faults, RequestError
from core.files import append_line, creating, read_lines, verify_manifest
from core.run_folder import HISTORY, RECORD, RunFolder
from core.values import show_value
from sweeps.cli.common import (
    NOT_PROVEN,
    json_option,
    number,
    print_json,
    root_option,
    root_words,
    say,
    size,
    table,
    trust_option,
    warn,
)
from sweeps.root import Root
from sweeps.sameness import sameness

if TYPE_CHECKING:
    from sweeps.study import Study


@click.command("compare")
@click.argument("names", nargs=-1, metavar="[STUDY | RUN RUN...]")
@click.option("--metric", metavar="NAME", help="Another metric of each run's best epoch.")
@root_option
@json_option
@click.pass_context
def compare_command(
    context: click.Context, names: tuple[str, ...], metric: str | None, root: Root, as_json: bool
) -> None:
    """The settings of a STUDY against its baseline, or what differs between runs."""
    if len(names) > 1:
        if metric:
            raise RequestError("--metric is for a study; runs are compared by all.", kind="options")
        _compare_runs(root, names, as_json)
        return
    from sweeps.documents import compare_document
    from sweeps.linter.lint import linter_document
    from sweeps.study import Study
    from sweeps.study_names import latest_study

    name = names[0] if names else latest_study(root)
    if name not in root.study_names() and any(run.startswith(name) for run in root.run_ids()):
        raise RequestError(
            f"{name} is a run, and there is no second one to compare it with.",
            "Name two runs, or a study.",
            "one-run",
        )
    study = Study.load(root, name)
    document = compare_document(study, study.results(metric=metric), metric)
    document["linter"] = linter_document(study, root_words(root))
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    if as_json:
        print_json(document)
    else:
        _tell_study(study, document)
    context.exit(1 if study.outcomes.damaged else 0)


def _tell_study(study: Study, document: Mapping[str, Any]) -> None:
    from sweeps.cli import reports
    from sweeps.cli.linter import tell_linter

    say(f"study {study.name}")
    reports.settings_table(document)
    for setting in document["settings"]:
        if setting["status"] == "failed":
            say(f"{setting['label']} failed: {setting['reason']}")
    paste = reports.study_command(study)
    for axis in study.asked["axes"]:
        for line in reports.axis_lines(document, axis["key"], paste):
            say(line)
    tell_linter(document["linter"])


@click.command("evaluate")
@click.argument("run")
@click.option("--split", type=click.Choice(["val", "test"]), default="val", show_default=True,
              help="The part to evaluate on.")  # fmt: skip
@trust_option
@root_option
@json_option
@click.pass_context
def evaluate_command(
    context: click.Context, run: str, split: str, trust: bool, root: Root, as_json: bool
) -> None:
    """The best checkpoint of a RUN on a split; readings of the test part are counted."""
    from sweeps.lookup import find_trained_run

    folder, record = find_trained_run(root, run, "evaluate")
    from core.evaluate import evaluate_run
    from sweeps.workplace import Workplace

    with Workplace(record["configuration"]["data"]["name"], 1) as workplace:
        found = workplace.plan(evaluate_run, folder.folder, split, trust)
    # Beside the run, wherever that lies: readings of a test part count where the run is.
    readings_file = folder.folder.parent.parent / "readings.jsonl"
    if split == "test":
        with creating("The count of test readings"):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            append_line(readings_file, {"run": folder.id, "split": split, "at": now})
    readings = sum(line.get("run") == folder.id for line in read_lines(readings_file))
    document = {
        "run": record["run"],
        "split": split,
        "metrics": found.metrics,
        "confusion_matrix": found.confusion_matrix,
        "report": found.report,
        "readings": readings,
        "environment": found.environment,
        "differs": found.differs,
    }
    if as_json:
        print_json(document)
    else:
        _tell_evaluation(document)
    for name, (then, now) in found.environment.items():
        warn(f"environment: {name} was {then}, is {now}")
    for name, (then, now) in found.differs.items():
        warn(f"{name} was recorded as {then!r}, is {now!r}")
    context.exit(1 if found.differs and not found.environment else 0)


@click.command("studies")
@root_option
@json_option
def studies_command(root: Root, as_json: bool) -> None:
    """Studies in the root."""
    from sweeps.documents import best_setting
    from sweeps.outcomes import Outcomes
    from sweeps.study import Study

    rows = []
    for name in root.study_names():
        try:
            study = Study.load(root, name)
        except DamagedError as error:
            warn(str(error))
            continue
        study.outcomes = Outcomes(root, only=(RECORD, HISTORY))  # all that is looked at here
        results = study.results()
        best = best_setting(results, study.direction)
        rows.append({
            "study": name,
            "experiment": study.experiment,
            "settings": len(study.settings),
            "runs": sum(len(result.runs) for result in results),
            "best": best.setting.label if best else None,
            "created": study.asked["created"],
            "bytes": sum(root.run(run).size() for result in results for run in result.runs),
        })  # fmt: skip
    if as_json:
        return print_json(rows)
    if not rows:
        say(f"No study in {root.path} yet. Begin one: paribus sweep digits")
        return None
    keys = ("study", "experiment", "settings", "runs", "best", "created")
    cells = [[*[str(row[key] or "–") for key in keys], size(row["bytes"])] for row in rows]
    table((*keys, "size"), cells, right=(2, 3, 6))
    return None


@click.command("runs")
@click.argument("study", required=False)
@root_option
@json_option
def runs_command(study: str | None, root: Root, as_json: bool) -> None:
    """Runs in the root, or of one STUDY."""
    from sweeps.documents import run_document
    from sweeps.lookup import studies_of
    from sweeps.study import RUN_ID, Study

    of = Study.load(root, study) if study else None
    owners = studies_of(root)
    wanted = {r for s in of.settings for r in s.runs.values()} if of else None
    documents = []
    for name in root.run_ids():
        if wanted is None or name in wanted:
            try:
                verify_manifest(root.run(name).folder, only=(RECORD,))
                record = root.run(name).record()
            except DamagedError as error:
                warn(error.message)
                continue
            documents.append(
                run_document(root.run(name), record, study=of, studies=owners.get(name, ()))
            )
    documents += [
        _interrupted(root, name, owners.get(name, ()), of)
        for name in root.interrupted()
        if (wanted is None or name in wanted) and RUN_ID.fullmatch(name)
    ]
    if not documents and not as_json:
        say(f"No run in {root.path} yet. Begin one: paribus run digits")
        return None
    for document in documents:
        document["bytes"] = RunFolder(Path(document["dir"])).size()
    if as_json:
        return print_json(documents)
    rows = [
        [
            d["run"],
            (d["setting"] or {}).get("label", "–"),
            str(d["seed"]),
            d["status"],
            size(d["bytes"]),
            _best(d),
        ]
        for d in documents
    ]
    table(("run", "setting", "seed", "status", "size", "best"), rows, right=(2, 4))
    if of and sameness(of.asked["baseline"]) != "proven":
        say(NOT_PROVEN)
    return None


def _compare_runs(root: Root, names: Sequence[str], as_json: bool) -> None:
    from sweeps.lookup import find_run

    folders: list[RunFolder] = []
    faults = Faults()
    for name in names:
        with faults.collecting():
            folders.append(find_run(root, name))
    faults.check()
    records = [folder.verified_record() for folder in folders]
    configuration: dict[str, list[Any]] = {}
    for record in records[1:]:
        for key in difference(records[0]["configuration"], record["configuration"]):
            configuration[key] = [_at(r["configuration"], key) for r in records]
    seeds = [record["seed"] for record in records]
    environments = [{**r["identity"]["environment"], "engine": r["engine"]} for r in records]
    metrics = [(record["best"] or {"metrics": {}})["metrics"] for record in records]
    document = {
        "configuration": configuration | ({"seed": seeds} if len(set(seeds)) > 1 else {}),
        "environment": _differing(environments),
        "metrics": _differing(metrics),
    }
    proven = sameness(*[record["configuration"] for record in records])
    if as_json:
        return print_json({**document, "sameness": proven})
    for part, rows in document.items():
        if not rows:
            say(f"{part}: no difference")
            continue
        cell = _metric if part == "metrics" else show_value
        cells = [[k, *[cell(v) for v in values]] for k, values in rows.items()]
        table((part, *[folder.id for folder in folders]), cells)
    if proven != "proven":
        say(NOT_PROVEN)
    return None


def _differing(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for part in parts for key in part)
    rows = {key: [part.get(key) for part in parts] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def _at(configuration: Mapping[str, Any], key: str) -> Any:
    from core.config import flatten

    return flatten(configuration).get(key)


def _metric(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else show_value(value)


def _tell_evaluation(document: Mapping[str, Any]) -> None:
    say(f"{document['run']} on its {document['split']} part")
    table(("metric", "value"), [[k, number(v, 6)] for k, v in document["metrics"].items()], (1,))
    if document["report"]:
        several = isinstance(document["confusion_matrix"][0][0], list)
        rows = [
            [name, *[number(row[k]) for k in ("precision", "recall", "f1")], str(row["support"])]
            for name, row in document["report"].items()
        ]
        what = "label" if several else "class"
        table((what, "precision", "recall", "f1", "examples"), rows, right=(1, 2, 3, 4))
        tell = _tell_matrices if several else _tell_matrix
        tell(list(document["report"]), document["confusion_matrix"])
    if document["readings"]:
        times = "once" if document["readings"] == 1 else f"{document['readings']} times"
        say(f"The test part of this run has been read {times}.")


def _tell_matrix(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> None:
    rows = [[name, *map(str, counts)] for name, counts in zip(names, matrix, strict=True)]
    table(("true \\ predicted", *names), rows, right=range(1, len(names) + 1))


def _tell_matrices(names: Sequence[str], matrices: Sequence[Sequence[Sequence[int]]]) -> None:
    """The matrix of each label, below one another."""
    rows = [
        [name if truth == "no" else "", truth, *map(str, counts)]
        for name, matrix in zip(names, matrices, strict=True)
        for truth, counts in zip(("no", "yes"), matrix, strict=True)
    ]
    table(("label", "true \\ predicted", "no", "yes"), rows, right=(2, 3))


def _interrupted(root: Root, name: str, studies: Sequence[str], of: Study | None) -> dict[str, Any]:
    """The document of a run that has an attempt only."""
    from sweeps.study import RUN_ID

    match = RUN_ID.fullmatch(name)
    assert match
    attempts = sorted(root.attempts.glob(f"{name}.*"), key=lambda p: p.stat().st_mtime_ns)
    place = of.place_of(name) if of else None
    unknown = ("reason", "engine", "epochs", "best", "last", "weights_sha256", "class_names")
    return {
        **dict.fromkeys(unknown),
        "run": name,
        "study": of.name if of and place else None,
        "setting": {"label": place[0].label, "changed": place[0].changed} if place else None,
        "experiment": match.group(1),
        "studies": list(studies),
        "seed": int(match.group(2)),
        "status": "interrupted",
        "dir": str(attempts[-1] if attempts else root.attempts),
        "reused": False,
        "seconds": None,
    }


def _best(document: Mapping[str, Any]) -> str:
    if not document["best"]:
        return "–"
    metrics = document["best"]["metrics"]
    usual = [k for k in metrics if k in ("val/accuracy", "val/mae", "val/loss")]
    return ", ".join(f"{k} {number(metrics[k])}" for k in usual or metrics)


COMMANDS = (compare_command, evaluate_command, studies_command, runs_command)
