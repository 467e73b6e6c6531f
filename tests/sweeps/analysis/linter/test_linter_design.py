"""The rules on what else changed with an axis, what should have, and on the classes."""

import pytest
from evidences import CONFIGURATION, evidence, only, setting, why_not

from paribus.sweeps.analysis.linter.lint import accuracy_alone, derived_quantity, not_tuned_again

BATCH = "train.batch_size"


def test_the_number_of_updates_changed_with_the_batch():
    derived = {"updates": [400, 100], "updates_per_epoch": [40, 10]}
    found = only(derived_quantity(evidence(setting(BATCH, 128, derived=derived))))
    assert found.about == BATCH
    assert "the number of updates too: 400 → 100." in found.sentence
    assert found.sentence.endswith(
        "paribus sweep digits train.batch_size=128 --set train.updates=400"
    )


def test_another_engine_is_told_with_its_remedy():
    derived = {"engine": ["cohort", "loop"]}
    found = only(derived_quantity(evidence(setting("optimizer", "lbfgs", derived=derived))))
    assert "cohort → loop" in found.sentence
    assert found.sentence.endswith("--engine loop")


@pytest.mark.parametrize(
    ("key", "level", "derived"),
    [
        (BATCH, 128, {"updates_per_epoch": [40, 10], "epochs": [10, 40]}),  # their number was kept
        ("train.epochs", 20, {"updates": [400, 800]}),  # that is the axis
        ("model.hidden_dim", 128, {"parameters": [100, 200]}),
        ("optimizer.lr", 0.1, {}),
    ],
)
def test_what_belongs_to_the_axis_is_no_confounder(key, level, derived):
    assert derived_quantity(evidence(setting(key, level, derived=derived))) == []


@pytest.mark.parametrize(
    ("key", "level", "rates"),
    [
        (BATCH, 128, "0.003,0.03"),
        ("model.hidden_dim", 8, "0.003,0.03"),
        ("optimizer", "sgd", "0.001,0.1,1.0"),
        ("model", "cnn", "0.001,0.1,1.0"),
    ],
)
def test_a_level_that_lost_may_want_another_learning_rate(key, level, rates):
    found = only(not_tuned_again(evidence(setting(key, level, 0.8))))
    assert found.about == key
    assert found.sentence.endswith(f"paribus sweep digits optimizer.lr={rates} --set {key}={level}")


@pytest.mark.parametrize(
    ("key", "level", "mean"),
    [
        (BATCH, 128, 0.95),  # it won
        (BATCH, 128, 0.897),  # within the margin
        ("optimizer.lr", 0.1, 0.8),
        ("model.dropout", 0.5, 0.8),
        ("optimizer", "sgd(lr=0.5)", 0.8),  # it was given its own
    ],
)
def test_other_levels_need_no_new_learning_rate(key, level, mean):
    assert not_tuned_again(evidence(setting(key, level, mean))) == []


def test_a_function_has_a_width_and_a_learning_rate_too():
    configuration = {"script": {"name": "mine.py:train", "lr": 0.1, "hidden": 32}}
    axes = {"script.hidden": (32, 4)}
    lost = setting("script.hidden", 4, 0.8)
    found = only(not_tuned_again(evidence(lost, axes=axes, configuration=configuration)))
    assert "script.lr=0.03,0.3 --set script.hidden=4" in found.sentence
    without = {"script": {"name": "mine.py:train", "hidden": 32}}
    assert not_tuned_again(evidence(lost, axes=axes, configuration=without)) == []


def test_without_a_baseline_nobody_lost():
    gone = evidence(setting(mean={}), setting(BATCH, 128, 0.8))
    assert why_not(not_tuned_again(gone)) == "the baseline has no complete run"


@pytest.mark.parametrize(
    ("matrix", "counts"),
    [
        ([[80, 10], [10, 0]], "90 validation examples of the most frequent, 10 of the rarest"),
        ([[31, 0, 0], [0, 10, 0], [0, 0, 20]], "31 validation examples"),
        ([[[80, 5], [5, 10]], [[85, 0], [5, 10]]], "170 validation examples"),  # two labels
    ],
)
def test_accuracy_on_unbalanced_classes(matrix, counts):
    study = evidence(setting("optimizer.lr", 0.1), confusion_matrix=matrix)
    found = only(accuracy_alone(study)).sentence
    assert counts in found
    assert found.endswith("paribus sweep digits optimizer.lr=0.1 --set select.metric=val/f1")


def test_accuracy_on_balanced_classes_and_other_metrics_are_fair():
    assert accuracy_alone(evidence(confusion_matrix=[[50, 10], [0, 40]])) == []
    assert accuracy_alone(evidence(confusion_matrix=[[30, 0, 0], [0, 10, 0], [0, 0, 20]])) == []
    assert accuracy_alone(evidence(confusion_matrix=[[99, 0], [0, 1]], metric="val/f1")) == []
    assert accuracy_alone(evidence(metric="val/mae", direction="minimize")) == []


def test_classes_that_nobody_counted_cannot_be_judged():
    assert "how many examples each class has" in why_not(accuracy_alone(evidence()))
    assert "no complete run" in why_not(accuracy_alone(evidence(setting(mean={}))))


def test_many_axes_are_not_repeated_in_a_command():
    keys = ("optimizer.lr", "model.dropout", "train.batch_size")
    study = evidence(*[setting(key, 0.1) for key in keys], confusion_matrix=[[99, 0], [0, 1]],
                     configuration=CONFIGURATION)  # fmt: skip
    assert only(accuracy_alone(study)).sentence.endswith(
        "the same sweep with --set select.metric=val/f1"
    )
