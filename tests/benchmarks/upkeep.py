"""What do checkpoints, and a tracker in trouble, cost a study?

    python tests/benchmarks/upkeep.py [--repeats 3]

The same study of the digits is swept in three ways, in turn, each time in a fresh root: with the
default checkpoint clock (5 s); with none at all (the clock never due); and with the default clock
and W&B at an address where nobody listens. 2 settings, 2 seeds, 600 epochs, two workers: each run
takes longer than the clock, and is saved a few times. It prints the medians of the whole commands,
start-up included, and of the sweeps alone, with their ratios, and fails where the ways differ in a
hash. About four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from paribus.sweeps.cli.main import main; main()"]
SWEEP = [
    *("sweep", "digits", "optimizer.lr=3e-3", "--set", "train.epochs=600"),
    *("--seeds", "2", "--workers", "2", "--json"),
]
WAYS = {  # name to (options, variables)
    "default": (["--no-wandb"], {}),
    "no clock": (["--no-wandb", "--checkpoint-every", "1e9"], {}),
    "no tracker": ([], {"WANDB_API_KEY": "5ec4e7" * 7, "WANDB_BASE_URL": "http://127.0.0.1:9"}),
}


def main() -> None:
    """Sweeps in turn and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    whole: dict[str, list[float]] = {name: [] for name in WAYS}
    alone: dict[str, list[float]] = {name: [] for name in WAYS}
    hashes = set()
    for number in range(repeats):
        for name in list(WAYS)[:: 1 if number % 2 else -1]:  # none is always first
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as root:
                started = time.perf_counter()
                alone[name].append(sweep(Path(root), *WAYS[name]))
                whole[name].append(time.perf_counter() - started)
                hashes.add(weights(Path(root)))
    print("way          command   of default   sweep alone   of default   (seconds, medians)")
    for name in WAYS:
        cells = []
        for times in (whole, alone):
            median = statistics.median(times[name])
            cells += [median, median / statistics.median(times["default"])]
        print("{:10} {:9.2f} {:12.3f} {:13.2f} {:12.3f}".format(name, *cells))
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}")
    if len(hashes) != 1:
        sys.exit("The weights differ.")


def sweep(root: Path, options: list[str], variables: dict[str, str]) -> float:
    """Seconds of one sweep, as it tells them."""
    environment = os.environ | variables | {"PYTHONPATH": str(REPOSITORY), "HOME": str(root)}
    words = [*COMMAND, *SWEEP, "--root", str(root / "results"), *options]
    done = subprocess.run(words, check=True, capture_output=True, env=environment)
    seconds: float = json.loads(done.stdout)["seconds"]
    return seconds


def weights(root: Path) -> str:
    """The hashes of all runs."""
    records = sorted(root.glob("results/runs/*/run.json"))
    return str([json.loads(record.read_text())["weights_sha256"] for record in records])


if __name__ == "__main__":
    main()
