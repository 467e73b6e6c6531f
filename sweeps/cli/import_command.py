"""`import`: another tool's runs as a CSV file."""

import csv
import io
from collections.abc import Sequence

import rich_click as click

from paribus.core.config.values import show_value
from paribus.core.errors import Faults, RequestError, many, shown
from paribus.core.fileio import creating, write_bytes
from paribus.sweeps.cli.console import command, json_option, print_json, results_options, say


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
    direction: str | None,
    as_json: bool,
) -> None:
    """Write RESULTS of another tool, as `compare` reads them, to a CSV file.

    It has the hyperparameters that vary, the seed and the metric of each run.
    """
    from paribus.sweeps.analysis.imported_results import load_table
    from paribus.sweeps.report.page import checked_output

    faults, table, file = Faults(), None, None
    with faults.collecting():
        file = checked_output(output, (".csv",), "The file")
    with faults.collecting():
        table = load_table(source, setting, seed, metric)
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
    given = {"setting": ",".join(table.keys), "seed": table.seed, "metric": table.metric,
             "baseline": baseline, "direction": direction}  # fmt: skip
    again = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    settings = len({tuple(row.levels[key] for key in table.keys) for row in table.rows})
    counts = {"run": len(table.rows), "setting": settings,
              "seed": len({row.seed for row in table.rows})}  # fmt: skip
    if as_json:
        return print_json({"file": str(file), **{f"{k}s": n for k, n in counts.items()},
                           "notes": table.notes})  # fmt: skip
    say(f"{source}: {', '.join(many(count, noun) for noun, count in counts.items())}")
    for note in table.notes:
        say(note)
    say(f"table: {file}; Next: {command('compare', str(file), *again)}")
    return None
