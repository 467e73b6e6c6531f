"""The commands, on small roots: what they print, the documents, the exit codes."""

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commands import clean_environment

from paribus.sweeps.cli.app import app

RUN = {
    *("run", "experiment", "study", "studies", "setting", "seed", "status", "reason", "engine"),
    *("dir", "reused", "epochs", "best", "last", "weights_sha256", "seconds"),
}
SETTING = {
    *("label", "changed", "derived", "runs", "seeds", "values", "mean", "std", "status"),
}
SWEEP = {"study", "experiment", "metric", "runs", "settings", "best", "seconds", "storage"}
EFFECT = {"delta", "interval", "p", "p_holm", "verdict"}

OWN = '''"""Does [bold]my own[/bold] net learn?

    paribus sweep own.py
"""

import torch
from torch import nn

EPOCHS = 3


def dots(n: int = 60):
    kind = torch.arange(n) % 2
    return torch.sin(torch.arange(n * 4.0) * 12.9898).reshape(n, 4) + kind[:, None], kind


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, width: int = 6):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        return self.layers(x)


def margin(outputs, targets, gap: float = 1.0):
    return nn.functional.multi_margin_loss(outputs, targets, margin=gap)


BASELINE = {
    "task": "multiclass",
    "data": dots,
    "model": Net,
    "loss": {"name": margin, "gap": 0.5},
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": EPOCHS, "batch_size": 16},
}
'''


def lines_of(done, code=0):
    assert done.code == code, done
    assert "\x1b" not in done.out + done.err
    assert [line for line in done.out.splitlines() if line != line.rstrip()] == []
    return done.out.splitlines()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("commands") / "results"


@pytest.fixture(scope="module")
def at(root):
    return ("--root", root, "--no-wandb")


@pytest.fixture(scope="module")
def swept(paribus, at):
    """A study of `line` in the root, and what its command printed."""
    done = paribus(
        *("sweep", "line", "optimizer.lr=0.001,0.1", "loss=mse", "--set", "train.epochs=5"),
        *("--seeds", "2", "--study", "mine", "--workers", "1", *at),
    )
    assert done.code == 0, done.err
    return done


def test_list(paribus):
    lines = lines_of(paribus("list"))
    assert any(re.match(r" line +regression +line.py:points +val/mae ", line) for line in lines)
    found = {row["experiment"]: row for row in paribus("list", "--json").json}
    assert found["digits"].keys() >= {"experiment", "task", "data", "metric", "axes", "question"}
    assert "optimizer.lr" in found["digits"]["axes"]


def test_show(paribus, tmp_path):
    root = tmp_path / "none"
    lines = lines_of(paribus("show", "line", "train.epochs=3", "--root", root))
    assert "2 parameters; 40 training, 5 validation, 5 test examples" in "\n".join(lines)
    assert any(re.fullmatch(r" train.epochs +3", line) for line in lines)
    assert any(re.fullmatch(r" optimizer.lr +0.001, 0.1", line) for line in lines)
    rates = "learning rate: 0.01 at update 1, 0.01 at update 8, 0.01 at update 15; "
    assert any(line.startswith(rates) for line in lines)
    assert lines[-1] == "Next: paribus sweep line"
    found = paribus("show", "digits", "--root", root, "--json").json
    assert found.keys() >= {"experiment", "configuration", "engine", "model", "data", "axes"}
    assert found["learning_rate"] == {
        "interval": "epoch", "first": 0.001, "middle": 0.001, "last": 0.001,
    }  # fmt: skip
    assert found["model"]["parameters"] == 64 * 128 + 128 + 128 * 10 + 10
    assert found["model"]["layers"][0].keys() == {"name", "type", "output_shape", "parameters"}
    assert found["data"]["train"] + found["data"]["val"] + found["data"]["test"] == 1797
    assert not root.exists()


def test_run_line_learns_weight_and_bias(paribus, at):
    done = paribus("run", "line", "--seed", "42", *at)
    text = "\n".join(lines_of(done))
    learned = {name: float(x) for name, x in re.findall(r"^  (\w+) = \[([^\]]+)\]$", text, re.M)}
    assert abs(learned["weight"] - 0.7) < 0.05
    assert abs(learned["bias"] - 0.3) < 0.05
    assert re.search(r"^best model: .+/best\.safetensors$", text, re.M)
    assert re.search(r"^Next: paribus evaluate line-s42-[0-9a-f]{12} --split test", text, re.M)


