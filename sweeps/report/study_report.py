"""A study's page: the answer in a sentence, then the evidence for it."""

import ast
import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paribus.core.errors import RequestError, many, shown
from paribus.core.records.record import RunRecord
from paribus.sweeps.analysis import verdict_text as words
from paribus.sweeps.analysis.imported_results import ResultsComparison
from paribus.sweeps.analysis.linter.evidence import asked
from paribus.sweeps.analysis.power_analysis import analyse_power
from paribus.sweeps.formatting import number, signed, without_credentials
from paribus.sweeps.report.figure import Table, line_look
from paribus.sweeps.report.page import write_page
from paribus.sweeps.report.run_report import shared_facts, shown_configuration
from paribus.sweeps.report.study_plots import (
    StudyView,
    effects_plot,
    learning_plots,
    matrix_plots,
    response_plot,
)
from paribus.sweeps.study.lookup import start_of, study_command
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

_DASHES = {"-": "none", "--": "5 3", ":": "2 2", "-.": "6 2 2 2"}  # matplotlib's, as SVG has them


def write_study_page(view: StudyView, file: Path | None = None) -> Path:
    """Write a study's page, ``report.html`` in its folder if no file is named.

    It is written whole or not at all, and equal records give equal bytes.

    Raises:
        RequestError: If no run is finished, or it cannot be written.
    """
    if not any(result.runs for result in view.results):
        raise RequestError(
            f"The study {view.study.name} has no finished run to show.",
            f"Run its sweep again, which continues it; see: paribus runs {view.study.name}",
        )
    study, comparison = view.study, view.comparison
    file = file or study.folder / "report.html"
    seeds = view.by_label[BASELINE].seeds if BASELINE in view.by_label else ()
    baseline = view.record(BASELINE, seeds[0]) if seeds else None
    runs = [
        (result.label, seed, record, _link(study.root.run(run).folder.absolute(), file))
        for result in view.results
        for seed, run in sorted(result.setting.runs.items())
        if run in result.runs and (record := study.outcomes.record(run))
    ]
    start = start_of(study)
    needs_root = start != study.experiment
    write_page(
        file,
        "study",
        study.name,
        is_reproducible=baseline is not None,
        question=_question(view, baseline),
        headline=headline(view),
        meaning=words.meaning(comparison),
        effects=effects_plot(comparison, view.looks, view.seeds()),
        power=_power(view),
        axes=_axes(view),
        learning=learning_plots(view),
        matrices=matrix_plots(view),
        words=words,
        view=view,
        dashes=_DASHES,
        warnings=[
            (found, *found.sentence.partition(": paribus "))  # what is behind is a command
            for found in comparison.linter or ()
            if found.judged
        ],
        unknown=[found.rule for found in comparison.linter or () if not found.judged],
        sweep=_sweep_command(study, start) if baseline or not needs_root else None,
        needs_root=needs_root,
        configuration=shown_configuration(
            baseline.configuration if baseline else study.requested.baseline
        ),
        environment=shared_facts([record for _, _, record, _ in runs]),
        runs=runs,
    )
    return file


def write_results_page(comparison: ResultsComparison, file: Path) -> None:
    """Write the page of another tool's results: no records, so no curves and no reruns."""
    looks = {setting.label: line_look(n) for n, setting in enumerate(comparison.settings)}
    seeds = many(max(len(setting.seeds) for setting in comparison.settings), "seed")
    columns, *rows = words.paper_table(comparison)
    write_page(
        file,
        "results",
        Path(comparison.results).name,
        comparison=comparison,
        headline=words.answer(comparison),
        meaning=words.meaning(comparison),
        effects=effects_plot(comparison, looks, seeds),
        settings=Table(columns, rows),
    )


def headline(view: StudyView) -> str:
    """Return what was tried, the answer, and the best setting's effect where it is undecided."""
    levels, chosen = len(view.comparison.settings) - 1, view.chosen
    text = (
        f"{many(levels, 'change')} to {shown(view.study.experiment)}, one at a time on "
        f"{many(len(view.study.requested.axes), 'hyperparameter')}. "
        f"{words.answer(view.comparison)}"
    )
    if chosen is None or chosen.delta is None or chosen.verdict != "undecided":
        return text
    if view.comparison.metric.sign * chosen.delta <= 0:
        return text
    return (
        f"{text} {shown(chosen.label)} has the best difference in {view.study.metric}, "
        f"{signed(chosen.delta)}{words.how_sure(chosen)}."
    )


def _question(view: StudyView, baseline: RunRecord | None) -> str:
    """Return the first line of the experiment's file, as a run of the baseline carries it."""
    if baseline is None:
        return ""
    file = view.study.root.run(baseline.run).experiment_file(baseline)
    text = ast.get_docstring(ast.parse(file.read_bytes())) if file.is_file() else None
    return (text or "").partition("\n")[0]


def _power(view: StudyView) -> tuple[str, Table] | None:
    """Return the minimum detectable effect over seeds, and what it is; None while not known."""
    study, settings = view.study, len(view.comparison.settings) - 1
    runs = view.results[0].runs if view.results else ()
    folds = next((record.folds for run in runs if (record := study.outcomes.record(run))), 1)
    counts = [folds * turns for turns in range(1, 5)] if folds > 1 else [3, 5, 10, 15, 20]
    effects = {seeds: analyse_power(study, seeds, settings, folds).difference for seeds in counts}
    rows = [[str(seeds), number(effect)] for seeds, effect in effects.items() if effect is not None]
    if not rows:
        return None
    limits = (
        "Beyond one seed for each fold it is the least there can be: the part of the spread that "
        "comes from the examples of a fold does not shrink."
        if folds > 1
        else "That is on this validation part; on new data its examples add to it."
    )
    caption = f"The smallest difference that {rows[0][0]} to {rows[-1][0]} seeds of each setting "
    return f"{caption}find with 80 % power. {limits}", Table(["seeds", "effect"], rows)


def _axes(view: StudyView) -> list[dict[str, Any]]:
    """Return plot and sentence of each axis of which a level has a value.

    With the command that makes the best level the baseline, where one is better.
    """
    paste, found = study_command(view.study), []
    for axis in view.study.requested.axes:
        if plot := response_plot(view, axis):
            text = words.axis_text(view.comparison, axis.key)
            command = paste(*text.change) if text.change else None
            found.append({"plot": plot, "sentence": text.sentence, "command": command})
    return found


def _sweep_command(study: Study, start: str) -> str | None:
    """Return one `sweep` that requests all of the study; None where no command can."""
    seeds = sorted({seed for setting in study.settings for seed in setting.runs})
    if len(seeds) == 1 and seeds != [0]:  # Python can request seed 7 alone
        return None
    looks = study.requested.looks
    options = ["--until-decided", "--max-seeds", str(looks[-1])] if looks else seed_words(seeds)
    if study.requested.margin is not None:
        options += ["--margin", str(study.requested.margin)]
    if study.requested.strict:
        options += ["--strict"]
    if study.requested.storage:
        options += ["--storage", without_credentials(study.requested.storage)]
    axes = map(asked, study.requested.axes)
    return shlex.join(["paribus", "sweep", start, *axes, *options, "--study", study.name])


def _link(folder: Path, file: Path) -> str:
    """Return a link from a page to a folder, whatever characters their names have."""
    path = Path(os.path.relpath(folder, file.absolute().parent)).as_posix()
    return f"{quote(path if path.startswith('../') else f'./{path}')}/"
