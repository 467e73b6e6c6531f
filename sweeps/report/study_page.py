"""The page of a study: the result in a sentence, then what it rests on."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paribus.core.errors import shown
from paribus.sweeps.analysis.compare import study_document
from paribus.sweeps.analysis.verdict_text import meaning
from paribus.sweeps.report.effect_sections import axes_shown, effects_graphic
from paribus.sweeps.report.html import page, write
from paribus.sweeps.report.reproduction_section import reproduction
from paribus.sweeps.report.run_sections import learning_graphics, matrix_graphics
from paribus.sweeps.report.study_table import baseline_configuration, headline, settings_table
from paribus.sweeps.report.view import View
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study


def view_of(study: Study, comparison: Mapping[str, Any] | None = None) -> View:
    """A study as its page looks at it.

    Args:
        study: The study.
        comparison: Its `study_document`, if that is at hand.
    """
    return View(study, comparison or study_document(study), study.results())


def write_page(view: View, file: Path | None = None) -> Path:
    """Writes a study's page, whole or not at all.

    Args:
        view: The study.
        file: Where; None: ``report.html`` in its folder.

    Raises:
        RequestError: If it cannot be written.
    """
    file = file or view.study.folder / "report.html"
    write(file, study_page(view, file))
    return file


def study_page(view: View, file: Path) -> str:
    """The page of a study: the same records give the same bytes.

    Args:
        view: The study.
        file: Where it will lie: its links start there.
    """
    columns, rows = settings_table(view)
    linter = view.comparison["linter"]
    return page(
        "study",
        f"{view.study.name} – paribus",
        name=shown(view.study.name, 200),
        experiment=shown(view.study.experiment, 200),
        question=_question(view),
        metric=shown(view.study.metric, 60),
        headline=headline(view),
        meaning=meaning(view.comparison),
        damaged=list(view.study.outcomes.damaged),
        effects=effects_graphic(view),
        axes=axes_shown(view),
        compared=_compared(view),
        learning=learning_graphics(view),
        matrices=matrix_graphics(view),
        columns=columns,
        rows=rows,
        warnings=[found for found in linter if found["judged"]],
        unknown=[found["rule"] for found in linter if not found["judged"]],
        reproduction=reproduction(view, file),
        configuration=baseline_configuration(view),
    )


def _question(view: View) -> str:
    """The first line of the experiment's file, as a run of the baseline carries it."""
    result = view.by_label.get(BASELINE)
    if result is None or not result.seeds:
        return ""
    record = view.record(BASELINE, result.seeds[0])
    file = view.study.root.run(record.run).experiment_file(record)
    text = ast.get_docstring(ast.parse(file.read_bytes())) if file.is_file() else None
    return shown((text or "").partition("\n")[0], 300)


def _compared(view: View) -> str:
    """Which settings are shown in full."""
    if view.chosen is None:
        return "The baseline; no other setting is complete."
    verdict = view.rows[view.chosen]["verdict"]
    how = f"the best level, {verdict}" if verdict else "the best level, without a verdict"
    return f"The baseline, and {shown(view.chosen, 200)}: {how}."
