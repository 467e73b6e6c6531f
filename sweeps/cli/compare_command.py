"""`compare`: verdicts on the settings of a study, or what differs between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.config.schema import Direction, flatten, same_value
from paribus.core.config.values import show_value
from paribus.core.errors import Faults, RequestError, first_few, inert, many, shown
from paribus.core.fingerprint import read_parts
from paribus.core.records.record import ReadLater, RunRecord
from paribus.core.records.run_dir import BEST, LOG, RunFolder
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import (
    bar,
    best_of_run,
    command,
    has_symbols,
    json_option,
    names_results,
    nearby,
    plain_option,
    print_json,
    results_options,
    root_option,
    say,
    strict_option,
    table,
    verbose_option,
    warn,
    width,
)
from paribus.sweeps.formatting import cut, cut_middle, distinct_cuts, duration, number, signed
from paribus.sweeps.study.request import refuse_for_studies
from paribus.sweeps.study.results_dir import ResultsDir, root_words

if TYPE_CHECKING:
    from paribus.sweeps.analysis.compare import Comparison, SettingComparison
    from paribus.sweeps.analysis.linter.evidence import Finding
    from paribus.sweeps.analysis.verdict_text import Setting
    from paribus.sweeps.study.results import SettingResult
    from paribus.sweeps.study.study import Study

_REASON = 300  # characters of why a setting failed
_LOOKS = {  # of a verdict on a terminal: its symbol and its colour
    "better": ("▲", "green"),
    "worse": ("▼", "red"),
    "equivalent": ("=", "blue"),
    "identical": ("=", "blue"),
    "likely better": ("△", "green"),
    "likely worse": ("▽", "red"),
    "no better": ("≤", ""),
    "no worse": ("≥", ""),
    "undecided": ("?", ""),
}


def print_comparison(comparison: Comparison, *, verbose: bool = False) -> None:
    """Print the table of settings, and below it what else changed with each of them.

    If `verbose`, a second table too: seeds, p, and the verdict on this validation part.
    """
    from paribus.sweeps.analysis import verdict_text as words

    settings, base = words.in_order(comparison), comparison.settings[0]
    seeds = {
        s.label: words.seeds_text(s, len(base.runs)).removeprefix("pruned after ") for s in settings
    }

    def difference(setting: Setting) -> str:
        if setting.interval is None:
            return signed(setting.delta)
        return f"{signed(setting.delta)} ({words.interval_text(setting.interval)})"

    def verdict(setting: Setting) -> str:
        if setting.status == "pruned" and setting.verdict in (None, "undecided"):
            return "pruned"
        shown_as = setting.grade or setting.verdict
        symbol = f"{_LOOKS[shown_as][0]} " if shown_as and has_symbols() else ""
        return symbol + words.verdict_text(comparison, setting)

    columns: dict[str, Callable[[Setting], str]] = {
        f"{comparison.metric.name} ± sd": words.value_text,
        f"vs baseline ({words.interval_heading(comparison)})": difference,
        "verdict": verdict,
    }
    if len(set(seeds.values())) > 1:
        columns["seeds"] = lambda s: seeds[s.label]
    _by_axis(settings, columns)
    derived = {s.label: words.derived_text(s.derived) for s in settings if s.derived}
    if derived:
        say("derived:")
    names = distinct_cuts([inert(shown(label, 200)) for label in derived], max(20, width() // 2))
    for name, text in zip(names, derived.values(), strict=True):
        say(cut(f"  {name}: {text}", width(), items=True))
    if verbose and any(s.verdict for s in settings):
        _by_axis(settings, {
            "seeds": lambda s: seeds[s.label],
            words.p_heading(comparison): words.p_text,
            "this part: interval": lambda s: words.interval_text(
                s.this_part.interval if s.this_part else None
            ),
            "verdict": lambda s: s.this_part.verdict if s.this_part else "–",
        })  # fmt: skip


def _by_axis(settings: Sequence[Setting], columns: Mapping[str, Callable[[Setting], str]]) -> None:
    """Print a table of settings, each axis under its name; all but verdicts are numbers."""
    rows: list[list[str] | str] = []
    styles, axis = [], None
    for setting in settings:
        before, level = setting.changed[setting.key] if setting.key else (None, None)
        if setting.key != axis and setting.key:
            known = "" if before is None else f" (baseline {show_value(before)})"
            rows.append(f"{setting.key}{known}")
            styles.append("")
            axis = setting.key
        name = f"  {show_value(level)}" if setting.key else setting.label
        rows.append([name, *[cell(setting) for cell in columns.values()]])
        shown_as = setting.grade or setting.verdict
        styles.append(_LOOKS[shown_as][1] if shown_as else "")
    right = [n for n, name in enumerate(columns, 1) if name != "verdict"]
    table(("setting", *columns), rows, right=right, styles=styles)


def print_warnings(findings: Sequence[Finding]) -> None:
    """Print each finding with its remedy and the reason, and what could not be judged."""
    judged = [finding for finding in findings if finding.judged]
    if judged:
        say("warnings of method:")
    for (rule, reason), group in groupby(judged, key=lambda f: (f.rule, f.reason)):
        for finding in group:
            say(f"  {rule}: {finding.sentence}")
        say(f"    why: {reason}")
    unknown: dict[str, list[str]] = {}
    for finding in findings:
        if not finding.judged:
            unknown.setdefault(finding.sentence, []).append(finding.rule)
    for why, rules in unknown.items():
        say(f"{', '.join(rules)} {why}")


def undecided_text(
    comparison: Comparison,
    study: Study | None,
    again: str = "",
    start: Sequence[str] = (),
    most: int | None = None,
) -> str:
    """Return what is undecided, and the command that would decide it; empty if all is decided.

    The command goes on with the next look (`again`), or adds seeds to a study's settings, `most` of
    them or all that few seeds would decide. It begins with the words `start`; none: its run, or the
    experiment.
    """
    from paribus.sweeps.analysis import verdict_text as words

    found = words.deciding(comparison, most)
    if found is None:
        return ""
    price = ""
    if found.seeds and study:
        from paribus.sweeps.study.lookup import start_of

        levels: dict[str, list[str]] = {}
        for setting in found.settings:
            for key, (_, level) in setting.changed.items():
                levels.setdefault(key, []).append(show_value(level))
        axes = [f"{key}={','.join(texts)}" for key, texts in levels.items()]
        # The terminal would break a word.
        if len(found.settings) > 1 and max(map(len, axes)) > width() - 10:
            return undecided_text(comparison, study, again, start, 1)
        options = ["--seeds", str(found.seeds), "--study", study.name, *root_words(study.root)]
        again = command("sweep", *(start or [start_of(study)]), *axes, *options)
        price = f" ({_price(study, [*found.settings, comparison.settings[0]], found.seeds)})"
    return f"{found.sentence}{price}: {again}" if again and found.settings else found.sentence


def _price(study: Study, settings: Sequence[Setting], seeds: int) -> str:
    """Return the runs that so many seeds of some settings add, and about how long they take."""
    from paribus.sweeps.execution.pool import cores

    runs, seconds = 0, 0.0
    for setting in settings:
        new = len(set(range(seeds)) - set(study.find(setting.label).runs))  # some are there already
        record = study.outcomes.record(setting.runs[0]) if setting.runs else None
        runs += new
        seconds += new * record.seconds if record else 0.0
    return f"{many(runs, 'run')}, about {duration(seconds / cores())}"


def best_model(study: Study, results: Sequence[SettingResult]) -> list[str]:
    """Return where the best setting's final model is, or the command that trains it.

    Of a function, which keeps its model to itself, it is the folder of the best seed's run.
    """
    from paribus.sweeps.analysis.compare import best_setting

    best = best_setting(results, study.direction)
    if best is None:
        return []
    sign = study.requested.metric.sign
    seed = max(zip(best.seeds, best.values, strict=True), key=lambda p: sign * p[1])[0]
    folder, whose = study.root.run(best.setting.runs[seed]).folder, f"seed {seed}"
    if final := study.final_of(best.label):
        folder, whose = final.folder, "final"
    elif (folder / BEST).exists():
        words = command("finalize", study.name, best.label, *root_words(study.root))
        return [f"best model, to be trained on all but the test part: {words}"]
    text = best_of_run(folder)
    room = width() - len(text) - len(f" (, {whose})")
    whole = len(best.label) <= room or room < 12
    label = best.label if whole else cut_middle(best.label, room)
    return [text if room < 12 else f"{text} ({label}, {whose})"]


@click.command("compare")
@click.argument(
    "names", nargs=-1, metavar="[STUDY | RESULTS | RUN RUN...]", shell_complete=complete_subject
)
@results_options
@click.option("--margin", type=float, metavar="SIZE",
              help="Differences smaller than this do not matter; default: half a point of "
              "accuracy, F1 and the like, 0.01 of R², 2 % of a loss or error.")  # fmt: skip
@strict_option
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
    setting: Sequence[str],
    seed: str | None,
    baseline: str | None,
    direction: Direction | None,
    margin: float | None,
    strict: bool,
    form: str,
    wandb: bool,
    verbose: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Verdicts on the settings of a STUDY, or of another tool's RESULTS; or what differs in runs.

    RESULTS are a CSV or JSON lines file with a line for each run, a folder of W&B's offline runs or
    of TensorBoard's events, or wandb:ENTITY/PROJECT.
    """
    from paribus.sweeps.analysis.imported_results import compare_results, load_table
    from paribus.sweeps.study.request import read_option

    faults, of_file = Faults(), names_results(names, root)
    read_option("margin", margin, faults)
    with faults.collecting():
        _check_options(names, context.params, of_file=of_file, as_json=as_json)
    with faults.collecting():
        results = load_table(names[0], setting, seed, metric) if of_file else None
    faults.check()
    if len(names) > 1:
        _compare_runs(root, names, as_json)
        context.exit(0)
    study, damaged = None, {}
    comparison: Comparison
    if results:
        comparison = compare_results(results, direction, margin, baseline, strict=strict)
    else:
        from paribus.sweeps.analysis.compare import checked_comparison

        study = _study_named(root, names)
        comparison = checked_comparison(study, metric, margin, root_words(root), strict=strict)
        damaged = study.outcomes.damaged
    for run, damage in damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    given: dict[str, Any] = {}
    if not as_json:  # which is one document, with what became of the study in W&B
        _print(comparison, form, verbose, study)
    if wandb and study:
        from paribus.sweeps.tracking.wandb_sync import log_study

        with root.lock(f"study-{study.name}", f"The study {study.name}"):
            given = log_study(study, warn, bar("logging to W&B"))
    if as_json:
        print_json({**comparison.to_dict(), **({"wandb": given} if wandb else {})})
    elif wandb:
        (say if form == "table" else warn)(_wandb_line(given))
    missing = given and (given["failed"] or given["study"] == "failed")
    context.exit(1 if damaged or missing else 0)


