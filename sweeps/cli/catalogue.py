"""`list` and `show`: what there is to train."""

from __future__ import annotations

from typing import Any

import rich_click as click

from paribus.core.config import DEFAULT_METRICS, flatten, get
from paribus.core.errors import Faults
from paribus.core.experiment import catalogue, load_experiment
from paribus.core.values import show_value
from paribus.sweeps.cli.common import (
    json_option,
    print_json,
    root_option,
    say,
    table,
    trust_option,
)
from paribus.sweeps.root import Root


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """Experiments, with task, data and metric."""
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
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--engine", default="auto", metavar="auto|loop|cohort", help="What would train.")
@trust_option
@root_option
@json_option
def show_command(
    experiment: str,
    overrides: tuple[str, ...],
    engine: str,
    trust: bool,
    root: Root,
    as_json: bool,
) -> None:
    """Configuration, model, sizes of the splits and default axes of an experiment."""
    from paribus.sweeps.early import early_request
    from paribus.sweeps.request import Asked

    asked = Asked(experiment, overrides, None, engine, trust)
    request = early_request(root, asked, Faults())
    from paribus.sweeps.planning import describe_request

    document = describe_request(request)
    if as_json:
        return print_json(document)
    say(f"{document['experiment']}: {document['question']}")
    flat = flatten(document["configuration"])
    table(("hyperparameter", "value"), [[key, show_value(value)] for key, value in flat.items()])
    if document["model"]:
        _show_model(document)
    else:
        from paribus.sweeps.verdicts.words import NOT_PROVEN

        say("A function: its model, its data and its number of epochs are its own.")
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
    if document["why_no_cohort"]:
        say(f"no cohort trains it: {document['why_no_cohort']}")
    if "classes" in data:
        rows = [
            [k, str(v["train"]), str(v["val"]), str(v["test"])] for k, v in data["classes"].items()
        ]
        what = "label" if document["configuration"]["task"]["name"] == "multilabel" else "class"
        table((what, "train", "val", "test"), rows, right=(1, 2, 3))


COMMANDS = (list_command, show_command)
