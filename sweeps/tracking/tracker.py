"""Trackers: what is called while runs train, who calls it, which ones are chosen.

To add another tool (MLflow, Aim), write a subclass of `Tracker` in a module beside
`tensorboard.py`, and name it in `TRACKERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from paribus.core.errors import Faults, ParibusError, one_of, shown
from paribus.core.records.record import Epoch, RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec
from paribus.sweeps.analysis.compare import Comparison
from paribus.sweeps.formatting import without_credentials
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

if TYPE_CHECKING:
    from paribus.sweeps.execution.driver import RunEvent
    from paribus.sweeps.report.study_plots import StudyView

# Name of a tracker, which is also that of its library and its extra, to its module and class.
TRACKERS = {
    "wandb": ("wandb_sync", "WandbTracker"),
    "tensorboard": ("tensorboard", "TensorBoardTracker"),
}


@dataclass(frozen=True)
class TrackedRun:
    """What is known of a run before its first epoch.

    Attributes:
        run: Its id, such as ``digits-s0-0123456789ab``.
        study: The study's name; None for a run of its own.
        label: The setting's, such as ``optimizer.lr=0.0001``; ``baseline`` without a study.
        changed: Name of the changed key; empty for the baseline.
        configuration: The resolved one: nested, fit for JSON.
        environment: Versions and the like, fit for JSON.
    """

    run: str
    experiment: str
    study: str | None
    label: str
    changed: str
    seed: int
    configuration: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True)
class TrackedStudy:
    """A study that has something to compare.

    Attributes:
        study: Its name.
        baseline: The baseline's configuration: nested, fit for JSON.
        comparison: All its settings compared, with the linter's warnings.
        picture: The plot of effects, as a PNG, if there is one.
        page: The study's page, an HTML file, if there is one.
    """

    study: str
    experiment: str
    baseline: dict[str, Any]
    comparison: Comparison
    picture: bytes | None = None
    page: Path | None = None


class Tracker:
    """Follows the runs of one command; this one does nothing with them.

    `TrackerCallback` makes these calls for a sweep. Each run gets `begin`, then `log` for each
    epoch as it ends, then `finish` once it is recorded; a reused run gets `begin` and `finish`
    only. The calls of different runs interleave; a call may be repeated; `log` and `finish` of a
    run that was not begun do nothing; calls after `close` do nothing. The same command given again
    makes the same calls: a tracker must not write twice.

    No call raises an exception or waits for a server, except `close`, which waits a bounded time:
    whatever a tracker does slowly it does on a thread of its own, as `WandbTracker` does. The
    record is the truth, so a tracker that fails only warns. It must not change what it is given,
    and may read it after the call has returned. It is made as `open_tracker` does it.
    """

    def begin(self, run: TrackedRun) -> None:
        """Announce a run that is about to train, or to be logged from its record."""

    def log(self, run: str, epoch: dict[str, Any]) -> None:
        """Log one epoch of a run: a line of ``history.jsonl``."""

    def finish(
        self, run: str, record: RunRecord, history: list[Epoch], delta: float | None = None
    ) -> None:
        """Log the result of a run that is recorded.

        Args:
            run: The run's id.
            record: Its record, complete or failed.
            history: All its epochs, whether logged before or not.
            delta: The setting minus the baseline of the same seed; None where it is not known.
        """

    def conclude(self, study: Callable[[], TrackedStudy | None]) -> None:
        """Log a study's comparison, after its last run.

        Args:
            study: Called before this returns, or never by a tracker that has no use for it; returns
                None where nothing can be compared yet.
        """

    def close(self) -> None:
        """End the tracker. May be called twice."""


class Several(Tracker):
    """Makes each call to several trackers, one after the other."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        for call in ("begin", "log", "finish", "conclude", "close"):
            setattr(self, call, partial(_each, [getattr(one, call) for one in trackers]))


def _each(calls: Sequence[Callable[..., None]], *given: Any) -> None:
    for call in calls:
        call(*given)


def read_trackers(given: str, faults: Faults, *, wandb: bool = True) -> tuple[str, ...]:
    """Return the names in ``wandb,tensorboard``; ``none`` names none of them.

    Args:
        given: As it was typed.
        faults: Takes what is unknown, and what would fail once there are runs.
        wandb: Whether W&B may be one of them. ``WANDB_MODE=disabled`` switches it off too.
    """
    names = [*dict.fromkeys(name.strip() for name in given.split(","))]
    if not (wandb and is_wanted()) and "wandb" in names:
        names.remove("wandb")
    for name in names:
        if name in TRACKERS:
            try:
                _tracker_class(name)
            except ImportError as error:
                faults.add(f"--track {name}: {shown(error, 200)}.",
                           f"Give: pip install 'paribus[{name}]'")  # fmt: skip
        elif name != "none":
            faults.add(
                f"There is no tracker '{shown(name, 40)}'.",
                f"Choose {one_of([*TRACKERS, 'none'])}; several with commas between.",
            )
    with faults.collecting():
        check_variables(enabled="wandb" in names)
    return tuple(name for name in names if name in TRACKERS)


def open_tracker(
    root: Path, names: Sequence[str] = ("wandb",), *, warn: Callable[[str], None]
) -> Tracker:
    """Return the tracker of one command.

    Args:
        root: Where results live. Each tracker's files go to its folder, such as ``wandb``.
        names: Of the trackers in it.
        warn: Shows one line. Called from another thread, and by each tracker at most once for
            where the runs go and once for all failures together.
    """
    opened = [_tracker_class(name)(root.absolute(), warn) for name in names]
    return Several(opened) if len(opened) > 1 else (opened or [Tracker()])[0]


