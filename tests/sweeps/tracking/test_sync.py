"""`paribus sync`: what is offline arrives once, from the records, whatever W&B's files are like."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from processes import Started, wait_until

from paribus.core.errors import ParibusError
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.tracking import wandb_session
from paribus.sweeps.tracking import wandb_sync as syncing
from tests.sweeps.wandb_reader import offline_runs
from tests.sweeps.wandb_server import WandbServer

OFFLINE = {"WANDB_MODE": "offline"}
MATRIX = "best/confusion_matrix_table"
BOUND = 30  # seconds; what hangs here would hang for days


@pytest.fixture
def server():
    with WandbServer() as server:
        yield server


def environment(server):
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "5ec4e7" * 7, "NO_PROXY": "*",
            "no_proxy": "*"}  # fmt: skip


@pytest.fixture(scope="module")
def logged(paribus, tmp_path_factory):
    """A study of two runs and a run of its own, logged offline."""
    root = tmp_path_factory.mktemp("logged") / "r"
    words = ("sweep", "circles", "optimizer.lr=0.1", "--set", "train.epochs=2", "--seeds", "1")
    assert paribus(*words, "--study", "rates", "--root", root, env=OFFLINE).code == 0
    assert paribus("run", "line", "train.epochs=2", "--root", root, env=OFFLINE).code == 0
    assert len(offline_runs(root)) == 4
    return root


@pytest.fixture
def root(logged, tmp_path):
    return shutil.copytree(logged, tmp_path / "r")


@pytest.fixture
def sync(server, root, monkeypatch):
    """Uploads what is offline, wherever one's runs go otherwise."""
    for name, value in (environment(server) | OFFLINE).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(syncing, "FINISH_SECONDS", 2.0)  # what hangs is waited for so long
    monkeypatch.setitem(wandb_session.SETTINGS, "init_timeout", 2.0)

    def run(study=None):
        warnings = []
        document = syncing.sync(ResultsDir(root), study, warnings.append)
        assert len(warnings) <= 1
        return document

    return run


def rows(server):
    """How often the server has each epoch of each run, each matrix and each row of a study."""
    return Counter(
        (run, row.get("epoch"), MATRIX in row, "settings" in row)
        for run in server.runs
        for row in server.rows(run)
    )


def files(root, run=""):
    return sorted((root / "wandb").glob(f"offline-run-*/run-{run}*.wandb"))


def id_of(root, *, study, run=""):
    noted = [json.loads(line) for line in (root / "tracked.jsonl").read_text().splitlines()]
    of_study = [line for line in noted if line["study"] == study and line["run"]]
    return next(line["wandb_id"] for line in of_study if line["run"].startswith(run))


def wandb_sync(root, server):
    """What a user may type instead."""
    words = [sys.executable, "-m", "wandb", "sync", "--yes"]
    env = os.environ | environment(server) | {"WANDB_DIR": str(root), "HOME": str(root)}
    done = subprocess.run(words, env=env, cwd=root, stdin=subprocess.DEVNULL, capture_output=True)
    assert b"ERROR" not in done.stderr, done


def test_all_of_it_once(paribus, server, root, sync):
    done = paribus("sync", "--root", root, env=environment(server))
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [f"W&B: {server.url}", "uploaded: 3 runs, 1 summary run"]
    once = rows(server)
    assert set(once.values()) == {1}
    assert len(once) == 2 * 3 + 2 + 1  # two epochs and a matrix; a line has none
    assert Counter(given["jobType"] for given in server.runs.values()) == {"run": 3, "study": 1}
    assert sum("delta" in summary for summary in server.summaries.values()) == 1
    again = paribus("sync", "--root", root, env=environment(server))
    assert (again.code, again.out, again.err) == (0, "there already: 4\n", "")
    wandb_sync(root, server)  # skips what is marked as uploaded
    assert rows(server) == once
    shutil.rmtree(root / "wandb")
    (root / "tracked.jsonl").unlink()
    assert sync()["unchanged"] == 0  # nothing says that anything was offline


