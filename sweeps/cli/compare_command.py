"""How `compare` shows what the linter found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.config.schema import Direction, difference
from paribus.core.config.values import show_value
from paribus.core.errors import Faults, RequestError
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.cli.console import bar, print_json, root_words, say, table, warn
from paribus.sweeps.cli.options import json_option, root_option
from paribus.sweeps.formatting import number
from paribus.sweeps.study.controls import sameness
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.analysis.verdict_text import Comparison
    from paribus.sweeps.study.study import Study


def tell_linter(findings: Sequence[Mapping[str, Any]]) -> None:
    """A line for each finding, below those of a rule the reason, and a line of what is unknown."""
    judged = [finding for finding in findings if finding["judged"]]
    if judged:
        say("warnings of method:")
    for (rule, reason), group in groupby(judged, key=lambda f: (f["rule"], f["reason"])):
        for finding in group:
            say(f"  {rule}: {finding['sentence']}")
        say(f"    why: {reason}")
    unknown: dict[str, list[str]] = {}
    for finding in findings:
        if not finding["judged"]:
            unknown.setdefault(finding["sentence"], []).append(finding["rule"])
    for why, rules in unknown.items():
        say(f"{', '.join(rules)} {why}")


# How a comparison stands on the terminal: the table of settings, and what it means.


_STYLES = {"better": "green", "worse": "red", "equivalent": "blue", "identical": "dim"}


def tell(comparison: Comparison) -> None:
    """The table of settings, and what its verdicts rest on."""
    from paribus.sweeps.analysis.verdict_text import meaning

    settings_table(comparison)
    for line in meaning(comparison):
        say(line)


def settings_table(comparison: Comparison) -> None:
    """One row per setting: mean ± deviation, difference, interval and verdict."""
    from paribus.sweeps.analysis.verdict_text import in_order, table_cells

    columns, rows = table_cells(comparison)
    ordered = in_order(comparison)
    styles = [_STYLES.get(setting["verdict"] or "", "") for setting in ordered]
    right = [columns.index(name) for name in columns[1:] if name not in ("verdict", "here")]
    table(columns, rows, right=right[:-1], styles=styles)


# `compare`: verdicts on the settings of a study, or what differs between runs.


@click.command("compare")
@click.argument("names", nargs=-1, metavar="[STUDY | RESULTS.csv | RUN RUN...]")
@click.option("--metric", metavar="NAME", help="Another metric of each run's best epoch.")
@click.option("--margin", type=float, metavar="SIZE",
              help="Differences smaller than this do not matter; default: half a point of "
              "accuracy, F1 and the like, 0.01 of R², 2 % of a loss or error.")  # fmt: skip
@click.option("--direction", type=click.Choice(["maximize", "minimize"]),
              help="Which way is better in RESULTS.csv; default: maximize.")  # fmt: skip
@click.option("--format", "form", default="table", show_default=True,
              type=click.Choice(["table", "markdown", "latex", "csv"]),
              help="How the table of settings is written.")  # fmt: skip
@click.option("--wandb", is_flag=True,
              help="Log the study to Weights & Biases: what it has not of the runs, and a summary "
              "run.")  # fmt: skip
@root_option
@json_option
@click.pass_context
def compare_command(
    context: click.Context,
    names: tuple[str, ...],
    metric: str | None,
    margin: float | None,
    direction: Direction | None,
    form: str,
    wandb: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Verdicts on the settings of a STUDY, or of any tool's RESULTS.csv; or what differs in runs.

    RESULTS.csv has the columns setting, seed and value; one of the settings is called baseline.
    """
    from paribus.sweeps.study.request import check_margin

    is_file = len(names) == 1 and names[0].lower().endswith(".csv")
    faults, of_file = Faults(), is_file and names[0] not in root.study_names()
    with faults.collecting():
        check_margin(margin)
    with faults.collecting():
        _check_options(names, metric, margin, direction, form, of_file=of_file, as_json=as_json)
    with faults.collecting():
        _check_wandb(names, metric, margin, of_file=of_file, wandb=wandb)
    faults.check()
    if len(names) > 1:
        _compare_runs(root, names, as_json)
        return
    if of_file:
        from paribus.sweeps.analysis.csv_results import compare_results

        document = compare_results(Path(names[0]), direction or "maximize", margin).to_json()
        _tell_comparison(document, form, as_json)
        return
    from paribus.sweeps.analysis.compare import compare_and_lint

    study = _study_named(root, names)
    document = compare_and_lint(study, metric, margin, root_words(root)).to_json()
    if not study.outcomes.damaged:  # else that is the news
        _check_verdicts(document, margin)
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    given = None
    if wandb and as_json:  # one document, so it comes first
        given = document["wandb"] = _log_to_wandb(study)
    if as_json or form != "table":
        _tell_comparison(document, form, as_json)
    else:
        _tell_study(study, document)
    if wandb and not as_json:
        given = _log_to_wandb(study)
        (say if form == "table" else warn)(_wandb_line(given))
    missing = given is not None and (given["failed"] or given["study"] == "failed")
    context.exit(1 if study.outcomes.damaged or missing else 0)


def _check_options(
    names: Sequence[str],
    metric: str | None,
    margin: float | None,
    direction: str | None,
    form: str,
    *,
    of_file: bool,
    as_json: bool,
) -> None:
    """Refuses options that have no meaning for what is compared."""
    faults = Faults()
    if len(names) > 1 and (metric or margin is not None or form != "table"):
        faults.add("--metric, --margin and --format are for a study; runs are compared by all.",
                   "Leave them out.", "options")  # fmt: skip
    if of_file and metric:
        faults.add("--metric is for a study; a file has one value for each run.",
                   "Leave it out.", "options")  # fmt: skip
    if direction and not of_file:
        faults.add("--direction is for RESULTS.csv; a study knows its metric's.",
                   "Leave it out.", "options")  # fmt: skip
    if as_json and form != "table":
        faults.add(f"--json and --format {form} both say how it is written.",
                   "Name one of them.", "options")  # fmt: skip
    faults.check()


