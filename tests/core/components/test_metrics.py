"""Metrics agree with torchmetrics on anything, classes that never occur included."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification, regression

from paribus.core.components.metrics import (
    classification_metrics,
    confusion_counts,
    confusion_matrix,
    is_better,
    per_class,
    regression_metrics,
)
from paribus.core.components.tasks import Binary, Multiclass, Multilabel, Regression
from paribus.core.config.schema import DIRECTIONS
from paribus.core.errors import RequestError

modest = settings(max_examples=80, deadline=None)


@st.composite
def labelled(draw):
    """(classes, targets, labels), drawn from few of the classes, so that some are absent."""
    classes = draw(st.integers(2, 7))
    there = st.sampled_from(sorted(draw(st.sets(st.integers(0, classes - 1), min_size=1))))
    size = draw(st.integers(1, 30))
    column = st.lists(there, min_size=size, max_size=size)
    return classes, torch.tensor(draw(column)), torch.tensor(draw(column))


@modest
@given(labelled())
def test_classification_agrees_with_torchmetrics(given_labels):
    classes, targets, labels = given_labels
    matrix = confusion_matrix(targets, labels, classes)
    theirs = classification.multiclass_confusion_matrix(labels, targets, classes)
    assert torch.equal(matrix, theirs)
    counts = confusion_counts(targets, labels)
    assert counts.tolist() == [[*at, matrix[*at]] for at in matrix.nonzero().tolist()]
    (ours,) = classification_metrics(targets[None], labels[None], classes)
    keywords = {"num_classes": classes, "average": "macro"}
    expected = {
        "accuracy": classification.multiclass_accuracy(labels, targets, classes, average="micro"),
        "precision": classification.multiclass_precision(labels, targets, **keywords),
        "recall": classification.multiclass_recall(labels, targets, **keywords),
        "f1": classification.multiclass_f1_score(labels, targets, **keywords),
    }
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value.item(), abs=1e-6), name


@modest
@given(labelled())
def test_each_class_agrees_with_torchmetrics(given_labels):
    classes, targets, labels = given_labels
    rows = per_class(targets, labels, classes)
    keywords = {"num_classes": classes, "average": "none"}
    for name, function in (
        ("precision", classification.multiclass_precision),
        ("recall", classification.multiclass_recall),
        ("f1", classification.multiclass_f1_score),
    ):
        torch.testing.assert_close(
            rows[name], function(labels, targets, **keywords).double(), atol=1e-6, rtol=0
        )
    assert torch.equal(rows["support"], torch.bincount(targets, minlength=classes))


@modest
@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32))
def test_regression_agrees_with_torchmetrics(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(rows, columns, generator=generator)
    targets = torch.randn(rows, columns, generator=generator) * 3 + 1
    # torchmetrics calls targets that are nearly constant constant, and gives 0.
    assume((targets - targets.mean(0)).square().sum(0).min() > 0.01)
    (ours,) = regression_metrics(outputs[None], targets[None])
    outputs, targets = outputs.double(), targets.double()
    assert ours["mae"] == pytest.approx(
        regression.mean_absolute_error(outputs, targets).item(), rel=1e-6
    )
    assert ours["mse"] == pytest.approx(
        regression.mean_squared_error(outputs, targets).item(), rel=1e-6
    )
    expected = regression.r2_score(outputs.squeeze(1), targets.squeeze(1)).item()
    assert ours["r2"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_sums_are_taken_in_float64():
    targets = torch.full((3_000_000, 1), 0.1)
    (found,) = regression_metrics(torch.zeros(1, *targets.shape), targets[None])
    assert found["mae"] == pytest.approx(float(torch.tensor(0.1)), abs=1e-12)


@pytest.mark.parametrize(
    "targets",
    [torch.tensor([[1.0]]), torch.tensor([[2.0], [2.0]]), torch.tensor([[1.0, 5.0], [2.0, 5.0]])],
    ids=["one example", "constant", "a constant column"],
)
def test_r2_that_is_not_defined_is_none(targets):
    (found,) = regression_metrics(targets[None] + 0.5, targets[None])
    assert found["r2"] is None
    assert found["mae"] == 0.5
    assert found["mse"] == 0.25


def test_perfect_and_worst():
    targets = torch.tensor([[0, 1, 1]] * 2)
    best, worst = classification_metrics(targets, torch.tensor([[0, 1, 1], [3, 3, 3]]), 4)
    assert best == {"accuracy": 1, "precision": 1, "recall": 1, "f1": 1}
    assert worst == {"accuracy": 0, "precision": 0, "recall": 0, "f1": 0}
    assert regression_metrics(torch.ones(1, 2, 1), torch.tensor([[[0.0], [2.0]]]))[0]["r2"] == 0


@modest
@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 130), st.integers(0, 2**32))
def test_a_run_has_the_same_metrics_alone_and_among_others(runs, rows, width, seed):
    """To the bit; half of the classes are rare, so that some runs miss some."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(runs, rows, width, generator=generator)
    labels = torch.randint(0, 2, outputs.shape, generator=generator)
    classes = torch.randint(0, width, (runs, rows), generator=generator)
    tasks = [
        (Multiclass(), outputs, classes),
        (Regression(), outputs, outputs.flip(0) * 2),
        (Multilabel(), outputs, labels),
        (Binary(), outputs[..., :1], labels[..., 0]),
    ]
    for task, given_outputs, targets in tasks:
        together = task.measure_runs(given_outputs, targets)
        alone = [task.measure(*one) for one in zip(given_outputs, targets, strict=True)]
        assert together == alone