def test_one_study(server, root, sync):
    found = sync("rates")
    assert len(found["uploaded"]) == 3
    assert {item["study"] for item in found["uploaded"]} == {"rates"}
    assert len(sync()["uploaded"]) == 1


def test_files_that_are_damaged_or_missing(server, root, sync):
    truncated, other, empty, missing = files(root)
    content = truncated.read_bytes()
    truncated.write_bytes(content[: len(content) // 2])
    content = bytearray(other.read_bytes())
    content[len(content) // 2] ^= 1
    other.write_bytes(content)
    empty.write_bytes(b"")
    shutil.rmtree(missing.parent)
    found = sync()
    assert (len(found["uploaded"]), found["rebuilt"], found["failed"]) == (4, [], [])
    assert set(rows(server).values()) == {1}
    assert len(rows(server)) == 9
    assert sync()["unchanged"] == 4


def test_after_wandb_sync(server, root, sync):
    wandb_sync(root, server)
    once = rows(server)
    assert len(once) == 9
    found = sync()
    assert (found["unchanged"], found["uploaded"], found["failed"]) == (4, [], [])
    assert rows(server) == once


def test_what_becomes_known_after_wandb_sync(paribus, server, root, sync):
    """Offline it waits, as a second file of the run would do harm; `sync` brings it."""
    wandb_sync(root, server)
    lines = [json.loads(line) for line in (root / "tracked.jsonl").read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k != "digest"} if line["run"] else line
           for line in lines]  # fmt: skip
    (root / "tracked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    for summary in server.summaries.values():
        summary.pop("delta", None)
    once, waiting = rows(server), len(files(root))
    assert paribus("compare", "rates", "--wandb", "--root", root, env=OFFLINE).code == 0
    assert len(files(root)) == waiting
    found = sync("rates")
    assert len(found["amended"]) == 1
    assert sum("delta" in summary for summary in server.summaries.values()) == 1
    assert rows(server) == once


def test_a_run_that_was_removed_goes_by_wandb_sync(paribus, server, root, sync):
    alone = id_of(root, study=None)
    run = next(p.name for p in (root / "runs").glob("line-*"))
    assert paribus("remove", run, "--yes", "--root", root).code == 0
    found = sync()
    ((file,), (failed,)) = files(root, alone), found["failed"]
    assert (failed["wandb_id"], len(found["uploaded"])) == (alone, 3)
    assert f"its record is gone. W&B's own file is left: wandb sync {file} " in failed["reason"]
    assert alone not in server.runs
    wandb_sync(root, server)
    assert [row["epoch"] for row in server.rows(alone)] == [1, 2]
    assert sync()["unchanged"] == 4


def test_a_study_that_was_removed(paribus, server, root, sync):
    assert paribus("remove", "rates", "--yes", "--root", root).code == 0
    (file,) = files(root, id_of(root, study="rates", run="circles"))
    found = sync()
    assert (len(found["uploaded"]), len(found["failed"])) == (1, 3)
    assert sum(f"wandb sync {file} " in failed["reason"] for failed in found["failed"]) == 1
    assert not {failed["wandb_id"] for failed in found["failed"]} & set(server.runs)
    assert len(sync()["failed"]) == 3  # until they are uploaded, or deleted
    shutil.rmtree(file.parent)
    found = sync()
    assert (found["gone"], len(found["failed"])) == (1, 2)


def test_what_was_uploaded_in_part_and_has_no_record_is_not_forced(paribus, server, root, sync):
    alone = id_of(root, study=None)
    wandb_sync(root, server)
    run = next(p.name for p in (root / "runs").glob("line-*"))
    paribus("remove", run, "--yes", "--root", root)
    (file,) = files(root, alone)
    file.with_name(f"{file.name}.synced").unlink()
    server.lines[alone].pop(1)
    found = sync()
    assert "wandb sync --id" in found["failed"][0]["reason"]
    assert [row["epoch"] for row in server.rows(alone)] == [1]


def test_a_ledger_that_was_lost(server, root, sync):
    (root / "tracked.jsonl").unlink()
    assert len(sync()["uploaded"]) == 4
    assert set(rows(server).values()) == {1}
    assert sync()["unchanged"] == 4


@pytest.mark.parametrize(
    ("where", "what"),
    [("/", 500), ("/", 429), ("/", "hang"), ("/files", "hang")],
)
def test_trouble_ends_it_soon_and_it_goes_on_later(server, root, sync, where, what):
    server.trouble = {where: what}
    started = time.monotonic()
    assert len(sync()["failed"]) == 4
    assert time.monotonic() - started < BOUND
    server.trouble = {}
    done = sync()
    assert len(done["uploaded"]) + done["unchanged"] == 4
    assert set(rows(server).values()) == {1}


def test_files_that_the_server_refused_are_uploaded_again(server, root, sync):
    server.trouble = {"/put": 404}
    found = sync()
    assert len(found["failed"]) == 4
    assert "a file did not reach the server" in found["failed"][0]["reason"]
    server.trouble = {}
    for _ in range(2):
        sync()
    for run in server.runs:
        epochs = [row["epoch"] for row in server.rows(run) if "val/loss" in row]
        assert len(epochs) == len(set(epochs))
        tables = [key for key in server.summaries[run] if key in ("settings", MATRIX)]
        for key in tables:
            assert server.summaries[run][key]["path"] in server.files[run]
    assert sync()["unchanged"] == 4


@pytest.mark.parametrize("requests", [8, 30])
def test_a_server_that_dies_in_the_middle(server, sync, requests):
    server.dies_after = requests
    found = sync()
    arrived = [item["wandb_id"] for item in found["uploaded"]]
    assert len(arrived) + len(found["failed"]) == 4
    assert found["failed"]
    server.dies_after = None
    done = sync()
    assert not {item["wandb_id"] for item in done["uploaded"]} & set(arrived)
    assert set(rows(server).values()) == {1}
    assert len(rows(server)) == 9


def test_nobody_listens(paribus, server, root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        env = environment(server) | {"WANDB_BASE_URL": url}
        done = paribus("sync", "--root", root, env=env)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "does not answer" in done.err


def test_a_wandb_that_hangs_is_named(sync, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(wandb_session.Session, "start", lambda *_, only: released.wait(30))
    monkeypatch.setattr(syncing, "SYNC_PATIENCE", 0.25)
    with pytest.raises(ParibusError, match=r"^W&B: wandb did not answer in 0\.25 seconds\."):
        sync()
    released.set()


def test_without_a_key(paribus, root):
    done = paribus("sync", "--root", root)
    assert (done.code, done.out) == (2, "")
    assert "WANDB_API_KEY" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_key_of_no_form(paribus, server, root):
    done = paribus("sync", "--root", root, env=environment(server) | {"WANDB_API_KEY": "short"})
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1


def test_nothing_to_do(paribus, tmp_path):
    done = paribus("sync", "--root", tmp_path / "r")
    assert (done.code, done.out) == (0, "Nothing was logged to W&B offline.\n")
    assert not (tmp_path / "r").exists()


def test_an_unknown_study(paribus, root):
    done = paribus("sync", "rate", "--root", root)
    assert (done.code, done.out) == (2, "")
    assert "Did you mean 'rates'?" in done.err


def test_a_study_in_use_waits(server, root, sync):
    with ResultsDir(root).lock("study-rates", "The study rates"):
        found = sync()
    assert len(found["failed"]) == 3
    assert all("in use by another command" in failed["reason"] for failed in found["failed"])
    assert len(found["uploaded"]) == 1
    assert len(sync()["uploaded"]) == 3


def test_ctrl_c_ends_it(server, root, tmp_path):
    server.trouble = {"/files": "hang"}
    started = Started(("sync", "--root", root), cwd=tmp_path, env=environment(server))
    wait_until(lambda: server.runs)
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(timeout=BOUND) == 130
    server.trouble = {}  # wandb's service has our standard error for as long as it tries
    _, out, err = started.end()
    assert (out, err.strip()) == ("", "Interrupted.")
