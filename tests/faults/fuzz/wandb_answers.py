"""What W&B's server answers."""

import json

from hypothesis import strategies as st

from fuzz.drawing import NUMBERS, TEXTS, VALUES
from fuzz.kind import WithStudy


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
        return found
