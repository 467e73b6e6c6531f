"""Rows 12, 14, 15 and 17 to 20: bad numbers, trackers, second drivers, strangers and secrets."""

import json
import os
import pickle
import shutil
import socket
import subprocess

import pytest
from faulty import LONG, LR, broken
from manifest import write_manifest
from processes import COMMAND, pids, unpinned, wait_until
from safetensors.torch import save

from paribus.core.fileio import write_bytes, write_json
from paribus.core.records.run_dir import LAST, read_state, save_state
from paribus.sweeps.cli.console import command as command_to_paste
from paribus.sweeps.formatting import without_credentials


def test_row_12_a_loss_that_is_not_finite(troubled, tally):
    done = troubled.sweep("model.trouble=nan", LR, seeds=[0, 1])
    result = done.result("model.trouble=nan")
    violations = [] if result.status == "failed" else [f"it is {result.status}"]
    violations += [] if "non-finite: train/loss is nan at epoch 2" in result.reason else [
        result.reason
    ]  # fmt: skip
    violations += [] if done.sweep.document()["best"] in ("baseline", LR) else ["it is the best"]
    violations += [] if done.result(LR).status == "complete" else ["the study did not go on"]
    for run in result.setting.runs.values():
        record = troubled.root.finished(run)
        if record.best is not None or (troubled.root.runs / run / "best.safetensors").exists():
            violations.append(f"{run} has a best epoch")
    tally(2, violations)


@pytest.mark.parametrize("how", ["nobody listens", "its disk is full"])
def test_row_14_a_tracker_in_trouble_changes_nothing(
    how, begun, troubled, reference, tmp_path, tally
):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    online = {"WANDB_API_KEY": "5ec4e7" * 7, "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
              "NO_PROXY": "*", "HOME": str(tmp_path)}  # fmt: skip
    env = online if how == "nobody listens" else {"WANDB_MODE": "offline", "HOME": str(tmp_path)}
    place = troubled.root.path / "wandb"
    if how == "its disk is full":
        place.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("needs to mount a tmpfs")
    try:
        code, out, err = begun(wandb=True, env=env).end()
    finally:
        if how == "its disk is full":
            subprocess.run(["umount", "-l", str(place)], check=True)
    violations = [] if code == 0 else [f"exit code {code}: {err}"]
    if how == "nobody listens":
        violations += [] if err.count("W&B") == 1 else [f"not one warning: {err}"]
    violations += ["a traceback"] if "Traceback" in err + out else []
    tally(1, violations + broken(troubled.root, reference))


def test_row_15_a_second_driver_is_refused_naming_the_first(begun, troubled, reference, tally):
    troubled.switch("hold")
    first = begun()
    wait_until(lambda: len(pids(troubled)) == 2)
    code, _, err = begun().end()
    troubled.switch("hold", on=False)
    said = f"in use by another command (process {first.process.pid} on {socket.gethostname()})"
    violations = [] if (code, said in err) == (2, True) else [f"exit code {code}: {err}"]
    violations += [] if first.end()[0] == 0 else ["the first did not end well"]
    tally(1, violations + broken(troubled.root, reference))


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def finished(troubled):
    done = troubled.sweep(LR, seeds=[0])
    return troubled.root.runs / done.study.find("baseline").runs[0]


def test_row_17_a_resume_state_that_runs_code(troubled, tmp_path, reference, tally):
    planned = troubled.plan(LR, overrides=LONG, seeds=[0, 1], name="study")
    troubled.root.create()
    ran = tmp_path / "ran"
    for number, run in enumerate(planned.distinct_runs()):
        attempt = troubled.root.attempts / f"{run.id}.1"
        attempt.mkdir()
        if number % 2:
            save_state(attempt, {"epoch": 1, "model": Evil(f"touch {ran}")})
        else:
            body = pickle.dumps(Evil(f"touch {ran}"))
            save_state(attempt, {})
            mark = (attempt / LAST).read_bytes()[-72:-64]
            import hashlib

            write_bytes(attempt / LAST, body + mark + hashlib.sha256(body).hexdigest().encode())
        read_state(attempt / LAST)  # its sha256 is right
    troubled.sweep(LR, overrides=LONG, seeds=[0, 1])
    tally(4, (["it ran"] if ran.exists() else []) + broken(troubled.root, reference))


