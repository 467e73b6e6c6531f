"""The README is true: its commands run, and every command stands in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import readme

from paribus.sweeps.cli.app import app

TEXT = readme.README.read_text()


def skeleton(text: str) -> list[str]:
    """The first words of each line: what does not depend on the machine's numbers."""
    text = re.sub(r"-s\d+-[0-9a-f]{12}", "-run", text)  # ids follow from the processor too
    words = (re.findall(r"[A-Za-z][\w./-]*", line) for line in text.splitlines())
    return [found[0] for found in words if found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("readme")


def test_every_block_runs_and_prints_what_it_shows(folder, paribus) -> None:
    for _, kind, block in readme.blocks(TEXT):
        for command, code, out, err in run_block(kind, block, folder, paribus):
            assert code == 0, f"{command}\n{out}\n{err}"
            if kind == "console" and out:
                first = skeleton(out)[0]
                assert first in skeleton(block), f"{command} begins with {first!r}"


def run_block(kind, block, folder, paribus) -> Iterator[tuple[str, int, str, str]]:
    """As `readme.run_block`; what needs no shell is run in one process, which saves minutes."""
    if kind != "console":
        for command, done in readme.run_block(kind, block, folder):
            yield command, done.returncode, done.stdout, done.stderr
        return
    for command in readme.commands(block):
        if command.startswith("paribus ") and not set(command) & set("|&;<>$*"):
            told = paribus(*shlex.split(command)[1:], cwd=folder)
            yield command, told.code, told.out, told.err
        else:
            done = readme.run(command, folder)
            yield command, done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", sorted(app.commands))
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    command = app.commands[name]
    assert command.help
    assert f"paribus {name}" in TEXT
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"
