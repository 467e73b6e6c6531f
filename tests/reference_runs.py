"""Holds `identity.NUMERICS` to its promise: equal numbers, equal bits. The one command:

    python tests/reference_runs.py

Run it when tests/core/test_numerics.py fails, before you commit. It trains a few small runs twice
on this machine, with the sources as they are here and as they were at the last commit whose
tests/core/numerics.json is true, and compares every epoch's metrics, batch order and weights.

- All equal: the new digest is written to tests/core/numerics.json.
- Some differ: raise NUMERICS, and call it again; without that it exits with 1.
- Nothing to compare with (no git, or no such commit): it says so and exits with 2; where there is
  no tests/core/numerics.json either, it begins one.

A quarter of a minute. ``--print`` shows the hashes of the sources here, ``--digest`` what
tests/core/numerics.json has to say of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RECORDED, SCRIPT = "tests/core/numerics.json", "tests/reference_runs.py"

# Modules and folders of `core` that make no numbers: what they decide stands in a run's id
# by itself (configuration, environment, sources), or they only hand on, write or show what
# others made.
# Every other one counts, also one that is added later.
NO_NUMBERS = {
    "checks", "config/experiment", "config/schema", "config/signatures", "config/values", "errors",
    "fileio", "fingerprint", "inference", "records", "run_spec", "sources",
    "training/forkserver_preload", "training/job", "training/run_writer",
}  # fmt: skip

# Small on purpose: bits differ in the first step or, for what works once an epoch, in the second.
CPU = {"device": "cpu"}
EPOCHS = {"epochs": 3, "batch_size": 64}
SHARE = {"val_fraction": 0.15}  # one validation part, as sources from before folds have it
DIGITS = {"task": "multiclass", "data": "digits", "loss": "cross_entropy", "split": SHARE,
          "train": EPOCHS}  # fmt: skip
MLP = {"name": "mlp", "hidden_dim": 32, "dropout": 0.2}
RUNS: dict[str, dict[str, Any]] = {
    "dropout_adam": {**DIGITS, "model": MLP, "optimizer": {"name": "adam", "lr": 1e-3}},
    "deep_momentum_cosine": {
        **DIGITS,
        "model": {"name": "mlp", "hidden_dim": 32, "num_layers": 2, "activation": "tanh"},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
        "scheduler": "cosine",
    },
    "smoothing_adamw": {
        **DIGITS,
        "model": MLP,
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.1},
        "scheduler": {"name": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.01},
        "train": {"updates": 50, "batch_size": 32},
        "metrics": ["CohenKappa"],
    },
    "own_net_rmsprop": {
        **DIGITS,
        "model": "own_net_rmsprop.py:net",
        "optimizer": {"name": "rmsprop", "lr": 1e-3},
        "split": {"method": "random", "seed": 3, "val_fraction": 0.2, "test_fraction": 0.1},
    },
    "cnn": {
        "task": "multiclass",
        "data": "cnn.py:pictures",
        "split": SHARE,
        "model": {"name": "cnn", "channels": 8},
        "loss": "cross_entropy",
        "optimizer": {"name": "adam", "lr": 1e-2},
        "train": EPOCHS,
    },
    "items_drawn": {
        "task": "multiclass",
        "data": "items_drawn.py:Items",
        "split": SHARE,
        "model": "linear",
        "loss": "cross_entropy",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": EPOCHS,
    },
    "line": {
        "task": "regression",
        "data": "line.py:points",
        "model": "linear",
        "loss": "l1",
        "optimizer": {"name": "sgd", "lr": 0.01},
        "split": {"method": "in_order", "val_fraction": 0.1, "test_fraction": 0.1},
        "train": {"epochs": 3, "batch_size": 8},
    },
}

# Those that a cohort trains too.
COHORTS = ("dropout_adam", "deep_momentum_cosine", "smoothing_adamw", "line")

# The rest of each run's experiment file.
OBJECTS = '''
import numpy as np
import torch
from torch import nn


def points():
    x = np.arange(50, dtype=np.float32)[:, None] * np.float32(0.02)
    return x, 0.7 * x + 0.3


def pictures():
    rng = np.random.default_rng(0)
    return rng.random((200, 3, 8, 8), dtype=np.float32), np.arange(200) % 3


def net(in_features, num_classes):
    return nn.Sequential(
        nn.Linear(in_features, 48), nn.BatchNorm1d(48), nn.GELU(), nn.Dropout(0.3),
        nn.Linear(48, num_classes),
    )


class Items(torch.utils.data.Dataset):
    """Each reading draws noise of its own, as transforms do."""

    def __len__(self):
        return 120

    def __getitem__(self, row):
        return torch.full((4,), float(row % 3)) + torch.randn(4), row % 3
'''


def main() -> None:
    """Compares, or with an option only prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--print", action="store_true", help="show the hashes of these sources")
    parser.add_argument("--digest", action="store_true", help=f"show what {RECORDED} must hold")
    parser.add_argument("--tree", type=Path, default=REPOSITORY, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(options.tree))  # before any installed `core`
    if options.print:
        print(json.dumps(train_all(options.tree), indent=2))
    elif options.digest:
        print(json.dumps(recorded_of(options.tree), indent=2))
    else:
        sys.exit(compare())


