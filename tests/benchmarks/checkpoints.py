"""What do checkpoints cost a study?

    python tests/benchmarks/checkpoints.py [--repeats 3]

The same study of the digits is swept with the default checkpoint clock (5 s) and with none at all
(the clock never due), in turn, each time in a fresh root: 5 settings, 2 seeds, 100 epochs, two
workers, without W&B. Start-up is included. It prints medians and their ratio, and fails where the
two differ in a hash.
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
COMMAND = [sys.executable, "-c", "from sweeps.cli.start import main; main()"]
SWEEP = [
    *("sweep", "digits", "optimizer.lr=3e-4,3e-3,1e-2,3e-2", "--set", "train.epochs=100"),
    *("--seeds", "2", "--workers", "2", "--no-wandb", "--json"),
]
CLOCKS = {"default": [], "none": ["--checkpoint-every", "1e9"]}


def main() -> None:
    """Sweeps in turn and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    seconds: dict[str, list[float]] = {name: [] for name in CLOCKS}
    hashes = set()
    for number in range(repeats):
        for name in list(CLOCKS)[:: 1 if number % 2 else -1]:  # neither is always first
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as root:
                seconds[name].append(sweep(Path(root), CLOCKS[name]))
                hashes.add(weights(Path(root)))
    for name, values in seconds.items():
        every = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name:8} median {statistics.median(values):6.2f} s   ({every})")
    ratio = statistics.median(seconds["default"]) / statistics.median(seconds["none"])
    print(f"default / none: {ratio:.3f}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}")
    if len(hashes) != 1:
        sys.exit("The weights differ.")


def sweep(root: Path, clock: list[str]) -> float:
    """Seconds of one sweep."""
    started = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    words = [*COMMAND, *SWEEP, "--root", str(root / "results"), *clock]
    subprocess.run(words, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def weights(root: Path) -> str:
    """The hashes of all runs."""
    records = sorted(root.glob("results/runs/*/run.json"))
    return str([json.loads(record.read_text())["weights_sha256"] for record in records])


if __name__ == "__main__":
    main()
