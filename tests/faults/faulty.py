"""Sweeps in processes of their own, and what must hold of a root whatever happened to it."""

import os
import signal
import subprocess
import sys

from processes import children, is_alive, unpinned, wait_until

from core.errors import DamagedError
from core.files import verify_manifest
from core.run_folder import RunFolder
from sweeps.study import Study

LR = "optimizer.lr=0.1"
EPOCHS = 20
LONG = (f"train.epochs={EPOCHS}",)
COMMAND = [sys.executable, "-c", "from sweeps.cli.start import main; main()"]
RUNS = 4  # two settings, two seeds


class Sweeping:
    """`paribus sweep` of the troubled experiment, in a process group of its own."""

    def __init__(self, troubled, *words, before=(), every="0", root=None, env=None, wandb=False):
        root = root or troubled.root.path
        sweep = ["sweep", str(troubled.path), LR, "--set", *LONG, "--seeds", "2"]
        sweep += ["--study", "study", "--root", str(root), "--workers", "2"]
        sweep += ["--checkpoint-every", every, *([] if wandb else ["--no-wandb"])]
        self.process = subprocess.Popen(
            [*before, *COMMAND, *sweep, *words],
            env=unpinned() | (env or {}),
            cwd=troubled.folder,
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


def finish(begin, tries=6):
    """Runs the same command until it is done; it must get there."""
    for _ in range(tries):
        code, _, err = begin().end()
        if code == 0:
            return []
    return [f"still exit code {code} after {tries} tries: {err}"]


def broken(root, reference, workplace=None):
    """What does not hold of a root whose study is done: a sentence for each violation."""
    found = []
    study = Study.load(root, "study")
    planned = {(s.label, seed): run for s in study.settings for seed, run in s.runs.items()}
    if planned.keys() != reference.keys():
        found.append(f"planned are {sorted(planned)}")
    for place, run in planned.items():
        folder = root.runs / run
        try:
            verify_manifest(folder)
            record = RunFolder(folder).record()
        except DamagedError as error:
            found.append(str(error))
            continue
        epochs = [line["epoch"] for line in RunFolder(folder).history()]
        if record["status"] != "complete" or epochs != [*range(1, EPOCHS + 1)]:
            found.append(f"{run} ended {record['status']} with the epochs {epochs}")
        if record["weights_sha256"] != reference.get(place):
            found.append(f"{run} has other weights")
        if workplace is not None:
            from core.evaluate import evaluate_run

            if differs := workplace.plan(evaluate_run, folder, "val").differs:
                found.append(f"{run} is evaluated otherwise: {differs}")
    found += [f"{p} is left" for p in root.path.rglob("*.tmp")]
    found += [f"{p} is left" for p in root.attempts.iterdir()]
    if sorted(root.run_ids()) != sorted(planned.values()):
        found.append("there are runs that nobody planned")
    return found
