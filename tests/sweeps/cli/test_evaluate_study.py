"""The test part of a study: read once, for the baseline and what was chosen."""

import json

import pytest
from commands import refused


@pytest.fixture(scope="module")
def root(paribus, tmp_path_factory):
    """A study of ten short runs of digits: one setting is worse, one much better than the rest."""
    root = tmp_path_factory.mktemp("evaluate") / "root"
    swept = paribus(
        *("sweep", "digits", "optimizer.lr=1e-5,1e-2", "--set", "train.epochs=3", "--seeds", "3"),
        *("--study", "rates", "--root", root, "--no-wandb", "--workers", "1"),
    )
    assert swept.code == 0, swept
    return root


def readings(root):
    return [json.loads(line) for line in (root / "readings.jsonl").read_text().splitlines()]


def test_one_reading_for_the_better_settings_over_all_seeds(paribus, root):
    done = paribus("evaluate", "rates", "--split", "test", "--root", root)
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert lines[0] == "study rates on its test part"
    assert [line.split()[0] for line in lines[4:7]] == ["baseline", "optimizer.lr", "0.01"]
    assert lines[-1] == "The test part of this study has been read once."
    (reading,) = readings(root)
    assert (reading["study"], reading["split"], len(reading["runs"])) == ("rates", "test", 6)
    found = paribus(
        *("evaluate", "rates", "optimizer.lr=1e-05", "--split", "test", "--root", root, "--json")
    ).json
    baseline, worse = found["settings"]
    assert (worse["verdict"], worse["pairs"], found["readings"]) == ("worse", 3, 2)
    assert (found["metric"]["name"], found["question"]) == ("test/accuracy", "new data")
    alone = paribus("evaluate", baseline["runs"][0], "--root", root, "--split=test", "--json").json
    assert alone["metrics"]["test/accuracy"] == baseline["values"][0]
    assert alone["readings"] == 3  # the run's own and those of its study


def test_validation_gives_what_is_recorded(paribus, root):
    before = len(readings(root)) if (root / "readings.jsonl").exists() else 0
    found = paribus("evaluate", "rates", "optimizer.lr=0.01", "--root", root, "--json").json
    recorded = paribus("compare", "rates", "--root", root, "--json").json
    for one in found["settings"]:
        same = next(s for s in recorded["settings"] if s["label"] == one["label"])
        assert (one["values"], one["p"]) == (same["values"], same["p"])
    assert len(readings(root)) == before if before else not (root / "readings.jsonl").exists()


def test_what_cannot_be_evaluated(paribus, root, tmp_path):
    done = paribus("evaluate", "rates", "optimizer.lr=7", "--root", root)
    assert done.code == 2
    assert "has no setting 'optimizer.lr=7'" in done.err
    done = paribus("evaluate", "digits-s0", "baseline", "--root", root)
    assert done.code == 2
    assert "is no study" in done.err
    refused(paribus("evaluate", "x", "--root", tmp_path / "r"), tmp_path / "r", "There is no run")
    one = tmp_path / "one"
    words = ("line", "optimizer.lr=0.1", "--set=train.epochs=2", "--seeds=1", "--study=one")
    assert paribus("sweep", *words, "--root", one, "--no-wandb", "--workers", "1").code == 0
    done = paribus("evaluate", "one", "--root", one)
    assert done.code == 2
    assert "has fewer than two seeds in common with the baseline, and" in done.err
