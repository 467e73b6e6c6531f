"""Convolutional runs, which the loop engine trains: faster than a bare loop in one process?

    python tests/benchmarks/cnn.py [--repeats 3]

Digits as images of 1×8×8, a convolutional network with two blocks (16 and 32 channels, batch
normalization), cross entropy, Adam, batches of 64, 10 epochs with validation after each; the
baseline and nine learning rates, two seeds each. Whole processes, start-up included:

1. harness: ``paribus sweep`` with everything on, two workers.
2. bare: the runs one after another, in one process with one thread; tensors in memory, indexed by
   a permutation, default Adam. Keeps nothing.

It fails where the ways differ in optimizer steps or, by more than a point, in mean best accuracy.
About two minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import in_one_process, in_turn, surroundings, swept, table  # noqa: E402

from paribus.core.runtime import restart_pinned, settle  # noqa: E402

RATES = (1e-3, 5e-4, 7e-4, 1.5e-3, 2e-3, 3e-3, 4e-3, 5e-3, 7e-3, 1e-2)
SEEDS, EPOCHS, BATCH_SIZE = 2, 10, 64
SPLIT = {"val_fraction": 0.1, "test_fraction": 0.1}
POINTS = 0.01  # by which the mean accuracies may differ

EXPERIMENT = f'''"""How large are the steps of a small convolutional network?"""

from sklearn.datasets import load_digits


def pixels():
    images, digits = load_digits(return_X_y=True)
    return images.reshape(-1, 1, 8, 8) / 16, digits


BASELINE = {{
    "task": "multiclass",
    "data": pixels,
    "model": "cnn",
    "loss": "cross_entropy",
    "optimizer": {{"name": "adam", "lr": {RATES[0]}}},
    "split": {SPLIT},
    "train": {{"epochs": {EPOCHS}, "batch_size": {BATCH_SIZE}}},
}}
AXES = {{"optimizer.lr": {list(RATES[1:])}}}
'''


def main() -> None:
    """Measures both in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each way, >= 3")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    restart_pinned()
    if options.bare:
        print(json.dumps(bare(options.bare)))
        return
    found: dict[str, list[dict[str, Any]]] = {"harness": [], "bare": []}

    def timed(name: str, train: Callable[[Path], dict[str, Any]]) -> Callable[[int], float]:
        def way(_: int) -> float:
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
                Path(folder, "pixels.py").write_text(EXPERIMENT)
                started = time.perf_counter()
                found[name].append(train(Path(folder)))
                return time.perf_counter() - started

        return way

    words = ("--seeds", str(SEEDS), "--workers", "2")
    ways = {
        "harness": timed(
            "harness", lambda folder: swept(folder, "pixels.py", SEEDS * len(RATES), *words)
        ),
        "bare": timed(
            "bare", lambda folder: in_one_process(__file__, "--bare", str(folder / "pixels.py"))
        ),
    }
    print(table(in_turn(ways, options.repeats), "s", "harness"))
    print(surroundings())
    assert len({row["steps"] for rows in found.values() for row in rows}) == 1, found
    means = {name: statistics.mean(r["accuracy"] for r in rows) for name, rows in found.items()}
    print("accuracy: " + ", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    assert max(means.values()) - min(means.values()) <= POINTS, means


def bare(path: Path) -> dict[str, Any]:
    """What the process of way 2 does; the harness's own split, so that accuracies compare."""
    import torch
    from torch import nn

    from paribus.core.config.experiment import load_experiment
    from paribus.core.training.resolve import Resolver

    settle()
    experiment = load_experiment(path)
    data = Resolver(experiment).data(experiment.baseline, 0)
    (train_x, train_y), (val_x, val_y) = (
        (part.inputs, part.targets) for part in (data.train, data.val)
    )
    steps, accuracies = 0, []
    for lr in RATES:
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.LeakyReLU(), nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.LeakyReLU(),
                nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 2 * 2, 10),
            )  # fmt: skip
            loss_function = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
            best = 0.0
            for _ in range(EPOCHS):
                model.train()
                for rows in torch.randperm(len(train_x)).split(BATCH_SIZE):
                    optimizer.zero_grad()
                    loss_function(model(train_x[rows]), train_y[rows]).backward()
                    optimizer.step()
                    steps += 1
                model.eval()
                with torch.no_grad():
                    outputs = model(val_x)
                    loss_function(outputs, val_y).item()
                    best = max(best, (outputs.argmax(1) == val_y).float().mean().item())
            accuracies.append(best)
    return {"steps": steps, "accuracy": statistics.mean(accuracies)}


if __name__ == "__main__":
    main()
