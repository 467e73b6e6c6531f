"""`evaluate`, `studies` and `runs`: what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from paribus.core.errors import DamagedError
from paribus.core.fileio import verify_manifest
from paribus.core.records.run_dir import HISTORY, RECORD, RunFolder
from paribus.sweeps.cli.completion import complete_study, complete_subject
from paribus.sweeps.cli.console import bar, print_json, say, size, table, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.evaluate import Evaluation, EvaluationComparison
    from paribus.sweeps.study.study import Study


@click.command("evaluate")
@click.argument("name", metavar="RUN|STUDY", shell_complete=complete_subject)
@click.argument("labels", nargs=-1, metavar="[LABEL]...")
@click.option("--split", type=click.Choice(["val", "test"]), default="val", show_default=True,
              help="The part to evaluate on.")  # fmt: skip
@trust_option
@root_option
@json_option
@click.pass_context
def evaluate_command(
    context: click.Context,
    name: str,
    labels: tuple[str, ...],
    split: Literal["val", "test"],
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """The best checkpoint of a RUN, or of a STUDY's chosen settings, on a part of the data.

    Readings of the test part are counted. Of a study the baseline is evaluated and the settings
    named, else those that are better, or where none is, the best one; all seeds in one reading.
    """
    from paribus.sweeps.evaluate import Evaluation, evaluate_named

    found = evaluate_named(root, name, split, labels, trust, bar(f"evaluating on {split}"))
    if as_json:
        print_json(found.to_dict())
    elif isinstance(found, Evaluation):
        _print_run(found)
    else:
        _print_study(found)
    for what, (then, now) in found.environment.items():
        warn(f"environment: {what} was {then}, is {now}")
    for what, (then, now) in found.differs.items():
        warn(f"{what} was recorded as {then!r}, is {now!r}")
    context.exit(1 if found.differs and not found.environment else 0)


@click.command("studies")
@root_option
@json_option
def studies_command(root: ResultsDir, as_json: bool) -> None:
    """Studies in the root."""
    from paribus.sweeps.analysis.compare import best_setting
    from paribus.sweeps.study.results import Outcomes
    from paribus.sweeps.study.study import Study

    rows: list[dict[str, Any]] = []
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
            "created": study.requested.created,
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
@click.argument("study", required=False, shell_complete=complete_study)
@root_option
@json_option
def runs_command(study: str | None, root: ResultsDir, as_json: bool) -> None:
    """Runs in the root, or of one STUDY."""
    from paribus.sweeps.analysis.compare import run_document
    from paribus.sweeps.study.lookup import studies_of
    from paribus.sweeps.study.study import RUN_ID, Study

    of = Study.load(root, study) if study else None
    owners = studies_of(root)
    wanted = {*of.run_ids} if of else None
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
    from paribus.sweeps.study.controls import sameness

    if of and sameness(of.requested.baseline) != "proven":
        from paribus.sweeps.analysis.verdict_text import NOT_PROVEN

        say(NOT_PROVEN)
    return None


def _print_study(found: EvaluationComparison) -> None:
    from paribus.sweeps.analysis.verdict_text import answer, meaning
    from paribus.sweeps.cli.compare_command import print_comparison

    say(f"study {found.study} on its {found.split} part")
    print_comparison(found)
    for line in (answer(found), *meaning(found)):
        say(line)
    _tell_readings("this study", found.readings)


def _print_run(found: Evaluation) -> None:
    say(f"{found.run} on its {found.split} part")
    table(("metric", "value"), [[k, number(v, 6)] for k, v in found.metrics.items()], (1,))
    if found.report and found.confusion_matrix:
        several = isinstance(found.confusion_matrix[0][0], list)
        rows = [
            [name, *[number(row[k]) for k in ("precision", "recall", "f1")], str(row["support"])]
            for name, row in found.report.items()
        ]
        what = "label" if several else "class"
        table((what, "precision", "recall", "f1", "examples"), rows, right=(1, 2, 3, 4))
        tell = _tell_matrices if several else _tell_matrix
        tell(list(found.report), found.confusion_matrix)
    _tell_readings("this run", found.readings)


def _tell_readings(whose: str, readings: int) -> None:
    if readings:
        times = "once" if readings == 1 else f"{readings} times"
        say(f"The test part of {whose} has been read {times}.")


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


def _interrupted(
    root: ResultsDir, name: str, studies: Sequence[str], of: Study | None
) -> dict[str, Any]:
    """The document of a run that has an attempt only."""
    from paribus.sweeps.study.study import RUN_ID

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


COMMANDS = (evaluate_command, studies_command, runs_command)
