"""Is one run here as fast as the loop that people write by hand?

    python tests/benchmarks/single.py [--repeats 5]

Three ways train the same network on the same examples, side by side and in turn, each in a process
of its own with one thread, each repeat with a fresh seed:

1. harness: a cohort of one run with everything on. Per-epoch metrics, hashes and confusion matrix,
   resume state by the default clock, record, best weights, predictions, source, manifest, the
   rename to runs/, and W&B offline, until its ledger says that it has the whole run.
2. bare: DataLoader, nn.Sequential, torch.optim.Adam, validation loss and accuracy. Keeps nothing.
3. by hand: the same loop with Optuna (SQLite, a report per epoch), W&B offline, torchmetrics and
   torch.save of the best epoch.

Digits, 64-128-10 with dropout 0.2 and relu, cross entropy, Adam 1e-3, batches of 64, split
80/10/10, 20 epochs, validation after each. The time begins before the model is built and ends when
all is written. It does not include imports, data loading, planning, opening the Optuna study and
starting W&B: each way trains once before it is measured.

It prints a table, and fails where the ways differ in optimizer steps or, by more than 1.5 points,
in the mean of the best validation accuracy. About half a minute.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import loops  # noqa: E402
from measure import surroundings  # noqa: E402

from paribus.core.runtime import restart_pinned  # noqa: E402

OVERRIDES = ("split.val_fraction=0.1", "split.test_fraction=0.1")
DROPOUT, LR = 0.2, 1e-3
POINTS = 0.015  # by which the mean accuracies may differ
PATIENCE = 60.0  # seconds for one run
BASELINE_WAY = "bare"

Train = Callable[[int], tuple[float, float]]  # seed to (seconds, best validation accuracy)


def main() -> None:
    """Measures all ways in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="measured runs of each way, >= 3")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    restart_pinned()
    if options.way:
        serve(options.way)
        return
    if options.repeats < 3:
        parser.error("--repeats: at least 3")
    with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
        rows = compare(Path(folder), options.repeats)
    print(table(rows))
    print(surroundings())
    check(rows)


