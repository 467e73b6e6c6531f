"""What every tracker keeps to: any order of calls, any number of times, and nothing raised."""

import pytest

from paribus.core.errors import Faults
from paribus.sweeps.tracking.tracker import (
    TRACKERS,
    TrackedRun,
    Tracker,
    open_tracker,
    read_trackers,
)
from tests.sweeps.tracked import STUDY, epochs, recorded

RUN = TrackedRun(
    run="digits-s0-0123456789ab",
    experiment="digits",
    study="rates",
    label="optimizer.lr=0.01",
    changed="optimizer.lr",
    seed=0,
    configuration={"optimizer": {"name": "adam", "lr": 0.01}},
    environment={"torch": "2.15.0"},
)
HISTORY = [{"epoch": 1, "metrics": {"train/loss": 0.5, "val/loss": None, "val/accuracy": 0.8}}]
EPOCHS = epochs(HISTORY)
COMPLETE = recorded({
    "epoch": 1,
    "metrics": {"val/loss": None, "val/accuracy": 0.8},
    "confusion_matrix": [[4, 1], [1, 4]],
})  # fmt: skip
FAILED = recorded(None, reason="loss is not finite")


NAMES = {"none": "none", "disabled": "wandb", "offline": "wandb", "both": ",".join(TRACKERS)}


@pytest.fixture(params=["none", "disabled", "offline", "tensorboard", "both"])
def opened(request, tmp_path, monkeypatch):
    """A tracker, the lines it warned with, and its root."""
    name = request.param
    if name in ("tensorboard", "both"):
        pytest.importorskip("tensorboard")
    monkeypatch.setenv("WANDB_MODE", "disabled" if name in ("none", "disabled") else "offline")
    warnings = []
    names = read_trackers(NAMES.get(name, name), Faults())
    tracker = open_tracker(tmp_path, names, warn=warnings.append)
    assert (type(tracker) is Tracker) == (name in ("none", "disabled"))
    yield tracker, warnings, tmp_path
    tracker.close()


def lines_by_tracker(warnings):
    """Return how many lines there are of each tracker; each may say where the runs go, once."""
    return [sum(line.startswith(name) for line in warnings) for name in ("W&B", "TensorBoard")]


def test_calls_in_order(opened):
    tracker, warnings, root = opened
    tracker.begin(RUN)
    tracker.log(RUN.run, HISTORY[0])
    tracker.finish(RUN.run, COMPLETE, EPOCHS)
    tracker.close()
    files = {"W&B": root / "tracked.jsonl", "TensorBoard": root / "tensorboard"}
    assert lines_by_tracker(warnings) == [file.exists() for file in files.values()]
    assert (type(tracker) is Tracker) == (not warnings)


def test_each_call_twice(opened):
    tracker, warnings, _ = opened
    for _ in range(2):
        tracker.begin(RUN)
        tracker.begin(RUN)
        tracker.log(RUN.run, HISTORY[0])
        tracker.log(RUN.run, HISTORY[0])
        tracker.finish(RUN.run, COMPLETE, EPOCHS)
        tracker.finish(RUN.run, COMPLETE, EPOCHS)
        tracker.conclude(lambda: STUDY)
        tracker.conclude(lambda: STUDY)
    tracker.close()
    tracker.close()
    assert max(lines_by_tracker(warnings)) <= 1


def test_unknown_runs_are_ignored(opened):
    tracker, warnings, root = opened
    tracker.log("nobody", HISTORY[0])
    tracker.finish("nobody", COMPLETE, EPOCHS)
    tracker.close()
    assert warnings == []
    assert list(root.iterdir()) == []


def test_a_failed_run_and_one_without_history(opened):
    tracker, warnings, _ = opened
    tracker.begin(RUN)
    tracker.finish(RUN.run, FAILED, [])
    tracker.close()
    assert max(lines_by_tracker(warnings)) <= 1


def test_a_study_of_which_nothing_can_be_compared(opened):
    tracker, warnings, root = opened
    tracker.conclude(lambda: None)
    tracker.close()
    assert warnings == []
    assert list(root.iterdir()) == []


def test_a_study_that_cannot_be_made(opened):
    tracker, warnings, root = opened
    asked = []

    def broken():
        asked.append(True)
        raise ValueError("no verdict today")

    tracker.conclude(broken)
    tracker.close()
    assert len(warnings) == len(asked)
    assert not (asked and type(tracker) is Tracker)
    assert all("no verdict today" in line for line in warnings)
    assert list(root.iterdir()) == []


def test_close_alone_and_calls_after_it(opened):
    tracker, warnings, root = opened
    tracker.close()
    tracker.conclude(lambda: STUDY)
    tracker.begin(RUN)
    tracker.log(RUN.run, HISTORY[0])
    tracker.finish(RUN.run, COMPLETE, EPOCHS)
    tracker.close()
    assert warnings == []
    assert list(root.iterdir()) == []
