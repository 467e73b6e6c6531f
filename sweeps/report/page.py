"""A template, its stylesheet and its script as one HTML file."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from paribus.core.errors import inert
from paribus.core.files import creating, write_bytes

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
