"""What every executor keeps to. Those in this process are tried in one that is pinned."""

import os
import subprocess
import sys

import pytest
from troubled import TROUBLED, planned_runs, tasks_of

from paribus.core.errors import RequestError
from paribus.core.fileio import verify_manifest
from paribus.core.records.run_dir import LAST, RunFolder
from paribus.core.runtime import PINNED, is_pinned
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.study.request import Request

TROUBLES = ("model.trouble=raise,nan,exit,memory",)
MADE_HERE = ["in_process"] if is_pinned() else ["pool_of_1", "pool_of_2"]


def never():
    return False


@pytest.fixture(scope="module", params=MADE_HERE)
def executor(request):
    made = Pool(1 if request.param == "in_process" else int(request.param[-1]))
    if request.param != "in_process":
        made.start()
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "troubled.py"
    file.write_text(TROUBLED)
    return file


def ends(progress):
    return {p.run: p.ended for p in progress if p.ended}


@pytest.mark.skipif(is_pinned(), reason="this is a pinned process")
def test_in_a_pinned_process():
    words = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(words, env=os.environ | PINNED, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "9 passed" in done.stdout


def test_every_epoch_and_one_end_of_each_run(executor, path, tmp_path):
    runs = planned_runs(executor, Request(path, axes=("optimizer.lr=0.1,1",)), [0, 1]).values()
    told = list(executor.execute(tasks_of(runs, tmp_path / "attempts"), never))
    for run in runs:
        own = [p for p in told if p.run == run.id]
        assert [p.line["epoch"] for p in own] == [1, 2, 3]
        assert [p.ended for p in own] == [None, None, "complete"]
        assert {p.epochs for p in own} == {3}
        verify_manifest(tmp_path / "attempts" / run.id)
    assert len(told) == 3 * len(runs)


def test_a_run_that_fails_fails_alone(executor, path, tmp_path):
    path.with_name("full").touch()
    runs = planned_runs(executor, Request(path, axes=TROUBLES), [0])
    told = list(executor.execute(tasks_of(runs.values(), tmp_path / "attempts"), never))
    by_label = {label: ends(told)[run.id] for (label, _), run in runs.items()}
    assert by_label == {
        "baseline": "complete",
        "model.trouble=raise": "failed",
        "model.trouble=nan": "failed",
        "model.trouble=exit": "failed",
        "model.trouble=memory": "attempt",
    }
    assert len([p for p in told if p.ended]) == 5
    reasons = {p.run: p.reason for p in told if p.ended}
    record = RunFolder(tmp_path / "attempts" / runs["model.trouble=raise", 0].id).record()
    assert record.reason == reasons[record.run]
    line = 1 + TROUBLED[: TROUBLED.index("raise ValueError")].count("\n")
    assert record.reason == (f"exception: ValueError: the net gave up (troubled.py, line {line})")
    assert reasons[runs["model.trouble=nan", 0].id].startswith("non-finite: train/loss is nan")
    assert reasons[runs["model.trouble=memory", 0].id] == "memory: MemoryError: no room"


def test_a_failed_run_holds_up_nothing_behind_it(executor, path, tmp_path):
    runs = planned_runs(executor, Request(path, axes=("model.trouble=raise",)), [0, 1, 2])
    bad_first = sorted(runs.values(), key=lambda run: run.configuration["model"]["trouble"])[::-1]
    told = list(executor.execute(tasks_of(bad_first, tmp_path / "attempts"), never))
    assert sorted(ends(told).values()) == ["complete"] * 3 + ["failed"] * 3


def test_a_clean_stop_and_going_on_to_the_same_bits(executor, path, tmp_path):
    request = Request(path, ("train.epochs=30",), axes=("optimizer.lr=0.1",))
    runs = list(planned_runs(executor, request, [0, 1]).values())
    whole = list(executor.execute(tasks_of(runs, tmp_path / "whole"), never))
    path.with_name("slow").touch()
    told = []
    folder = tmp_path / "attempts"
    for progress in executor.execute(tasks_of(runs, folder), lambda: len(told) > 3):
        told.append(progress)
    assert not ends(told)
    begun = {p.run for p in told}
    assert {p.name for p in folder.iterdir()} == begun  # and nothing was begun after the stop
    assert all((folder / run / LAST).is_file() for run in begun)
    path.with_name("slow").unlink()
    more = list(executor.execute(tasks_of(runs, folder), never))
    for run in runs:
        epochs = [p.line["epoch"] for p in [*told, *more] if p.run == run.id]
        assert epochs == [*range(1, 31)]  # none twice, none lost
    assert last_hashes(more) == last_hashes(whole)


def last_hashes(progress):
    return {p.run: p.line["weights_sha256"] for p in progress if p.ended}


def test_a_stop_before_the_first_task_takes_none(executor, path, tmp_path):
    runs = planned_runs(executor, Request(path, axes=()), [0]).values()
    assert list(executor.execute(tasks_of(runs, tmp_path / "attempts"), lambda: True)) == []
    assert not (tmp_path / "attempts").exists()


def test_tasks_are_taken_when_there_is_room(executor, path, tmp_path):
    runs = planned_runs(executor, Request(path, axes=("optimizer.lr=0.1,1",)), [0, 1]).values()
    room = getattr(executor, "size", 1)
    taken, ended = [], []

    def tasks():
        for task in tasks_of(runs, tmp_path / "attempts"):
            assert len(taken) - len(ended) < room
            taken.append(task)
            yield task

    for progress in executor.execute(tasks(), never):
        if progress.ended:
            ended.append(progress.run)
    assert len(ended) == len(taken) == len(runs)


def test_closing_the_iterator_leaves_an_executor_that_works(executor, path, tmp_path):
    path.with_name("slow").touch()
    request = Request(path, ("train.epochs=30",), axes=("optimizer.lr=0.1",))
    runs = list(planned_runs(executor, request, [0]).values())
    told = executor.execute(tasks_of(runs, tmp_path / "first"), never)
    next(told)
    told.close()
    path.with_name("slow").unlink()
    again = list(executor.execute(tasks_of(runs, tmp_path / "second"), never))
    assert len(again) == 30 * len(runs)
    assert set(ends(again).values()) == {"complete"}


def test_call_returns_what_the_function_does(executor):
    assert executor.call(divmod, 7, 2) == (3, 1)


def test_call_raises_all_faults_of_a_request(executor, path):
    from paribus.sweeps.execution.planner import read_request

    request = Request(path, ("optimizer.lrr=1", "train.epochs=0"), axes=("loss=mean",))
    with pytest.raises(RequestError) as caught:
        executor.call(read_request, request)
    assert len(caught.value.faults) == 3
    assert executor.call(divmod, 7, 2) == (3, 1)
