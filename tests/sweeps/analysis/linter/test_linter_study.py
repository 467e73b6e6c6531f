"""The linter on studies that were trained: what `compare` says of them."""

import json
import shutil

import pytest
from evidences import SEEDS, evidence, setting
from hypothesis import given
from hypothesis import strategies as st
from manifest import write_manifest
from troubled import Troubled

from paribus.core.fileio import append_line, write_json
from paribus.sweeps.analysis.linter.evidence import ended_by_patience, evidence_of
from paribus.sweeps.analysis.linter.lint import RULES, lint
from paribus.sweeps.api import load_study
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

LR = "optimizer.lr=0.1"
BROKEN = "model.trouble=nan"
NUMBERS = st.one_of(st.none(), st.floats(width=32), st.integers(-3, 3))
MATRICES = (None, [], [[]], [[0]], [[0, 0], [0, 0]], [[5, 1], [0, 2]], [[[3, 0], [1, 1]]])
NAMES = ("val/accuracy", "train/loss", "val/loss")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, workplace):
    """A study with one level that fails; not to be changed."""
    troubled = Troubled(tmp_path_factory.mktemp("linted"), workplace)
    return troubled.sweep(LR, BROKEN, "train.batch_size=8", seeds=[0]).study


def found(study, **more):
    results = study.results()
    return lint(evidence_of(study, results, 0.005, **more))


def test_what_was_recorded_reaches_the_rules(swept):
    by_rule = {finding.rule: finding for finding in found(swept, options=["--root", "here"])}
    assert "1 of 4 runs failed, all of them" in by_rule["many-failures"].sentence
    assert "every setting has one seed only" in by_rule["one-seed"].sentence
    updates = by_rule["derived-quantity"]
    assert (updates.about, updates.judged) == ("train.batch_size", True)
    assert "9 → 18" in updates.sentence
    assert updates.sentence.endswith(
        "paribus sweep study/baseline-s0 train.batch_size=8 --set train.updates=9 --seeds 1 "
        "--root here"
    )
    assert "of 5 epochs" in by_rule["overfitting"].sentence
    assert not by_rule["overfitting"].judged
    assert "accuracy-alone" not in by_rule  # 20 of each class
    for finding in by_rule.values():
        assert json.loads(json.dumps(vars(finding), allow_nan=False)).keys() == {
            "rule", "about", "sentence", "reason", "judged"
        }  # fmt: skip


def test_a_reading_is_set_against_the_end_of_the_last_run(swept, tmp_path):
    root = ResultsDir(tmp_path / "copy")
    shutil.copytree(swept.root.path, root.path)
    run = swept.find("baseline").runs[0]
    ended = max(root.run(each).record().ended for each in swept.run_ids)
    at = root.path / "readings.jsonl"
    append_line(at, {"run": run, "split": "test", "at": "2999-01-01T00:00:00+00:00"})
    assert "test-read" not in [f.rule for f in found(Study.load(root, "study"))]
    append_line(at, {"study": "study", "runs": [run], "split": "test", "at": "2000-01-01T00:00:00"})
    said = [f.sentence for f in found(Study.load(root, "study")) if f.rule == "test-read"]
    assert "read 2 times" in said[0]
    assert f"until {ended.replace('T', ' ')}" in said[1]


def test_a_study_of_which_nothing_is_left_is_not_judged(swept, tmp_path):
    root = ResultsDir(tmp_path / "copy")
    shutil.copytree(swept.root.path, root.path)
    shutil.rmtree(root.runs)
    left = {finding.rule for finding in found(Study.load(root, "study")) if finding.judged}
    assert left == {"one-seed", "derived-quantity"}  # what was planned says so


def test_patience_is_read_from_the_record(swept, tmp_path):
    root = ResultsDir(tmp_path / "copy")
    shutil.copytree(swept.root.path, root.path)
    run = root.runs / swept.find("baseline").runs[0]
    record = json.loads((run / "run.json").read_text())
    record["configuration"]["train"]["patience"] = 2
    record["facts"]["epochs"] = 30
    write_json(run / "run.json", record)
    write_manifest(run)
    study = Study.load(root, "study")
    seen = evidence_of(study, study.results(), 0.005)
    assert [ended_by_patience(run) for run in seen.complete(seen.baseline).values()] == [True]


def test_compare_shows_warnings_with_reasons_and_commands(paribus, tmp_path):
    at = ("--root", tmp_path / "results", "--no-wandb")
    done = paribus("sweep", "line", "train.batch_size=4,16", "--set", "train.epochs=6",
                   "--study", "mine", "--workers", "1", *at)  # fmt: skip
    assert done.code == 0, done.err
    lines = paribus("compare", "mine", "--verbose", *at[:2]).out.splitlines()
    start = lines.index("warnings of method:")
    warnings = [line for line in lines[start + 1 :] if line.startswith("  derived-quantity: ")]
    assert len(warnings) == 1
    assert "--set train.updates=30" in warnings[0]
    reasons = [line for line in lines[start:] if line.startswith("    why: ")]
    document = paribus("compare", "mine", "--json", *at[:2]).json
    judged = [finding for finding in document["linter"] if finding["judged"]]
    assert {f["rule"] for f in judged} >= {"derived-quantity", "still-improving"}
    assert len(reasons) == len({f["rule"] for f in judged})
    short = paribus("compare", "mine", *at[:2], env={"COLUMNS": "80"}).out.splitlines()
    short = short[short.index("warnings of method:") + 1 :]
    more = next(n for n, line in enumerate(short) if line.startswith("  with numbers, reasons"))
    assert "paribus compare mine --verbose" in " ".join(short[more:])
    short = short[:more]
    rules = [line.split(":")[0].strip() for line in short if line[2] != " "]
    assert sorted(rules) == sorted({f["rule"] for f in judged})
    assert len(short) <= 2 * len(rules)
    read = load_study("mine", root=at[1]).document["linter"]
    assert [f["rule"] for f in read] == [f["rule"] for f in document["linter"]]
    other = paribus("compare", "mine", "--json", "--metric", "val/loss", *at[:2]).json
    assert other["linter"] == document["linter"]  # it is of the study, not of what is looked at


def test_rules_have_names_and_reasons_of_their_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names) == 11
    assert all(rule.reason.endswith(".") for rule in RULES)
    assert all(name == name.lower() and " " not in name for name in names)


@given(
    values=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=12),
    mean=st.one_of(st.none(), st.floats(-10, 10)),
    level=st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.text(max_size=3), st.none()),
    key=st.sampled_from(("optimizer.lr", "train.batch_size", "optimizer", "model.dropout")),
    margin=st.one_of(st.none(), st.floats(1e-6, 1)),
    matrix=st.sampled_from(
        (None, [], [[0]], [[0, 0], [0, 0]], [[5, 1], [0, 2]], [[[3, 0], [1, 1]]])
    ),
)
def test_no_record_makes_it_raise(values, mean, level, key, margin, matrix):
    curves = {name: [row[n] for row in values] for n, name in enumerate(NAMES)}
    seeds = SEEDS if mean is not None else ()
    settings = (setting(mean=mean, seeds=seeds, curves=curves),
                setting(key, level, mean, seeds=SEEDS, curves=curves))  # fmt: skip
    lint(evidence(*settings, margin=margin, confusion_matrix=matrix))
