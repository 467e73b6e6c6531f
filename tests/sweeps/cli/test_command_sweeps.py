"""Any script as it is: four styles swept, what decides a run's id, failures, kills, bad input."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from commands import refused
from processes import Started, is_alive, wait_until

from tests.sweeps.wandb_reader import offline_runs

HELPER = "def loss(lr, epoch, seed):\n    return lr * 10 / epoch + seed / 100\n"
ARGPARSE = """
import argparse
import logging
import os
import sys
import time

from helper import loss

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--act", choices=["relu", "tanh"], default="relu")
parser.add_argument("--use-amp", action="store_true")
parser.add_argument("--sizes", nargs="+", type=int)
parser.add_argument("--data", default=None)
parser.add_argument("--trouble", default="")
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--out-dir")
args = parser.parse_args()
logging.basicConfig(level=logging.INFO)
if args.trouble == "exit":
    print("Traceback")
    sys.exit("ValueError: the learning rate is odd")
if args.trouble == "odd":
    os.kill(os.getpid(), 11)
print("OMP", os.environ["OMP_NUM_THREADS"], os.getcwd(), sys.executable)
for epoch in range(1, 4):
    for batch in range(2):
        print(f"batch {batch}: train_loss={batch + epoch}", end="\\r", flush=True)
    print()
    logging.info("epoch %d: val/loss: %.4f, amp=%d", epoch, loss(args.lr, epoch, args.seed),
                 args.use_amp)
    if args.trouble == "hang":
        with open("pid", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
"""
CLICK = """
import json

import click


@click.command()
@click.option("--rate", default=0.1, show_default=True)
@click.option("--kind", type=click.Choice(["a", "b"]), default="a")
@click.option("--seed", default=0)
def main(rate, kind, seed):
    for epoch in range(3):
        val = {"acc": rate * (epoch % 2) + seed / 10}
        print(json.dumps({"epoch": epoch, "val": val, "kind": kind}))


main()
"""
WRITES_JSON = """
import json
import sys

rate, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with open(f"{out}/result.json", "w") as file:
    json.dump({"f1": rate + seed / 10, "n": 3, "name": "x"}, file)
"""
WRITES_EVENTS = """
import sys

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

rate, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
writer = EventFileWriter(out + "/logs")
for step in range(3):
    for tag, value in (("val/loss", rate - step / 10 + seed), ("train/loss", step)):
        values = [Summary.Value(tag=tag, simple_value=value)]
        writer.add_event(Event(step=step, summary=Summary(value=values)))
writer.close()
"""
SELECT = 'SELECT = {"metric": "val/loss", "direction": "minimize"}\n'
FILE = f'''"""What does the learning rate do?"""

COMMAND = "python train.py --lr {{lr}} {{--use-amp}} --seed {{seed}} --trouble '{{trouble}}'"
BASELINE = {{"lr": 0.001, "use_amp": False, "trouble": ""}}
AXES = {{"script.lr": [0.01], "use_amp": [True]}}
{SELECT}'''


@pytest.fixture
def folder(tmp_path):
    for name, text in (("helper", HELPER), ("train", ARGPARSE), ("mine", FILE)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def call(paribus, folder):
    def call(*words, **more):
        return paribus(words[0], "--root", folder / "r", *words[1:], cwd=folder, **more)

    return call


ONLY = ("--metric", "val/loss", "--direction", "minimize", "--", "python", "train.py")
SEED = ("--seed", "{seed}")
SWEEP = ("sweep", "mine.py", "lr=0.01", "--seeds", "2", "--no-wandb", "--json")


def swept(call, *words):
    done = call(*words)
    assert done.code == 0, done.err
    return done.json


def values(document):
    return [setting["values"] for setting in document["settings"]]


def test_argparse_without_a_file(call, folder):
    words = ("sweep", "lr=1e-3,1e-2", "--seeds", "2", "--no-wandb", "--json", "--metric",
             "val/loss", "--direction", "minimize", "--", "python", "train.py", "--lr", "{lr}",
             "--seed", "{seed}", "--out-dir", "{out}")  # fmt: skip
    document = swept(call, *words)
    assert document["sameness"] == "not proven"
    assert [s["label"] for s in document["settings"]] == ["baseline", "script.lr=0.01"]
    assert values(document) == [[0.0033, 0.0133], [0.0333, 0.0433]]
    run = folder / "r" / "runs" / document["settings"][0]["runs"][0]
    log = (run / "log.txt").read_text()
    assert "OMP 1" in log
    assert "INFO:root:epoch 3" in log
    assert (run / "out").is_dir()
    lines = [json.loads(line)["metrics"] for line in (run / "history.jsonl").open()]
    # What a progress bar overwrote is no epoch: only its last state is read.
    assert lines == [
        {"train_loss": 1.0 + epoch, "val/loss": round(0.01 / epoch, 4), "amp": 0.0}
        for epoch in (1, 2, 3)
    ]
    assert swept(call, *words)["runs"]["reused"] == 4
    study = document["study"]
    for other in (("compare", study), ("report", study), ("plot", study), ("runs", study)):
        assert call(*other).code == 0
    done = call("reproduce", f"{study}/script.lr=0.01")
    assert (done.code, "bit-exact" in done.out) == (0, True), done


def test_the_baseline_is_no_part_of_a_typed_command(call, folder):
    words = ("--seeds", "2", "--no-wandb", "--json", *ONLY, "--lr", "{lr}", *SEED)
    first = swept(call, "sweep", "lr=1e-3,1e-2", *words)
    other = swept(call, "sweep", "lr=1e-2,1e-3", *words)
    assert (other["runs"]["trained"], other["runs"]["reused"]) == (0, 4)
    assert other["study"] != first["study"]
    assert values(other) == values(first)[::-1]
    again = swept(call, "sweep", "lr=1e-3,1e-2", *words)
    assert (again["study"], again["runs"]["reused"]) == (first["study"], 4)


def test_a_file_in_the_place_of_a_typed_command_is_not_run(call, folder):
    line = ("sweep", "lr=1,2", "--dry-run", *ONLY, "--lr", "{lr}", *SEED)
    swept(call, *line[:2], "--seeds", "1", "--no-wandb", "--json", *line[3:])
    (file,) = (folder / "r" / "commands").rglob("*.py")
    file.write_text("open('was_run', 'w')\n" + file.read_text())
    done = call(*line)
    assert (done.code, (folder / "was_run").exists()) == (2, False)
    assert f"{file.name} is there, with other content. Move it away." in done.err


def test_click_and_nested_json_lines(call, folder):
    (folder / "clicked.py").write_text(CLICK)
    document = swept(call, "sweep", "rate=1,2.5", "kind=a,b", "--seeds", "0,3", "--no-wandb",
                     "--json", "--metric", "val/acc", "--direction", "maximize", "--",
                     "python", "clicked.py", "--rate={rate}", "--kind", "{kind}",
                     "--seed", "{seed}")  # fmt: skip
    assert values(document) == [[1.0, 1.3], [2.5, 2.8], [1.0, 1.3]]


def test_a_json_file_that_it_writes(call, folder):
    (folder / "writes.py").write_text(WRITES_JSON)
    document = swept(call, "sweep", "lambda=1,2", "--set", "lambda=2", "--seeds", "2",
                     "--no-wandb", "--json", "--metric", "f1",
                     "--metrics-from", "{out}/result.json", "--",
                     "python", "writes.py", "{lambda}", "{seed}", "{out}")  # fmt: skip
    assert values(document) == [[2.0, 2.1], [1.0, 1.1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "epoch,train/loss,val/loss\n1,5,\n1,,{rate}\n2,4,\n2,,{better}\n"),
        (
            "m.jsonl",
            '{{"epoch": 1, "val/loss": {rate}, "a": "\u2028"}}\n\n{{"val/loss": {better}}}\n',
        ),
        ("m.json", '[{{"val/loss": {rate}, "ok": true}}, {{"val/loss": {better}}}]'),
    ],
)
def test_tables_that_it_writes(call, folder, name, text):
    (folder / "writes.py").write_text(
        "import sys\nrate, seed = float(sys.argv[1]), int(sys.argv[2])\n"
        f"text = {text!r}.format(rate=rate, better=rate / 2 + seed)\n"
        f"open(sys.argv[3] + '/{name}', 'w').write(text)\n"
    )
    document = swept(call, "sweep", "x=1,2", "--seeds", "1", "--no-wandb", "--json",
                     "--metric", "val/loss", "--metrics-from", f"{{out}}/{name}", "--",
                     "python", "writes.py", "{x}", "{seed}", "{out}")  # fmt: skip
    assert values(document) == [[0.5], [1.0]]


def test_tensorboard_events(call, folder):
    pytest.importorskip("tensorboard")
    (folder / "events.py").write_text(WRITES_EVENTS)
    document = swept(call, "sweep", "x=1,4", "--seeds", "2", "--no-wandb", "--json",
                     "--metric", "val/loss", "--metrics-from", "{out}", "--",
                     "python", "events.py", "{x}", "{seed}", "{out}")  # fmt: skip
    assert values(document) == [[0.8, 1.8], [3.8, 4.8]]  # the numbers that were logged
    run = folder / "r" / "runs" / document["settings"][0]["runs"][0]
    lines = [json.loads(line)["metrics"] for line in (run / "history.jsonl").open()]
    assert [line["train/loss"] for line in lines] == [0, 1, 2]


def test_a_regular_expression(call, folder):
    (folder / "prints.py").write_text(
        "import sys\nfor e in (2, 1):\n    print(f'[{e}] valid {float(sys.argv[1]) * e} (best)')\n"
        "print('lr=3')\n"
    )
    text = FILE.replace("train.py --lr {lr}", "prints.py {lr}").replace("val/loss", "valid")
    (folder / "mine.py").write_text(text + 'METRICS = r"valid (?P<valid>\\S+)"\n')
    assert values(swept(call, *SWEEP)) == [[0.001, 0.001], [0.01, 0.01]]


def printed(call, folder, *lines, metric="loss"):
    """Run a script that prints these lines."""
    (folder / "train.py").write_text(f"print({chr(10).join(lines)!r})\n")
    edit(folder / "mine.py", "val/loss", metric)
    done = call("run", "mine.py", "--no-wandb", "--json").json
    history = Path(done["dir"]) / "history.jsonl"
    return done["reason"], [json.loads(line)["metrics"] for line in history.open()]


def test_numbers_that_it_prints(call, folder):
    lines = (
        "Train Loss: 0.5 | Val Loss: 0.7 (best val loss: 0.6)",
        "a=1,234.5 b=0,53 c=1\u202f234 d=0.1,e=.2, g: 93.2% pair=1 pair=2 same=1 same=1",
        "{'eval_loss': 0.25, 'epoch': 1.0}",
        'INFO {"val/acc": 0.5, "it": 7}',
        '{"big": 1' + "0" * 400 + "}",
    )
    reason, epochs = printed(call, folder, *lines, metric="Val Loss")
    assert reason is None
    numbers = {"Train Loss": 0.5, "Val Loss": 0.7, "best val loss": 0.6, "d": 0.1, "e": 0.2,
               "g": 93.2, "same": 1, "eval_loss": 0.25, "val/acc": 0.5, "it": 7,
               "big": None}  # fmt: skip
    assert epochs == [numbers]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["loss=1,234.5 acc=0.5"], ["'loss' never came; these did: acc."]),
        (["val loss: 0.7 | train loss: 0.5"], ["these did: val loss, train loss."]),
        (["valid: 1, loss=0.7, last loss=0.5"], ["'loss' is 0.5 and 0.7 in one line."]),
        (["train: loss=0.5", "val: loss=0.7"], ["'loss' stands behind train in one line, val in"]),
        (["loss=0.5", "Test: loss=0.7"], ["'loss' stands behind nothing in one line, test in"]),
    ],
)
def test_numbers_that_may_be_others_are_refused(call, folder, lines, said):
    reason, _ = printed(call, folder, *lines)
    for words in (*said, "METRICS"):
        assert words in reason


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_decides_whether_a_run_is_trained_again(call, folder):
    (folder / "data.csv").write_text("1\n")
    (folder / "more").mkdir()
    (folder / "more" / "a.txt").write_text("1")
    (folder / "other.txt").write_text("1")
    (folder / "launch.py").write_text(
        "import runpy, sys\nsys.argv.pop(0)\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    edit(folder / "mine.py", "train.py", "launch.py train.py --data=data.csv")
    edit(folder / "mine.py", "AXES", f'INPUTS = ["more", "{folder}/o*.txt"]\nAXES')
    line = [*SWEEP, "--seeds", "1"]
    counts = swept(call, *line)["runs"]
    assert (counts["trained"], counts["reused"]) == (2, 0)
    assert swept(call, *line)["runs"]["reused"] == 2
    edit(folder / "mine.py", "[0.01]", "[0.02]")
    assert swept(call, *line)["runs"]["reused"] == 2
    for file, old, new in (
        ("train.py", "val/loss: %.4f", "val/loss: %.5f"),
        ("helper.py", "/ 100", "/ 1000"),
        ("data.csv", "1", "2"),
        ("other.txt", "1", "2"),
        ("more/a.txt", "1", "2"),
        ("mine.py", "train.py", "train.py --act relu"),
    ):
        edit(folder / file, old, new)
        done = call(*line)
        assert done.json["runs"]["trained"] == 2, file
        assert f"{Path(file).name if file != 'more/a.txt' else '*'}: changed" in done.err, done.err
    (folder / "more" / "b.txt").write_text("1")
    assert swept(call, *line)["runs"]["trained"] == 2


@pytest.mark.parametrize("code", [0, 1])
def test_a_file_that_is_edited_while_the_command_reads_it_is_no_run(call, folder, code):
    """It reads its file late and puts it back later: nothing of it may be taken for the plan's."""
    (folder / "late.py").write_text(
        "import sys\nfrom pathlib import Path\nfile = Path('rate.txt')\nrate = file.read_text()\n"
        "Path('new.txt').write_text(rate)\n"
        "if rate == '1':\n    file.write_text('3')\n"
        f"print('val/loss:', file.read_text(), flush=True)\nsys.exit({code} * (rate == '1'))\n"
    )
    edit(folder / "mine.py", "train.py", "late.py rate.txt new.txt")
    (folder / "rate.txt").write_text("1")
    done = call("run", "mine.py", "--no-wandb", "--json")
    assert done.code != 0
    assert "rate.txt: " in done.err + done.out
    assert "what was trained is not what was planned" in done.err + done.out
    assert not [*folder.glob("r/runs/*/run.json")]
    (folder / "rate.txt").write_text("2")
    (folder / "new.txt").unlink()
    done = call("run", "mine.py", "--no-wandb", "--json")
    assert (done.code, done.json["status"]) == (0, "complete"), done


def test_reproduce_says_which_file_was_edited(call, folder):
    study = swept(call, *SWEEP)["study"]
    edit(folder / "helper.py", "* 10", "* 20")
    done = call("reproduce", f"{study}/baseline-s0", "--json")
    assert done.code == 1
    assert list(done.json["environment"]) == ["helper.py"]
    assert done.json["first_difference"]["quantity"] == "val/loss"
    (folder / "train.py").unlink()
    done = call("reproduce", f"{study}/baseline-s0")
    assert (done.code > 0, "train.py" in done.err) == (True, True), done


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("exit", ["exit code 1", "ValueError: the learning rate is odd", "log.txt"]),
        ("odd", ["SIGSEGV"]),
    ],
)
def test_a_script_that_fails_is_a_failed_run(call, folder, trouble, words):
    done = call("run", "mine.py", f"trouble={trouble}", "--no-wandb", "--json")
    assert (done.code, done.json["status"]) == (1, "failed")
    for word in words:
        assert word in done.json["reason"]
    assert (Path(done.json["dir"]) / "log.txt").is_file()