def deep(depth):
    return "[" * depth + "]" * depth


FORGED = {
    "a path out of the folder": lambda r: r.update(experiment_file="../../../evil.py"),
    "an absolute path": lambda r: r.update(experiment_file="/tmp/evil.py"),
    "a module of anyone's": lambda r: r["configuration"]["model"].update(name="evil.Net"),
    "a function of the system": lambda r: r["configuration"]["model"].update(name="os.system"),
    "a size beyond all memory": lambda r: r["configuration"]["model"].update(width=10**13),
}


@pytest.mark.parametrize("what", FORGED)
def test_row_17_a_forged_record(what, finished, paribus, tmp_path, tally):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    record = json.loads((finished / "run.json").read_text())
    FORGED[what](record)
    record["asked"]["model"] = record["configuration"]["model"]
    write_json(finished / "run.json", record)
    write_manifest(finished)
    violations = []
    for command in ("evaluate", "reproduce", "show"):
        done = paribus(command, finished, cwd=tmp_path)
        if done.code not in (1, 2) or "Traceback" in done.err or not done.err.startswith("Error: "):
            violations.append(f"{command}: {done}")
    violations += ["it ran"] if (tmp_path / "ran").exists() else []
    tally(3, violations)


def test_row_17_parts_of_a_record_that_are_something_else(
    finished, troubled, paribus, injections, tally
):
    at = ("--root", troubled.root.path)
    record = json.loads((finished / "run.json").read_text())
    violations, forged, values = [], 0, (5, {}, None, "x")
    for number, key in enumerate(record):
        for value in values if injections(0) else (values[number % 4],):
            forged += 1
            write_json(finished / "run.json", {**record, key: value})
            write_manifest(finished)
            for command in (("runs",), ("evaluate", finished.name), ("compare", "study")):
                done = paribus(*command, *at)
                if "Traceback" in done.err or done.code not in (0, 1, 2):
                    violations.append(f"{key} {value!r}, {command[0]}: {done.err[-300:]}")
    (finished / "manifest.json").write_text('{"a\\u0000b": "x"}\n')
    done = paribus("evaluate", finished.name, *at)
    violations += [] if done.code == 1 and "Traceback" not in done.err else [str(done)]
    tally(forged + 1, violations)


def test_row_17_forged_files(finished, troubled, paribus, tmp_path, tally):
    """Headers that promise too much, depths without end, and studies that point elsewhere."""
    import torch

    at = ("--root", troubled.root.path)
    good = {p: p.read_bytes() for p in finished.iterdir() if p.is_file()}
    violations = []
    weights = save({"first.weight": torch.zeros(1)})
    for body in ((2**60).to_bytes(8, "little") + weights[8:], b"", weights):
        (finished / "best.safetensors").write_bytes(body)
        write_manifest(finished)
        done = paribus("evaluate", finished.name, *at)
        if done.code not in (1, 2) or "Traceback" in done.err:
            violations.append(f"a forged checkpoint: {done}")
    for name in ("run.json", "manifest.json", "history.jsonl"):
        for path, content in good.items():
            path.write_bytes(content)
        (finished / name).write_text(deep(100_000))
        for command in (("evaluate", finished.name), ("reproduce", finished), ("runs",)):
            done = paribus(*command, *at)
            if "Traceback" in done.err or (done.code, command[0]) == (0, "evaluate"):
                violations.append(f"{name} without end, {command[0]}: {done.code} {done.err[:500]}")
    for path, content in good.items():
        path.write_bytes(content)
    file = troubled.root.studies / "study" / "study.json"
    precious = tmp_path / "precious"
    precious.mkdir()
    away = os.path.relpath(precious, troubled.root.runs)
    file.write_text(file.read_text().replace(finished.name, away))
    done = paribus("remove", "study", "--yes", *at)
    violations += [] if done.code == 1 and precious.is_dir() else [f"remove: {done}"]
    tally(13, violations)


