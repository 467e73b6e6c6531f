"""`sync`: what is offline goes to W&B's server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rich_click as click

from paribus.sweeps.cli.common import bar, json_option, print_json, root_option, say, warn
from paribus.sweeps.root import Root

_DID = {
    "uploaded": "uploaded",
    "rebuilt": "built again, as W&B's own file was damaged or missing",
    "amended": "brought up to date",
}


@click.command("sync")
@click.argument("study", required=False)
@root_option
@json_option
@click.pass_context
def sync_command(context: click.Context, study: str | None, root: Root, as_json: bool) -> None:
    """Upload to Weights & Biases what was logged offline: all of it, or a STUDY's.

    Built from the records, so W&B's own files need not be whole. Twice changes nothing.
    """
    from paribus.sweeps.offline import find_offline
    from paribus.sweeps.sync import nothing_waits, sync

    offline = find_offline(root, study)
    if offline.waiting:
        document = sync(root, offline, warn, bar("uploading to W&B"))
    else:
        document = nothing_waits(offline)
    if as_json:
        print_json(document)
    else:
        _tell(document)
    context.exit(1 if document["failed"] else 0)


def _tell(document: Mapping[str, Any]) -> None:
    did = [f"{words}: {_count(document[what])}" for what, words in _DID.items() if document[what]]
    if document["unchanged"]:
        did.append(f"there already: {document['unchanged']}")
    if document["gone"]:
        did.append(f"removed, with W&B's file: {document['gone']}")
    if document["server"]:
        say(f"W&B: {document['server']}")
    for line in did or ([] if document["failed"] else ["Nothing was logged to W&B offline."]):
        say(line)
    for failed in document["failed"]:
        what = failed["run"] or failed["study"] or failed["wandb_id"]
        warn(f"failed: {what}: {failed['reason']}")


def _count(items: Sequence[Mapping[str, Any]]) -> str:
    """``12 runs, 1 summary run``"""
    studies = sum(item["run"] is None and item["study"] is not None for item in items)
    runs = len(items) - studies
    counts = {"run": runs, "summary run": studies}
    return ", ".join(f"{n} {what}{'s' if n > 1 else ''}" for what, n in counts.items() if n)


COMMANDS = (sync_command,)
