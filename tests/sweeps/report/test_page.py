"""The page of a study and of a run: what stands in it, and that it asks nothing of anybody."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hostile import CLASSES, IMAGE, MARKUP

from paribus.core.errors import shown
from paribus.sweeps.report.study_plots import StudyView
from paribus.sweeps.report.study_report import headline
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

VOID = {"meta", "link", "br", "img", "input", "hr"}
SECTIONS = ["result", "effects", "responses", "learning", "confusion", "settings", "method",
            "reproduce"]  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of a page: elements in order, each with its text."""

    def __init__(self, file):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.feed(file.read_text())
        self.close()

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            e for e in self.elements
            if e["tag"] == tag and all(e.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]  # fmt: skip

    def text(self, tag, **attributes):
        (found,) = self.all(tag, **attributes)
        return found["text"]


@pytest.fixture(scope="module")
def study(paribus, place, page):
    """The `compare` document of the study on the page."""
    return paribus("compare", "seen", "--root", place / "results", "--json").json


def test_the_page_has_all_parts_in_order(page):
    assert [e["id"] for e in Page(page).all("section")] == SECTIONS
    assert page.stat().st_size < 1_000_000


def test_the_first_sentence_says_what_was_tried_and_found(page, study):
    said = Page(page).text("p", class_="lead")
    settled = sum(s["verdict"] not in (None, "undecided") for s in study["settings"])
    assert said.startswith("7 changes to digits, one at a time on 3 hyperparameters. ")
    assert f"{settled} of 7 settings decided" in said
    assert "1 failed" in said


def test_every_setting_stands_in_the_table_with_its_numbers(page, study):
    rows = Page(page).all("tr", role="row")[1:]
    assert len(rows) == len(study["settings"])
    for setting in study["settings"]:
        (row,) = [r["text"] for r in rows if r["text"].strip().startswith(setting["label"])]
        if setting["delta"] is not None:
            assert f"{setting['delta']:+.4f}" in row
            assert (setting["grade"] or setting["verdict"]) in row
    assert any("non-finite" in row["text"] for row in rows)  # why a level failed


def test_every_plot_is_told_in_words_and_in_numbers(page):
    seen = Page(page)
    plots = [e for e in seen.all("svg") if e.get("role") == "img"]
    # Effects, axes, loss and accuracy, matrices.
    assert len(plots) == 1 + 3 + 2 + 3
    assert len(seen.all("div", **{"aria-label": "Minimum detectable effect"})) == 1
    assert all(len(plot["aria-label"]) > 30 for plot in plots)
    figures = seen.all("figure", class_="plot") + seen.all("figure", class_="plot wide")
    assert len(figures) == len(plots)
    assert all("The numbers" in figure["text"] for figure in figures)
    for caption in seen.all("figcaption"):
        assert re.search(r"\b\d+( to \d+)? seeds?\b", caption["text"]), caption["text"]


def test_ids_are_unique_and_what_refers_to_one_finds_it(page):
    seen = Page(page)
    ids = [e["id"] for e in seen.elements if "id" in e]
    assert len(set(ids)) == len(ids)
    wanted = {
        found
        for e in seen.elements
        for name in ("href", "clip-path", "aria-labelledby")
        for found in re.findall(r"^#([\w-]+)|url\(#([\w-]+)\)", e.get(name) or "")
        for found in filter(None, found)
    }
    assert wanted <= set(ids)


def test_a_page_asks_nothing_of_anybody(page, hostile_page):
    for file in (page, hostile_page):
        seen = Page(file)
        assert not [e for e in seen.elements if e["tag"] in ("img", "iframe", "object", "audio")]
        assert all("src" not in e for e in seen.elements)
        assert [e["href"] for e in seen.all("link")] == ["data:,"]
        links = [e["href"] for e in seen.all("a")]
        assert links
        assert all(link.startswith("../../runs/") for link in links)
        assert "@import" not in file.read_text()
        assert not re.search(r"url\((?!#)", file.read_text())


def test_links_lead_to_the_runs_from_wherever_the_page_lies(paribus, place, page, tmp_path):
    other = tmp_path / "sent: 100 % #1" / "mine.html"
    other.parent.mkdir()
    done = paribus("report", "seen", "-o", other, "--root", place / "results", "--json")
    assert done.json["file"] == str(other)
    assert done.json["bytes"] == other.stat().st_size
    for file in (page, other):
        folders = [file.parent / unquote(link["href"]) for link in Page(file).all("a")]
        assert len(folders) == 8 * 3
        assert all((folder / "run.json").is_file() for folder in folders)


def test_how_to_reproduce_it_is_told(page, study, paribus, place):
    said = Page(page).text("section", id="reproduce")
    assert "paribus sweep " in said
    assert "--study seen" in said
    assert "paribus reproduce seen/baseline" in said
    runs = [run for setting in study["settings"] for run in setting["runs"]]
    record = json.loads((place / "results" / "runs" / runs[0] / "run.json").read_text())
    assert record["data"]["fingerprint"] in said
    assert record["weights_sha256"][:12] in said
    assert record["identity"]["environment"]["torch"] in said


def test_warnings_of_method_say_what_to_do(page, study):
    said = Page(page).text("section", id="method")
    judged = [found for found in study["linter"] if found["judged"]]
    assert judged
    for found in judged:
        assert found["rule"] in said
        assert found["reason"] in said


def test_the_same_study_gives_the_same_bytes(paribus, place, page):
    before = page.read_bytes()
    paribus("report", "seen", "--root", place / "results")
    assert page.read_bytes() == before


