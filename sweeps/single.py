"""One run, planned and trained: what `paribus run` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from core.spec import RunSpec
from sweeps.drive import Step, drive
from sweeps.follow import Follower
from sweeps.request import Request
from sweeps.root import Root
from sweeps.settings import baseline_setting
from sweeps.sweep import Workplace
from sweeps.tracking import Tracker


def plan_one(request: Request, seed: int, root: Root, workplace: Workplace) -> RunSpec:
    """Checks a request for one run; creates nothing.

    Raises:
        RequestError: With all faults of the request.
    """
    from sweeps.planning import plan_runs, read_request

    root.check_writable()
    question = workplace.plan(read_request, request)
    setting = baseline_setting(question.baseline)
    _, runs = workplace.plan(plan_runs, request, [setting], [seed])
    (run,) = runs.values()
    return run


def train_one(
    run: RunSpec,
    root: Root,
    workplace: Workplace,
    tracker: Tracker,
    *,
    checkpoint_every: float = 5.0,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Trains a planned run, or takes it from the root, yielding its epochs and its end."""
    root.create()
    follower = Follower(tracker, root, None)
    executor = workplace.executor([run])
    for step in drive([run], root, executor, checkpoint_every=checkpoint_every, stop=stop):
        follower.follow(step)
        yield step
