"""W&B's file as it is written here and by wandb itself: the same to a server and to a reader."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import wandb
import yaml
from wandb.proto.wandb_internal_pb2 import Record
from wandb.util import get_core_path

from paribus.sweeps.analysis.wandb_records import framed, read_records
from paribus.sweeps.tracking import wandb_file, wandb_session
from paribus.sweeps.tracking.wandb_layout import run_layout, study_layout
from paribus.sweeps.tracking.wandb_session import Session
from paribus.sweeps.tracking.wandb_writer import Ledger, WandbWriter
from tests.sweeps.tracked import STUDY, epochs, recorded, whole_study
from tests.sweeps.tracking.test_tracking_offline import RUN, history, record, with_matrix
from tests.sweeps.wandb_reader import offline_runs
from tests.sweeps.wandb_server import WandbServer

CHANCE = {"_timestamp", "_runtime", "runtime", "clientID", "sequenceClientID", "artifactID", "file",
          "last_write", "start_time"}  # fmt: skip
LABELS = [[[5, 1], [2, 3]], [[0, 4], [7, 0]]]


def contents(folder):
    """One of each kind: complete, failed, by label, long, without a study; and two studies."""
    folder.mkdir(exist_ok=True)
    ended = [(record(), history(), 0.25), (recorded(None, reason="loss is nan"), [], None),
            (with_matrix(LABELS, ["a/b", "nass – Straße"]), history(2), None),
            (record(), history(400), 1e-300), (recorded(None), history(1), -2.5)]  # fmt: skip
    runs = [
        run_layout(replace(RUN, run=f"digits-s{seed}-0123456789ab", seed=seed), *rest[:1],
                   epochs(rest[1]), rest[2])
        for seed, rest in enumerate(ended)
    ]  # fmt: skip
    alone = run_layout(replace(RUN, study=None, label="baseline", changed=""), record())
    unseen = STUDY.comparison.model_copy(update={"linter": []})
    other = replace(STUDY, study="other", comparison=unseen)
    return [*runs, alone, study_layout(whole_study(folder)), study_layout(other)]


def write(root, written):
    """Write runs offline, and return their files."""
    root.mkdir(exist_ok=True)
    wandb.teardown()  # of a test before, which had other settings
    session = Session(root)
    session.start(only="offline")
    writer = WandbWriter(session, Ledger(root))
    for one in written:
        assert writer.write(one)
    session.stop()
    return sorted((root / "wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.name)


def leet(file, *words):
    """What `wandb leet inspect` prints, without the second that Python takes for it."""
    words = [get_core_path(), "leet", "inspect", "-json", *words, "-run-file", str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def by_wandb(root):
    """Whether wandb itself wrote the files: it logs."""
    return bool(list((root / "wandb").rglob("debug-core.log")))


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def uploaded(root):
    """All that `wandb sync` sends, without what differs from one time to the next."""
    calls = []

    class Listening(WandbServer):
        def answer(self, operation, variables):
            calls.append((operation, json.loads(json.dumps(variables))))
            return super().answer(operation, variables)

    with Listening() as server:
        env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        env |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "5ec4e7" * 7, "NO_PROXY": "*",
                "no_proxy": "*", "WANDB_DIR": str(root), "HOME": str(root),
                "WANDB_ERROR_REPORTING": "false"}  # fmt: skip
        words = [sys.executable, "-m", "wandb", "sync", "--yes"]
        done = subprocess.run(
            words, env=env, cwd=root, stdin=subprocess.DEVNULL, capture_output=True
        )
        assert (done.returncode, b"ERROR" in done.stderr) == (0, False), done
    assert all(one.committed for one in server.artifacts)
    # Into how many calls wandb divides files, and how often it sends a configuration, is chance.
    some = [call for call in calls if call[0] not in ("CreateRunFiles", "UpsertBucket")]
    return plain({
        "calls": sorted(json.dumps(plain(call), sort_keys=True) for call in some),
        "runs": server.runs,
        "projects": sorted(server.projects),
        "rows": {run: server.rows(run) for run in server.lines},
        "summaries": server.summaries,
        "files": server.files,
        "artifacts": {one.name: vars(one) for one in server.artifacts},
        "exits": server.exits,
    })  # fmt: skip


def plain(value):
    """A value with the JSON in its texts parsed, without times and random ids."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in CHANCE}
        if "artifactManifestID" in value or value.get("name") == "wandb_manifest.json":
            kept.pop("digest", None)  # it holds the server's id of the artifact
        return {key: plain(each) for key, each in kept.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes) and not value.startswith(b"\x89PNG"):
        return plain(value.decode())
    if isinstance(value, str) and value[:1] in ("{", "["):
        return plain(json.loads(value))
    if isinstance(value, str) and value.startswith("_wandb:"):
        return plain(yaml.safe_load(value))
    return (
        re.sub(r"(wandb-client-artifact://)\w+", r"\1", value) if isinstance(value, str) else value
    )


