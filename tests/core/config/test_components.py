"""Components resolve from short names, dotted paths and an experiment's own objects."""

import pytest
import torch
from torch import nn

from paribus.core.config.registry import (
    NAMES,
    build,
    check_components,
    known_keys,
    resolve_component,
    with_defaults,
)
from paribus.core.errors import Faults, RequestError

EVERY_SHORT_NAME = [(kind, name) for kind, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), EVERY_SHORT_NAME)
def test_every_short_name_resolves(kind, name, small):
    assert callable(resolve_component(kind, name, small.experiment).function)


@pytest.mark.parametrize(
    ("kind", "name", "module"),
    [
        ("optimizer", "torch.optim.RAdam", "torch"),
        ("scheduler", "torch.optim.lr_scheduler.OneCycleLR", "torch"),
        ("loss", "torch.nn.HuberLoss", "torch"),
        ("loss", "torch.nn.functional.cross_entropy", "torch"),
        ("model", "torch.nn.Linear", "torch"),
        ("model", "torchvision.models.resnet18", "torchvision"),
        ("data", "sklearn.datasets.make_moons", "sklearn"),
        ("model", "Net", "paribus_experiment_small"),
        ("model", "small.py:Net", "paribus_experiment_small"),
        ("loss", "soft", "paribus_experiment_small"),
        ("data", "small.py:waves", "paribus_experiment_small"),
    ],
)
def test_dotted_paths_and_own_objects(kind, name, module, small):
    found = resolve_component(kind, name, small.experiment).function
    assert found.__module__.split(".")[0] == module


def test_own_objects_by_bare_name_are_the_same_objects(small):
    for kind, name in (("model", "Net"), ("loss", "soft"), ("data", "waves")):
        bare = resolve_component(kind, name, small.experiment)
        assert (
            bare.function is resolve_component(kind, f"small.py:{name}", small.experiment).function
        )


def test_objects_given_as_objects(small):
    asked = small.experiment.baseline
    assert asked.data.name == "small.py:waves"
    assert small.experiment.axes["loss"][1] == {"name": "small.py:soft"}


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("optimizer", "adm", "Did you mean 'adam'?"),
        ("optimizer", "zzz", "Choose adadelta, adafactor, adagrad, adam,"),
        ("optimizer", "torch.optim.RAdm", "Did you mean 'RAdam'?"),
        ("optimizer", "torch.optm.RAdam", "Did you mean 'optim'?"),
        ("optimizer", "nosuchmodule.x", "no module 'nosuchmodule'"),
        ("model", "small.py:Nett", "Did you mean 'Net'?"),
        ("model", "other.py:Net", "There is no model"),
        ("model", "", "There is no model"),
        ("model", "a b", "There is no model"),
        ("model", "..", "There is no model"),
        ("model", "\0", "There is no model"),
        ("data", "eval", "There is no data"),
    ],
)
def test_unknown_names(kind, name, words, small):
    with pytest.raises(RequestError) as caught:
        resolve_component(kind, name, small.experiment)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[(kind, "os.system") for kind in NAMES],
        *[(kind, "shutil.rmtree") for kind in NAMES],
        *[(kind, "builtins.eval") for kind in NAMES],
        ("data", "subprocess.run"),
        ("data", "torch.nn.Linear"),
        ("data", "math.pi"),
        ("data", "SCALE"),
        ("data", "small.py:SCALE"),
        ("data", "__doc__"),
        ("data", "__builtins__"),
        ("data", "Net"),
        ("model", "torch.nn"),
        ("model", "torch.nn.Module.__doc__"),
        ("model", "torch.nn.functional.relu"),
        ("model", "torch.optim.Adam"),
        ("model", "sklearn.linear_model.LogisticRegression"),
        ("loss", "torch.optim.Adam"),
        ("loss", "torch.nn.functional.linear"),
        ("loss", "torch.nn.functional.gelu"),
        ("loss", "torch.manual_seed"),
        ("optimizer", "torch.nn.Linear"),
        ("scheduler", "torch.optim.Adam"),
        ("task", "paribus.core.components.tasks.Task"),
        ("task", "paribus.core.components.tasks.DIRECTIONS"),
        ("task", "torch.nn.Linear"),
        ("task", "Net"),
    ],
)
def test_wrong_kinds_are_refused(kind, name, small):
    with pytest.raises(RequestError):
        resolve_component(kind, name, small.experiment)


def test_nothing_that_is_refused_was_called(small, tmp_path):
    mark = tmp_path / "mark"
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, keywords in (
        ("os.system", {"command": f"touch {mark}"}),
        ("posix.system", {"command": f"touch {mark}"}),
        ("shutil.rmtree", {"path": str(kept)}),
        ("builtins.exec", {"source": f"open({str(mark)!r}, 'w')"}),
        ("pathlib.Path.touch", {"self": str(mark)}),
    ):
        for kind in ("data", "model", "loss"):
            with pytest.raises(RequestError):
                small.run(**{kind: {"name": name, **keywords}})
    assert not mark.exists()
    assert kept.exists()


