"""W&B without a server: one folder per (study, run), written from the record."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paribus.sweeps.tracking.tracker import TrackedRun, open_tracker
from paribus.sweeps.tracking.wandb_layout import (
    confusion_matrices,
    epoch_row,
    run_id,
    run_layout,
    run_summary,
)
from tests.sweeps.tracked import ROWS, epochs, grown, picture, recorded, whole_study
from tests.sweeps.wandb_reader import offline_runs

METRICS = ("loss", "accuracy", "precision", "recall", "f1")
RUN = TrackedRun(
    run="digits-s0-0123456789ab",
    experiment="digits",
    study="rates",
    label="optimizer.lr=0.01",
    changed="optimizer.lr",
    seed=0,
    configuration={"optimizer": {"name": "adam", "lr": 0.01}, "model": {"a.b": [{"c.d": None}]}},
    environment={"torch": "2.15.0"},
)
SECRET = "5ec4e7" * 7


def history(epochs=3):
    return [
        {
            "epoch": epoch,
            "metrics": {"train/loss": 1 / epoch} | {f"val/{name}": epoch / 10 for name in METRICS},
            "order_sha256": "aa",
            "weights_sha256": "bb",
        }
        for epoch in range(1, epochs + 1)
    ]


def record(**more):
    best = {
        "epoch": 3,
        "metrics": {f"val/{name}": 0.3 for name in METRICS},
        "confusion_matrix": [[3, 1], [0, 4]],
    }
    return recorded(**{"best": best, "class_names": ["cat", "dog"], **more})


def with_matrix(matrix, class_names=None):
    best = {"epoch": 3, "metrics": {}, "confusion_matrix": matrix}
    return recorded(best, class_names=class_names)


def track(tracker, *runs, told=None):
    for run in runs:
        tracker.begin(run)
        for line in history():
            tracker.log(run.run, line)
        tracker.finish(run.run, told or record(), epochs(history()))
    tracker.close()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def runs():
    return [replace(RUN, run=f"digits-s{seed}-0123456789ab", seed=seed) for seed in range(3)]


def test_a_folder_per_run(tmp_path, offline, runs):
    warnings = []
    track(open_tracker(tmp_path, warn=warnings.append), *runs)
    found = offline_runs(tmp_path)
    assert [run.name for run in found] == [f"optimizer.lr=0.01-s{seed}" for seed in range(3)]
    assert {run.id for run in found} == {run_id(run.study, run.run) for run in runs}
    first = found[0]
    assert (first.project, first.group) == ("paribus", "rates: optimizer.lr=0.01")
    assert sorted(first.tags) == ["digits", "optimizer.lr", "rates"]
    assert first.config["optimizer"] == {"name": "adam", "lr": 0.01}
    assert first.config["model"] == {"a_b": [{"c_d": None}]}
    assert first.config["environment"] == {"torch": "2.15.0"}
    for key, value in {"study": "rates", "setting": RUN.label, "changed": RUN.changed}.items():
        assert first.config[key] == value
    assert first.config["seed"] == 0
    assert first.steps == {"epoch": "", "*": "epoch"}
    assert len(warnings) == 1
    assert str(tmp_path / "wandb") in warnings[0]
    assert "paribus sync" in warnings[0]


def test_all_metrics_are_there(tmp_path, offline):
    track(open_tracker(tmp_path, warn=lambda line: None), RUN)
    (run,) = offline_runs(tmp_path)
    for line, row in zip(history(), run.rows[:3], strict=True):
        assert {key: row[key] for key in line["metrics"]} == pytest.approx(line["metrics"])
        assert row["epoch"] == line["epoch"]
    assert {f"best/{name}": 0.3 for name in METRICS}.items() <= run.summary.items()
    assert {"best/epoch": 3, "status": "complete", "weights_sha256": "bb"}.items() <= (
        run.summary.items()
    )
    assert len(run.rows) == 4
    (table,) = (tmp_path / "wandb").glob("offline-run-*/files/media/table/best/*.table.json")
    assert json.loads(table.read_text())["data"] == [
        ["cat", "cat", 3],
        ["cat", "dog", 1],
        ["dog", "cat", 0],
        ["dog", "dog", 4],
    ]
    assert any(key.startswith("best/confusion_matrix_table/") for key in run.rows[-1])
    assert run.exit_code == 0


def test_nothing_is_logged_twice(tmp_path, offline, runs):
    track(open_tracker(tmp_path, warn=lambda line: None), *runs)
    again = []
    track(open_tracker(tmp_path, warn=again.append), *runs, replace(RUN, study="other"))
    assert len(offline_runs(tmp_path)) == 4
    noted = [json.loads(line) for line in (tmp_path / "tracked.jsonl").read_text().splitlines()]
    assert [line["study"] for line in noted] == ["rates"] * 3 + ["other"]
    assert noted[0] == {
        "study": "rates",
        "run": RUN.run,
        "wandb_id": run_id(RUN.study, RUN.run),
        "mode": "offline",
        "status": "complete",
        "digest": noted[1]["digest"],  # equal summaries
        "project": "paribus",
    }
    third = []
    track(open_tracker(tmp_path, warn=third.append), *runs)
    assert third == []


def test_a_failed_run_until_it_is_complete(tmp_path, offline):
    failed = recorded(None)
    for told in (failed, failed, record(), record()):
        track(open_tracker(tmp_path, warn=lambda line: None), RUN, told=told)
    (found,) = offline_runs(tmp_path)  # one folder: of two an upload would make rows twice
    assert (found.exit_code, found.id) == (0, run_id(RUN.study, RUN.run))


def test_a_study_has_one_folder_however_it_grows(tmp_path, offline):
    root = tmp_path / "root"
    for page, more in (("<h1>a</h1>", False), ("<h1>a</h1>", False), ("<h1>a</h1>", True),
                       ("<h1>more</h1>", True)):  # fmt: skip
        study = whole_study(tmp_path, page)
        tracker = open_tracker(root, warn=lambda line: None)
        told = grown(study) if more else study
        tracker.conclude(lambda told=told: told)
        tracker.close()
    (run,) = offline_runs(root)
    assert (run.name, run.group, run.job_type) == ("rates", "rates", "study")
    assert run.config["optimizer"] == {"name": "adam", "lr": 0.001}
    assert (run.summary["best/delta"], run.summary["verdicts/worse"]) == (0.125, 1)
    assert run.artifacts["report-rates"] == "report"
    (row,) = run.rows
    (folder,) = (root / "wandb").glob("offline-run-*")
    assert (folder / "files" / row["effects/path"]).read_bytes() == picture()
    table = json.loads((folder / "files" / row["settings/path"]).read_text())
    assert table["data"][:2] == ROWS
    assert len(table["data"]) == 3
    assert (folder / "report.html").read_text() == "<h1>more</h1>"
    noted = [json.loads(line) for line in (root / "tracked.jsonl").read_text().splitlines()]
    assert len(noted) == 3


def test_a_difference_that_becomes_known_is_written_with_the_whole_run(tmp_path, offline):
    for delta in (None, 0.25, 0.25):
        tracker = open_tracker(tmp_path, warn=lambda line: None)
        tracker.begin(RUN)
        tracker.finish(RUN.run, record(), epochs(history()), delta)
        tracker.close()
    (run,) = offline_runs(tmp_path)
    assert run.summary["delta"] == 0.25
    assert [row["epoch"] for row in run.rows[:3]] == [1, 2, 3]
    assert len((tmp_path / "tracked.jsonl").read_text().splitlines()) == 2


def test_the_reason_of_a_failed_run(tmp_path, offline):
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    tracker.begin(RUN)
    tracker.finish(RUN.run, recorded(None, reason="loss is nan"), [])
    tracker.close()
    (run,) = offline_runs(tmp_path)
    assert {"status": "failed", "reason": "loss is nan"}.items() <= run.summary.items()
    assert run.exit_code == 1


def test_a_run_without_a_study(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    run = replace(RUN, study=None, label="baseline", changed="")
    track(open_tracker(tmp_path, warn=lambda line: None), run)
    (found,) = offline_runs(tmp_path)
    assert (found.project, found.group, found.name) == ("mine", "digits", run.run)
    assert sorted(found.tags) == ["baseline", "digits"]


def test_a_torn_line_swallows_nothing(tmp_path, offline):
    (tmp_path / "tracked.jsonl").write_text('{"study": "ra')
    track(open_tracker(tmp_path, warn=lambda line: None), RUN)
    warnings = []
    track(open_tracker(tmp_path, warn=warnings.append), RUN)
    assert warnings == []


def test_a_place_that_cannot_be_written(tmp_path, offline, runs):
    (tmp_path / "wandb").write_text("a file")
    warnings = []
    track(open_tracker(tmp_path, warn=warnings.append), *runs)
    assert len(warnings) == 1
    assert not (tmp_path / "tracked.jsonl").exists()


def test_a_ledger_that_cannot_be_read(tmp_path, offline, runs):
    (tmp_path / "tracked.jsonl").mkdir()
    warnings = []
    track(open_tracker(tmp_path, warn=warnings.append), *runs)
    assert len(warnings) == 1
    assert not (tmp_path / "wandb").exists()


def test_a_place_that_vanishes(tmp_path, offline, runs):
    warnings = []
    moved = threading.Event()

    def vanish(line):
        warnings.append(line)
        if not moved.is_set():
            (tmp_path / "wandb").rename(tmp_path / "elsewhere")
            (tmp_path / "wandb").write_text("a file")
            moved.set()

    track(open_tracker(tmp_path, warn=vanish), *runs)
    assert len(warnings) == 2  # where the runs go, and that they do not
    assert not (tmp_path / "tracked.jsonl").exists()


def test_a_warning_that_fails(tmp_path, offline):
    def broken(line):
        raise OSError("standard error is closed")

    track(open_tracker(tmp_path, warn=broken), RUN)
    assert len(offline_runs(tmp_path)) == 1


def test_the_process_is_left_as_it_was(tmp_path, offline):
    def state():
        hooks = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        return hooks, sys.exit, sys.excepthook, dict(os.environ)

    before = state()
    track(open_tracker(tmp_path, warn=lambda line: None), RUN)
    assert state() == before


COMMAND = """
import sys
from pathlib import Path
from tests.sweeps.tracking.test_tracking_offline import RUN, open_tracker, track
assert "wandb" not in sys.modules
track(open_tracker(Path(sys.argv[1]), warn=lambda line: print(line)), RUN)
"""


@pytest.mark.parametrize("key", ["", SECRET])
def test_nothing_is_written_elsewhere(tmp_path, key):
    places = {name: tmp_path / name for name in ("root", "home", "cwd", "tmp")}
    for place in places.values():
        place.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "XDG_"))}
    environment |= {
        "HOME": str(places["home"]),
        "TMPDIR": str(places["tmp"]),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if key:  # a server that is not there
        environment |= {"WANDB_API_KEY": key, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(places["root"])],
        cwd=places["cwd"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert ("127.0.0.1:9 does not answer" if key else "no API key") in done.stdout
    assert len(offline_runs(places["root"])) == 1
    for name in ("home", "cwd", "tmp"):
        assert list(places[name].rglob("*")) == []
    files = [path for path in places["root"].rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_fold_is_in_the_config_where_there_is_one():
    folds = {"split": {"folds": 5}}
    for more, fold in (({}, {}), (folds, {"fold": 2}), ({**folds, "final_epoch": 3}, {})):
        run = replace(RUN, seed=7, configuration=RUN.configuration | more)
        found = run_layout(run).config
        assert {k: v for k, v in found.items() if k == "fold"} == fold


def test_long_names_are_cut_and_stay_apart():
    runs = [replace(RUN, study="s" * 200 + end, changed="k" * 70 + end) for end in "ab"]
    names = [run_layout(run).names for run in runs]
    assert all(len(tag) <= 64 for name in names for tag in name["tags"])
    assert all(len(name["group"]) <= 128 for name in names)
    for key in ("id", "group"):
        assert names[0][key] != names[1][key]
    assert set(names[0]["tags"]) & set(names[1]["tags"]) == {"digits"}


def test_a_matrix_for_each_label(tmp_path, offline):
    told = with_matrix([[[5, 1], [2, 3]], [[0, 4], [7, 0]]], class_names=["a/b", "wet"])
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    tracker.begin(RUN)
    tracker.finish(RUN.run, told, epochs(history()))
    tracker.close()
    (run,) = offline_runs(tmp_path)
    held = [
        json.loads(path.read_text())["data"]
        for path in (tmp_path / "wandb").rglob("files/media/table/**/*.table.json")
    ]
    assert sorted(held) == [
        [
            ["not a/b", "not a/b", 5], ["not a/b", "a/b", 1],
            ["a/b", "not a/b", 2], ["a/b", "a/b", 3],
        ],
        [
            ["not wet", "not wet", 0], ["not wet", "wet", 4],
            ["wet", "not wet", 7], ["wet", "wet", 0],
        ],
    ]  # fmt: skip
    keys = {key.partition("_table")[0] for key in run.rows[-1] if "_table" in key}
    assert keys == {"best/confusion_matrix/a/b", "best/confusion_matrix/wet"}


def test_of_many_classes_the_most_confused_are_logged_and_of_many_labels_the_first():
    (table,) = confusion_matrices(with_matrix([[0] * 30] * 30)).values()
    assert len(table.rows) == 900
    assert table.title == "Confusion matrix of the best epoch"
    matrix = np.eye(200, dtype=int)
    matrix[150, 20] = 5
    counts = [[int(t), int(p), int(matrix[t, p])] for t, p in np.argwhere(matrix)]
    names = [f"class {code}" for code in range(200)]
    best = {"epoch": 3, "metrics": {}, "confusion_matrix": None, "confusion_counts": counts}
    found = confusion_matrices(recorded(best, class_names=names))
    assert found == confusion_matrices(with_matrix(matrix.tolist(), names))  # as before
    (table,) = found.values()
    assert len(table.rows) == 900
    assert table.title == "Confusion matrix of the best epoch: 30 of 200 classes"
    assert ["class 150", "class 20", 5] in table.rows
    assert len(confusion_matrices(with_matrix([[[1, 0], [0, 1]]] * 60))) == 50


def test_what_is_not_known_is_left_out():
    assert epoch_row({"epoch": 2, "lr": 0.1, "metrics": {}}) == {"epoch": 2, "lr": 0.1}
    assert epoch_row({"epoch": 2, "metrics": {"val/loss": None, "val/r2": 0.5}}) == {
        "epoch": 2,
        "val/r2": 0.5,
    }
    assert run_summary(recorded(None), None) == {"status": "failed"}
