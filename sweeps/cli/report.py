"""`report`: one page that shows a study or a run, to look at and to send."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from paribus.core.errors import Faults, RequestError
from paribus.core.run_folder import RunFolder
from paribus.sweeps.cli.common import json_option, print_json, root_option, say, trust_option, warn
from paribus.sweeps.cli.shown import checked_output, find_subject, name_of, shown_run
from paribus.sweeps.root import Root

if TYPE_CHECKING:
    from paribus.sweeps.study import Study


@click.command("report")
@click.argument("name", metavar="[STUDY | RUN]", required=False)
@click.option("--output", "-o", metavar="FILE",
              help="The file, .html. Default: report.html in the study's folder, RUN.html in this "
              "one.")  # fmt: skip
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@trust_option
@root_option
@json_option
@click.pass_context
def report_command(
    context: click.Context,
    name: str | None,
    output: str | None,
    show: bool,
    trust: bool,
    root: Root,
    as_json: bool,
) -> None:
    """Write a page on a STUDY (the latest, if none is named) or a RUN: one self-contained file."""
    from paribus.sweeps.study_names import latest_study

    faults, subject = Faults(), None
    with faults.collecting():
        subject = find_subject(root, latest_study(root) if name is None else name)
    file = None if output is None else Path(output)
    if file is None and isinstance(subject, RunFolder):
        file = Path(f"{subject.id}.html")
    if file is not None:
        with faults.collecting():
            file = checked_output(file, (".html",), "The page")
    faults.check()
    damaged: Mapping[str, str] = {}
    if isinstance(subject, RunFolder):
        assert file
        kind, written = "run", _write_run(subject, file, trust)
    else:
        assert subject
        kind, damaged, written = "study", subject.outcomes.damaged, _write_study(subject, file)
    document = {kind: name_of(subject), "file": str(written.absolute())}
    if as_json:
        print_json({**document, "bytes": written.stat().st_size})
    else:
        say(f"{kind} {name_of(subject)}")
        say(f"page: {written}")
    if show:
        click.launch(str(written.absolute()))
    context.exit(1 if damaged else 0)


def _write_study(study: Study, file: Path | None) -> Path:
    from paribus.sweeps.report.study_page import view_of, write_page

    view = view_of(study)
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    if not any(result.runs for result in view.results):
        raise RequestError(
            f"The study {study.name} has no finished run to show.",
            f"Run its sweep again, which goes on; see: paribus runs {study.name}",
            "nothing",
        )
    return write_page(view, file)


def _write_run(folder: RunFolder, file: Path, trust: bool) -> Path:
    from paribus.sweeps.report.page import write
    from paribus.sweeps.report.run_page import run_page

    write(file, run_page(*shown_run(folder, trust)))
    return file


COMMANDS = (report_command,)
