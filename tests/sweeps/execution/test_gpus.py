"""GPUs that a list says are there: which workers see which, and how many runs each trains."""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from commands import refused
from processes import pids
from troubled import Troubled, planned_runs, tasks_of

from paribus.core.errors import RequestError
from paribus.sweeps.execution.gpus import Gpu, GpuOptions, choose_gpus
from paribus.sweeps.execution.pool import Pool
from paribus.sweeps.study.request import Request

TWO = (Gpu("0", "A100"), Gpu("1", "A100"))
MIXED = (Gpu("0", "T4"), Gpu("1", "A100"), Gpu("2", "A100"))


def visible(pid):
    """What a process was started with: torch shows it no other GPU."""
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(word.decode().partition("=")[::2] for word in words)["CUDA_VISIBLE_DEVICES"]


@pytest.fixture
def trained(tmp_path):
    """Trains runs as if each were for a GPU: their events, and the GPU of each worker."""

    def train(gpus, found, count, alone=()):
        troubled = Troubled(tmp_path, None)
        with Pool(8, gpus, partial(list, found)) as pool:
            pool.start()
            pool.prepare()
            runs = [*planned_runs(pool, Request(troubled.path), range(count)).values()]
            pool.resize_for([replace(r, configuration={"device": "cuda"}) for r in runs])
            troubled.switch("slow")
            tasks = [
                task._replace(alone=number in alone)
                for number, task in enumerate(tasks_of(runs, tmp_path / "attempts"))
            ]
            events, seen = [], {}
            for event in pool.execute(tasks, lambda: False):
                events.append((runs.index(next(r for r in runs if r.id == event.run)), event))
                seen |= {pid: visible(pid) for pid in pids(troubled) if pid not in seen}
            return pool.size, events, Counter(seen.values())

    return train


def test_each_worker_has_a_gpu_of_its_own(trained):
    size, events, gpus = trained(GpuOptions(), TWO, 3)
    assert (size, gpus) == (2, {"0": 1, "1": 1})
    assert [e.ended for _, e in events if e.ended] == ["complete"] * 3


def test_several_runs_share_a_gpu(trained):
    size, _, gpus = trained(GpuOptions("2", 2), (*MIXED[1:], Gpu("7", "A100")), 3)
    assert (size, gpus) == (2, {"7": 2})


def test_what_needs_its_gpu_alone_waits_and_is_waited_for(trained):
    _, events, _ = trained(GpuOptions("0", 2), TWO, 4, alone=[1])
    order = [number for number, _ in events]
    own = [at for at, number in enumerate(order) if number == 1]
    assert order[own[0] : own[-1] + 1] == [1] * 3  # no other trains beside it
    assert set(order[: own[0]]) == {0}


@pytest.mark.parametrize(("wanted", "names"), [
    (None, ["1", "2"]), ("none", []), ("0", ["0"]), ("2,1", ["2", "1"]),
])  # fmt: skip
def test_which_gpus_train(wanted, names):
    assert [gpu.name for gpu in choose_gpus(MIXED, wanted)] == names


def test_two_kinds_are_not_one_class():
    for wanted in ("all", "0,1"):
        with pytest.raises(RequestError, match=r"different kinds \(0: T4; 1: A100"):
            choose_gpus(MIXED, wanted)


def test_gpus_that_are_not_there_are_refused_before_anything_is_created(paribus, tmp_path):
    lines = {
        ("--gpus", "0,5"): "--gpus 0,5: this machine has no GPU 0 (it has none).",
        ("--gpus", "all"): "--gpus all: this machine has no GPU.",
        ("--gpus", "1,1"): "--gpus 1,1: must be all, none, or different numbers of GPUs",
        ("--per-gpu", "0"): "--per-gpu 0: must be a whole number from 1 to 64.",
    }
    root = tmp_path / "r"
    for words, line in lines.items():
        refused(paribus("sweep", "digits", "optimizer.lr=0.1", *words, "--root", root), root, line)
    with pytest.raises(RequestError, match=re.escape("its 3 GPUs: 0 to 2")):
        choose_gpus(MIXED, "3")


def test_no_gpu_is_shown_where_none_is_wanted():
    with Pool(1, GpuOptions("none")) as pool:
        pool.start()
        pool.prepare()
        assert pool.call(_shown) == ""


def _shown():
    import os

    return os.environ["CUDA_VISIBLE_DEVICES"]