def compare(folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """Way to its seconds, accuracies and optimizer steps."""
    processes = {way: _start(way, folder) for way in WAYS}
    rows: dict[str, dict[str, Any]] = {}
    try:
        for way, process in processes.items():  # each trains once, counting its steps
            rows[way] = {"steps": _ask(process, 0)["steps"], "seconds": [], "accuracy": []}
        for repeat in range(1, repeats + 1):
            # To and fro, so that none always follows the same other.
            for way in list(WAYS)[:: 1 if repeat % 2 else -1]:
                answer = _ask(processes[way], repeat)
                rows[way]["seconds"].append(answer["seconds"])
                rows[way]["accuracy"].append(answer["accuracy"])
    finally:
        for process in processes.values():
            process.communicate()  # the end of its input ends it
    return rows


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The measurements as text."""
    reference = statistics.median(rows[BASELINE_WAY]["seconds"])
    lines = [
        f"{'way':<10}{'median s':>10}{'min':>8}{'max':>8}{'ratio':>8}{'steps':>8}{'accuracy':>10}"
    ]
    for way, row in rows.items():
        seconds, median = row["seconds"], statistics.median(row["seconds"])
        lines.append(
            f"{way:<10}{median:>10.3f}{min(seconds):>8.3f}{max(seconds):>8.3f}"
            f"{median / reference:>8.2f}{row['steps']:>8}{statistics.mean(row['accuracy']):>10.4f}"
        )
    return "\n".join(lines)


def check(rows: dict[str, dict[str, Any]]) -> None:
    """Fails unless all ways trained the same: as many steps, about the same accuracy."""
    steps = {way: row["steps"] for way, row in rows.items()}
    assert len(set(steps.values())) == 1, f"optimizer steps differ: {steps}"
    means = {way: statistics.mean(row["accuracy"]) for way, row in rows.items()}
    spread = max(means.values()) - min(means.values())
    assert spread <= POINTS, f"mean best accuracies are {100 * spread:.1f} points apart: {means}"


def _start(way: str, folder: Path) -> subprocess.Popen[str]:
    (folder / way).mkdir()
    return subprocess.Popen(
        [sys.executable, __file__, "--way", way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder / way,
        env=os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"},
    )


def _ask(process: subprocess.Popen[str], seed: int) -> dict[str, Any]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{seed}\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def serve(way: str) -> None:
    """The main function of a way's process: seeds in, measurements out."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from paribus.core.training.cohort.eligibility import members_keep_their_bits
    from paribus.core.training.cohort.kernels import MemberUpdate

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    train = WAYS[way]()
    members_keep_their_bits("cpu")  # takes steps too, once in a process
    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1

    def counting_members(update: Any, members: Any, hyperparameters: Any) -> Any:
        step = step_of(update, members, hyperparameters)

        def counted() -> None:
            nonlocal steps
            steps += len(members)
            step()

        return counted

    counting = register_optimizer_step_post_hook(count)
    step_of = MemberUpdate.step_of
    MemberUpdate.step_of = counting_members  # type: ignore[method-assign]
    for line in sys.stdin:
        seconds, accuracy = train(int(line))
        counting.remove()  # only the first run, which is not measured, is counted
        MemberUpdate.step_of = step_of  # type: ignore[method-assign]
        print(json.dumps({"seconds": seconds, "accuracy": accuracy, "steps": steps}), file=answers)


def harness() -> Train:
    """Way 1: as ``paribus run digits`` with the split above."""
    from paribus.core.fileio import read_lines
    from paribus.sweeps.execution.driver import drive
    from paribus.sweeps.execution.pool import Pool
    from paribus.sweeps.study.results_dir import ResultsDir
    from paribus.sweeps.tracking.tracker import TrackerCallback, open_tracker

    resolver, asked = _planned()
    root = ResultsDir(Path("results"))
    root.create()
    said: list[str] = []
    tracker = open_tracker(root.path, warn=said.append)
    atexit.register(tracker.close)
    pool = Pool(1)

    def train(seed: int) -> tuple[float, float]:
        run = resolver.specify(asked, seed)
        started = time.perf_counter()
        callback = TrackerCallback(tracker, root, None, [run])
        for step in drive([run], root, pool):
            callback.on_event(step)
        while not any(line["run"] == run.id for line in read_lines(root.path / "tracked.jsonl")):
            time.sleep(0.001)
            if time.perf_counter() - started > PATIENCE:
                raise TimeoutError(f"the run did not reach W&B: {said}")
        seconds = time.perf_counter() - started
        return seconds, root.run(run.id).record().metrics["val/accuracy"]

    return train


def bare() -> Train:
    """Way 2: the loop of a tutorial."""
    return _timed(loops.bare(*parts()))


def by_hand() -> Train:
    """Way 3: the same loop with the libraries that people put around it."""
    return _timed(loops.by_hand(*parts(), Path.cwd()))


def _timed(train: loops.Train) -> Train:
    def timed(seed: int) -> tuple[float, float]:
        started = time.perf_counter()
        accuracy = train(seed, LR, DROPOUT, 0.0)
        return time.perf_counter() - started, accuracy

    return timed


def _planned(name: str = "digits") -> tuple[Any, Any]:
    """The resolver of an experiment, and its baseline with the split above."""
    from paribus.core.config.experiment import find_experiment, load_experiment
    from paribus.core.training.resolve import Resolver
    from paribus.sweeps.study.settings import apply_overrides

    experiment = load_experiment(find_experiment(name))
    return Resolver(experiment), apply_overrides(experiment.baseline, OVERRIDES, experiment)


def parts(name: str = "digits") -> tuple[Any, Any]:
    """Inputs and targets to train on and to validate on: the harness's own, in memory."""
    resolver, asked = _planned(name)
    data = resolver.data(asked, 0)
    return tuple((part.inputs, part.targets) for part in (data.train, data.val))


WAYS: dict[str, Callable[[], Train]] = {"harness": harness, "bare": bare, "by hand": by_hand}


if __name__ == "__main__":
    main()
