"""A configuration is frozen and whole: every fault is named at once, with what is meant."""

import pytest
from pydantic import ValidationError

from paribus.core.config.experiment import find_experiment, load_experiment
from paribus.core.config.registry import known_keys, with_defaults
from paribus.core.config.schema import (
    Configuration,
    difference,
    fixed_keys,
    flatten,
    full_key,
    get,
    read_value,
    same_value,
    split_override,
    with_value,
)
from paribus.core.errors import Faults, RequestError

GIVEN = {
    "task": "multiclass",
    "data": "digits",
    "model": {"name": "mlp", "hidden_dim": 64},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.001},
    "train": {"epochs": 20},
}


def parsed(**changes):
    return Configuration.parse(GIVEN | changes, "mine.py")


def refused(changes):
    with pytest.raises(RequestError) as caught:
        Configuration.parse(GIVEN | changes, "mine.py")
    return caught.value


def test_strings_and_defaults():
    found = Configuration.parse(GIVEN, "mine.py")
    assert found.loss.name == "cross_entropy"
    assert found.model.keywords == {"hidden_dim": 64}
    assert found.scheduler.name == "constant"
    split = found.split
    assert (split.seed, split.folds, split.val_fraction, split.test_fraction) == (
        0,
        None,
        None,
        0.15,
    )
    assert Configuration.parse(found.to_dict(), "again") == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modle": "mlp"}, ["There is no hyperparameter 'modle'", "'model'"]),
        ({"learning_rate": 1}, ["'learning_rate'", "'optimizer.lr'"]),
        ({"epochs": 3}, ["'epochs'", "'train.epochs'"]),
        ({"train": {"epoch": 3, "updates": 1}}, ["'train.epoch'", "'train.epochs'"]),
        ({"split": {"val_fracton": 0.1}}, ["'split.val_fracton'", "'split.val_fraction'"]),
        ({"split": {"method": "stratfied"}}, ["split.method=stratfied", "or stratified"]),
        ({"split": {"val_fraction": 1.0}}, ["split.val_fraction=1.0", "below 1"]),
        ({"split": {"val_fraction": 1.5}}, ["split.val_fraction=1.5", "below 1"]),
        ({"split": {"test_fraction": -0.1}}, ["split.test_fraction=-0.1", "at least 0"]),
        ({"split": {"test_fraction": float("nan")}}, ["split.test_fraction", "not a finite"]),
        ({"train": {"epochs": 0}}, ["train.epochs=0", "must be a whole number of at least 1"]),
        ({"train": {"epochs": 2.0}}, ["train.epochs=2.0", "whole number"]),
        ({"train": {"epochs": True}}, ["train.epochs=true", "whole number"]),
        ({"train": {"epochs": 2, "updates": 2}}, ["either train.epochs or train.updates"]),
        ({"train": {}}, ["either train.epochs or train.updates"]),
        ({"train": 3}, ["train=3", "must be a dict of epochs, updates"]),
        ({"device": "gpu"}, ["device=gpu", "must be auto, cpu or cuda."]),
        ({"standardize": "yes"}, ["standardize=yes", "true or false"]),
        ({"model": {"hidden_dim": 3}}, ["'model.name' is missing"]),
        ({"model": ""}, ["model.name"]),
        ({"optimizer": {"name": "adam", "lr": float("nan")}}, ["optimizer.lr", "not a finite"]),
        ({"model": {"name": "mlp", "activation": print}}, ["model.activation", "print"]),
        ({"augment": "RandomCrop(size"}, ["augment: 'RandomCrop(size'", "not a component"]),
        ({"augment": ["RandomCrop(size"]}, ["augment: 'RandomCrop(size'", "not a component"]),
        ({"augment": [3]}, ["augment.0"]),
        ({3: 4}, ["3"]),
    ],
)
def test_refused_with_what_and_where(changes, words):
    error = refused(changes)
    assert all(word in str(error) for word in ["mine.py", *words]), str(error)
    assert len(error.faults) == 1


@pytest.mark.parametrize(
    "stated",
    [
        "[RandomHorizontalFlip, RandomCrop(size=8, padding=1)]",
        ["RandomHorizontalFlip", "RandomCrop(size=8, padding=1)"],
        ("RandomHorizontalFlip", {"name": "RandomCrop", "size": 8, "padding": 1}),
    ],
)
def test_lists_of_a_file_are_read_as_they_are_typed(stated):
    typed = read_value("augment", "[RandomHorizontalFlip, RandomCrop(size=8, padding=1)]")
    assert parsed(augment=stated).to_dict()["augment"] == typed


def test_a_word_in_place_of_a_list_is_a_list_of_it():
    found = parsed(augment="RandomHorizontalFlip", metrics="CohenKappa").to_dict()
    assert found["augment"] == [{"name": "RandomHorizontalFlip"}]
    assert found["metrics"] == ["CohenKappa"]
    assert parsed(augment="none", metrics="none") == parsed()


def test_both_fractions_are_reported_together():
    error = refused({"split": {"val_fraction": 2.0, "test_fraction": -1.0}})
    assert len(error.faults) == 2


def test_all_faults_are_reported_together():
    wrong = {"modle": 1, "device": "gpu", "split": {"seed": -1}, "data": {"name": "d", "x": {1}}}
    error = refused(wrong | {"train": {}})
    text = str(error)
    assert len(error.faults) == 5
    assert all(w in text for w in ("modle", "device=gpu", "split.seed", "data.x", "train.epochs"))
    with pytest.raises(RequestError) as missing:
        Configuration.parse({"task": "multiclass"}, "mine.py")
    assert len(missing.value.faults) == 5


