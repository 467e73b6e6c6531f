"""The live display of a running command; nothing where the output is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from core.spec import RunSpec
from sweeps.cli.common import number
from sweeps.drive import Step


class Display:
    """Runs done of planned, the best so far, the time left; on standard error.

    Args:
        runs: What is planned.
        metric: The selection metric.
        direction: Which way of it is better.
        quiet: Show nothing.
    """

    def __init__(
        self, runs: list[RunSpec], metric: str, direction: str, *, quiet: bool = False
    ) -> None:
        self.metric, self.direction = metric, direction
        self.epochs = sum(int(run.facts["epochs"]) for run in runs)
        self.total, self.done = len(runs), 0
        self.best: float | None = None
        self.ahead: dict[str, int] = {}
        self._bar: Any = None
        self._task: Any = None
        self._quiet = quiet or not sys.stderr.isatty()

    def __enter__(self) -> Display:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.fields[runs]}"),
                BarColumn(),
                TextColumn("{task.fields[best]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.epochs, runs=self._runs(), best="")
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: Step) -> None:
        """Moves the bar by a step of the driver."""
        run, epochs = step.run, int(step.run.facts["epochs"])
        if step.progress and step.progress.line:
            self.ahead[run.id] = step.progress.line["epoch"]
            self._compare(step.progress.line["metrics"].get(self.metric))
        if step.record or (step.progress and step.progress.ended):
            self.done += 1
            self.ahead[run.id] = epochs
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=sum(self.ahead.values()),
                runs=self._runs(),
                best=f"best {self.metric} {number(self.best)}" if self.best is not None else "",
            )

    def _compare(self, value: float | None) -> None:
        better = max if self.direction == "maximize" else min
        if value is not None:
            self.best = value if self.best is None else better(self.best, value)

    def _runs(self) -> str:
        return f"{self.done}/{self.total} runs"
