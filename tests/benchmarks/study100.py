"""A hundred tracked runs: how much faster than one after another in a loop?

    python tests/benchmarks/study100.py [--repeats 3] [--workers 2] [--ways harness,bare,by-hand]
                                        [--seeds 5] [--experiment digits]

20 settings of digits (80/10/10, 20 epochs, 64-128-10): seven learning rates, six dropouts and six
weight decays beside the baseline, five seeds each; with 15 seeds these are 300 runs. Or twelve
settings of wine (30 epochs, 13-32-3). Every way is a process of its own, timed as a whole, start-up
included, one after the other and to and fro:

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
LEVELS = {
    "lr": (1e-4, 2e-4, 5e-4, 2e-3, 5e-3, 1e-2, 2e-2),
    "dropout": (0.0, 0.1, 0.3, 0.4, 0.5, 0.6),
    "weight_decay": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
}
FEW_LEVELS = {"lr": LEVELS["lr"][:5], "weight_decay": LEVELS["weight_decay"]}  # of wine
PROBLEMS = {problem.experiment: problem for problem in (loops.DIGITS, loops.WINE)}
KEYS = {"lr": "optimizer.lr", "dropout": "model.dropout", "weight_decay": "optimizer.weight_decay"}
HARNESS = ("harness", "untracked")
WAYS = (*HARNESS, "bare", "by-hand", "lightning")
POINTS = {"digits": 0.005, "wine": 0.02}  # by which the mean accuracies may differ


def main() -> None:
    """Measures the ways in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each way")
    parser.add_argument("--workers", type=int, default=2, help="of the harness")
    parser.add_argument("--ways", default="harness,bare,by-hand", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each setting")
    parser.add_argument("--experiment", choices=PROBLEMS, default="digits")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    restart_pinned()
    if options.way:
        print(json.dumps(_train_by(options.way, PROBLEMS[options.experiment], options.seeds)))
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
    _check(rows, POINTS[options.experiment])


def levels_of(problem: loops.Problem) -> dict[str, tuple[float, ...]]:
    """The levels of each axis, beside the baseline's."""
    return LEVELS if problem is loops.DIGITS else FEW_LEVELS


def settings(problem: loops.Problem) -> Iterator[dict[str, float]]:
    """The baseline, and each level of each axis."""
    baseline = {"lr": problem.lr, "dropout": problem.dropout, "weight_decay": 0.0}
    yield baseline
    for name, levels in levels_of(problem).items():
        for level in levels:
            yield {**baseline, name: level}


def _measured(way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, optimizer steps and mean best accuracy of one whole process."""
    problem = PROBLEMS[options.experiment]
    command = [sys.executable, __file__, "--way", way]
    command += ["--experiment", options.experiment, "--seeds", str(options.seeds)]
    if way in HARNESS:
        levels = levels_of(problem)
        axes = [f"{KEYS[name]}={','.join(map(str, levels[name]))}" for name in levels]
        sets = [word for override in OVERRIDES for word in ("--set", override)]
        start = "from paribus.sweeps.cli.main import main; main()"
        command = [sys.executable, "-c", start, "sweep", problem.experiment, *axes, *sets]
        command += ["--seeds", str(options.seeds), "--workers", str(options.workers), "--json"]
        command += ["--no-wandb"] if way == "untracked" else []
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    environment["PYTHONPATH"] = str(REPOSITORY)
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    seconds = time.perf_counter() - started
    if way in HARNESS:
        runs = options.seeds * len(list(settings(problem)))
        return {**_of_records(folder / "results" / "runs", runs), "seconds": seconds}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": seconds}


def _of_records(runs: Path, expected: int) -> dict[str, Any]:
    """What the harness wrote down: that all was trained, and how well."""
    records = [json.loads(file.read_text()) for file in runs.glob("*/run.json")]
    assert len(records) == expected, f"{len(records)} runs"
    assert all(record["status"] == "complete" for record in records)
    return {
        "steps": sum(record["facts"]["updates"] for record in records),
        "accuracy": statistics.mean(r["best"]["metrics"]["val/accuracy"] for r in records),
    }


def _train_by(way: str, problem: loops.Problem, seeds: int) -> dict[str, Any]:
    """All runs one after another; what a way's own process does."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    register_optimizer_step_post_hook(count)
    train_part, val_part = parts(problem.experiment)
    if way == "lightning":
        from lightning_loop import lightning

        train = lightning(train_part, val_part, Path.cwd())
    elif way == "by-hand":
        train = loops.by_hand(train_part, val_part, Path.cwd(), problem)
    else:
        train = loops.bare(train_part, val_part, problem)
    found = [train(seed, **setting) for setting in settings(problem) for seed in range(seeds)]
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


def _check(rows: dict[str, list[dict[str, Any]]], points: float) -> None:
    """Fails unless all ways trained the same: as many steps, about the same accuracy."""
    steps = {way: found[0]["steps"] for way, found in rows.items()}
    assert len(set(steps.values())) == 1, f"optimizer steps differ: {steps}"
    means = {way: statistics.mean(row["accuracy"] for row in found) for way, found in rows.items()}
    spread = max(means.values()) - min(means.values())
    assert spread <= points, f"mean best accuracies are {100 * spread:.1f} points apart: {means}"


if __name__ == "__main__":
    main()
