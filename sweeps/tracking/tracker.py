"""What a tracker is, and the one that does nothing."""

from __future__ import annotations

from collections.abc import Callable
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
