"""What a tracker is, and the one that does nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told about a run before its first epoch.

    Attributes:
        run: The run's id, such as ``digits-s0-0123456789ab``.
        experiment: The experiment's name.
        study: The study's name; None for a run of its own.
        label: The setting's label, such as ``optimizer.lr=0.0001``; ``baseline`` without a study.
        changed: Name of the changed key; empty for the baseline.
        seed: The run's seed.
        configuration: The resolved configuration: nested, fit for JSON.
        environment: Versions and the like, fit for JSON.
        direction: ``maximize`` or ``minimize``: of the selection metric.
        metric: The selection metric, such as ``val/accuracy``.
    """

    run: str
    experiment: str
    study: str | None
    label: str
    changed: str
    seed: int
    configuration: dict[str, Any]
    environment: dict[str, Any]
    direction: str
    metric: str


@dataclass(frozen=True)
class TrackedStudy:
    """What a tracker is told about a study that has something to compare.

    Attributes:
        study: Its name.
        experiment: The experiment's name.
        baseline: The baseline's configuration: nested, fit for JSON.
        comparison: The `compare` document of all its settings, with ``linter``.
        picture: The plot of effects, as a PNG; None: there is none.
        page: The study's page, an HTML file; None: there is none.
    """

    study: str
    experiment: str
    baseline: dict[str, Any]
    comparison: dict[str, Any]
    picture: bytes | None = None
    page: Path | None = None


class Tracker(Protocol):
    """Follows runs. No call raises or waits for a server, except `close`, which is bounded.

    What is handed over belongs to the tracker: it may be read after the call has returned.
    Runs that were not begun are ignored.
    """

    def begin(self, run: TrackedRun) -> None:
        """A run is about to train, or about to be logged from its record."""

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        """One line of a run's history, as it is written to ``history.jsonl``."""

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        """A run ended and is recorded.

        Args:
            run: The run's id.
            document: The run document, complete or failed, with ``delta``: the setting minus the
                baseline of the same seed; None or left out where that is not known.
            history: All lines of its history, whether logged before or not.
        """

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        """A study is as complete as it will be for now.

        Args:
            study: Called before this returns where the study is followed, and not called where it
                is not; None: nothing of it can be compared.
        """

    def close(self) -> None:
        """No more calls follow. May be called twice."""


class NoTracker:
    """Tracks nothing."""

    def begin(self, run: TrackedRun) -> None:
        pass

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        pass

    def finish(self, run: str, document: dict[str, Any], history: list[dict[str, Any]]) -> None:
        pass

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        pass

    def close(self) -> None:
        pass


# Trackers: views of runs for people who like to watch them. Never the record itself.
#
# A tracker is told what happens to each run. Whatever befalls it, training goes on, the results
# are complete in the root, and the same command logs later what is missing.


def open_tracker(root: Path, *, enabled: bool = True, warn: Callable[[str], None]) -> Tracker:
    """The tracker of one command.

    Args:
        root: Where results live. W&B's files go to its folder ``wandb``.
        enabled: Whether anything is tracked at all; ``WANDB_MODE=disabled`` says no as well.
        warn: Shows one line. Called from another thread, at most once for where the runs go
            and once for all trouble together.

    Returns:
        A tracker whose calls return at once and raise nothing; `close` waits, but not for long.
    """
    if not (enabled and is_wanted()):
        return NoTracker()
    from paribus.sweeps.tracking.background import BackgroundTracker
    from paribus.sweeps.tracking.wandb_tracker import WandbTracker

    return BackgroundTracker(WandbTracker(root.absolute(), warn))


def warm_up(*, enabled: bool) -> None:
    """Imports what the first call of a tracker needs, which takes half a second."""
    if enabled and is_wanted():
        with suppress(Exception):  # the tracker says what is wrong with it
            import wandb  # noqa: F401


def is_wanted() -> bool:
    """Whether W&B is not switched off by its own variable."""
    return os.environ.get("WANDB_MODE", "").strip().lower() != "disabled"
