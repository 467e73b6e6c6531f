"""`import`, `studies`, `runs`, `plot` and `report`: what happened, in tables and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.filesize import decimal

from paribus.core.config.schema import Direction
from paribus.core.config.values import show_value, split_commas
from paribus.core.errors import DamagedError, Faults, RequestError, many, shown
from paribus.core.fileio import creating, verify_manifest, write_bytes
from paribus.core.records.run_dir import HISTORY, RECORD, RunFolder
from paribus.sweeps.cli.completion import complete_study, complete_subject
from paribus.sweeps.cli.console import (
    command,
    json_option,
    names_results,
    print_json,
    results_options,
    root_option,
    run_options,
    say,
    table,
    warn,
)
from paribus.sweeps.formatting import number
from paribus.sweeps.study.request import refuse_for_studies
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.study.study import Study


@click.command("import")
@click.argument("source", metavar="RESULTS")
@click.option("--output", "-o", metavar="FILE", default="results.csv", show_default=True,
              help="The CSV file that is written.")  # fmt: skip
@results_options
@json_option
def import_command(
    source: str,
    output: str,
    setting: Sequence[str],
    seed: str | None,
    metric: str | None,
    baseline: str | None,
    direction: Direction | None,
    as_json: bool,
) -> None:
    """Write RESULTS of another tool, as `compare` reads them, to a CSV file.

    It has the hyperparameters that vary, the seed and the metric of each run.
    """
    from paribus.sweeps.analysis.imported_results import load_table, read_direction
    from paribus.sweeps.report.page import checked_output

    faults, table, file = Faults(), None, None
    with faults.collecting():
        file = checked_output(output, (".csv",), "The file")
    with faults.collecting():
        table = load_table(source, setting, seed, metric)
        read_direction(table.metric, direction)
    faults.check()
    assert table
    assert file
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*table.keys, table.seed, table.metric])
    for row in table.rows:
        levels = [show_value(row.levels[key]) for key in table.keys]
        lines.writerow([*levels, row.seed, "nan" if row.value is None else repr(row.value)])
    if file.exists() and file.read_bytes() != text.getvalue().encode():
        message = f"--output {shown(file, 200)}: is there, with other content."
        raise RequestError(message, "Name another file, or remove it.")
    with creating(f"The file {file}"):
        write_bytes(file, text.getvalue().encode())
    pairs = split_commas(baseline or "")  # the table has only what varies
    kept = ",".join(pair for pair in pairs if pair.partition("=")[0] in table.keys)
    given = {"setting": ",".join(table.keys), "seed": table.seed, "metric": table.metric,
             "baseline": kept, "direction": direction}  # fmt: skip
    again = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    settings = len({tuple(show_value(row.levels[key]) for key in table.keys) for row in table.rows})
    counts = {"run": len(table.rows), "setting": settings,
              "seed": len({row.seed for row in table.rows})}  # fmt: skip
    if as_json:
        return print_json({"file": str(file), **{f"{k}s": n for k, n in counts.items()},
                           "notes": table.notes})  # fmt: skip
    say(f"{source}: {', '.join(many(count, noun) for noun, count in counts.items())}", *table.notes)
    say(f"table: {file}; Next: {command('compare', str(file), *again)}")
    return None


@click.command("studies")
@root_option
@json_option
def studies_command(root: ResultsDir, as_json: bool) -> None:
    """List the studies in the root."""
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
    keys = ("study", "settings", "runs", "best")  # the rest, and nothing cut, is in --json
    cells = [
        [*[str(row[key] or "–") for key in keys], row["created"][:10], decimal(row["bytes"])]
        for row in rows
    ]
    table((*keys, "created", "size"), cells, right=(1, 2, 4, 5))
    return None


@click.command("runs")
@click.argument("study", required=False, shell_complete=complete_study)
@root_option
@json_option
def runs_command(study: str | None, root: ResultsDir, as_json: bool) -> None:
    """List the runs in the root, or of one STUDY."""
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
            f"final: {d['finalized']['label']}"
            if d["finalized"]
            else (d["setting"] or {}).get("label", "–"),
            str(d["seed"]),
            d["status"],
            decimal(d["bytes"]),
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


def _interrupted(
    root: ResultsDir, name: str, studies: Sequence[str], of: Study | None
) -> dict[str, Any]:
    """Return the document of a run that has an attempt only."""
    from paribus.sweeps.study.study import RUN_ID

    match = RUN_ID.fullmatch(name)
    assert match
    attempts = root.attempts_of(name)
    place = of.place_of(name) if of else None
    unknown = ("reason", "engine", "epochs", "best", "last", "weights_sha256", "class_names")
    return {
        **dict.fromkeys((*unknown, "finalized")),
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


@click.command("plot")
@click.argument("name", metavar="RUN|STUDY", shell_complete=complete_subject)
@click.option("--output", "-o", metavar="FILE",
              help="The file: .svg or .png. Default: NAME.svg in this folder.")  # fmt: skip
@run_options
@click.pass_context
def plot_command(
    context: click.Context,
    name: str,
    output: str | None,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Draw a RUN (curves, confusion matrix, its answers) or a STUDY (curves and responses)."""
    from paribus.sweeps.report.page import checked_output, picture_of
    from paribus.sweeps.study.lookup import find_subject

    faults, subject, found = Faults(), None, "output"
    with faults.collecting():
        subject = find_subject(root, name)
        found = subject.id if isinstance(subject, RunFolder) else subject.name
    # Without a subject any name will do: the file's other faults are found too.
    with faults.collecting():
        file = checked_output(
            f"{found}.svg" if output is None else output, (".svg", ".png"), "The picture"
        )
    faults.check()
    assert subject
    from paribus.sweeps.report.figure import figure_of, rendered

    kind = "run" if isinstance(subject, RunFolder) else "study"
    picture = picture_of(subject, warn, trust=trust)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    with creating(f"The picture {shown(file, 200)}", "--output FILE"):
        write_bytes(file, content)
    panels = [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: found, "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {found}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    damaged = not isinstance(subject, RunFolder) and subject.outcomes.damaged
    context.exit(1 if damaged else 0)


@click.command("report")
@click.argument(
    "name", metavar="[STUDY | RUN | RESULTS]", required=False, shell_complete=complete_subject
)
@click.option("--output", "-o", metavar="FILE",
              help="The file, .html. Default: report.html in the study's folder, RUN.html or "
              "RESULTS-report.html in this one.")  # fmt: skip
@results_options
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@run_options
@click.pass_context
def report_command(
    context: click.Context,
    /,
    name: str | None,
    output: str | None,
    show: bool,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
    direction: Direction | None,
    baseline: str | None,
    **columns: Any,
) -> None:
    """Write a page on a STUDY (the latest, if none is named), a RUN or RESULTS of another tool.

    It is one self-contained file.
    """
    from paribus.sweeps.report.page import Subject, report_file, write_report
    from paribus.sweeps.study.lookup import find_subject
    from paribus.sweeps.study.study import Study, latest_study

    faults, file = Faults(), None
    subject: Subject | None = None
    of_results = name is not None and names_results([name], root)
    refuse_for_studies(faults, of_results, direction=direction, baseline=baseline, **columns)
    with faults.collecting():
        if name is not None and of_results:
            from paribus.sweeps.analysis.imported_results import compare_results, load_table

            subject = compare_results(load_table(name, **columns), direction, None, baseline)
        else:
            subject = find_subject(root, latest_study(root) if name is None else name)
    with faults.collecting():
        file = report_file(subject, output)
    faults.check()
    assert subject
    assert file
    written = write_report(subject, file, warn, trust=trust)
    if as_json:
        print_json(written.to_dict())
    else:
        say(f"{written.kind} {written.name}")
        say(f"page: {file}")
    if show:
        click.launch(str(written.file))
    context.exit(1 if isinstance(subject, Study) and subject.outcomes.damaged else 0)
