"""Terminals of several widths: no row is wrapped, no number is cut, eight lines below a table."""

import io
import os
import re
from contextlib import redirect_stdout
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from screen import shown_lines

from paribus.sweeps.cli.app import run

WIDTHS = (80, 100, 160)
NUMBER = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?")
NOTES = [f"a-note-of-sixty-characters-whose-end-alone-differs-1234567{n}" for n in (12, 34, 56)]
SCRIPT = '''"""Which note is best?"""


def train(note="short", rate=0.001, *, seed):
    """The longer the note, the better."""
    end = int(note[-2:]) if "-" in note else 0
    yield {"score": 0.1 + len(note) / 1000 + end % 7 * seed / 1e4}


SELECT = {"metric": "score", "direction": "maximize"}
'''


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


def on_terminal(columns, *words):
    """The exit code of a command, and the text that a terminal of that width gets."""
    written = Terminal()
    with patch.dict(os.environ, COLUMNS=str(columns)), redirect_stdout(written):
        code = run([str(word) for word in words])
    return code, written.getvalue()


@pytest.fixture(scope="module")
def studies(paribus, tmp_path_factory):
    """The folder of three studies, and what each sweep printed for 80 columns."""
    folder = tmp_path_factory.mktemp("width")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    (folder / "long.py").write_text(SCRIPT)
    asked = {
        "digits": ("digits", "--set", "train.epochs=1", "--seeds", "2"),
        "images": ("images", "model=mlp", "standardize", "model.channels", "--set",
                   "data.root=pictures", "--set", "data.size=8", "--set", "train.epochs=1",
                   "--seeds", "2"),
        "long": ("long.py", f"script.note={','.join(NOTES)}", "--seeds", "2"),
    }  # fmt: skip
    printed = {}
    for name, words in asked.items():
        again = ("sweep", *words, "--study", name, "--workers", "1", "--no-wandb")
        done = paribus(*again, cwd=folder, env={"COLUMNS": "80"})
        assert done.code == 0, done.err
        printed[name] = (again, done.out)
    return folder, printed


def numbers(text):
    return set(NUMBER.findall(text))


def check(text, columns, known):
    """Refuses a wrapped row and a number that is not among the known ones."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert shown_lines(text, columns) == [line.rstrip() for line in lines]
    assert numbers("\n".join(lines)) <= known


@pytest.mark.parametrize("study", ["digits", "images", "long"])
@pytest.mark.parametrize("columns", WIDTHS)
def test_a_comparison_fits(studies, monkeypatch, study, columns):
    folder, _ = studies
    monkeypatch.chdir(folder)
    known = numbers(on_terminal(1000, "compare", study, "--json")[1])
    known |= numbers(on_terminal(1000, "compare", study, "--verbose")[1])
    for words in ((), ("--verbose",), ("--plain",)):
        code, text = on_terminal(columns, "compare", study, *words)
        assert code == 0
        check(text, columns, known)
        assert ("\x1b" in text or "▲" in text or "? " in text) == ("--plain" not in words)


@pytest.mark.parametrize("study", ["digits", "images", "long"])
def test_a_sweep_fits_into_eighty_columns(studies, paribus, study):
    folder, printed = studies
    again, narrow = printed[study]
    wide = paribus(*again, "--verbose", cwd=folder).out
    whole = paribus(*again, cwd=folder).out
    known = numbers(wide) | numbers(whole)
    start = narrow.index(" runs: ")  # before and after training
    check(narrow[start:].partition("\n")[2], 80, known)
    for text in (narrow, whole):
        end = text.splitlines()[::-1].index("")
        below = [line for line in text.splitlines()[::-1][:end] if "derived" not in line]
        below = [line for line in below if " → " not in line and not line.startswith("  ")]
        assert len(below) <= 8


def test_levels_whose_ends_differ_are_distinct_cuts(studies):
    table = studies[1]["long"][1].split("script.note (baseline")[1].split("\n\n")[0]
    names = [line.split()[0] for line in table.splitlines()[1:]]
    assert len(set(names)) == 3
    assert all("…" in name for name in names)


@pytest.mark.parametrize("variable", [None, "NO_COLOR"])
def test_no_colour_but_symbols_where_none_is_wanted(studies, monkeypatch, variable):
    monkeypatch.chdir(studies[0])
    if variable:
        monkeypatch.setenv(variable, "1")
    text = on_terminal(100, "compare", "long")[1]
    assert "▲ better" in text
    assert ("\x1b" in text) == (variable is None)