def test_a_metric_that_never_came_is_named_with_those_that_did(call, folder):
    edit(folder / "mine.py", "val/loss", "val/los")
    done = call("run", "mine.py", "--no-wandb", "--json")
    reason = done.json["reason"]
    assert "'val/los' never came; these did: train_loss, val/loss, amp." in reason
    assert "Did you mean 'val/loss'?" in reason
    (folder / "mine.py").write_text(FILE + 'METRICS = "{out}/m.json"\n')
    done = call("run", "mine.py", "--no-wandb", "--json")
    assert "METRICS: m.json: cannot be read (No such file or directory)" in done.json["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--metric", "val_loss", *ONLY[2:], "--lr", "{lr}", *SEED),
            "'val_loss' never came; these did: train_loss, val/loss, amp. Did you mean",
        ),
        (
            (*ONLY, "--rate", "{lr}", *SEED),
            "the command failed (exit code 2): train.py: error: unrecognized arguments: --rate 1",
        ),
    ],
    ids=["metric", "option"],
)
def test_a_command_that_cannot_end_well_is_not_tried_with_every_setting(call, folder, words, said):
    words = ("sweep", "lr=1,2", "--seeds", "3", "--workers", "1", "--no-wandb", *words)
    for _ in range(2):  # nor is it when the same is asked once more
        done = call(*words)
        assert (done.code, done.out.count("failed")) == (1, 0), done
        (line,) = [line for line in done.err.splitlines() if line.startswith("Error: ")]
        assert said in line
        assert "No other run was begun. Correct the command, its --metric or SELECT; " in line
        (run,) = (folder / "r" / "runs").iterdir()
        assert str(run.relative_to(folder) / "log.txt") in line
        assert len(line) < 500
        assert line == done.err.splitlines()[-1]


