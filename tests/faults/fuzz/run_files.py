"""Files of a run: its record, its sources, its tensors."""

import io
import json

from hypothesis import strategies as st
from manifest import write_manifest

from fuzz.drawing import BYTES, TREES, as_json, broken_bytes, broken_tree, walked
from fuzz.kind import WithStudy


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