def test_rows_of_the_confusion_matrix_are_targets():
    found = confusion_matrix(torch.tensor([0, 0, 2]), torch.tensor([1, 1, 0]), 3)
    assert found.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_tasks_name_what_they_measure():
    logits, labels = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    classes = Multiclass()
    assert tuple(classes.measure(logits, labels)) == classes.metrics
    assert classes.measure(logits, labels)["accuracy"] == pytest.approx(2 / 3)
    assert classes.correct(logits, labels).tolist() == [True, True, False]
    assert classes.confusion(logits, labels) == {"confusion_matrix": [[1, 0], [1, 1]]}
    values = Regression()
    assert tuple(values.measure(logits, logits)) == values.metrics
    assert values.correct(logits, logits) is None
    assert values.confusion(logits, logits) == {"confusion_matrix": None}
    assert {"loss", *classes.metrics, *values.metrics} == set(DIRECTIONS)


@pytest.mark.parametrize(
    ("new", "old", "higher", "lower"),
    [
        (0.5, 0.4, True, False),
        (0.4, 0.5, False, True),
        (0.5, 0.5, False, False),  # the first of equal ones stays
        (0.5, None, True, True),
        (None, 0.5, False, False),
        (None, None, False, False),
    ],
)
def test_which_of_two_values_is_better(new, old, higher, lower):
    assert is_better("maximize", new, old) is higher
    assert is_better("minimize", new, old) is lower


