"""What a person sees of a sweep while it goes on, in a terminal and elsewhere."""

import re
import subprocess
import sys

import pytest
from commands import clean_environment
from screen import Screen
from troubled import TROUBLED

SWEEP = ("sweep", "troubled.py", "model.trouble=chatty,die", "--seeds", "1", "--workers", "2")
COMMAND = "from paribus.sweeps.cli.main import main; main()"


@pytest.fixture
def screen():
    screen = Screen(80, 24)
    yield screen
    screen.close()


@pytest.fixture
def sweep(tmp_path, screen):
    """Starts a sweep whose runs stay in their second epoch for as long as `hold` is there."""
    (tmp_path / "troubled.py").write_text(TROUBLED)
    started = []

    def start(*more, **environment):
        words = [sys.executable, "-c", COMMAND, *SWEEP, "--no-wandb", "--study", "seen", *more]
        known = clean_environment(str(tmp_path)) | {"TERM": "xterm-256color"} | environment
        for size in ("COLUMNS", "LINES"):  # as xdist sets them; a terminal knows its own
            known.pop(size, None)
        ends = {"stdin": screen.end, "stdout": screen.end, "stderr": screen.end}
        started.append(subprocess.Popen(words, cwd=tmp_path, env=known, **ends))
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def whole(lines):
    """Whether all of the table stands there."""
    return len(lines) > 6 and lines[-1].startswith(" model.tr") and lines[-1].endswith(" waiting")


def test_a_sweep_in_a_terminal_that_changes_its_size(sweep, screen, tmp_path):
    for switch in ("hold", "deadly"):
        (tmp_path / switch).touch()
    process = sweep()
    wide = screen.until(lambda lines: whole(lines) and "22 %" in lines[-6])[-6:]
    assert re.fullmatch(r"seen  0/3 runs ━━━+─+  22 %  about \d+ (s|min) left", wide[0])
    assert re.fullmatch(r"best val/accuracy so far 0\.\d{4}: baseline \(one run\)", wide[1])
    assert wide[2] == " setting               runs  mean val/accuracy so far  state"
    assert re.fullmatch(r" baseline               0/1 {20}0\.\d{4}  training 1/3", wide[3])
    assert re.fullmatch(r" model.trouble=chatty   0/1 {20}0\.\d{4}  training 1/3", wide[4])
    assert wide[5] == " model.trouble=die      0/1                         –  waiting"
    screen.resize(40, 24)
    lines = screen.until(lambda lines: whole(lines) and "best 0." in lines[-5])
    narrow = lines[-6:]
    assert re.fullmatch(r"0/3 runs ━+─+  22 %  \d+ (s|min)", narrow[0])
    assert narrow[2] == " setting          runs     mean state"
    assert re.fullmatch(r" baseline          0/1   0\.\d{4} 1/3", narrow[3])
    assert narrow[5] == " model.tr…ble=die  0/1        – waiting"
    assert sum(" 0/1 " in line for line in [*screen.above, *lines]) == 3  # nothing is left behind
    screen.resize(80, 24)
    screen.until(lambda lines: whole(lines) and "(one run)" in lines[-5])
    (tmp_path / "hold").unlink()
    screen.until(lambda _lines: process.poll() is not None)
    assert process.returncode == 1
    screen.rest()
    told = [*screen.above, *screen.lines]
    assert not screen.cursor_is_hidden
    assert not [line for line in told if "━" in line or "(one run)" in line], told
    assert sum("died (SIGKILL)" in line for line in told) == 3  # it is tried twice; and at the end
    said = [line for line in told if "so much to say" in line]
    assert said == ["so much to say"] * len(said)
    assert len(said) > 4
    assert "3 runs: 2 trained, 1 not finished, in" in "\n".join(told)


LINE = r"\d+/4 runs \(\d+ % of all epochs\), best val/mae [\d.e-]+ \(.+ runs?\)(, about .+ left)?"


def test_a_sweep_elsewhere_is_told_in_a_few_lines(paribus, tmp_path):
    last = ("--no-wandb", "--root", tmp_path)
    sweep = ("sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=20", *last)
    done = paribus(*sweep, "--seeds", "2")
    lines = done.err.splitlines()
    assert 1 <= len(lines) <= 9
    assert all(re.fullmatch(LINE, line) for line in lines), done.err
    assert "% of all" not in done.out
    assert paribus(*sweep, "--seeds", "3", "--json").err == ""
    assert paribus("run", "line", "train.epochs=21", *last).err == ""
