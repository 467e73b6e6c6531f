"""`check`: can it learn at all."""

from __future__ import annotations

import rich_click as click

from paribus.sweeps.cli.common import command as pasted
from paribus.sweeps.cli.common import json_option, print_json, root_option, say, table, trust_option
from paribus.sweeps.root import Root

RESULTS = {True: "passed", False: "failed", None: "skipped"}


@click.command("check")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@trust_option
@root_option
@json_option
@click.pass_context
def check_command(
    context: click.Context,
    experiment: str,
    overrides: tuple[str, ...],
    trust: bool,
    root: Root,
    as_json: bool,
) -> None:
    """Can an experiment learn at all? A few seconds; nothing is kept."""
    from paribus.core.errors import Faults
    from paribus.sweeps.early import early_request
    from paribus.sweeps.request import Asked

    request = early_request(root, Asked(experiment, overrides, trust=trust), Faults())
    from paribus.sweeps.check import check_request

    name, checks = check_request(request)
    failed = sum(check.passed is False for check in checks)
    if as_json:
        found = [vars(check) for check in checks]
        print_json({"experiment": name, "checks": found, "passed": not failed})
    else:
        rows = [[check.name, RESULTS[check.passed], check.detail] for check in checks]
        table(("check", "result", "what was found"), rows)
        if failed:
            say(f"{failed} of {len(checks)} checks failed.")
        else:
            say(f"Next: {pasted('run', experiment, *overrides)}")
    context.exit(1 if failed else 0)


COMMANDS = (check_command,)
