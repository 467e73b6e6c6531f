"""Planning as its driver calls it: torch, and what needs it, is imported where the call is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.run_spec import RunSpec
from paribus.sweeps.study.request import Request, StudySpec
from paribus.sweeps.study.settings import Setting, baseline_setting


def read_request(request: Request) -> StudySpec:
    """As `planning.read_request`."""
    from paribus.sweeps.execution import planner

    return planner.read_request(request)


def plan_runs(
    request: Request,
    baseline: Mapping[str, Any],
    wanted: Sequence[tuple[Setting, Sequence[int]]],
) -> tuple[list[Setting], dict[tuple[str, int], RunSpec]]:
    """As `planning.plan_runs`."""
    from paribus.sweeps.execution import planner

    return planner.plan_runs(request, baseline, wanted)


def plan_run(request: Request, seed: int) -> RunSpec:
    """The run of a request's baseline with one seed."""
    baseline = read_request(request).baseline
    _, runs = plan_runs(request, baseline, [(baseline_setting(baseline), [seed])])
    (run,) = runs.values()
    return run


def time_updates(request: Request, asked: Mapping[str, Any]) -> tuple[float, float]:
    """As `planning.time_updates`."""
    from paribus.sweeps.execution import planner

    return planner.time_updates(request, asked)