def test_a_run_is_reused(paribus, root, at):
    words = ("run", "line", "train.epochs=4", "--seed", "7", *at, "--json")
    first, second = paribus(*words).json, paribus(*words).json
    assert first.keys() >= RUN
    assert (first["reused"], second["reused"]) == (False, True)
    assert {**first, "reused": True} == second
    assert first["dir"] == str(root / "runs" / first["run"])
    assert (first["status"], first["seed"], first["engine"], first["epochs"]) == (
        "complete", 7, "cohort", 4,
    )  # fmt: skip
    assert first["best"]["metrics"].keys() >= {"val/loss", "val/mae", "val/mse", "val/r2"}
    assert "train/loss" in first["last"]["metrics"]
    assert "(was there already)" in paribus(*words[:-1]).out


def verbose(paribus, root):
    """The sweep again, with all that is known."""
    words = ("sweep", "line", "optimizer.lr=0.001,0.1", "loss=mse", "--set", "train.epochs=5")
    more = ("--seeds", "2", "--study", "mine", "--no-wandb", "--verbose")
    return paribus(*words, *more, "--root", root)


def test_a_sweep_s_first_lines_say_what_is_compared(swept):
    lines = lines_of(swept)
    assert lines[0] == "study mine: Does gradient descent find the weight and the bias of a line?"
    assert lines[1] == "4 settings × 2 seeds = 8 runs, by val/mae (lower is better)"
    effect = "minimum detectable effect: 24.2 sd of the differences "
    assert lines[2] == f"{effect}(2 seeds, 80 % power, on this validation part)"
    assert lines[3].startswith("baseline: task regression, data line.py:points, model linear, ")
    assert lines[3].endswith(
        "optimizer sgd(lr=0.01), scheduler constant, epochs 5, batch_size 8, split.method "
        "in_order, split.val_fraction 0.1, split.test_fraction 0.1, standardize false"
    )
    assert lines[4] == "loss has a single level; to change the baseline instead: --set loss=mse"
    assert lines[5].startswith("8 runs: 8 trained, in ")


def test_levels_typed_with_the_baseline_s_among_them_need_no_remark(paribus, tmp_path):
    words = ("sweep", "line", "lr=0.01,0.1", "--seeds", "2", "--root", tmp_path, "--no-wandb")
    assert "a single level" not in paribus(*words).out


def test_verbose_says_each_axis_with_its_levels(paribus, swept, root):
    assert lines_of(verbose(paribus, root))[4:7] == [
        "  optimizer.lr = 0.001, 0.1   (baseline 0.01)",
        "  loss = mse   (baseline l1)",
        "    a single level; to change the baseline instead: --set loss=mse",
    ]


def test_a_sweep_ends_with_the_best_model_and_the_next_command(paribus, swept, root):
    best, last = lines_of(swept)[-2:]
    page, following = last.split("; ")
    final = f"paribus finalize mine optimizer.lr=0.1 --root {root}"
    assert best == f"best model, to be trained on all but the test part: {final}"
    assert page == f"page: {root}/studies/mine/report.html"
    assert Path(page.removeprefix("page: ")).is_file()
    assert following == f"Next: paribus compare mine --root {root}"
    assert paribus(*shlex.split(following.removeprefix("Next: paribus "))).code == 0


def test_below_the_table_are_eight_lines_at_most(swept):
    lines = lines_of(swept)
    start = next(
        n for n, line in enumerate(lines) if re.match(r"No |\S+ .*(is|are) better t", line)
    )
    assert len(lines[start:]) <= 8


def test_each_axis_ends_with_a_sentence_and_a_command_that_runs(paribus, swept, root):
    text = verbose(paribus, root).out
    assert re.search(
        r"^optimizer\.lr: 0\.1 was best \(val/mae 0\.\d+\), 0\.\d+ lower than the baseline's 0\.01 "
        r"\(2 seeds; on new data [-+][\d.]+ to [-+][\d.]+: (better|undecided, .+)\)\.$",
        text, re.M,
    )  # fmt: skip
    assert re.search(r"^loss: .+\.$", text, re.M)
    command = re.search(
        r"^  to make it the baseline: paribus (.+ optimizer.lr=0.1 .+)$", text, re.M
    )
    words = shlex.split(command.group(1))
    assert words[:3] == ["sweep", "line", "loss=mse"]
    done = paribus(*words, "--no-wandb", "--workers", "1")
    assert "optimizer sgd(lr=0.1)" in lines_of(done)[3]
    assert "epochs 5" in lines_of(done)[3]
    assert "4 runs: 2 trained, 2 reused, in" in done.out


