"""Completion in a shell: what is offered, in which script, and what it costs."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from click.shell_completion import ShellComplete
from processes import unpinned

from paribus.sweeps.cli.app import app

FILE = '''"""Does it help?"""

import torch
from torch.optim import SGD

BASELINE = {
    "task": "multiclass",
    "data": "digits",
    "model": {"name": "mlp", "hidden_dim": 8},
    "loss": "cross_entropy",
    "optimizer": {"name": SGD, "lr": 0.1},
    "train": {"epochs": 1},
}
AXES = {"optimizer.nesterov": [True]}
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with an experiment's file and a root that looks as if something was trained."""
    place = tmp_path_factory.mktemp("completion")
    (place / "mine.py").write_text(FILE)
    (place / "sub").mkdir()
    (place / "sub" / "other.py").write_text(FILE)
    (place / "function.py").write_text("def train(*, width=3, seed):\n    yield {}\n")
    for name in ("runs/digits-s0-0123456789ab", "studies/rates"):
        (place / "results" / name).mkdir(parents=True)
    (place / "results/runs/digits-s0-0123456789ab/run.json").write_text("{}")
    (place / "results/studies/rates/study.json").write_text("{}")
    return place


def offered(folder, typed):
    """What is offered for the last word of a command, as click's script for a shell asks for it."""
    *words, last = typed.split(" ")
    with contextlib.chdir(folder):
        found = ShellComplete(app, {}, "paribus", "_PARIBUS_COMPLETE").get_completions(
            words[1:], last
        )
    return [item.value for item in found]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("paribus sw", {"sweep"}),
        ("paribus sweep --until", {"--until-decided"}),
        ("paribus sweep dig", {"digits", "digits-s0-0123456789ab"}),
        ("paribus check mi", {"mine.py"}),
        ("paribus run sub/", {"sub/other.py"}),
        ("paribus sweep digits optimizer.l", {"optimizer.lr="}),
        ("paribus sweep digits weight_d", {"optimizer.weight_decay="}),
        ("paribus show digits hidden", {"model.hidden_dim="}),
        ("paribus sweep digits --set train.batch", {"train.batch_size="}),
        ("paribus sweep mine.py optimizer.n", {"optimizer.nesterov="}),
        ("paribus sweep mine.py optimizer.mom", {"optimizer.momentum="}),
        ("paribus run function.py script.w", {"script.width="}),
        ("paribus compare r", {"rates"}),
        ("paribus sync ", {"rates"}),
        ("paribus report ", {"rates", "digits-s0-0123456789ab"}),
        ("paribus evaluate d", {"digits-s0-0123456789ab"}),
        ("paribus reproduce d", {"digits-s0-0123456789ab"}),
        ("paribus predict d", {"digits-s0-0123456789ab"}),
        ("paribus plot d", {"digits-s0-0123456789ab"}),
        ("paribus remove --root elsewhere ", set()),
        ("paribus sweep digits --study r", {"rates"}),
        ("paribus sweep nothing opt", set()),
        ("paribus completion z", {"zsh"}),
    ],
)
def test_what_is_offered(folder, typed, wanted):
    assert set(offered(folder, typed)) == wanted


def test_the_keys_of_an_experiment_begin_with_its_own_axes(folder):
    keys = offered(folder, "paribus sweep mine.py ")
    assert keys[0] == "optimizer.nesterov="
    assert {"loss=", "model.hidden_dim=", "split.seed=", "optimizer.lr="} < set(keys)
    assert len(keys) == len(set(keys))
    assert "script.width=" in offered(folder, "paribus sweep function.py ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_calls_the_command(paribus, shell):
    done = paribus("completion", shell)
    assert done.code == 0
    assert f"_PARIBUS_COMPLETE={shell}_complete" in done.out
    if shell != "fish":  # which adds no space itself
        assert "== *= ]]" in done.out


def test_bash_takes_the_script(paribus, folder, tmp_path):
    """No space follows KEY=, and one follows a whole word."""
    (tmp_path / "paribus").write_text(
        f"#!{sys.executable}\nfrom paribus.sweeps.cli.main import main\nmain()\n"
    )
    (tmp_path / "paribus").chmod(0o755)
    (tmp_path / "script").write_text(paribus("completion", "bash").out)
    script = """
source "$1"
compopt() { echo "compopt $1 $2"; }
complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _paribus_completion "$1"; }
complete_it paribus sweep digits momen; complete_it paribus sweep digits optimizer.lr
echo "${COMPREPLY[*]}"
complete_it paribus comp
echo "${COMPREPLY[*]}"
"""
    environment = unpinned() | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "bash", tmp_path / "script"],
        env=environment, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n") == [
        "compopt -o nospace", "optimizer.lr=", "compare completion", "",
    ]  # fmt: skip


def test_no_torch_is_imported(folder):
    """Even for a file that imports it, and so an answer comes before torch would."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules, 'optuna' in sys.modules))\n"
        "from paribus.sweeps.cli.app import run\n"
        "run([])"
    )
    environment = unpinned() | {
        "_PARIBUS_COMPLETE": "bash_complete",
        "COMP_WORDS": "paribus sweep mine.py optimizer.lr",
        "COMP_CWORD": "3",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["plain,optimizer.lr=", "False False"]
    assert time.monotonic() - began < 30  # of a machine under any load


def test_version_and_short_help(paribus):
    assert paribus("--version").out.startswith("paribus, version ")
    short, long = paribus("sweep", "-h"), paribus("sweep", "--help")
    assert short.code == 0
    assert short.out == long.out
    places = [long.out.index(t) for t in ("What to try", "How to search", "How to run",
                                          "What to show")]  # fmt: skip
    assert places == sorted(places)
    assert "─ Options ─" not in long.out  # every option is in one of the groups
    for name in ("PARIBUS_ROOT", "WANDB_MODE", "WANDB_PROJECT", "NO_COLOR"):
        assert name in long.out