def _tracker_class(name: str) -> Any:
    module, called = TRACKERS[name]
    return getattr(import_module(f"paribus.sweeps.tracking.{module}"), called)


def is_wanted() -> bool:
    """Return whether W&B is not switched off by its own variable."""
    return os.environ.get("WANDB_MODE", "").strip().lower() != "disabled"


def check_variables(*, enabled: bool = True) -> None:
    """Refuse values of W&B's variables that wandb would, before anything is trained.

    Raises:
        RequestError: With all of them, and what each may be.
    """
    usual = {("WANDB_MODE", "online"), ("WANDB_MODE", "offline")}  # wandb's import takes a second
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("WANDB_") and name != "WANDB_API_KEY" and (name, value) not in usual
    }
    if not (enabled and is_wanted() and given):
        return
    from wandb import Settings
    from wandb.errors import UsageError

    faults = Faults()
    for name, value in given.items():
        try:
            Settings().update_from_env_vars({name: value})
        except (ValidationError, UsageError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            faults.add(f"{name}={shown(without_credentials(value), 40)}: {shown(why, 200)}.",
                       "Correct or unset it, or give --no-wandb.")  # fmt: skip
    faults.check()


def warm_up(names: Sequence[str]) -> None:
    """Import what drawing a page and the first call of a tracker need: a second altogether."""
    import paribus.sweeps.report.study_report  # noqa: F401

    for name in names:
        with suppress(Exception):  # the tracker reports what is wrong with it
            import_module(name)


class TrackerCallback:
    """Calls a tracker for each event of the driver.

    The end of a setting's run is kept back until the baseline's run of its seed has ended, so that
    the difference of the two is known.

    Args:
        tracker: Follows the runs.
        root: Where finished runs are.
        study: The study they belong to, if any; it has taken in the record of each event.
        runs: What is driven.
    """

    def __init__(
        self, tracker: Tracker, root: ResultsDir, study: Study | None, runs: Sequence[RunSpec]
    ) -> None:
        self.tracker, self.root, self.study = tracker, root, study
        self._begun: set[str] = set()
        self._held: list[tuple[RunEvent, str | None]] = []  # with the run that each waits for
        self._unfinished = {run.id for run in runs}

    def on_event(self, event: RunEvent) -> None:
        """Begin a run at its first event, log its epochs, finish it from its record."""
        if event.message:
            return
        run, progress = event.run, event.progress
        if run.id not in self._begun:
            self._begun.add(run.id)
            self.tracker.begin(_tracked_run(run.id, run, self.study))
        if progress and progress.line:
            self.tracker.log(run.id, progress.line)
        if event.record:
            baseline = None
            if self.study and (place := self.study.place_of(run.id)):
                baseline = self.study.baseline_of(place[1])
            self._held.append((event, baseline))
        if event.record or (progress and progress.ended):
            self._unfinished.discard(run.id)
            self._release()

    def close(self) -> None:
        """Finish what was kept back for a baseline that has not ended."""
        self._unfinished.clear()
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event, baseline in held:
            if baseline in self._unfinished:
                self._held.append((event, baseline))
            elif event.record:
                folder = self.root.run(event.run.id)
                recorded = recorded_run(folder, event.record, self.study)
                self.tracker.finish(event.run.id, *recorded[1:])


def recorded_run(
    folder: RunFolder, record: RunRecord, study: Study | None
) -> tuple[TrackedRun, RunRecord, list[Epoch], float | None]:
    """Return a finished run as a tracker takes it, with its record, its history and its delta."""
    delta = study.delta_of(folder.id) if study else None
    return _tracked_run(folder.id, record, study), record, folder.history(), delta


def _tracked_run(run: str, known: RunSpec | RunRecord, study: Study | None) -> TrackedRun:
    place = study.place_of(run) if study else None
    return TrackedRun(
        run=run,
        experiment=known.experiment,
        study=study.name if study else None,
        label=place[0].label if place else BASELINE,
        changed=(place[0].key or "") if place else "",
        seed=known.seed,
        configuration=dict(known.configuration),
        environment=dict(known.identity["environment"]),
    )


def conclude(study: Study, tracker: Tracker) -> Path | None:
    """Write a study's page, and log its comparison with a tracker.

    Returns:
        The page; None where no run is finished.

    Raises:
        RequestError: If the page cannot be written. The tracker was called.
    """
    from paribus.sweeps.report.study_plots import StudyView
    from paribus.sweeps.report.study_report import write_study_page

    view, page = StudyView(study), None
    try:
        if any(result.runs for result in view.results):
            page = write_study_page(view)
    finally:
        tracker.conclude(partial(_tracked_study, view, page))
    return page


def tracked_study(study: Study) -> TrackedStudy | None:
    """Return a study as it is now, its page written anew; None if nothing can be compared yet."""
    from paribus.sweeps.report.study_plots import StudyView
    from paribus.sweeps.report.study_report import write_study_page

    view, page = StudyView(study), None
    with suppress(ParibusError):  # a page that cannot be written is none to upload
        page = write_study_page(view)
    return _tracked_study(view, page)


def _tracked_study(view: StudyView, page: Path | None) -> TrackedStudy | None:
    from paribus.sweeps.report.figure import figure_of_panel, rendered
    from paribus.sweeps.report.study_plots import effects_plot

    if all(setting.delta is None for setting in view.comparison.settings):
        return None
    effects = effects_plot(view.comparison, view.looks, view.seeds())
    return TrackedStudy(
        study=view.study.name,
        experiment=view.study.experiment,
        baseline=view.study.requested.baseline,
        comparison=view.comparison,
        picture=rendered(figure_of_panel(effects.panel), "png") if effects else None,
        page=page,
    )
