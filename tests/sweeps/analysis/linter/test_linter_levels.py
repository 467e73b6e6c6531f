"""The rule on the edge of an axis."""

import shlex

import pytest
from evidences import evidence, only, setting, why_not

from paribus.sweeps.analysis.linter.lint import edge_of_axis

LR = "optimizer.lr"


def rates(*means, **more):
    """A study of learning rates; the baseline's is 0.01."""
    return evidence(*[setting(LR, level, mean) for level, mean in means], **more)


def beyond(study):
    """What a person pastes to go on."""
    command = shlex.split(only(edge_of_axis(study)).sentence.partition("Go on: ")[2])
    assert command[:3] == ["paribus", "sweep", "digits"]
    assert command[4:] == ["--study", "mine"]
    return command[3]


def test_the_best_level_at_an_end_asks_for_more():
    found = only(edge_of_axis(rates((0.001, 0.8), (0.1, 0.95))))
    assert found.about == LR
    assert "0.1, is the highest one tried (val/accuracy better by 0.05" in found.sentence
    assert beyond(rates((0.001, 0.8), (0.1, 0.95))) == f"{LR}=0.3,1.0"
    assert beyond(rates((0.001, 0.95), (0.1, 0.8))) == f"{LR}=0.0003,0.0001"


def test_where_less_is_better_the_lowest_mean_is_the_best():
    losses = {"metric": "val/loss", "direction": "minimize"}
    assert beyond(rates((0.001, 0.95), (0.02, 0.8), **losses)) == f"{LR}=0.04,0.08"
    assert edge_of_axis(rates((0.001, 0.95), (0.1, 0.91), **losses)) == []


@pytest.mark.parametrize(
    "means",
    [
        ((0.1, 0.95), (1.0, 0.8)),  # in the middle
        ((0.001, 0.8), (0.1, 0.85)),  # the baseline is best
        ((0.001, 0.8), (0.1, 0.903)),  # within the margin
    ],
)
def test_nothing_is_said_otherwise(means):
    assert edge_of_axis(rates(*means)) == []


def test_a_level_that_failed_was_tried_and_one_that_is_not_finished_was_not():
    good = setting(LR, 0.1, 0.95)
    failed = setting(LR, 1.0, {}, failures={0: "non-finite: val/loss"})
    assert edge_of_axis(evidence(good, failed)) == []
    assert edge_of_axis(evidence(good, setting(LR, 1.0, {}))) != []


@pytest.mark.parametrize(
    ("key", "tried", "wanted"),
    [
        ("model.hidden_dim", 128, "model.hidden_dim=256,512"),
        ("model.hidden_dim", 2048, "model.hidden_dim=8192,32768"),
        ("model.hidden_dim", 80, "model.hidden_dim=96,112"),
        ("train.batch_size", 2, "train.batch_size=1"),
        ("model.dropout", 0.5, "model.dropout=0.8,0.9"),
        ("optimizer.weight_decay", 0.1, "optimizer.weight_decay=0.2,0.3"),
    ],
)
def test_the_next_levels_fit_those_tried(key, tried, wanted):
    assert beyond(evidence(setting(key, tried, 0.95))) == wanted


def test_where_there_is_no_further_nothing_is_said():
    assert edge_of_axis(evidence(setting("train.batch_size", 1, 0.95))) == []
    zero = {"model.dropout": (0.5, 0.0)}
    assert edge_of_axis(evidence(setting("model.dropout", 0.0, 0.95), axes=zero)) == []


def test_words_have_no_edge():
    assert edge_of_axis(evidence(setting("optimizer", "sgd", 0.95))) == []
    depths = {"model.sizes": ([64], [128])}
    assert edge_of_axis(evidence(setting("model.sizes", [128], 0.95), axes=depths)) == []
    flags = {"standardize": (True, False)}
    assert edge_of_axis(evidence(setting("standardize", False, 0.95), axes=flags)) == []


def test_without_a_baseline_it_cannot_be_judged():
    gone = evidence(setting(mean={}), setting(LR, 0.1, 0.9))
    assert why_not(edge_of_axis(gone)) == "the baseline has no complete run"
