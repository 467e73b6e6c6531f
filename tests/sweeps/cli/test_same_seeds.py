"""Seeds that are no seeds: runs of different seeds that are equal give no verdict, and the line."""

import pytest

HELPERS = """import random
import numpy as np
import torch

def seed_everything(seed=42):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
"""

# As many public scripts are: five epochs of metrics that follow from torch's generator.
SCRIPT = '''"""How far?"""
import torch
import helpers


def train(step=1.0, epochs=6, fixed=False, *, seed):
    {seeding}
    if fixed:
        torch.manual_seed(7)
    drift = torch.rand(1).item()
    for epoch in range(epochs):
        yield {{"val/accuracy": {accuracy}}}


SELECT = {{"metric": "val/accuracy"}}
AXES = {{"script.step": [2.0, 3.0]}}
'''
FINE, COARSE = "step * (1 + drift * epoch / 100)", "step"

NET = '''"""A net."""
import torch
from torch import nn
import helpers


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        {seeding}
        self.layer = nn.Linear(in_features, num_classes)
        {more}

    def forward(self, x):
        return self.layer(x)


BASELINE = {{
    "task": "multiclass", "data": "digits", "model": Net, "loss": "cross_entropy",
    "optimizer": {{"name": "sgd", "lr": 0.1}}, "train": {{"epochs": 1}},
}}
'''


@pytest.fixture
def write(tmp_path):
    (tmp_path / "helpers.py").write_text(HELPERS)

    def file(text, **words):
        (tmp_path / "mine.py").write_text(text.format(**{"more": "pass", **words}))
        return tmp_path / "mine.py"

    return file


@pytest.fixture
def sweep(paribus, tmp_path):
    """Sweeps a file with three seeds; returns `compare` with and without ``--json``."""

    def run(file, *words):
        at = ("--root", tmp_path / "r")
        done = paribus("sweep", file, *words, "--study", "s", "--workers", "1", "--no-wandb", *at)
        assert done.code == 0, done.err
        document = paribus("compare", "s", "--json", *at).json
        settings = {setting["label"]: setting for setting in document["settings"]}
        rules = {found["rule"]: found["sentence"] for found in document["linter"]}
        return settings, rules, " ".join(paribus("compare", "s", *at).out.split())

    return run


@pytest.mark.parametrize(("seeding", "line"), [
    ("torch.manual_seed(42)", "mine.py, line 7: torch.manual_seed(42)"),
    ("helpers.seed_everything()", "mine.py, line 7: helpers.seed_everything()"),
])  # fmt: skip
def test_a_function_that_seeds_itself_gets_no_verdict_but_the_line(
    paribus, write, sweep, seeding, line
):
    file = write(SCRIPT, seeding=seeding, accuracy=FINE)
    settings, rules, text = sweep(file, "--seeds", "3")
    for label in ("script.step=2.0", "script.step=3.0"):
        assert settings[label]["verdict"] is settings[label]["interval"] is None
        assert "seeds 0, 1 and 2 change nothing" in settings[label]["no_verdict"]
        assert line in settings[label]["no_verdict"]
    assert line in rules["same-seeds"]
    assert text.count(line) == 1
    checked = paribus("check", file, "--json")
    assert checked.code == 1
    failed = [check for check in checked.json["checks"] if not check["passed"]]
    assert [check["name"] for check in failed] == ["other seed, other metrics"]
    assert line in failed[0]["detail"]


def test_a_function_of_its_seed_gets_verdicts(write, sweep):
    file = write(SCRIPT, seeding="torch.manual_seed(seed)", accuracy=FINE)
    settings, rules, _ = sweep(file, "--seeds", "3")
    assert settings["script.step=3.0"]["verdict"] == "better"
    assert "same-seeds" not in rules


def test_until_decided_adds_no_seeds_that_are_none(write, sweep):
    file = write(SCRIPT, seeding="torch.manual_seed(42)", accuracy=FINE)
    settings, _, text = sweep(file, "--until-decided")
    assert {len(setting["seeds"]) for setting in settings.values()} == {3}
    assert "torch.manual_seed(42)" in text


