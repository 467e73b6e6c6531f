"""What five seeds over folds take, beside three on one part, here and in another checkout.

    python tests/benchmarks/folds.py OTHER_CHECKOUT [--repeats 3]

`paribus sweep digits` with 21 settings, each time in a fresh root and without W&B: 105 runs over
five folds; 63 runs on one validation part; the same 63 in the other checkout, such as one from
before there were folds. Whole commands, start-up included, to and fro. Two minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import in_turn, surroundings, table

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from paribus.sweeps.cli.main import main; main()"]
ONE_PART = ("--set", "split.val_fraction=0.15", "--seeds", "3")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    ways = {
        "105 over folds": lambda _: swept(REPOSITORY, 105),
        "63 on one part": lambda _: swept(REPOSITORY, 63, *ONE_PART),
        "63 there": lambda _: swept(asked.other.resolve(), 63, *ONE_PART),
    }
    print(table(in_turn(ways, asked.repeats), "s", "63 there"))
    print(surroundings())


def swept(checkout, runs, *words):
    """The seconds of a sweep of digits with a checkout's code."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as root:
        line = [*COMMAND, "sweep", "digits", *words, "--no-wandb", "--root", root, "--json"]
        started = time.perf_counter()
        done = subprocess.run(line, env=environment, cwd=root, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    planned = json.loads(done.stdout)["runs"]
    assert (planned["planned"], planned["trained"]) == (runs, runs), planned
    return seconds


if __name__ == "__main__":
    main()
