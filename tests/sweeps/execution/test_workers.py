"""Workers: pinned whatever starts them, replaced when they die, gone when nobody needs them."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import is_alive, pids, run_script, wait_until
from troubled import planned_runs, tasks_of

from paribus.core.errors import ParibusError
from paribus.core.runtime import PINNED, is_pinned
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.study.request import Request


def never():
    return False


@pytest.fixture
def pool():
    made = Pool(2)
    yield made
    made.close()


def baselines(pool, troubled, *overrides, seeds=(0,)):
    """The baseline's runs alone."""
    runs = planned_runs(pool, Request(troubled.path, overrides, ("train.batch_size=8",)), seeds)
    return [run for (label, _), run in runs.items() if label == "baseline"]


def test_workers_of_a_program_that_is_not_pinned_and_forgets_to_close(tmp_path):
    told = run_script(
        tmp_path,
        """
import json, os
from paribus.core.runtime import PINNED, is_pinned
from paribus.sweeps.execution.pool import Pool
pool = Pool(1)
print(json.dumps([is_pinned(), pool.call(is_pinned), pool.call(hash, "a"), pool.call(os.getpid),
                  any(name in os.environ for name in PINNED)]))
""",
        timeout=120,
    ).stdout
    here, there, hashed, pid, left_behind = json.loads(told)
    assert (here, there, left_behind) == (False, True, False)
    words = [sys.executable, "-c", "print(hash('a'))"]
    assert hashed == int(subprocess.check_output(words, env=os.environ | PINNED, text=True))
    wait_until(lambda: not is_alive(pid))


def test_workers_are_pinned_where_a_forkserver_was_started_before(tmp_path):
    told = run_script(
        tmp_path,
        """
import multiprocessing
if __name__ == "__main__":
    other = multiprocessing.get_context("forkserver").Process(target=print)
    other.start()
    other.join()
    from paribus.core.runtime import is_pinned
    from paribus.sweeps.execution.pool import Pool
    pool = Pool(1)
    print(pool.call(is_pinned), pool.call(is_pinned))
    pool.close()
""",
    ).stdout
    assert told.split() == ["True", "True"]


@pytest.mark.parametrize("used_before", [False, True])
def test_daemonic_processes_train_as_any_other(tmp_path, used_before):
    """As multiprocessing.Pool, Celery and Airflow have them; a fork's parent may have trained."""
    output = run_script(
        tmp_path,
        f"""
import multiprocessing
import paribus

def train(seed):
    run = paribus.train("line", seed=seed, root={str(tmp_path)!r}, wandb=False)
    return multiprocessing.current_process().daemon, run.record.is_complete

if __name__ == "__main__":
    if {used_before}:
        paribus.train("line", root={str(tmp_path)!r}, wandb=False)
    with multiprocessing.get_context("fork").Pool(1) as processes:
        print(*processes.map(train, [1])[0])
""",
        timeout=120,
    ).stdout
    assert output.split()[-2:] == ["True", "True"]


def test_workers_have_one_thread(pool):
    assert pool.call(torch.get_num_threads) == 1
    assert pool.call(is_pinned)


def test_close_leaves_no_process(troubled):
    troubled.switch("slow")
    pool = Pool(2)
    runs = baselines(pool, troubled, "train.epochs=1000", seeds=[0, 1])
    told = pool.execute(tasks_of(runs, troubled.folder / "attempts"), never)
    while len(pids(troubled)) < 2:
        next(told)
    assert all(map(is_alive, pids(troubled)))
    pool.close()
    assert not any(map(is_alive, pids(troubled)))


