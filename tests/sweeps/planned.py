"""Ids as a command plans them: each time in a worker of its own, with variables of its own."""

import os
import sys

from processes import start_forkserver

from paribus.sweeps.execution.planner import plan_run, plan_runs, read_request
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.study.designs import OneAtATime
from paribus.sweeps.study.request import Request, Search


def planned(path, *overrides, variables=None, site=None, before=()):
    """The id of the baseline's run with seed 0.

    The worker has these variables (None: it is not set), a folder of installed packages, and has
    planned other experiments before.
    """
    requests = [*map(Request, before), Request(path, overrides)]
    return _in_a_new_process(_ids, requests, variables or {}, site)


def planned_sweep(path, *axes, seeds=(0,)):
    """Label and seed to id, as planned for a sweep of these axes in this order."""
    return _in_a_new_process(_ids_of_a_sweep, Request(path, axes=axes), seeds)


def _in_a_new_process(function, *arguments):
    start_forkserver()
    with Pool(1) as pool:
        pool.start()  # else, where this process is pinned, it would plan itself
        return pool.call(function, *arguments)


def _ids(requests, variables, site):
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if site is not None:
        sys.path.append(str(site))
    return [plan_run(request, 0).id for request in requests][-1]


def _ids_of_a_sweep(request, seeds):
    question = read_request(request)
    design = OneAtATime(question.baseline, question.axes, seeds, question.direction, Search())
    _, runs = plan_runs(request, question.baseline, design.propose({}))
    return {key: run.id for key, run in runs.items()}
