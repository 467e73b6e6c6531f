"""The group of commands, and how errors are printed."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import rich_click as click

from paribus.core.errors import ParibusError, RequestError, inert
from paribus.sweeps.cli import (
    catalogue_commands,
    compare_command,
    completion,
    inference_commands,
    reproduce_command,
    result_commands,
    train_commands,
    upkeep_commands,
)
from paribus.sweeps.cli.console import INTERRUPTED, print_json


class _Group(click.RichGroup):
    """The commands; that a single run is trained by `run` is said to who looks for `train`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] in ("train", "fit"):
            raise click.UsageError(
                f"No such command '{args[0]}': paribus run EXPERIMENT trains one run, "
                "paribus sweep EXPERIMENT a study.",
                ctx,
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.command_panel("Begin", commands=["list", "show", "check", "new", "run", "sweep"])
@click.command_panel("Read", commands=["compare", "report", "plot", "studies", "runs", "import"])
@click.command_panel("Use", commands=["finalize", "evaluate", "predict", "export", "reproduce"])
@click.command_panel("Keep", commands=["sync", "remove", "doctor", "completion"])
@click.version_option(package_name="paribus", prog_name="paribus")
def app() -> None:
    """Controlled experiments for PyTorch.

    Changes one hyperparameter at a time, keeps all else provably equal, and says whether the
    change helped. Begin with: paribus sweep digits
    """


for _module in (
    catalogue_commands,
    train_commands,
    reproduce_command,
    compare_command,
    result_commands,
    inference_commands,
    upkeep_commands,
    completion,
):
    for _command in vars(_module).values():
        if isinstance(_command, click.Command):
            app.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0 done; 1 it ran and the answer is no; 2 the request was wrong; 130 interrupted.
    """
    as_json = "--json" in arguments
    try:
        code = app.main(
            list(arguments) or ["--help"],
            prog_name="paribus",
            standalone_mode=False,
            obj=list(arguments),
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ParibusError as error:
        return _print_error(error, as_json)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "paribus"
        message, hint = error.format_message(), f"See: {path} --help"
        parameters = error.ctx.command.params if error.ctx else []
        takes_pairs = any(
            isinstance(p, click.Argument) and p.name == "overrides" for p in parameters
        )
        if takes_pairs and getattr(error, "option_name", "") == "--set":
            message = f"{path} takes KEY=VALUE without --set, which is an option of sweep."
            hint = f"Such as: {path} EXPERIMENT optimizer.lr=0.01"
        return _print_error(RequestError(message, hint, "usage"), as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _print_error(error: ParibusError, as_json: bool) -> int:
    if as_json:
        found = {"kind": error.kind, "message": error.message, "hint": error.hint}
        print_json({"error": found}, indent=None)
    else:
        for fault in error.faults:
            click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(inert(str(fault)), err=True)
    return error.exit_code
