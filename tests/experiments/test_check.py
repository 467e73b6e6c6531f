"""`paribus check`: the catalogue passes; what is broken fails the check that names its fault."""

import pytest

from paribus.core.checks.runner import CHECKS, CHECKS_OF_SCRIPT
from paribus.core.config.experiment import catalogue

HEAD = '''"""Can it learn?"""

import numpy as np
import torch
from sklearn import datasets
from torch import nn

BASELINE = {
    "task": "multiclass",
    "data": "digits",
    "model": {"name": "mlp", "hidden_dim": 64},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.001},
    "train": {"epochs": 20},
}
'''

NET = """
class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.body = nn.Linear(in_features, 32)
        self.head = nn.Linear(32, {width})
        {more}

    def forward(self, x):
        return self.head(self.body(x).relu())

BASELINE["model"] = Net
"""

CIRCLES = """
def circles():
    return datasets.make_circles(1000, noise=0.03, random_state=0)

BASELINE |= {"task": "binary", "data": circles, "loss": "bce_with_logits"}
BASELINE["model"] = {"name": "mlp", "hidden_dim": 16, "num_layers": 2, "activation": "identity"}
"""

PERMUTED = """
def permuted():
    features, labels = datasets.{source}(return_X_y=True)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(labels))[: len(labels) // 2]
    labels[some] = labels[rng.permutation(some)]
    return features, labels

BASELINE["data"] = permuted
BASELINE["split"] = {{"folds": 1}}  # with others the score is no surer than it needs to be
"""

TEN_KINDS = """
def images(n: int = 300, shuffled: bool = False):
    rng = np.random.default_rng(0)
    kinds, labels = rng.normal(size=(10, 3, 8, 8)), rng.integers(0, 10, n)
    pixels = 1.5 * rng.normal(size=(n, 3, 32, 32))
    for image, kind in zip(pixels, labels):
        row, column = rng.integers(0, 16, 2)
        image[:, row : row + 16, column : column + 16] += kinds[kind].repeat(2, 1).repeat(2, 2)
    return pixels.astype("float32"), rng.permutation(labels) if shuffled else labels

BASELINE |= {"data": images, "model": {"name": "cnn", "channels": 16}}
"""

RARE = """
def rare(n: int = 500, shuffled: bool = False):
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.03).astype(int)
    inputs = rng.normal(size=(n, 8)).astype("float32")
    inputs[:, 0] += 2 * labels
    inputs[:, 1] -= 1.4 * labels
    return inputs, rng.permutation(labels) if shuffled else labels

BASELINE |= {"task": "binary", "data": rare, "loss": "bce_with_logits"}
"""

LEAKED = """
def leaked(copies: int = 30, others: int = 300):
    x, y = datasets.load_digits(return_X_y=True)
    again = np.r_[1000 : 1000 + others, 0:copies]
    return {"train": (x[:1000], y[:1000]), "val": (x[again], y[again])}

BASELINE["data"] = leaked
"""

# Fault: what follows the head, the check that names it, words of its advice.
BROKEN = {
    "wrong output size": (
        NET.format(width=7, more=""),
        "shapes agree",
        ["[2, 7]", "Let it return [2, 10].", "body [N, 32] → head [N, 7]"],
    ),
    "a softmax before the loss": (
        NET.format(width="num_classes", more="")
        .replace("return self.head", "return torch.softmax(self.head")
        .replace(".relu())", ".relu()), 1)"),
        "loss fits the task",
        ["between 0 and 1", "logits"],
    ),
    "wrong loss": (
        'BASELINE["loss"] = "mse"',
        "loss fits the task",
        ["mse", "multiclass", "cross_entropy"],
    ),
    "frozen by mistake": (
        NET.format(width="num_classes", more="self.body.requires_grad_(False)"),
        "every parameter gets a gradient",
        ["body.weight", "train.only"],
    ),
    "labels permuted for half": (
        PERMUTED.format(source="load_digits"),
        "labels follow from inputs",
        ["drawn at random", "shuffled"],
    ),
    "learning rate 1e3": (
        'BASELINE["optimizer"]["lr"] = 1e3',
        "loss falls from the first updates",
        ["lr=1000", "Lower optimizer.lr"],
    ),
    "leaked validation examples": (
        LEAKED,
        "no example in training and validation",
        ["30 of 330"],
    ),
    "no activation": (
        CIRCLES,
        "one batch can be overfitted",
        ["linear", "model.activation=relu"],
    ),
    "layer without gradient": (
        NET.format(width="num_classes", more="self.spare = nn.Linear(3, 3)"),
        "every parameter gets a gradient",
        ["spare.weight, spare.bias", "forward"],
    ),
}


