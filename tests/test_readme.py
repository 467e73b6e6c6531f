"""The README is true: its commands run, and every command stands in it."""

from __future__ import annotations

import re

import pytest
import readme

from sweeps.cli.app import app

TEXT = readme.README.read_text()


def skeleton(text: str) -> list[str]:
    """The first words of each line: what does not depend on the machine's numbers."""
    text = re.sub(r"-s\d+-[0-9a-f]{12}", "-run", text)  # ids follow from the processor too
    words = (re.findall(r"[A-Za-z][\w./-]*", line) for line in text.splitlines())
    return [found[0] for found in words if found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("readme")


def test_every_block_runs_and_prints_what_it_shows(folder) -> None:
    for _, kind, block in readme.blocks(TEXT):
        for command, done in readme.run_block(kind, block, folder):
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            if kind == "console" and done.stdout:
                first = skeleton(done.stdout)[0]
                assert first in skeleton(block), f"{command} begins with {first!r}"


@pytest.mark.parametrize("name", sorted(app.commands))
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    command = app.commands[name]
    assert command.help
    assert f"paribus {name}" in TEXT
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"
