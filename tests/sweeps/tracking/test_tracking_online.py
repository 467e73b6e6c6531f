"""W&B with a server, in all its moods: what arrives, and what happens when it does not."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from paribus.sweeps.tracking import wandb_session
from paribus.sweeps.tracking.tracker import TrackedRun, open_tracker
from paribus.sweeps.tracking.wandb_layout import run_id, study_id
from tests.sweeps import tracked
from tests.sweeps.tracked import ROWS, grown, picture, recorded, whole_study
from tests.sweeps.wandb_reader import offline_runs
from tests.sweeps.wandb_server import WandbServer

# wandb's own threads must not show tracebacks when it is given up on.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
KEY = "5ec4e7" * 7
RUN = TrackedRun(
    run="digits-s0-0123456789ab",
    experiment="digits",
    study="rates",
    label="baseline",
    changed="",
    seed=0,
    configuration={"optimizer": {"lr": 0.001}},
    environment={},
)
HOSTILE = [
    "[bold red]x[/]",
    "\x1b[31mred\x1b[0m\a",
    "🦜" * 90,
    "\u202egnp.exe",
    "a\nb\tc\0d",
    "../" * 12 + "evil",
    "/evil",
    "..",
    "",
    "'; DROP TABLE runs; --",
    "x" * 400,
    "\udc80",
]
HISTORY = [{"epoch": e, "metrics": {"val/loss": None, "val/accuracy": e / 10}} for e in range(1, 6)]
EPOCHS = tracked.epochs(HISTORY)
BEST = {"epoch": 5, "metrics": {"val/accuracy": 0.5}, "confusion_matrix": [[1, 0], [0, 1]]}
COMPLETE = recorded(BEST)
BOUND = 25  # seconds; what hangs here would hang for days


@pytest.fixture
def server(monkeypatch):
    with WandbServer() as server:
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setattr(
            wandb_session, "FINISH_SECONDS", 2.0
        )  # what hangs is waited for so long
        monkeypatch.setitem(wandb_session.SETTINGS, "init_timeout", 2.0)
        yield server


def track(root, *runs, warnings=None, study=None):
    tracker = open_tracker(root, warn=(warnings if warnings is not None else []).append)
    for run in runs:
        tracker.begin(run)
        for line in HISTORY:
            tracker.log(run.run, line)
        tracker.finish(run.run, COMPLETE, EPOCHS)
    if study:
        tracker.conclude(lambda: study)
    tracker.close()


SUMMARY_RUN = study_id("rates")


def noted(root):
    path = root / "tracked.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def epochs(server, run):
    rows = server.rows(run_id(run.study, run.run))
    return [row["epoch"] for row in rows if "val/accuracy" in row]


def test_runs_arrive(server, tmp_path):
    other = replace(RUN, run="digits-s1-0123456789ab", seed=1)
    warnings = []
    track(tmp_path, RUN, other, warnings=warnings)
    assert warnings == []
    assert set(server.runs) == {run_id(RUN.study, RUN.run), run_id(other.study, other.run)}
    for run in (RUN, other):
        given = server.runs[run_id(run.study, run.run)]
        assert given["displayName"] == f"baseline-s{run.seed}"
        assert given["groupName"] == "rates: baseline"
        assert sorted(given["tags"]) == ["baseline", "digits", "rates"]
        assert json.loads(given["config"])["optimizer"]["value"] == {"lr": 0.001}
        assert epochs(server, run) == [1, 2, 3, 4, 5]
        summary = server.summaries[run_id(run.study, run.run)]
        assert (summary["best/accuracy"], summary["status"]) == (0.5, "complete")
        assert "best/confusion_matrix_table" in summary
        assert "delta" not in summary
        assert server.exits[run_id(run.study, run.run)] == 0
    assert [line["mode"] for line in noted(tmp_path)] == ["online", "online"]
    assert offline_runs(tmp_path) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    track(tmp_path, RUN, other)
    assert len(server.rows(run_id(RUN.study, RUN.run))) == 6  # five epochs and the matrix


def test_an_interrupted_run_is_continued(server, tmp_path):
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    tracker.begin(RUN)
    for line in HISTORY[:3]:
        tracker.log(RUN.run, line)
    tracker.close()
    assert epochs(server, RUN) == [1, 2, 3]
    assert server.exits[run_id(RUN.study, RUN.run)] == 1
    assert noted(tmp_path) == []
    track(tmp_path, RUN)
    assert epochs(server, RUN) == [1, 2, 3, 4, 5]
    assert server.exits[run_id(RUN.study, RUN.run)] == 0


def test_a_run_that_the_server_has_is_not_logged_again(server, tmp_path):
    track(tmp_path, RUN)
    (tmp_path / "tracked.jsonl").unlink()
    track(tmp_path, RUN)
    assert epochs(server, RUN) == [1, 2, 3, 4, 5]


def test_a_key_in_netrc(server, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    track(tmp_path / "root", RUN)
    assert epochs(server, RUN) == [1, 2, 3, 4, 5]


def test_a_key_of_no_form(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    warnings = []
    track(tmp_path, RUN, warnings=warnings)
    assert len(warnings) == 1
    assert len(offline_runs(tmp_path)) == 1


def test_nobody_listens(server, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    warnings = []
    started = time.monotonic()
    track(tmp_path, RUN, replace(RUN, run="digits-s1-0123456789ab", seed=1), warnings=warnings)
    assert time.monotonic() - started < BOUND
    assert len(warnings) == 1
    assert f"127.0.0.1:{port} does not answer" in warnings[0]
    assert len(offline_runs(tmp_path)) == 2


@pytest.mark.parametrize(
    ("where", "what"),
    [("/", "hang"), ("/", 500), ("/", 429), ("/", "drop"), ("UpsertBucket", 403),
     ("/files", "hang"), ("/files", 404), ("/put", 404), ("CreateArtifact", 500)],
)  # fmt: skip
def test_trouble_from_the_start(server, tmp_path, where, what):
    server.trouble = {where: what}
    warnings = []
    started = time.monotonic()
    runs = [replace(RUN, run=f"digits-s{seed}-0123456789ab", seed=seed) for seed in range(3)]
    track(tmp_path, *runs, warnings=warnings, study=whole_study(tmp_path))
    assert time.monotonic() - started < BOUND
    assert len(warnings) == 1
    *found, study = offline_runs(tmp_path)
    assert [run.name for run in found] == ["baseline-s0", "baseline-s1", "baseline-s2"]
    assert all([row["epoch"] for row in run.rows[:5]] == [1, 2, 3, 4, 5] for run in found)
    assert (study.name, len(study.rows)) == ("rates", 1)
    assert [line["mode"] for line in noted(tmp_path)] == ["offline"] * 4


def test_trouble_after_a_good_start(server, tmp_path):
    warnings = []
    tracker = open_tracker(tmp_path, warn=warnings.append)
    first, second = RUN, replace(RUN, run="digits-s1-0123456789ab", seed=1)
    for run in (first, second):
        tracker.begin(run)
    tracker.finish(first.run, COMPLETE, EPOCHS)
    deadline = time.monotonic() + BOUND
    while run_id(first.study, first.run) not in server.exits and time.monotonic() < deadline:
        time.sleep(0.05)
    server.trouble = {"/": 500}
    tracker.finish(second.run, COMPLETE, EPOCHS)
    tracker.close()
    assert time.monotonic() < deadline
    assert len(warnings) == 1
    assert [line["mode"] for line in noted(tmp_path)] == ["online", "offline"]
    assert [run.name for run in offline_runs(tmp_path)] == ["baseline-s1"]


def test_a_study_arrives_once(server, tmp_path):
    study = whole_study(tmp_path)
    for _ in range(2):
        track(tmp_path / "root", study=study)
    given = server.runs[SUMMARY_RUN]
    assert (given["displayName"], given["groupName"], given["jobType"]) == (
        ("rates", "rates", "study")
    )
    assert sorted(given["tags"]) == ["digits", "rates"]
    config = {key: value["value"] for key, value in json.loads(given["config"]).items()}
    assert config["optimizer"] == {"name": "adam", "lr": 0.001}
    assert config["model"] == {"a_b": 1}
    assert {"metric": "val/accuracy", "settings": 2, "seeds": 2, "runs": 4}.items() <= (
        config.items()
    )
    (row,) = server.rows(SUMMARY_RUN)
    files = server.files[SUMMARY_RUN]
    assert json.loads(files[row["settings"]["path"]])["data"] == ROWS
    assert json.loads(files[row["linter"]["path"]])["data"] == [
        ["edge-of-axis", "optimizer.lr", "the best level, 0.01, is the highest one tried.",
         "the best value may lie beyond."]
    ]  # fmt: skip
    assert files[row["effects"]["path"]] == picture()
    (page,) = (found for found in server.artifacts if found.type == "report")
    assert (page.name, page.committed) == ("report-rates", True)
    assert page.files == {"report.html": b"<h1>rates</h1>"}
    summary = server.summaries[SUMMARY_RUN]
    assert {"best/setting": "optimizer.lr=0.01", "best/delta": 0.125, "best/verdict": "better",
            "baseline/mean": 0.75, "verdicts/better": 1, "verdicts/worse": 0,
            "warnings": 1}.items() <= summary.items()  # fmt: skip
    (line,) = noted(tmp_path / "root")
    assert (line["study"], line["run"], line["mode"]) == ("rates", None, "online")


def test_a_study_that_grew_has_one_more_row(server, tmp_path):
    study = whole_study(tmp_path)
    track(tmp_path / "root", study=study)
    track(tmp_path / "root", study=grown(study))
    assert set(server.runs) == {SUMMARY_RUN}
    assert [row["_step"] for row in server.rows(SUMMARY_RUN)] == [0, 1]
    table = server.rows(SUMMARY_RUN)[1]["settings"]["path"]
    rows = json.loads(server.files[SUMMARY_RUN][table])["data"]
    assert [row[0] for row in rows] == ["baseline", "optimizer.lr=0.01", "optimizer.lr=0.1"]
    assert server.summaries[SUMMARY_RUN]["verdicts/worse"] == 1
    reports = [found for found in server.artifacts if found.type == "report"]
    assert len(reports) == 1  # the page's bytes are the same
    track(tmp_path / "root", study=grown(whole_study(tmp_path, "<h1>more</h1>")))
    assert len([found for found in server.artifacts if found.type == "report"]) == 2


def test_a_study_that_the_server_has_is_not_logged_again(server, tmp_path):
    track(tmp_path / "root", study=whole_study(tmp_path))
    (tmp_path / "root" / "tracked.jsonl").unlink()
    track(tmp_path / "root", study=whole_study(tmp_path))
    assert len(server.rows(SUMMARY_RUN)) == 1


def test_a_difference_that_has_become_known_amends_a_run(server, tmp_path):
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    known = recorded(BEST, last={"metrics": {"val/accuracy": 0.5}}), EPOCHS, 0.25
    for told in ((COMPLETE, EPOCHS), known, known):
        tracker.begin(RUN)
        tracker.finish(RUN.run, *told)
    tracker.close()
    summary = server.summaries[run_id(RUN.study, RUN.run)]
    assert (summary["delta"], summary["last/accuracy"], summary["best/accuracy"]) == (
        0.25,
        0.5,
        0.5,
    )
    assert len(server.rows(run_id(RUN.study, RUN.run))) == 6  # five epochs and the matrix, once
    assert len(noted(tmp_path)) == 2


def test_what_old_ledgers_noted_is_amended_once(server, tmp_path):
    track(tmp_path, RUN)
    old = {key: value for key, value in noted(tmp_path)[0].items()
           if key not in ("digest", "project")}  # fmt: skip
    (tmp_path / "tracked.jsonl").write_text(json.dumps(old) + "\n")
    for _ in range(2):
        track(tmp_path, RUN)
    assert len(server.rows(run_id(RUN.study, RUN.run))) == 6
    assert len(noted(tmp_path)) == 2


def test_a_run_that_the_server_has_is_amended_offline_by_nothing(server, tmp_path, monkeypatch):
    """wandb sync would write every row again, or put a summary in the place of a fuller one."""
    track(tmp_path, RUN)
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    tracker.begin(RUN)
    tracker.finish(RUN.run, COMPLETE, EPOCHS, 0.25)
    tracker.close()
    assert offline_runs(tmp_path) == []
    assert [line["mode"] for line in noted(tmp_path)] == ["online", "offline"]


def test_the_project_is_the_one_where_the_run_is(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    track(tmp_path, RUN)
    monkeypatch.delenv("WANDB_PROJECT")
    tracker = open_tracker(tmp_path, warn=lambda line: None)
    tracker.begin(RUN)
    tracker.finish(RUN.run, COMPLETE, EPOCHS, 0.25)
    tracker.close()
    assert [line["project"] for line in noted(tmp_path)] == ["mine", "mine"]
    assert server.projects == ["mine", "mine"]


@pytest.mark.parametrize("requests", [4, 12])
def test_a_server_that_dies_in_the_middle(server, tmp_path, requests):
    server.dies_after = requests
    warnings = []
    started = time.monotonic()
    track(tmp_path, RUN, warnings=warnings, study=whole_study(tmp_path))
    assert time.monotonic() - started < BOUND
    assert len(warnings) == 1
    modes = [line["mode"] for line in noted(tmp_path)]
    assert modes in (["offline", "offline"], ["online", "offline"])
    assert len(offline_runs(tmp_path)) == modes.count("offline")


def test_hostile_names_arrive_as_plain_text(server, tmp_path, monkeypatch):
    strangers = set(tmp_path.parent.rglob("evil*"))  # of other tests
    monkeypatch.setattr(wandb_session, "FINISH_SECONDS", 20.0)
    warnings = []
    label = f"data.path={''.join(HOSTILE[:-1])}"
    run = replace(RUN, label=label, changed="data.path", experiment=HOSTILE[1],
                  configuration={"data": {"path": HOSTILE[0], HOSTILE[1]: 1}})  # fmt: skip
    study = whole_study(tmp_path)
    baseline, setting = study.comparison.settings
    setting = setting.model_copy(update={"label": label, "changed": {"data.path": ["a", "b"]}})
    comparison = study.comparison.model_copy(update={"settings": [baseline, setting]})
    study = replace(study, experiment=HOSTILE[1], comparison=comparison)
    best = BEST | {"confusion_matrix": [BEST["confusion_matrix"]] * len(HOSTILE)}
    tracker = open_tracker(tmp_path / "root", warn=warnings.append)
    tracker.begin(run)
    tracker.finish(run.run, recorded(best, class_names=HOSTILE), EPOCHS)
    tracker.conclude(lambda: study)
    tracker.close()
    assert warnings == []
    given = server.runs[run_id(run.study, run.run)]
    for name in (given["displayName"], given["groupName"], *given["tags"]):
        assert name.isprintable()
        assert 0 < len(name) <= 128
    assert json.loads(given["config"])["setting"]["value"] == label
    matrices = [
        key for key in server.summaries[run_id(run.study, run.run)] if "confusion_matrix" in key
    ]
    assert len(matrices) == len(HOSTILE)
    files = server.files[run_id(run.study, run.run)]
    tables = [content for name, content in files.items() if name.startswith("media/table")]
    held = [json.loads(content)["data"][-1][0] for content in tables]
    assert sorted(held) == sorted(HOSTILE)
    table = server.rows(SUMMARY_RUN)[0]["settings"]["path"]
    assert json.loads(server.files[SUMMARY_RUN][table])["data"][1][0] == label
    assert set(tmp_path.parent.rglob("evil*")) == strangers


COMMAND = """
import os, signal, subprocess, sys, time
from pathlib import Path
from tests.sweeps.tracking.test_tracking_online import COMPLETE, EPOCHS, HISTORY, RUN, open_tracker
from paribus.sweeps.tracking import wandb_sync as tracking
tracking.PATIENCE = 3
tracker = open_tracker(Path(sys.argv[1]), warn=lambda line: print(line, flush=True))
tracker.begin(RUN)
deadline = time.monotonic() + 20
while not list(Path(sys.argv[1]).glob("wandb/run-*")) and time.monotonic() < deadline:
    time.sleep(0.05)
time.sleep(1)
found = [path.parent.name for path in Path("/proc").glob("[0-9]*/stat")
         if path.read_text().rpartition(")")[2].split()[1] == str(os.getpid())]
for service in found:
    os.kill(int(service), signal.SIGSTOP)
print(len(found), *found, flush=True)
tracker.log(RUN.run, HISTORY[0])
tracker.finish(RUN.run, COMPLETE, EPOCHS)
tracker.close()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds wandb's service in /proc")
def test_a_service_that_hangs_does_not_keep_the_process(server, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with (tmp_path / "output").open("w+") as output:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, str(tmp_path)],
            env=environment,
            stdout=output,
            stderr=output,
            timeout=60,
        )
        output.seek(0)
        lines = output.read().splitlines()
    for service in lines[0].split()[1:]:
        os.kill(int(service), 9)
    assert done.returncode == 0
    assert len(lines) == 2
    assert "did not finish in time" in lines[1]
    assert noted(tmp_path) == []