def _check_options(
    names: Sequence[str], options: Mapping[str, Any], *, of_file: bool, as_json: bool
) -> None:
    """Refuse options that have no meaning for what is compared."""
    from paribus.sweeps.tracking.tracker import check_variables, is_wanted

    faults = Faults()
    of_runs, wandb = len(names) > 1, options["wandb"]
    other = options["metric"] or options["margin"] is not None or options["strict"]
    asked = {name: options[name] for name in ("setting", "seed", "baseline", "direction")}
    refuse_for_studies(faults, of_file, **asked)
    for refused, message, hint in (
        (of_runs and (other or options["form"] != "table"),
         "--metric, --margin, --strict and --format are for a study; runs are compared by all.",
         "Leave them out."),
        (as_json and options["form"] != "table",
         f"--json and --format {options['form']} both say how it is written.",
         "Name one of them."),
        (options["verbose"] and (of_runs or as_json or options["form"] != "table"),
         "--verbose is for the table of settings; any other output is complete.", "Leave it out."),
        (wandb and (of_runs or of_file),
         "--wandb logs a study.", "Name one, or leave --wandb out."),
        (wandb and other, "--wandb logs a study by its own metric and margin.",
         "Leave --metric, --margin and --strict out."),
    ):  # fmt: skip
        if refused:
            faults.add(message, hint)
    if wandb and not is_wanted():
        faults.add("--wandb: WANDB_MODE is 'disabled'.", "Unset it.")
    with faults.collecting():
        check_variables(enabled=wandb)
    faults.check()


