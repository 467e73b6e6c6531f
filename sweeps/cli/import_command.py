"""`import`: another tool's runs as a CSV file that `compare` and `report` read."""

import csv
import io
from typing import Any

import rich_click as click

from paribus.core.errors import RequestError, many, shown
from paribus.core.fileio import creating, write_bytes
from paribus.sweeps.cli.console import (
    command,
    json_option,
    metric_option,
    print_json,
    say,
    seed_option,
    setting_option,
)


@click.command("import")
@click.argument("source")
@click.option("--output", "-o", metavar="FILE", default="results.csv", show_default=True,
              help="The CSV file that is written.")  # fmt: skip
@setting_option
@seed_option
@metric_option
@json_option
def import_command(source: str, output: str, as_json: bool, **columns: Any) -> None:
    """Write the runs of SOURCE as a CSV file with hyperparameters, seed and metric.

    SOURCE is what `compare` reads too: W&B's offline runs, wandb:ENTITY/PROJECT, TensorBoard's
    folders, a CSV or JSON lines file.
    """
    from paribus.core.config.values import show_value
    from paribus.sweeps.analysis.imported_results import load_table
    from paribus.sweeps.report.page import checked_output

    file = checked_output(output, (".csv",), "The file")
    table = load_table(source, **columns)
    seed, text = table.seed, io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*table.keys, seed, table.metric])
    for row in table.rows:
        levels = ("" if row.levels[k] is None else show_value(row.levels[k]) for k in table.keys)
        lines.writerow([*levels, row.seed, "nan" if row.value is None else repr(row.value)])
    content = text.getvalue().encode()
    if file.exists() and file.read_bytes() != content:
        raise RequestError(
            f"--output {shown(file, 200)}: is there, with other content.",
            "Name another file with -o, or remove it.",
            "output-file",
        )
    with creating(f"The file {file}"):
        write_bytes(file, content)
    setting = [] if table.keys == ("setting",) else ["--setting", ",".join(table.keys)]
    again = command("compare", str(file), *setting, "--seed", seed, "--metric", table.metric)
    counts = {
        "runs": len(table.rows),
        "settings": len({tuple(row.levels[key] for key in table.keys) for row in table.rows}),
        "seeds": len({row.seed for row in table.rows}),
    }
    if as_json:
        return print_json(
            {"source": source, "file": str(file), **counts, "notes": table.notes, "next": again}
        )
    say(f"{source}: {', '.join(many(count, name[:-1]) for name, count in counts.items())}")
    for note in table.notes:
        say(note)
    say(f"table: {file}; Next: {again}")
    return None


COMMANDS = (import_command,)
