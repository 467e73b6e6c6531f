"""Checks of a function as an experiment: what its first epoch shows."""

from __future__ import annotations

from paribus.core.check.subject import SEED, Subject, Verdict, failed, passed
from paribus.core.engine import Job, Report
from paribus.core.script_engine import epochs_of
from paribus.core.values import null_if_not_finite


def yields_metrics(subject: Subject) -> Verdict:
    """The first epoch has the metric that SELECT names, and it is finite."""
    report = _first_epoch(subject)
    if report is None:
        return failed("It yields nothing.", "Yield a dict of metrics after each epoch.")
    if report.failure is not None:
        return failed(f"{report.failure}.", "Epochs are chosen by it; try a lower learning rate.")
    told = ", ".join(f"{name} {value:.4g}" for name, value in report.line["metrics"].items())
    return passed(f"epoch 1: {told}")


def repeats(subject: Subject) -> Verdict:
    """The same seed twice gives the same metrics in the first epoch."""
    first, second = (_first_epoch(subject) for _ in range(2))
    if first is None or second is None:
        return failed("It yields nothing.", "Yield a dict of metrics after each epoch.")
    then, now = (null_if_not_finite(report.line["metrics"]) for report in (first, second))
    if then != now:
        name = next(name for name in {**then, **now} if then.get(name) != now.get(name))
        return failed(
            f"The same seed gives {name} {then.get(name)} once and {now.get(name)} again.",
            "Draw what is random from the global generators, which are seeded, or from `seed`.",
        )
    return passed("epoch 1 twice")


def _first_epoch(subject: Subject) -> Report | None:
    run = subject.resolver.specify(subject.asked, SEED)
    epochs = epochs_of(Job((run,), subject.resolver))
    report = next(epochs, None)
    epochs.close()
    return report
