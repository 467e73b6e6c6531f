"""The root: what lies in it, who holds it, and what it does when a place cannot be written."""

import json
import multiprocessing
import os
import socket

import pytest
from manifest import write_manifest

from paribus.core.errors import DamagedError, RequestError
from paribus.core.fileio import write_json
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.study.lookup import find_run
from paribus.sweeps.study.results_dir import ResultsDir, split_seed


@pytest.fixture
def root(tmp_path):
    made = ResultsDir(tmp_path / "root")
    made.create()
    return made


def finished(folder, **record):
    """A folder that looks like a finished run."""
    folder.mkdir(parents=True)
    whole = {
        "run": folder.name.split(".")[0], "experiment": "x", "experiment_file": "x.py", "seed": 0,
        "status": "failed", "reason": "r", "engine": "loop", "epochs": 0, "best": None,
        "last": None, "weights_sha256": None, "initial_weights": None, "seconds": 0.0,
        "configuration": {"data": {"name": "d"}, "select": {"metric": "m"}, "device": "cpu"},
        "asked": {"device": "auto"}, "data": {"val": 1, "preprocessing": {}},
        "identity": {
            "sources": {}, "distributions": {}, "environment": {}, "configuration": {},
            "files": {}, "variables": {},
            "format": 2, "numerics": 1, "seed": 0, "data": None,
        },
        "facts": {"epochs": 0, "parameters": 0},
    }  # fmt: skip
    write_json(folder / "run.json", {**whole, **record})
    (folder / "history.jsonl").write_text("")
    write_manifest(folder)
    return folder


def test_nothing_is_created_until_create(tmp_path):
    root = ResultsDir(tmp_path / "a" / "root")
    root.check_writable()
    assert (root.run_ids(), root.study_names(), root.interrupted()) == ([], [], [])
    assert root.finished("x-s0-1") is None
    assert list(tmp_path.iterdir()) == []


def test_a_second_create_keeps_the_id(root):
    before = root.id
    root.create()
    assert ResultsDir(root.path).id == before