def test_frozen():
    found = Configuration.parse(GIVEN, "mine.py")
    for model, field in ((found, "device"), (found.train, "epochs"), (found.model, "name")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, "cpu")


def test_epochs_and_updates_replace_each_other():
    baseline = Configuration.parse(GIVEN, "mine.py").to_dict()
    by_updates = with_value(baseline, "train.updates", 300)
    assert Configuration.parse(by_updates, "x").train.updates == 300
    assert Configuration.parse(by_updates, "x").train.epochs is None
    back = with_value(by_updates, "train.epochs", 20)
    assert back == baseline
    assert baseline["train"]["epochs"] == 20  # the original stays


@pytest.fixture(scope="module")
def digits_keys():
    experiment = load_experiment(find_experiment("digits"))
    return known_keys(with_defaults(experiment.baseline, experiment), experiment)


@pytest.mark.parametrize("key", ["optimizer.lr", "model.hidden_dim", "loss", "train.epochs"])
def test_known_keys(key, digits_keys):
    assert full_key(key, digits_keys) == key


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("learning_rate", "optimizer.lr"),
        ("optimizer.learning_rate", "optimizer.lr"),
        ("hidden_units", "model.hidden_dim"),
        ("model.hidden_units", "model.hidden_dim"),
        ("hiden_dim", "model.hidden_dim"),
        ("model.num_layer", "model.num_layers"),
        ("epoch", "train.epochs"),
        ("optimiser", "optimizer"),
        ("criterion", "loss"),
        ("optimizr.weight_decay", "optimizer.weight_decay"),
    ],
)
def test_the_key_that_is_meant(key, meant, digits_keys):
    with pytest.raises(RequestError, match=f"Did you mean '{meant}'"):
        full_key(key, digits_keys)


def test_no_key_is_suggested_that_there_is_not():
    keys = [*fixed_keys(), "model.in_features", "model.bias", "scheduler.epochs"]
    with pytest.raises(RequestError) as caught:
        full_key("hidden_units", keys)
    assert "hidden_dim" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("lr", "optimizer.lr"),
        ("epochs", "train.epochs"),
        ("batch_size", "train.batch_size"),
        ("hidden_dim", "model.hidden_dim"),
        ("weight_decay", "optimizer.weight_decay"),
    ],
)
def test_a_short_key_that_fits_one(key, full, digits_keys):
    assert full_key(key, digits_keys) == full


def test_a_short_key_that_fits_several_names_them():
    keys = [*fixed_keys(), "model.bias", "scheduler.epochs"]
    with pytest.raises(RequestError, match=r"'epochs' may be '.*'\.") as caught:
        full_key("epochs", keys)
    assert "'scheduler.epochs' or 'train.epochs'" in str(caught.value)


@pytest.mark.parametrize("key", ["epochs", "lr"])
def test_a_file_writes_the_whole_key(key):
    with pytest.raises(RequestError, match=f"There is no hyperparameter '{key}'"):
        Configuration.parse({**GIVEN, key: 3}, "mine.py")


def test_flatten_and_get():
    baseline = Configuration.parse(GIVEN, "mine.py").to_dict()
    flat = flatten(baseline)
    assert flat["model"] == "mlp"
    assert flat["model.hidden_dim"] == 64
    assert flat["train.epochs"] == 20
    idle = {"split.group_on", "split.time_on", "split.gap", "split.stratify_on"}
    assert set(fixed_keys()) - set(flat) == idle  # recorded only where they are given
    assert get(baseline, "model") == {"name": "mlp", "hidden_dim": 64}
    assert get(baseline, "optimizer.lr") == 0.001
    assert get(baseline, "optimizer.momentum") is None


def test_difference():
    baseline = Configuration.parse(GIVEN, "mine.py").to_dict()
    assert difference(baseline, with_value(baseline, "train.epochs", 20.0)) == {}
    assert difference(baseline, with_value(baseline, "optimizer.lr", 0.1)) == {
        "optimizer.lr": [0.001, 0.1]
    }
    assert difference(
        baseline, with_value(baseline, "optimizer", {"name": "sgd", "lr": 0.001})
    ) == {"optimizer": ["adam", "sgd"]}
    assert difference(baseline, with_value(baseline, "model.bias", None)) == {
        "model.bias": [None, None]  # one names it, the other does not
    }


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0.0, False),
        ([1, 2], (1.0, 2), True),
        ([1, True], [1, 1], False),
        ([1], [1, 1], False),
        (None, None, True),
        (None, 0, False),
        ("1", 1, False),
        ({"name": "f", "a": 1}, {"name": "f", "a": 1.0}, True),
        ({"name": "f", "a": 1}, {"name": "f", "a": True}, False),
        ({"name": "f", "a": 1}, {"name": "f", "b": 1}, False),
    ],
)
def test_same_value(first, second, same):
    assert same_value(first, second) is same
    assert same_value(second, first) is same


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optimizer", "sgd(lr=0.1)", {"name": "sgd", "lr": 0.1}),
        ("standardize", "none", None),
        ("model.activation", "none", "none"),
        ("metrics", "CohenKappa, F1Score", ["CohenKappa", "F1Score"]),
        ("metrics", "[CohenKappa]", ["CohenKappa"]),
        ("train.batch_size", "32", 32),
    ],
)
def test_read_value(key, text, value):
    assert read_value(key, text) == value


def test_split_override():
    faults = Faults()
    assert split_override("a.b = c=d", faults) == ("a.b", " c=d")
    assert split_override("a.b", faults) is None
    assert split_override("=1", faults) is None
    assert len(faults.found) == 2
