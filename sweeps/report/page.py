"""The HTML page of a run or a study: one file with its stylesheet, script and plots as SVG."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paribus.core.errors import RequestError, inert, shown
from paribus.core.fileio import creating, user_path, write_bytes
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.analysis.imported_results import ResultsComparison
from paribus.sweeps.formatting import duration, number, signed
from paribus.sweeps.report.figure import (
    BASELINE_COLOUR,
    COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER,
    Picture,
    Plot,
    figure_of_panel,
    rendered,
)
from paribus.sweeps.study.study import Study

if TYPE_CHECKING:
    from paribus.sweeps.report.study_plots import StudyView

# Colours of plots to variables of the stylesheet, which has them for light and dark.
THEME = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--paper",
    BASELINE_COLOUR: "--ink",
    **{colour: f"--c{number}" for number, colour in enumerate(COLOURS, 1)},
}
_TEMPLATES = Path(__file__).parent / "templates"
_NAMESPACE = re.compile(r"\{.*?\}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")

Warn = Callable[[str], None]
Kind = Literal["study", "run", "results"]
Subject = RunFolder | Study | ResultsComparison


@dataclass(frozen=True)
class Report:
    """A page that was written: what it shows, where it is (absolute), and how large."""

    kind: Kind
    name: str
    file: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus report --json`` prints."""
        return {self.kind: self.name, "file": str(self.file), "bytes": self.bytes}


def write_report(subject: Subject, file: Path, warn: Warn, *, trust: bool = False) -> Report:
    """Write the page of a study, a run or another tool's results: one self-contained HTML file.

    `warn` is called with a sentence on what is left out. With `trust` whatever a run's record names
    may be imported and executed.

    Raises:
        DamagedError: If a file of the run is not what was written.
        RequestError: If there is nothing to show, or the file cannot be written.
    """
    kind: Kind
    if isinstance(subject, RunFolder):
        from paribus.sweeps.report.run_report import load_run_view, write_run_page

        kind, name = "run", subject.id
        write_run_page(load_run_view(subject, warn, trust=trust), file)
    elif isinstance(subject, ResultsComparison):
        from paribus.sweeps.report.study_report import write_results_page

        kind, name = "results", subject.results
        write_results_page(subject, file)
    else:
        from paribus.sweeps.report.study_report import write_study_page

        kind, name = "study", subject.name
        write_study_page(_study_view(subject, warn), file)
    return Report(kind, name, file.absolute(), file.stat().st_size)


def picture_of(subject: RunFolder | Study, warn: Warn, *, trust: bool = False) -> Picture:
    """Return the figure of a run or a study; arguments and errors are those of `write_report`."""
    if isinstance(subject, RunFolder):
        from paribus.sweeps.report.run_report import load_run_view, run_picture

        return run_picture(load_run_view(subject, warn, trust=trust))
    from paribus.sweeps.report.study_plots import study_picture

    return study_picture(_study_view(subject, warn))


def _study_view(study: Study, warn: Warn) -> StudyView:
    """Read a study's results, and name its damaged runs."""
    from paribus.sweeps.report.study_plots import StudyView

    view = StudyView(study)
    for run, damage in study.outcomes.damaged.items():
        warn(f"{run} is left out, as it is damaged: {damage}")
    return view


def report_file(subject: Subject | None, output: str | Path | None) -> Path | None:
    """Return where a page is to be written, None if unknown; errors as of `checked_output`."""
    if output is None:
        if subject is None or isinstance(subject, Study):
            return subject.folder / "report.html" if subject else None
        output = f"{subject.id}.html" if isinstance(subject, RunFolder) else (
            f"{Path(subject.results).stem}-report.html"
        )  # fmt: skip
    return checked_output(output, (".html",), "The page")


def checked_output(output: str | Path, suffixes: Sequence[str], what: str) -> Path:
    """Return the file with ``~`` resolved if it can be written: before anything is computed.

    `what` it is, such as ``The picture``, stands in the error.

    Raises:
        RequestError: If its suffix names no format, or its folder is not there.
    """
    file, why = user_path(output), None
    if file.suffix.lower() not in suffixes:
        raise RequestError(
            f"--output {shown(file, 200)}: its suffix must name the format.",
            f"Take {' or '.join(suffixes)}.",
        )
    try:
        if "\0" in str(file):
            why = "its name holds a null byte"
        elif file.is_dir():
            why = "it is a folder"
        elif not file.parent.is_dir():
            why = f"there is no folder {shown(file.parent, 200)}"
        elif not os.access(file.parent, os.W_OK | os.X_OK):
            why = f"this user may not write to {shown(file.parent.absolute(), 200)}"
    except OSError as error:  # too long
        why = shown(getattr(error, "strerror", None) or error, 200)
    if why:
        raise RequestError(
            f"{what} {shown(file, 200)} cannot be written: {why}.",
            "Name another place with --output FILE.",
        )
    return file


def write_page(file: Path, template: str, title: str, **content: Any) -> None:
    """Write a page of a template, whole or not at all; text in its content is shown as text.

    Raises:
        RequestError: If it cannot be written.
    """
    script = (_TEMPLATES / "page.js").read_text()
    # The only script that the page lets run.
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            title=f"{title} – paribus",
            version=version("paribus"),
            stylesheet=Markup((_TEMPLATES / "page.css").read_text()),
            script=Markup(script),
            script_sha256=sha256,
            **content,
        )
    )
    with creating(f"The page {file}"):
        write_bytes(file, page.encode("utf-8", "backslashreplace"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda v: inert(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
    )
    environment.globals |= {"svg": plot_svg, "theme": THEME}
    for function in (duration, number, shown, signed):
        environment.filters[function.__name__] = function
    return environment


def plot_svg(plot: Plot, place: str) -> Markup:
    """Return a plot as part of a page: in its theme, small, its ids unlike any other's.

    `place` is unique on the page; made of letters, digits and hyphens.
    """
    content = rendered(figure_of_panel(plot.panel), "svg", transparent=True)
    root = ET.parse(io.BytesIO(content)).getroot()
    for element in root.iter():  # a page's parser needs no namespaces and no white space in SVG
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {
            (name := _NAMESPACE.sub("", key)): _value(name, " ".join(value.split()), place)
            for key, value in element.attrib.items()
        }
        element.tail = None
        if element.text and not element.text.strip():
            element.text = None
        for child in list(element):
            if child.tag.endswith(("metadata", "style")):
                element.remove(child)
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": inert(plot.alt),
        # As high as its width makes it, from the start: nothing moves while the page loads.
        "style": f"aspect-ratio: {width} / {height}; --natural: {float(width) / 72:.2f}in",
    }
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))


def _value(key: str, value: str, place: str) -> str:
    """Return an attribute's value with the theme's colours and the page's ids."""
    if key == "id":
        return f"{place}-{value}"
    if key == "style":
        value = _FONT.sub("", value)
        return _COLOUR.sub(lambda found: f"var({THEME[found.group().upper()]})", value)
    return re.sub(r"#(?=[\w-])", f"#{place}-", value) if key in ("href", "clip-path") else value
