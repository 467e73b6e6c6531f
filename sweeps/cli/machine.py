"""`doctor`: the machine, the libraries, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from typing import Any

import rich_click as click

from paribus.sweeps.cli.common import json_option, print_json, root_option, say, table
from paribus.sweeps.root import Root

LIBRARIES = (
    "torch",
    "torchvision",
    "torchmetrics",
    "wandb",
    "optuna",
    "click",
    "rich-click",
    "rich",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "scipy",
    "PyYAML",
    "numpy",
)
_WANDB_HOSTS = ("api.forge.coreweave.com", "api.wandb.ai")  # where wandb looks, one after the other
_NO_KEY = "none; runs are logged offline (upload later: paribus sync)"


@click.command("doctor")
@root_option
@json_option
@click.pass_context
def doctor_command(context: click.Context, root: Root, as_json: bool) -> None:
    """Versions, devices, threads, and what is missing."""
    document = examine(root)
    if as_json:
        print_json(document)
    else:
        for part in ("versions", "environment", "machine"):
            table((part, ""), [[k, str(v)] for k, v in document[part].items()])
        for problem in document["problems"]:
            say(f"problem: {problem}")
        say("All is well." if not document["problems"] else "")
    context.exit(1 if document["problems"] else 0)


def examine(root: Root) -> dict[str, Any]:
    """Versions, environment, machine and problems."""
    from paribus.core.cohort.selftest import lanes_keep_their_bits
    from paribus.core.identity import environment
    from paribus.sweeps.workplace import Workplace, cores

    problems: list[str] = []
    versions = {"paribus": importlib.metadata.version("paribus")}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
            problems.append(f"{name} is not installed; run pip install -e .")

    workplace = Workplace("digits", 1)
    try:
        found = workplace.plan(environment)
        lanes = workplace.plan(lanes_keep_their_bits, "cpu")
    finally:
        workplace.close()
    if not found["aligned"]:
        problems.append("matrix products depend on memory alignment here: bits may not repeat")
    if not found["pinned"]:
        problems.append("training processes are not pinned to one thread: bits may not repeat")
    if not lanes:
        problems.append("runs trained together get other bits here: the loop trains each alone")
    place = root.path
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        problems.append(f"the root {root.path} cannot be written; name another with --root")
    import torch

    machine = {
        "cores": cores(),
        "cohorts": "keep each run's bits" if lanes else "are not offered",
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "root": str(root.path),
        "free_space": f"{shutil.disk_usage(place).free / 2**30:.1f} GiB",
        "wandb_key": _wandb_key(),
    }
    return {"versions": versions, "environment": found, "machine": machine, "problems": problems}


def _wandb_key() -> str:
    """Where W&B's key is configured; never the key itself."""
    import netrc
    from urllib.parse import urlparse

    if os.environ.get("WANDB_API_KEY"):
        return "set in WANDB_API_KEY"
    server = os.environ.get("WANDB_BASE_URL")
    hosts = (urlparse(server).netloc,) if server else _WANDB_HOSTS
    try:
        file = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return _NO_KEY
    return next((f"in ~/.netrc for {host}" for host in hosts if file.authenticators(host)), _NO_KEY)


COMMANDS = (doctor_command,)
