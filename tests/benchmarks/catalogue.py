"""How long does the study of each experiment take, and how good does it get?

    python tests/benchmarks/catalogue.py [NAME ...] [--quick]

Sweeps the experiments with all of their axes and five seeds, each in a fresh root, and prints a
line for each: settings and runs, seconds of the whole command, the baseline's score and the best
one. `--quick` gives those that take minutes the shorter form that their files name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from paribus.sweeps.cli.main import main; main()"]
QUICK = {
    "images": ["augment", "standardize"],
    "mnist": ["model.dropout", "--set", "data.images=7000"],
}
LINE = "{:12} {:>5} {:>5} {:>8} {:>14} {:>9} {:>9}   {}"


def main() -> None:
    """Sweeps each experiment in turn and prints its line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    names = given.names or [entry["experiment"] for entry in paribus("list")]
    print(LINE.format("name", "set", "runs", "seconds", "metric", "baseline", "best", "with"))
    for name in names:
        with tempfile.TemporaryDirectory(prefix="paribus-catalogue-") as root:
            options = QUICK.get(name, []) if given.quick else []
            started = time.perf_counter()
            study = paribus("sweep", name, *options, "--root", root)
            seconds = time.perf_counter() - started
        by_label = {setting["label"]: setting for setting in study["settings"]}
        best = study["best"]
        print(
            LINE.format(
                name,
                len(by_label),
                study["runs"]["planned"],
                f"{seconds:.1f}",
                study["metric"]["name"],
                f"{by_label['baseline']['mean']:.4f}",
                f"{by_label[best]['mean']:.4f}",
                best,
            ),
            flush=True,
        )
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {version('torch')}")


def paribus(*words: str) -> Any:
    """The document of a command."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*COMMAND, *words, "--json"], stdout=subprocess.PIPE, env=environment, check=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
