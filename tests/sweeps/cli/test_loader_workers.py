"""Loader workers read ahead, and change no bit."""

import json

import pytest

DATA = '''"""Does a data set of noisy waves need more steps?"""

import os
from pathlib import Path

import torch


class Waves(torch.utils.data.Dataset):
    """Draws noise at each reading, as transforms do."""

    def __len__(self):
        return 60

    def __getitem__(self, row):
        reads_ahead = torch.utils.data.get_worker_info() is not None
        if self.TROUBLE == "raise" and row == 7 and reads_ahead:
            raise ValueError("row 7 is torn\\nin two")
        if self.TROUBLE == "kill" and row == 7 and reads_ahead and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), 9)
        return torch.full((4,), float(row % 3)) + 0.1 * torch.randn(4), row % 3

    TROUBLE = None


BASELINE = {
    "task": "multiclass",
    "data": Waves,
    "model": "linear",
    "loss": "cross_entropy",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "train": {"epochs": 2, "batch_size": 16},
}
AXES = {"optimizer.lr": [0.2]}
'''


@pytest.fixture
def place(tmp_path):
    (tmp_path / "waves.py").write_text(DATA)
    return tmp_path


def test_runs_are_the_same_with_and_without(paribus, place):
    """With them in a worker, without them in this process."""
    words = ("--no-wandb", "--json", "--root", "results")
    one = ("--seeds", "1", "--workers", "1", "--loader-workers", "1", *words)
    read_ahead = paribus("sweep", "waves.py", "optimizer.lr=0.2", *one, cwd=place)
    assert read_ahead.code == 0, read_ahead.err
    (run,) = read_ahead.json["settings"][0]["runs"]
    (place / "results" / "runs" / run).rename(place / "read-ahead")
    assert paribus("run", "waves.py", *words, cwd=place).json["run"] == run
    here, there = (
        json.loads(path.joinpath("history.jsonl").read_text().splitlines()[-1])
        for path in (place / "results" / "runs" / run, place / "read-ahead")
    )
    del here["seconds"], there["seconds"]
    assert here == there


def test_what_is_raised_there_is_the_runs_failure(paribus, place):
    file = place / "waves.py"
    file.write_text(DATA.replace("TROUBLE = None", 'TROUBLE = "raise"'))
    done = paribus("run", file, "--loader-workers", "1", "--no-wandb", cwd=place)
    line = 1 + DATA[: DATA.index("raise ValueError")].count("\n")
    assert done.code == 1
    assert f"exception: ValueError: row 7 is torn\ufffdin two (waves.py, line {line})" in done.err


def test_one_that_is_killed_is_nobodys_failure(paribus, place):
    file = place / "waves.py"
    file.write_text(DATA.replace("TROUBLE = None", 'TROUBLE = "kill"'))
    done = paribus("run", file, "--loader-workers", "2", "--no-wandb", "--json", cwd=place)
    assert (place / "killed").exists()
    assert done.code == 0, done.err
    assert "a loader worker ended early" in done.err.lower()
    assert done.json["status"] == "complete"