def test_a_module_that_is_no_loss_is_refused_before_training(small):
    with pytest.raises(RequestError, match="needs 'in_features'"):
        small.run(loss="torch.nn.Linear")
    with pytest.raises(RequestError, match=r"loss torch\.nn\.Linear has parameters of its own"):
        small.run(loss={"name": "torch.nn.Linear", "in_features": 3, "out_features": 3})
    with pytest.raises(RequestError, match="has no parameters to train"):
        small.run(model="torch.nn.CrossEntropyLoss")


def checked(small, **changes):
    faults = Faults()
    found = check_components(small.asked(**changes), small.experiment, faults)
    return found, "\n".join(str(fault) for fault in faults.found)


def test_keywords_of_all_components_are_checked_together(small):
    _, faults = checked(
        small,
        model={"name": "mlp", "hidden_units": 3, "activation": "rellu"},
        optimizer={"name": "adam", "lr": "fast"},
        loss={"name": "soft", "smoth": 0.1},
        scheduler="step",
        data={"name": "waves", "n": 0.5},
    )
    for words in (
        "model mlp has no keyword 'hidden_units'",
        "Did you mean 'relu'?",
        "optimizer.lr=fast: must be a number",
        "Did you mean 'smooth'?",
        "scheduler step needs 'step_size'. Give scheduler.step_size=VALUE.",
        "data.n=0.5: must be a whole number",
    ):
        assert words in faults


def test_keywords_are_taken_as_their_parameters_have_them(small):
    found, faults = checked(
        small,
        optimizer={"name": "adam", "lr": 1, "betas": [0.5, 0.9]},
        data={"name": "waves", "shift": "none"},
        model={"name": "Net", "rate": 0},
    )
    assert not faults
    assert repr(found.optimizer.keywords) == "{'lr': 1.0, 'betas': [0.5, 0.9]}"
    assert found.data.keywords == {"shift": None}
    assert repr(found.model.keywords) == "{'rate': 0.0}"


def test_what_follows_from_data_and_length_may_be_left_out(small):
    assert not checked(small, model="Net", scheduler="cosine")[1]
    assert not checked(small, model="torchvision.models.resnet18")[1]
    assert not checked(small, scheduler="one_cycle")[1]
    cyclic = "torch.optim.lr_scheduler.CyclicLR"
    assert checked(small, scheduler=cyclic)[1].startswith(f"scheduler {cyclic} needs 'base_lr'")


def test_builders_of_torchvision_take_num_classes(small):
    resolved = resolve_component("model", "torchvision.models.squeezenet1_1", small.experiment)
    assert resolved.filled_later("num_classes")
    assert build(resolved, {"num_classes": 5}).classifier[1].out_channels == 5


def test_defaults_are_filled_in_and_left_to_the_signature(small):
    full = with_defaults(small.asked(optimizer="sgd"), small.experiment)
    assert full["optimizer"]["momentum"] == 0
    assert full["model"]["num_layers"] == 1
    assert "in_features" not in full["model"]
    resolved = resolve_component("optimizer", "sgd", small.experiment)
    parameters = [nn.Parameter(torch.zeros(2))]
    assert build(resolved, {"momentum": 0.5}, parameters).defaults["momentum"] == 0.5


def test_a_given_value_reaches_the_component_even_where_it_equals_its_default_in_python(
    write_small,
):
    more = "def counted(n: int | bool = 1):\n    return n\n"
    resolved = resolve_component("data", "counted", write_small(more).experiment)
    assert build(resolved, {"n": True}) is True
    assert build(resolved, {"n": 1}) == 1


def test_known_keys(small):
    full = with_defaults(small.asked(), small.experiment)
    keys = known_keys(full, small.experiment)
    for key in ("optimizer.weight_decay", "model.activation", "data.shift", "train.epochs", "loss"):
        assert key in keys
    assert len(keys) == len(set(keys))


def test_a_folder_of_the_users_is_on_the_path_of_its_experiment(write_small, tmp_path):
    module = "nets_beside_the_experiment"
    (tmp_path / f"{module}.py").write_text(
        "from torch import nn\n\n\ndef deep(in_features: int, num_classes: int) -> nn.Module:\n"
        "    return nn.Linear(in_features, num_classes)\n\n\ndef unsaid(x):\n    return x\n"
    )
    small = write_small()
    assert small.run(model=f"{module}.deep").configuration["model"]["num_classes"] == 3
    with pytest.raises(RequestError, match=f"{module} has no 'deap'. Did you mean 'deep'?"):
        resolve_component("model", f"{module}.deap", small.experiment)


def test_a_module_that_fails_to_import_says_so(write_small, tmp_path):
    (tmp_path / "broken_beside.py").write_text("raise ValueError('out of order')\n")
    with pytest.raises(RequestError, match="ValueError: out of order"):
        resolve_component("model", "broken_beside.Net", write_small().experiment)
