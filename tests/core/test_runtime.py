"""A process that trains is pinned before torch starts; reading and planning need no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paribus.core.runtime import PINNED, is_pinned, pinned_environment

REPOSITORY = str(Path(__file__).resolve().parents[2])


def python(program, *arguments, **variables):
    """What a program prints, in a process that has none of the pinned variables but these."""
    environment = {k: v for k, v in os.environ.items() if k not in PINNED}
    environment |= {"PYTHONPATH": REPOSITORY, **variables}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


RESTART = """
import json, os, sys
from paribus.core.runtime import is_pinned, restart_pinned
before = is_pinned()
restart_pinned()
print(json.dumps([before, is_pinned(), os.getpid(), sys.argv[1:], sys.flags.hash_randomization]))
"""


def test_restarting_pins_the_process():
    before, after, _, arguments, randomised = python(RESTART, "a b", "--x=1")
    assert after
    assert before  # this is the second life, which began pinned
    assert arguments == ["a b", "--x=1"]
    assert not randomised


def test_without_the_restart_it_is_not_pinned():
    program = (
        "import json; from paribus.core.runtime import is_pinned; print(json.dumps(is_pinned()))"
    )
    assert python(program) is False
    assert python(program, **PINNED) is True
    for name in PINNED:
        assert python(program, **(PINNED | {name: "7"})) is False, name


def test_a_process_restarts_once_at_most():
    before, after, *_ = python(RESTART, PARIBUS_RESTARTED="1")
    assert (before, after) == (False, False)


def test_a_pinned_process_does_not_restart():
    program = RESTART.replace("restart_pinned()\n", "os.execve = None\nrestart_pinned()\n")
    assert python(program, **PINNED)[:2] == [True, True]


def test_variables_for_children_are_restored(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_CBWR", raising=False)
    before = dict(os.environ)
    with pinned_environment():
        assert PINNED.items() <= os.environ.items()
    assert dict(os.environ) == before
    with pytest.raises(KeyError), pinned_environment():
        raise KeyError
    assert dict(os.environ) == before
    assert is_pinned() is False


SETTLED = """
import json, torch
from paribus.core.runtime import settle
torch.set_default_dtype(torch.float64)
print(json.dumps([settle(), str(torch.get_default_dtype()), torch.get_num_threads()]))
"""


def test_settling_says_what_mode_it_really_is():
    mode, dtype, threads = python(SETTLED, **PINNED)
    assert mode == {"threads": 1, "pinned": True, "aligned": mode["aligned"]}
    assert (dtype, threads) == ("torch.float32", 1)
    unpinned, _, threads = python(SETTLED, OMP_NUM_THREADS="2")
    assert (unpinned["pinned"], unpinned["threads"], threads) == (False, 1, 1)


LIGHT = [
    "paribus.core.config.schema",
    "paribus.core.config.registry",
    "paribus.core.config.experiment",
    "paribus.core.records.run_dir",
    "paribus.core.run_spec",
]


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["paribus.core.runtime"], ["torch", "numpy"]),
        ([*LIGHT, "paribus.core.fileio", "paribus.core.config.values"], ["torch"]),
    ],
)
def test_reading_and_planning_import_no_torch(modules, absent):
    program = (
        f"import json, sys, {', '.join(modules)}\n"
        f"print(json.dumps([name for name in {absent!r} if name in sys.modules]))"
    )
    assert python(program) == []


STEPS = """
import json, sys, torch
from paribus.core.config.registry import NAMES
from paribus.core.components.optim import skip_compiler_import

skip_compiler_import()

stepped = []
for path in NAMES["optimizer"].values():
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = getattr(torch.optim, path.rpartition(".")[2])([parameter])

    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        if "Sparse" in path:
            parameter.grad = parameter.grad.to_sparse()
        return loss

    optimizer.step(closure)
    stepped.append(bool((parameter < 1).all()))
print(json.dumps([all(stepped), "torch._dynamo" in sys.modules]))
"""


def test_no_step_of_an_optimizer_imports_torch_s_compiler():
    """It takes two seconds, in every process that trains."""
    assert python(STEPS) == [True, False]


IMPORTS = """
import gc, importlib, json, pkgutil, signal, sys, warnings
import numpy, torch
import paribus.core, paribus.sweeps, paribus.experiments

def state():
    kinds = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    return [
        [[id(vars(kind)[name]) for name in sorted(vars(kind)) if callable(vars(kind)[name])]
         for kind in kinds],
        gc.isenabled(), torch.get_num_threads(), str(torch.get_default_dtype()),
        torch.initial_seed(), numpy.random.get_state()[1].tolist(),
        str(signal.getsignal(signal.SIGINT)), "torch._dynamo" in sys.modules,
        [name for name in vars(torch.optim.Optimizer.zero_grad.__wrapped__) if "dynamo" in name],
    ]

warnings.simplefilter("ignore")
before, count = state(), 0
for package in (paribus.core, paribus.sweeps, paribus.experiments):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        count += 1
print(json.dumps([before == state(), count]))
"""


def test_importing_every_module_changes_nothing_in_the_process():
    unchanged, modules = python(IMPORTS)
    assert unchanged
    assert modules > 100


WORKER = """
import json
from paribus.sweeps.execution.pool import Pool

if __name__ == "__main__":
    import torch
    pool = Pool(1)
    there = pool.call(eval, "(__import__('torch').optim.Adam.step.__code__.co_name, "
                            "'paribus.core.training.job' in __import__('sys').modules)")
    pool.close()
    print(json.dumps([there, torch.optim.Adam.step.__code__.co_name]))
"""


def test_a_worker_skips_the_compiler_and_its_driver_is_left_alone():
    there, here = python(WORKER)
    assert there == ["eager", True]
    assert here == "_use_grad"
