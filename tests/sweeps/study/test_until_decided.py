"""Seeds are added to undecided settings, and to no others, until a study is decided."""

import shutil

import pytest
from troubled import hashes

from paribus.core.errors import Faults, RequestError
from paribus.sweeps.analysis.compare import SettingComparison, compare_study
from paribus.sweeps.analysis.verdict_text import legend
from paribus.sweeps.stats.power import looks
from paribus.sweeps.study.request import Decision, read_option, study_options
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

# One level that is far off, one that changes nothing a run could show, one that is seldom seen.
AXES = ("optimizer.lr=1e-7", "optimizer.eps=1e-9", "model.width=5")
DECISION = Decision(margin=0.3, looks=looks(8))

FIELDS = [*SettingComparison.model_fields]
EFFECT = FIELDS[FIELDS.index("delta") :]


def seeds_of(study):
    return {setting.label: sorted(setting.runs) for setting in study.settings}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, workplace):
    from troubled import Troubled

    troubled = Troubled(tmp_path_factory.mktemp("until"), workplace)
    return troubled, troubled.sweep(*AXES, decision=DECISION)


def test_decided_settings_get_no_more_seeds(swept):
    _, done = swept
    rows = compare_study(done.study, done.study.results()).to_dict()["settings"]
    for row in rows[1:]:
        assert len(row["seeds"]) in DECISION.looks
        assert (row["verdict"] != "undecided") or len(row["seeds"]) == 8
        assert row["look"] <= len(row["seeds"])
        assert row["confidence"] > 0.95
    assert len(rows[0]["seeds"]) == max(len(row["seeds"]) for row in rows[1:])
    counts = {len(row["seeds"]) for row in rows}
    assert len(counts) > 1, "all settings took the same: nothing is shown"
    taken = sum(len(row["seeds"]) for row in rows)
    assert done.sweep.cost_of_deciding() == {"looks": [3, 5, 8], "runs": taken, "fixed": 32}


def test_the_same_command_goes_on_and_ends_at_the_same(swept):
    troubled, done = swept
    before = seeds_of(done.study)
    again = troubled.sweep(*AXES, decision=DECISION)
    assert again.trained == []
    assert seeds_of(again.study) == before
    assert again.sweep.comparison() == done.sweep.comparison()


def test_a_stop_in_the_middle_changes_nothing(swept):
    troubled, done = swept
    root = ResultsDir(troubled.folder / "stopped")
    count = iter(range(10**6))
    stopped = troubled.sweep(
        *AXES, decision=DECISION, root=root, stop=lambda: next(count) > 25, seeds=()
    )
    assert 0 < len(stopped.trained) < len(done.trained)
    again = troubled.sweep(*AXES, decision=DECISION, root=root)
    assert again.trained
    assert seeds_of(again.study) == seeds_of(done.study)
    assert hashes(again.study) == hashes(done.study)


def test_what_was_decided_stays_so_when_more_seeds_are_trained(swept, tmp_path):
    """Seeds beyond a look change neither its verdict nor what stands beside it."""
    troubled, done = swept
    root = ResultsDir(tmp_path / "more")
    shutil.copytree(troubled.root.path, root.path)
    more = troubled.sweep(*AXES, seeds=range(10), root=root)
    assert more.trained
    before, after = (
        {
            row["label"]: {key: row[key] for key in EFFECT}
            for row in compare_study(study, study.results()).to_dict()["settings"]
        }
        for study in (done.study, more.study)
    )
    decided = [label for label, row in before.items() if row["verdict"] not in (None, "undecided")]
    assert decided
    for label in decided:
        assert after[label] == before[label]


def test_without_a_look_there_is_no_verdict(swept, tmp_path):
    troubled, _ = swept
    root = ResultsDir(tmp_path / "few")
    shutil.copytree(troubled.root.path, root.path)
    new = troubled.sweep("train.batch_size=8", seeds=[0, 1], root=root)
    row = next(row for row in new.sweep.comparison().settings if row.changed)
    assert (row.verdict, row.pairs) == (None, 2)
    assert row.delta is not None
    assert "3 seeds of it and the baseline have to be finished" in row.no_verdict
    # Of intervals that there are, the confidence is that of a look.
    line = next(line for line in legend(compare_study(new.study)) if "confidence" in line)
    *parts, equivalent = line.partition("confidence of intervals: ")[2].split(", ")
    assert all(part.endswith(" seeds") for part in parts), line
    assert equivalent.startswith("90 %")


def test_other_looks_are_refused_and_nothing_is_trained(swept):
    troubled, done = swept
    with pytest.raises(RequestError, match="was begun with --max-seeds 8") as caught:
        troubled.sweep(*AXES, decision=Decision(looks=looks(20)))
    assert "--max-seeds 8" in caught.value.hint
    assert seeds_of(Study.load(troubled.root, "study")) == seeds_of(done.study)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_seeds": 10, "until_decided": False}, "--max-seeds is for --until-decided."),
        ({"seeds_given": True}, "--until-decided chooses the number of seeds itself."),
        ({"pruner": "median"}, "--until-decided and --pruner median both decide"),
    ],
)
def test_options_that_contradict_each_other(asked, told):
    faults = Faults()
    study_options(faults, **{"seeds": [0], "seeds_given": False, "until_decided": True, **asked})
    assert told in str(faults.found)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max-seeds", 2, "--max-seeds 2: must be a whole number from 3 to 10000."),
        ("max-seeds", 2, "no verdict rests on fewer than 3."),
        ("margin", -0.1, "--margin -0.1: must be a number, 0 or more."),
        ("margin", float("nan"), "--margin nan: must be a number, 0 or more."),
    ],
)
def test_options_of_the_wrong_size(option, value, message):
    faults = Faults()
    assert read_option(option, value, faults) is None
    assert message in str(faults.found[0])


def test_what_is_kept_for_a_command_to_paste():
    assert Decision().words() == []
    assert Decision(0.01, looks(15)).words() == ["--margin", "0.01", "--until-decided"]
    assert Decision(None, looks(8)).words() == ["--until-decided", "--max-seeds", "8"]