def compare() -> int:
    """Trains before and after, says what differs, and writes the new digest if it may."""
    now = recorded_of(REPOSITORY)
    with earlier_tree() as (tree, commit):
        if tree is None:
            print(f"Nothing to compare with: {commit}", file=sys.stderr)
            if (REPOSITORY / RECORDED).exists():
                return 2
            _record(now)
            print(f"{RECORDED} begins with the sources as they are.")
            return 0
        then = json.loads((tree / RECORDED).read_text())
        print(f"Before: commit {commit[:12]}, NUMERICS {then['numerics']}.")
        before, after = _hashes(tree), _hashes(REPOSITORY)
    for name, failure in after["failed"].items():
        print(f"{name} cannot be trained now: {failure}", file=sys.stderr)
    if after["failed"]:
        return 1
    for name, failure in before["failed"].items():
        print(f"{name} could not be trained before ({failure}): it is not compared.")
    compared = {
        name: _first_difference(epochs, after["runs"].get(name))
        for name, epochs in before["runs"].items()
    }
    differing = {name: what for name, what in compared.items() if what is not None}
    for name, what in differing.items():
        print(f"{name} differs: {what}")
    if differing and now["numerics"] <= then["numerics"]:
        print(
            f"NUMERICS in core/fingerprint.py has to be raised above {then['numerics']}, for these "
            f"sources give other bits. Then: python {SCRIPT}",
            file=sys.stderr,
        )
        return 1
    if now["numerics"] < then["numerics"]:
        print(f"NUMERICS was {then['numerics']}: it never goes back.", file=sys.stderr)
        return 1
    _record(now)
    same = len(before["runs"]) - len(differing)
    print(
        f"{same} of {len(before['runs'])} runs equal; {RECORDED} holds NUMERICS {now['numerics']}."
    )
    return 0


def recorded_of(tree: Path) -> dict[str, Any]:
    """What `RECORDED` has to hold for these sources: the number, and one digest over all modules.

    Comments, docstrings and formatting do not count.
    """
    from paribus.core.fingerprint import NUMERICS
    from paribus.core.sources.import_closure import tree_digest

    digest = hashlib.sha256()
    for path in sorted((tree / "core").rglob("*.py")):
        module = path.relative_to(tree / "core").with_suffix("")
        if path.name != "__init__.py" and not NO_NUMBERS & {*map(str, [module, *module.parents])}:
            name = path.relative_to(tree).as_posix()
            digest.update(f"{name} {tree_digest(path.read_text())}\n".encode())
    return {"numerics": NUMERICS, "digest": digest.hexdigest()}