def _check_wandb(
    names: Sequence[str],
    metric: str | None,
    margin: float | None,
    *,
    of_file: bool,
    wandb: bool,
) -> None:
    """Refuses `--wandb` where there is no study to log, or W&B is switched off."""
    from paribus.sweeps.tracking.tracker import is_wanted

    faults = Faults()
    if wandb and (len(names) > 1 or of_file):
        faults.add("--wandb logs a study.", "Name one, or leave --wandb out.", "options")
    if wandb and (metric or margin is not None):
        faults.add("--wandb logs a study by its own metric and margin.",
                   "Leave --metric and --margin out.", "options")  # fmt: skip
    if wandb and not is_wanted():
        faults.add("--wandb: WANDB_MODE is 'disabled'.", "Unset it.", "wandb")
    faults.check()


def _log_to_wandb(study: Study) -> dict[str, Any]:
    from paribus.sweeps.tracking.sync import log_study

    with study.root.lock(f"study-{study.name}", f"The study {study.name}"):
        return log_study(study, warn, bar("logging to W&B"))


def _wandb_line(given: Mapping[str, Any]) -> str:
    """What became of a study in W&B."""
    counts = [f"{given[what]} {what}" for what in ("logged", "amended", "unchanged", "failed")]
    line = f"W&B: of its runs {', '.join(counts)}"
    if given["study"]:
        line += f"; summary run {given['study']}"
    return line + (f"; {given['waiting']} wait for: paribus sync" if given["waiting"] else "")


def _study_named(root: ResultsDir, names: Sequence[str]) -> Study:
    from paribus.sweeps.study.study import Study, latest_study

    name = names[0] if names else latest_study(root)
    if name not in root.study_names() and any(run.startswith(name) for run in root.run_ids()):
        raise RequestError(
            f"{name} is a run, and there is no second one to compare it with.",
            "Name two runs, or a study.",
            "one-run",
        )
    return Study.load(root, name)


def _check_verdicts(document: Mapping[str, Any], margin: float | None) -> None:
    """Refuses a study that nothing can be said of yet, or not what is asked.

    Raises:
        RequestError: If no run of the baseline is complete, or a verdict is asked of single seeds.
    """
    from paribus.sweeps.study.settings import BASELINE

    name, settings = document["study"], document["settings"]
    baseline = next((s for s in settings if s["label"] == BASELINE), None)
    if baseline is None or not baseline["values"]:
        why = f": {baseline['reason']}" if baseline and baseline["reason"] else ""
        raise RequestError(
            f"The study {name} has no complete run of its baseline, so there is nothing to compare "
            f"with{why}.",
            f"Name another metric, or run its sweep again, which goes on; see: paribus runs {name}"
            if why
            else f"Run its sweep again, which goes on; see: paribus runs {name}",
            "no-baseline",
        )
    if margin is not None and not any(setting["verdict"] for setting in settings):
        raise RequestError(
            f"--margin {margin}: no setting of {name} shares two seeds with the baseline, and a "
            "verdict needs two.",
            "Train more: the sweep's command with --seeds 3.",
            "one-seed",
        )


def _tell_comparison(document: Mapping[str, Any], form: str, as_json: bool) -> None:
    from paribus.sweeps.cli import table_formats

    if as_json:
        print_json(document)
    elif form != "table":
        say(table_formats.FORMATS[form](document))
    else:
        say(f"results {document['results']}")
        tell(document)


def _tell_study(study: Study, document: Mapping[str, Any]) -> None:
    from paribus.sweeps.analysis import verdict_text
    from paribus.sweeps.study.lookup import study_command

    say(f"study {study.name}")
    tell(document)
    for setting in document["settings"]:
        if setting["status"] == "failed":
            say(f"{setting['label']} failed: {setting['reason']}")
    paste = study_command(study, root_words(study.root))
    for axis in study.asked["axes"]:
        for line in verdict_text.axis_lines(document, axis["key"], paste):
            say(line)
    for line in verdict_text.cell_lines(document):
        say(line)
    tell_linter(document["linter"])


def _compare_runs(root: ResultsDir, names: Sequence[str], as_json: bool) -> None:
    from paribus.sweeps.study.lookup import find_run

    folders: list[RunFolder] = []
    faults = Faults()
    for name in names:
        with faults.collecting():
            folders.append(find_run(root, name))
    faults.check()
    records = [folder.verified_record() for folder in folders]
    configuration: dict[str, list[Any]] = {}
    for record in records[1:]:
        for key in difference(records[0].configuration, record.configuration):
            configuration[key] = [_at(r.configuration, key) for r in records]
    seeds = [record.seed for record in records]
    environments = [{**r.identity["environment"], "engine": r.engine} for r in records]
    metrics = [record.metrics for record in records]
    document = {
        "configuration": configuration | ({"seed": seeds} if len(set(seeds)) > 1 else {}),
        "environment": _differing(environments),
        "metrics": _differing(metrics),
    }
    proven = sameness(*[record.configuration for record in records])
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
        from paribus.sweeps.analysis.verdict_text import NOT_PROVEN

        say(NOT_PROVEN)
    return None


def _differing(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for part in parts for key in part)
    rows = {key: [part.get(key) for part in parts] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def _at(configuration: Mapping[str, Any], key: str) -> Any:
    from paribus.core.config.schema import flatten

    return flatten(configuration).get(key)


def _metric(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else show_value(value)


COMMANDS = (compare_command,)