def test_a_reason_of_several_seeds_is_printed_once(call, folder):
    edit(folder / "train.py", 'args.trouble == "exit"', 'args.trouble == "exit" and args.lr == 1')
    edit(folder / "mine.py", '"trouble": ""', '"trouble": "exit"')
    done = call("sweep", "mine.py", "lr=1", "--seeds", "3", "--no-wandb")
    assert done.code == 1
    assert "6 runs: 6 trained, 3 of them failed" in done.out
    last = done.err.splitlines()[-1]
    assert last.startswith("script.lr=1.0 failed: seeds 0, 1, 2: exception: the command failed")
    assert "ValueError: the learning rate is odd" in last
    assert "log.txt)" in last
    edit(folder / "train.py", " and args.lr == 1", "")
    done = call("sweep", "mine.py", "lr=1", "--seeds", "3", "--no-wandb")
    assert "6 runs: all failed, in" in done.out + done.err
    assert "baseline, script.lr=1.0 failed: seeds 0, 1, 2: exception" in done.err


def test_a_setting_with_a_failed_seed_is_judged_on_the_others(call, folder):
    edit(folder / "train.py", 'args.trouble == "exit"', "args.lr == 1 and args.seed == 2")
    done = call("sweep", "mine.py", "lr=1", "--seeds", "3", "--no-wandb")
    assert done.code == 1
    (row,) = [line for line in done.out.splitlines() if line.startswith("   1.0 ")]
    assert row.split()[-2:] == ["worse", "2"]
    assert "script.lr=1.0 is worse than the baseline (+" in done.out
    assert "No verdict" not in done.out


