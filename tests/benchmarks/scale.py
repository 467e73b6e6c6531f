"""Do large studies cost as much for each run as small ones, and are they looked at as quickly?

    python tests/benchmarks/scale.py [--runs 100,300,1000] [--in-root 5000]

Digits, the baseline and so many learning rates, five seeds each, 20 epochs, everything on, two
workers: one study of each size in a root of its own. Then the last root is filled up with studies
of 1 000 runs of one epoch, and the commands that look at results are timed beside a process that
only imports what they do. About six minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import surroundings  # noqa: E402

SEEDS = 5
START = "from paribus.sweeps.cli.main import main; main()"
IMPORTS = (
    "import paribus.sweeps.cli.app, paribus.sweeps.study.study, paribus.sweeps.analysis.compare, "
    "paribus.sweeps.study.lookup, rich.table"
)


def main() -> None:
    """Measures and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", default="100,300,1000", help="sizes of the studies")
    parser.add_argument(
        "--in-root", type=int, default=5000, help="runs in the last root in the end"
    )
    options = parser.parse_args()
    sizes = [int(size) for size in options.runs.split(",")]
    with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
        print(f"{'runs':>6}{'s':>9}{'ms a run':>10}{'driver MiB':>12}{'worker MiB':>12}")
        for size in sizes:
            place = Path(folder, str(size))
            place.mkdir()
            seconds, driver, worker = watched(place, size, "lr")
            print(
                f"{size:>6}{seconds:>9.1f}{1000 * seconds / size:>10.1f}{driver:>12.0f}"
                f"{worker:>12.0f}",
                flush=True,
            )
        print(f"\n{'command':<16}{'runs in root':>13}{'s':>8}{'past imports':>14}")
        look(place, sizes[-1])
        some = min(1000, sizes[-1])
        for number in range((options.in_root - sizes[-1]) // some):
            watched(place, some, f"more-{number}", epochs=1, first=number + 1)
        look(place, len(list(place.glob("results/runs/*"))))
    print(surroundings())


def watched(
    place: Path, runs: int, study: str, epochs: int = 20, first: int = 0
) -> tuple[float, float, float]:
    """Seconds of a sweep, and the most memory (MiB) that its driver and any worker had."""
    levels = runs // SEEDS - 1
    low = 1.01e-4 * (1 + first / 10)  # no level is the baseline
    command = [
        sys.executable, "-c", START, "sweep", "digits", f"optimizer.lr={low}:1e-2:log:{levels}",
        "--set", f"train.epochs={epochs}", "--seeds", str(SEEDS), "--workers", "2",
        "--study", study, "--json",
    ]  # fmt: skip
    started = time.perf_counter()
    sweep = subprocess.Popen(command, cwd=place, env=_environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)  # fmt: skip
    most: dict[int, float] = {}
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(sweep.pid, most, done))
    watcher.start()
    printed, _ = sweep.communicate()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    assert json.loads(printed)["runs"]["planned"] == runs, printed[:500]
    return seconds, most.pop(sweep.pid), max(most.values())


def look(place: Path, runs: int) -> None:
    """Prints how long the commands take that look at results, the least of three."""
    for words in (["compare", "lr"], ["runs"], ["studies"]):
        takes, imports = [], []
        for _ in range(3):
            imports.append(_seconds(place, [sys.executable, "-c", IMPORTS]))
            takes.append(_seconds(place, [sys.executable, "-c", START, *words, "--json"]))
        name = " ".join(words)
        print(f"{name:<16}{runs:>13}{min(takes):>8.2f}{min(takes) - min(imports):>14.2f}")


def _seconds(place: Path, command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        command, cwd=place, env=_environment(), check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - started


def _environment() -> dict[str, str]:
    return os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": str(REPOSITORY)}


def _watch(driver: int, most: dict[int, float], done: threading.Event) -> None:
    """Notes the highest resident memory of a process and those that descend from it."""
    while not done.wait(0.2):
        parents = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = entry.joinpath("stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
            except OSError:
                continue
        for process in parents:
            ancestor = process
            while ancestor in parents and ancestor != driver:
                ancestor = parents[ancestor]
            if ancestor == driver and _is_python(process):
                most[process] = max(most.get(process, 0.0), _peak(process))


def _is_python(process: int) -> bool:
    try:
        return "python" in Path(f"/proc/{process}/exe").resolve().name
    except OSError:
        return False


def _peak(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


if __name__ == "__main__":
    main()
