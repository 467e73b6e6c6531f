"""A plot as a page holds it: SVG in the colours of the page's theme, in words, and in numbers."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paribus.core.errors import inert
from paribus.core.fileio import creating, write_bytes
from paribus.sweeps.report.figure import (
    BASELINE,
    COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER,
    Panel,
    figure_of_panel,
    rendered,
)

# Colours of plots to variables of the stylesheet, which has them for light and dark.
THEME = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    PAPER: "--paper",
    BASELINE: "--ink",
    **{colour: f"--c{number}" for number, colour in enumerate(COLOURS, 1)},
}
_NAMESPACE = re.compile(r"\{.*?\}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_FONT = re.compile(r"font-family: [^;]*;? ?")


@dataclass(frozen=True)
class Numbers:
    """What a plot was drawn from, as a table.

    Attributes:
        columns: Headings.
        rows: Cells; the first names its row.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Graphic:
    """A plot, for those who see it and those who do not.

    Attributes:
        svg: The plot, with what is to be seen in it in words; text in it is text.
        caption: Units, seeds, and what is drawn how.
        numbers: What it was drawn from.
        is_wide: Whether it takes more than half of the page's width.
    """

    svg: Markup
    caption: str
    numbers: Numbers
    is_wide: bool = False


def graphic(panel: Panel, place: str, alt: str, caption: str, numbers: Numbers) -> Graphic:
    """Draws a panel for a page.

    Args:
        panel: What is drawn.
        place: Unique on the page; made of letters, digits and hyphens.
        alt: What is to be seen.
        caption: Stands below it.
        numbers: What it is drawn from.
    """
    svg = inline_svg(rendered(figure_of_panel(panel), "svg", transparent=True), place, alt)
    return Graphic(svg, caption, numbers, panel.width > 2)


def inline_svg(content: bytes, place: str, alt: str) -> Markup:
    """A file of matplotlib's as part of a page: themed, small, its ids unlike any other's."""
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
            key: _value(key, value, place)
            for key, value in element.attrib.items()
            if key != "id" or value in used
        }
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": inert(alt),
        # As high as its width makes it, from the start: nothing jumps.
        "style": f"aspect-ratio: {width} / {height}; --natural: {float(width) / 72:.2f}in",
    }
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))


def _strip(root: ET.Element) -> None:
    """Takes namespaces, metadata and white space away: a page's parser knows where SVG begins."""
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
    value = " ".join(value.split())
    if key == "id":
        return f"{place}-{value}"
    if key == "style":
        value = _FONT.sub("", value)
        value = _COLOUR.sub(lambda found: f"var({THEME[found.group().upper()]})", value)
    return re.sub(r"#(?=[\w-])", f"#{place}-", value) if key in ("href", "clip-path") else value


# A template, its stylesheet and its script as one HTML file.


_TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, title: str, **content: Any) -> str:
    """The page. Whatever is text in its content is shown as text, whatever it contains.

    Args:
        template: The file's name, without ``.html.j2``.
        title: Of the window.
        **content: What the template shows.
    """
    script = (_TEMPLATES / "page.js").read_text()
    return (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            title=title,
            version=version("paribus"),
            stylesheet=Markup((_TEMPLATES / "page.css").read_text()),
            script=Markup(script),
            # The only script that the page lets run.
            script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            **content,
        )
    )


def write(file: Path, content: str) -> None:
    """Writes a page, whole or not at all.

    Raises:
        RequestError: If it cannot be written.
    """
    with creating(f"The page {file}"):
        write_bytes(file, content.encode("utf-8", "backslashreplace"))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
    )


def _inert(value: Any) -> Any:
    return inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value
