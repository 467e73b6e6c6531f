"""The command as a process of its own: killed, interrupted, beside another, from any program."""

import json
import os
import shlex
import signal
import subprocess

import pytest
from processes import (
    COMMAND,
    Started,
    forget_pids,
    is_alive,
    pids,
    run_script,
    unpinned,
    wait_until,
)
from troubled import Troubled, hashes

from paribus.core.errors import RequestError
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

LR = "optimizer.lr=0.1"
LONG = ("--set", "train.epochs=30")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, workplace):
    """The hashes of a sweep that nothing disturbed, through the API of this unpinned process."""
    from paribus.sweeps.api import sweep

    troubled = Troubled(tmp_path_factory.mktemp("reference"), workplace)
    options = {"seeds": [0, 1], "overrides": {"train.epochs": 30}, "wandb": False, "workers": 2}
    done = sweep(troubled.path, {"optimizer.lr": [0.1]}, root=troubled.root.path, **options)
    return hashes(done.study)


def sweeping(troubled, *words, workers=2):
    """`paribus sweep` of the troubled experiment, in a process of its own."""
    line = ["sweep", troubled.path, LR, *LONG, *words, "--seeds", "2", "--no-wandb"]
    line += ["--root", troubled.root.path, "--workers", workers, "--checkpoint-every", "0"]
    return Started(line, cwd=troubled.folder)


@pytest.fixture
def begun():
    """Starts commands, and leaves none behind."""
    commands = []

    def begin(*words, **options):
        commands.append(sweeping(*words, **options))
        return commands[-1]

    yield begin
    for command in commands:
        command.kill()


def study_of(troubled, name=None):
    return Study.load(troubled.root, name or troubled.root.study_names()[0])


def test_killed_then_stopped_then_done_with_the_same_bits(begun, troubled, reference):
    troubled.switch("hold")
    command = begun(troubled)
    wait_until(lambda: len(pids(troubled)) == 2)
    assert len([*troubled.root.attempts.glob("*/last.pt")]) == 2  # of the first epoch
    orphans = forget_pids(troubled)
    command.process.kill()
    command.end()
    wait_until(lambda: not any(map(is_alive, orphans)))
    assert troubled.root.run_ids() == []

    troubled.switch("slow")
    troubled.switch("hold", on=False)
    command = begun(troubled)
    wait_until(lambda: len(pids(troubled)) == 2)
    os.killpg(command.process.pid, signal.SIGINT)  # as a terminal does: to workers as well
    code, out, err = command.end()
    assert (code, "Traceback" in err) == (130, False)
    assert "verdict" not in out  # no table of nothing
    assert err.splitlines()[-1].startswith("Stopped before a run finished; to continue: paribus ")
    assert not any(map(is_alive, pids(troubled)))

    troubled.switch("slow", on=False)
    again = next(line for line in err.splitlines() if "to continue: " in line)
    words = shlex.split(again.partition("to continue: ")[2])
    assert words[0] == "paribus"
    done = subprocess.run(
        [*COMMAND, *words[1:], "--json"],
        env=unpinned(),
        cwd=troubled.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["runs"] == {
        "planned": 4, "trained": 4, "reused": 0, "failed": 0
    }  # fmt: skip
    assert hashes(study_of(troubled)) == reference
    assert list(troubled.root.attempts.iterdir()) == []
    for run in troubled.root.run_ids():
        assert [line.epoch for line in troubled.root.run(run).history()] == [*range(1, 31)]


def test_two_commands_at_once(begun, troubled, reference):
    """Of two studies that share runs, each run is trained once; a study has one command."""
    troubled.switch("hold")
    commands = [begun(troubled, "--study", name, "--json", workers=1) for name in "ab"]
    wait_until(lambda: len(pids(troubled)) == 2)
    with pytest.raises(RequestError) as refused:
        troubled.sweep(LR, overrides=("train.epochs=30",), name="a")
    assert f"in use by another command (process {commands[0].process.pid} on " in str(refused.value)
    troubled.switch("hold", on=False)
    documents = []
    for command in commands:
        code, out, err = command.end()
        assert code == 0, err
        documents.append(json.loads(out))
    trained, reused = ([d["runs"][how] for d in documents] for how in ("trained", "reused"))
    assert (sum(trained), sum(reused)) == (4, 4)
    assert all(trained)
    for name in "ab":
        assert hashes(study_of(troubled, name)) == reference
    import optuna

    storage = f"sqlite:///{troubled.root.path}/optuna.db"
    assert sorted(optuna.get_all_study_names(storage)) == ["a", "b"]
    assert list(troubled.root.attempts.iterdir()) == []


SCRIPT = """
import json
from paribus.sweeps.api import sweep

done = sweep({path!r}, {{"train.batch_size": [8], "optimizer.lr": [0.1]}}, seeds=[1, 0],
             root={root!r}, workers=1, wandb=False)
study = done.study
print(json.dumps([[s.label, seed, study.outcomes.record(run).weights_sha256, run]
                  for s in study.settings for seed, run in s.runs.items()]))
"""


def test_a_script_without_a_guard_gets_the_same_bits(troubled):
    expected = troubled.sweep(LR, "train.batch_size=8")
    text = SCRIPT.format(path=str(troubled.path), root=str(troubled.folder / "b"))
    told = run_script(troubled.folder, text).stdout
    found = {(label, seed): (digest, run) for label, seed, digest, run in json.loads(told)}
    assert found == {
        key: (digest, expected.study.find(key[0]).runs[key[1]])
        for key, digest in expected.hashes.items()
    }
    assert len(ResultsDir(troubled.folder / "b").run_ids()) == 6


def test_a_command_that_imports_torch_ends_without_a_word(tmp_path):
    """What torch brings along reports leaks if Python is kept from freeing it."""
    code, out, err = Started(["show", "images"], cwd=tmp_path).end()
    assert (code, err) == (0, "")
    assert "engine" in out
