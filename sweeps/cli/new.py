"""`new`: an experiment file to begin with."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from paribus.sweeps.cli.common import command, json_option, print_json, say, warn


@click.command("new")
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[data.missing=mean|drop]")
@click.option(
    "--data", metavar="PATH", help="A CSV or TSV file, or a folder of images for each class."
)
@click.option("--target", metavar="COLUMN", help="The column to predict.")
@click.option("--model", metavar="NAME", help="The model; default: one that suits the data.")
@json_option
def new_command(
    name: str,
    overrides: tuple[str, ...],
    data: str | None,
    target: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Write ./NAME.py, an experiment that works as it is: for your data, or a template.

    The task is guessed from the data; the reason stands in the file.
    """
    from paribus.sweeps.new import write_experiment

    written = write_experiment(name, Path.cwd(), data, target, model, overrides)
    for note in written.notes:
        warn(note)
    if as_json:
        return print_json({
            "experiment": written.experiment,
            "file": str(written.file),
            "task": written.task,
            "why": written.why,
            "notes": list(written.notes),
        })  # fmt: skip
    file = written.file.name
    say(f"Wrote {file}: task {written.task}, as {written.why}.")
    say(f"Next: {command('check', file)}, then {command('sweep', file)}")
    return None


COMMANDS = (new_command,)
