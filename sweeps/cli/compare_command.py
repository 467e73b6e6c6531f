"""`compare`: verdicts on the settings of a study, or what differs between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.config.schema import Direction, difference, flatten
from paribus.core.config.values import show_value
from paribus.core.errors import Faults, RequestError, inert, shown
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import (
    bar,
    command,
    has_symbols,
    print_json,
    root_words,
    say,
    table,
    warn,
    width,
)
from paribus.sweeps.cli.options import json_option, plain_option, root_option, verbose_option
from paribus.sweeps.formatting import cut, number, signed, told_apart
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.analysis.compare import Comparison
    from paribus.sweeps.analysis.linter.evidence import Finding
    from paribus.sweeps.analysis.verdict_text import Setting
    from paribus.sweeps.study.study import Study

_LOOKS = {  # of a verdict on a terminal: its symbol and its colour
    "better": ("▲", "green"),
    "worse": ("▼", "red"),
    "equivalent": ("=", "blue"),
    "identical": ("=", "blue"),
    "undecided": ("?", ""),
}


def print_comparison(comparison: Comparison, *, verbose: bool = False) -> None:
    """Print the table of settings, and below it what else changed with each of them.

    Args:
        comparison: A `compare` document.
        verbose: A second table too: seeds, p, and the verdict on this validation part.
    """
    from paribus.sweeps.analysis import verdict_text as words

    settings, base = words.in_order(comparison), comparison.settings[0]
    metric, looks = comparison.metric.name, comparison.looks
    interval = "interval" if looks else "95 % interval"
    columns = ["setting", f"{metric} ± sd", f"vs baseline ({interval})", "verdict"]
    seeds = {
        s.label: words.seeds_text(s, len(base.runs)).removeprefix("pruned after ") for s in settings
    }
    if len(set(seeds.values())) > 1:
        columns.append("seeds")

    def cells(setting: Setting) -> list[str]:
        verdict, pruned = words.verdict_text(comparison, setting), setting.status == "pruned"
        if pruned and setting.verdict in (None, "undecided"):
            verdict = "pruned"
        elif setting.verdict and has_symbols():
            verdict = f"{_LOOKS[setting.verdict][0]} {verdict}"
        difference = "–" if setting.delta is None else signed(setting.delta)
        if setting.interval is not None:
            difference += f" ({words.interval_text(setting.interval)})"
        row = [_level(setting), words.value_text(setting), difference, verdict]
        return [*row, seeds[setting.label]][: len(columns)]

    _by_axis(columns, settings, cells)
    derived = {s.label: words.derived_text(s.derived) for s in settings if s.derived}
    if derived:
        say("derived:")
    names = told_apart([inert(shown(label, 200)) for label in derived], max(20, width() // 2))
    for name, text in zip(names, derived.values(), strict=True):
        say(cut(f"  {name}: {text}", width(), items=True))
    if verbose and any(s.verdict for s in settings):

        def more(setting: Setting) -> list[str]:
            part = setting.this_part
            p = "–" if setting.p_holm is None else f"{setting.p_holm:.2g}"
            row = [_level(setting), seeds[setting.label], p]
            if part is None:
                return [*row, "–", "–"]
            return [*row, words.interval_text(part.interval), part.verdict]

        part = "this part: interval"
        _by_axis(["setting", "seeds", "adjusted p", part, "verdict"], settings, more)


def _by_axis(
    columns: Sequence[str], settings: Sequence[Setting], cells: Callable[[Setting], list[str]]
) -> None:
    """A table of settings, each axis under its name; the last but one columns hold numbers."""
    rows: list[list[str] | str] = []
    styles, axis = [], None
    for setting in settings:
        changed = next(iter(setting.changed), None)
        if changed and changed != axis:
            before = setting.changed[changed][0]
            known = "" if before is None else f" (baseline {show_value(before)})"
            rows.append(f"{changed}{known}")
            styles.append("")
            axis = changed
        rows.append(cells(setting))
        styles.append(_LOOKS[setting.verdict][1] if setting.verdict else "")
    right = [n for n, name in enumerate(columns) if n and name != "verdict"]
    table(columns, rows, right=right, styles=styles)


def _level(setting: Setting) -> str:
    """What a row of an axis' settings is called: its level."""
    changed = next(iter(setting.changed.values()), None)
    return f"  {show_value(changed[1])}" if changed else setting.label