def test_sweep_as_json(paribus, swept, root, at):
    done = paribus(
        *("sweep", "line", "optimizer.lr=0.001", "--set", "train.epochs=5", "--seeds", "2"),
        *("--study", "mine", *at, "--json"),
    )
    assert (done.code, done.err) == (0, "")
    assert done.json.keys() >= SWEEP
    assert done.json["runs"] == {"planned": 4, "trained": 0, "reused": 4, "failed": 0}
    assert done.json["metric"] == {"name": "val/mae", "direction": "minimize"}
    assert done.json["storage"] == f"sqlite:///{root}/optuna.db"
    baseline, level = done.json["settings"]
    assert baseline.keys() >= SETTING
    assert baseline["label"] == "baseline"
    assert level["label"] == "optimizer.lr=0.001"
    assert level["changed"] == {"optimizer.lr": [0.01, 0.001]}
    assert level["seeds"] == [0, 1]


def test_what_is_known_of_the_baseline_says_what_seeds_find(paribus, swept, root):
    """Differences in the metric's units, before anything is trained."""
    words = ("sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=5", "--study", "mine")
    found = paribus(*words, "--seeds", "4", "--dry-run", "--json", "--root", root).json["power"]
    assert found["difference"] == pytest.approx(found["in_std"] * found["std"])
    assert found["margin"] > 0
    line = next(x for x in lines_of(paribus(*words, "--dry-run", "--root", root)) if "power" in x)
    effect = r"minimum detectable effect: \d\.\d+ \(5 seeds, 80 % power, on .+\); margin 0\.\d+$"
    assert re.match(effect, line)
    one = lines_of(paribus(*words, "--seeds", "1", "--dry-run", "--root", root))
    assert "minimum detectable effect: none, one seed gives no verdict; --seeds 5 does" in one


def test_dry_run_creates_nothing(paribus, tmp_path):
    nowhere = tmp_path / "nowhere"
    words = ("sweep", "digits", "train.batch_size=32,128", "--dry-run", "--root", nowhere)
    lines = lines_of(paribus(*words))
    assert "3 settings × 5 seeds over 5 folds = 15 runs" in "\n".join(lines)
    assert re.search(r"updates 400 → 780; updates_per_epoch 20 → 39", "\n".join(lines))
    assert re.match(r"15 runs to train: about \d+\.\d s of training", lines[-2])
    assert lines[-1] == "Nothing was created. Without --dry-run this is trained."
    found = paribus(*words, "--json").json
    assert found.keys() >= SWEEP
    assert found["settings"][1].keys() >= SETTING
    assert found["settings"][1]["derived"]["updates"] == [400, 780]
    assert found["runs"] == {"planned": 15, "trained": 0, "reused": 0, "failed": 0}
    power = found["power"]
    assert (power["seeds"], power["settings"], power["std"]) == (5, 2, None)
    # Though only one of the two has an effect, p = 0.048 is enough for it: 1.66 for one setting.
    assert power["in_std"] == pytest.approx(1.70, abs=0.05)
    assert list(tmp_path.iterdir()) == []


def test_compare_a_study(paribus, swept, root):
    found = paribus("compare", "mine", "--root", root, "--json").json
    assert found.keys() >= {"study", "metric", "settings"}
    baseline, *levels = found["settings"]
    assert baseline.keys() >= SETTING | EFFECT
    assert {baseline[key] for key in EFFECT} == {None}
    for level in levels:
        differences = [a - b for a, b in zip(level["values"], baseline["values"], strict=True)]
        assert level["delta"] == pytest.approx(sum(differences) / 2)
        assert level["interval"][0] <= level["delta"] <= level["interval"][1]
    lines = lines_of(paribus("compare", "mine", "--root", root))
    assert lines[0] == "study mine"
    row = next(line for line in lines if line.startswith("   0.1 "))
    message = r"0\.\d+ ± 0\.\d+ +-0\.\d+ \([-+][\d.]+ to [-+][\d.]+\) +[a-z ]+$"
    assert re.search(message, row)
    command = next(line for line in lines if "optimizer.lr=0.1 " in line and "paribus" in line)
    words = shlex.split(command.split("paribus ", 1)[1])
    assert words[:4] == ["sweep", "mine/baseline-s0", "--set", "optimizer.lr=0.1"]
    again = lines_of(paribus(*words, "--dry-run"))
    assert "optimizer sgd(lr=0.1)" in again[3]
    assert "epochs 5" in again[3]


