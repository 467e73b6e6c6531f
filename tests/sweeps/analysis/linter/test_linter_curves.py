"""The rules on curves over epochs."""

import math

import pytest
from evidences import evidence, only, setting, why_not

from paribus.sweeps.analysis.linter.curve_rules import (
    different_curves,
    overfitting,
    still_improving,
)

LR = "optimizer.lr"
RISING = [0.5 + 0.02 * epoch for epoch in range(20)]
FLAT = [min(0.5 + 0.1 * epoch, 0.9) for epoch in range(20)]
JUMPING = [0.85 + (0.04 if epoch == 12 else 0.01 * (epoch % 2)) for epoch in range(20)]


def accuracy(values, key=None, level=None, **more):
    return setting(key, level, max(values), curves={"val/accuracy": values}, **more)


def test_a_curve_that_still_rises_was_cut_off():
    found = only(still_improving(evidence(accuracy(FLAT), accuracy(RISING, LR, 0.1))))
    assert found.about == f"{LR}=0.1"
    assert found.sentence == (
        "optimizer.lr=0.1 was still improving when training ended: in the last fifth of the "
        "epochs val/accuracy was better by 0.08 than in the fifth before. Train longer: "
        "paribus sweep digits optimizer.lr=0.1 --set train.epochs=20"
    )


def test_many_such_curves_are_one_finding():
    study = evidence(
        accuracy(RISING), *[accuracy(RISING, LR, level) for level in (0.1, 0.2, 0.3, 0.4)]
    )
    found = only(still_improving(study))
    assert found.about is None
    assert found.sentence.startswith("the baseline, optimizer.lr=0.1, optimizer.lr=0.2 and 2 more")


def test_an_error_still_improves_downwards():
    falling = [1 / (epoch + 1) for epoch in range(10)]
    study = {"metric": "val/mae", "direction": "minimize", "margin": 0.001}
    low = setting(mean=0.1, curves={"val/mae": falling})
    assert "better by" in only(still_improving(evidence(low, **study))).sentence
    high = setting(mean=0.1, curves={"val/mae": [-value for value in falling]})
    assert still_improving(evidence(high, **study)) == []


@pytest.mark.parametrize("values", [FLAT, JUMPING, [0.9] * 20, RISING[::-1]])
def test_curves_that_came_to_rest_are_long_enough(values):
    assert still_improving(evidence(accuracy(values))) == []


def test_levels_of_the_length_are_short_on_purpose():
    short = accuracy(RISING, "train.epochs", 5)
    assert still_improving(evidence(accuracy(FLAT), short)) == []


def test_runs_that_patience_ended_are_not_judged():
    every = frozenset(range(5))
    stopped = accuracy(RISING, stopped=every)
    assert why_not(still_improving(evidence(stopped))) == "patience ended the runs"
    assert still_improving(evidence(accuracy(FLAT), accuracy(RISING, LR, 1.0, stopped=every))) == []


@pytest.mark.parametrize("values", [[0.5], [0.5, None, 0.9], [0.5, math.nan, 0.9]])
def test_curves_that_are_none_cannot_be_judged(values):
    study = evidence(setting(curves={"val/accuracy": values}))
    assert "two epochs" in why_not(still_improving(study))
    assert "no curve of 5 epochs" in why_not(different_curves(study))
    assert "train/loss and val/loss" in why_not(overfitting(study))


def losses(val, train=None, key=None, level=None, **more):
    falling = [1 / (epoch + 1) for epoch in range(len(val))]
    return setting(key, level, curves={"train/loss": train or falling, "val/loss": val}, **more)


DOWN = [1.0 - 0.04 * epoch for epoch in range(20)]
BACK_UP = [abs(epoch - 8) / 10 + 0.3 for epoch in range(20)]


def test_validation_loss_that_rises_again_is_overfitting():
    found = only(overfitting(evidence(losses(DOWN), losses(BACK_UP, None, LR, 0.1))))
    assert found.about == f"{LR}=0.1"
    assert "at optimizer.lr=0.1 val/loss ended" in found.sentence
    assert found.sentence.endswith(
        "paribus sweep digits model.dropout=0.2,0.5 --set optimizer.lr=0.1"
    )
    assert "times its minimum while train/loss went on falling" in found.sentence


def test_what_regularizes_already_is_not_proposed_again():
    found = only(overfitting(evidence(losses(DOWN), losses(BACK_UP, None, "model.dropout", 0.1))))
    assert found.sentence.endswith("Regularize it more, or take a smaller model")


@pytest.mark.parametrize(
    ("val", "train"),
    [
        (DOWN, None),
        (BACK_UP, BACK_UP),  # the training loss rises too: it diverges
        ([1.0, 0.3, *[0.31] * 18], None),  # by a hair
        ([1.0] * 20, None),
        ([1e-9 * value for value in DOWN], None),
    ],
)
def test_other_losses_are_no_overfitting(val, train):
    assert overfitting(evidence(losses(val, train))) == []


def test_a_rise_that_only_one_seed_shows_is_not_sure():
    histories = {
        seed: [{"train/loss": 1 / (n + 1), "val/loss": v} for n, v in enumerate(values)]
        for seed, values in enumerate((BACK_UP, DOWN, DOWN))
    }
    assert overfitting(evidence(setting(histories=histories))) == []


def test_a_function_that_yields_no_losses_cannot_be_judged():
    assert "train/loss and val/loss" in why_not(overfitting(evidence(accuracy(FLAT))))


def test_a_curve_that_jumps_is_favoured_by_the_choice_of_the_best_epoch():
    smooth = [min(0.5 + 0.05 * epoch, 0.87) for epoch in range(20)]
    found = only(different_curves(evidence(accuracy(smooth), accuracy(JUMPING, LR, 0.1))))
    assert found.about == f"{LR}=0.1"
    assert "in its favour" in found.sentence
    assert found.sentence.endswith("--set scheduler=cosine")
    turned = only(different_curves(evidence(accuracy(JUMPING), accuracy(smooth, LR, 0.1))))
    assert "in the baseline's favour" in turned.sentence


@pytest.mark.parametrize(
    "values",
    [
        FLAT,
        [0.5 + 0.1 * epoch / 20 for epoch in range(20)],  # it rises, without jumps
        [0.9 - 0.0005 * (epoch - 8) ** 2 for epoch in range(20)],  # it loses what it had
        [value - 0.2 for value in JUMPING],  # favoured, and it loses all the same
    ],
)
def test_curves_that_favour_nobody(values):
    assert different_curves(evidence(accuracy(FLAT), accuracy(values, LR, 0.1))) == []


def test_curves_that_jump_alike_cancel():
    later = [*JUMPING[2:], *JUMPING[:2]]
    assert different_curves(evidence(accuracy(JUMPING), accuracy(later, LR, 0.1))) == []


def test_one_example_more_or_less_is_no_difference_in_form():
    one = [0.9, 0.9, 0.9, 0.92, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    study = (accuracy([0.9] * 10), accuracy(one, LR, 0.1))
    assert different_curves(evidence(*study)) != []
    assert different_curves(evidence(*study, confusion_matrix=[[20, 0], [5, 15]])) == []


def test_without_a_baseline_or_a_margin_the_form_cannot_be_judged():
    assert "no complete run" in why_not(different_curves(evidence(setting(mean={}))))
    study = evidence(accuracy(FLAT), accuracy(JUMPING, LR, 0.1), margin=None)
    assert "difference would matter" in why_not(different_curves(study))
