"""Files that people bring: tables, results, images."""

import io

from hypothesis import strategies as st

from fuzz.drawing import BYTES, CELLS, TEXTS, TYPED, broken_bytes, grids
from fuzz.kind import PARTS, Kind


def _table():
    rows = [f"{i / 7:.3f},{i % 5},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(40)]
    return "\n".join(["size,count,colour,kind", *rows, ""]).encode()


class Tables(Kind):
    """CSV and TSV files: data of an experiment, inputs of a run."""

    quick = 25
    cases = st.tuples(
        st.one_of(BYTES, grids(["size", "count", "colour", "kind"])),
        st.sampled_from(["t.csv", "t.csv", "t.tsv", "t.txt"]),
        st.sampled_from(["new", "new", "sweep", "predict"]),
        st.sampled_from([(), ("data.missing=drop",), ("data.missing=mean",)]),
    )
    kept = (([("insert", 0.8770175899339974, b"-4.675169832126289e+16")], "t.txt", "new", ()),)

    def setup(self):
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