def test_two_commands_that_begin_at_once_make_one_id(tmp_path):
    context = multiprocessing.get_context("fork")  # the children use nothing but files
    path = tmp_path / "root"
    barrier, found = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_create, args=(path, barrier, found)) for _ in range(4)]
    for process in processes:
        process.start()
    ids = {found.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert ids == {ResultsDir(path).id}


def _create(path, barrier, found):
    root = ResultsDir(path)
    barrier.wait()
    root.create()
    found.put(root.id)


@pytest.mark.parametrize("inside", ["file", "file/root", "file/a/root"])
def test_a_place_that_cannot_be_written_is_refused(inside, tmp_path):
    (tmp_path / "file").write_text("")
    root = ResultsDir(tmp_path / inside)
    with pytest.raises(RequestError, match="cannot be written") as caught:
        root.check_writable()
    assert "--root" in caught.value.hint
    with pytest.raises(RequestError, match="cannot be written"):
        root.create()


def test_a_lock_names_its_holder_and_ends_with_its_block(root):
    with root.lock("study-a", "The study a"):
        with (
            pytest.raises(RequestError, match="The study a is in use") as caught,
            root.lock("study-a", "The study a"),
        ):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        with root.lock("study-b", "The study b"):
            pass
    with root.lock("study-a", "The study a"):
        pass


def test_a_lock_ends_with_its_process_however_that_dies(root):
    context = multiprocessing.get_context("fork")
    holds = context.Event()
    process = context.Process(target=_hold, args=(root.path, holds))
    process.start()
    assert holds.wait(60)
    with pytest.raises(RequestError, match=f"process {process.pid} "), root.lock("a", "a"):
        pass
    process.kill()
    process.join()
    with root.lock("a", "a"):
        pass


def _hold(path, holds):
    with ResultsDir(path).lock("a", "a"):
        holds.set()
        multiprocessing.Event().wait()


def test_attempts_are_numbered_on(root):
    assert root.new_attempt("x-s0-1")[0].name == "x-s0-1.1"
    assert root.new_attempt("x-s0-1")[0].name == "x-s0-1.2"
    (root.attempts / "x-s0-1.11").mkdir()
    (root.attempts / "x-s0-1.notes").mkdir()  # a person's own
    (root.attempts / "x-s0-12.40").mkdir()  # another run's
    assert root.new_attempt("x-s0-1")[0].name == "x-s0-1.12"


def test_accept_is_one_rename_and_drops_what_is_no_longer_needed(root):
    old = root.new_attempt("x-s0-1")[0]
    (old / "last.pt").write_bytes(b"not a state")
    new = root.new_attempt("x-s0-1")[0]
    new.rmdir()
    finished(new)
    (new / "last.pt").write_bytes(b"")
    assert root.accept("x-s0-1", new).run == "x-s0-1"
    assert sorted(p.name for p in (root.runs / "x-s0-1").iterdir()) == [
        "history.jsonl", "manifest.json", "run.json"
    ]  # fmt: skip
    assert list(root.attempts.iterdir()) == []


def test_what_is_damaged_is_kept_when_a_run_takes_its_place(root):
    damaged = finished(root.runs / "x-s0-1")
    (damaged / "run.json").write_text("{}")
    assert root.finished("x-s0-1") is None
    root.accept("x-s0-1", finished(root.attempts / "x-s0-1.1", reason="again"))
    assert root.finished("x-s0-1").reason == "again"
    assert (root.attempts / "x-s0-1.2" / "run.json").read_text() == "{}"


def test_accept_refuses_what_does_not_hold_what_was_written(root):
    attempt = finished(root.attempts / "x-s0-1.1")
    (attempt / "history.jsonl").unlink()
    with pytest.raises(DamagedError, match=r"history\.jsonl: is missing"):
        root.accept("x-s0-1", attempt)
    assert attempt.is_dir()
    assert root.run_ids() == []


def test_interrupted_are_attempts_of_runs_that_are_not_finished(root):
    root.new_attempt("x-s0-1")
    root.new_attempt("x-s1-2")
    finished(root.runs / "x-s1-2")
    assert root.interrupted() == ["x-s0-1"]


def test_find_run(root):
    for name in ("x-s0-11aa", "x-s0-11bb", "y-s3-2222"):
        finished(root.runs / name)
    assert find_run(root, "y").id == "y-s3-2222"
    assert find_run(root, "x-s0-11b").id == "x-s0-11bb"
    assert find_run(root, str(root.runs / "x-s0-11aa")).id == "x-s0-11aa"
    with pytest.raises(RequestError, match="beginning of 2 runs"):
        find_run(root, "x")
    with pytest.raises(RequestError, match="no run 'y-s3-2221'") as caught:
        find_run(root, "y-s3-2221")
    assert "y-s3-2222" in caught.value.hint


def test_a_run_whose_id_begins_another_is_found_by_it(root):
    for name in ("x-s0-1", "x-s0-12"):
        finished(root.runs / name)
    assert find_run(root, "x-s0-1").id == "x-s0-1"


def test_require_study_suggests(root):
    (root.studies / "rates").mkdir()
    (root.studies / "rates" / "study.json").write_text("{}")
    root.require_study("rates")
    with pytest.raises(RequestError, match="no study 'rate'") as caught:
        root.require_study("rate")
    assert "rates" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "pair"),
    [("optimizer.lr=0.1-s3", ("optimizer.lr=0.1", 3)), ("a-s1-s2", ("a-s1", 2)), ("a-s", None)],
)
def test_split_seed(text, pair):
    assert split_seed(text) == pair


def test_a_folder_that_is_just_being_renamed_has_the_size_of_what_is_left(tmp_path):
    folder = tmp_path / "run"
    assert RunFolder(folder).size() == 0
    (folder / "source").mkdir(parents=True)
    (folder / "run.json").write_bytes(b"12345")
    (folder / "source" / "net.py").write_bytes(b"123")
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    link = len(str(tmp_path / "nowhere"))
    assert RunFolder(folder).size() == 8 + link


def test_damaged_lines_are_no_readings(tmp_path):
    good = [{"run": "a-s0", "split": "test"}, {"study": "b", "runs": ["b-s0"], "split": "test"}]
    strange = [7, None, {"run": ["x"]}, {"runs": 3}, {"runs": [{}]}, {"run": {}, "runs": []}]
    lines = [json.dumps(line) for line in (*strange, *good)]
    (tmp_path / "readings.jsonl").write_text("\n".join([*lines, '{"run": "c']))
    assert ResultsDir(tmp_path).readings() == good
