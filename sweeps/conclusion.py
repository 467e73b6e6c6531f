"""What a study comes to, as a tracker is told of it."""

from __future__ import annotations

from sweeps.documents import compare_document
from sweeps.study import Study
from sweeps.tracking import TrackedStudy


def tracked_study(study: Study) -> TrackedStudy | None:
    """A study as it stands now; None where nothing of it can be compared yet."""
    from sweeps.linter.lint import linter_document  # at a sweep's end: its start waits for no view

    comparison = compare_document(study, study.results())
    if all(setting["delta"] is None for setting in comparison["settings"]):
        return None
    return TrackedStudy(
        study=study.name,
        experiment=study.experiment,
        baseline=study.asked["baseline"],
        comparison=comparison | {"linter": linter_document(study)},
    )