def test_names_are_shown_and_do_nothing(hostile_page):
    text, seen = hostile_page.read_text(), Page(hostile_page)
    assert len(seen.all("script")) == 1
    assert not seen.all("img")
    assert all(not name.startswith("on") for e in seen.elements for name in e)
    assert not set("\x1b\x07\u202e") & set(text)
    assert any(IMAGE in e["text"] for e in seen.all("bdi"))
    assert any(MARKUP in e["text"] for e in seen.all("bdi"))  # a class, in the numbers of a matrix
    rows = [e["text"] for e in seen.all("th", scope="row")]
    assert all(shown(name) in rows for name in CLASSES)


def test_a_run_has_a_page_of_its_own(paribus, place, page, study, tmp_path):
    run = study["settings"][0]["runs"][0]
    done = paribus("report", run, "--root", place / "results", cwd=tmp_path)
    assert done.code == 0, done.err
    seen = Page(tmp_path / f"{run}.html")
    headings = [e["text"] for e in seen.all("h2")]
    assert headings == ["Result", "Learning curves", "Confusion matrix", "Classification report",
                        "Configuration", "How to reproduce it"]  # fmt: skip
    report = seen.text("section", id="report")
    told = paribus("evaluate", run, "--root", place / "results", "--json").json["report"]
    for name, row in told.items():
        numbers = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
        assert f"{name}{''.join(numbers)}{row['support']}" in report.replace("\n", "")
    assert re.search(r"\d+ \(100\.0 %\)", seen.text("section", id="confusion"))
    assert "optimizer.lr" in seen.text("section", id="configuration")


@pytest.mark.parametrize("experiment", ["circles", "line", "text"])
def test_every_kind_of_run_has_a_page(paribus, tmp_path, experiment):
    done = paribus("run", experiment, "train.epochs=2", "--no-wandb", "--json", cwd=tmp_path)
    run = done.json["run"]
    assert paribus("report", run, cwd=tmp_path).code == 0
    headings = [e["text"] for e in Page(tmp_path / f"{run}.html").all("h2")]
    assert ("What the model answers" in headings) == (experiment != "text")
    assert ("Confusion matrix" in headings) == (experiment != "line")


def test_a_study_with_one_seed_says_that_it_may_be_chance(paribus, tmp_path):
    words = ("sweep", "line", "optimizer.lr=0.1", "--set", "train.epochs=3", "--seeds", "1")
    done = paribus(*words, "--study", "one", "--workers", "1", "--no-wandb", cwd=tmp_path)
    assert done.code == 0, done.err
    assert paribus("report", cwd=tmp_path).out.startswith("study one\npage: ")  # the latest
    seen = Page(tmp_path / "results" / "studies" / "one" / "report.html")
    assert "No verdict" in seen.text("p", class_="lead")
    assert "confusion" not in [e["id"] for e in seen.all("section")]


def test_the_numbers_of_an_axis_stand_under_their_seeds(page, study):
    table = next(e["text"] for e in Page(page).all("table") if "seed 2" in e["text"])
    heads = re.findall(r"seed \d", table)
    assert heads == ["seed 0", "seed 1", "seed 2"]
    setting = next(s for s in study["settings"] if s["label"] == "optimizer.lr=0.1")
    assert "0.1" + "".join(f"{x:.4f}" for x in (setting["mean"], *setting["values"])) in table


def test_a_better_setting_one_of_whose_seeds_failed_is_the_one_told_of(place, page):
    view = StudyView(Study.load(ResultsDir(place / "results"), "seen"))
    changes = {
        "optimizer.lr=0.1": {"verdict": "better", "status": "failed"},
        "optimizer.lr=0.003": {"verdict": "undecided"},
    }
    settings = [s.model_copy(update=changes.get(s.label, {})) for s in view.comparison.settings]
    view.comparison = view.comparison.model_copy(update={"settings": settings})
    assert view.chosen.label == "optimizer.lr=0.1"
    assert ". optimizer.lr=0.1 is better: +" in headline(view)


def test_a_damaged_run_is_left_out_and_named(paribus, place, page, tmp_path):
    root = tmp_path / "results"
    shutil.copytree(place / "results", root)
    victim = next((root / "runs").glob("digits-s0-*"))
    (victim / "history.jsonl").write_text("{}\n")
    done = paribus("report", "seen", "--root", root)
    assert done.code == 1
    assert f"{victim.name} is left out, as it is damaged" in done.err
    seen = Page(root / "studies" / "seen" / "report.html")
    assert f"Left out, as they are damaged: {victim.name}" in seen.text("section", id="result")
    assert victim.name not in seen.text("section", id="reproduce")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], ["There is no run or study 'nothing'"]),
        (["seen", "-o", "page.pdf"], ["Take .html."]),
        (["seen", "-o", "no/such/page.html"], ["there is no folder no/such"]),
        (["nothing", "-o", "page.pdf"], ["There is no run or study 'nothing'", "Take .html."]),
    ],
)
def test_what_cannot_be_written_is_refused(paribus, place, page, tmp_path, words, said):
    before = page.read_bytes()
    done = paribus("report", *words, "--root", place / "results", cwd=tmp_path)
    assert done.code == 2
    lines = done.err.splitlines()
    assert all(line.startswith("Error: ") for line in lines)
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))
    assert not list(tmp_path.iterdir())
    assert page.read_bytes() == before


def test_a_root_without_a_study_is_told_so(paribus, tmp_path):
    done = paribus("report", cwd=tmp_path)
    assert done.code == 2
    assert not list(Path(tmp_path).iterdir())
