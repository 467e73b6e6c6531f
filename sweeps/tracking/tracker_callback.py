"""Tells a tracker what happens to runs, and what has happened to those that are recorded."""

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
    """Hands each step of the driver to a tracker.

    The end of a setting's run is held back until the baseline's run of its seed has ended, so that
    it is known by how much the two differ.

    Args:
        tracker: Follows the runs.
        root: Where finished runs are.
        study: The study they belong to, if any; it has taken in the record of each step.
        runs: What is driven.
    """

    def __init__(
        self, tracker: Tracker, root: ResultsDir, study: Study | None, runs: Sequence[RunSpec]
    ) -> None:
        self.tracker, self.root, self.study = tracker, root, study
        self._begun: set[str] = set()
        self._held: list[tuple[RunEvent, str | None]] = []  # with the run that each waits for
        self._driven = {run.id for run in runs}
        self._ended: set[str] = set()

    def follow(self, step: RunEvent) -> None:
        """Begins a run at its first step, logs its epochs, finishes it from its record."""
        if step.said:
            return
        run = step.run
        if run.id not in self._begun:
            self._begun.add(run.id)
            self.tracker.begin(_as_planned(run, self.study))
        if step.progress and step.progress.line:
            self.tracker.log(run.id, step.progress.line)
        if step.record:
            self._held.append((step, self._waits_for(run)))
        if step.record or (step.progress and step.progress.ended):
            self._ended.add(run.id)
            self._release()

    def close(self) -> None:
        """Finishes what was held back for a baseline that has not ended."""
        self._driven.clear()
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for step, other in held:
            if other in self._driven and other not in self._ended:
                self._held.append((step, other))
            elif step.record:
                folder = self.root.run(step.run.id)
                _finish(self.tracker, folder, step.record, self.study, step.reused)

    def _waits_for(self, run: RunSpec) -> str | None:
        """The baseline's run of the same seed."""
        place = self.study.place_of(run.id) if self.study else None
        return self.study.baseline_of(place[1]) if self.study and place else None


def hand_over(tracker: Tracker, folder: RunFolder, record: RunRecord, study: Study | None) -> None:
    """Tells a tracker of a run from its record."""
    tracker.begin(as_recorded(folder.id, record, study))
    _finish(tracker, folder, record, study, reused=True)


def as_recorded(run: str, record: RunRecord, study: Study | None) -> TrackedRun:
    """What a tracker is told of a finished run."""
    environment = record.identity["environment"]
    configuration, seed = record.configuration, record.seed
    return _tracked(run, record.experiment, seed, configuration, environment, study)


def tracked_document(
    folder: RunFolder, record: RunRecord, study: Study | None, *, reused: bool = True
) -> dict[str, Any]:
    """The run document with ``delta``."""
    document = run_document(folder, record, study=study, reused=reused)
    return document | {"delta": study.delta_of(folder.id) if study else None}


def _finish(
    tracker: Tracker,
    folder: RunFolder,
    record: RunRecord,
    study: Study | None,
    reused: bool,
) -> None:
    document = tracked_document(folder, record, study, reused=reused)
    tracker.finish(folder.id, document, [epoch.to_json() for epoch in folder.history()])


def _as_planned(run: RunSpec, study: Study | None) -> TrackedRun:
    environment = run.identity["environment"]
    return _tracked(run.id, run.experiment, run.seed, run.configuration, environment, study)


def _tracked(
    run: str,
    experiment: str,
    seed: int,
    configuration: Mapping[str, Any],
    environment: Mapping[str, Any],
    study: Study | None,
) -> TrackedRun:
    place = study.place_of(run) if study else None
    select = configuration["select"]
    return TrackedRun(
        run=run,
        experiment=experiment,
        study=study.name if study else None,
        label=place[0].label if place else BASELINE,
        changed=(place[0].key or "") if place else "",
        seed=seed,
        configuration=dict(configuration),
        environment=dict(environment),
        direction=select["direction"],
        metric=select["metric"],
    )


# What a study comes to: its page, and what a tracker is told of it.


def import_page() -> None:
    """Imports what drawing needs, which takes half a second."""
    import paribus.sweeps.report.study_report  # noqa: F401


def conclude(study: Study, tracker: Tracker) -> Path | None:
    """Writes a study's page, and tells a tracker how the study stands.

    Returns:
        The page; None where no run is finished.

    Raises:
        RequestError: If the page cannot be written. The tracker was told.
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
    """A study as it stands now, its page written anew; None where nothing can be compared yet."""
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
        comparison=dict(view.comparison),
        picture=rendered(figure_of_panel(effects.panel), "png") if effects else None,
        page=page,
    )


def _is_comparable(view: StudyView) -> bool:
    return any(setting["delta"] is not None for setting in view.comparison["settings"])
