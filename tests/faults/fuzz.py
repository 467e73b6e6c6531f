"""Hostile and broken input, kind by kind: `python tests/faults/fuzz.py KIND --cases 10000`.

A case is plain data: what is broken how, and the command that then reads it. The commands are the
real ones, in a warm process (`Commands`); each 1 000th is given to a process of its own, too. Of
every case the same must hold: exit code 0, 1 or 2, where it is not 0 a message, no traceback,
nothing that moves a cursor, nothing created where nothing belongs, nothing executed.
"""

import argparse
import io
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from commands import Commands
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from manifest import write_manifest
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
            alone = subprocess.run(
                [*COMMAND, *line], cwd=self.work, env=unpinned() | (env or {}), timeout=300,
                input=stdin.encode(), capture_output=True,
            )  # fmt: skip
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


# What is drawn: texts, values, breaks of bytes and of JSON.

TEXTS = st.one_of(
    st.sampled_from([
        "", " ", "x", "é", "a\0b", "\x1b[31mred", "\u202eevil", "[red]b[/red]", "[/]", "../x",
        "/etc/passwd", "~", "~root", "x" * 5000, "<script>alert(1)</script>", "'; DROP TABLE a; --",
        "os.system", "evil", "evil.Net", "evil.py:Net", "subprocess.run", "builtins.exec", "%s{0}",
        "nan", "inf", "-1e999", "1e400", "1_000", "١٢", "0x10", "null", "true", "\r\n", "a,b", '"',
        "=", "==", "--help", "-", "*", "${HOME}", "$(touch ran)", "`id`", "\ud800", "\ufeff", "🔥",
        "baseline", "val/accuracy", "line", "torch.nn.Linear", "line.py", "line.py:x", "\t",
    ]),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(repr),
)  # fmt: skip
TYPED = TEXTS.map(lambda text: text.replace("\0", "\\0").encode("utf-8", "replace").decode())
NUMBERS = st.sampled_from([
    0, 1, -1, 2, 5, 2**63, -(10**30), 10**400, 0.5, -0.5, 1e308, 1e-320, float("nan"), float("inf")
])  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
BYTES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "insert", "delete", "repeat"]),
        st.floats(0, 1),
        st.one_of(st.binary(max_size=4), TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass"))),
    ),
    min_size=1,
    max_size=3,
)
TREES = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from(["set", "set", "drop", "key"]), VALUES),
    min_size=1,
    max_size=3,
)