def test_one_setting_alone_has_no_verdict(write, sweep):
    file = write(SCRIPT, seeding="pass", accuracy=FINE)
    settings, _, text = sweep(file, "script.step=2.0", "script.fixed=true", "--seeds", "3")
    assert settings["script.step=2.0"]["verdict"] == "better"
    assert settings["script.fixed=true"]["verdict"] is None
    assert "no verdict on script.fixed=true: seeds 0, 1 and 2 change nothing" in text
    assert "mine.py, line 9: torch.manual_seed(7)" in text


def test_two_equal_seeds_of_three_are_enough(write, sweep):
    file = write(SCRIPT, seeding="torch.manual_seed(seed // 2)", accuracy=FINE)
    settings, _, _ = sweep(file, "script.step=2.0", "--seeds", "3")
    assert "baseline's seeds 0 and 1 change nothing" in settings["script.step=2.0"]["no_verdict"]


def test_a_level_at_the_best_there_is_keeps_its_verdict(write, sweep):
    """Of three seeds each reaches an accuracy of 1: that is no sign of equal seeds."""
    accuracy = "1.0 if step > 2 else 0.5 + drift / 10 + epoch / 100"
    file = write(SCRIPT, seeding="pass", accuracy=accuracy)
    settings, rules, _ = sweep(file, "script.step=3.0", "--seeds", "3")
    assert settings["script.step=3.0"]["verdict"] == "better"
    assert "same-seeds" not in rules


def test_a_function_without_chance_has_one_seed(write, sweep):
    file = write(SCRIPT, seeding="pass", accuracy=COARSE)
    settings, _, _ = sweep(file, "--seeds", "3")
    assert settings["script.step=3.0"]["verdict"] is None
    assert "equal metrics in every epoch" in settings["script.step=3.0"]["no_verdict"]


@pytest.mark.parametrize(("seeding", "line"), [
    ("torch.manual_seed(42)", "mine.py, line 10: torch.manual_seed(42)"),
    ("helpers.seed_everything(1)", "mine.py, line 10: helpers.seed_everything(1)"),
])  # fmt: skip
def test_a_model_that_seeds_itself_fails_the_check_and_has_no_verdict(
    paribus, write, sweep, seeding, line
):
    file = write(NET, seeding=seeding)
    settings, rules, text = sweep(file, "optimizer.lr=0.01", "--seeds", "3")
    assert settings["optimizer.lr=0.01"]["verdict"] is None
    assert "so all begin with the same weights" in settings["optimizer.lr=0.01"]["no_verdict"]
    assert line in rules["same-seeds"]
    assert line in text
    checked = paribus("check", file, "--json")
    assert checked.code == 1
    (failed,) = (check for check in checked.json["checks"] if check["passed"] is False)
    assert failed["name"] == "other seed, other weights"
    assert line in failed["detail"]


@pytest.mark.parametrize("more", [
    "pass",
    "nn.init.zeros_(self.layer.weight); nn.init.zeros_(self.layer.bias)",
    "self.load_state_dict({'layer.weight': torch.ones(10, 64), 'layer.bias': torch.ones(10)})",
])  # fmt: skip
def test_models_that_do_not_seed_are_not_blamed(paribus, write, sweep, more):
    file = write(NET, seeding="pass", more=more)
    _, rules, _ = sweep(file, "optimizer.lr=0.01", "--seeds", "2")
    assert "same-seeds" not in rules
    checks = {check["name"]: check for check in paribus("check", file, "--json").json["checks"]}
    assert checks["other seed, other weights"]["passed"]


def test_a_model_whose_runs_end_with_equal_weights_has_one_seed(write, sweep):
    more = "nn.init.zeros_(self.layer.weight); nn.init.zeros_(self.layer.bias)"
    file = write(NET, seeding="pass", more=more)
    words = ("optimizer.lr=0", "train.epochs=2", "--set", "split.folds=1", "--seeds", "2")
    settings, _, text = sweep(file, *words)
    assert settings["train.epochs=2"]["verdict"]
    assert "seeds 0 and 1 change nothing: their runs have equal weights" in text
    assert settings["optimizer.lr=0.0"]["verdict"] is None
