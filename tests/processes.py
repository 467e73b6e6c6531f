"""Processes of their own for tests, and whether they are still there."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

from paribus.core.runtime import PINNED, pinned_environment
from paribus.sweeps.execution.forkserver import ctrl_c_ignored

REPOSITORY = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from paribus.sweeps.cli.main import main; main()"]

# What workers of some tests import, each of them again if their server has not: 1 to 3 s.
PRELOADED = (
    "paribus.core.training.forkserver_preload",
    "paribus.sweeps.execution.planner",
    "paribus.sweeps.study.designs",
    "sklearn.datasets",
    "torchmetrics.classification",
)


def start_forkserver():
    """Starts the server that this process's workers are forked from, unless it has started."""
    with pinned_environment(), ctrl_c_ignored():
        multiprocessing.get_context("forkserver").set_forkserver_preload([*PRELOADED])
        forkserver.ensure_running()


def unpinned():
    """An environment without what pins a process, in which this repository is imported."""
    inherited = {k: v for k, v in os.environ.items() if k not in PINNED}
    return inherited | {"PYTHONPATH": str(REPOSITORY)}


class Started:
    """`paribus` as a terminal starts it: in a process group of its own, with nothing pinned."""

    def __init__(self, words, *, cwd, before=(), env=None):
        self.process = subprocess.Popen(
            [*before, *COMMAND, *map(str, words)],
            env=unpinned() | (env or {}),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A background job of a shell begins with Ctrl-C ignored, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def end(self):
        """Exit code, standard output, standard error."""
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err

    def workers(self):
        """The processes of the workers: what the forkserver forked."""
        return [pid for server in children(self.process.pid) for pid in children(server)]

    def kill(self):
        """Kills the driver, and waits until all it started has ended."""
        below = [pid for child in children(self.process.pid) for pid in [child, *children(child)]]
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)
        wait_until(lambda: not any(map(is_alive, below)))

    def kill_group(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)


def run_script(folder, text, **options):
    """A script as a user has it: nothing guards its lines."""
    script = folder / "script.py"
    script.write_text(text)
    words = [sys.executable, str(script)]
    return subprocess.run(
        words, cwd=folder, env=unpinned(), capture_output=True, text=True, check=True, **options
    )


def is_alive(pid):
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid):
    """The processes that a process has started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_until(true, seconds=60):
    """Waits for what must happen; how long it takes is no matter."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def pids(troubled):
    """The workers that have trained an epoch while the switch `slow` was on."""
    return [int(p.name.removeprefix("pid-")) for p in troubled.path.parent.glob("pid-*")]


def forget_pids(troubled):
    """The same, and from now on only those that train an epoch later count."""
    found = pids(troubled)
    for file in troubled.path.parent.glob("pid-*"):
        file.unlink()
    return found
