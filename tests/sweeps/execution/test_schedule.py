"""Which runs share a job: each run once, never across groups, no core left idle for long."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import too_sure
from small_experiment import SMALL

from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import cost, schedule


def run(number, group, parameters=10_000, updates=400):
    facts = {"parameters": parameters, "updates": updates, "epochs": 20}
    return RunSpec(
        id=f"r{number}",
        experiment="e",
        path=Path("e.py"),
        requested=None,
        configuration={"train": {"batch_size": 64}},
        seed=number,
        engine="cohort" if group else "loop",
        identity={},
        facts=facts,
        sources={},
        group=group,
    )


def idle(jobs, workers):
    """The share of the whole in which workers wait for the last one."""
    loads = [0.0] * workers
    for job in jobs:
        loads[loads.index(min(loads))] += cost(job)
    return 1 - min(loads) / max(loads)


RUNS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b", "c"]),
        st.integers(1, 10**6),
        st.integers(1, 10**5),
    ),
    min_size=1,
    max_size=80,
)


@given(RUNS, st.integers(1, 4))
def test_each_run_is_in_one_job_of_its_group(asked, workers):
    sizes = {}
    runs = [run(i, g, sizes.setdefault(g, p), u) for i, (g, p, u) in enumerate(asked)]
    jobs = schedule(runs, workers)
    assert sorted(r.id for job in jobs for r in job) == sorted(r.id for r in runs)
    assert all(len({r.group for r in job}) == 1 for job in jobs)
    assert all(len(job) == 1 for job in jobs if job[0].group is None)
    costs = [cost(job) for job in jobs]
    assert costs == sorted(costs, reverse=True)
    assert schedule(runs, workers) == jobs


def test_a_hundred_small_runs_are_few_jobs_and_keep_both_workers_busy():
    runs = [run(i, "a") for i in range(100)]
    jobs = schedule(runs, 2)
    assert 4 <= len(jobs) <= 8
    assert max(map(len, jobs)) <= 32
    assert idle(jobs, 2) < 0.2


@pytest.mark.parametrize(("runs", "workers"), [(32, 16), (64, 4), (100, 8), (7, 3), (100, 2)])
def test_any_number_of_workers_is_kept_busy(runs, workers):
    jobs = schedule([run(i, "a") for i in range(runs)], workers)
    assert len(jobs) >= min(runs, workers)
    assert idle(jobs, workers) < 0.25


def test_uneven_groups_keep_both_workers_busy():
    runs = [run(i, "a") for i in range(10)]
    runs += [run(10 + i, "b", parameters=200_000) for i in range(5)]
    runs += [run(20 + i, None) for i in range(3)]
    assert idle(schedule(runs, 2), 2) < 0.2


def test_large_models_have_few_members():
    jobs = schedule([run(i, "a", parameters=400_000) for i in range(12)], 1)
    assert {len(job) for job in jobs} == {1}


def test_a_few_runs_use_both_workers():
    assert len(schedule([run(i, "a") for i in range(3)], 2)) == 2
    assert len(schedule([run(0, "a")], 2)) == 1


def test_nothing_to_train_is_no_job():
    assert schedule([], 2) == []


def test_lengths_count():
    long = replace(run(0, "a"), facts={"parameters": 10, "updates": 9000, "epochs": 9})
    jobs = schedule([long, *(run(i, "a", parameters=10) for i in range(1, 9))], 2)
    assert any(long in job for job in jobs)


def test_a_member_that_kills_its_worker_takes_no_other_with_it(paribus, tmp_path):
    (tmp_path / "deadly.py").write_text(too_sure("os.kill(os.getpid(), signal.SIGKILL)"))
    text = SMALL.replace('{"name": "adam", "lr": 0.01}', '{"name": "sgd", "lr": 0.01}')
    (tmp_path / "small.py").write_text(f'{text}\nBASELINE["metrics"] = ["deadly.TooSure"]\n')
    words = ("sweep", "small.py", "optimizer.lr=1000.0", "--seeds", "2", "--workers", "1")
    done = paribus(*words, "--no-wandb", "--json", cwd=tmp_path)
    status = {setting["label"]: setting["status"] for setting in done.json["settings"]}
    assert status == {"baseline": "complete", "optimizer.lr=1000.0": "interrupted"}
    assert done.err.count("tried once more") == 4
    assert done.err.count("stopped: killed") == 2
