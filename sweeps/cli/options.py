"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from paribus.core.errors import Faults, RequestError
from paribus.sweeps.cli.completion import complete_experiment, complete_key
from paribus.sweeps.cli.console import PLAIN
from paribus.sweeps.study.request import OPTIONS, read_option
from paribus.sweeps.study.results_dir import ResultsDir

Command = TypeVar("Command", bound=Callable[..., Any])


def _as_root(_context: Any, _parameter: Any, value: str) -> ResultsDir:
    if "\0" in value or not value:
        raise RequestError("--root is no path.", "Name a folder with --root DIR.", "root")
    root = ResultsDir(Path(value))
    root.share_data_folder()
    return root


def _keep_plain(context: click.Context, _parameter: Any, plain: bool) -> None:
    context.meta[PLAIN] = plain  # which `console.is_plain` reads


experiment_argument = click.argument("experiment", shell_complete=complete_experiment)
overrides_argument = click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=complete_key
)
root_option = click.option(
    "--root", metavar="DIR", envvar="PARIBUS_ROOT", show_envvar=True, default="results",
    show_default=True, callback=_as_root, help="Where results live.",
)  # fmt: skip
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)
verbose_option = click.option("--verbose", is_flag=True, help="Print everything that is known.")
plain_option = click.option(
    "--plain", is_flag=True, expose_value=False, callback=_keep_plain,
    help="No colours, no symbols, no live table; NO_COLOR: no colours.",
)  # fmt: skip
trust_option = click.option(
    "--trust", is_flag=True, help="Import and run any code that the record of a run names."
)


def run_options(command: Command) -> Command:
    """``--trust``, ``--root`` and ``--json``, of commands on runs."""
    return trust_option(root_option(json_option(command)))


_FAULTS = "paribus.faults"  # of a command's options, in its context


def faults_of(context: click.Context) -> Faults:
    """Return the faults of a command's options, to be reported with those of its request."""
    found: Faults = context.meta.setdefault(_FAULTS, Faults())
    return found


class _CheckedOption(click.RichOption):
    """An option of `OPTIONS`, whose faults are collected with those of the others."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        return read_option(self.opts[0][2:], value, faults_of(ctx))


def checked_option(name: str, **attributes: Any) -> Callable[[Command], Command]:
    """``--name``, of a type in `OPTIONS`."""
    return click.option(f"--{name}", type=OPTIONS[name][0], cls=_CheckedOption, **attributes)


def training_options(command: Command) -> Command:
    """Add what `run` and `sweep` share."""
    for option in (
        click.option(
            "--engine", default="auto", metavar="auto|loop|cohort", show_default=True,
            help="What trains.",
        ),
        checked_option(
            "checkpoint-every", default="5", metavar="S", show_default=True,
            help="Seconds between saves of a run's resume state; 0: each epoch.",
        ),
        click.option(
            "--retry-failed", is_flag=True, help="Train again the runs that failed before."
        ),
        checked_option(
            "loader-workers", default="0", metavar="N", show_default=True,
            help="Processes of each worker that read files and augment ahead.",
        ),
        click.option(
            "--no-wandb", is_flag=True,
            help="Log nothing to Weights & Biases; so does WANDB_MODE=disabled. WANDB_API_KEY, "
            "WANDB_PROJECT and WANDB_BASE_URL say where it is logged.",
        ),
        plain_option,
    ):  # fmt: skip
        command = option(command)
    return command
