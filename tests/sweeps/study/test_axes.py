"""Levels, ranges and overrides: from what is typed to configurations."""

import pytest

from paribus.core.config.experiment import catalogue, load_experiment
from paribus.core.config.registry import with_defaults
from paribus.core.errors import Faults, RequestError
from paribus.sweeps.study.axes import Range, read_axes
from paribus.sweeps.study.settings import apply_overrides, changed


@pytest.fixture(scope="module")
def digits():
    return load_experiment(catalogue()["digits"])


def read(experiment, *asked, overrides=()):
    faults = Faults()
    baseline = apply_overrides(experiment.baseline, overrides, experiment)
    axes = read_axes(asked, baseline, experiment, faults)
    faults.check()
    return axes


def levels(experiment, text, overrides=()):
    (axis,) = read(experiment, text, overrides=overrides)
    return [level.level for level in axis.levels]


@pytest.mark.parametrize("first", ["metric", "direction"])
def test_another_metric_brings_its_own_direction(first):
    script = load_experiment(catalogue()["script"]).baseline
    found = apply_overrides(
        script, ["select.metric=val/loss"], load_experiment(catalogue()["script"])
    )
    assert (found.select.metric, found.select.direction) == ("val/loss", None)
    pair = {"metric": "select.metric=val/loss", "direction": "select.direction=minimize"}
    texts = [pair.pop(first), *pair.values()]
    found = apply_overrides(script, texts, load_experiment(catalogue()["script"]))
    assert (found.select.metric, found.select.direction) == ("val/loss", "minimize")


def test_axes_of_a_component_that_was_replaced_are_left_out():
    images = load_experiment(catalogue()["images"])
    assert "model.channels" in [axis.key for axis in read(images)]
    axes = read(images, overrides=["model=torchvision.models.resnet18"])
    assert [axis.key for axis in axes] == ["augment", "standardize", "model"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("optimizer.lr=1e-4,1e-2", [1e-4, 1e-2]),
        ("optimizer.lr=1", [1.0]),
        ("optimizer.lr=1e-2, 1e-4", [1e-2, 1e-4]),
        ("optimizer.lr=0.01,1e-2,.01", [0.01]),
        ("optimizer.lr=0.001,0.01", [0.01]),
        ("optimizer.lr=0.1:0.3:3", [0.1, 0.2, 0.3]),
        ("optimizer.lr=1e-4:1e-1:log:4", [1e-4, 1e-2, 1e-1]),  # without the baseline's 1e-3
        ("optimizer.lr=1e-4:1e-2:2:log", [1e-4, 1e-2]),
        ("model.hidden_dim=16:64:log:3", [16, 32, 64]),
        ("model.hidden_dim=1:4:7", [1, 2, 3, 4]),
        ("model.hidden_dim=1.0:4.0:2", [1, 4]),
        ("train.epochs=1:3:3", [1, 2, 3]),
        ("train.batch_size=32,64,128", [32, 128]),
        ("optimizer.weight_decay=0,1e-4", [1e-4]),  # 0.0 is its signature's default
        ("optimizer.betas=[0.9,0.99],[0.9,0.999]", [[0.9, 0.99]]),
        ("optimizer.amsgrad=true,false", [True]),
        ("model.activation=identity,relu,tanh", ["identity", "tanh"]),
        ("optimizer.foreach=none,true", [True]),
        ("standardize=true,false", [True, False]),
        ("scheduler=cosine", ["cosine"]),
        ("train.patience=none,3,5", [3, 5]),
        ("train.patience=2:6:3", [2, 4, 6]),
        ("train.clip_grad_norm=none,0.5,1", [0.5, 1.0]),
        ("train.clip_grad_norm=0.5:1.5:3", [0.5, 1.0, 1.5]),
        ("train.start_from=none,~/a.pt,b.safetensors", ["~/a.pt", "b.safetensors"]),
        ("train.only=none,output,[hidden.0, output]", [["output"], ["hidden.0", "output"]]),
        (
            "augment=none,[RandomHorizontalFlip],[RandomCrop(size=8, padding=[1, 2]), Grayscale]",
            [
                [{"name": "RandomHorizontalFlip"}],
                [{"name": "RandomCrop", "size": 8, "padding": [1, 2]}, {"name": "Grayscale"}],
            ],
        ),
        ("loss.weight=none,balanced,[1,2,3]", ["balanced", [1.0, 2.0, 3.0]]),
    ],
)
def test_levels(digits, text, wanted):
    assert levels(digits, text) == wanted