def train_all(tree: Path) -> dict[str, Any]:
    """Trains the reference runs with the sources of a tree, in this process.

    Uses of them only what stays: load_experiment, Resolver.specify, train_job and its lines.
    """
    import paribus.core
    from paribus.core.runtime import restart_pinned

    assert paribus.core.__file__
    assert Path(paribus.core.__file__).is_relative_to(tree), (
        f"{paribus.core.__file__} is not of {tree}"
    )
    restart_pinned()
    found: dict[str, Any] = {"core": paribus.core.__file__, "runs": {}, "failed": {}}
    with tempfile.TemporaryDirectory(prefix="paribus-reference-") as folder:
        for name, engine in [*((n, "loop") for n in RUNS), *((n, "cohort") for n in COHORTS)]:
            file = Path(folder) / f"{name}.py"
            asked = RUNS[name] | CPU
            file.write_text(f'"""A reference run."""\n{OBJECTS}\nBASELINE = {asked!r}\n')
            try:
                found["runs"][f"{name}, {engine}"] = _train(file, Path(folder), engine)
            except Exception as error:
                found["failed"][f"{name}, {engine}"] = f"{type(error).__name__}: {error}"
    return found


def _train(file: Path, folder: Path, engine: str) -> list[dict[str, Any]]:
    """The lines of a run's history, without the time it took."""
    from paribus.core.config.experiment import load_experiment
    from paribus.core.training.job import train_job
    from paribus.core.training.resolve import Resolver

    experiment = load_experiment(file)
    run = Resolver(experiment).specify(experiment.baseline, 1, engine)
    attempt = folder / run.id
    attempt.mkdir()
    lines, ended, reason = [], None, None
    for progress in train_job((run,), {run.id: attempt}, 3600.0):
        lines.append({k: v for k, v in (progress.line or {}).items() if k != "seconds"})
        ended, reason = progress.ended, progress.reason
    if ended != "complete":
        raise RuntimeError(f"it ended as {ended}: {reason}")
    return lines


@contextmanager
def earlier_tree() -> Iterator[tuple[Path | None, str]]:
    """The newest commit whose record fits its own sources, checked out, and its name.

    None and the reason where there is none. The checkout is removed at the end.
    """
    try:
        top = _git("rev-parse", "--show-toplevel")
        commits = _git("rev-list", "HEAD", "--", "core", RECORDED, SCRIPT).split()
    except (OSError, subprocess.CalledProcessError):
        top, commits = "", []
    if not commits or Path(top).resolve() != REPOSITORY:
        yield None, f"{REPOSITORY} is no git checkout with earlier commits."
        return
    with tempfile.TemporaryDirectory(prefix="paribus-before-") as folder:
        tree = Path(folder).resolve() / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commits[0])
        try:
            for commit in commits:
                _git("-C", str(tree), "checkout", "--quiet", "--detach", commit)
                if _fits(tree):
                    yield tree, commit
                    return
            yield None, f"no commit has a {RECORDED} that fits its sources."
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _fits(tree: Path) -> bool:
    """Whether a commit's record is true, by its own reckoning."""
    script, recorded = tree / SCRIPT, tree / RECORDED
    if not script.exists() or not recorded.exists():
        return False
    command = [sys.executable, str(script), "--digest"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree)
    return found.returncode == 0 and json.loads(found.stdout) == json.loads(recorded.read_text())


def _hashes(tree: Path) -> dict[str, Any]:
    """`train_all` in a process of its own, which sees nothing of this one's modules."""
    command = [sys.executable, str(tree / SCRIPT), "--print", "--tree", str(tree)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=tree)
    hashes: dict[str, Any] = json.loads(found.stdout)
    print(f"Trained {len(hashes['runs'])} runs with {hashes['core']}")
    return hashes


def _first_difference(
    before: list[dict[str, Any]], after: list[dict[str, Any]] | None
) -> str | None:
    """What differs first of what was recorded before; the lines may have more keys now."""
    for then, now in zip(before, after or [], strict=False):
        names = [name for name in then if then[name] != now.get(name)]
        if names:
            return f"{', '.join(names)} of epoch {then['epoch']}"
    now_epochs = len(after or [])
    return None if len(before) == now_epochs else f"{len(before)} epochs before, {now_epochs} now"


def _record(content: dict[str, Any]) -> None:
    (REPOSITORY / RECORDED).write_text(json.dumps(content, indent=2) + "\n")


def _git(*arguments: str) -> str:
    # Inside a hook git sets variables that would send these commands to the wrong place.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(REPOSITORY), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
