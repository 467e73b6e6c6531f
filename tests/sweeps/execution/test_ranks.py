"""Runs of several processes in sweeps: killed, counted, and gone afterwards."""

import json
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from processes import Started, children, is_alive, wait_until
from troubled import Troubled, hashes

from paribus.core.errors import RequestError
from paribus.sweeps.execution.gpus import Gpu
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

TWO = ("train.processes=2", "train.epochs=20")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, workplace):
    troubled = Troubled(tmp_path_factory.mktemp("undisturbed"), workplace)
    return troubled.sweep("optimizer.lr=0.1", overrides=TWO, seeds=[0])


def begun(troubled, workers=2):
    line = [
        "sweep",
        troubled.path,
        "optimizer.lr=0.1",
        "--set",
        TWO[0],
        "--set",
        TWO[1],
        "--seeds",
        "1",
    ]
    line += ["--no-wandb", "--root", troubled.root.path, "--study", "study", "--workers", workers]
    return Started([*line, "--checkpoint-every", "0"], cwd=troubled.folder)


def ranks_of(command):
    """The processes that the command's workers have started, once they train."""
    found = [rank for worker in command.workers() for rank in children(worker)]
    return [pid for pid in found if is_alive(pid) and b"forkserver" in cmdline(pid)]


def cmdline(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_killed_process_is_a_killed_run_which_is_tried_once_more(troubled, undisturbed):
    troubled.switch("slow")
    command = begun(troubled)
    wait_until(lambda: [*troubled.root.attempts.glob("*/last.1.pt")])
    (rank,) = ranks_of(command)  # two workers make room for one run of two processes
    os.kill(rank, signal.SIGKILL)
    troubled.switch("slow", on=False)
    code, _, err = command.end()
    assert code == 0, err
    assert "stopped (killed: process 1 of the run's 2 died (SIGKILL)." in err
    assert err.count("it is tried once more") == 1
    assert hashes(Study.load(troubled.root, "study")) == undisturbed.hashes
    assert not is_alive(rank)
    assert [*troubled.root.attempts.iterdir()] == []


@pytest.mark.parametrize("victim", ["driver", "worker"])
def test_they_end_with_the_worker_however_it_ends(troubled, victim):
    troubled.switch("slow")
    command = begun(troubled)
    wait_until(lambda: [*troubled.root.attempts.glob("*/last.1.pt")])
    ranks, workers = ranks_of(command), command.workers()
    assert ranks
    os.kill(command.process.pid if victim == "driver" else workers[0], signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, ranks)))
    command.kill()


def test_no_process_listens_beyond_loopback(troubled):
    troubled.switch("slow")
    command = begun(troubled)
    wait_until(lambda: [*troubled.root.attempts.glob("*/last.pt")])
    found = 0
    for pid in [*command.workers(), *ranks_of(command)]:
        mine = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
        for version in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{version}").read_text().splitlines()[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in mine and words[3] == "0A":  # listens
                    assert words[1].startswith(("0100007F", "0" * 24 + "01000000")), line
                    found += 1
    assert found
    command.kill()


def test_a_run_that_raises_in_another_process_fails_as_in_one(troubled):
    done = troubled.sweep("model.trouble=raise", overrides=TWO, seeds=[0])
    record = done.study.outcomes.record(done.study.find("model.trouble=raise").runs[0])
    assert record.status == "failed"
    assert record.reason.startswith("exception: ValueError: the net gave up (troubled.py, line ")


def test_runs_at_the_same_time_divide_the_cores(undisturbed):
    runs = undisturbed.sweep.distinct_runs()
    sizes = []
    for workers in (1, 2, 5, 8):
        pool = Pool(workers)
        pool.resize_for(runs)
        sizes.append(pool.size)
    assert sizes == [1, 1, 2, 2]


def test_on_gpus_a_run_takes_one_for_each_process(undisturbed):
    runs = [
        replace(run, configuration={**run.configuration, "device": "cuda"})
        for run in [*undisturbed.sweep.distinct_runs()] * 3
    ]
    with Pool(8, find=partial(list, [Gpu(str(number), "A100") for number in range(5)])) as pool:
        (line,) = pool.summary(runs)
        assert pool.size == 2  # of five GPUs, two for each
    assert line.startswith("GPU 0,1, 2,3 (A100): one run at a time")


def test_it_is_an_axis_and_shown(paribus, tmp_path):
    words = ("digits", "train.processes=2", "--set", "train.epochs=2", "--seeds", "1")
    done = paribus("sweep", *words, "--root", tmp_path, "--dry-run", "--json")
    assert done.code == 0, done
    _, level = json.loads(done.out)["settings"]
    assert level["changed"] == {"train.processes": [1, 2]}
    assert level["derived"]["engine"] == ["cohort", "loop"]
    assert not [*tmp_path.iterdir()]
    done = paribus("sweep", *words, "--root", tmp_path, "--no-wandb", "--json")
    assert done.code == 0, done
    root = ResultsDir(tmp_path)
    (one,) = [r for r in map(root.finished, root.run_ids()) if r.identity.get("collectives")]
    assert one.configuration["train"]["processes"] == 2
    done = paribus("reproduce", one.run, "--root", tmp_path, "--json")
    assert done.code == 0, done
    done = paribus("show", "digits", "train.processes=2", "--root", tmp_path)
    assert "processes=2" in done.out.replace(": ", "=")
    assert "it is trained with train.processes=2" in " ".join(done.out.split())


def test_more_processes_than_examples_are_refused_before_anything_is_made(troubled):
    with pytest.raises(RequestError, match=r"train.processes=43: an epoch's last batches have 41"):
        troubled.sweep("train.processes=43")
    assert not troubled.root.path.exists()
