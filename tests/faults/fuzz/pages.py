"""Texts in all that page and terminal show."""

import json
from html.parser import HTMLParser

from hypothesis import strategies as st
from manifest import write_manifest

from fuzz.drawing import TEXTS
from fuzz.kind import CONTROL, OWN, SWEEP, WithStudy
from fuzz.study_files import forged_study

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
            self.clean()
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
