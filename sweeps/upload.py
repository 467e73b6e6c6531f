"""Brings a study that is recorded into W&B: `paribus compare STUDY --wandb`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

from paribus.sweeps.conclusion import tracked_study
from paribus.sweeps.follow import hand_over
from paribus.sweeps.study import Study
from paribus.sweeps.tracking import layout, study_layout
from paribus.sweeps.tracking.background import BackgroundTracker
from paribus.sweeps.tracking.ledger import LEDGER, Ledger
from paribus.sweeps.tracking.wandb_tracker import WandbTracker

Watched = Callable[[Sequence[Any]], Iterable[Any]]


def log_study(study: Study, warn: Callable[[str], None], watched: Watched) -> dict[str, Any]:
    """Logs the runs that W&B has not, the differences it does not know, and the summary run.

    Args:
        study: The study; the caller holds its lock.
        warn: Shows a line.
        watched: Shows how far it is.

    Returns:
        ``wandb`` of the `compare` document.
    """
    names = [run for setting in study.settings for run in setting.runs.values()]
    runs = [run for run in dict.fromkeys(names) if study.outcomes.record(run)]
    concluded = tracked_study(study)
    wandb = WandbTracker(study.root.path, warn)
    with closing(BackgroundTracker(wandb)) as tracker:
        for run in watched(runs):
            record = study.outcomes.record(run)
            assert record
            hand_over(tracker, study.root.run(run), record, study)
            if not tracker.settle():
                break
        else:
            tracker.conclude(lambda: concluded)
            tracker.settle()
    ids = [layout.id_of(study.name, run) for run in runs]
    summary = study_layout.wandb_id(study.name)
    counts = Counter(wandb.given.get(wandb_id, "failed") for wandb_id in ids)
    ledger = Ledger(study.root.path / LEDGER)
    lines = [line for wandb_id in (*ids, summary) if (line := ledger.line(wandb_id))]
    return {
        "mode": wandb.mode,
        **{what: counts[what] for what in ("logged", "amended", "unchanged", "failed")},
        "study": wandb.given.get(summary, "failed") if concluded else None,
        "waiting": sum(line.get("mode") != "online" for line in lines),
    }
