"""A run's id follows from its content: equal id, equal bits; and what differs can be named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from paribus.core.config.experiment import load_experiment
from paribus.core.errors import RequestError
from paribus.core.fingerprint import NO_NUMBERS, environment, explain, run_id, trace_components
from paribus.core.sources.read_digests import by_base_name
from paribus.core.sources.reads import Reads

OTHER = [
    {"optimizer": {"name": "adam", "lr": 0.02}},
    {"optimizer": {"name": "sgd", "lr": 0.01}},
    {"model": {"name": "mlp", "hidden_dim": 9}},
    {"model": "linear"},
    {"loss": "soft"},
    {"train": {"epochs": 5, "batch_size": 16}},
    {"train": {"updates": 12, "batch_size": 16}},
    {"train": {"epochs": 4, "batch_size": 17}},
    {"train": {"epochs": 4, "batch_size": 16, "eval_batch_size": 7}},
    {"split": {"seed": 1}},
    {"split": {"val_fraction": 0.2}},
    {"standardize": False},
    {"scheduler": "cosine"},
    {"metrics": ["CohenKappa"]},
    {"select": {"metric": "val/loss"}},
    {"data": {"name": "waves", "n": 61}},
]


def test_every_change_that_counts_is_another_id(small):
    ids = [small.run(**changes).id for changes in [{}, *OTHER]] + [small.run(seed=1).id]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0}},  # its default
        {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.0}},
        {"optimizer": {"name": "adam", "lr": 0.01, "foreach": "none"}},
        {"optimizer": {"lr": 0.01, "name": "adam"}},
        {"model": {"name": "mlp", "hidden_dim": 8, "dropout": 0, "num_layers": 1}},
        {"model": {"name": "mlp", "hidden_dim": 8, "in_features": 4}},
        {"split": {"method": "stratified"}},
        {"standardize": True},
        {"select": {"metric": "val/accuracy"}},
        {"data": {"name": "small.py:waves", "root": "/elsewhere"}},
        {"data": {"name": "small.py:waves", "download": True}},
        {"data": {"name": "small.py:waves", "shift": 0}},
    ],
)
def test_the_same_request_in_other_words_is_the_same_id(changes, small):
    assert small.run(**changes).id == small.run().id


def test_an_id_says_experiment_and_seed(small):
    assert small.run(3).id.startswith("small-s3-")
    assert len(small.run(3).id.rpartition("-")[2]) == 12
    assert run_id("my exp/é", {"seed": 0}).startswith("my-exp-s0-")
    assert run_id("é", {"seed": 0}).startswith("experiment-s0-")


BASELINE_LINES = ('    "loss": "cross_entropy",\n', '    "task": "multiclass",\n')


@pytest.mark.parametrize(
    "replace",
    [
        [("SCALE = 0.8", "# a comment\nSCALE = 0.8  # another")],
        [("Can a small net", "Could a small net")],
        [(BASELINE_LINES[0], ""), (BASELINE_LINES[1], "".join(BASELINE_LINES))],
        [("[0.001, 0.1]", "[0.5]")],
    ],
    ids=["comment", "docstring", "order of BASELINE", "AXES"],
)  # fmt: skip
def test_edits_that_change_no_number_keep_the_id(replace, write_small):
    before = write_small().run().id
    assert write_small(replace=replace).run().id == before


def test_the_same_file_elsewhere_is_the_same_run(write_small):
    assert write_small(name="here/small.py").run().id == write_small(name="there/small.py").run().id


@pytest.mark.parametrize(
    ("replace", "changes", "part"),
    [
        ([("nn.ReLU()", "nn.GELU()")], {"model": "Net"}, "small.py"),
        ([("nn.ReLU()", "nn.GELU()")], {}, "small.py"),  # a file counts whole
        (
            [("label_smoothing=smooth", "label_smoothing=smooth * 2")],
            {"loss": "soft"},
            "small.py",
        ),
        ([("SCALE = 0.8", "SCALE = 0.9")], {}, "small.py"),
    ],
)
def test_an_edit_changes_the_id_and_the_file_is_named(replace, changes, part, write_small):
    before, after = write_small().run(**changes), write_small(replace=replace).run(**changes)
    assert before.id != after.id
    differs = explain(before.identity, after.identity)
    assert part in differs
    assert set(differs) <= {part, "data"}


def test_a_table_that_has_moved_is_the_same_run(small, tmp_path):
    rows = [f"{n},{n % 7},{'up' if n % 3 else 'down'}" for n in range(40)]
    ids = []
    for folder, last in (("here", "39,4,down"), ("there", "39,4,down"), ("other", "39,5,down")):
        path = tmp_path / folder / "table.csv"
        path.parent.mkdir()
        path.write_text("\n".join(["a,b,way", *rows[:-1], last]))
        ids.append(small.run(data={"name": "table", "path": str(path), "target": "way"}).id)
    assert ids[0] == ids[1] != ids[2]


FROM_FILE = """
import numpy as np
from pathlib import Path


