"""The page of a comparison of another tool's results: no records, so no curves and no reruns."""

from pathlib import Path

from paribus.core.errors import many
from paribus.sweeps.analysis import verdict_text as words
from paribus.sweeps.analysis.imported_results import ResultsComparison
from paribus.sweeps.report.figure import Table, line_look
from paribus.sweeps.report.page import write_page
from paribus.sweeps.report.study_plots import effects_plot


def write_results_page(comparison: ResultsComparison, file: Path) -> None:
    """Write the page as `write_page` does."""
    looks = {setting.label: line_look(n) for n, setting in enumerate(comparison.settings)}
    columns, *rows = words.paper_table(comparison)
    write_page(
        file,
        "results",
        Path(comparison.results).name,
        comparison=comparison,
        headline=words.answer(comparison),
        meaning=words.meaning(comparison),
        effects=effects_plot(
            comparison, looks, many(max(len(s.seeds) for s in comparison.settings), "seed")
        ),
        settings=Table(columns, rows),
    )
