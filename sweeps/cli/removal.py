"""`remove`: makes room."""

from __future__ import annotations

import sys

import rich_click as click

from paribus.core.errors import ParibusError, RequestError
from paribus.sweeps.cli.common import json_option, print_json, root_option, say, size, warn
from paribus.sweeps.root import Root


@click.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="STUDY|RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
@json_option
def remove_command(names: tuple[str, ...], yes: bool, root: Root, as_json: bool) -> None:
    """Remove studies and runs; asks first. Runs that other studies use stay."""
    from paribus.sweeps.remove import plan_removal, remove

    removal = plan_removal(root, names)
    for run, studies in removal.kept.items():
        warn(f"{run} stays: {', '.join(studies)} uses it.")
    what = [f"study {name}" for name in removal.studies]
    if removal.runs:
        runs = "1 run" if len(removal.runs) == 1 else f"{len(removal.runs)} runs"
        what.append(f"{runs} ({size(removal.bytes)})")
    if not what:
        raise RequestError("There is nothing to remove.", "See: paribus runs", "nothing")
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise RequestError(
                f"This would remove {' and '.join(what)}.", "To do it, add --yes.", "unconfirmed"
            )
        click.confirm(f"Remove {' and '.join(what)} from {root.path}?", abort=True)
    try:
        said = remove(removal, root)
    except OSError as error:
        raise ParibusError(
            f"Not all could be removed: {error}.", "Run the same command again.", "disk"
        ) from error
    for line in said:
        warn(line)
    if as_json:
        return print_json({
            "studies": list(removal.studies),
            "runs": list(removal.runs),
            "kept": removal.kept,
            "bytes": removal.bytes,
        })  # fmt: skip
    say(f"Removed {' and '.join(what)}.")
    return None


COMMANDS = (remove_command,)
