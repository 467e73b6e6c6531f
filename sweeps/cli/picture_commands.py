"""`plot` and `report`: a picture or a page of a run or a study."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from paribus.core.errors import Faults, shown
from paribus.core.fileio import write_bytes
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import print_json, say, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.study.results_dir import ResultsDir


@click.command("plot")
@click.argument("name", metavar="RUN|STUDY", shell_complete=complete_subject)
@click.option("--output", "-o", metavar="FILE",
              help="The file: .svg or .png. Default: NAME.svg in this folder.")  # fmt: skip
@trust_option
@root_option
@json_option
@click.pass_context
def plot_command(
    context: click.Context,
    name: str,
    output: str | None,
    trust: bool,
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Draw a RUN (curves, confusion matrix, its answers) or a STUDY (curves and responses)."""
    from paribus.sweeps.report.output import checked_output, unwritable, warn_of_damage
    from paribus.sweeps.study.lookup import find_subject

    faults, subject, found = Faults(), None, "output"
    with faults.collecting():
        subject = find_subject(root, name)
        found = subject.id if isinstance(subject, RunFolder) else subject.name
    # Without a subject any name will do: the file's other faults are found too.
    file = Path(output if output is not None else f"{found}.svg")
    with faults.collecting():
        file = checked_output(file, (".svg", ".png"), "The picture")
    faults.check()
    assert subject
    from paribus.sweeps.report.figure import figure_of, rendered

    if isinstance(subject, RunFolder):
        from paribus.sweeps.report.run_report import load_run_view, run_picture

        kind, damaged, view = "run", False, load_run_view(subject, trust)
        if view.left_out:
            warn(view.left_out)
        picture = run_picture(view)
    else:
        from paribus.sweeps.report.study_plots import StudyView, study_picture

        kind, study_view = "study", StudyView(subject)
        warn_of_damage(subject, warn)
        picture, damaged = study_picture(study_view), bool(subject.outcomes.damaged)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    try:
        write_bytes(file, content)
    except OSError as error:
        raise unwritable("The picture", file, shown(error.strerror or error, 200)) from error
    panels = [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: found, "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {found}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    context.exit(1 if damaged else 0)


@click.command("report")
@click.argument("name", metavar="[STUDY | RUN]", required=False, shell_complete=complete_subject)
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
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Write a page on a STUDY (the latest, if none is named) or a RUN: one self-contained file."""
    from paribus.sweeps.report.output import report_file, write_report
    from paribus.sweeps.study.lookup import find_subject
    from paribus.sweeps.study.study import latest_study

    faults, subject, file = Faults(), None, None
    with faults.collecting():
        subject = find_subject(root, latest_study(root) if name is None else name)
    with faults.collecting():
        file = report_file(subject, output)
    faults.check()
    assert subject
    assert file
    written = write_report(subject, file, warn, trust=trust)
    if as_json:
        print_json(written.to_dict())
    else:
        say(f"{written.kind} {written.name}")
        say(f"page: {file}")
    if show:
        click.launch(str(written.file))
    context.exit(1 if not isinstance(subject, RunFolder) and subject.outcomes.damaged else 0)


COMMANDS = (plot_command, report_command)