def test_levels_of_a_file_are_words_or_values(write_small):
    axes = """
AXES = {
    "augment": ["none", ["RandomHorizontalFlip"], "[RandomCrop(size=8)]"],
    "train.only": [[], ["output"], "hidden,output"],
    "train.patience": [None, 2],
}
"""
    augment, only, patience = read(write_small(axes).experiment)
    assert [level.level for level in augment.levels] == [
        [{"name": "RandomHorizontalFlip"}], [{"name": "RandomCrop", "size": 8}],
    ]  # fmt: skip
    assert [level.level for level in only.levels] == [["output"], ["hidden", "output"]]
    assert [level.level for level in patience.levels] == [2]


def test_a_task_cannot_be_an_axis_but_its_threshold_can(write_small):
    more = 'BASELINE = {**BASELINE, "task": "binary", "loss": "bce_with_logits"}\nAXES = {}'
    experiment = write_small(more).experiment
    assert levels(experiment, "task.threshold=0.1,0.5,0.9") == [0.1, 0.9]  # without the default
    assert levels(experiment, "task.threshold=0.25:0.75:3") == [0.25, 0.75]
    with pytest.raises(RequestError, match="changes the validation examples"):
        read(experiment, "task=multiclass")
    with pytest.raises(RequestError, match=r"task\.threshold=2: must be a number"):
        read(experiment, "task.threshold=2")


@pytest.mark.parametrize(
    ("text", "wanted", "shown"),
    [
        ("optimizer.lr=1e-5:1e-1:log", Range(1e-5, 0.1, True, False), "1e-05 to 0.1, log"),
        ("model.dropout=0:0.5", Range(0.0, 0.5, False, False), "0.0 to 0.5"),
        ("model.hidden_dim=16:256:log", Range(16, 256, True, True), "16 to 256, log"),
        ("train.epochs=1.0:3.0", Range(1, 3, False, True), "1 to 3"),
    ],
)
def test_a_range_without_points_has_no_levels_yet(digits, text, wanted, shown):
    (axis,) = read(digits, text)
    assert (axis.levels, axis.range, axis.range.text) == ((), wanted, shown)
    assert type(axis.range.low) is type(axis.range.high) is (int if wanted.whole else float)


def test_types_are_the_parameter_s(digits):
    assert [type(x) for x in levels(digits, "optimizer.lr=1,2")] == [float, float]
    assert [type(x) for x in levels(digits, "model.hidden_dim=8:16:3")] == [int] * 3


def test_commas_inside_brackets_separate_nothing(digits):
    axis, loss = read(
        digits,
        "optimizer.betas=[0.8,0.9],[0.5,0.6]",
        "loss=cross_entropy,cross_entropy(weight=balanced, label_smoothing=0.1)",
    )
    assert [level.text for level in axis.levels] == ["[0.8, 0.9]", "[0.5, 0.6]"]
    assert [level.text for level in loss.levels] == [
        "cross_entropy(weight=balanced, label_smoothing=0.1)"
    ]
    assert axis.baseline == [0.9, 0.999]


def test_a_bare_key_takes_the_experiment_s_own_levels(digits):
    assert levels(digits, "model.num_layers") == [0, 2, 3]
    assert [axis.key for axis in read(digits)] == list(digits.axes)


def test_own_axes_that_hold_only_the_new_baseline_are_left_out(digits):
    """The same name without keywords keeps them, so both of the file's losses are the baseline."""
    axes = read(digits, overrides=["loss=cross_entropy(label_smoothing=0.1)"])
    assert [axis.key for axis in axes] == [key for key in digits.axes if key != "loss"]


def test_the_baseline_s_level_is_told_with_every_axis(digits):
    lr, loss, optimizer = read(
        digits,
        "optimizer.lr=1",
        "loss=cross_entropy(label_smoothing=0.2)",
        "optimizer=sgd",
        overrides=["loss=cross_entropy(label_smoothing=0.1)"],
    )
    assert (lr.baseline, lr.baseline_text) == (0.001, "0.001")
    assert loss.baseline_text == "cross_entropy(label_smoothing=0.1)"
    assert optimizer.baseline_text == "adam"


