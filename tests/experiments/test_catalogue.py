"""Every experiment of the catalogue: its docstring is whole, its command runs, its claims hold."""

import re
import shlex

import pytest

from core.config import DEFAULT_METRICS
from core.experiment import catalogue, load_experiment

NAMES = sorted(catalogue())


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_has_its_parts(name):
    """A question, the command, the time it takes and the score to expect."""
    text = load_experiment(catalogue()[name]).objects["__doc__"]
    first, *rest = text.strip().splitlines()
    assert first.endswith("?")
    commands = [line.strip() for line in rest if line.startswith("    paribus ")]
    assert len(commands) == 1
    assert commands[0].split()[2] == name
    assert re.search(r"\b(second|minute)s?\b", text)
    assert re.search(r"(accuracy|MAE|F1) is (above|below) \d|within \d", text)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_baseline_and_axes(name):
    experiment = load_experiment(catalogue()[name])
    assert experiment.baseline.task.name in DEFAULT_METRICS
    assert experiment.axes
    capitals = [
        key for key in experiment.objects if key.isupper() and key not in ("BASELINE", "AXES")
    ]
    assert capitals, "a block of hyperparameters in capitals"


@pytest.mark.parametrize("name", NAMES)
def test_its_command_runs(paribus, tmp_path, name):
    """Cut short: one epoch, one seed."""
    text = load_experiment(catalogue()[name]).objects["__doc__"]
    words = shlex.split(re.search(r"^    paribus (.+)$", text, re.M).group(1))
    short = (
        ["--set", "train.epochs=1", "--seeds", "1", "--workers", "2"]
        if words[0] == "sweep"
        else ["train.epochs=1"]
    )
    done = paribus(*words, *short, "--no-wandb", "--root", tmp_path / "r", "--json")
    assert done.code == 0, done.err


def test_what_line_claims(paribus, tmp_path):
    done = paribus("run", "line", "--seed", "42", "--no-wandb", "--root", tmp_path / "r", "--json")
    assert done.json["best"]["metrics"]["val/mae"] < 0.02
    text = paribus("run", "line", "--seed", "42", "--no-wandb", "--root", tmp_path / "r").out
    learned = {name: float(x) for name, x in re.findall(r"^  (\w+) = \[([^\]]+)\]$", text, re.M)}
    assert abs(learned["weight"] - 0.7) < 0.05
    assert abs(learned["bias"] - 0.3) < 0.05


def test_the_baseline_of_digits_is_fixed():
    baseline = load_experiment(catalogue()["digits"]).baseline.to_dict()
    assert baseline["model"] == {
        "name": "mlp", "hidden_dim": 128, "num_layers": 1, "activation": "relu", "dropout": 0.2,
    }  # fmt: skip
    assert baseline["loss"] == {"name": "cross_entropy"}
    assert baseline["optimizer"] == {"name": "adam", "lr": 1e-3}
    assert baseline["scheduler"] == {"name": "constant"}
    assert baseline["train"] == {
        "epochs": 20, "updates": None, "batch_size": 64, "eval_batch_size": 1000,
        "clip_grad_norm": None, "patience": None, "start_from": None, "only": [],
    }  # fmt: skip
    axes = load_experiment(catalogue()["digits"]).axes
    assert set(axes) == {
        "model.num_layers", "model.hidden_dim", "train.epochs", "model.activation", "optimizer.lr",
        "loss", "optimizer",
    }  # fmt: skip
    assert 3e-3 in axes["optimizer.lr"]


def test_what_digits_claims_of_its_best_setting(paribus, tmp_path):
    """All axes take half a minute; the learning rate that wins is enough."""
    done = paribus(
        *("sweep", "digits", "optimizer.lr=0.01", "--seeds", "3", "--no-wandb", "--json"),
        *("--root", tmp_path / "r"),
    )
    assert max(setting["mean"] for setting in done.json["settings"]) >= 0.97
