"""Training watched: a live bar on a terminal, a tracker, and a line for each run that stops."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Any, Protocol

from core.spec import RunSpec
from sweeps.drive import USUAL, Rules, Step
from sweeps.root import Root
from sweeps.tracking import Tracker, open_tracker


class Training(Protocol):
    """What was planned and can be trained: a sweep, or a single run."""

    root: Root

    def distinct_runs(self) -> list[RunSpec]:
        """Its runs as far as they are planned, each once."""

    def most_runs(self) -> int:
        """How many there are at most, with those that are planned later."""

    def train(self, tracker: Tracker, rules: Rules, *, stop: Callable[[], bool]) -> Iterator[Step]:
        """Trains what is not finished yet."""


def train_watched(
    training: Training,
    *,
    warn: Callable[[str], None],
    wandb: bool = True,
    rules: Rules = USUAL,
    stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
) -> None:
    """Trains what was planned, telling a terminal and W&B how it goes.

    Args:
        training: What was planned.
        warn: Shows a line.
        wandb: Whether W&B follows.
        rules: How runs are looked after.
        stop: Asked between epochs; true makes a clean stop.
        quiet: Show no bar.
    """
    tracker = open_tracker(training.root.path, enabled=wandb, warn=warn)
    with Display(training, quiet=quiet) as display, closing(tracker):
        for step in training.train(tracker, rules, stop=stop):
            if step.said:
                warn(step.said)
                continue
            display.show(step)
            if step.progress and step.progress.ended == "attempt":
                warn(f"{step.run.id} stopped: {step.progress.reason}")


class Display:
    """Runs done of planned, the best so far, the time left; on standard error.

    Args:
        training: What is planned; all of it is selected by the same metric.
        quiet: Show nothing. So it is too where standard error is no terminal.
    """

    def __init__(self, training: Training, *, quiet: bool = False) -> None:
        self._training = training
        select = training.distinct_runs()[0].configuration["select"]
        self.metric, self.direction = select["metric"], select["direction"]
        self.done = 0
        self._count()
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
            self._task = self._bar.add_task(
                "", total=self.epochs or None, runs=self._runs(), best=""
            )
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
        if run.id not in self._planned:  # a later round's
            self._count()
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
                total=self.epochs or None,
                runs=self._runs(),
                best=f"best {self.metric} {self.best:.4g}" if self.best is not None else "",
            )

    def _count(self) -> None:
        """Takes in what is planned by now; runs of later rounds are taken to be as long."""
        runs = self._training.distinct_runs()
        self._planned = {run.id for run in runs}
        self.total = self._training.most_runs()
        epochs = sum(int(run.facts["epochs"]) for run in runs)
        self.epochs = round(epochs * self.total / len(runs))

    def _compare(self, value: float | None) -> None:
        better = max if self.direction == "maximize" else min
        if value is not None:
            self.best = value if self.best is None else better(self.best, value)

    def _runs(self) -> str:
        return f"{self.done}/{self.total} runs"