def pid_of(folder):
    wait_until((folder / "pid").is_file)
    wait_until(lambda: (folder / "pid").read_text())
    return int((folder / "pid").read_text())


@pytest.mark.parametrize("how", ["kill", "worker", "stop"])
def test_the_script_ends_with_paribus_and_its_run_begins_again(folder, how, paribus):
    line = ("sweep", "mine.py", "lr=0.01", "--seeds", "2", "--root", "r", "--no-wandb",
            "--set", "trouble=hang", "--workers", "1", "--run-timeout", "600")  # fmt: skip
    started = Started(line, cwd=folder)
    pid = pid_of(folder)
    assert is_alive(pid)
    if how == "kill":
        started.process.kill()
        started.process.communicate()
    elif how == "worker":
        (folder / "pid").unlink()
        (worker,) = started.workers()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))
        pid = pid_of(folder)  # it is tried once more
        started.process.kill()
        started.process.communicate()
    else:
        started.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        started.process.send_signal(signal.SIGINT)  # at once: the first waits for an epoch
        assert started.end()[0] == 130
    wait_until(lambda: not is_alive(pid))
    edit(folder / "train.py", "time.sleep(600)", "pass")
    done = paribus(*line, "--json", cwd=folder)
    assert (done.code, done.json["runs"]["trained"]) == (0, 4), done


