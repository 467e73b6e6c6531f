"""Tells a tracker what happens to runs."""

from __future__ import annotations

from core.run_folder import RunFolder
from core.spec import RunSpec
from sweeps.documents import run_document
from sweeps.drive import Step
from sweeps.root import Root
from sweeps.settings import BASELINE
from sweeps.study import Study
from sweeps.tracking import TrackedRun, Tracker


class Follower:
    """Hands each step of the driver to a tracker.

    Args:
        tracker: Follows the runs.
        root: Where finished runs are.
        study: The study they belong to, if any.
    """

    def __init__(self, tracker: Tracker, root: Root, study: Study | None) -> None:
        self.tracker, self.root, self.study = tracker, root, study
        self._begun: set[str] = set()

    def follow(self, step: Step) -> None:
        """Begins a run at its first step, logs its epochs, finishes it from its record."""
        if step.said:
            return
        run = step.run
        if run.id not in self._begun:
            self._begun.add(run.id)
            self.tracker.begin(self._told(run))
        if step.progress and step.progress.line:
            self.tracker.log(run.id, step.progress.line)
        if step.record:
            folder: RunFolder = self.root.run(run.id)
            document = run_document(folder, step.record, study=self.study, reused=step.reused)
            self.tracker.finish(run.id, document, folder.history())

    def _told(self, run: RunSpec) -> TrackedRun:
        place = self.study.place_of(run.id) if self.study else None
        select = run.configuration["select"]
        return TrackedRun(
            run=run.id,
            experiment=run.experiment,
            study=self.study.name if self.study else None,
            label=place[0].label if place else BASELINE,
            changed=(place[0].key or "") if place else "",
            seed=run.seed,
            configuration=dict(run.configuration),
            environment=dict(run.identity["environment"]),
            direction=select["direction"],
            metric=select["metric"],
        )
