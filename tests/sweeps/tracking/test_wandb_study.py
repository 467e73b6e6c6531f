"""A study of twelve runs in W&B, by the commands that a user types: what the server has of it."""

import json
import shutil
from collections import Counter

import pytest

from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking import wandb_session, wandb_sync
from paribus.sweeps.tracking.wandb_layout import SETTINGS, study_id
from tests.sweeps.wandb_reader import offline_runs
from tests.sweeps.wandb_server import WandbServer

SUMMARY_RUN = study_id("rates")
SWEEP = ("sweep", "line", "optimizer.lr=0.1,0.2,0.3", "--set", "train.epochs=3", "--study", "rates")


def environment(server):
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "5ec4e7" * 7, "NO_PROXY": "*",
            "no_proxy": "*"}  # fmt: skip


@pytest.fixture
def server():
    with WandbServer() as server:
        yield server


@pytest.fixture
def online(paribus, server):
    """Runs commands that log to the server."""

    def run(*words):
        done = paribus(*words, env=environment(server))
        assert (done.code, "W&B" in done.err) == (0, False), done
        return done

    return run


@pytest.fixture(scope="module")
def trained(paribus, tmp_path_factory):
    """The root of the study, trained and tracked by nothing."""
    root = tmp_path_factory.mktemp("trained") / "r"
    done = paribus(*SWEEP, "--seeds", "3", "--workers", "1", "--no-wandb", "--root", root)
    assert done.code == 0, done
    return root


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "r")


def runs(server):
    """The runs of settings, without the summary run, by name."""
    found = {given["displayName"]: name for name, given in server.runs.items()}
    return {name: wandb_id for name, wandb_id in found.items() if wandb_id != SUMMARY_RUN}


def rows(server):
    """How often the server has each epoch of each run, and each row of the summary run."""
    held = Counter((name, row["epoch"]) for name, run in runs(server).items()
                   for row in server.rows(run))  # fmt: skip
    held.update(("rates", row["_step"]) for row in server.rows(SUMMARY_RUN))
    return held


def test_what_arrived_of_twelve_runs_and_the_same_command_twice(online, server, tmp_path):
    words = (*SWEEP, "--seeds", "3", "--workers", "1", "--root", tmp_path / "r", "--json")
    first = online(*words).json
    once = rows(server)
    second = online(*words).json
    assert (first["runs"]["trained"], second["runs"]["reused"]) == (12, 12)
    assert rows(server) == once
    assert set(once.values()) == {1}
    assert len(once) == 12 * 3 + 1
    assert len(server.runs) == 13
    jobs = Counter(given["jobType"] for given in server.runs.values())
    assert jobs == {"run": 12, "study": 1}
    groups = Counter(server.runs[run]["groupName"] for run in runs(server).values())
    assert groups == {f"rates: {setting['label']}": 3 for setting in first["settings"]}
    differences = {}
    base = dict(zip(first["settings"][0]["seeds"], first["settings"][0]["values"], strict=True))
    for setting in first["settings"][1:]:
        for seed, value in zip(setting["seeds"], setting["values"], strict=True):
            differences[f"{setting['label']}-s{seed}"] = value - base[seed]
    told = {name: server.summaries[run].get("delta") for name, run in runs(server).items()}
    assert told == pytest.approx(differences | {f"baseline-s{seed}": None for seed in range(3)})
    for run in runs(server).values():
        assert server.summaries[run]["last/mae"] == server.rows(run)[-1]["val/mae"]
        assert server.exits[run] == 0


def test_a_study_that_grows_keeps_its_one_summary_run(online, server, root):
    online("compare", "rates", "--wandb", "--root", root)
    more = ("sweep", "line", "optimizer.lr=0.4", "--set", "train.epochs=3", "--study", "rates")
    online(*more, "--seeds", "2", "--root", root)
    assert len(runs(server)) == 14
    assert set(rows(server).values()) == {1}
    assert [row["_step"] for row in server.rows(SUMMARY_RUN)] == [0, 1]
    known = [
        server.summaries[runs(server)[f"optimizer.lr=0.4-s{seed}"]]["delta"] for seed in (0, 1)
    ]
    assert all(isinstance(delta, float) for delta in known)
    table = server.rows(SUMMARY_RUN)[-1]["settings"]["path"]
    told = json.loads(server.files[SUMMARY_RUN][table])["data"]
    assert [row[0] for row in told][-1] == "optimizer.lr=0.4"