def test_this_version_is_tested():
    """If this alone fails, the others hold for a newer wandb: name it in `TESTED`."""
    assert wandb.__version__ in wandb_session.TESTED


def test_a_server_gets_the_same(tmp_path, offline, monkeypatch):
    for name, value in {"ENTITY": "someone", "NOTES": "for “us”", "TAGS": "mine", "RUN_GROUP": "g",
                        "PROJECT": "rate"}.items():  # fmt: skip
        monkeypatch.setenv(f"WANDB_{name}", value)
    imported = ModuleType("transformers")  # wandb counts what is imported, and this one's version
    imported.__version__ = "4.57.1"
    monkeypatch.setitem(sys.modules, "transformers", imported)
    written = contents(tmp_path / "page")
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(wandb_session, "TESTED", (wandb.__version__,))
    files = write(here, written)
    monkeypatch.setattr(wandb_session, "TESTED", ())
    others = write(there, written)
    for one, other in zip(files, others, strict=True):
        read = json.loads(leet(one, "-summary"))
        assert read["state"] in ("finished", "failed")
        assert plain(read) == plain(json.loads(leet(other, "-summary")))
    assert (by_wandb(here), by_wandb(there)) == (False, True)
    sent, expected = uploaded(here), uploaded(there)
    assert set(sent["exits"].values()) == {0, 1}
    assert len(sent["rows"]) == 8 - 1
    for part, value in expected.items():
        assert sent[part] == value, part


def test_wandb_reads_it(tmp_path, offline, monkeypatch):
    monkeypatch.setattr(wandb_session, "TESTED", (wandb.__version__,))
    (file,) = write(tmp_path, [run_layout(RUN, record(), epochs(history(400)))])
    assert file.stat().st_size > 3 * 32768
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file.parent)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["num"] for one in records] == [*range(1, len(records) + 1)]
    rows = [one["history"]["item"] for one in records if one["type"] == "history"]
    assert [row["val/f1"] for row in rows[:-1]] == [
        line["metrics"]["val/f1"] for line in history(400)
    ]
    assert records[-1]["exit"] == {"exit_code": 0}


def test_records_at_the_edge_of_a_block(tmp_path):
    file, wide = tmp_path / "run-a.wandb", 32768 - 7 - 7
    sizes = [*range(wide - 24, wide + 12), 2 * wide, 3 * 32768, 0]
    records = [
        Record(num=at, history={"item": [{"key": "k", "value_json": json.dumps("x" * size)}]})
        for at, size in enumerate(sizes, 1)
    ]
    for some in ([*records, Record()], *([one, records[-1]] for one in records)):
        file.write_bytes(framed(some))
        assert list(read_records(file)) == some
        if len(some) > 2:
            seen = [json.loads(line) for line in leet(file).splitlines()][: len(sizes)]
            assert [len(one["history"]["item"]["k"]) for one in seen] == sizes


@pytest.mark.parametrize("why", ["version", "import", "unreadable", "raises", "setting"])
def test_wandb_writes_where_that_is_safer(tmp_path, offline, monkeypatch, why):
    monkeypatch.setattr(wandb_session, "TESTED", (wandb.__version__,))
    if why == "version":
        monkeypatch.setattr(wandb_file.wandb, "__version__", "0.31.1")
    elif why == "import":  # of what wandb calls its own
        monkeypatch.setitem(sys.modules, wandb_file.__name__, None)
    elif why == "unreadable":
        monkeypatch.setattr(wandb_file, "framed", lambda records: framed(records[:-1]))
    elif why == "raises":
        monkeypatch.setattr(wandb_file, "Record", lambda **_: 1 / 0)
    else:
        (tmp_path / "more.yaml").write_text("more: {value: 1}")
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "more.yaml"))
    (file,) = write(tmp_path / "root", [run_layout(RUN, record(), epochs(history()))])
    assert by_wandb(tmp_path / "root")
    assert [*(tmp_path / "root/wandb").glob("offline-run-*")] == [file.parent]
    (run,) = offline_runs(tmp_path / "root")
    assert (len(run.rows), run.exit_code) == (4, 0)
    assert run.config.get("more") == (1 if why == "setting" else None)