def test_a_changed_component_keeps_what_the_new_one_has_too(digits):
    start = apply_overrides(
        digits.baseline, ["optimizer.lr=0.02", "optimizer.weight_decay=1e-4",
                          "optimizer.betas=[0.8,0.9]"], digits,
    )  # fmt: skip
    new = changed(start, "optimizer", {"name": "sgd"}, digits).to_dict()["optimizer"]
    assert new == {"name": "sgd", "lr": 0.02, "weight_decay": 1e-4}
    with_own = changed(start, "optimizer", {"name": "sgd", "lr": 0.5, "momentum": 0.9}, digits)
    assert with_own.to_dict()["optimizer"] == {
        "name": "sgd", "lr": 0.5, "weight_decay": 1e-4, "momentum": 0.9,
    }  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_components_are_set_before_keywords(digits, order):
    texts = ["optimizer.momentum=0.9", "optimizer=sgd", "optimizer.lr=0.1"]
    found = apply_overrides(digits.baseline, [texts[i] for i in order], digits)
    assert found.to_dict()["optimizer"] == {"name": "sgd", "momentum": 0.9, "lr": 0.1}


def test_epochs_and_updates_replace_each_other(digits):
    train = apply_overrides(digits.baseline, ["train.updates=100"], digits).to_dict()["train"]
    assert (train["epochs"], train["updates"]) == (None, 100)
    assert levels(digits, "train.updates=50,100", ["train.updates=100"]) == [50]
    with pytest.raises(RequestError, match=r"given by train\.updates, so train.epochs cannot"):
        read(digits, "train.epochs=5", overrides=["train.updates=100"])


def test_null_words(digits):
    full = with_defaults(
        apply_overrides(digits.baseline, ["optimizer.foreach=true"], digits), digits
    )
    assert full["optimizer"]["foreach"] is True
    assert levels(digits, "optimizer.foreach=none", ["optimizer.foreach=true"]) == [None]
    assert levels(digits, "optimizer.foreach=null", ["optimizer.foreach=true"]) == [None]


def test_a_bare_same_name_is_the_baseline(digits):
    with pytest.raises(RequestError, match="optimizer: adam is the baseline's own level"):
        read(digits, "optimizer=adam")
    with pytest.raises(RequestError, match="own level"):
        read(digits, "optimizer=adam(lr=0.001)")
    assert levels(digits, "optimizer=adam,adam(lr=0.1)") == ["adam(lr=0.1)"]


def test_levels_of_a_file_may_be_objects(write_small):
    small = write_small()
    (axis,) = read(small.experiment, "loss")
    assert [level.text for level in axis.levels] == ["small.py:soft"]
    assert axis.levels[0].configuration.loss.name == "small.py:soft"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model.hidden_dim=0,a", ["model.hidden_dim=0:", "model.hidden_dim=a:"]),
        ("nonsense=1", ["'nonsense'"]),
        ("optimizer.lr=[1", ["'[1' is not a value"]),
        ("loss=cross_entropy(0.1)", ["is not keyword=value"]),
        ("loss=cross_entropy)", ["is not a component"]),
        ("scheduler.T_max=3", ["'scheduler.T_max'"]),
        ("optimizer.lr=1:2:3:4", ["is not low:high[:log][:n]"]),
        ("optimizer.lr=1:2:1001", ["a range has 2 to 1000 points"]),
        ("optimizer.lr=a:b", ["optimizer.lr=a:b: must be a number"]),
        ("model.dropout=0:2", ["model.dropout=2"]),
        ("model.dropout=-1:2", ["model.dropout=-1", "model.dropout=2"]),
        ("model.hidden_dim=1.5:4", ["model.hidden_dim=1.5: must be a whole number"]),
        ("model.activation=1:2", ["model.activation=1", "model.activation=2"]),
    ],
)
def test_refused(digits, text, words):
    with pytest.raises(RequestError) as error:
        read(digits, text)
    assert len(error.value.faults) == len(words)
    for fault, word in zip(error.value.faults, words, strict=True):
        assert word in str(fault)


def test_what_follows_cannot_be_an_axis(digits):
    with pytest.raises(RequestError, match=r"scheduler\.T_max follows from the rest"):
        read(digits, "scheduler.T_max=3", overrides=["scheduler=cosine"])
