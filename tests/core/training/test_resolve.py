"""Resolving fills in what follows, and refuses before training what could only mislead."""

import json

import pytest
import torch

from paribus.core.errors import RequestError
from paribus.core.run_spec import ENGINES, choose_engine
from paribus.core.training.resolve import choose_device

ONE_CYCLE = {"name": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1}
SLOPES = {"task": "regression", "data": "slopes", "loss": "mse"}


NET_OF_MINE = """
class Mine(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return {}
"""


def refused(small, **changes):
    with pytest.raises(RequestError) as caught:
        small.run(**changes)
    return str(caught.value)


def test_nothing_is_left_to_be_decided(small):
    found = small.resolved()
    assert found["model"] == {
        "name": "mlp", "hidden_dim": 8, "num_layers": 1, "activation": "relu", "dropout": 0.0,
        "in_features": 4, "out_features": 3,
    }  # fmt: skip
    assert found["split"]["method"] == "stratified"
    assert found["standardize"] is True
    assert found["select"] == {"metric": "val/accuracy", "direction": "maximize"}
    assert found["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert found["optimizer"]["fused"] is True
    assert found["scheduler"] == {"name": "constant"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_regression_has_its_own_defaults(small):
    found = small.resolved(**SLOPES | {"data": {"name": "slopes", "columns": 2}})
    assert found["split"]["method"] == "random"
    assert found["select"] == {"metric": "val/mae", "direction": "minimize"}
    assert (found["model"]["in_features"], found["model"]["out_features"]) == (3, 2)


def test_own_models_get_what_their_signature_names(small):
    assert small.resolved(model="Net")["model"] == {
        "name": "small.py:Net", "width": 6, "rate": 0.0, "in_features": 4, "num_classes": 3
    }  # fmt: skip


def test_what_the_user_gives_stays(small):
    assert small.resolved(scheduler={"name": "cosine", "T_max": 7})["scheduler"]["T_max"] == 7
    split = {"method": "in_order", "val_fraction": 0.2, "test_fraction": 0.2}
    found = small.resolved(split=split, standardize=False, device="cpu")
    assert (found["split"]["method"], found["standardize"]) == ("in_order", False)
    assert "fused" not in small.resolved(optimizer="rmsprop")["optimizer"]
    for name in ("foreach", "fused", "differentiable"):
        chosen = small.resolved(optimizer={"name": "sgd", name: False})["optimizer"]
        assert chosen["fused"] is (True if name == "differentiable" else chosen.get("fused"))
    assert small.resolved(optimizer={"name": "sgd", "fused": False})["optimizer"]["fused"] is False
    assert small.resolved(optimizer={"name": "sgd", "foreach": True})["optimizer"]["fused"] is None


def test_a_highest_rate_has_the_default_of_the_user_s_function(write_small):
    """Found: it was the optimizer's rate, without a word."""
    code = """
def cycle(optimizer, total_steps, max_lr=0.05):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps)
"""
    found = write_small(code).resolved(scheduler="cycle")
    assert found["scheduler"]["max_lr"] == 0.05


def test_a_fault_of_the_model_is_named_with_its_line(write_small):
    code = NET_OF_MINE.format("self.layers(x)")
    path, line = "small.py", code.count("\n", 0, code.index("self.layers")) + 1
    small = write_small(code)
    line += small.path.read_text().count("\n", 0, small.path.read_text().index(code))
    said = refused(small, model="Mine")
    assert f"'Mine' object has no attribute 'layers' ({path}, line {line})." in said
    assert "in_features" not in said  # it has it


READ_ONCE = """
import functools
import json
from pathlib import Path


@functools.cache
def factor():
    return json.loads(Path(__file__).with_name("late.json").read_text())


class Scaled(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.layer(x * factor())
"""


def test_what_forward_reads_once_is_seen_also_while_a_cohort_is_tried(write_small):
    """Found: the cohort's trial came first, and what it read was in a cache from then on."""
    small = write_small(READ_ONCE)
    late = small.path.with_name("late.json")
    late.write_text("2.0")
    run = small.run(model="Scaled")
    assert small.resolver.reads.later_of(run)["files"].keys() == {"late.json"}


SETS_GLOBALS = """
import json
from pathlib import Path

STATS = {}


def measured(shift: float = 0.0):
    STATS.update(json.loads(Path(__file__).with_name("stats.json").read_text()))
    x, kind = waves()
    return x + shift, kind


class Scaled(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.layer(x) * STATS.get("scale", 1.0)
"""


def test_globals_that_a_data_function_sets_are_the_model_s(write_small):
    """Found: the modules were imported anew before the model was made, and the dict was empty."""
    small = write_small(SETS_GLOBALS)
    stats = small.path.with_name("stats.json")
    stats.write_text('{"scale": 3.5}')
    run = small.run(data="measured", model="Scaled")
    assert run.identity["files"].keys() == {"stats.json"}
    assert run.noted["globals"] == ["small.STATS"]
    asked = small.asked(data="measured", model="Scaled")
    state = small.resolver.train_state(asked, 0)
    x, _ = state.data.train.inputs_of(4)
    layer = state.model.layer
    assert state.model(x).equal(layer(x) * 3.5)


def test_what_python_keeps_of_an_import_is_no_global_of_the_user_s(write_small, tmp_path):
    """Found: a data function that was the first to look into a folder had set `sys`'s cache."""
    looked = write_small(
        f"import sys\n\n\ndef first():\n    sys.path_importer_cache[{str(tmp_path)!r}] = None\n"
        "    return waves()\n"
    )
    assert "globals" not in looked.run(data="first").noted


def test_a_data_function_that_changes_globals_has_one_set_of_keywords(write_small):
    small = write_small(SETS_GLOBALS)
    small.path.with_name("stats.json").write_text("{}")
    drawn = write_small("import numpy as np\n\nRNG = np.random.default_rng(0)\n\n\n"
                        "def noisy(shift: float = 0.0):\n    x, kind = waves()\n"
                        "    return x + RNG.normal(size=x.shape) + shift, kind\n")  # fmt: skip
    drawn.run(data="noisy")
    with pytest.raises(RequestError, match=r"data small.py:noisy changes small.RNG when"):
        drawn.run(data={"name": "noisy", "shift": 1.0})


def test_a_folder_that_is_on_the_path_only_for_an_import(write_small, tmp_path):
    """Found: planning had no end."""
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "thirds.py").write_text("WIDTH = 3\n")
    small = write_small(
        "import sys\n\nsys.path.insert(0, __file__.replace('small.py', 'third'))\n"
        "import thirds\n\nsys.path.pop(0)\n"
    )
    before = small.run(model="Net").identity["sources"]
    assert before.keys() == {"small.py", "thirds"}


def test_outputs_of_another_shape_are_asked_for_by_shape(write_small):
    said = refused(write_small(NET_OF_MINE.format("self.layer(x).squeeze()[..., 0]")), model="Mine")
    assert said.endswith("Let it return [2, 3].")
    small = write_small(
        NET_OF_MINE.format("self.layer(x).squeeze(-1)").replace("num_classes", "out_features")
        + "\n\ndef heights():\n    x, kind = waves()\n    return x, kind * 0.5\n"
    )
    said = refused(small, model="Mine", data="heights", task="regression", loss="mse")
    assert said.endswith("Let it return [2, 1]: leave out squeeze(-1).")


@pytest.mark.parametrize(
    ("train", "epochs", "updates"),
    [
        ({"epochs": 5, "batch_size": 16}, 5, 15),
        ({"epochs": 5, "batch_size": 42}, 5, 5),
        ({"updates": 7, "batch_size": 16}, 3, 7),
        ({"updates": 6, "batch_size": 16}, 2, 6),
        ({"updates": 1, "batch_size": 1}, 1, 1),
    ],
)
def test_what_follows_from_the_length_of_training(train, epochs, updates, small):
    # 60 examples, 15 % each for validation and test: 42 are left.
    cosine = small.run(train=train, scheduler="cosine")
    assert (cosine.facts["epochs"], cosine.facts["updates"]) == (epochs, updates)
    assert cosine.configuration["scheduler"]["T_max"] == epochs
    found = small.resolved(train=train, scheduler=ONE_CYCLE)["scheduler"]
    assert found["total_steps"] == updates
    assert not {"epochs", "steps_per_epoch"} & set(found)


def test_facts(small):
    facts = small.run().facts
    assert facts == {
        "epochs": 4,
        "updates": 12,
        "updates_per_epoch": 3,
        "parameters": 5 * 8 + 9 * 3,
        "directions": {},
    }


READY = """
def fixed():
    x, y = waves()
    return {"train": (x[:40], y[:40]), "val": (x[40:], y[40:])}


def drawn():
    x, y = waves()
    order = torch.randperm(60)
    return {"train": (x[order[:40]], y[order[:40]]), "val": (x[order[40:]], y[order[40:]])}
"""


def test_a_split_that_ready_made_parts_have_no_use_for(write_small):
    small = write_small(READY)
    asked = {"method": "random", "seed": 3, "val_fraction": 0.2, "test_fraction": 0.0}
    assert refused(small, data="fixed", split=asked) == (
        "data small.py:fixed gives ready-made parts, so split.method=random, split.seed=3, "
        "split.val_fraction=0.2, split.test_fraction=0.0 would change nothing. Leave it out, or "
        "return one set of examples."
    )
    told = small.resolved(data="fixed")["split"]
    assert small.resolved(data="fixed", split=told)["split"] == told  # as `reproduce` asks for it


def test_the_split_seed_of_parts_that_are_drawn(write_small):
    small = write_small(READY)
    first, second = (
        small.resolver.data(small.asked(data="drawn", split={"seed": seed}), 0) for seed in (0, 3)
    )
    assert first.fingerprint != second.fingerprint


def test_all_faults_of_the_components_come_together(small):
    text = refused(small, model={"name": "mlp", "hidden": 3}, optimizer={"name": "adam", "lr": "x"})
    assert "no keyword 'hidden'" in text
    assert "optimizer.lr=x" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(small):
    assert "device=cuda: there is no CUDA device here." in refused(small, device="cuda")
    assert choose_device("auto") == choose_device("cpu") == "cpu"


def test_engines():
    assert choose_engine("auto", "loop") == choose_engine("loop", "loop") == "loop"
    assert choose_engine("auto", "cohort") == choose_engine("cohort", "cohort") == "cohort"
    assert choose_engine("loop", "cohort") == "loop"
    with pytest.raises(RequestError, match="Choose auto, loop or cohort"):
        choose_engine("lopo")
    with pytest.raises(RequestError, match="does not train this: it is odd"):
        choose_engine("cohort", "loop", "it is odd")
    assert set(ENGINES) == {"auto", "loop", "cohort", "script"}


def test_none_and_whole_numbers_reach_the_data_function_as_its_signature_has_them(write_small):
    more = (
        "def picky(limit: int | None = 3, scale: float = 1.0):\n"
        "    assert limit is None and type(scale) is float\n    return waves()\n"
    )
    data = {"name": "picky", "limit": "none", "scale": 2}
    small = write_small(more)
    assert small.run(data=data).configuration["data"]["limit"] is None
    assert len(small.resolver.data(small.asked(data=data), 0).train) == 41
    assert small.resolver.train_state(small.asked(data=data), 0).epochs == 4


def test_data_is_loaded_once_for_all_settings_and_seeds(write_small):
    more = "CALLS = []\n\n\ndef counted():\n    CALLS.append(1)\n    return waves()\n"
    small = write_small(more)
    for seed in (0, 1):
        for rate in (0.1, 0.2):
            small.run(seed, data="counted", optimizer={"name": "adam", "lr": rate})
    small.run(data="counted", split={"val_fraction": 0.3})
    assert len(small.experiment.objects["CALLS"]) == 1


def test_a_probe_leaves_the_generators_of_the_process_as_they_were(small):
    before = torch.get_rng_state()
    small.run(model="Net")
    assert torch.equal(torch.get_rng_state(), before)


EMBEDDED = """
class Words(nn.Module):
    def __init__(self, num_classes: int, how: str = "as they are"):
        super().__init__()
        self.how, self.table, self.head = how, nn.Embedding(9, 3), nn.Linear(3, num_classes)

    def forward(self, x):
        x = {"as they are": lambda: x, "cast": x.long, "moved": lambda: x + 1}[self.how]()
        return self.head(self.table(x).mean(1))


class Positions(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.place, self.head = nn.Embedding(4, 1), nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.head(x + self.place(torch.arange(4))[:, 0])


class Read(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], int(self.y[row])


def indices(form: str = "array"):
    x, y = torch.arange(240).reshape(60, 4) * 7 % 8, torch.arange(60) % 3
    forms = {"array": x.numpy(), "tensor": x.int(), "floats": x.float()}
    return Read(x, y) if form == "dataset" else (forms[form], y)
"""


def test_integers_stay_integers_for_a_model_that_embeds_them(write_small):
    small = write_small(EMBEDDED)

    def inputs(model, form="array", **more):
        asked = small.asked(data={"name": "indices", "form": form}, model=model, **more)
        return next(small.resolver.data(asked, 0).train.batches(50))[0]

    for form in ("array", "tensor", "dataset"):
        for how in ("as they are", "cast", "moved"):
            found = inputs({"name": "Words", "how": how}, form)
            assert found.dtype == torch.int64
            assert found[:2].tolist() == inputs("linear", form, standardize=False)[:2].tolist()
    assert small.resolved(data="indices", model="Words")["standardize"] is False
    for model in ("Positions", "linear", "mlp"):  # to these they are quantities
        found = inputs(model)
        assert found.dtype == torch.float32
        assert abs(found.mean()) < 1e-3
    assert inputs({"name": "Words", "how": "cast"}, "floats").dtype == torch.float32
    assert inputs({"name": "Words", "how": "cast"}, standardize=True).dtype == torch.float32


def test_ids_that_an_embedding_has_not_are_named(write_small):
    small = write_small(EMBEDDED.replace("nn.Embedding(9, 3)", "nn.Embedding(7, 3)"))
    expected = (
        "model small.py:Words looks up ids that its embedding has not: the inputs hold ids up to "
        "7, it has 7 rows. Give it a row for each id, from 0 on."
    )
    assert refused(small, model="Words", data="indices") == expected
