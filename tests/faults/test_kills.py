"""Rows 1 to 7, 9 and 13: processes that end, hang or are stopped at any moment."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from faulty import LONG, LR, RUNS, broken, line_of
from processes import children, forget_pids, is_alive, pids, wait_until
from troubled import Troubled

from paribus.core.records.run_dir import is_finished


def fresh(tmp_path, workplace, number, engine):
    """The experiment again, in a place of its own, its epochs slow; for a cohort by their size."""
    made = Troubled(tmp_path / str(number), workplace)
    if engine == "cohort":
        made.replace('"model": Net', '"model": "mlp"')
        made.replace('"data": waves', '"data": {"name": waves, "n": 6000}')
    else:
        made.switch("slow")
    return made


@pytest.fixture(scope="session", params=["loop", "cohort"])
def engine(request):
    return request.param


@pytest.fixture(scope="session")
def undisturbed(engine, tmp_path_factory, workplace):
    """(label, seed) to weights hash, of a sweep by this engine that nothing disturbed."""
    troubled = fresh(tmp_path_factory.mktemp(engine), workplace, 0, engine)
    troubled.switch("slow", on=False)
    done = troubled.sweep(LR, overrides=LONG, seeds=[0, 1])
    for run in troubled.root.run_ids():
        assert troubled.root.finished(run).engine == engine
    return done.hashes


def test_row_01_a_worker_is_killed_at_a_random_moment(
    engine, paribus, finish, tmp_path, workplace, undisturbed, injections, tally
):
    """The commands run in a warm process, as a start takes longer than the training."""
    wanted, injected, number, violations = injections(2), 0, 0, []
    draw = random.Random(1)
    while injected < wanted:
        number += 1
        troubled = fresh(tmp_path, workplace, number, engine)
        for turn in range(9):
            line = line_of(troubled, every="0" if turn % 2 else "5")
            with ThreadPoolExecutor(1) as thread:
                done = thread.submit(paribus, *line, cwd=troubled.folder)
                while not done.done() and injected < wanted:
                    time.sleep(draw.uniform(0, 0.7))
                    if workers := [pid for pid in paribus.workers() if is_alive(pid)]:
                        with suppress(ProcessLookupError):
                            os.kill(draw.choice(workers), signal.SIGKILL)
                            injected += 1
                if injected >= wanted:
                    troubled.switch("slow", on=False)
            if done.result().code == 0 or injected >= wanted:
                break
        violations += finish(troubled)
        violations += broken(troubled.root, undisturbed, workplace)
    tally(injected, violations)


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_row_02_and_09_killed_at_a_named_point(
    call, begun, finish, tmp_path, workplace, reference, injections, tally, strace
):
    """Before each rename, and before each sync: of the root, the plan, states, results, the end."""
    points = range(1, 31) if injections(0) else (2, 9) if call == "rename" else (6,)
    violations, injected = [], 0
    for number in points:
        troubled = Troubled(tmp_path / str(number), workplace)
        inject = [f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        begun(before=[*strace, "-e", *inject], of=troubled).end()
        injected += (tmp_path / "trace").read_text().count("+++ killed by SIGKILL +++")
        violations += finish(troubled)
        violations += broken(troubled.root, reference)
    assert injected >= len(points) // 2
    tally(injected, violations)


def test_row_03_the_driver_is_killed_at_a_random_moment(
    engine, begun, finish, tmp_path, workplace, undisturbed, injections, tally
):
    wanted, injected, number, violations = injections(2), 0, 0, []
    draw = random.Random(3)
    while injected < wanted:
        number += 1
        troubled = fresh(tmp_path, workplace, number, engine)
        while injected < wanted:
            command = begun(of=troubled, every="0" if injected % 2 else "5")
            with suppress(Exception):
                command.process.wait(draw.uniform(0.5, 9 if engine == "loop" else 4))
            if command.process.poll() is not None:
                break
            orphans = command.workers()
            command.kill()
            injected += 1
            violations += [f"process {pid} lives on" for pid in orphans if is_alive(pid)]
        troubled.switch("slow", on=False)
        violations += finish(troubled)
        violations += broken(troubled.root, undisturbed)
    tally(injected, violations)


def test_row_04_the_group_is_killed_again_and_again_until_done(
    begun, finish, troubled, reference, injections, tally
):
    troubled.switch("slow")
    violations, reached, injected = [], (0, 0), 0
    for number in range(1, 40):
        forget_pids(troubled)
        command = begun()
        wait_until(lambda it=command.process: pids(troubled) or it.poll() is not None)
        with suppress(Exception):
            command.process.wait(number / 2)
        if command.process.poll() is not None:
            violations += [] if command.end()[0] == 0 else ["the sweep did not end well"]
            break
        command.kill_group()
        injected += 1
        now = progress(troubled.root)
        violations += [] if now >= reached else [f"progress fell from {reached} to {now}"]
        reached = now
        if injected >= injections(2):
            troubled.switch("slow", on=False)
            violations += finish()
            break
    violations += [] if reached > (0, 0) else ["nothing was saved"]
    tally(injected, violations + broken(troubled.root, reference))


def progress(root):
    """(finished runs, bytes of history in no run): grows with every epoch that is saved."""
    from paribus.core.records.run_dir import load_state

    saved = 0
    for attempt in root.attempts.glob("*.*") if root.attempts.is_dir() else ():
        if (attempt / "last.pt").exists() and not is_finished(attempt):
            saved = max(saved, load_state(attempt / "last.pt")["epoch"])
    finished = len(root.run_ids())
    return finished, saved if finished < RUNS else 0


def test_row_05_a_stopped_worker_is_given_up_and_changes_nothing_afterwards(
    begun, troubled, reference, tally
):
    troubled.switch("slow")
    command = begun("--run-timeout", "3")
    wait_until(lambda: len(pids(troubled)) == 2)
    victim = command.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    troubled.switch("slow", on=False)
    code, _, err = command.end()
    violations = [] if code == 0 else [f"exit code {code}: {err}"]
    violations += [] if "stopped (timeout: no epoch ended for" in err else ["nothing was said"]
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGCONT)
        violations.append("the stopped worker could go on")
    tally(1, violations + broken(troubled.root, reference))


def test_row_06_a_step_that_hangs_is_noticed_and_the_study_goes_on(
    begun, finish, troubled, reference, tally
):
    troubled.switch("hold")
    code, _, err = begun("--run-timeout", "1").end()
    violations = [] if code == 1 else [f"exit code {code}"]
    violations += [] if pids(troubled) else ["no step was held"]
    violations += [] if err.count("it is tried once more") == RUNS else [err]
    troubled.switch("hold", on=False)
    tally(RUNS, violations + finish() + broken(troubled.root, reference))


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C", "Ctrl-C twice"])
def test_row_07_clean_stops(how, begun, finish, troubled, reference, tally):
    troubled.switch("slow")
    command = begun(every="1000")  # what is saved, the stop itself has saved
    wait_until(lambda: len(pids(troubled)) == 2)
    workers = command.workers()
    if how == "SIGTERM":
        os.kill(command.process.pid, signal.SIGTERM)
    else:  # as a terminal does: to workers as well
        os.killpg(command.process.pid, signal.SIGINT)
    if how == "Ctrl-C twice":
        time.sleep(0.01)
        os.killpg(command.process.pid, signal.SIGINT)
    code, _, err = command.end()
    violations = [] if code == 130 else [f"exit code {code}"]
    violations += ["a traceback"] if "Traceback" in err else []
    violations += [f"worker {pid} lives on" for pid in workers if is_alive(pid)]
    saved = len([*troubled.root.attempts.glob("*/last.pt")])
    if how != "Ctrl-C twice":
        violations += [] if "to continue: paribus sweep" in err else ["no line to continue with"]
        violations += [] if saved == 2 else [f"{saved} runs have saved their state"]
    troubled.switch("slow", on=False)
    tally(1, violations + finish() + broken(troubled.root, reference))


def test_row_07_stopped_before_anything_was_trained(
    begun, finish, troubled, reference, injections, tally
):
    violations, delays = [], (0, 0.8, 1.8, 3.3)[: injections(2)]
    for delay in delays:
        command = begun()
        # Python itself has begun, which answers Ctrl-C with a traceback until then.
        wait_until(partial(children, command.process.pid))
        time.sleep(delay)
        with suppress(ProcessLookupError):
            os.killpg(command.process.pid, signal.SIGINT)
        code, out, err = command.end()
        violations += [] if code == 130 else [f"exit code {code} after {delay} s"]
        violations += [f"after {delay} s: {err}"] if "Traceback" in out + err else []
    tally(len(delays), violations + finish() + broken(troubled.root, reference))


def test_row_13_out_of_memory(troubled, tally):
    """Memory that is not to be had, and a worker that the kernel kills; the next run is clean."""
    troubled.switch("full")
    troubled.switch("deadly")
    done = troubled.sweep("model.trouble=hog,die", seeds=[0, 1])
    ends = {s.run.id: s.progress for s in done.steps if s.progress and s.progress.ended}
    of = {label: [ends[run] for run in done.study.find(label).runs.values()] for label in
          ("baseline", "model.trouble=hog", "model.trouble=die")}  # fmt: skip
    violations = [f"the baseline ended {e.ended}" for e in of["baseline"] if e.ended != "complete"]
    for label, why in (("hog", "memory: "), ("die", "killed: ")):
        for end in of[f"model.trouble={label}"]:
            if end.ended != "attempt" or not end.reason.startswith(why):
                violations.append(f"{label} ended {end.ended}, {end.reason}")
    said = [s.message for s in done.steps if s.message]
    violations += [] if len(said) == 4 else [f"tried again: {said}"]
    for name in ("full", "deadly"):
        troubled.switch(name, on=False)
    again = troubled.sweep("model.trouble=hog,die", seeds=[0, 1])
    weights = {(s, seed): again.hashes[f"model.trouble={s}", seed] for s in ("hog", "die")
               for seed in (0, 1)}  # fmt: skip
    violations += [f"{place} has other weights" for place, digest in weights.items()
                   if digest != again.hashes["baseline", place[1]]]  # fmt: skip
    tally(4, violations)
