"""A hundred tracked runs: how much faster than one after another in a loop?

    python tests/benchmarks/study100.py [--repeats 3] [--workers 2] [--ways harness,bare,by-hand]

20 settings of digits (80/10/10, 20 epochs, 64-128-10): seven learning rates, six dropouts and six
weight decays beside the baseline, five seeds each. Every way is a process of its own, timed as a
whole, start-up included, one after the other and to and fro:

1. harness: ``paribus sweep`` with everything on, and so many workers.
   untracked: the same without W&B.
2. bare: the runs one after another in a DataLoader loop that keeps nothing (`loops.bare`).
3. by hand: the same with Optuna, W&B offline, torchmetrics and torch.save (`loops.by_hand`).
4. lightning: Lightning with Optuna and W&B offline; where it is installed.

It prints a table, and fails where the ways differ in optimizer steps or, by more than half a point,
in the mean of the best validation accuracies. About ten minutes; without by-hand about four.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

import loops  # noqa: E402
from measure import surroundings  # noqa: E402
from single import OVERRIDES, parts  # noqa: E402

from paribus.core.runtime import restart_pinned  # noqa: E402

SEEDS = 5
BASELINE = {"lr": 1e-3, "dropout": 0.2, "weight_decay": 0.0}
LEVELS = {
    "lr": (1e-4, 2e-4, 5e-4, 2e-3, 5e-3, 1e-2, 2e-2),
    "dropout": (0.0, 0.1, 0.3, 0.4, 0.5, 0.6),
    "weight_decay": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
}
KEYS = {"lr": "optimizer.lr", "dropout": "model.dropout", "weight_decay": "optimizer.weight_decay"}
HARNESS = ("harness", "untracked")
WAYS = (*HARNESS, "bare", "by-hand", "lightning")
POINTS = 0.005  # by which the mean accuracies may differ


def main() -> None:
    """Measures the ways in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each way")
    parser.add_argument("--workers", type=int, default=2, help="of the harness")
    parser.add_argument("--ways", default="harness,bare,by-hand", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    restart_pinned()
    if options.way:
        print(json.dumps(_train_by(options.way)))
        return
    ways = options.ways.split(",")
    rows: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for repeat in range(options.repeats):
        for way in ways[:: -1 if repeat % 2 else 1]:
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
                rows[way].append(_measured(way, Path(folder), options))
            print(f"  {way}: {rows[way][-1]['seconds']:.2f} s", file=sys.stderr, flush=True)
    print(_table(rows))
    print(surroundings())
    _check(rows)


def settings() -> Iterator[dict[str, float]]:
    """The baseline, and each level of each axis."""
    yield BASELINE
    for name, levels in LEVELS.items():
        for level in levels:
            yield {**BASELINE, name: level}


def _measured(way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, optimizer steps and mean best accuracy of one whole process."""
    command = [sys.executable, __file__, "--way", way]
    if way in HARNESS:
        axes = [f"{KEYS[name]}={','.join(map(str, LEVELS[name]))}" for name in LEVELS]
        sets = [word for override in OVERRIDES for word in ("--set", override)]
        start = "from paribus.sweeps.cli.main import main; main()"
        command = [sys.executable, "-c", start, "sweep", "digits", *axes, *sets]
        command += ["--seeds", str(SEEDS), "--workers", str(options.workers), "--json"]
        command += ["--no-wandb"] if way == "untracked" else []
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    seconds = time.perf_counter() - started
    if way in HARNESS:
        return {**_of_records(folder / "results" / "runs"), "seconds": seconds}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": seconds}


def _of_records(runs: Path) -> dict[str, Any]:
    """What the harness wrote down: that all was trained, and how well."""
    records = [json.loads(file.read_text()) for file in runs.glob("*/run.json")]
    assert len(records) == SEEDS * len(list(settings())), f"{len(records)} runs"
    assert all(record["status"] == "complete" for record in records)
    return {
        "steps": sum(record["facts"]["updates"] for record in records),
        "accuracy": statistics.mean(r["best"]["metrics"]["val/accuracy"] for r in records),
    }


def _train_by(way: str) -> dict[str, Any]:
    """All runs one after another; what a way's own process does."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    register_optimizer_step_post_hook(count)
    train_part, val_part = parts()
    if way == "lightning":
        from lightning_loop import lightning

        train = lightning(train_part, val_part, Path.cwd())
    elif way == "by-hand":
        train = loops.by_hand(train_part, val_part, Path.cwd())
    else:
        train = loops.bare(train_part, val_part)
    found = [train(seed, **setting) for setting in settings() for seed in range(SEEDS)]
    return {"steps": steps, "accuracy": statistics.mean(found)}


def _table(rows: dict[str, list[dict[str, Any]]]) -> str:
    medians = {way: statistics.median(r["seconds"] for r in found) for way, found in rows.items()}
    lines = [f"{'way':<10}{'median s':>10}{'min':>9}{'max':>9}{'× harness':>11}{'accuracy':>10}"]
    for way, found in rows.items():
        seconds = [row["seconds"] for row in found]
        ratio = medians[way] / medians.get("harness", medians[way])
        lines.append(
            f"{way:<10}{medians[way]:>10.2f}{min(seconds):>9.2f}{max(seconds):>9.2f}{ratio:>11.1f}"
            f"{statistics.mean(row['accuracy'] for row in found):>10.4f}"
        )
    return "\n".join(lines)


def _check(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Fails unless all ways trained the same: as many steps, about the same accuracy."""
    steps = {way: found[0]["steps"] for way, found in rows.items()}
    assert len(set(steps.values())) == 1, f"optimizer steps differ: {steps}"
    means = {way: statistics.mean(row["accuracy"] for row in found) for way, found in rows.items()}
    spread = max(means.values()) - min(means.values())
    assert spread <= POINTS, f"mean best accuracies are {100 * spread:.1f} points apart: {means}"


if __name__ == "__main__":
    main()
