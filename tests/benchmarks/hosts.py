"""What a cluster costs: 200 runs on two Ray nodes of one worker each, and on one pool of two.

    python tests/benchmarks/hosts.py [--repeats 3] [--simulated 2000]

digits (80/10/10, 20 epochs), 40 learning rates, five seeds. Both nodes are on the loopback of this
machine, started before. Whole processes with everything on, in turn; Ray's takes some seconds to
connect and to begin its hosts, which are told apart: the sweep's own time is the second table.

With --simulated no run is trained: so many hosts, of which each answers at once with the epochs and
the end of its runs, show what an event costs the driver, and its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(Path(__file__).parent)]

from measure import in_turn, surroundings, table  # noqa: E402

from paribus.core.runtime import restart_pinned  # noqa: E402

RATES = ",".join(f"{1e-4 * 1.13**k:.4g}" for k in range(39))
EPOCHS, RUNS = 20, 200


def main() -> None:
    """Measures both ways in turn, or what an event costs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of each way, >= 3")
    parser.add_argument("--simulated", type=int, help="hosts that train nothing")
    options = parser.parse_args()
    restart_pinned()
    from ray_nodes import TOKEN, Nodes

    os.environ |= TOKEN
    nodes = Nodes()
    try:
        if options.simulated:
            simulate(nodes.address, options.simulated)
        else:
            nodes.add(3)
            compare(nodes.address, options.repeats)
    finally:
        nodes.end()
    print(surroundings())


def compare(address: str, repeats: int) -> None:
    """Prints the whole and the sweep's own time of both ways."""
    own: dict[str, list[float]] = {"ray": [], "pool": []}

    def way(name: str, *words: str) -> Any:
        def timed(_: int) -> float:
            with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
                started = time.perf_counter()
                own[name].append(swept(Path(folder), *words))
                return time.perf_counter() - started

        return timed

    ways = {"ray": way("ray", "--on", f"ray:{address}"), "pool": way("pool", "--workers", "2")}
    print(table(in_turn(ways, repeats), "s", "pool"))
    print(table(own, "s", "pool"))


def swept(folder: Path, *words: str) -> float:
    """The seconds of a sweep's own, all of whose runs are complete."""
    start = "from paribus.sweeps.cli.main import main; main()"
    line = ["sweep", "digits", f"optimizer.lr={RATES}", "--seeds", "5", "--json"]
    line += ["--set", "split.folds=none", "--set", f"train.epochs={EPOCHS}"]
    environment = os.environ | {"WANDB_MODE": "offline", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", start, *line, *words],
        cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["runs"]["trained"] == RUNS, document["runs"]
    return float(document["seconds"])


def simulate(address: str, hosts: int) -> None:
    """Drives hosts that answer at once; prints the driver's time for each event, and its memory."""
    import ray

    from paribus.core.run_spec import WorkerEvent
    from paribus.sweeps.execution.ray_cluster import RayCluster, _Node
    from paribus.sweeps.execution.ray_host import About, Sent
    from paribus.sweeps.execution.worker import Task

    class Remote:
        """Answers ``name.remote(...)`` by a method, at once."""

        def __init__(self) -> None:
            self.events = SimpleNamespace(remote=self._events)
            self.begin = SimpleNamespace(remote=self._begin)

        def _begin(self, task: Task, *_: Any) -> None:
            self.task = task

        def _events(self, _stopping: bool) -> Any:
            (run,) = self.task.runs
            line = {"epoch": 1, "seconds": 0.01, "metrics": {"val/loss": 0.5}}
            epochs = [Sent(run.id, WorkerEvent(run.id, EPOCHS, line)) for _ in range(EPOCHS)]
            end = WorkerEvent(run.id, EPOCHS, line, "complete")
            files = dict.fromkeys(("run.json", "history.jsonl", "MANIFEST.json"), b"x" * 2000)
            return ray.put([*epochs, Sent(run.id, end, files, over=True)])

    def tasks(folder: Path) -> Iterator[Task]:
        for number in range(3 * hosts):
            run: Any = SimpleNamespace(id=f"run-{number}", facts={"epochs": EPOCHS})
            yield Task((run,), {run.id: folder / run.id}, 5.0)

    cluster = RayCluster(address)
    ray.init(address, log_to_driver=False, logging_level="ERROR")
    for number in range(hosts):
        node = object.__new__(_Node)
        node.host, node.pending, node.silent, node.tasks = Remote(), None, 0.0, []
        node.id = node.address = str(number)
        node.about = About(f"host-{number}", 1, [], {})
        cluster.nodes.append(node)
    cluster._known = {node["NodeID"] for node in ray.nodes()}
    cluster.size, cluster._kind = hosts, {}
    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as folder:
        started, count = time.perf_counter(), 0
        for _ in cluster.execute(tasks(Path(folder)), lambda: False):
            count += 1
        seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert count == 3 * hosts * (EPOCHS + 1)
    print(
        f"{hosts} hosts, {count} events: {1e6 * seconds / count:.0f} µs an event, "
        f"{1e6 * cpu / count:.0f} of them computing; {after.ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
