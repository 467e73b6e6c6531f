"""Names on a real terminal: shown, and inert."""

import os
import pty
import re
import sys

import pytest
from hostile import EMOJI, EXPERIMENT, IMAGE, LONG
from processes import COMMAND, unpinned

STYLES = re.compile(r"\x1b\[[\d;]*m")  # colours and weights of our own


@pytest.fixture(scope="module")
def named(paribus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    (folder / "named.py").write_text(EXPERIMENT)
    words = ("sweep", "named.py", "model.note", "--seeds", "2", "--study", "hostile")
    done = paribus(*words, "--workers", "1", "--no-wandb", cwd=folder)
    assert done.code == 0, done.err
    return folder


def on_terminal(folder, *words):
    """What a command writes to a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        terminal = {"TERM": "xterm", "COLUMNS": "300"}
        os.execve(sys.executable, [*COMMAND, *words], {**unpinned(), **terminal})
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # it has ended
            break
        if not part:
            break
        written += part
    os.waitpid(child, 0)
    os.close(terminal)
    return written.decode()


def test_the_terminal_shows_names_and_obeys_none(named):
    seen = STYLES.sub("", on_terminal(named, "compare", "hostile"))
    assert not set("\x1b\x07\u202e") & set(seen)
    assert IMAGE in seen
    assert EMOJI in seen  # with its [bold], which is no markup
    assert "�[31mred�[0m�" in seen
    assert LONG not in seen.split("no level beat")[0]  # the table cuts it
