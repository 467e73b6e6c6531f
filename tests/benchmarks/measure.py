"""What the benchmarks share: ways measured in turn, their medians as a table, the surroundings."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
Way = Callable[[int], float]  # the number of the repeat to what it took


def in_turn(ways: Mapping[str, Way], repeats: int) -> dict[str, list[float]]:
    """What each way took, repeat by repeat; to and fro, so that none always follows another."""
    if repeats < 3:
        raise SystemExit("--repeats: at least 3")
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            found[name].append(ways[name](repeat))
    return found


def table(found: Mapping[str, list[float]], unit: str, times: str) -> str:
    """Median, least and most of each way, and how many times it takes what the way `times` does."""
    reference = statistics.median(found[times])
    lines = [f"{'way':<14}{'median ' + unit:>12}{'min':>10}{'max':>10}{'× ' + times:>16}"]
    for name, values in found.items():
        median = statistics.median(values)
        lines.append(
            f"{name:<14}{median:>12.2f}{min(values):>10.2f}{max(values):>10.2f}"
            f"{median / reference:>16.2f}"
        )
    return "\n".join(lines)


def surroundings() -> str:
    """What machine and what versions this was measured with."""
    from paribus.core.fingerprint import cpu_model

    names = ("torch", "numpy", "optuna", "wandb", "torchmetrics")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, 1 thread each; "
        f"Python {platform.python_version()}, {versions}"
    )


def swept(folder: Path, experiment: str, runs: int, *words: str) -> dict[str, Any]:
    """What the records of a sweep say that is run in a folder, with W&B offline.

    Fails unless there are so many runs, all complete.
    """
    start = "from paribus.sweeps.cli.main import main; main()"
    environment = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [sys.executable, "-c", start, "sweep", experiment, *words, "--json"],
        cwd=folder, env=environment, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    records = [json.loads(file.read_text()) for file in folder.glob("results/runs/*/run.json")]
    assert len(records) == runs
    assert all(record["status"] == "complete" for record in records)
    histories = [*folder.glob("results/runs/*/history.jsonl")]
    return {
        "steps": sum(record["facts"]["updates"] for record in records),
        "validations": sum(len(file.read_text().splitlines()) for file in histories),
        "accuracy": statistics.mean(r["best"]["metrics"]["val/accuracy"] for r in records),
        "engines": {record["identity"]["engine"] for record in records},
    }


def in_one_process(script: str, *words: str) -> dict[str, Any]:
    """What a script prints as JSON, in a process of its own."""
    command = [sys.executable, script, *words]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