def print_warnings(findings: Sequence[Finding], *, verbose: bool = False) -> None:
    """Print a line for each finding and, below those of a rule, the reason.

    Args:
        findings: Of the linter.
        verbose: Also what could not be judged.
    """
    judged = [finding for finding in findings if finding.judged]
    if judged:
        say("warnings of method:")
    for (rule, reason), group in groupby(judged, key=lambda f: (f.rule, f.reason)):
        for finding in group:
            say(f"  {rule}: {finding.sentence}")
        say(f"    why: {reason}")
    unknown: dict[str, list[str]] = {}
    for finding in findings:
        if verbose and not finding.judged:
            unknown.setdefault(finding.sentence, []).append(finding.rule)
    for why, rules in unknown.items():
        say(f"{', '.join(rules)} {why}")


def undecided_text(
    comparison: Comparison, study: Study | None, again: str = "", most: int | None = None
) -> str:
    """Return what is undecided, and the command that would decide it; empty if all is decided.

    Args:
        comparison: A `compare` document.
        study: The study that a command adds seeds to; None: no command would.
        again: The command that goes on with the next look.
        most: How many settings the command is for; None: all that few seeds would decide.
    """
    from paribus.sweeps.analysis import verdict_text as words

    found = words.deciding(comparison, most)
    if found is None:
        return ""
    if found.seeds and study:
        from paribus.sweeps.study.lookup import start_of

        levels: dict[str, list[str]] = {}
        for setting in found.settings:
            for key, (_, level) in setting.changed.items():
                levels.setdefault(key, []).append(show_value(level))
        axes = [f"{key}={','.join(texts)}" for key, texts in levels.items()]
        if len(found.settings) > 1 and max(map(len, axes)) > width() - 10:
            return undecided_text(comparison, study, again, 1)  # the terminal would break a word
        options = ["--seeds", str(found.seeds), "--study", study.name, *root_words(study.root)]
        again = command("sweep", start_of(study), *axes, *options)
    return f"{found.sentence}: {again}" if again and found.settings else found.sentence


