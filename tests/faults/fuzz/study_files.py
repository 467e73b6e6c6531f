"""Files of the root and of its studies, the stored Optuna study among them."""

import json
import sqlite3
from contextlib import closing, suppress
from typing import ClassVar

from hypothesis import strategies as st

from fuzz.drawing import BYTES, TREES, TYPED, as_json, broken_bytes, broken_tree
from fuzz.kind import MEANS, SWEEP, WithStudy


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
        *(
            (("studies/study/study.json", breaks), command)
            for breaks, command in (
                (
                    [(192, "drop", 0), (69, "drop", 0), (74, "set", {})],
                    "evaluate study --split test",
                ),
                ([(212, "set", {"a": 0}), (166, "set", [])], "compare study --format latex"),
                ([(627, "drop", 0), (118, "drop", 0), (294, "drop", 0)], "report study"),
            )
        ),
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
        return self.call(*line)


def forged_study(tree):
    """Return the content of `study.json` with the sha256 that it should have."""
    from paribus.sweeps.study.study import _digest

    try:
        return {**tree, "sha256": _digest(tree)}
    except (TypeError, ValueError):  # no such content has one
        return tree


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
        return self.call(*line)

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