def broken_bytes(content, breaks):
    """Apply breaks of `BYTES` to the content of a file."""
    for how, share, new in breaks:
        at = int(share * len(content))
        if how == "cut":
            content = content[:at]
        elif how == "insert":
            content = content[:at] + new + content[at:]
        elif how == "delete":
            content = content[:at] + content[at + 1 + len(new) :]
        elif how == "repeat":
            content = content[:at] + content[at // 2 :]
        elif content[at:]:
            content = content[:at] + bytes([content[at] ^ 1 << len(new) % 8]) + content[at + 1 :]
    return content


def broken_tree(tree, breaks):
    """Apply breaks of `TREES` to parsed JSON, a copy of which is returned."""
    tree = json.loads(json.dumps(tree))
    for number, how, value in breaks:
        places = list(walked(tree))
        if not places:
            return value
        owner, key = places[number % len(places)]
        if how == "set":
            owner[key] = value
        elif how == "drop":
            del owner[key]
        elif isinstance(owner, dict):
            owner[str(value)] = owner.pop(key)
    return tree


def walked(tree):
    """Yield (owner, key) of every place in a tree, the outermost first."""
    level = [tree]
    while level:
        inner = []
        for owner in level:
            pairs = owner.items() if isinstance(owner, dict) else enumerate(owner)
            for key, value in list(pairs):
                yield owner, key
                if isinstance(value, dict | list):
                    inner.append(value)
        level = inner


def joined(lists):
    return [one for each in lists for one in each]


def as_json(tree):
    return json.dumps(tree, ensure_ascii=True).encode()  # with NaN, as others write it


# The kinds.

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
        self.restore()
        self.runs = sorted((self.root / "runs").iterdir())
        self.run = self.runs[0]

    def restore(self):
        for path in [p for p in self.root.rglob("*") if p.is_file() and p not in self.good]:
            path.unlink()
        for path, content in self.good.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


del FUZZED["withstudy"]


def _options():
    """Every command with its options; what trains for long is left out."""
    from paribus.sweeps.cli.app import app

    return {
        name: [
            (option.opts[0], not (option.is_flag or option.count))
            for option in command.params
            if option.param_type_name == "option" and "--output" not in option.opts
        ]
        for name, command in app.commands.items()
        if name not in ("run", "check", "doctor")
    }


class Lines(WithStudy):
    """Command lines: any command, any words, any of its options, some that are none."""

    kept = (
        ["runs", "--root", "1" * 5000],
        ["studies", "--root", "/".join(["x" * 200] * 20)],
        ["runs", "a\x7f\x9b31mb\u202e", "x", "--json"],
        ["list", "a\udcff", "--json"],
    )

    quick = 50
    KEYS = st.one_of(
        st.sampled_from([
            "optimizer.lr", "lr", "model", "model.hidden_dim", "train.epochs", "train.batch_size",
            "data", "loss", "split.seed", "split.val_fraction", "task", "nonsense", "a.b.c.d", "",
            "metrics", "select.metric", "optimizer.lr.lr", "device", "*", "augment", "scheduler",
            "standardize", "train.start_from", "train.only", "data.root", "model.name", "optimizer",
        ]),
        TYPED,
    )  # fmt: skip
    LEVELS = st.one_of(
        TYPED,
        st.sampled_from([
            "1:2", "1:2:3", "1:2:log", "0:1:log:4", "2:1", "1:1", "nan:1", "1e-4:1e999:log", ":",
            "1,2,,3", "1,1", "os.system(command=ls)", "torch.nn.Linear", "adam(lr=1)", "mlp(",
            "{a: 1}", "{", "[" * 300, "{a: " * 100, "&a [*a]", "mlp()",
            "!!python/object/apply:os.system [ls]",
            "==", "1:2:100000000", "0:1e-320", "9" * 400, "1" * 5000, "(" * 200,
        ]),
    )  # fmt: skip
    PAIRS = st.tuples(KEYS, LEVELS).map("=".join)
    SUBJECTS = st.one_of(
        st.sampled_from([
            "line", "digits", "own.py", "study", "study/baseline-s0", "study/baseline-s9", "own-s0",
            "study/", "own", "evil", ".", "..", "/", "results", "results/runs",
        ]),
        TYPED,
    )  # fmt: skip

    @property
    def cases(self):
        options = _options()

        def words(name):
            given = st.sampled_from([*options[name], ("--nonsense", True), ("--json", False)])
            one = st.tuples(given, self.LEVELS).map(
                lambda pair: [pair[0][0], pair[1]] if pair[0][1] else [pair[0][0]]
            )
            return st.tuples(
                st.just([name]),
                st.lists(self.SUBJECTS, max_size=2),
                st.lists(self.PAIRS, max_size=3),
                st.lists(one, max_size=2).map(joined),
            ).map(joined)

        known = st.sampled_from(sorted(options)).flatmap(words)
        return st.one_of(known, known, known, st.lists(TYPED, max_size=3))

    def wrong(self, case):
        line = list(case)
        if line[:1] in (["sweep"], ["run"]):
            line = ["sweep", *line[1:], "--dry-run"]
        found = self.call(*line)
        if line[:1] == ["new"]:
            for path in self.work.glob("*.py"):
                if path.name not in ("own.py", "evil.py"):
                    path.unlink()
        for pattern in ("*.svg", "*.html", "*.png"):  # where `plot` and `report` write
            for path in self.work.glob(pattern):
                path.unlink()
        if line[:1] == ["remove"]:
            self.restore()
        return found


class Configurations(Kind):
    """Configuration values: typed, and those of an experiment's file."""

    quick = 30
    SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
    COMPONENTS = st.one_of(
        TEXTS,
        st.sampled_from(["mlp", "adam", "cross_entropy", "digits", "linear", "sgd", "multiclass"]),
        st.dictionaries(
            st.sampled_from(["name", "lr", "hidden_dim", "num_layers", "activation", "path", "x"]),
            st.one_of(SCALARS, VALUES),
        ),
        VALUES,
    )
    GROUPS = st.dictionaries(
        st.sampled_from([
            "epochs", "updates", "batch_size", "patience", "only", "start_from", "clip_grad_norm",
            "seed", "val_fraction", "test_fraction", "method", "metric", "direction",
            "eval_batch_size",
        ]),
        st.one_of(SCALARS, VALUES),
        max_size=3,
    )  # fmt: skip
    cases = st.tuples(
        st.lists(
            st.one_of(
                st.tuples(
                    st.sampled_from(["task", "data", "model", "loss", "optimizer", "scheduler"]),
                    COMPONENTS,
                ),
                st.tuples(st.sampled_from(["train", "split", "select"]), GROUPS),
                st.tuples(
                    st.sampled_from(["metrics", "augment", "standardize", "device", "script", "x"]),
                    VALUES,
                ),
                st.tuples(TEXTS, VALUES),
            ),
            max_size=3,
        ),
        st.dictionaries(Lines.KEYS, VALUES, max_size=2),
        st.one_of(st.none(), TEXTS),
        st.sampled_from(["show", "show", "sweep"]),
    )

    def wrong(self, case):
        changes, axes, question, command = case
        baseline = {**PARTS, "data": "digits", **dict(changes)}
        text = (
            f"'''{question}'''\n" if question and question.isidentifier() else ""
        ) + f"nan, inf = float('nan'), float('inf')\nBASELINE = {baseline!r}\nAXES = {axes!r}\n"
        (self.work / "own.py").write_bytes(text.encode("utf-8", "backslashreplace"))
        self.made.add(self.work / "own.py")
        return self.call(command, "own.py", *(["--dry-run"] if command == "sweep" else []))


def _table():
    rows = [f"{i / 7:.3f},{i % 5},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(40)]
    return "\n".join(["size,count,colour,kind", *rows, ""]).encode()


CELLS = st.one_of(
    TEXTS, st.sampled_from(["1", "2.5", "", "NA", "red", "0", "1e309", "-inf", "1,5"])
)


@st.composite
def grids(draw, header, most=8):
    """Rows of cells that are nearly those of a table, as CSV; not quoted as they should be."""
    names = draw(st.lists(st.one_of(st.sampled_from(header), CELLS), min_size=0, max_size=5))
    rows = draw(st.lists(st.lists(CELLS, max_size=5), max_size=most))
    copies = draw(st.sampled_from([1, 1, 4, 12]))
    separator = draw(st.sampled_from([",", ",", "\t", ";"]))
    return "\n".join(separator.join(row) for row in [names, *rows * copies]).encode(
        "utf-8", "surrogatepass"
    )


class Tables(WithStudy):
    """CSV and TSV files: data of an experiment, inputs of a run."""

    quick = 25
    cases = st.tuples(
        st.one_of(BYTES, grids(["size", "count", "colour", "kind"])),
        st.sampled_from(["t.csv", "t.csv", "t.tsv", "t.txt"]),
        st.sampled_from(["new", "new", "sweep", "predict"]),
        st.sampled_from([(), ("data.missing=drop",), ("data.missing=mean",)]),
    )

    def setup(self):
        super().setup()
        (self.work / "t.csv").write_bytes(_table())
        data = {"name": "table", "path": "t.csv", "target": "kind"}
        experiment = {**PARTS, "data": data}
        (self.work / "table.py").write_text(f"BASELINE = {experiment!r}\n")
        done = self.paribus("run", "table.py", "--no-wandb", "--json", cwd=self.work)
        self.trained = done.json["run"]
        self.made |= {self.work / n for n in ("t.csv", "t.tsv", "t.txt", "x.py")}

    def wrong(self, case):
        content, name, command, options = case
        content = broken_bytes(_table(), content) if isinstance(content, list) else content
        (self.work / name).write_bytes(content)
        if command == "predict":
            return self.call("predict", self.trained, name)
        if command == "sweep":
            return self.call("sweep", "table.py", "--set", f"data.path={name}", "--dry-run",
                             *[word for o in options for word in ("--set", o)])  # fmt: skip
        found = self.call("new", "x", "--data", name, "--target", "kind", *options)
        (self.work / "x.py").unlink(missing_ok=True)
        return found


def _results():
    rows = [f"{label},{s},{0.9 + s / 50 + len(label) / 99}" for label in ("baseline", "lr=0.1", "b")
            for s in range(4)]  # fmt: skip
    return "\n".join(["setting,seed,value", *rows, ""]).encode()


@st.composite
def results_files(draw):
    """Files of results that are well formed, with any labels, seeds and values."""
    labels = ["baseline", *draw(st.lists(TEXTS, max_size=4))]
    seeds = draw(st.lists(TEXTS, min_size=1, max_size=6, unique=True))
    values = st.one_of(st.floats().map(repr), CELLS, st.floats(0, 1).map(repr))
    import csv

    file = io.StringIO()
    rows = [(label, each, draw(values)) for label in labels for each in seeds]
    csv.writer(file).writerows([("setting", "seed", "value"), *rows])
    return file.getvalue().encode("utf-8", "surrogatepass")


class Results(Kind):
    """`compare RESULTS.csv`."""

    quick = 50
    cases = st.tuples(
        st.one_of(BYTES, grids(["setting", "seed", "value"]), results_files()),
        st.lists(
            st.one_of(
                st.tuples(st.just("--margin"), st.one_of(TYPED, st.floats(0, 1).map(str))),
                st.tuples(st.just("--direction"), st.sampled_from(["maximize", "minimize", "x"])),
                st.tuples(
                    st.just("--format"), st.sampled_from(["table", "markdown", "latex", "csv"])
                ),
                st.sampled_from([("--verbose",), ("--json",), ("--plain",), ("--metric", "x")]),
            ),
            max_size=2,
        ),
    )

    def wrong(self, case):
        content, options = case
        content = broken_bytes(_results(), content) if isinstance(content, list) else content
        file = self.work / "r.csv"
        file.write_bytes(content)
        self.made.add(file)
        return self.call("compare", "r.csv", *[word for option in options for word in option])


def _picture(form, number=3):
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).rotate(number * 20).save(file, form)
    return file.getvalue()


class Images(Kind):
    """Files and folders of images: data of an experiment, inputs of a run."""

    quick = 20
    FORMS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
    cases = st.tuples(
        st.sampled_from(FORMS),
        BYTES,
        st.sampled_from(["png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "PNG", "txt"]),
        st.sampled_from(["new", "predict", "sweep"]),
        st.one_of(
            st.just("a"), st.just("train/a"), st.just("val"), st.sampled_from(["é", "..a", " "])
        ),
    )

    kept = (("TIFF", [("repeat", 0.236, b"\xe6A\x90")], "png", "new", "val"),)

    def setup(self):
        self.pictures = {form: _picture(form) for form in self.FORMS}
        for label in "ab":
            for number in range(8):
                path = self.work / "all" / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_picture("PNG", number + (label == "b") * 9))
        experiment = {**PARTS, "data": {"name": "images", "root": "all", "channels": 1}}
        (self.work / "pictures.py").write_text(f"BASELINE = {experiment!r}\n")
        done = self.paribus("run", "pictures.py", "--no-wandb", "--json", cwd=self.work)
        self.trained = done.json["run"]

    def wrong(self, case):
        form, breaks, suffix, command, folder = case
        file = self.work / "all" / folder / f"odd.{suffix}"
        new = [p for p in file.parents if not p.exists()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(broken_bytes(self.pictures[form], breaks))
        try:
            if command == "predict":
                return self.call("predict", self.trained, file.relative_to(self.work))
            if command == "sweep":
                return self.call("sweep", "pictures.py", "--dry-run")
            return self.call("new", "x", "--data", "all")
        finally:
            (self.work / "x.py").unlink(missing_ok=True)
            file.unlink()
            for path in new:
                path.rmdir()


class Records(WithStudy):
    """Files of a finished run: forged with their sha256, or broken."""

    quick = 35
    cases = st.tuples(
        st.one_of(
            st.tuples(st.sampled_from(["run.json", "manifest.json"]), TREES),
            st.tuples(st.just("run.json"), TREES),
            st.tuples(st.just("history.jsonl"), st.tuples(st.integers(0, 1), TREES)),
            st.tuples(
                st.sampled_from(["run.json", "manifest.json", "history.jsonl", "source/own.py"]),
                BYTES,
            ),
        ),
        st.booleans(),  # whether the sha256 is written anew
        st.sampled_from([
            "runs", "runs study", "studies", "show RUN", "compare study", "compare RUN OTHER",
            "evaluate RUN", "predict RUN 1,2,3,4", "sweep RUN optimizer.lr=0.1 --dry-run",
            "evaluate study --split test", "compare study --verbose", "compare study --json",
            "plot RUN", "report RUN", "plot study", "remove RUN --yes",
        ]),
    )  # fmt: skip

    def setup(self):
        super().setup()
        record = json.loads(self.good[self.run / "run.json"])
        at = [(owner is record["identity"], key) for owner, key in walked(record)]
        self.kept = [  # each part of its identity is missing, or is something else
            (("run.json", [(at.index((True, key)), *how)]), True, command)
            for key in record["identity"]
            for how in (("drop", None), ("set", 5))
            for command in ("compare study", "evaluate RUN")
        ]

    def wrong(self, case):
        (name, breaks), forged, command = case
        file = self.run / name
        content = file.read_bytes()
        if name == "history.jsonl" and isinstance(breaks, tuple):
            lines = content.splitlines()
            lines[breaks[0]] = as_json(broken_tree(json.loads(lines[breaks[0]]), breaks[1]))
            content = b"\n".join([*lines, b""])
        elif isinstance(breaks[0][0], str):
            content = broken_bytes(content, breaks)
        else:
            content = as_json(broken_tree(json.loads(content), breaks)) + b"\n"
        file.write_bytes(content)
        if forged and name != "manifest.json":
            write_manifest(self.run)
        line = [
            {"RUN": self.run.name, "OTHER": self.runs[-1].name}.get(word, word)
            for word in command.split()
        ]
        found = self.call(*line)
        for file in self.work.glob(f"{self.run.name}*"):  # the page and the plot of a run
            file.unlink()
        for file in self.work.glob("*.svg"):
            file.unlink()
        self.restore()
        return found


class Studies(WithStudy):
    """Files of the root: study.json with its sha256, readings, the ledger of W&B, the root's id."""

    quick = 25
    cases = st.tuples(
        st.one_of(
            st.tuples(st.just("studies/study/study.json"), TREES),
            st.tuples(
                st.sampled_from([
                    "studies/study/study.json", "readings.jsonl", "tracked.jsonl", "root.json"
                ]),
                BYTES,
            ),
            st.tuples(st.sampled_from(["readings.jsonl", "tracked.jsonl", "root.json"]), TREES),
        ),
        st.sampled_from([
            "runs", "runs study", "studies", "show study/baseline-s0", "compare study", "compare",
            "sweep study/baseline-s0 optimizer.lr=0.1 --dry-run", "evaluate study --split test",
            "compare study --verbose", "compare study --json", "plot study", "remove study --yes",
            "sync", "sync study", "evaluate study/baseline-s0 --split test", "SWEEP",
            "SWEEP --dry-run", "compare study --format latex", "report study",
        ]),
    )  # fmt: skip

    kept = (
        (("root.json", [(1, "drop", None)]), "SWEEP"),
        (("root.json", [(1, "set", 5)]), "sync"),
        (("readings.jsonl", [(3, "set", {})]), "evaluate study --split test"),
        (("readings.jsonl", [(n, "set", [[], {}]) for n in range(9)]), "compare study --verbose"),
    )

    def setup(self):
        from paribus.sweeps.tracking.wandb_layout import run_id

        super().setup()
        for name in ("study", "study/baseline-s0"):
            self.paribus("evaluate", name, "--split", "test", cwd=self.work)
        lines = [
            {"study": "study", "run": run.name, "wandb_id": run_id("study", run.name),
             "status": "complete", "digest": "0" * 12, "mode": "offline", "project": "paribus"}
            for run in self.runs
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.root / "tracked.jsonl").write_text(text)
        self.good = {p: p.read_bytes() for p in self.root.rglob("*") if p.is_file()}

    def wrong(self, case):
        (name, breaks), command = case
        file = self.root / name
        content = file.read_bytes()
        if isinstance(breaks[0][0], str):
            content = broken_bytes(content, breaks)
        elif name.endswith(".jsonl"):
            lines = broken_tree([json.loads(line) for line in content.splitlines()], breaks)
            lines = lines if isinstance(lines, list) else [lines]
            content = b"".join(as_json(line) + b"\n" for line in lines)
        elif name == "root.json":
            content = as_json(broken_tree(json.loads(content), breaks))
        else:
            tree = json.loads(content)
            del tree["sha256"]
            content = as_json(forged_study(broken_tree(tree, breaks)))
        file.write_bytes(content)
        words = command.split()
        line = [*SWEEP, "--no-wandb", *words[1:]] if words[0] == "SWEEP" else words
        found = self.call(*line)
        for file in self.work.glob("*.svg"):
            file.unlink()
        self.restore()
        return found


def forged_study(tree):
    """Return the content of `study.json` with the sha256 that it should have."""
    from paribus.sweeps.study.study import _digest

    try:
        return {**tree, "sha256": _digest(tree)}
    except (TypeError, ValueError):  # no such content has one
        return tree


class Weights(WithStudy):
    """Files of tensors: of a run, forged with their sha256, and what training begins with."""

    quick = 20
    cases = st.tuples(
        st.one_of(TREES, BYTES),
        st.sampled_from(["best.safetensors", "predictions.safetensors", "w.safetensors", "w.pt"]),
        st.sampled_from(["evaluate", "predict", "plot", "report"]),
    )

    def setup(self):
        import torch

        super().setup()
        best = self.good[self.run / "best.safetensors"]
        buffer = io.BytesIO()
        torch.save({"layers.0.weight": torch.zeros(4, 4), "layers.0.bias": torch.zeros(4)}, buffer)
        self.start = {"w.safetensors": best, "w.pt": buffer.getvalue()}
        self.made |= {self.work / name for name in self.start}

    def wrong(self, case):
        breaks, name, command = case
        file = self.work / name if name in self.start else self.run / name
        content = self.start.get(name) or self.good[file]
        if isinstance(breaks[0][0], str):
            content = broken_bytes(content, breaks)
        elif name != "w.pt":
            size = int.from_bytes(content[:8], "little")
            header = as_json(broken_tree(json.loads(content[8 : 8 + size]), breaks))
            content = len(header).to_bytes(8, "little") + header + content[8 + size :]
        file.write_bytes(content)
        if name in self.start:
            return self.call("sweep", "own.py", "--set", f"train.start_from={name}", "--dry-run")
        write_manifest(self.run)
        found = self.call(command, self.run.name, *(["1,2,3,4"] if command == "predict" else []))
        for path in self.work.glob(f"{self.run.name}*"):
            path.unlink()
        self.restore()
        return found


class Optuna(WithStudy):
    """The stored Optuna study: a view, which is repaired or refused."""

    quick = 6
    own = MEANS  # its page, which a sweep writes each time, has half as many plots
    trained_study: ClassVar = {}
    CELLS = st.lists(
        st.tuples(
            st.integers(0, 99), st.integers(0, 99), st.integers(0, 9),
            st.one_of(st.none(), st.integers(-9, 9), st.floats(), TYPED, st.binary(max_size=3)),
        ),
        min_size=1, max_size=3,
    )  # fmt: skip
    cases = st.tuples(
        st.one_of(BYTES, CELLS, st.integers(0, 99)),
        st.sampled_from(["SWEEP", "remove study --yes", "SWEEP --dry-run"]),
    )

    def wrong(self, case):
        breaks, command = case
        file = self.root / "optuna.db"
        if isinstance(breaks, list) and isinstance(breaks[0][0], str):
            file.write_bytes(broken_bytes(self.good[file], breaks))
        else:
            self._edit(file, breaks)
        words = command.split()
        line = [*SWEEP, "--no-wandb", *words[1:]] if words[0] == "SWEEP" else words
        found = self.call(*line)
        self.restore()
        return found

    def _edit(self, file, breaks):
        """Set cells of the database, or drop a table."""
        with closing(sqlite3.connect(file)) as base:
            tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE "
                                                     "type='table' ORDER BY name")]  # fmt: skip
            if isinstance(breaks, int):
                base.execute(f"DROP TABLE {tables[breaks % len(tables)]}")
                breaks = []
            for number, column, row, value in breaks:
                table = tables[number % len(tables)]
                columns = [info[1] for info in base.execute(f"PRAGMA table_info({table})")]
                with suppress(sqlite3.Error):  # a constraint forbids it
                    base.execute(
                        f"UPDATE {table} SET {columns[column % len(columns)]} = ? WHERE rowid = "
                        f"(SELECT rowid FROM {table} LIMIT 1 OFFSET ?)", (value, row),
                    )  # fmt: skip
            base.commit()


class Answers(WithStudy):
    """What W&B's server answers `paribus sync`: a case for each run that it is asked about."""

    quick = 1
    RUNS = 24
    counts, draws = 0, 1 / RUNS
    ANSWERS = st.fixed_dictionaries(
        {},
        optional={
            "historyLineCount": st.one_of(st.integers(-1, 4), NUMBERS, VALUES),
            "summaryMetrics": st.one_of(
                st.dictionaries(st.sampled_from(["epoch", "contents", "best/epoch"]), VALUES).map(
                    lambda found: json.dumps(found)
                ),
                VALUES,
            ),
            "config": VALUES.map(json.dumps),
            "historyTail": VALUES.map(json.dumps),
            "tags": VALUES,
            "displayName": TEXTS,
        },
    )
    cases = st.lists(ANSWERS, min_size=RUNS, max_size=RUNS)

    def setup(self):
        from paribus.sweeps.tracking.wandb_layout import run_id

        super().setup()
        content = {
            p.relative_to(self.run): c for p, c in self.good.items() if self.run in p.parents
        }
        names = [f"own-s0-{number:012x}" for number in range(self.RUNS)]
        for name in names:
            for path, bytes_ in content.items():
                file = self.root / "runs" / name / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(bytes_)
        lines = [
            {"study": None, "run": name, "wandb_id": run_id(None, name), "status": "complete",
             "digest": "0" * 12, "mode": "offline", "project": "paribus"}
            for each in names
            # One that is gone needs no server: after two failures in a row `sync` would end.
            for name in (each, f"{each}-gone")
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.root / "tracked.jsonl").write_text(text)
        self.good = {p: p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        self.ids = [run_id(None, name) for name in names]

    def wrong(self, case):
        from tests.sweeps.wandb_server import WandbServer

        class Broken(WandbServer):
            def _RunResumeStatus(server, variables):
                name = variables["name"]
                server.runs.setdefault(name, {})
                answer = super()._RunResumeStatus(variables)
                answer["model"]["bucket"] |= dict(zip(self.ids, case, strict=True)).get(name, {})
                return answer

        with Broken() as server:
            found = self.call("sync", env={
                "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "5ec4e7" * 7, "NO_PROXY": "*",
                "no_proxy": "*",
            })  # fmt: skip
            self.counted += len(server.projects)
        self.restore()
        return found


HOSTILE = st.one_of(
    TEXTS,
    st.sampled_from([
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</style><script>",
            "&lt;b&gt;",
        "\"><svg onload=alert(1)>", "javascript:alert(1)", "{{7*7}}", "{% raw %}", "<!--", "]]>",
        "$\\frac{1}{0}$", "$x_", "\\n", "\u2028",
            "<a href='//x'>", "'onclick='", "</svg>", "\x9b31m",
    ]),
)  # fmt: skip


class Pages(WithStudy):
    """Texts in everything that page and terminal show: names of classes, levels, reasons, files."""

    quick = 12
    PLACES = ("CLASS1", "CLASS2", "NOTE1", "NOTE2", "QUESTION", "REASON", "LIBRARY", "FOLDER")
    cases = st.tuples(
        st.tuples(*[HOSTILE for _ in PLACES]),
        st.sampled_from([
            "report study", "report RUN", "compare study", "runs study", "show RUN", "plot study",
            "compare study --verbose", "compare study --format latex", "evaluate RUN", "plot RUN",
            "compare study --format markdown", "studies", "predict RUN 1,2,3,4",
        ]),
    )  # fmt: skip

    def setup(self):
        text = OWN.replace('["a", "b", "c"]', '["CLASS1", "CLASS2", "c"]')
        text = text.replace("Which of three kinds is it?", "QUESTION")
        text = text.replace('"optimizer.lr": [0.1]', '"model.note": ["NOTE1", "NOTE2"]')
        (self.work / "own.py").write_text(text)
        done = self.paribus(*SWEEP, "--no-wandb", cwd=self.work)
        assert done.code == 0, done
        self.root = self.work / "results"
        self.runs = sorted((self.root / "runs").iterdir())
        failed = next(r for r in self.runs if "NOTE2" in (r / "run.json").read_text())
        record = json.loads((failed / "run.json").read_text())
        record |= {"status": "failed", "reason": "REASON", "best": None, "weights_sha256": None}
        record["identity"]["environment"]["torch"] = "LIBRARY"
        (failed / "run.json").write_text(json.dumps(record))
        write_manifest(failed)
        self.run = next(r for r in self.runs if "NOTE1" in (r / "run.json").read_text())
        self.good = {p: p.read_bytes() for p in self.root.rglob("*") if p.is_file()}
        self.allowed, harmless = set(), set()
        for command in ("report study", "report RUN"):
            self.allowed.clear()
            assert self.wrong((self.PLACES, command)) == []
            harmless |= self.seen
        self.allowed = harmless

    def wrong(self, case):
        texts, command = case
        for path, content in self.good.items():
            if path.suffix in (".json", ".jsonl") and path.name != "manifest.json":
                text = content.decode()
                for place, new in zip(self.PLACES, texts, strict=True):
                    text = text.replace(place, json.dumps(new)[1:-1])
                if path.name == "study.json":
                    tree = json.loads(text)
                    del tree["sha256"]
                    text = json.dumps(forged_study(tree))
                path.write_text(text)
        for run in self.runs:
            write_manifest(run)
        line = [{"RUN": self.run.name}.get(word, word) for word in command.split()]
        found = self.call(*line)
        pages = [*self.root.glob("studies/*/report.html"), *self.work.glob("*.html")]
        if command.startswith("report"):
            self.seen = set()
            for page in pages:
                content = page.read_text()
                self.seen |= tags_of(content)
                if CONTROL.search(content):
                    found.append(f"{page.name} holds {CONTROL.search(content).group()!r}")
            if self.allowed and (new := self.seen - self.allowed):
                found.append(f"the page has {new}")
        for path in [*self.work.glob("*.html"), *self.work.glob("*.svg")]:
            path.unlink()
        self.restore()
        return found


def tags_of(page):
    """Return every (tag, attribute) of a page, and the targets of its links."""
    found = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.add((tag, ""))
            for name, value in attributes:
                found.add((tag, name))
                if name in ("href", "src") and not value.startswith("#"):
                    found.add((tag, name, value))

    Parser().feed(page)
    return found


def run_kind(name, cases, number, place, paribus, note=lambda _: None):
    """Try cases of a kind, until Ctrl-C; return how many, and what was wrong."""
    kind = FUZZED[name](place, paribus)
    wrong = []

    def one(case):
        found = kind.tried(case)
        kind.counted += kind.counts
        if found:
            wrong.extend(found)
            note(found)

    @seed(number)
    @settings(
        max_examples=math.ceil(cases * kind.draws),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.cases)
    def drawn(case):
        one(case)

    with suppress(KeyboardInterrupt):
        for case in kind.kept:
            one(case)
        drawn()
    return kind.counted, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(FUZZED)}")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = 0
    for name in asked.kinds or FUZZED:
        paribus, since = Commands(), time.monotonic()
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nothing waits for a disk
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            count, wrong = run_kind(
                name, asked.cases, asked.seed, Path(folder).resolve(), paribus,
                lambda found: print("\n".join(found), flush=True),
            )  # fmt: skip
        paribus.close()
        failed += len(wrong)
        print(f"{name}: {len(wrong)} / {count} in {time.monotonic() - since:.0f} s", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
