"""Jobs trained in this process, and a metric that makes trouble for whoever is too sure."""

import io

import torch

from paribus.core.training.engine import Job
from paribus.core.training.job import train_job
from paribus.core.training.loop import Loop

_METRIC = """
import os
import signal

import torch
import torchmetrics


class TooSure(torchmetrics.Metric):
    higher_is_better = True

    def __init__(self):
        super().__init__()
        self.add_state("most", torch.tensor(0.0))

    def update(self, preds, target):
        self.most = preds.max()

    def compute(self):
        if self.most == 1:
            TROUBLE
        return self.most
"""


def too_sure(trouble):
    """The source of a metric `TooSure` that does this once a prediction is certain."""
    return _METRIC.replace("TROUBLE", trouble)


def train(attempts, stop=None, every=1e9):
    """Trains runs, each into its folder, as one job; stops after so many reports of all."""
    for _, folder in attempts:
        folder.mkdir(parents=True, exist_ok=True)
    found = []
    runs = tuple(run for run, _ in attempts)
    progress = train_job(runs, {run.id: folder for run, folder in attempts}, every)
    for each in progress:
        found.append(each)
        if len(found) == stop:
            progress.close()
            break
    return found


def reports_and_states(resolver, run, state=None):
    """Reports of a run of the loop, and the resume state after each as a file would hold it."""
    states = {} if state is None else {run.id: torch.load(io.BytesIO(state))}
    reports, saved = [], []
    for (report,) in Loop().train(Job((run,), resolver), states):
        reports.append(report)
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
        saved.append(buffer.getvalue())
    return reports, saved


def lines_of(reports):
    """Lines of the history, without the time that they took."""
    return [{k: v for k, v in r.line.items() if k != "seconds"} for r in reports]