@pytest.fixture
def check(paribus, tmp_path):
    """Checks an experiment, or a file with this after `HEAD`; gives exit code and results."""

    def run(text, *overrides):
        name = text
        if text not in catalogue():
            name = tmp_path / "mine.py"
            name.write_text(HEAD + text)
        done = paribus("check", name, *overrides, "--json", "--root", tmp_path / "r")
        assert done.code in (0, 1), done.err
        assert not (tmp_path / "r" / "runs").exists()
        assert done.json["passed"] is (done.code == 0)
        return done.code, {one["name"]: one for one in done.json["checks"]}

    return run


def failures(found):
    return [name for name, one in found.items() if one["passed"] is False]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_experiment_passes(check, name):
    code, found = check(name, *(["data.images=3500"] if name == "mnist" else []))
    assert (code, failures(found)) == (0, []), found
    checks = CHECKS_OF_SCRIPT if name == "script" else CHECKS
    assert list(found) == [row[0] for row in checks]


@pytest.mark.parametrize("fault", sorted(BROKEN))
def test_a_broken_experiment_fails_the_check_that_names_its_fault(check, fault):
    text, name, words = BROKEN[fault]
    code, found = check(text)
    assert code == 1
    assert failures(found) == [name], found
    for word in words:
        assert word in found[name]["detail"]


def test_what_is_broken_passes_once_it_is_repaired(check):
    """So that each broken experiment fails for its fault, not for what it has besides."""
    assert failures(check("")[1]) == []
    assert failures(check(NET.format(width="num_classes", more=""))[1]) == []
    assert failures(check(CIRCLES, "model.activation=relu")[1]) == []
    assert failures(check(LEAKED, "data.copies=0")[1]) == []


@pytest.mark.parametrize("source", ["load_wine", "load_iris"])
def test_permuted_labels_do_not_pass_among_few_examples(check, source):
    """Some sixty examples are held out, from which half of the labels cannot be judged."""
    found = check(PERMUTED.format(source=source))[1]["labels follow from inputs"]
    assert found["passed"] is None
    assert "not decided" in found["detail"]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("data", "few"), [(TEN_KINDS, False), (RARE, True)])
def test_what_is_hard_to_learn_is_told_from_what_cannot_be(check, data, few, shuffled):
    """Ten classes that are half learned in the time there is, and 3 % of positives."""
    found = check(data, f"data.shuffled={shuffled}".lower())[1]["labels follow from inputs"]
    assert found["passed"] is ((None if few else False) if shuffled else True), found


@pytest.mark.parametrize(
    ("copies", "others", "reported"),
    [(3, 300, "3 of 303 validation examples are"), (1, 40, "1 of 41 validation examples is")],
)
def test_a_single_row_or_up_to_one_percent_of_equal_ones_is_named(check, copies, others, reported):
    code, found = check(LEAKED, f"data.copies={copies}", f"data.others={others}")
    assert code == 0
    shared = found["no example in training and validation"]
    assert shared["detail"] == f"{reported} in training too"


def test_what_does_not_apply_is_skipped_with_the_reason(check):
    _, found = check("parabola")
    assert {name: one["detail"] for name, one in found.items() if one["passed"] is None} == {
        "no example in training and validation": (
            "split.method=none: training and validation are the same examples, as requested"
        ),
        "loss at the start is chance": "for values there is no chance to compare with",
        "labels follow from inputs": (
            "split.method=none leaves no examples that were not trained on"
        ),
    }


@pytest.mark.parametrize(
    ("name", "chance"), [("digits", "ln 10 = 2.3026"), ("multilabel", "ln 2 = 0.6931")]
)
def test_the_loss_at_the_start_is_reported_beside_chance(check, name, chance):
    assert chance in check(name)[1]["loss at the start is chance"]["detail"]


def test_what_train_only_freezes_is_named(check):
    code, found = check(NET.format(width="num_classes", more=""), "train.only=[head]")
    assert code == 0
    assert "2 are frozen by train.only" in found["every parameter gets a gradient"]["detail"]