def test_compare_without_a_name_takes_the_latest(paribus, swept, root):
    names = [row["study"] for row in paribus("studies", "--root", root, "--json").json]
    first = lines_of(paribus("compare", "--root", root))[0]
    assert first.removeprefix("study ") in names


def test_compare_runs(paribus, swept, root):
    names = ("mine/baseline-s0", "mine/optimizer.lr=0.001-s1")
    found = paribus("compare", *names, "--root", root, "--json").json
    assert found["configuration"] == {"optimizer.lr": [0.01, 0.001], "seed": [0, 1]}
    assert found["environment"] == {}
    assert found["metrics"]["val/mae"][0] != found["metrics"]["val/mae"][1]
    lines = lines_of(paribus("compare", *names, "--root", root))
    assert any(re.match(r" optimizer.lr +0.01 +0.001$", line) for line in lines)
    assert "environment: no difference" in lines


def test_evaluate_gives_what_was_recorded(paribus, swept, root):
    done = paribus("evaluate", "mine/optimizer.lr=0.1-s1", "--root", root, "--json")
    assert (done.code, done.err) == (0, "")
    keys = {"run", "split", "metrics", "confusion_matrix", "report", "readings"}
    assert done.json.keys() >= keys
    record = json.loads((root / "runs" / done.json["run"] / "run.json").read_text())
    for name, value in done.json["metrics"].items():
        assert record["best"]["metrics"][name] == value
    assert done.json["readings"] == 0


def test_predict_takes_a_run_by_its_study(paribus, swept, root):
    done = paribus("predict", "mine/optimizer.lr=0.1-s1", "0.5", "-1", "--root", root, "--json")
    assert done.code == 0
    run = paribus("evaluate", "mine/optimizer.lr=0.1-s1", "--root", root, "--json").json["run"]
    assert done.json["run"] == run
    assert [one["input"] for one in done.json["predictions"]] == ["0.5", "-1"]
    first, second = (one["value"] for one in done.json["predictions"])
    assert first > second  # the line rises


