"""An experiment that can be made to go wrong, and shorthands for sweeping it.

Its net asks for files beside the experiment's own, the switches, and has a keyword for what goes
wrong: `model.trouble=raise` raises in the second epoch, `memory` does so while the switch `full`
is on, and so on. `slow` makes epochs slow, `hold` holds the second for as long as it is on. The
switches change no bit of a run that ends.
"""

from dataclasses import dataclass, field
from pathlib import Path

from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.execution.worker import Task
from paribus.sweeps.study.designs import OneAtATime
from paribus.sweeps.study.request import Request, Search, StudyOptions
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.sweep import Sweep
from paribus.sweeps.tracking.tracker import Tracker

TROUBLED = '''"""Does a net learn three kinds of waves, whatever happens to it?"""

import math
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


def waves(n: int = 60):
    kind = torch.arange(n) % 3
    return torch.sin(torch.arange(n * 4.0) * 12.9898).reshape(n, 4) + 0.8 * kind[:, None], kind


def switch(name):
    return (HERE / name).exists()


class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, width: int = 4, trouble: str = "calm"):
        super().__init__()
        self.first = nn.Linear(in_features, width)
        self.last = nn.Linear(width, num_classes)
        self.trouble = trouble
        self.updates = 0

    def forward(self, x):
        self.updates += self.training
        if self.updates > 4:
            self.suffer()
        outputs = self.last(torch.relu(self.first(x)))
        return outputs * math.nan if self.trouble == "nan" and self.updates > 4 else outputs

    def suffer(self):
        if switch("slow") or switch("hold"):
            (HERE / f"pid-{os.getpid()}").touch()
            time.sleep(0.05)
        while switch("hold"):
            time.sleep(0.01)
        if self.trouble == "raise":
            raise ValueError("the net gave up")
        if self.trouble == "exit":
            raise SystemExit(0)
        if self.trouble == "flaky" and switch("broken"):
            raise RuntimeError("the switch is on")
        if self.trouble == "memory" and switch("full"):
            raise MemoryError("no room")
        if self.trouble == "hog" and switch("full"):
            torch.empty(2**60)
        if self.trouble == "disk" and switch("full"):
            raise OSError(28, "No space left on device")
        if self.trouble == "die" and switch("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "chatty":
            print("so much to say")


BASELINE = {
    "task": "multiclass",
    "data": waves,
    "model": Net,
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 3, "batch_size": 16},
}

AXES = {"optimizer.lr": [0.1], "train.batch_size": [8]}
'''


@dataclass(frozen=True)
class Done:
    """A sweep that was trained, and what its driver said."""

    sweep: Sweep
    steps: list = field(repr=False)

    @property
    def study(self):
        return self.sweep.study

    @property
    def trained(self):
        return [step.run.id for step in self.steps if step.record and not step.reused]

    @property
    def hashes(self):
        """(label, seed) to the hash of the run's last weights."""
        return hashes(self.study)

    def result(self, label):
        return next(r for r in self.study.results() if r.setting.label == label)


class Troubled:
    """The experiment's file, its switches and its sweeps, all under one folder."""

    def __init__(self, folder: Path, workplace) -> None:
        self.folder, self.workplace = folder, workplace
        self.path = folder / "experiment" / "troubled.py"
        self.path.parent.mkdir(parents=True)
        self.path.write_text(TROUBLED)
        self.root = ResultsDir(folder / "root")

    def switch(self, name, on=True):
        file = self.path.with_name(name)
        file.touch() if on else file.unlink(missing_ok=True)

    def replace(self, old, new):
        """Edits the experiment's file."""
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    def plan(self, *axes, seeds=(0, 1), overrides=(), root=None, **options) -> Sweep:
        request = Request(self.path, overrides, axes)
        return Sweep(request, StudyOptions(seeds, **options), root or self.root, self.workplace)

    def sweep(self, *axes, stop=lambda: False, rules=USUAL, name="study", **options) -> Done:
        """Sweeps a study of one name, so that it grows."""
        planned = self.plan(*axes, name=name, **options)
        steps = planned.train(Tracker(), rules, stop=stop)
        return Done(planned, list(steps))


def planned_runs(executor, request, seeds):
    """The runs of a request, planned where the executor would train them."""
    from paribus.sweeps.execution.planner import plan_runs, read_request

    question = executor.call(read_request, request)
    design = OneAtATime(question.baseline, question.axes, seeds, question.direction, Search())
    return executor.call(plan_runs, request, question.baseline, design.propose({}))[1]


def tasks_of(runs, folder, every=1e9):
    """A task for each run, each with a folder of its own, made when it is taken."""
    for run in runs:
        attempt = folder / run.id
        attempt.mkdir(parents=True, exist_ok=True)
        yield Task((run,), {run.id: attempt}, every)


def hashes(study):
    return {
        (setting.label, seed): study.outcomes.record(run).weights_sha256
        for setting in study.settings
        for seed, run in setting.runs.items()
    }
