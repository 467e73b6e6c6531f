"""README and docs are true: commands run, generated parts are up to date, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

import docs
from paribus.sweeps.cli.app import app

WRITTEN = [page for page in docs.PAGES if page.stem not in docs.GENERATED]


def words_of(text: str) -> list[list[str]]:
    """The words of each line that has any: what does not depend on the machine's numbers."""
    text = re.sub(r"-s\d+-[0-9a-f]{12}", "-run", text)  # ids follow from the processor too
    words = (re.findall(r"[A-Za-z][\w./-]*", line) for line in text.splitlines())
    return [found for found in words if found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tmp_path_factory.mktemp("docs")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_every_block_runs_and_prints_what_it_shows(page, folder, paribus) -> None:
    text = page.read_text()
    for _, kind, block in docs.blocks(text):
        for command, code, out, err in run_block(kind, block, folder, paribus):
            assert code == 0, f"{command}\n{out}\n{err}"
            if kind == "console" and out:
                # Lines break at other words where the folder's path is longer.
                known = {word for line in words_of(block) for word in line}
                first = [line[0] for line in words_of(out)]
                new = [word for word in first if word not in known]
                # Another processor may give other verdicts, which changes a few lines.
                assert len(new) <= len(first) / 4, f"{command} prints lines that begin with {new}"
        name = docs.file_of(block) if kind == "python" else None
        used = f"$ paribus sweep {name}" in text or f"python {name}" in text
        if name and not used:  # a file that the page only shows
            done = paribus("sweep", name, cwd=folder)
            assert done.code == 0, f"{name}\n{done.out}\n{done.err}"


def run_block(kind, block, folder, paribus) -> Iterator[tuple[str, int, str, str]]:
    """As `docs.run_block`; what needs no shell is run in one process, which saves minutes."""
    if kind != "console":
        if file := docs.write_block(block, folder):
            done = paribus("python", file, cwd=folder)
            yield "python", done.code, done.out, done.err
        return
    for command in docs.commands(block):
        if command.startswith("paribus ") and not set(command) & set("|&;<>$*"):
            done = paribus(*shlex.split(command)[1:], cwd=folder)
            yield command, done.code, done.out, done.err
        else:
            done = docs.run(command, folder)
            yield command, done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", docs.GENERATED)
def test_generated_pages_are_as_generated(name: str) -> None:
    page = docs.TOP / "docs" / f"{name}.md"
    assert page.read_text() == docs.generated(name), f"python tests/docs.py {name}"


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.stem)
def test_pages_are_short_and_their_links_lead_somewhere(page) -> None:
    text = page.read_text()
    assert len(text.splitlines()) <= (200 if page.stem == "README" else 300)
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        assert not target or "://" in target or (page.parent / target).exists(), target
    for target, anchor in re.findall(r"\]\(([^):#]*)#([^)]*)\)", text):
        linked = (page.parent / target if target else page).read_text()
        headings = re.findall(r"^#+ (.*)$", linked, re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings]


@pytest.mark.parametrize("name", sorted(app.commands))
def test_every_command_and_option_has_help(name: str) -> None:
    command = app.commands[name]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"