def test_what_a_script_leaves_running_ends_with_it(call, folder):
    (folder / "train.py").write_text(
        "import subprocess, sys\n"
        "left = subprocess.Popen(['sleep', '600'])\n"
        "open('pid', 'w').write(str(left.pid))\n"
        "subprocess.Popen([sys.executable, '-c',\n"
        "                  'import time; time.sleep(1); print(\"val/loss=0.5\")'])\n"
    )
    began = time.monotonic()
    done = call("run", "mine.py", "--no-wandb", "--json")
    assert (done.code, done.json["best"]["metrics"]) == (0, {"val/loss": 0.5})
    assert time.monotonic() - began < 300
    assert not is_alive(pid_of(folder))


def test_a_run_that_is_silent_is_given_up(call, folder):
    done = call("sweep", "mine.py", "lr=0.01", "--seeds", "1", "--set", "trouble=hang",
                "--no-wandb", "--run-timeout", "1", "--workers", "2")  # fmt: skip
    assert done.code == 1
    assert "timeout: no epoch ended for" in done.err
    assert not is_alive(pid_of(folder))


def test_runs_are_logged_to_wandb(call, folder):
    done = call("sweep", "mine.py", "lr=0.01", "--seeds", "1", env={"WANDB_MODE": "offline"})
    assert done.code == 0, done.err
    found = offline_runs(folder / "r")
    assert any("val/loss" in row for run in found for row in run.rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lr=1,2", *ONLY, "--lr", "{lr}"), ["COMMAND has no {seed}. Such as --seed {seed}"]),
        (("lr=1,2", *ONLY, *SEED), ["COMMAND has no {lr}."]),
        (("lr=1,2", *ONLY, "{lr}", "{width}", *SEED), ["BASELINE has no 'width'."]),
        (("lr=1,2", *ONLY, "{lr:.2f}", *SEED), ["{lr} in '{lr:.2f}' is no hyperparameter."]),
        (("lr=1,2", *ONLY, "{lr}", "{--seed}", *SEED), ["{--seed} in '{--seed}' is no hyperp"]),
        (("lr=1,2", *ONLY, "{lr}", "{--out}", *SEED), ["{--out} in '{--out}' is no hyperparam"]),
        (("lr=1,2", *ONLY, "{lr}", "{--lr}", *SEED), ["{--lr} is a flag", "and {lr} is none"]),
        (("lr=1,2", *ONLY, "{name}", *SEED), ["{name} in '{name}' is no hyperparameter"]),
        (("lr=1,2", *ONLY, "{lr", *SEED), ["'{lr': expected '}' before end of string."]),
        (("lr=1:2", *ONLY, "{lr}", *SEED), ["does not say which level is the baseline", "--set"]),
        (("lr", *ONLY, "{lr}", *SEED), ["'lr' is not KEY=LEVELS."]),
        (("lr=1,2", *ONLY[2:], "{lr}", *SEED), ["A command needs --metric"]),
        (
            ("lr=1,2", *ONLY[:-1], "trian.py", "{lr}", *SEED),
            ["Error: there is no 'trian.py'", "'train.py'?"],
        ),
        (("lr=1,2", *ONLY[:-2], "pyton", "{lr}", *SEED), ["there is no program 'pyton'."]),
        (("lr=1", *ONLY, "{lr}", *SEED), ["1 is the baseline's own level"]),
        (("lr=1,2", "--metrics-from", "m.json", *ONLY, "{lr}", *SEED), ["nor a path below {out}"]),
        (("lr=1,2", "--metrics-from", "(?P<x>", *ONLY, "{lr}", *SEED), ["no regular expression"]),
        (("mine.py", "--metric", "x"), ["--metric is for a command"]),
        (("lr=1,2", "--metric", "x", *ONLY[4:], "{lr}", *SEED), ["--direction maximize or"]),
        (
            ("--strict", *ONLY, *SEED),
            ["Error: What is to be tried is missing: KEY=LEVELS before -- COMMAND."],
        ),
        (("lr=1,2", *ONLY[:5]), ["Error: No command stands behind --. Such as: paribus sweep lr"]),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_bad_input_is_one_line_and_creates_nothing(call, folder, words, said):
    before = sorted(folder.iterdir())
    refused(call("sweep", *words), folder / "r", *said)
    refused(call("sweep", words[0], "--dry-run", *words[1:]), folder / "r", *said)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("COMMAND = 3\n", ["mine.py: COMMAND is no command"]),
        ('COMMAND = "python train.py \'"\n', ["COMMAND is no command: No closing quotation."]),
        ("BASELINE = 3\n", ["BASELINE is no dict"]),
        ("BASELINE['use_amp'] = 1\n", ["{--use-amp} is a flag: BASELINE use_amp must be True or"]),
        ("INPUTS = ['data/*.csv']\n", ["INPUTS: there is no file 'data/*.csv' in"]),
        ("INPUTS = 'x'\n", ["INPUTS is no list of files."]),
        ("INPUTS = ['/nowhere/x*']\n", ["INPUTS: there is no file '/nowhere/x*'"]),
        ("INPUTS = ['**x', '\\0', 'x' * 300]\n", ["INPUTS: there is no file '**x'", "xxx"]),
        ("FOLDER = 5\n", ["FOLDER is no path"]),
        ("COMMAND = None\n", ["COMMAND is no command"]),
        ("COMMAND = '\\0 {seed}'\n", ["there is no program"]),
        (f"COMMAND = 'python {'x' * 300}.py {{seed}}'\n", ["there is no 'xxx"]),
        ("METRICS = '{out}/x.xml'\n", ["of a file .json, .jsonl or .csv, or a folder"]),
        ("FOLDER = '/nowhere'\nSELECT = {}\n", ["folder /nowhere is not there", "SELECT does not"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_together(call, folder, more, said):
    (folder / "mine.py").write_text(FILE + more)
    refused(call(*SWEEP[:-1]), folder / "r", *said)


def test_a_word_may_be_long(call, folder):
    edit(folder / "mine.py", "'{trouble}'", f"'{{trouble}}' --data {'x' * 300}")
    assert call("run", "mine.py", "--no-wandb").code == 0


def test_new_reads_options_and_runs_nothing(paribus, folder):
    (folder / "clicked.py").write_text(CLICK + "raise SystemExit('it was run')\n")
    done = paribus("new", "two", "--script", "train.py", cwd=folder)
    assert done.code == 0, done.err
    text = (folder / "two.py").read_text()
    assert (
        'COMMAND = "python train.py --lr {lr} --act {act} {--use-amp} --trouble {trouble} ' in text
    )
    assert "--seed {seed} --out-dir {out}" in text
    assert '"script.lr": [0.0001, 0.01], "script.act": ["tanh"], "script.use_amp": [True]' in text
    assert "--sizes is left out: it has no default that is one number or word." in done.out
    assert "--data is left out" in done.out
    assert "SELECT names no metric yet" in done.out
    refused(paribus("sweep", "two.py", "--root", "r", cwd=folder), folder / "r", "SELECT does not")
    edit(folder / "two.py", '{"metric": ""}', '{"metric": "val/loss", "direction": "minimize"}')
    done = paribus("sweep", "two.py", "lr", "--seeds", "1", "--no-wandb", "--json", cwd=folder)
    assert (done.code, len(done.json["settings"])) == (0, 3), done
    done = paribus("new", "three", "--script", "clicked.py", "--json", cwd=folder)
    assert "--rate {rate} --kind {kind} --seed {seed}" in (folder / "three.py").read_text()
    assert done.code == 0


def test_new_fills_in_the_folder_where_an_option_is_one(paribus, folder):
    options = ('"--model", default="cnn"', '"--run", default="a"', '"--log", action="store_true"',
               '"--save", choices=["best", "last"], default="best"', '"--out", type=int, default=9',
               '"--output", type=int', '"--log-dir", action="append"', '"--seed", action="count"',
               '"--name", default="x"', '"--save_path", type=Path',
               '"--model-dir", default="models"')  # fmt: skip
    lines = [f"parser.add_argument({option})" for option in options]
    (folder / "options.py").write_text("\n".join(lines))
    done = paribus("new", "four", "--script", "options.py", cwd=folder)
    command = ("python options.py --model {model} --run {run} {--log} --save {save} "
               "--save_path {out} --model-dir {out} --seed {seed}")  # fmt: skip
    assert f'COMMAND = "{command}"' in (folder / "four.py").read_text()
    for flag in ("--out", "--output", "--log-dir", "--seed", "--name"):
        assert f"{flag} is left out: it " in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x", "--script", "nothing.txt"), ["There is no file nothing.txt. Name a Python script."]),
        (("x", "--script", "trian.py"), ["There is no file trian.py. Did you mean 'train.py'?"]),
        (("x", "--script", "torn.py"), ["torn.py, line 2: invalid syntax. Correct it."]),
        (("mine", "--script", "train.py"), ["mine.py is there already"]),
        (("x", "--script", "train.py", "--data", "x.csv"), ["--script takes none of --data"]),
    ],
)
def test_new_refuses(paribus, folder, words, said):
    (folder / "torn.py").write_text("x = 1\nif x =\n")
    before = sorted(folder.iterdir())
    refused(paribus("new", *words, cwd=folder), folder / "r", *said)
    assert sorted(folder.iterdir()) == before


def test_check_and_show(call):
    done = call("check", "mine.py", "--json")
    assert [check["passed"] for check in done.json["checks"]] == [True, True, True]
    assert "script.use_amp" in call("show", "mine.py").out
