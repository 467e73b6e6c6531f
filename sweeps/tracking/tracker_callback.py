"""Calls a tracker for each event of a sweep, and for runs and studies that are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.errors import ParibusError
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.core.run_spec import RunSpec
from paribus.sweeps.analysis.compare import run_document
from paribus.sweeps.execution.driver import RunEvent
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import TrackedRun, TrackedStudy, Tracker

if TYPE_CHECKING:
    from paribus.sweeps.report.study_plots import StudyView


class TrackerCallback:
    """Calls a tracker for each event of the driver.

    The end of a setting's run is held back until the baseline's run of its seed has ended, so that
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
        if event.said:
            return
        run, progress = event.run, event.progress
        if run.id not in self._begun:
            self._begun.add(run.id)
            environment = run.identity["environment"]
            self.tracker.begin(
                _tracked_run(
                    run.id, run.experiment, run.seed, run.configuration, environment, self.study
                )
            )
        if progress and progress.line:
            self.tracker.log(run.id, progress.line)
        if event.record:
            place = self.study.place_of(run.id) if self.study else None
            baseline = self.study.baseline_of(place[1]) if self.study and place else None
            self._held.append((event, baseline))
        if event.record or (progress and progress.ended):
            self._unfinished.discard(run.id)
            self._release()

    def close(self) -> None:
        """Finish what was held back for a baseline that has not ended."""
        self._unfinished.clear()
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event, baseline in held:
            if baseline in self._unfinished:
                self._held.append((event, baseline))
            elif event.record:
                folder = self.root.run(event.run.id)
                _, document, history = recorded_run(
                    folder, event.record, self.study, reused=event.reused
                )
                self.tracker.finish(event.run.id, document, history)


def recorded_run(
    folder: RunFolder, record: RunRecord, study: Study | None, *, reused: bool = True
) -> tuple[TrackedRun, dict[str, Any], list[dict[str, Any]]]:
    """Return a finished run as a tracker takes it, with its document and its history."""
    run = _tracked_run(
        folder.id,
        record.experiment,
        record.seed,
        record.configuration,
        record.identity["environment"],
        study,
    )
    document = run_document(folder, record, study=study, reused=reused)
    delta = study.delta_of(folder.id) if study else None
    history = [epoch.to_json() for epoch in folder.history()]
    return run, document | {"delta": delta}, history


def _tracked_run(
    run: str,
    experiment: str,
    seed: int,
    configuration: Mapping[str, Any],
    environment: Mapping[str, Any],
    study: Study | None,
) -> TrackedRun:
    place = study.place_of(run) if study else None
    return TrackedRun(
        run=run,
        experiment=experiment,
        study=study.name if study else None,
        label=place[0].label if place else BASELINE,
        changed=(place[0].key or "") if place else "",
        seed=seed,
        configuration=dict(configuration),
        environment=dict(environment),
    )


# A study's comparison: its page, and what a tracker gets of it.


def import_page() -> None:
    """Import what drawing needs, which takes half a second."""
    import paribus.sweeps.report.study_report  # noqa: F401


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
    if _is_comparable(view):
        with suppress(ParibusError):  # a page that cannot be written is none to upload
            page = write_study_page(view)
    return _tracked_study(view, page)


def _tracked_study(view: StudyView, page: Path | None) -> TrackedStudy | None:
    from paribus.sweeps.report.figure import figure_of_panel, rendered
    from paribus.sweeps.report.study_plots import effects_plot

    if not _is_comparable(view):
        return None
    effects = effects_plot(view)
    return TrackedStudy(
        study=view.study.name,
        experiment=view.study.experiment,
        baseline=view.study.asked["baseline"],
        comparison=view.comparison.to_json(),
        picture=rendered(figure_of_panel(effects.panel), "png") if effects else None,
        page=page,
    )


def _is_comparable(view: StudyView) -> bool:
    return any(setting.delta is not None for setting in view.comparison.settings)
