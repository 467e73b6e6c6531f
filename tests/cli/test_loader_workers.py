"""Loader workers read ahead, and change no bit."""

import json

import pytest

DATA = '''"""Does a data set of noisy waves need more steps?"""

import torch


class Waves(torch.utils.data.Dataset):
    """Draws noise at each reading, as transforms do."""

    def __len__(self):
        return 60

    def __getitem__(self, row):
        if self.BROKEN and row == 7 and torch.utils.data.get_worker_info():
            raise ValueError("row 7 is torn")
        return torch.full((4,), float(row % 3)) + 0.1 * torch.randn(4), row % 3

    BROKEN = False


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


def test_what_a_loader_worker_raises_is_the_runs_failure(paribus, place):
    file = place / "waves.py"
    file.write_text(DATA.replace("BROKEN = False", "BROKEN = True"))
    done = paribus("run", file, "--loader-workers", "1", "--no-wandb", cwd=place)
    assert done.code == 1
    assert "failed: exception: ValueError: row 7 is torn\n" in done.err
