"""`plot`: pictures of runs and studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from paribus.core.errors import Faults, shown
from paribus.core.files import write_bytes
from paribus.core.run_folder import RunFolder
from paribus.sweeps.cli.common import json_option, print_json, root_option, say, trust_option, warn
from paribus.sweeps.cli.shown import checked_output, find_subject, name_of, shown_run, unwritable
from paribus.sweeps.root import Root

if TYPE_CHECKING:
    from paribus.sweeps.plots.figure import Picture
    from paribus.sweeps.study import Study

_SUFFIXES = (".svg", ".png")


@click.command("plot")
@click.argument("name", metavar="RUN|STUDY")
@click.option("--output", "-o", metavar="FILE",
              help="The file: .svg or .png. Default: NAME.svg in this folder.")  # fmt: skip
@trust_option
@root_option
@json_option
@click.pass_context
def plot_command(
    context: click.Context, name: str, output: str | None, trust: bool, root: Root, as_json: bool
) -> None:
    """Draw a RUN (curves, confusion matrix, its answers) or a STUDY (curves and responses)."""
    faults, subject = Faults(), None
    with faults.collecting():
        subject = find_subject(root, name)
    file = Path(f"{name_of(subject)}.svg" if output is None else output)
    with faults.collecting():
        file = checked_output(file, _SUFFIXES, "The picture")
    faults.check()
    from paribus.sweeps.plots.figure import figure_of, rendered
    from paribus.sweeps.run_picture import picture_of_run

    damaged: Mapping[str, str] = {}
    if isinstance(subject, RunFolder):
        kind, picture = "run", picture_of_run(*shown_run(subject, trust))
    else:
        assert subject
        kind, damaged, picture = "study", subject.outcomes.damaged, _picture_of_study(subject)
    content = rendered(figure_of(picture), "png" if file.suffix.lower() == ".png" else "svg")
    try:
        write_bytes(file, content)
    except OSError as error:
        raise unwritable("The picture", file, shown(error.strerror or error, 200)) from error
    panels = [panel.name for panel in picture.panels]
    if as_json:
        print_json({kind: name_of(subject), "file": str(file.absolute()), "panels": panels})
    else:
        say(f"{kind} {name_of(subject)}: {shown(', '.join(panels), 1000)}")
        say(f"picture: {file}")
    context.exit(1 if damaged else 0)


def _picture_of_study(study: Study) -> Picture:
    from paribus.sweeps.study_picture import picture_of_study

    results = study.results()
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    return picture_of_study(study, results)


COMMANDS = (plot_command,)
