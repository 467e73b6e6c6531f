"""One run, planned and trained: what `paribus run` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paribus.core.errors import Faults, ParibusError
from paribus.core.spec import RunSpec
from paribus.sweeps.drive import Rules, Step, drive
from paribus.sweeps.early import data_of, early_request
from paribus.sweeps.elsewhere import plan_run
from paribus.sweeps.follow import Follower
from paribus.sweeps.request import Asked
from paribus.sweeps.root import Root
from paribus.sweeps.settings import BASELINE
from paribus.sweeps.tracking import Tracker
from paribus.sweeps.workplace import Workplace


@contextmanager
def planned_run(root: Root, asked: Asked, seed: int, faults: Faults) -> Iterator[SingleRun]:
    """What `paribus run` asks for, checked whole; nothing is created yet.

    Args:
        root: Where results live.
        asked: What was typed.
        seed: The run's seed.
        faults: What was found so far, of the command's options.

    Raises:
        RequestError: With all faults of the request.
    """
    with faults.collecting():
        root.check_writable()
    request = early_request(root, asked, faults)
    with Workplace(data_of(request), 1) as workplace:
        with faults.collecting():
            run = workplace.plan(plan_run, request, seed)
        faults.check()
        yield SingleRun(run, root, workplace)


class SingleRun:
    """One command's one run.

    Attributes:
        run: As planned.
        runs: The same, by label and seed.
        name: No study's.
        record: Its record, once it is finished.
        reused: Whether it was there already.
    """

    def __init__(self, run: RunSpec, root: Root, workplace: Workplace) -> None:
        self.run, self.root, self._workplace = run, root, workplace
        self.runs, self.name = {(BASELINE, run.seed): run}, None
        self.record: dict[str, Any] | None = None
        self.reused = False

    def most_runs(self) -> int:
        """How many there are: none is planned later."""
        return 1

    def train(
        self,
        tracker: Tracker,
        rules: Rules,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Step]:
        """Trains the run, or takes it from the root, yielding its epochs and its end."""
        self.root.create()
        follower = Follower(tracker, self.root, None, [self.run])
        executor = self._workplace.executor([self.run])
        for step in drive([self.run], self.root, executor, rules, stop=stop):
            follower.follow(step)
            self.record, self.reused = step.record, step.reused
            yield step

    def finished(self, again: str) -> dict[str, Any]:
        """The record.

        Args:
            again: What to do where there is none.

        Raises:
            ParibusError: If the run was not finished.
        """
        if self.record is None:
            raise ParibusError(f"{self.run.id} was not finished.", again, "unfinished")
        return self.record