def from_file():
    x = np.load(Path(__file__).with_name("x.npy"))
    return x, np.arange(len(x)) % 2
"""


def test_one_value_of_the_data_changes_the_id(write_small, tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 3))
    np.save(tmp_path / "x.npy", values)
    first = write_small(FROM_FILE).run(data="from_file")
    assert write_small(FROM_FILE).run(data="from_file").id == first.id
    values[17, 1] += 1e-3
    np.save(tmp_path / "x.npy", values)
    second = write_small(FROM_FILE).run(data="from_file")
    assert second.id != first.id
    differs = explain(first.identity, second.identity)
    assert list(differs) == ["data"]
    assert differs["data"] == [first.identity["data"], second.identity["data"]]


def test_explain_names_keys_and_fields(small):
    first = small.run()
    second = small.run(seed=2, optimizer={"name": "adam", "lr": 0.5})
    assert explain(first.identity, second.identity) == {"optimizer.lr": [0.01, 0.5], "seed": [0, 2]}
    assert explain(first.identity, first.identity) == {}
    moved = {**first.identity, "environment": {**first.identity["environment"], "torch": "9"}}
    assert explain(first.identity, moved) == {"torch": [environment()["torch"], "9"]}
    assert explain(first.identity, {**first.identity, "numerics": -1})["numerics"][1] == -1


def test_each_field_of_the_environment_counts(small):
    parts = small.run().identity
    assert {"python", "torch", "numpy", "cpu", "threads", "pinned"} <= set(parts["environment"])
    for name in parts["environment"]:
        changed = {**parts, "environment": {**parts["environment"], name: "another"}}
        assert run_id("small", changed) != run_id("small", parts), name


def test_sources_and_distributions_of_what_is_used(small):
    assert list(small.run().identity["sources"]) == ["small.py"]
    named, _ = trace_components(
        small.asked(model="Net", data="sklearn.datasets.load_iris", metrics=["CohenKappa"]),
        load_experiment(small.path),
        Reads(),
    )
    assert set(named.digests) == {"small.py"}
    assert {"sklearn", "torchmetrics"} <= set(named.distributions)
    assert named.files["small.py"] == small.path


def test_keywords_that_change_no_number_are_not_in_the_identity(small):
    run = small.run(data={"name": "waves", "root": "/a"})
    assert not set(NO_NUMBERS) & set(run.identity["configuration"]["data"])
    assert run.configuration["data"]["root"] == "/a"  # but the record has them


READS = """
import os
from pathlib import Path


def reads(in_features: int, num_classes: int):
    net = nn.Linear(in_features, num_classes)
    net.load_state_dict(torch.load(Path(__file__).with_name("w.pt"), weights_only=True))
    return net


def drawn_elsewhere(in_features: int, num_classes: int):
    net = nn.Linear(in_features, num_classes)
    net.weight.data.fill_(int.from_bytes(os.urandom(3), "big"))
    return net
"""


def test_weights_that_a_model_reads_by_itself_change_the_id_and_are_named(write_small, tmp_path):
    found = []
    for value in (0.0, 0.0, 1.0):
        torch.save({"weight": torch.full((3, 4), value), "bias": torch.zeros(3)}, tmp_path / "w.pt")
        small = write_small(READS)
        found.append(small.run(model="reads"))
        assert small.run(3, model="reads").id != small.run(model="reads").id == found[-1].id
    assert found[0].id == found[1].id != found[2].id
    assert list(explain(found[0].identity, found[2].identity)) == ["initial_weights", "w.pt"]


def test_a_model_drawn_by_no_seed_is_refused_by_the_names_of_its_tensors(write_small):
    with pytest.raises(RequestError, match=r"drawn_elsewhere: made twice .* weight differs"):
        write_small(READS).run(model="drawn_elsewhere")


def test_what_is_changed_after_the_first_weights_leaves_their_hash(small):
    first = small.run().identity["initial_weights"]
    for changes in OTHER[:2] + OTHER[4:6]:
        assert small.run(**changes).identity["initial_weights"] == first
    assert small.run(model="linear").identity["initial_weights"] != first


def test_files_of_one_name_are_told_apart_by_their_folders():
    found = by_base_name(
        {"/p/q/config.json": "1", "/p/q/enc/config.json": "2", "/p/q/dec/config.json": None}
        | {"/p/q/": "3", "/p/": "4", "/p/q/x/": "5", "/data/x/": "6", "/data/x": "7"},
        Path("/p/q"),
    )
    names = {"config.json": "1", "enc/config.json": "2", "dec/config.json": None}
    names |= {"./": "3", "../": "4", "q/x/": "5", "data/x/": "6", "x": "7"}
    assert found == names