def test_a_study_of_long_ago(online, server, root):
    """`compare --wandb` logs what was trained without W&B, and what it logs is what it says."""
    found = online("compare", "rates", "--wandb", "--json", "--root", root).json
    assert found["wandb"] == {
        "mode": "online", "logged": 12, "amended": 0, "unchanged": 0, "failed": 0,
        "study": "logged", "waiting": 0,
    }  # fmt: skip
    assert len(rows(server)) == 12 * 3 + 1
    table = server.rows(SUMMARY_RUN)[0]["settings"]["path"]
    told = json.loads(server.files[SUMMARY_RUN][table])
    assert told["columns"] == list(SETTINGS)
    for row, setting in zip(told["data"], found["settings"], strict=True):
        cells = dict(zip(told["columns"], row, strict=True))
        assert (cells["setting"], cells["mean"]) == (setting["label"], setting["mean"])
        assert (cells["difference"], cells["verdict"]) == (setting["delta"], setting["verdict"])
        assert cells["low"] == (setting["interval"] or [None])[0]
    warned = server.rows(SUMMARY_RUN)[0]["linter"]["path"]
    assert [row[0] for row in json.loads(server.files[SUMMARY_RUN][warned])["data"]] == [
        seen["rule"] for seen in found["linter"] if seen["judged"]
    ]
    again = online("compare", "rates", "--wandb", "--root", root)
    assert again.out.splitlines()[-1] == (
        "W&B: of its runs 0 logged, 0 amended, 12 unchanged, 0 failed; summary run unchanged"
    )
    assert set(rows(server).values()) == {1}


def test_offline_is_done_too(paribus, root):
    done = paribus("compare", "rates", "--wandb", "--root", root, env={"WANDB_MODE": "offline"})
    assert (done.code, len(done.err.splitlines())) == (0, 1)
    assert "13 wait for: paribus sync" in done.out
    found = offline_runs(root)
    assert Counter(run.job_type for run in found) == {"run": 12, "study": 1}
    assert sum("delta" in run.summary for run in found) == 9


def test_a_run_may_take_longer_than_the_end_of_a_sweep(server, root, monkeypatch):
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb_sync, "PATIENCE", 0.5)
    monkeypatch.setattr(wandb_session, "FINISH_SECONDS", 2.0)  # what hangs is waited for so long
    server.trouble = {"/files": "hang"}
    warnings = []
    study = Study.load(ResultsDir(root), "rates")
    found = wandb_sync.log_study(study, warnings.append, list)
    assert (found["logged"], found["failed"], found["study"]) == (12, 0, "logged")
    assert "logging offline" in warnings[0]


def test_a_server_that_is_not_there(paribus, server, root):
    server.trouble = {"/": 500}
    done = paribus("compare", "rates", "--wandb", "--root", root, env=environment(server))
    assert (done.code, len(done.err.splitlines())) == (0, 1)
    assert "logging offline" in done.err
    (root / "tracked.jsonl").unlink()
    shutil.rmtree(root / "wandb")
    (root / "wandb").touch()  # and no place for it here either
    done = paribus("compare", "rates", "--wandb", "--json", "--root", root, env=environment(server))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert (done.json["wandb"]["failed"], done.json["wandb"]["study"]) == (12, "failed")


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (("rates", "--metric", "val/mse"), {}, "own metric"),
        (("rates", "--margin", "0.1"), {}, "own metric"),
        (("results.csv",), {}, "logs a study"),
        (("a", "b"), {}, "logs a study"),
        (("rates",), {"WANDB_MODE": "disabled"}, "WANDB_MODE"),
    ],
)
def test_what_wandb_is_not_for(paribus, trained, words, env, said):
    done = paribus("compare", *words, "--wandb", "--root", trained, env=env)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not (trained / "wandb").exists()
