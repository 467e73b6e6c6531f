"""Files of a run: its record, its sources, its tensors."""

import io
import json
import os

from hypothesis import strategies as st
from manifest import write_manifest

from fuzz.drawing import BYTES, TEXTS, TREES, VALUES, as_json, broken_bytes, broken_tree, walked
from fuzz.kind import WithStudy

PATHS = st.one_of(
    st.sampled_from([
        "/dev/zero", "/dev/stdin", "/dev/tty", "/dev/random", "/proc/self/mem", "/proc/kmsg",
        "WORK/pipe", "../../../../pipe", "pipe", "WORK/endless", "WORK", ".", "/", "", "a\0b",
        "x" * 5000, "/".join(["x" * 200] * 30), "~", "~root/x", "../" * 9 + "etc/passwd", "own.py",
    ]),
    TEXTS,
)  # fmt: skip
DIGESTS = st.one_of(st.none(), st.just("0" * 64), VALUES)
FILES = st.one_of(st.dictionaries(PATHS, DIGESTS, min_size=1, max_size=3), VALUES)
VARIABLES = st.one_of(
    st.dictionaries(st.one_of(st.sampled_from(["HOME", "PATH", "API_KEY"]), TEXTS), DIGESTS), VALUES
)
READ = {  # where a record names what its run read, and what else such a file can be
    ("read_later",): st.one_of(
        st.fixed_dictionaries({}, optional={"files": FILES, "variables": VARIABLES}), VALUES
    ),
    ("noted",): VALUES,
    ("noted", "sources"): st.one_of(st.dictionaries(PATHS, PATHS, max_size=3), VALUES),
    ("noted", "files"): FILES,
    ("noted", "secrets"): st.one_of(st.lists(TEXTS, max_size=3), VALUES),
    ("noted", "folder"): st.one_of(PATHS, VALUES),
    ("noted", "git"): VALUES,
    ("identity", "files"): FILES,
    ("identity", "variables"): VARIABLES,
    ("identity", "sources"): FILES,
    ("configuration", "model", "width"): st.sampled_from([-1, "x", None]),  # cannot be loaded
}
FORGED = st.lists(
    st.sampled_from(list(READ)).flatmap(lambda path: st.tuples(st.just(path), READ[path])),
    min_size=1, max_size=3,
)  # fmt: skip


def forged_reads(record, changes, work):
    """Apply changes of `FORGED` to a record; ``WORK`` is the folder of the commands."""
    for (*path, key), value in changes:
        owner = record
        for part in path:
            owner = owner[part]
            if not isinstance(owner, dict):
                break
        else:
            owner[key] = json.loads(json.dumps(value).replace("WORK", str(work)))
    return record


class Records(WithStudy):
    """Files of a finished run: forged with their sha256, or broken."""

    quick = 35
    COMMANDS = (
        "runs", "runs study", "studies", "show RUN", "compare study", "compare RUN OTHER",
        "evaluate RUN", "predict RUN 1,2,3,4", "sweep RUN optimizer.lr=0.1 --dry-run",
        "evaluate study --split test", "compare study --verbose", "compare study --json",
        "plot RUN", "report RUN", "plot study", "remove RUN --yes",
    )  # fmt: skip
    BROKEN = st.tuples(
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
        st.sampled_from(COMMANDS),
    )
    READS = st.tuples(
        st.tuples(st.just("run.json"), FORGED),
        st.just(True),
        # What trains for as long as other parts of a record say is given these alone.
        st.sampled_from(["evaluate RUN", "compare RUN OTHER", "reproduce RUN", *COMMANDS]),
    )
    cases = st.one_of(READS, BROKEN)

    def setup(self):
        super().setup()
        os.mkfifo(self.work / "pipe")
        (self.work / "endless").symlink_to("/dev/zero")
        record = json.loads(self.good[self.run / "run.json"])
        at = [(owner is record["identity"], key) for owner, key in walked(record)]
        self.kept = [  # each part of its identity is missing, or is something else
            (("run.json", [(at.index((True, key)), *how)]), True, command)
            for key in record["identity"]
            for how in (("drop", None), ("set", 5))
            for command in ("compare study", "evaluate RUN")
        ] + [
            (("run.json", [(path, "x")]), True, f"report {what}")
            for path in (("noted",), ("noted", "git"))
            for what in ("RUN", "study")
        ]
        unreadable = ("configuration", "model", "width"), "x"  # so that its sources are looked at
        self.kept += [
            (("run.json", [unreadable, (("noted", "sources"), sources)]), True, "evaluate RUN")
            for sources in (
                {"own.py": "/dev/zero"},
                {"/dev/zero": "own.py"},
                {"x" * 300: "own.py"},
                {"own.py": "/proc/kmsg"},
                {"1000": "\ud800"},
                {"own.py": "\0"},
            )
        ]
        endless = ("noted", "files"), {"/proc/kmsg": "0" * 64}
        self.kept.append((("run.json", [endless]), True, "evaluate RUN"))

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
        elif isinstance(breaks[0][0], tuple):
            content = as_json(forged_reads(json.loads(content), breaks, self.work)) + b"\n"
        else:
            content = as_json(broken_tree(json.loads(content), breaks)) + b"\n"
        file.write_bytes(content)
        if forged and name != "manifest.json":
            write_manifest(self.run)
        line = [
            {"RUN": self.run.name, "OTHER": self.runs[-1].name}.get(word, word)
            for word in command.split()
        ]
        return self.call(*line)


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
        return self.call(command, self.run.name, *(["1,2,3,4"] if command == "predict" else []))
