"""Runs of modules that are no chain of layers, traced as members of a cohort: faster than a loop?

    python tests/benchmarks/traced.py [--net norm|transformer] [--ways harness,bare] [--workers 2]

norm: digits, 64-128-10 with batch normalization and dropout 0.2. transformer: 16 tokens of 64, one
block of 2 heads and 32 numbers, layer norm, and the mean. Cross entropy, Adam, batches of 64, 20
epochs with validation after each; 20 learning rates, two seeds each. Whole processes, start-up and
tracing included:

1. harness: ``paribus sweep --engine cohort`` with everything on, and so many workers.
   loop: the same with ``--engine loop``.
2. bare: the runs one after another, in one process with one thread; tensors in memory, indexed by a
   permutation, fused Adam. Keeps nothing.

It fails where the ways differ in optimizer steps or validations, where a record is not complete,
or where the mean best accuracies differ by more than a point and a half. About three minutes.
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

RATES = [round(1e-3 * 1.12**k, 6) for k in range(20)]
SEEDS, EPOCHS, BATCH_SIZE = 2, 20, 64
POINTS = 0.015  # by which the mean accuracies may differ

FILE = '''"""How large are the steps?"""

import torch
from torch import nn


def tokens():
    x = torch.randint(0, 64, (1500, 16), generator=torch.Generator().manual_seed(0))
    return x, (x < 16).sum(1).clamp(2, 5) - 2


class Norm(nn.Sequential):
    def __init__(self, in_features: int, out_features: int):
        super().__init__(
            nn.Linear(in_features, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, out_features),
        )


class Transformer(nn.Module):
    def __init__(self, out_features: int):
        super().__init__()
        self.words, self.places = nn.Embedding(64, 32), nn.Parameter(torch.zeros(16, 32))
        self.block = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.output = nn.Linear(32, out_features)

    def forward(self, x):
        return self.output(self.block(self.words(x) + self.places).mean(1))


BASELINE = {
    "task": "multiclass",
    "data": DATA,
    "model": MODEL,
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": RATES[0]},
    "split": {"val_fraction": 0.1, "test_fraction": 0.1},
    "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE},
}
AXES = {"optimizer.lr": RATES[1:]}
'''
NETS = {"norm": ("digits", "Norm"), "transformer": ("tokens", "Transformer")}


def main() -> None:
    """Measures the ways in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=NETS, default="norm")
    parser.add_argument("--repeats", type=int, default=3, help="of each way, >= 3")
    parser.add_argument("--workers", type=int, default=2, help="of the harness")
    parser.add_argument("--ways", default="harness,bare", help="of harness, loop, bare")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    restart_pinned()
    if options.bare:
        print(json.dumps(bare(options.bare)))
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways.split(",")}

    def timed(name: str, train: Callable[[Path], dict[str, Any]]) -> Callable[[int], float]:
        def way(_: int) -> float:
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
                known = {"RATES": RATES, "EPOCHS": EPOCHS, "BATCH_SIZE": BATCH_SIZE}
                known |= dict(zip(("DATA", "MODEL"), NETS[options.net], strict=True))
                values = "".join(f"{key} = {value!r}\n" for key, value in known.items())
                docstring, _, rest = FILE.partition("\n\n")
                Path(folder, "net.py").write_text(f"{docstring}\n{values}\n{rest}")
                started = time.perf_counter()
                found[name].append(train(Path(folder)))
                return time.perf_counter() - started

        return way

    def sweep(engine: str) -> Callable[[Path], dict[str, Any]]:
        words = ("--seeds", str(SEEDS), "--engine", engine, "--workers", str(options.workers))

        def train(folder: Path) -> dict[str, Any]:
            row = swept(folder, "net.py", SEEDS * len(RATES), *words)
            assert row.pop("engines") == {engine}
            return row

        return train

    def one_by_one(folder: Path) -> dict[str, Any]:
        return in_one_process(__file__, "--bare", str(folder / "net.py"))

    ways = {
        "harness": timed("harness", sweep("cohort")),
        "loop": timed("loop", sweep("loop")),
        "bare": timed("bare", one_by_one),
    }
    chosen = {name: ways[name] for name in found}
    print(table(in_turn(chosen, options.repeats), "s", "harness"))
    print(surroundings())
    for count in ("steps", "validations"):
        assert len({row[count] for rows in found.values() for row in rows}) == 1, found
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
    resolver = Resolver(experiment := load_experiment(path))
    steps, accuracies = 0, []
    for lr in RATES:
        for seed in range(SEEDS):
            data = resolver.data(experiment.baseline, seed)
            (train_x, train_y), (val_x, val_y) = (
                (part.inputs, part.targets) for part in (data.train, data.val)
            )
            model = resolver.train_state(experiment.baseline, seed).model
            loss_function = nn.CrossEntropyLoss()
            optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
            torch.manual_seed(seed)
            best = []
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
                    best.append((outputs.argmax(1) == val_y).float().mean().item())
            accuracies.append(best)
    return {
        "steps": steps,
        "validations": sum(map(len, accuracies)),
        "accuracy": statistics.mean(map(max, accuracies)),
    }


if __name__ == "__main__":
    main()
