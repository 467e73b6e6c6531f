"""Processor time of planning a sweep, beside another checkout of paribus.

    python tests/benchmarks/planning.py OTHER_CHECKOUT [--repeats 10]

Two sweeps of 20 settings with 3 seeds each are planned by a process of its own, from the request
to the runs' ids, without the imports of torch: digits, and a project with a model of its own in a
package of modules. To and fro; the medians of the pairs' ratios are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = '''"""A net."""

import json
import os
from pathlib import Path

from torch import nn

from nets.blocks import block

WIDTH = json.loads(Path(__file__).with_name("net.json").read_text())["width"]


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, depth: int = 1):
        super().__init__()
        layers = [block(WIDTH, WIDTH) for _ in range(depth)]
        self.body = nn.Sequential(block(in_features, WIDTH), *layers)
        self.head = nn.Linear(WIDTH, num_classes)

    def forward(self, x):
        return self.head(self.body(x)) * float(os.environ.get("SCALE", "1"))
'''
BLOCKS = """from torch import nn


def block(n, m):
    return nn.Sequential(nn.Linear(n, m), nn.ReLU())
"""
EXPERIMENT = '''"""Which rate?"""

from nets.net import Net

BASELINE = {
    "task": "multiclass",
    "data": "sklearn.datasets.load_digits",
    "model": Net,
    "loss": "cross_entropy",
    "optimizer": "adam",
    "train": {"epochs": 20},
}
'''
PLAN = """
import sys, time
from pathlib import Path
import torch, torchvision, sklearn.datasets, torchmetrics
from paribus.sweeps.execution.planner import plan_runs, read_request
from paribus.sweeps.study.designs import OneAtATime
from paribus.sweeps.study.request import Request, Search
from paribus.core.components.optim import skip_compiler_import
skip_compiler_import()
rates = ",".join(f"{0.001 * (n + 2):.3f}" for n in range(19))
request = Request(Path(sys.argv[1]), axes=(f"optimizer.lr={rates}",), import_paths=(Path.cwd(),))
started = time.process_time()
question = read_request(request)
design = OneAtATime(question.baseline, question.axes, (0, 1, 2), question.direction, Search())
_, runs = plan_runs(request, question.baseline, design.propose({}))
print(time.process_time() - started, len(runs))
"""


def main() -> None:
    """Plans in turn and prints medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("other", type=Path)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paribus-benchmark-") as name:
        project = Path(name)
        (project / "nets").mkdir()
        (project / "nets" / "__init__.py").write_text("")
        (project / "nets" / "net.py").write_text(MODEL)
        (project / "nets" / "blocks.py").write_text(BLOCKS)
        (project / "nets" / "net.json").write_text('{"width": 64}')
        (project / "mine.py").write_text(EXPERIMENT)
        for what, file in (("digits", None), ("a project", project / "mine.py")):
            pairs = []
            for repeat in range(options.repeats):
                trees = [options.other, REPOSITORY][:: -1 if repeat % 2 else 1]
                took = {tree: _seconds(tree, file or _digits(tree), project) for tree in trees}
                pairs.append((took[options.other], took[REPOSITORY]))
            before, now = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(now / before for before, now in pairs)
            print(f"{what:<12}{before:>8.3f} s there{now:>8.3f} s here{ratio:>8.2f} ×", flush=True)


def _digits(tree: Path) -> Path:
    return tree / "experiments" / "digits.py"


def _seconds(tree: Path, file: Path, folder: Path) -> float:
    from paribus.core.runtime import PINNED

    environment = os.environ | PINNED | {"PYTHONPATH": str(tree)}
    words = [sys.executable, "-c", PLAN, str(file)]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    seconds, runs = done.stdout.split()
    assert runs == "60", runs
    return float(seconds)


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