def test_readings_of_the_test_part_are_counted(paribus, swept, root):
    words = ("evaluate", "mine/loss=mse-s0", "--split", "test", "--root", root)
    first = paribus(*words, "--json").json
    assert first["readings"] == 1
    assert set(first["metrics"]) >= {"test/loss", "test/mae"}
    assert "The test part of this run has been read 2 times." in lines_of(paribus(*words))
    lines = (root / "readings.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == [first["run"]] * 2


def test_studies_and_runs(paribus, swept, root):
    row = next(r for r in paribus("studies", "--root", root, "--json").json if r["study"] == "mine")
    assert row.keys() >= {"study", "experiment", "settings", "runs", "best", "created"}
    assert (row["settings"], row["runs"], row["best"]) == (4, 8, "optimizer.lr=0.1")
    runs = paribus("runs", "mine", "--root", root, "--json").json
    assert len(runs) == 8
    for run in runs:
        assert run.keys() >= RUN
        assert run["study"] == "mine"
        assert "mine" in run["studies"]
    labels = sorted(run["setting"]["label"] for run in runs)
    assert labels[::2] == ["baseline", "loss=mse", "optimizer.lr=0.001", "optimizer.lr=0.1"]
    assert any(
        " optimizer.lr=0.1 " in line for line in lines_of(paribus("runs", "mine", "--root", root))
    )
    everything = paribus("runs", "--root", root, "--json").json
    assert len(everything) >= 8
    assert {run["setting"] for run in everything} == {None}
    lines_of(paribus("studies", "--root", root))


def test_an_interrupted_attempt_is_listed(paribus, swept, root, tmp_path):
    place = tmp_path / "copy"
    shutil.copytree(root, place)
    victim = json.loads((place / "studies" / "mine" / "study.json").read_text())["settings"][0]
    name = victim["runs"]["0"]
    (place / "runs" / name).rename(place / "attempts" / f"{name}.1")
    (place / "attempts" / f"{name}.1" / "manifest.json").unlink()
    (place / "attempts" / "notes").mkdir()
    runs = paribus("runs", "mine", "--root", place, "--json").json
    (found,) = [run for run in runs if run["run"] == name]
    assert found.keys() >= RUN
    assert (found["status"], found["seed"], found["experiment"]) == ("interrupted", 0, "line")
    assert (found["study"], found["setting"]["label"]) == ("mine", "baseline")
    assert found["dir"] == str(place / "attempts" / f"{name}.1")
    assert any("interrupted" in line for line in lines_of(paribus("runs", "--root", place)))
    done = paribus("compare", "mine", "--root", place)
    assert done.code == 0
    assert "No verdict: one complete pair of seeds, and a verdict needs two" in done.out
    shutil.rmtree(place / "runs" / victim["runs"]["1"])
    done = paribus("compare", "mine", "--root", place)
    assert done.code == 2
    assert "mine has no complete run of its baseline, so there is nothing to compare" in done.err


def test_nothing_there_yet(paribus, tmp_path):
    place = tmp_path / "none"
    assert lines_of(paribus("runs", "--root", place)) == [
        f"No run in {place} yet. Begin one: paribus run digits"
    ]
    assert "No study in" in lines_of(paribus("studies", "--root", place))[0]
    assert paribus("runs", "--root", place, "--json").json == []
    assert paribus("studies", "--root", place, "--json").json == []
    assert not place.exists()


def test_doctor(paribus, root):
    found = paribus("doctor", "--root", root, "--json")
    assert found.code == 0, found
    assert found.json["versions"].keys() >= {"paribus", "torch", "optuna", "wandb"}
    assert found.json["environment"]["threads"] == 1
    assert found.json["problems"] == []
    lines_of(paribus("doctor", "--root", root))


def test_a_run_is_an_experiment(paribus, swept, root, at):
    """Its recorded configuration is the baseline."""
    again = paribus("run", "mine/optimizer.lr=0.1-s1", "--seed", "1", *at, "--json").json
    assert again["reused"] is True
    assert again["run"] in {
        run["run"] for run in paribus("runs", "mine", "--root", root, "--json").json
    }
    changed = paribus("run", again["run"][:18], "train.epochs=2", "--seed", "1", *at, "--json").json
    assert (changed["epochs"], changed["reused"]) == (2, False)
    record = json.loads((Path(changed["dir"]) / "run.json").read_text())
    assert record["configuration"]["optimizer"]["lr"] == 0.1


def test_an_experiment_of_one_s_own(paribus, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    at = ("--root", "results", "--no-wandb")
    done = paribus(
        *("sweep", "own.py", "model.width=3", "loss.gap=0.1,1", "--seeds", "1", *at), cwd=tmp_path
    )
    lines = lines_of(done)
    assert lines[0].endswith(": Does [bold]my own[/bold] net learn?")
    assert "model own.py:Net, loss own.py:margin(gap=0.5)" in lines[3]
    assert "No verdict: one seed may be chance; --seeds 5 gives verdicts; best mean: " in done.out
    assert re.search(r"parameters 44 → 23", done.out)
    run = next(iter((tmp_path / "results" / "runs").iterdir()))
    assert (run / "source" / "own.py").read_text() == OWN
    (tmp_path / "own.py").unlink()  # evaluate works from what was stored
    for found in sorted((tmp_path / "results" / "runs").iterdir()):
        done = paribus("evaluate", found.name, "--root", "results", cwd=tmp_path)
        assert "f1" in "\n".join(lines_of(done))
        assert done.err == ""


def test_one_asked_axis_of_a_file_without_axes(paribus, tmp_path):
    """The command to paste must run: the old baseline is what is left to compare with."""
    (tmp_path / "own.py").write_text(OWN)
    done = paribus(
        *("sweep", "own.py", "optimizer.lr=1e-9,0.1", "--seeds", "1", "--no-wandb", "--verbose"),
        cwd=tmp_path,
    )
    assert "(one seed only: it may be chance)" in done.out
    line = next(line for line in lines_of(done) if "to make it the baseline" in line)
    words = shlex.split(line.split("paribus ", 1)[1])
    assert words == [
        "sweep", "own.py", "optimizer.lr=0.01", "--set", "optimizer.lr=0.1", "--seeds", "1",
    ]  # fmt: skip
    assert "2 runs: 2 reused" in paribus(*words, "--no-wandb", cwd=tmp_path).out


def test_a_run_that_diverges_fails_and_the_study_goes_on(paribus, tmp_path):
    at = ("--set", "train.epochs=3", "--seeds", "2", "--no-wandb", "--root", tmp_path / "r")
    words = ("sweep", "line", "optimizer.lr=1e30,0.1", "--set", "loss=mse", *at)
    done = paribus(*words, "--verbose")
    text = "\n".join(lines_of(done, code=1))
    assert "6 runs: 6 trained, 2 of them failed, in" in text
    assert "optimizer.lr=1e+30 failed: seeds 0, 1: non-finite: train/loss is" in done.err
    assert re.search(r"^   1e\+30 +failed ", text, re.M)
    assert re.search(r"^optimizer\.lr: .+ 1e\+30 failed\.$", text, re.M)
    found = paribus(*words, "--json")
    assert found.code == 1
    bad = found.json["settings"][1]
    assert (bad["status"], bad["mean"], bad["values"]) == ("failed", None, [])
    assert "non-finite" in bad["reason"]
    assert found.json["best"] != "optimizer.lr=1e+30"
    assert found.json["runs"]["failed"] == 2
    single = paribus(
        *("run", "line", "optimizer.lr=1e30", "loss=mse", "train.epochs=3", "--no-wandb"),
        *("--root", tmp_path / "r"),
    )
    assert single.code == 1
    assert single.err.startswith("failed: non-finite: train/loss is ")
    assert "best model" not in single.out


def test_a_failed_baseline_is_said_so(paribus, tmp_path):
    done = paribus(
        *("sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=2", "--set", "loss=mse"),
        *("--set", "optimizer.lr=1e30", "--seeds", "1", "--no-wandb", "--root", tmp_path / "r"),
    )
    assert "No answer: the baseline failed, so there is nothing to compare with." in done.out
    assert done.code == 1


def test_wandb_offline(paribus, tmp_path):
    root = tmp_path / "r"
    done = paribus("run", "line", "train.epochs=2", "--root", root)
    lines_of(done)
    assert len(done.err.splitlines()) == 1
    assert "offline" in done.err
    assert len(list((root / "wandb").glob("offline-run-*"))) == 1
    again = paribus("run", "line", "train.epochs=2", "--root", root, "--json")
    assert again.json["reused"]
    assert len(list((root / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.parametrize(
    ("command", "options"),
    {
        "list": ["--json"],
        "show": ["--engine", "--trust", "--root", "--json"],
        "check": ["--trust", "--root", "--json"],
        "run": [
            *("--seed", "--engine", "--checkpoint-every", "--retry-failed", "--no-wandb"),
            *("--loader-workers", "--trust", "--root", "--json", "--plain", "--track"),
        ],
        "sweep": [
            *("--set", "--seeds", "--study", "--workers", "--engine", "--storage", "--dry-run"),
            *("--trials", "--sampler", "--pruner", "--margin", "--strict", "--until-decided"),
            *("--max-seeds", "--run-timeout", "--checkpoint-every", "--retry-failed", "--trust"),
            *("--no-wandb", "--loader-workers", "--root", "--json", "--plain", "--verbose"),
            *("--track", "--metric", "--direction", "--metrics-from"),
            *("--gpus", "--per-gpu", "--on", "--strict-class"),
        ],
        "compare": [
            *("--metric", "--margin", "--direction", "--format", "--wandb", "--root", "--json"),
            *("--plain", "--verbose", "--strict", "--setting", "--seed", "--baseline"),
        ],
        "import": [
            *("--setting", "--seed", "--metric", "--baseline", "--direction", "--output"),
            "--json",
        ],
        "export": ["--output", "--trust", "--root", "--json"],
        "report": [
            *("--output", "--open", "--setting", "--seed", "--metric", "--baseline", "--direction"),
            *("--trust", "--root", "--json"),
        ],
        "sync": ["--root", "--json"],
        "evaluate": ["--split", "--trust", "--root", "--json"],
        "predict": ["--trust", "--root", "--json"],
        "plot": ["--output", "--trust", "--root", "--json"],
        "reproduce": ["--trust", "--root", "--json", "--plain"],
        "studies": ["--root", "--json"],
        "runs": ["--root", "--json"],
        "remove": ["--yes", "--root", "--json"],
        "doctor": ["--on", "--root", "--json"],
    }.items(),
)
def test_every_command_has_help(paribus, command, options):
    done = paribus(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"paribus {command}" in done.out
    assert "\x1b" not in done.out
    for option in options:
        assert option in done.out
    found = [p for p in app.commands[command].params if isinstance(p, click.Option)]
    assert sorted(p.opts[0] for p in found) == sorted(options)
    assert all(option.help for option in found)


def test_version(paribus):
    assert paribus("--version").out == "paribus, version 0.1.0\n"


def test_help_needs_none_of_the_large_libraries(tmp_path):
    script = (
        "import sys\n"
        "from paribus.sweeps.cli.app import run\n"
        "run(['--help'])\n"
        "large = {'torch', 'numpy', 'scipy', 'sklearn', 'optuna', 'wandb', 'sqlalchemy',\n"
        "         'matplotlib'}\n"
        "print('imported:', *sorted(large & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(str(tmp_path)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "sweep" in done.stdout
    assert done.stdout.splitlines()[-1] == "imported:"


def test_the_root_may_come_from_the_environment(paribus, tmp_path):
    done = paribus(
        *("run", "line", "train.epochs=1", "--no-wandb"), env={"PARIBUS_ROOT": str(tmp_path / "e")}
    )
    lines = lines_of(done)
    assert lines[-1].endswith("--split test")  # no --root: it is where it looks anyway
    assert len(list((tmp_path / "e" / "runs").iterdir())) == 1


def test_a_gone_reader_is_no_error(tmp_path):
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -c 'from paribus.sweeps.cli.main import main; import sys; "
        "sys.argv[1:] = [\"list\"]; main()' | true",
        shell=True, cwd=tmp_path, env=clean_environment(str(tmp_path)), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_progress_is_shown_on_a_terminal_only(tmp_path):
    terminal, other_end = pty.openpty()
    script = "import sys; from paribus.sweeps.cli.main import main; main()"
    words = ("run", "line", "train.epochs=3", "--no-wandb", "--root", str(tmp_path / "r"))
    done = subprocess.run(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=other_end,
        env=clean_environment(str(tmp_path)) | {"TERM": "xterm"}, check=True, text=True,
    )  # fmt: skip
    os.close(other_end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "1/1 runs" in shown
    assert "best val/mae" in shown
    assert "\x1b" not in done.stdout
    assert "runs " not in done.stdout


def test_going_back_to_earlier_code_reuses_its_runs(paribus, write_small, tmp_path):
    path = write_small().path
    before = path.read_text()
    sweep = ["sweep", path, "model.width=4", "--no-wandb", "--root", tmp_path / "r"]
    named = [*sweep, "--set", "model=Net", "--set", "train.epochs=1", "--study", "s"]
    assert paribus(*named, "--seeds", "2").code == 0
    path.write_text(before.replace("nn.ReLU()", "nn.Tanh()"))
    assert paribus(*named, "--seeds", "3").code == 0
    path.write_text(before)
    back = paribus(*named, "--seeds", "2", "--json")
    assert back.code == 0, back.err
    assert back.json["runs"]["reused"] == 4
    assert {s["status"] for s in back.json["settings"]} == {"complete"}


def test_another_module_of_the_name_does_not_take_the_place_of_a_run_s_own(paribus, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from nets_of_mine import Net\n"
        'BASELINE = {"task": "regression", "data": "line.py:points", "model": Net,\n'
        '    "loss": "l1", "optimizer": "sgd", "train": {"epochs": 1}}\n'.replace(
            '"line.py:points"', '"sklearn.datasets.load_diabetes"'
        )
    )
    nets = (
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, in_features: int):\n"
        "        super().__init__(in_features, 1)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x)\n"
    )
    (tmp_path / "nets_of_mine.py").write_text(nets)
    root = ["--root", tmp_path / "r"]
    done = paribus("run", tmp_path / "mine.py", "--no-wandb", "--json", *root)
    assert done.code == 0, done.err
    (tmp_path / "nets_of_mine.py").write_text(nets.replace("forward(x)\n", "forward(-x)\n"))
    code = (
        "import sys; from paribus.sweeps.cli.app import run; "
        f"sys.exit(run(['evaluate', {done.json['run']!r}, '--root', {str(tmp_path / 'r')!r}]))"
    )
    environment = clean_environment(str(tmp_path))
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}:{tmp_path}"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f" {done.json['best']['metrics']['val/mae']:.6f}\n" in shown.stdout


def test_a_level_that_the_baseline_resolves_to_is_the_baseline(paribus, tmp_path):
    sweep = ["sweep", "digits", "--dry-run", "--json", "--root", tmp_path / "r"]
    found = paribus(*sweep, "standardize=false,true").json["settings"]
    assert [s["label"] for s in found] == ["baseline", "standardize=false"]
    assert found[1]["changed"] == {"standardize": [True, False]}
    refused = paribus(*sweep, "standardize=true")
    assert refused.code == 2
    assert "the baseline's own level" in refused.json["error"]["message"]


@pytest.mark.parametrize("content", ["{", "{}", '{"settings": 3}', "[]"])
def test_a_damaged_study_is_named_and_hides_no_other(content, paribus, tmp_path):
    folder = tmp_path / "r" / "studies" / "broken"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(content)
    listed = paribus("studies", "--root", tmp_path / "r")
    assert listed.code == 0
    assert "study.json" in listed.err
    compared = paribus("compare", "broken", "--root", tmp_path / "r")
    assert compared.code == 1
    assert "study.json" in compared.err
    assert paribus("runs", "--root", tmp_path / "r").code == 0


def test_a_damaged_record_or_source_is_named(paribus, tmp_path):
    root = ["--root", tmp_path / "r"]
    run = paribus("run", "line", "train.epochs=1", "--no-wandb", "--json", *root).json
    source = Path(run["dir"]) / "source" / "line.py"
    text = source.read_text()
    source.write_text(text + ")(")
    damaged = paribus("evaluate", run["run"], *root)
    assert damaged.code == 1
    assert "line.py" in damaged.err
    source.write_text(text)
    (Path(run["dir"]) / "run.json").write_text('{"run": "x"}')
    assert paribus("evaluate", run["run"], *root).code == 1
    assert "run.json" in paribus("runs", *root).err


def test_a_foreign_storage_is_refused_before_a_root_is_made(paribus, tmp_path):
    sweep = ["sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=1", "--seeds", "1"]
    sweep += ["--no-wandb", "--study", "s"]
    assert paribus(*sweep, "--root", tmp_path / "one").code == 0
    storage = ["--storage", f"sqlite:///{tmp_path / 'one' / 'optuna.db'}"]
    refused = paribus(*sweep, *storage, "--root", tmp_path / "two")
    assert refused.code == 2
    assert "not this root's" in refused.err
    assert not (tmp_path / "two").exists()


def test_a_keyword_that_a_new_component_needs_may_follow_it(paribus, tmp_path):
    words = ("scheduler.step_size=5", "scheduler=step", "train.epochs=1", "--no-wandb")
    done = paribus("run", "line", *words, "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    run = json.loads((tmp_path / "results/runs" / done.json["run"] / "run.json").read_text())
    assert run["configuration"]["scheduler"]["step_size"] == 5
    for words in (("run", "line"), ("sweep", "line", "scheduler.step_size=2,5", "--set")):
        refused = paribus(*words, "scheduler=step", "--root", "new", cwd=tmp_path)
        assert refused.code == 2
        assert "scheduler step needs 'step_size'. Give scheduler.step_size=VALUE." in refused.err
        assert not (tmp_path / "new").exists()


def test_runs_that_differ_in_the_engine_alone_say_so(paribus, tmp_path):
    words = ("run", "line", "train.epochs=2", "--no-wandb", "--json")
    runs = [paribus(*words, "--engine", e, cwd=tmp_path).json["run"] for e in ("cohort", "loop")]
    compared = paribus("compare", *runs, "--json", cwd=tmp_path).json
    assert compared["configuration"] == {}
    assert compared["environment"] == {"engine": ["cohort", "loop"]}
