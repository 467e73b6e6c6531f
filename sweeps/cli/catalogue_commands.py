"""`list`, `show`, `check` and `new`: what there is to train, and whether it can learn."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import rich_click as click

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.schema import DEFAULT_METRICS, flatten, get
from paribus.core.config.values import show_value
from paribus.core.errors import RequestError
from paribus.sweeps.cli.console import (
    command,
    experiment_argument,
    json_option,
    overrides_argument,
    print_json,
    run_options,
    say,
    table,
    warn,
)
from paribus.sweeps.study.results_dir import ResultsDir


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the experiments, with task, data and metric."""
    rows = []
    for path in catalogue().values():
        experiment = load_experiment(path)
        baseline = experiment.baseline.to_dict()
        task = get(baseline, "task.name")
        rows.append({
            "experiment": experiment.name,
            "task": task,
            "data": get(baseline, "data.name"),
            "metric": get(baseline, "select.metric") or DEFAULT_METRICS.get(task),
            "axes": list(experiment.axes),
            "question": experiment.question,
        })  # fmt: skip
    if as_json:
        return print_json(rows)
    keys = ("experiment", "task", "data", "metric", "question")
    table(keys, [[str(row[key] or "–") for key in keys] for row in rows])
    say("Next: paribus show digits, or paribus sweep digits")
    return None


@click.command("show")
@experiment_argument
@overrides_argument
@click.option("--engine", default="auto", metavar="auto|loop|cohort", help="What would train.")
@run_options
def show_command(
    experiment: str,
    overrides: tuple[str, ...],
    engine: str,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Show configuration, model, sizes of the splits and default axes of an experiment."""
    from paribus.sweeps.execution.planner import describe_request
    from paribus.sweeps.study.lookup import request_for

    request = request_for(root, experiment, overrides, engine=engine, trust=trust)
    document = describe_request(request)
    if as_json:
        return print_json(document)
    say(f"{document['experiment']}: {document['question']}")
    flat = flatten(document["configuration"])
    table(("hyperparameter", "value"), [[key, show_value(value)] for key, value in flat.items()])
    if document["model"]:
        _show_model(document)
    else:
        from paribus.sweeps.analysis.verdict_text import NOT_PROVEN

        say("A script: its model, its data and its number of epochs are its own.")
        say(NOT_PROVEN)
    table(("axis", "levels"), [[k, ", ".join(v)] for k, v in document["axes"].items()])
    say(f"Next: paribus sweep {experiment}")
    return None


def _show_model(document: dict[str, Any]) -> None:
    rows = [
        [
            layer["name"],
            layer["type"],
            show_value(layer["output_shape"]).replace('"', ""),
            str(layer["parameters"]),
        ]
        for layer in document["model"]["layers"]
    ]
    table(("layer", "type", "output", "parameters"), rows, right=(3,))
    data, facts = document["data"], document["facts"]
    say(
        f"{document['model']['parameters']} parameters; "
        f"{data['train']} training, {data['val']} validation, {data['test']} test examples of "
        f"shape {data['input_shape']}; {facts['updates']} updates in {facts['epochs']} epochs; "
        f"engine {document['engine']}"
    )
    rates = document["learning_rate"]
    if rates["last"] is not None:
        updates = facts["updates"]
        places = ((1, "first"), ((updates + 1) // 2, "middle"), (updates, "last"))
        each = [f"{rates[name]:.4g} at update {update}" for update, name in places]
        say(f"learning rate: {', '.join(each)}; the scheduler steps after each {rates['interval']}")
    elif rates["first"] is not None:
        say(f"learning rate: {rates['first']:.4g}, until the scheduler lowers it by val/loss")
    if document["why_no_cohort"]:
        say(f"no cohort trains it: {document['why_no_cohort']}")
    if document["why_traced"]:
        say(f"the cohort traces the module: {document['why_traced']}")
    if "classes" in data:
        rows = [
            [k, str(v["train"]), str(v["val"]), str(v["test"])] for k, v in data["classes"].items()
        ]
        what = "label" if document["configuration"]["task"]["name"] == "multilabel" else "class"
        table((what, "train", "val", "test"), rows, right=(1, 2, 3))


_RESULTS = {True: "passed", False: "failed", None: "skipped"}


@click.command("check")
@experiment_argument
@overrides_argument
@run_options
@click.pass_context
def check_command(
    context: click.Context,
    experiment: str,
    overrides: tuple[str, ...],
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Check whether an experiment can learn at all. A few seconds; nothing is kept."""
    from paribus.sweeps.execution.planner import check_request
    from paribus.sweeps.study.lookup import request_for

    name, checks = check_request(request_for(root, experiment, overrides, trust=trust))
    failed = sum(check.passed is False for check in checks)
    if as_json:
        found = [vars(check) for check in checks]
        print_json({"experiment": name, "checks": found, "passed": not failed})
    else:
        rows = [[check.name, _RESULTS[check.passed], check.detail] for check in checks]
        table(("check", "result", "what was found"), rows)
        if failed:
            say(f"{failed} of {len(checks)} checks failed.")
        else:
            say(f"Next: {command('run', experiment, *overrides)}")
    context.exit(1 if failed else 0)


@click.command("new")
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[data.missing=mean|drop]")
@click.option(
    "--data", metavar="PATH", help="A CSV or TSV file, or a folder of images for each class."
)
@click.option("--target", metavar="COLUMN", help="The column to predict.")
@click.option("--model", metavar="NAME", help="The model; default: one that suits the data.")
@click.option(
    "--keep", metavar="COLUMN", multiple=True,
    help="A column that is an input, though it looks like an id or a date; may be repeated.",
)  # fmt: skip
@click.option("--script", metavar="FILE", help="A training script to sweep as it is.")
@json_option
def new_command(
    name: str,
    overrides: tuple[str, ...],
    data: str | None,
    target: str | None,
    model: str | None,
    keep: tuple[str, ...],
    script: str | None,
    as_json: bool,
) -> None:
    """Write ./NAME.py, an experiment that works as it is: for your data, or a template.

    The task is guessed from the data; the file gives the reason. Columns that look like ids or
    dates are left out: in a terminal it asks. Of a --script its options are read, and the file says
    what is left to fill in.
    """
    if script is not None:
        from paribus.sweeps.scaffold.script_experiment import for_script

        if data or target or model or keep or overrides:
            text = "--script takes none of --data, --target, --model, --keep and data.missing."
            raise RequestError(text, "Leave them out: the script has its own data.")
        made, notes = for_script(name, script, Path.cwd())
        if as_json:
            return print_json({"experiment": name, "file": str(made), "notes": notes})
        say(f"Wrote {made.name}. To fill in:", *[f"- {note}" for note in notes])
        say(f"Next: {command('sweep', made.name)}")
        return None
    from paribus.sweeps.scaffold.write_experiment import write_experiment

    asks = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    ask = partial(click.confirm, default=True, err=True) if asks else None
    written = write_experiment(name, Path.cwd(), data, target, model, overrides, keep, ask)
    warn(*written.notes)
    if as_json:
        return print_json({**vars(written), "file": str(written.file)})
    file = written.file.name
    say(f"Wrote {file}: task {written.task}, as {written.why}.")
    say(f"Next: {command('check', file)}, then {command('sweep', file)}")
    return None