INERT = '''"""[bold red]Is it[/] \\x1b[31minert?"""
import numpy as np
from sklearn.utils import Bunch

def flowers(kind: str = "[red]x[/red]"):
    generator = np.random.default_rng(0)
    names = np.array(["[b]rose[/b]", "\\x1b[2Jtulip", "'; DROP TABLE studies; --"])
    return Bunch(data=generator.normal(size=(60, 4)), target=np.arange(60) % 3, target_names=names)

BASELINE = {"task": "multiclass", "data": flowers, "model": "linear", "loss": "cross_entropy",
            "optimizer": "sgd", "train": {"epochs": 1}}
AXES = {"optimizer.lr": [0.5]}
'''


def test_row_19_markup_escapes_and_sql_are_shown_inert(paribus, tmp_path, tally):
    (tmp_path / "own.py").write_text(INERT)
    shown, violations = "", []
    quiet = ("--no-wandb", "--study", "s")
    for line in (
        ("show", "own.py"),
        ("sweep", "own.py", "--seeds", "1", *quiet),
        ("compare", "s"),
        ("studies",),
        ("runs", "s"),
        ("evaluate", "s/baseline-s0"),
        ("reproduce", "s/baseline-s0"),
    ):
        done = paribus(*line, cwd=tmp_path)
        shown += done.out + done.err
        violations += [] if done.code == 0 else [f"{line}: {done}"]
    violations += ["an escape code is shown"] if "\x1b" in shown else []
    for text in ("[bold red]Is it[/]", "[b]rose[/b]", "'; DROP TABLE studies; --"):
        violations += [] if text in shown else [f"{text} is not shown as it is"]
    tally(7, violations)


SECRETS = {
    "WANDB_API_KEY": "5ec4e7" * 7,
    "DATABASE_PASSWORD": "hunter2-hunter2",
    "AWS_SECRET_ACCESS_KEY": "aws-very-secret-0123456789",
}


def test_row_20_secrets_are_written_nowhere(paribus, tmp_path, tally):
    """Not to files, not to either output, with W&B offline and online where nobody listens."""
    violations = []
    for number, mode in enumerate(
        ({"WANDB_MODE": "offline"}, {"WANDB_BASE_URL": "http://127.0.0.1:9"})
    ):
        home = tmp_path / str(number)
        home.mkdir()
        line = ("sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=1", "--seeds", "1")
        env = unpinned() | SECRETS | mode | {"HOME": str(home), "NO_PROXY": "*"}
        done = subprocess.run(
            [*COMMAND, *line], cwd=home, env=env, capture_output=True, timeout=120
        )
        violations += [] if done.returncode == 0 else [done.stderr.decode()]
        files = {str(p): p.read_bytes() for p in home.rglob("*") if p.is_file()}
        assert any("/wandb/" in name for name in files) or number
        for name, content in (files | {"output": done.stdout + done.stderr}).items():
            violations += [f"{key} is in {name}" for key, value in SECRETS.items()
                           if value.encode() in content]  # fmt: skip
    line = ("sweep", "line", "--storage", "postgresql://me:hunter2@127.0.0.1:9/base")
    refused = paribus(*line, cwd=tmp_path)
    assert refused.code == 2
    violations += ["the storage's password is told"] if "hunter2" in refused.err else []
    assert without_credentials("mysql://me:hunter2@host/base") == "mysql://host/base"
    assert without_credentials("mysql://me:hun@ter2@host/base") == "mysql://host/base"
    words = ("sweep", "--storage", "mysql://me:hunter2@host/base", "--storage=mysql://a:b@c/d")
    told = "paribus sweep --storage mysql://host/base --storage=mysql://c/d"
    assert command_to_paste(*words) == told
    tally(3, violations)
