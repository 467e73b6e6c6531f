"""64 runs on a GPU: as members of one program, against one after another in a loop.

    python tests/benchmarks/gpu.py [--device cuda] [--members 64] [--repeats 3]

Digits (64-128-10) and data of MNIST's size (784-128-10, 20 000 images), dropout 0.2, Adam, batches
of 64; an epoch of each run with validation, everything resident on the device:

1. cohort: the members of one program of the cohort engine, metrics and hashes included.
2. loop: the runs one after another, indexed by a permutation on the device, fused Adam.

Without a GPU, ``--device cpu --members 4`` shows that it works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import in_turn, surroundings, table  # noqa: E402

from paribus.core.runtime import restart_pinned, settle  # noqa: E402

HIDDEN_DIM, DROPOUT, LR, BATCH_SIZE = 128, 0.2, 1e-3, 64
SHAPES = {"digits": ("digits", ()), "mnist": ("mnist", ("data.images=28000",))}


def main() -> None:
    """Measures both shapes and prints a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--members", type=int, default=64, help="runs")
    parser.add_argument("--repeats", type=int, default=3, help="of each way, >= 3")
    options = parser.parse_args()
    restart_pinned()
    settle()
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here; to see that it works: --device cpu --members 4")
    for shape in SHAPES:
        ways = both(shape, options.device, options.members)
        print(f"{shape}, {options.members} runs on {options.device}, an epoch of each")
        print(table(in_turn(ways, options.repeats), "s", "cohort"))
    print(surroundings())
    if options.device == "cuda":
        print(torch.cuda.get_device_name())


def both(shape: str, device: str, members: int) -> dict[str, Callable[[int], float]]:
    """Both ways of training the same runs; each call is another epoch."""
    import torch
    from torch import nn

    from paribus.core.config.experiment import find_experiment, load_experiment
    from paribus.core.training.cohort.cohort_engine import Cohort
    from paribus.core.training.engine import Job
    from paribus.core.training.resolve import Resolver
    from paribus.sweeps.study.settings import apply_overrides

    name, overrides = SHAPES[shape]
    experiment = load_experiment(find_experiment(name))
    wanted = (*overrides, f"model.dropout={DROPOUT}", f"device={device}", "train.epochs=1000")
    resolver = Resolver(experiment)
    asked = apply_overrides(experiment.baseline, wanted, experiment)
    runs = tuple(resolver.specify(asked, seed) for seed in range(members))
    epochs = Cohort().train(Job(runs, resolver), {})
    data = resolver.data(asked, 0)
    (train_x, train_y), (val_x, val_y) = (
        (part.inputs_of(len(part))[0].flatten(1).to(device), part.targets.to(device))
        for part in (data.train, data.val)
    )

    def synchronized() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def cohort(_: int) -> float:
        started = synchronized()
        next(epochs)
        return synchronized() - started

    models: list[Any] = []
    for seed in range(members):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(train_x.shape[1], HIDDEN_DIM), nn.ReLU(), nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN_DIM, 10),
        ).to(device)  # fmt: skip
        models.append((model, torch.optim.Adam(model.parameters(), lr=LR, fused=True)))
    loss_function = nn.CrossEntropyLoss()

    def loop(_: int) -> float:
        started = synchronized()
        for model, optimizer in models:
            model.train()
            for rows in torch.randperm(len(train_x), device=device).split(BATCH_SIZE):
                optimizer.zero_grad()
                loss_function(model(train_x[rows]), train_y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                outputs = model(val_x)
                loss_function(outputs, val_y).item()
                (outputs.argmax(1) == val_y).float().mean().item()
        return synchronized() - started

    cohort(0)
    loop(0)
    return {"cohort": cohort, "loop": loop}


if __name__ == "__main__":
    main()
