"""Trackers: views of runs for people who like to watch them. Never the record itself.

A tracker is told what happens to each run. Whatever befalls it, training goes on, the results
are complete in the root, and the same command logs later what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from paribus.sweeps.tracking.tracker import NoTracker, TrackedRun, TrackedStudy, Tracker

__all__ = [
    "NoTracker",
    "TrackedRun",
    "TrackedStudy",
    "Tracker",
    "is_wanted",
    "open_tracker",
    "warm_up",
]


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
