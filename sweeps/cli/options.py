"""Options that commands share, and how their values are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from paribus.core.errors import Faults, RequestError, shown
from paribus.sweeps.cli.console import PLAIN
from paribus.sweeps.execution.driver import RunnerOptions
from paribus.sweeps.study.results_dir import ResultsDir

Command = TypeVar("Command", bound=Callable[..., Any])


def _as_root(_context: Any, _parameter: Any, value: str) -> ResultsDir:
    if "\0" in value or not value:
        raise RequestError("--root is no path.", "Name a folder with --root DIR.", "root")
    root = ResultsDir(Path(value))
    root.lend_data_folder()
    return root


def root_option(command: Command) -> Command:
    """``--root DIR``, as a `ResultsDir`."""
    return click.option(
        "--root",
        metavar="DIR",
        envvar="PARIBUS_ROOT",
        default="results",
        show_default=True,
        callback=_as_root,
        help="Where results live.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
    )(command)


def verbose_option(command: Command) -> Command:
    """``--verbose``."""
    return click.option("--verbose", is_flag=True, help="Say all that is known.")(command)


def plain_option(command: Command) -> Command:
    """``--plain``, which `console.is_plain` reads."""

    def keep(context: click.Context, _parameter: Any, plain: bool) -> None:
        context.meta[PLAIN] = plain

    return click.option(
        "--plain",
        is_flag=True,
        expose_value=False,
        callback=keep,
        help="No colours, no symbols, no live table.",
    )(command)


def trust_option(command: Command) -> Command:
    """``--trust``."""
    return click.option(
        "--trust", is_flag=True, help="Import and run whatever the record of a run names."
    )(command)


def training_options(command: Command) -> Command:
    """What `run` and `sweep` share."""
    for option in (
        click.option(
            "--engine",
            default="auto",
            metavar="auto|loop|cohort",
            help="What trains.",
            show_default=True,
        ),
        click.option(
            "--checkpoint-every",
            default="5",
            metavar="S",
            show_default=True,
            help="Seconds between saves of a run's resume state; 0: each epoch.",
        ),
        click.option(
            "--retry-failed", is_flag=True, help="Train again what failed by itself before."
        ),
        click.option(
            "--loader-workers",
            default="0",
            metavar="N",
            show_default=True,
            help="Processes of each trainer that read files and augment ahead.",
        ),
        click.option("--no-wandb", is_flag=True, help="Track nothing in Weights & Biases."),
        plain_option,
    ):
        command = option(command)
    return command


def read_runner_options(
    checkpoint_every: str, run_timeout: str | None, retry_failed: bool, loader_workers: str
) -> RunnerOptions:
    """``--checkpoint-every``, ``--run-timeout``, ``--retry-failed`` and ``--loader-workers``.

    Raises:
        RequestError: If one is no number of seconds, or of processes.
    """
    faults, every, timeout, loaders = Faults(), 0.0, None, 0
    with faults.collecting():
        every = _seconds("--checkpoint-every", checkpoint_every, "Such as 5; 0: after each epoch.")
    with faults.collecting():
        if run_timeout is not None:
            timeout = _seconds("--run-timeout", run_timeout, "Such as 600; or leave it out.", 1.0)
    with faults.collecting():
        if loader_workers != "0":
            loaders = _processes("--loader-workers", loader_workers, "0 for none.")
    faults.check()
    return RunnerOptions(every, timeout, retry_failed, loaders)


def _seconds(option: str, text: str, hint: str, least: float = 0.0) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < least:
        raise RequestError(
            f"{option} {shown(text, 40)}: must be a number of seconds, {least:.0f} or more.",
            hint,
            "bad-value",
        )
    return seconds


def read_seed(text: str) -> int:
    """``--seed``.

    Raises:
        RequestError: If it is no whole number, or negative.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(
            f"--seed {shown(text, 40)}: must be a whole number from 0 to 999999999.",
            "Such as --seed 42.",
            "seeds",
        )
    return int(text)


def read_workers(text: str | None) -> int | None:
    """``--workers``; None: the machine's cores.

    Raises:
        RequestError: If it is no whole number from 1 on.
    """
    return None if text is None else _processes("--workers", text, "Leave it out for all cores.")


def _processes(option: str, text: str, hint: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1024 and len(text) < 9):
        message = f"{option} {shown(text, 40)}: must be a whole number from 1 to 1024."
        raise RequestError(message, hint, "workers")
    return int(text)
