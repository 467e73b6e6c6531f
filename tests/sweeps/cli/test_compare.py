"""Verdicts on anybody's results, and the table as a paper needs it."""

import csv
import io

import numpy as np
import pytest
from commands import refused
from scipy.stats import ttest_rel

RESULTS = """setting,seed,value
baseline,a,0.91
baseline,b,0.92
baseline,c,0.915
lr=0.1,a,0.95
lr=0.1,c,0.957
lr=0.1,b,0.955
odd_%&,a,0.91
odd_%&,b,nan
empty,a,0.91
empty,b,
empty,c,0.5
odd_%&,c,0.5
"""


HIGHER = ("--direction", "maximize")  # what a column called value does not say


@pytest.fixture
def results(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text(RESULTS)
    return file


def test_verdicts_on_a_file_are_scipys_paired_test(paribus, results):
    found = paribus("compare", results, "--json", *HIGHER).json
    baseline, lr, odd, empty = found["settings"]
    assert (baseline["verdict"], lr["verdict"], odd["verdict"]) == (None, "better", "undecided")
    theirs = ttest_rel([0.95, 0.955, 0.957], [0.91, 0.92, 0.915])
    assert lr["p"] == pytest.approx(theirs.pvalue, rel=1e-9)
    assert lr["confidence"] == 1 - lr["threshold"] > 0.95
    assert lr["interval"] == pytest.approx([*theirs.confidence_interval(lr["confidence"])])
    assert lr["p_holm"] == pytest.approx(3 * lr["p"])
    assert (odd["pairs"], odd["lost"], odd["seeds"]) == (2, [1], ["a", "c"])
    assert (empty["pairs"], empty["lost"], empty["status"]) == (2, [], "complete")
    assert "left out: 1 run without value" in found["notes"]
    other = paribus("compare", results, "--json", "--direction", "minimize").json
    assert other["settings"][1]["verdict"] == "worse"
    wide = paribus("compare", results, "--json", "--margin", "0.1", *HIGHER).json
    assert wide["settings"][1]["verdict"] == "equivalent"


def test_the_table_says_which_question_it_answers(paribus, results):
    lines = paribus("compare", results, *HIGHER).out.splitlines()
    assert lines[0] == f"results {results}"
    assert [line.split()[0] for line in lines[4:8]] == ["baseline", "lr", "0.1", "odd_%&"]
    assert "verdict: on the same data, for other seeds" in lines
    assert any("seed 1 lost to failures" in line for line in lines)


def test_csv_has_every_number_and_reads_back(paribus, results):
    rows = list(
        csv.DictReader(io.StringIO(paribus("compare", results, "--format", "csv", *HIGHER).out))
    )
    found = paribus("compare", results, "--json", *HIGHER).json["settings"]
    assert [row["setting"] for row in rows] == [s["label"] for s in found]
    assert float(rows[1]["difference"]) == found[1]["delta"]
    assert float(rows[1]["p_holm"]) == found[1]["p_holm"]
    assert rows[0]["verdict"] == ""


def test_markdown_and_latex_are_escaped_and_say_how(paribus, results):
    markdown = paribus("compare", results, "--format", "markdown", *HIGHER).out.splitlines()
    assert {line.count(" | ") for line in markdown[:5]} == {6}
    assert r"| odd\_%& |" in markdown[4]
    assert markdown[-1].startswith("Differences to the baseline, paired by seed, on the same data;")
    latex = paribus("compare", results, "--format", "latex", *HIGHER).out
    assert r"odd\_\%\& & 2 &" in latex
    assert latex.count(r" \\") == 5
    assert r"\toprule" in latex


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n",
            [f"needs one column with the {o}; it has a, b. Name it with --{o}."
             for o in ("seed", "setting", "metric")],
        ),
        ("", ["with the seed; it has none."]),
        ("setting,seed,value,value\nbaseline,0,1,2\n", ["needs one column value; it has setting"]),
        ("setting,seed,value\nbaseline,0,1e200\nx,0,1\n", ["line 2: value 1e200 is too large."]),
        ("setting,seed,value\nbaseline,0,0,3\n", ["line 2: has too many fields."]),
        ("setting,seed,value\nbaseline,0\n", ["line 2: has too few fields."]),
        ('setting,seed,value\n"' + "x" * 140_000 + "\n", ["cannot be read (field larger"]),
        ("setting,seed,value\nx,0,1\nx,1,2\n", ["no configuration is one"]),
        ("setting,seed,value\nbaseline,0,nan\nx,0,1\n", ["baseline has no complete run."]),
        ("setting,seed,value\nx,0,1\ny,0,2\n", ["2 configurations have as many runs; there"]),
        ("setting,seed,value\nx,0,\n", ["no run has a value"]),
        ("setting,seed,value\nbaseline,0,1\n", ["no configuration is one"]),
        ("setting,seed,value\nbaseline,0,1\nx,0,2\n", ["shares two seeds", "needs two"]),
        (
            "setting,seed,value\nbaseline,0,1\nbaseline,0,2\nx,,3\nx,1,zz\n",
            ["line 3: a second value of setting=baseline and seed 0.",
             "line 4: has no seed.",
             "line 5: value zz is no number."],
        ),
    ],
)  # fmt: skip
def test_a_file_that_no_verdict_can_come_from(paribus, tmp_path, text, message):
    file = tmp_path / "bad.csv"
    file.write_text(text)
    root = tmp_path / "root"
    lines = refused(paribus("compare", file, "--root", root), root, *message)
    assert all(line.startswith(f"Error: {file}") for line in lines)


def test_options_that_have_no_meaning_are_refused_together(paribus, results, tmp_path):
    root = tmp_path / "root"
    message = ["--margin -1.0: must be a number, 0 or more", "needs one column x; it has setting"]
    refused(
        paribus("compare", results, "--margin=-1", "--metric=x", "--root", root), root, *message
    )
    message = ["--margin nan", "--setting, --direction: for another tool's results"]
    words = ("--margin=nan", "--direction=minimize", "--setting=lr", "--root", root)
    refused(paribus("compare", "x", *words), root, *message)
    refused(paribus("compare", "nowhere.csv", "--root", root), root, "cannot be read (No such file")


def test_ties_of_one_example_are_no_certainty(paribus, tmp_path):
    file = tmp_path / "ties.csv"
    rows = [("baseline", s, 0.9) for s in range(3)] + [("x", s, 0.9 + 1 / 270) for s in range(3)]
    file.write_text("setting,seed,value\n" + "".join(f"{a},{b},{c!r}\n" for a, b, c in rows))
    found = paribus("compare", file, "--json", *HIGHER).json["settings"][1]
    assert found["verdict"] == "undecided"
    assert found["p"] == pytest.approx(0.074, abs=0.001)
    assert np.isfinite(found["detectable"])