def test_a_killed_worker_costs_its_own_run_only(pool, troubled):
    troubled.switch("deadly")
    request = Request(troubled.path, axes=("model.trouble=die",))
    runs = planned_runs(pool, request, [0, 1, 2])
    told = list(pool.execute(tasks_of(runs.values(), troubled.folder / "attempts"), never))
    ended = {p.run: (p.ended, p.reason) for p in told if p.ended}
    assert len([p for p in told if p.ended]) == len(ended) == 6
    for (label, _), run in runs.items():
        how, reason = ended[run.id]
        assert how == ("complete" if label == "baseline" else "attempt")
        assert label == "baseline" or (reason.startswith("killed: ") and "SIGKILL" in reason)


def test_a_worker_that_died_idle_is_replaced(pool, troubled):
    runs = baselines(pool, troubled)
    pid = pool.call(os.getpid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    told = list(pool.execute(tasks_of(runs, troubled.folder / "attempts"), never))
    assert [p.ended for p in told] == [None, None, "complete"]


def test_a_call_whose_worker_dies_says_so(pool):
    with pytest.raises(ParibusError, match=r"died \(exit code 3\)"):
        pool.call(os._exit, 3)
    assert pool.call(divmod, 7, 2) == (3, 1)


def test_a_worker_whose_driver_hangs_up_ends_without_a_word(tmp_path):
    done = run_script(
        tmp_path,
        """
import time
from multiprocessing import get_context
from paribus.sweeps.execution.worker import Worker
worker = Worker(get_context("forkserver"), None)
worker.pipe.send((time.sleep, (0.1,)))  # its answer finds nobody
worker.pipe.close()
worker.process.join()
print(worker.process.exitcode)
""",
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_ctrl_c_while_a_spawned_worker_starts_is_the_drivers_alone(tmp_path):
    done = run_script(
        tmp_path,
        """
import os, signal, time
from multiprocessing import get_context
from paribus.sweeps.execution.worker import Worker
worker = Worker(get_context("spawn"), None)
signal.signal(signal.SIGINT, lambda *_: None)
for _ in range(20):
    os.killpg(0, signal.SIGINT)
    time.sleep(0.05)
print(worker.call(divmod, 7, 2))
worker.close()
""",
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == ("(3, 1)\n", "")


def test_where_there_is_no_gpu_runs_for_one_still_end(pool, troubled):
    (run,) = baselines(pool, troubled)
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = replace(run, configuration=run.configuration | {"device": "cuda"})
    pool.resize_for([run])
    *_, last = pool.execute(tasks_of([run], troubled.folder / "attempts"), never)
    assert (last.run, last.ended) == (run.id, "complete")


def test_ctrl_c_and_sigterm_are_the_drivers_alone(pool, troubled):
    pid = pool.call(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert pool.call(os.getpid) == pid


def test_a_resume_state_that_cannot_be_saved_at_a_stop_is_told(pool, troubled):
    troubled.switch("slow")
    runs = baselines(pool, troubled, "train.epochs=30")
    told = []
    for progress in pool.execute(tasks_of(runs, troubled.folder / "attempts"), lambda: bool(told)):
        if not told:  # a folder in its place, as no right keeps root from writing
            (troubled.folder / "attempts" / runs[0].id / "last.pt").mkdir()
        told.append(progress)
    assert told[-1].ended == "attempt"
    assert told[-1].reason.startswith("disk: the resume state is not saved")
    assert pool.call(divmod, 7, 2) == (3, 1)


def test_what_components_print_stays_off_standard_output(capfd, pool, troubled):
    runs = baselines(pool, troubled, "model.trouble=chatty")
    list(pool.execute(tasks_of(runs, troubled.folder / "attempts"), never))
    pool.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert "so much to say" in err or err == ""  # the forkserver may have been started uncaptured


def test_a_run_that_is_not_what_was_planned_is_not_trained(pool, troubled):
    (run,) = baselines(pool, troubled)
    other = replace(run, id="troubled-s0-000000000000")
    (told,) = pool.execute(tasks_of([other], troubled.folder / "attempts"), never)
    assert (told.ended, told.line) == ("attempt", None)
    assert "not what was planned" in told.reason