def test_a_column_that_differs_in_each_row_is_named(check):
    _, found = check("""
def people():
    import pandas
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(200, 3)), columns=["height", "weight", "age"])
    frame["number"] = rng.permutation(200)
    return frame, (frame["height"] > 0).astype(int)

BASELINE["data"] = people
""")
    detail = found["inputs are finite and normalised"]["detail"]
    assert detail.endswith("an id? column 'number'")


def test_a_loss_that_is_a_sum_in_part_is_named(check):
    _, found = check("""
def part_sum(outputs, targets):
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    return each.mean() + 0.1 * each.sum()

BASELINE["loss"] = part_sum
""")
    detail = found["loss fits the task"]["detail"]
    assert detail.endswith("part_sum for task multiclass; it depends on train.eval_batch_size")


def test_a_class_that_validation_lacks_is_named(check):
    code, found = check("""
def parts():
    x, y = datasets.load_digits(return_X_y=True)
    kept = y[1200:] != 7
    return {"train": (x[:1200], y[:1200]), "val": (x[1200:][kept], y[1200:][kept])}

BASELINE["data"] = parts
""")
    assert code == 0
    assert "; validation has none of '7'" in found["labels are in range"]["detail"]


def test_large_inputs_fail(check):
    code, found = check("", "standardize=false")
    assert code == 1
    assert "standardize=true" in found["inputs are finite and normalised"]["detail"]


def test_a_model_drawn_by_the_clock_fails(check):
    drawn = NET.format(
        width="num_classes", more="self.body.weight.data.add_(time.time_ns() % 997 / 1e4)"
    )
    assert "same seed, same weights" in failures(check("import time\n" + drawn)[1])


def test_a_model_that_changes_outside_its_state_is_not_evaluated_again(check):
    net = NET.format(width="num_classes", more="")
    net = net.replace("return ", "SEEN.append(x)\n        return len(SEEN) * ")
    found = check(f"SEEN = []\n{net}")[1]
    assert "val/loss of the same weights is" in found["a run can be evaluated again"]["detail"]


@pytest.mark.parametrize("factor", [1, 1000])
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_values_of_any_size_can_be_fitted(check, model, factor):
    """The examples decide how far the weights have to go, not a rate that the check chose."""
    _, found = check(
        f"""
def diabetes():
    features, values = datasets.load_diabetes(return_X_y=True)
    return features, {factor} * values

BASELINE |= {{"task": "regression", "data": diabetes, "loss": "mse"}}
""",
        f"model={model}",
    )
    assert found["one batch can be overfitted"]["passed"]
    assert found["labels follow from inputs"]["passed"]


def test_a_linear_model_need_not_fit_what_it_cannot(check):
    """Classes that overlap: better than chance is enough."""
    code, found = check("""
def overlapping():
    return datasets.make_moons(1000, noise=0.5, random_state=0)

BASELINE |= {"task": "binary", "data": overlapping, "loss": "bce_with_logits", "model": "linear"}
""")
    assert code == 0
    assert "linear model" in found["one batch can be overfitted"]["detail"]


def test_it_prints_a_table(paribus, tmp_path):
    done = paribus("check", "line", "--root", tmp_path / "r")
    assert done.code == 0
    assert "shapes agree" in done.out
    assert done.out.rstrip().endswith("Next: paribus run line")
    assert not (tmp_path / "r").exists()


def test_what_was_found_is_printed_whole(paribus, tmp_path):
    (tmp_path / "mine.py").write_text(HEAD + PERMUTED.format(source="load_digits"))
    words = "check", tmp_path / "mine.py", "--root", tmp_path / "r"
    found = paribus(*words, "--json").json["checks"]
    printed = " ".join(paribus(*words, env={"COLUMNS": "80"}).out.split())
    for one in found:
        for word in (one["detail"][:30], one["detail"][-10:]):
            assert word.split()[-1] in printed
    assert "…" not in printed.partition("labels follow from inputs")[2]


def test_a_wrong_request_is_refused(paribus, tmp_path):
    done = paribus("check", "line", "optimizer.rl=1", "loss=mze", "--root", tmp_path / "r")
    assert done.code == 2
    assert "lr" in done.err
    assert "mse" in done.err
