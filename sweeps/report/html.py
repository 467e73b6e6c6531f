"""The HTML page: a template with its stylesheet and script in one file, plots as inline SVG."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paribus.core.errors import inert, shown
from paribus.core.fileio import creating, write_bytes
from paribus.sweeps.formatting import duration, number, signed
from paribus.sweeps.report.figure import (
    BASELINE_COLOUR,
    COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER,
    Plot,
    figure_of_panel,
    rendered,
)

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


def write_page(file: Path, template: str, title: str, **content: Any) -> None:
    """Write a page, whole or not at all; text in its content is shown as text, whatever it holds.

    Args:
        file: Where.
        template: The file's name, without ``.html.j2``.
        title: Of the window.
        **content: What the template shows.

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

    Args:
        plot: The plot.
        place: Unique on the page; made of letters, digits and hyphens.
    """
    content = rendered(figure_of_panel(plot.panel), "svg", transparent=True)
    root = ET.parse(io.BytesIO(content)).getroot()
    _strip(root)
    used = {
        reference
        for element in root.iter()
        for value in element.attrib.values()
        for reference in re.findall(r"#([\w-]+)", value)
    }
    for element in root.iter():
        element.attrib = {
            key: _value(key, " ".join(value.split()), place)
            for key, value in element.attrib.items()
            if key != "id" or value in used
        }
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": inert(plot.alt),
        # As high as its width makes it, from the start: nothing moves while the page loads.
        "style": f"aspect-ratio: {width} / {height}; --natural: {float(width) / 72:.2f}in",
    }
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))


def _strip(root: ET.Element) -> None:
    """Remove namespaces, metadata and white space: a page's parser needs none in SVG."""
    for parent in root.iter():
        parent.tag = _NAMESPACE.sub("", parent.tag)
        parent.attrib = {_NAMESPACE.sub("", key): value for key, value in parent.attrib.items()}
        parent.tail = None
        if parent.text and not parent.text.strip():
            parent.text = None
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)


def _value(key: str, value: str, place: str) -> str:
    """Return an attribute's value with the theme's colours and the page's ids."""
    if key == "id":
        return f"{place}-{value}"
    if key == "style":
        value = _FONT.sub("", value)
        return _COLOUR.sub(lambda found: f"var({THEME[found.group().upper()]})", value)
    return re.sub(r"#(?=[\w-])", f"#{place}-", value) if key in ("href", "clip-path") else value
