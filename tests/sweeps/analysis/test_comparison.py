"""What a comparison is, whatever tool its results come from."""

import json

import pytest

from paribus.sweeps.analysis.compare import SettingComparison, best_setting
from paribus.sweeps.analysis.imported_results import compare_results, load_table
from paribus.sweeps.analysis.judge import standard_for

ROWS = """setting,seed,value
baseline,0,0.90
baseline,1,0.91
baseline,2,0.92
lr=0.1,0,0.95
lr=0.1,1,0.96
lr=0.1,2,0.97
lr=9,0,0.10
lr=9,1,nan
lr=9,2,0.11
"""


@pytest.fixture
def comparison(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text(ROWS)
    return compare_results(load_table(str(file)), "maximize")


def test_attributes_are_what_the_document_holds(comparison):
    document = comparison.to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    setting = comparison["lr=0.1"]
    assert (setting.key, setting.verdict, setting.pairs) == ("lr", "better", 3)
    assert setting.delta == pytest.approx(0.05)
    row = document["settings"][1]
    assert row == setting.model_dump()
    assert row["this_part"]["interval"] == row["interval"] == setting.interval
    assert comparison["lr=9"].lost == [1]
    assert comparison.to_frame().loc["lr=0.1", "verdict"] == "better"
    with pytest.raises(ValueError, match="frozen"):
        setting.delta = 0.0


def test_the_baseline_has_no_effect(comparison):
    fields = [*SettingComparison.model_fields]
    effect = fields[fields.index("delta") :]
    assert {comparison.to_dict()["settings"][0][key] for key in effect} == {None}


def test_the_best_setting(comparison):
    assert comparison.best.label == "lr=0.1"
    assert best_setting(comparison.settings, "minimize").label == "baseline"  # failed ones are out
    assert best_setting(comparison.levels, "minimize").label == "lr=0.1"
    assert best_setting(comparison.settings[2:], "maximize") is None


@pytest.mark.parametrize(
    ("metric", "direction", "step"),
    [
        ("val/accuracy", "maximize", 1 / 15),
        ("val/auroc", "maximize", 1 / 15),
        ("val/r2", "maximize", 0.0),
        ("val/loss", "minimize", 0.0),
    ],
)
def test_equal_shares_are_as_sure_as_their_examples(metric, direction, step):
    """Five folds of 15 examples may all have an AUROC of 1: no certainty that nothing differs."""
    found = standard_for(metric, direction, [1.0, 1.0, 0.9], 5, examples=15)
    assert found.resolution == pytest.approx(step, abs=1e-6)
