"""Every task agrees with torchmetrics and with scikit-learn, absent classes and labels included."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torchmetrics.functional import classification, regression

from paribus.core.components.metrics import ExtraMetric
from paribus.core.components.tasks import Binary, Multiclass, Multilabel, Regression
from paribus.core.errors import RequestError

modest = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32)
NAMES = ("precision", "recall", "f1")
# From sure to undecided; at 0 the probability is the threshold 0.5 itself.
scales = st.sampled_from([0.0, 0.1, 1.0, 30.0])
thresholds = st.sampled_from([0.5, 0.1, 0.731, 0.95])


@st.composite
def of_classes(draw, most=6):
    """(logits, targets): of few of the classes, so that some occur in neither or only in one."""
    classes = draw(st.integers(2, most))
    rows = draw(st.integers(1, 30))
    there = st.sampled_from(sorted(draw(st.sets(st.integers(0, classes - 1), min_size=1))))
    generator = torch.Generator().manual_seed(draw(seeds))
    logits = torch.randn(rows, classes, generator=generator) * draw(scales)
    logits[:, draw(st.integers(0, classes - 1))] -= draw(st.sampled_from([0, 100]))
    return logits, torch.tensor(draw(st.lists(there, min_size=rows, max_size=rows)))


@st.composite
def of_labels(draw):
    """(logits, targets): some labels are in all examples, some in none."""
    rows, labels = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(seeds))
    logits = torch.randn(rows, labels, generator=generator) * draw(scales)
    shares = torch.tensor(draw(st.lists(st.sampled_from([0, 0.5, 1]), min_size=labels,
                                        max_size=labels)))  # fmt: skip
    targets = torch.rand(rows, labels, generator=generator) < shares
    return logits, targets.long()


def hold(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6), name


def by_scikit_learn(targets, labels):
    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sklearn.accuracy_score(targets.flatten(), labels.flatten()),
        "precision": sklearn.precision_score(targets, labels, **macro),
        "recall": sklearn.recall_score(targets, labels, **macro),
        "f1": sklearn.f1_score(targets, labels, **macro),
    }


def hold_report(report, targets, labels, names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that occurs nowhere
        theirs = sklearn.precision_recall_fscore_support(
            targets, labels, labels=names, average=None, zero_division=0
        )
    for name, column in zip((*NAMES, "support"), theirs, strict=True):
        np.testing.assert_allclose(report[name].numpy(), column, atol=1e-12, err_msg=name)


@modest
@given(of_classes())
def test_multiclass(drawn):
    logits, targets = drawn
    task, classes = Multiclass(), logits.shape[1]
    labels = logits.argmax(1)
    assert torch.equal(task.predict(logits), labels)
    torch.testing.assert_close(task.probabilities(logits), logits.softmax(1))
    macro = {"num_classes": classes, "average": "macro"}
    found = task.measure(logits, targets)
    hold(found, {
        "accuracy": classification.multiclass_accuracy(logits, targets, classes, average="micro"),
        "precision": classification.multiclass_precision(logits, targets, **macro),
        "recall": classification.multiclass_recall(logits, targets, **macro),
        "f1": classification.multiclass_f1_score(logits, targets, **macro),
    })  # fmt: skip
    hold(found, by_scikit_learn(targets, labels))
    hold_report(task.report(logits, targets), targets, labels, range(classes))
    matrix = sklearn.confusion_matrix(targets, labels, labels=range(classes)).tolist()
    assert task.confusion(logits, targets) == {"confusion_matrix": matrix}
    assert matrix == classification.multiclass_confusion_matrix(logits, targets, classes).tolist()
    assert task.correct(logits, targets).double().mean() == pytest.approx(found["accuracy"])


@modest
@given(of_classes(most=2), thresholds)
def test_binary(drawn, threshold):
    logits, targets = drawn[0][:, :1], drawn[1]
    task = Binary(threshold)
    sure = logits.sigmoid().squeeze(1)
    labels = (sure > threshold).long()
    assert torch.equal(task.predict(logits), labels)
    assert torch.equal(task.probabilities(logits)[:, 1], sure)
    assert torch.equal(task.probabilities(logits).sum(1), torch.ones(len(sure)))
    found = task.measure(logits, targets)
    both = {"num_classes": 2, "average": "macro"}  # the mean of both classes
    hold(found, {
        "accuracy": classification.binary_accuracy(sure, targets, threshold),
        "precision": classification.multiclass_precision(labels, targets, **both),
        "recall": classification.multiclass_recall(labels, targets, **both),
        "f1": classification.multiclass_f1_score(labels, targets, **both),
    })  # fmt: skip
    hold(found, by_scikit_learn(targets, labels))
    report = task.report(logits, targets)
    hold_report(report, targets, labels, [0, 1])
    second = {
        "precision": classification.binary_precision(sure, targets, threshold),
        "recall": classification.binary_recall(sure, targets, threshold),
        "f1": classification.binary_f1_score(sure, targets, threshold),
    }
    hold({name: report[name][1].item() for name in NAMES}, second)
    matrix = sklearn.confusion_matrix(targets, labels, labels=[0, 1]).tolist()
    assert task.confusion(logits, targets) == {"confusion_matrix": matrix}
    assert matrix == classification.binary_confusion_matrix(sure, targets, threshold).tolist()
    assert task.correct(logits, targets).double().mean() == pytest.approx(found["accuracy"])


@modest
@given(of_labels(), thresholds)
def test_multilabel(drawn, threshold):
    logits, targets = drawn
    task, many = Multilabel(threshold), logits.shape[1]
    sure = logits.sigmoid()
    labels = (sure > threshold).long()
    assert torch.equal(task.predict(logits), labels)
    assert torch.equal(task.probabilities(logits), sure)
    macro = {"num_labels": many, "threshold": threshold, "average": "macro"}
    found = task.measure(logits, targets)
    hold(found, {
        "accuracy": classification.multilabel_accuracy(sure, targets, **macro),
        "precision": classification.multilabel_precision(sure, targets, **macro),
        "recall": classification.multilabel_recall(sure, targets, **macro),
        "f1": classification.multilabel_f1_score(sure, targets, **macro),
    })  # fmt: skip
    hold(found, by_scikit_learn(targets.numpy(), labels.numpy()))
    hold_report(task.report(logits, targets), targets.numpy(), labels.numpy(), range(many))
    matrices = sklearn.multilabel_confusion_matrix(targets.numpy(), labels.numpy()).tolist()
    assert task.confusion(logits, targets) == {"confusion_matrix": matrices}
    theirs = classification.multilabel_confusion_matrix(sure, targets, many, threshold)
    assert matrices == theirs.tolist()
    assert task.correct(logits, targets).double().mean() == pytest.approx(found["accuracy"])


@modest
@given(st.integers(1, 30), st.integers(1, 4), seeds, st.sampled_from([0.0, 1e-3, 1.0, 1e6]))
def test_regression(rows, columns, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(rows, columns, generator=generator) * scale + 0.1
    outputs = targets + torch.randn(rows, columns, generator=generator) * max(scale, 1)
    found = Regression().measure(outputs, targets)
    values, aims = outputs.double(), targets.double()
    varies = rows > 1 and scale > 0
    expected = {"mae": sklearn.mean_absolute_error(aims, values),
                "mse": sklearn.mean_squared_error(aims, values)}  # fmt: skip
    assert (found["r2"] is None) is not varies
    if varies:
        expected["r2"] = sklearn.r2_score(aims, values)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    wide = values.flatten(), aims.flatten()
    assert found["mae"] == pytest.approx(regression.mean_absolute_error(*wide).item(), rel=1e-6)
    assert found["mse"] == pytest.approx(regression.mean_squared_error(*wide).item(), rel=1e-6)
    if varies and scale == 1:  # torchmetrics takes small deviations for none
        assert found["r2"] == pytest.approx(regression.r2_score(values, aims).item(), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "task", "theirs"),
    [
        ("MulticlassAUROC", Multiclass(),
         lambda p, t: sklearn.roc_auc_score(t, p, multi_class="ovr")),
        ("CohenKappa", Multiclass(), lambda p, t: sklearn.cohen_kappa_score(t, p.argmax(1))),
        ("BinaryAUROC", Binary(), lambda p, t: sklearn.roc_auc_score(t, p[:, 1])),
        ("BinaryRecall", Binary(0.8), lambda p, t: sklearn.recall_score(t, p[:, 1] > 0.8)),
        ("MultilabelAUROC", Multilabel(), lambda p, t: sklearn.roc_auc_score(t, p)),
        ("MultilabelHammingDistance", Multilabel(0.7),
         lambda p, t: sklearn.hamming_loss(t, p > 0.7)),
    ],
)  # fmt: skip
def test_further_metrics_take_what_the_task_knows(name, task, theirs):
    generator = torch.Generator().manual_seed(0)
    width = {"Binary": 1}.get(type(task).__name__, 3)
    logits = torch.randn(200, width, generator=generator)
    classes = torch.randint(max(2, width), (200,), generator=generator)
    targets = classes
    if task.targets == "labels":
        targets = torch.stack([classes == k for k in range(3)], 1).long()
    found = ExtraMetric(name, task, max(2, width)).measure(logits, targets)
    probabilities = task.probabilities(logits).numpy()
    assert found == pytest.approx(theirs(probabilities, targets.numpy()), abs=1e-5)


def test_binary_is_for_two_classes():
    with pytest.raises(RequestError, match=r"^task binary is for two classes, and the data has 3"):
        Binary().width(3)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5])
@pytest.mark.parametrize("name", ["binary", "multilabel"])
def test_thresholds_are_between_0_and_1(small, name, threshold):
    with pytest.raises(RequestError, match=rf"^task\.threshold={threshold}: must be"):
        small.resolved(task={"name": name, "threshold": threshold}, loss="bce")
