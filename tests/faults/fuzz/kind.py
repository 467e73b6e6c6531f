"""What a kind of cases is, and what must hold after each case."""

import os
import re
import subprocess
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from processes import COMMAND, unpinned

BAD = re.compile(r"Traceback|Exception ignored|\.py:\d+: \w*Warning")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FUZZED = {}  # name of a kind: its class


class Kind:
    """Cases of a kind, and what is wrong after each.

    Attributes:
        cases: Draws a case.
        kept: Cases that have gone wrong; they are tried before all others.
        quick: How many more the quick form draws.
    """

    cases = st.none()
    kept = ()
    quick = 40
    counts = 1  # how many cases a draw is; 0: the kind counts itself
    draws = 1  # how many draws a case needs

    def __init_subclass__(cls):
        FUZZED[cls.__name__.lower()] = cls

    def __init__(self, place, paribus):
        self.place, self.paribus = place, paribus
        self.given = self.counted = 0
        # Where commands run, with the root in `results`: deep enough to see what climbs out of it.
        self.work = place / "1" / "2" / "3" / "work"
        self.work.mkdir(parents=True)
        (self.work / "evil.py").write_text(f"open({str(place / 'ran')!r}, 'w')")
        self.made = set()  # what commands may leave in `work`
        self.setup()
        self.before = self.files()

    def setup(self):
        """Make what cases break."""

    def wrong(self, case):
        """Return what is wrong after a case: sentences."""
        raise NotImplementedError

    def clean(self):
        """Put everything back after a case; where `plot` and `report` write, nothing is left."""
        for pattern in ("*.svg", "*.html", "*.png"):
            for path in self.work.glob(pattern):
                path.unlink()

    def call(self, *words, stdin="", env=None):
        """Give a command; return what is wrong with its end: sentences."""
        self.given += 1
        line = [str(word) for word in words]
        try:
            done = self.paribus(*line, cwd=self.work, stdin=stdin, env=env)
        except TimeoutError as error:
            return [str(error)]
        found = list(faults_of(line, done.code, done.out, done.err))
        if self.given % 1000 == 999:
            try:
                alone = subprocess.run(
                    [*COMMAND, *line], cwd=self.work, env=unpinned() | (env or {}), timeout=300,
                    input=stdin.encode(), capture_output=True,
                )  # fmt: skip
            except subprocess.TimeoutExpired as error:
                return [*found, f"alone: {error}"]
            texts = alone.stdout.decode(), alone.stderr.decode()
            found += [f"alone: {fault}" for fault in faults_of(line, alone.returncode, *texts)]
        return found

    def files(self):
        """Return all files outside the root, but what commands may leave."""
        found = set()
        for folder, folders, names in os.walk(self.place):
            folders[:] = [f for f in folders if f not in ("results", "__pycache__")]
            found |= {Path(folder, name) for name in (*folders, *names)}
        return found - self.made

    def tried(self, case):
        """Try a case; return what is wrong: sentences."""
        found = self.wrong(case)
        self.clean()
        if (self.place / "ran").exists():
            (self.place / "ran").unlink()
            found = [*found, "foreign code was executed"]
        if new := self.files() - self.before:
            self.before |= new
            found = [*found, f"created: {sorted(map(str, new))}"]
        return [f"{case!r}: {fault}" for fault in found]


def faults_of(line, code, out, err):
    """Yield what is wrong with how a command ended."""
    shown = f"{' '.join(line)[:200]!r}"
    if found := BAD.search(out + err):
        yield f"{shown} shows {found.group()}: {err[-1500:]}"
    elif code not in (0, 1, 2):
        yield f"{shown} ends with {code}: {err[-300:]}"
    elif code == 2 and not (re.search("^Error: ", err, re.M) or '{"error"' in out):
        yield f"{shown} is refused without a message: {out[-200:]} {err[-300:]}"
    elif code and not (err or out):
        yield f"{shown} ends with {code} and says nothing"
    elif found := CONTROL.search(out + err):
        yield f"{shown} shows {found.group()!r}: {(out + err)[-300:]!r}"


OWN = '''"""Which of three kinds is it?"""

import numpy as np
from torch import nn

def waves(n: int = 60):
    kind = np.arange(n) % 3
    features = np.sin(np.arange(n * 4.0) * 12.9898).reshape(n, 4) + 0.8 * kind[:, None]
    return features.astype("float32"), np.array(["a", "b", "c"])[kind]

class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int, width: int = 4, note: str = "plain"):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        return self.layers(x)

BASELINE = {"task": "multiclass", "data": waves, "model": Net, "loss": "cross_entropy",
            "optimizer": {"name": "adam", "lr": 0.01}, "train": {"epochs": 2, "batch_size": 16}}
AXES = {"optimizer.lr": [0.1]}
'''
MEANS = (
    OWN.replace('np.array(["a", "b", "c"])[kind]', 'kind.astype("float32")')
    .replace("num_classes", "out_features")
    .replace('"multiclass"', '"regression"')
    .replace('"cross_entropy"', '"mse"')
)
PARTS = {
    "task": "multiclass", "model": "linear", "loss": "cross_entropy", "optimizer": "sgd",
    "train": {"epochs": 1},
}  # fmt: skip
SWEEP = ("sweep", "own.py", "--seeds", "2", "--study", "study", "--workers", "1")


class WithStudy(Kind):
    """Kinds that need a study of two settings and two seeds, which is trained once."""

    own = OWN
    trained_study: ClassVar = {}  # path in the root: content

    def setup(self):
        (self.work / "own.py").write_text(self.own)
        self.root = self.work / "results"
        if not self.trained_study:
            done = self.paribus(*SWEEP, "--no-wandb", cwd=self.work)
            assert done.code == 0, done
            for path in self.root.rglob("*"):
                if path.is_file():
                    self.trained_study[path.relative_to(self.root)] = path.read_bytes()
        self.good = {self.root / path: content for path, content in self.trained_study.items()}
        (self.root / "attempts").mkdir(parents=True, exist_ok=True)
        self.clean()
        self.runs = sorted((self.root / "runs").iterdir())
        self.run = self.runs[0]

    def clean(self):
        super().clean()
        for path in [p for p in self.root.rglob("*") if p.is_file() and p not in self.good]:
            path.unlink()
        for path, content in self.good.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


del FUZZED["withstudy"]