@click.command("compare")
@click.argument(
    "names",
    nargs=-1,
    metavar="[STUDY | RESULTS.csv | RUN RUN...]",
    shell_complete=complete_subject,
)
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
@verbose_option
@plain_option
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
    verbose: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Verdicts on the settings of a STUDY, or of any tool's RESULTS.csv; or what differs in runs.

    RESULTS.csv has the columns setting, seed and value; one of the settings is called baseline.
    """
    from paribus.sweeps.study.request import read_option

    is_file = len(names) == 1 and names[0].lower().endswith(".csv")
    faults, of_file = Faults(), is_file and names[0] not in root.study_names()
    read_option("margin", margin, faults)
    with faults.collecting():
        _check_options(names, context.params, of_file=of_file, as_json=as_json)
    faults.check()
    if len(names) > 1:
        _compare_runs(root, names, as_json)
        return
    if of_file:
        from paribus.sweeps.analysis.csv_results import compare_results

        found = compare_results(Path(names[0]), direction or "maximize", margin)
        _print(found, form, as_json, verbose)
        return
    from paribus.sweeps.analysis.compare import checked_comparison

    study = _study_named(root, names)
    comparison = checked_comparison(study, metric, margin, root_words(root))
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    given = None
    if wandb and as_json:  # one document, so it comes first
        given = _log_to_wandb(study)
    _print(comparison, form, as_json, verbose, study, given)
    if wandb and not as_json:
        given = _log_to_wandb(study)
        (say if form == "table" else warn)(_wandb_line(given))
    missing = given is not None and (given["failed"] or given["study"] == "failed")
    context.exit(1 if study.outcomes.damaged or missing else 0)


def _check_options(
    names: Sequence[str], options: Mapping[str, Any], *, of_file: bool, as_json: bool
) -> None:
    """Refuse options that have no meaning for what is compared."""
    from paribus.sweeps.tracking.tracker import is_wanted

    faults, leave_out = Faults(), "Leave it out."
    of_runs, wandb = len(names) > 1, options["wandb"]
    other = options["metric"] or options["margin"] is not None
    for refused, message, hint, kind in (
        (of_runs and (other or options["form"] != "table"),
         "--metric, --margin and --format are for a study; runs are compared by all.",
         "Leave them out.", "options"),
        (of_file and options["metric"],
         "--metric is for a study; a file has one value for each run.", leave_out, "options"),
        (options["direction"] and not of_file,
         "--direction is for RESULTS.csv; a study knows its metric's.", leave_out, "options"),
        (as_json and options["form"] != "table",
         f"--json and --format {options['form']} both say how it is written.",
         "Name one of them.", "options"),
        (wandb and (of_runs or of_file),
         "--wandb logs a study.", "Name one, or leave --wandb out.", "options"),
        (wandb and other, "--wandb logs a study by its own metric and margin.",
         "Leave --metric and --margin out.", "options"),
        (wandb and not is_wanted(), "--wandb: WANDB_MODE is 'disabled'.", "Unset it.", "wandb"),
    ):  # fmt: skip
        if refused:
            faults.add(message, hint, kind)
    faults.check()


def _log_to_wandb(study: Study) -> dict[str, Any]:
    from paribus.sweeps.tracking.wandb_sync import log_study

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


def _print(
    comparison: Comparison,
    form: str,
    as_json: bool,
    verbose: bool,
    study: Study | None = None,
    wandb: Mapping[str, Any] | None = None,
) -> None:
    """Print a comparison as it was asked for; of a study also its axes and warnings."""
    from paribus.sweeps.analysis import verdict_text as words

    if as_json:
        print_json({**comparison.to_dict(), **({"wandb": wandb} if wandb else {})})
        return
    if form != "table":
        from paribus.sweeps.cli import table_formats

        click.echo(inert(table_formats.FORMATS[form](comparison)))
        return
    say(f"study {study.name}" if study else f"results {getattr(comparison, 'results', '')}")
    print_comparison(comparison, verbose=verbose)
    say(words.answer(comparison))
    if undecided := undecided_text(comparison, study):
        say(undecided)
    for line in (
        words.meaning(comparison)
        if verbose
        else [*words.legend(comparison), *words.remarks(comparison)]
    ):
        say(line)
    if study is None:
        return
    from paribus.sweeps.study.lookup import study_command

    for setting in comparison.settings:
        if setting.status == "failed":
            say(f"{setting.label} failed: {setting.reason}")
    paste = study_command(study, root_words(study.root))
    for axis in study.requested.axes:
        for line in words.axis_lines(comparison, axis.key, paste):
            say(line)
    for line in words.cell_lines(comparison):
        say(line)
    print_warnings(comparison.linter or (), verbose=verbose)


def _compare_runs(root: ResultsDir, names: Sequence[str], as_json: bool) -> None:
    from paribus.sweeps.analysis import verdict_text as words
    from paribus.sweeps.study.controls import sameness
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
            configuration[key] = [flatten(r.configuration).get(key) for r in records]
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
        say(words.NOT_PROVEN)
    return None


def _differing(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(key for part in parts for key in part)
    rows = {key: [part.get(key) for part in parts] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def _metric(value: Any) -> str:
    return number(value, 6) if isinstance(value, float) else show_value(value)


COMMANDS = (compare_command,)