def refused(small, **changes):
    with pytest.raises(RequestError) as caught:
        small.run(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("metric", "direction", "found"),
    [
        (None, None, ("val/accuracy", "maximize")),
        ("val/loss", None, ("val/loss", "minimize")),
        ("val/f1", None, ("val/f1", "maximize")),
        ("val/f1", "maximize", ("val/f1", "maximize")),
        ("val/cohen_kappa", None, ("val/cohen_kappa", "maximize")),
        ("val/hinge_loss", None, ("val/hinge_loss", "minimize")),
    ],
)
def test_selection(metric, direction, found, small):
    select = {"metric": metric, "direction": direction}
    chosen = small.resolved(select=select, metrics=["CohenKappa", "HingeLoss"])["select"]
    assert (chosen["metric"], chosen["direction"]) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"select": {"metric": "acuracy"}}, "Did you mean 'val/accuracy'?"),
        ({"select": {"metric": "val/mae"}}, "the runs have no such metric"),
        ({"select": {"metric": "train/loss"}}, "the runs have no such metric"),
        ({"select": {"metric": "val/f1", "direction": "minimize"}}, "of val/f1 more is better"),
        ({"metrics": ["CohenKapa"]}, "Did you mean"),
        ({"metrics": ["Zzz"]}, "there is no torchmetrics metric 'Zzz'"),
        ({"metrics": ["torch.nn.Linear"]}, "there is no torchmetrics metric"),
        ({"metrics": ["os.system"]}, "there is no torchmetrics metric"),
        ({"metrics": ["nosuchmodule.X"]}, "there is no torchmetrics metric"),
        ({"metrics": ["MeanSquaredError"]}, "does not fit task multiclass"),
        ({"metrics": ["ConfusionMatrix"]}, "gives no single number"),
        ({"metrics": ["Precision"]}, "val/precision, which every run has already"),
        ({"metrics": ["Accuracy"]}, "val/accuracy, which every run has already"),
        ({"metrics": ["Accuracy(topk=2)"]}, "Accuracy(topk=2) cannot be made"),
        ({"metrics": ["Recall(average=none)"]}, "gives no single number"),
        ({"metrics": ["AUROC", "AUROC"]}, "would both be logged as val/auroc"),
    ],
)
def test_metrics_that_are_refused(changes, words, small):
    assert words in refused(small, **changes)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("CohenKappa", "val/cohen_kappa"),
        ("MulticlassAUROC", "val/multiclass_auroc"),
        ("AUROC", "val/auroc"),
        ("torchmetrics.classification.MulticlassF1Score", "val/multiclass_f1_score"),
    ],
)
def test_further_metrics_are_logged_in_snake_case(name, key, small):
    train_state = small.resolver.train_state(small.asked(metrics=[name]), 0)
    assert [f"val/{extra.key}" for extra in train_state.extra_metrics] == [key]
    value = train_state.extra_metrics[0].measure(torch.eye(3) * 9, torch.arange(3))
    assert value == pytest.approx(1)


@pytest.mark.parametrize(
    ("metric", "key"),
    [
        ("MulticlassAccuracy(top_k=2)", "val/multiclass_accuracy_top_k_2"),
        ({"name": "FBetaScore", "beta": 0.5}, "val/f_beta_score_beta_0_5"),
        ("Accuracy(average=macro, top_k=2)", "val/accuracy_average_macro_top_k_2"),
    ],
)
def test_metrics_take_keywords_which_are_part_of_their_keys(metric, key, small):
    run = small.run(metrics=["CohenKappa", metric], select={"metric": key})
    assert run.configuration["metrics"][0] == "CohenKappa"  # as in records made before
    assert run.configuration["select"]["metric"] == key
    assert key in run.facts["directions"]


def test_a_metric_with_keywords_selects_as_it_is_typed_or_by_its_last_words(small):
    both = "MulticlassAccuracy(top_k=2), MulticlassAccuracy(top_k=1)"
    for typed in ("MulticlassAccuracy(top_k=2)", "top_k_2"):
        found = small.resolved(metrics=both, select={"metric": typed})
        assert found["select"]["metric"] == "val/multiclass_accuracy_top_k_2"
    top = small.resolver.train_state(small.asked(metrics=both), 0).extra_metrics[0]
    outputs = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert top.measure(outputs, torch.tensor([1, 0])) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["MulticlassAUROC", "AUROC"])
def test_the_mean_area_is_that_of_the_classes_that_are_there(name, small, recwarn):
    (metric,) = small.resolver.train_state(small.asked(metrics=[name]), 0).extra_metrics
    outputs = torch.eye(3)[torch.tensor([0, 0, 1, 1])] * 9
    assert metric.measure(outputs, torch.tensor([0, 0, 1, 1])) == pytest.approx(1)
    assert not [w for w in recwarn if "torchmetrics" in w.filename]
