"""The rules on runs: failures, seeds, readings of the test part."""

from datetime import UTC, datetime

from evidences import evidence, only, setting, why_not

from paribus.sweeps.analysis.linter.lint import many_failures, one_seed, reading_of_test

LR = "optimizer.lr"
ENDED = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = "2026-05-01T13:00:00+00:00"
EARLIER = "2026-05-01T11:00:00+00:00"


def with_failures(*failed):
    """Three settings of five runs, of which so many of each failed."""
    settings = [setting(), setting(LR, 0.1), setting(LR, 1.0)]
    return evidence(*[
        setting(one.key, one.level, failures=dict.fromkeys(range(count), "non-finite: val/loss"))
        for one, count in zip(settings, failed, strict=True)
    ])  # fmt: skip


def test_more_than_a_fifth_of_the_runs_failed():
    found = only(many_failures(with_failures(0, 0, 4))).sentence
    assert "4 of 15 runs failed, all of them with non-finite numbers" in found
    assert "optimizer.lr=1.0 (4)" in found
    assert "paribus check digits" in only(many_failures(with_failures(5, 5, 5))).sentence


def test_a_fifth_or_fewer_is_told_elsewhere():
    assert many_failures(with_failures(0, 0, 3)) == []
    assert many_failures(evidence()) == []


def test_one_seed_is_too_few():
    study = evidence(setting(seeds=[0]), setting(LR, 0.1, seeds=[0]))
    found = only(one_seed(study)).sentence
    assert found == (
        "every setting has one seed only. Add seeds: "
        "paribus sweep digits optimizer.lr=0.1 --seeds 5 --study mine"
    )
    assert "optimizer.lr=0.1 has one seed only" in only(
        one_seed(evidence(setting(LR, 0.1, seeds=[0])))
    ).sentence  # fmt: skip


def test_two_seeds_are_told_of_by_the_interval():
    assert one_seed(evidence(setting(seeds=[0, 1]), setting(LR, 0.1, seeds=[0, 1]))) == []


def readings(*lines):
    study = evidence(setting(LR, 0.1), setting(LR, 1.0), readings=lines, ended=ENDED)
    return reading_of_test(study)


def read(label, seed=0, at=LATER, split="test"):
    return {"run": f"{label}-s{seed}", "split": split, "at": at}


WHOLE = {"study": "mine", "runs": ["baseline-s0", f"{LR}=0.1-s0"], "split": "test", "at": LATER}


def test_a_second_reading_is_one_too_many():
    assert "read 2 times" in only(readings(read("baseline"), read("baseline"))).sentence
    assert "read 2 times" in only(readings(read(f"{LR}=0.1"), read(f"{LR}=1.0"))).sentence
    assert "read 2 times" in only(readings(WHOLE, WHOLE)).sentence
    assert "read 2 times" in only(readings(WHOLE, read("baseline"))).sentence


def test_readings_of_two_final_models_are_a_choice():
    finals = {"final-a": f"{LR}=0.1", "final-b": f"{LR}=1.0"}
    lines = [{"run": run, "split": "test", "at": LATER} for run in finals]
    study = evidence(setting(LR, 0.1), setting(LR, 1.0), readings=lines, ended=ENDED)
    study.requested.finals.update(finals)
    assert "read 2 times" in only(reading_of_test(study)).sentence


def test_one_reading_at_the_end_is_what_it_is_for():
    assert readings() == []
    assert readings(WHOLE) == []
    chosen = [read(label, seed) for label in ("baseline", f"{LR}=0.1") for seed in (0, 1, 2)]
    assert readings(*chosen) == []


def test_a_reading_before_the_end_is_told_with_both_times():
    found = only(readings(read("baseline", at=EARLIER))).sentence
    assert "2026-05-01 11:00:00" in found
    assert "2026-05-01 12:00:00" in found


def test_readings_of_others_are_passed_over():
    other = {"study": "other", "runs": ["x"], "split": "test", "at": EARLIER}
    validation = read("baseline", split="val")
    assert readings({}, other, validation, validation, read("elsewhere")) == []


def test_readings_without_a_time_cannot_be_judged():
    assert "no time" in why_not(readings(read("baseline", at=None)))
