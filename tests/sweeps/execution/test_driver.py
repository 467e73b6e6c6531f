"""The driver: what is finished is proved and reused, what is damaged is trained anew, once."""

import json
import os
import shutil

import pytest
from processes import is_alive, pids
from troubled import planned_runs

from paribus.core.records.run_dir import BEFORE, BEST, HISTORY, LAST, RECORD
from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import USUAL, RunnerOptions, drive
from paribus.sweeps.study.request import Request
from paribus.sweeps.study.results_dir import ResultsDir


@pytest.fixture
def root(troubled):
    troubled.root.create()
    return troubled.root


@pytest.fixture
def runs(troubled, workplace) -> list[RunSpec]:
    """The baseline's runs of three seeds."""
    workplace.start()
    request = Request(troubled.path, axes=("train.batch_size=8",))
    planned = planned_runs(workplace, request, [0, 1, 2])
    return [run for (label, _), run in planned.items() if label == "baseline"]


def driven(runs, root, workplace, rules=USUAL, **options):
    return list(drive(runs, root, workplace, rules, **options))


def ended(steps):
    """Run id to (trained or reused, its record)."""
    return {s.run.id: ("reused" if s.reused else "trained", s.record) for s in steps if s.record}


def test_finished_runs_are_reused_byte_for_byte(runs, root, workplace):
    first = ended(driven(runs, root, workplace))
    assert [how for how, _ in first.values()] == ["trained"] * 3
    assert list(root.attempts.iterdir()) == []
    files = {p: p.read_bytes() for p in root.runs.rglob("*") if p.is_file()}
    steps = driven(runs, root, workplace)
    assert ended(steps) == {run: ("reused", record) for run, (_, record) in first.items()}
    assert [s.progress for s in steps] == [None] * 3
    assert files == {p: p.read_bytes() for p in root.runs.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", [RECORD, HISTORY, BEST, "source/troubled.py", "manifest.json"])
def test_a_run_with_one_flipped_bit_is_set_aside_and_trained_anew(name, runs, root, workplace):
    run = runs[0]
    before = ended(driven([run], root, workplace))[run.id][1]
    file = root.runs / run.id / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    how, after = ended(driven([run], root, workplace))[run.id]
    assert how == "trained"
    assert after.weights_sha256 == before.weights_sha256
    assert (root.attempts / f"{run.id}.2" / name).read_bytes() == content  # 1 was the new attempt
    assert ended(driven([run], root, workplace))[run.id][0] == "reused"


def test_a_run_deleted_by_hand_is_trained_again(runs, root, workplace):
    driven(runs, root, workplace)
    shutil.rmtree(root.runs / runs[1].id)
    again = ended(driven(runs, root, workplace))
    assert [again[run.id][0] for run in runs] == ["reused", "trained", "reused"]


def test_a_finished_attempt_that_was_never_renamed_is_adopted(runs, root, workplace):
    run = runs[0]
    before = ended(driven([run], root, workplace))[run.id][1]
    (root.runs / run.id).rename(root.attempts / f"{run.id}.4")
    assert ended(driven([run], root, workplace)) == {run.id: ("reused", before)}
    assert list(root.attempts.iterdir()) == []


def test_a_finished_attempt_of_another_driver_is_left_to_it(runs, root, workplace):
    run = runs[0]
    driven([run], root, workplace)
    attempt = root.attempts / f"{run.id}.1"
    (root.runs / run.id).rename(attempt)
    asked = []

    def stop():  # after a while
        asked.append(attempt.exists())
        return len(asked) > 6

    with root.lock(run.id, "the test"):
        assert driven([run], root, workplace, stop=stop) == []
    assert all(asked)


def test_a_damaged_finished_attempt_is_not_adopted(runs, root, workplace):
    run = runs[0]
    driven([run], root, workplace)
    (root.runs / run.id).rename(root.attempts / f"{run.id}.1")
    with (root.attempts / f"{run.id}.1" / BEST).open("ab") as file:
        file.write(b"x")
    assert ended(driven([run], root, workplace))[run.id][0] == "trained"
    assert [p.name for p in root.attempts.iterdir()] == [f"{run.id}.1"]


@pytest.fixture
def killed(root, workplace, troubled):
    """A run of ten epochs, each saved, that was killed in its fifth and again in its ninth."""
    overrides = ("model.trouble=die", "train.batch_size=64", "train.epochs=10")
    request = Request(troubled.path, overrides, ("train.batch_size=8",))
    run = planned_runs(workplace, request, [0])["baseline", 0]
    troubled.switch("deadly")
    steps = driven([run], root, workplace, rules=RunnerOptions(checkpoint_every=0))
    told = [s.message or (s.progress.line and s.progress.line["epoch"]) for s in steps]
    assert told[:4] == [1, 2, 3, 4]
    assert told[4].endswith(" died (SIGKILL)); it is tried once more.")
    assert told[5:] == [5, 6, 7, 8, None]
    assert "SIGKILL" in steps[-1].progress.reason
    troubled.switch("deadly", on=False)
    return run


@pytest.fixture
def whole(killed, workplace, tmp_path):
    """The same run, never interrupted."""
    other = ResultsDir(tmp_path / "whole")
    other.create()
    return driven([killed], other, workplace)[-1].record


def test_a_new_attempt_begins_with_the_newest_good_state(killed, whole, root, workplace):
    damaged = root.attempts / f"{killed.id}.2"
    for name in (LAST, BEFORE):
        flip(damaged / name, 1000)
    steps = driven([killed], root, workplace)
    assert [step.message for step in steps[:2]] == [
        f"{damaged / name}: does not hold what was written (sha256 differs). {killed.id} goes on "
        "from an earlier one, or the start."
        for name in (LAST, BEFORE)
    ]
    assert [s.progress.line["epoch"] for s in steps[2:]] == [5, 6, 7, 8, 9, 10]
    assert steps[-1].record.weights_sha256 == whole.weights_sha256
    assert steps[-1].record.epochs == 10
    assert list(root.attempts.iterdir()) == []  # dropped when the run is finished


def test_the_state_before_is_taken_where_the_last_is_damaged(killed, whole, root, workplace):
    flip(root.attempts / f"{killed.id}.2" / LAST, 1000)
    steps = driven([killed], root, workplace)
    assert "does not hold what was written" in steps[0].message
    assert [s.progress.line["epoch"] for s in steps[1:]] == [8, 9, 10]
    assert steps[-1].record.weights_sha256 == whole.weights_sha256
    assert steps[-1].record.best == whole.best


def flip(file, place):
    """Flips a bit, in a file of its own: two names may be links to one."""
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.unlink()
    file.write_bytes(content)


def test_what_an_attempt_wrote_wrongly_never_becomes_a_run(runs, root, workplace, monkeypatch):
    run = runs[0]
    steps = drive([run], root, workplace, USUAL)
    first = next(steps)
    attempt = root.attempts / f"{run.id}.1"
    assert first.progress.line["epoch"] == 1
    (attempt / RECORD).mkdir()  # nothing can be written there
    rest = list(steps)
    assert rest[-1].progress.ended == "attempt"
    assert not (root.runs / run.id).exists()


def test_runs_that_another_driver_has_out_come_last(runs, root, workplace):
    lock = root.lock(runs[0].id, "the test")
    lock.__enter__()
    order = []
    for step in drive(runs, root, workplace, USUAL):
        if step.record:
            order.append(step.run.id)
            if len(order) == 2:
                lock.__exit__(None, None, None)
    assert order[-1] == runs[0].id
    assert sorted(order) == sorted(run.id for run in runs)


def test_a_run_that_the_surroundings_stopped_is_tried_again_by_the_next_command(
    troubled, workplace
):
    troubled.switch("full")
    done = troubled.sweep("model.trouble=memory,disk", seeds=[0])
    stopped = [s.progress for s in done.steps if s.progress and s.progress.ended == "attempt"]
    assert sorted(p.reason[:6] for p in stopped) == ["disk: ", "memory"]
    assert done.result("model.trouble=disk").status == "interrupted"
    troubled.switch("full", on=False)
    again = troubled.sweep("model.trouble=memory,disk", seeds=[0])
    assert len(again.trained) == 2
    assert {r.status for r in again.study.results()} == {"complete"}
    assert len(set(again.hashes.values())) == 1  # the trouble changed no bit


def test_an_attempt_keeps_what_was_reached(troubled):
    troubled.switch("deadly")
    done = troubled.sweep("model.trouble=die", seeds=[0], rules=RunnerOptions(checkpoint_every=0))
    (stopped,) = [s.progress for s in done.steps if s.progress and s.progress.ended == "attempt"]
    assert "SIGKILL" in stopped.reason
    troubled.switch("deadly", on=False)
    again = troubled.sweep("model.trouble=die", seeds=[0])
    epochs = [s.progress.line["epoch"] for s in again.steps if s.progress]
    assert epochs == [3]  # the second try had reached one more than the first
    assert len(set(again.hashes.values())) == 1


def test_a_root_needs_nothing_of_where_it_lies(runs, root, workplace, tmp_path):
    first = ended(driven(runs, root, workplace))
    moved = ResultsDir(shutil.move(root.path, tmp_path / "elsewhere"))
    assert ended(driven(runs, moved, workplace)) == {
        run: ("reused", record) for run, (_, record) in first.items()
    }


def test_a_record_says_how_the_run_ended(runs, root, workplace):
    record = ended(driven(runs[:1], root, workplace))[runs[0].id][1]
    on_disk = json.loads((root.runs / runs[0].id / RECORD).read_text())
    assert on_disk == record.to_json()
    assert (record.status, record.reason, record.epochs) == ("complete", None, 3)
    assert os.environ["MKL_CBWR"] == record.identity["environment"]["MKL_CBWR"]


def test_a_failed_run_is_final_until_it_is_asked_for_again(troubled):
    troubled.switch("broken")
    first = troubled.sweep("model.trouble=flaky", seeds=[0])
    assert first.result("model.trouble=flaky").status == "failed"
    troubled.switch("broken", on=False)
    second = troubled.sweep("model.trouble=flaky", seeds=[0])
    assert second.trained == []
    assert second.result("model.trouble=flaky").status == "failed"
    third = troubled.sweep("model.trouble=flaky", seeds=[0], rules=RunnerOptions(retry_failed=True))
    assert len(third.trained) == 1
    assert {r.status for r in third.study.results()} == {"complete"}
    assert len(set(third.hashes.values())) == 1
    assert troubled.sweep("model.trouble=flaky", seeds=[0]).trained == []
    assert list(troubled.root.attempts.iterdir()) == []  # the failed one was set aside, and cleared


def test_a_kill_between_the_two_renames_of_a_retried_run_loses_nothing(troubled):
    troubled.switch("broken")
    first = troubled.sweep("model.trouble=flaky", seeds=[0])
    (failed,) = first.study.find("model.trouble=flaky").runs.values()
    troubled.switch("broken", on=False)
    troubled.sweep("model.trouble=flaky", seeds=[0], rules=RunnerOptions(retry_failed=True))
    (troubled.root.runs / failed).rename(troubled.root.attempts / f"{failed}.1")
    assert (troubled.root.attempts / f"{failed}.2").is_dir()  # the one that failed
    again = troubled.sweep("model.trouble=flaky", seeds=[0])
    assert again.trained == []
    assert again.result("model.trouble=flaky").status == "complete"


def test_a_damaged_run_is_trained_anew_saying_so(runs, root, workplace):
    driven(runs[:1], root, workplace)
    (root.runs / runs[0].id / BEST).unlink()
    steps = driven(runs[:1], root, workplace)
    assert steps[0].message == (
        f"{root.runs / runs[0].id / BEST}: is missing, though the manifest names it. It is trained "
        "again; that goes to attempts/."
    )
    assert steps[-1].record.status == "complete"


def test_a_worker_that_hangs_is_ended_and_its_run_tried_once_more(troubled):
    troubled.switch("hold")
    rules = RunnerOptions(run_timeout=1.5)
    done = troubled.sweep("optimizer.lr=0.1", seeds=[0], rules=rules)
    told = [s.message for s in done.steps if s.message]
    assert len(told) == 2
    assert all("stopped (timeout: no epoch ended for " in said for said in told)
    ends = [s.progress for s in done.steps if s.progress and s.progress.ended]
    assert [(e.ended, e.reason.partition(":")[0]) for e in ends] == [("attempt", "timeout")] * 2
    assert not any(map(is_alive, pids(troubled)))
    troubled.switch("hold", on=False)
    assert len(troubled.sweep("optimizer.lr=0.1", seeds=[0], rules=rules).trained) == 2