def _wandb_line(given: Mapping[str, Any]) -> str:
    """Return what became of a study in W&B."""
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
        )
    return Study.load(root, name)


def _print(comparison: Comparison, form: str, verbose: bool, study: Study | None = None) -> None:
    """Print a comparison as it was asked for; of a study also its axes and warnings."""
    from paribus.sweeps.analysis import verdict_text as words

    if form != "table":
        from paribus.sweeps.cli.table_formats import FORMATS

        click.echo(inert(FORMATS[form](comparison)))
        return
    say(f"study {study.name}" if study else f"results {getattr(comparison, 'results', '')}")
    print_comparison(comparison, verbose=verbose)
    say(words.answer(comparison), *getattr(comparison, "notes", ()))
    if undecided := undecided_text(comparison, study):
        say(undecided)
    if verbose:
        say(*words.meaning(comparison))
    else:
        say(*words.legend(comparison), *words.remarks(comparison))
    if study is None:
        return
    from paribus.sweeps.study.lookup import study_command

    say(*failures(comparison.settings, study.root))
    paste = study_command(study, root_words(study.root))
    for axis in study.requested.axes:
        say(*words.axis_lines(comparison, axis.key, paste))
    say(*best_model(study, study.results()))
    for line in words.cell_lines(comparison):
        say(line if verbose else cut(line, width(), items=True))
    findings = comparison.linter or ()
    if verbose:
        print_warnings(findings)
    elif warnings := words.method_warnings(comparison, findings):
        again = command("compare", study.name, "--verbose", *root_words(study.root))
        say("warnings of method:", *[f"  {warning}" for warning in warnings],
            f"  with numbers, reasons and remedies: {again}")  # fmt: skip


