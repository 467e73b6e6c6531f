"""What a study comes to: its page, and what a tracker is told of it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paribus.core.errors import ParibusError
from paribus.sweeps.study import Study
from paribus.sweeps.tracking import TrackedStudy, Tracker

if TYPE_CHECKING:
    from paribus.sweeps.report.view import View


def warm_up() -> None:
    """Imports what drawing needs, which takes half a second."""
    import paribus.sweeps.report.study_page  # noqa: F401


def conclude(study: Study, tracker: Tracker) -> Path | None:
    """Writes a study's page, and tells a tracker how the study stands.

    Returns:
        The page; None where no run is finished.

    Raises:
        RequestError: If the page cannot be written. The tracker was told.
    """
    from paribus.sweeps.report.study_page import view_of, write_page

    view, page = view_of(study), None
    try:
        if any(result.runs for result in view.results):
            page = write_page(view)
    finally:
        tracker.conclude(partial(_tracked, view, page))
    return page


def tracked_study(study: Study) -> TrackedStudy | None:
    """A study as it stands now, its page written anew; None where nothing can be compared yet."""
    from paribus.sweeps.report.study_page import view_of, write_page

    view, page = view_of(study), None
    if _is_comparable(view):
        with suppress(ParibusError):  # a page that cannot be written is none to upload
            page = write_page(view)
    return _tracked(view, page)


def _tracked(view: View, page: Path | None) -> TrackedStudy | None:
    from paribus.sweeps.plots.figure import figure_of_panel, rendered
    from paribus.sweeps.report.effects import effects_panel_of

    if not _is_comparable(view):
        return None
    panel = effects_panel_of(view)
    return TrackedStudy(
        study=view.study.name,
        experiment=view.study.experiment,
        baseline=view.study.asked["baseline"],
        comparison=dict(view.comparison),
        picture=rendered(figure_of_panel(panel), "png") if panel else None,
        page=page,
    )


def _is_comparable(view: View) -> bool:
    return any(setting["delta"] is not None for setting in view.comparison["settings"])
