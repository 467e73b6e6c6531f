"""What every tracker keeps to: any order of calls, any number of times, and nothing raised."""

import pytest

from paribus.sweeps.tracking.tracker import TrackedRun, Tracker, open_tracker
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


@pytest.fixture(params=["none", "disabled", "offline"])
def opened(request, tmp_path, monkeypatch):
    """A tracker, the lines it warned with, and its root."""
    monkeypatch.setenv("WANDB_MODE", "offline" if request.param == "offline" else "disabled")
    warnings = []
    enabled = request.param != "none"
    tracker = open_tracker(tmp_path, enabled=enabled, warn=warnings.append)
    assert (type(tracker) is Tracker) == (request.param != "offline")
    yield tracker, warnings, tmp_path
    tracker.close()


def test_calls_in_order(opened):
    tracker, warnings, root = opened
    tracker.begin(RUN)
    tracker.log(RUN.run, HISTORY[0])
    tracker.finish(RUN.run, COMPLETE, EPOCHS)
    tracker.close()
    assert len(warnings) == (0 if type(tracker) is Tracker else 1)
    assert [path.name for path in root.iterdir()] == [] or (root / "tracked.jsonl").exists()


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
    assert len(warnings) <= 1


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
    assert len(warnings) <= 1


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
    assert (type(tracker) is Tracker) == (not asked)
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