def failures(settings: Sequence[SettingComparison | SettingResult], root: ResultsDir) -> list[str]:
    """Return why settings failed, each reason once and not too long, with where its log is."""
    labels: dict[str, list[str]] = {}
    logs: dict[str, str] = {}
    for setting in (setting for setting in settings if setting.status == "failed"):
        reason = str(setting.reason)
        labels.setdefault(reason, []).append(setting.label)
        records = map(root.finished, setting.runs)
        ids = [record.run for record in records if record and record.status == "failed"]
        for log in [root.run(run).folder / LOG for run in ids[:1]]:
            if log.is_file():
                logs.setdefault(reason, f" ({nearby(log.absolute())})")
    return [
        f"{first_few(names)} failed: {shown(reason, _REASON)}{logs.get(reason, '')}"
        for reason, names in labels.items()
    ]


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
    parts: dict[str, list[Mapping[str, Any]]] = {
        "configuration": [{**flatten(r.configuration), "seed": r.seed} for r in records],
        "environment": [{**r.identity["environment"], "engine": r.engine} for r in records],
        "read": [_read(record) for record in records],
        "metrics": [record.metrics for record in records],
    }
    document = {part: _differing(of_runs) for part, of_runs in parts.items()}
    proven = sameness(*[record.configuration for record in records])
    if as_json:
        return print_json({**document, "sameness": proven})
    for part, rows in document.items():
        if not rows:
            say(f"{part}: no difference")
            continue
        cells = [[key, *[_cell(value, part) for value in values]] for key, values in rows.items()]
        table((part, *[folder.id for folder in folders]), cells)
    if proven != "proven":
        say(words.NOT_PROVEN)
    for record in records:
        if record.final_epoch:
            say(f"{record.run} is a final run: it has no validation part.")
    return None


def _read(record: RunRecord) -> dict[str, Any]:
    """Return what decides a run besides its configuration and its machine, by name."""
    later = record.read_later or ReadLater()
    return {
        **later.files,
        **later.variables,
        **read_parts(record.identity),
        "data": record.identity["data"],
    }


def _cell(value: Any, part: str) -> str:
    if isinstance(value, float) and part == "metrics":
        return number(value, 6)
    text = show_value(value)
    return f"{text[:12]}…" if part == "read" and len(text) == 64 else text  # a digest


def _differing(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each key of which they differ."""
    keys = dict.fromkeys(key for part in parts for key in part)
    rows = {key: [part.get(key) for part in parts] for key in keys}
    return {k: row for k, row in rows.items() if not all(same_value(v, row[0]) for v in row)}
