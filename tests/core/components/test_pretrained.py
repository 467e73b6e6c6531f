"""Beginning with weights of a file, training only some layers: what fits, what is refused."""

import json
import pickle
import shutil

import pytest
import torch
from manifest import write_manifest
from safetensors.torch import save_file

from paribus.core.errors import RequestError
from paribus.core.inference.decision_surface import surface_of_run
from paribus.core.inference.evaluate import evaluate_run
from paribus.core.records.run_dir import BEST, RECORD, RunFolder
from paribus.core.training.engine import Job
from paribus.core.training.job import train_job
from paribus.core.training.loop import Loop

NET = {"name": "Net", "width": 6}
EPOCHS = {"epochs": 2, "batch_size": 16}


def state(small, **changes):
    """A model's state before the first step."""
    return small.resolver.train_state(small.asked(**changes), 0).model.state_dict()


def beginning(small, path, seed=1, **changes):
    """What a run begins with that starts from a file, and the layers that start fresh."""
    changes = {"model": NET} | changes
    changes["train"] = EPOCHS | changes.get("train", {}) | {"start_from": str(path)}
    train_state = small.resolver.train_state(small.asked(**changes), seed)
    return train_state.model.state_dict(), train_state.fresh


def refusal(small, path, **changes):
    with pytest.raises(RequestError) as caught:
        beginning(small, path, **changes)
    return str(caught.value)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def trained(small, folder, run):
    folder.mkdir()
    *_, last = train_job((run,), {run.id: folder}, 1e9)
    assert last.ended == "complete", last.reason
    return RunFolder(folder)


@pytest.fixture
def before(small, tmp_path):
    """A finished run and the path of its best weights."""
    folder = trained(small, tmp_path / "before", small.run(model=NET, train=EPOCHS))
    return folder, folder.folder / BEST


def test_a_run_s_best_weights_are_where_another_begins(small, before):
    folder, path = before
    found, fresh = beginning(small, path)
    assert same(found, folder.weights())
    assert fresh == {}


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_of_torch(small, tmp_path, wrapped):
    held = state(small, model=NET)
    torch.save({"state_dict": held, "epoch": 3} if wrapped else held, tmp_path / "a.pt")
    assert same(beginning(small, tmp_path / "a.pt")[0], held)


def test_statistics_that_files_of_old_torch_lack_are_no_difference(small, tmp_path):
    held = {k: v for k, v in state(small, model=NET).items() if "num_batches_tracked" not in k}
    torch.save(held, tmp_path / "a.pt")
    found, _ = beginning(small, tmp_path / "a.pt")
    assert found["body.1.num_batches_tracked"] == 0
    assert all(torch.equal(found[name], value) for name, value in held.items())


def test_layers_sized_by_the_number_of_classes_start_fresh_and_are_named(small, tmp_path):
    held = state(small, model={**NET, "num_classes": 5} | {"name": "Net"})
    save_file(held, tmp_path / "five.safetensors")
    found, fresh = beginning(small, tmp_path / "five.safetensors")
    assert fresh == {"head": "3 classes, file has 5"}
    plain = state_of_seed(small, 1)
    for name, value in found.items():
        assert torch.equal(value, (plain if name.startswith("head.") else held)[name]), name
    run = small.run(model=NET, train=EPOCHS | {"start_from": str(tmp_path / "five.safetensors")})
    assert run.facts["fresh"] == {"head": "3 classes, file has 5"}


OTHERS = """
def named(names: list[str], columns: list[str], n: int = 60):
    x, kind = waves(n)
    return {"data": x, "target": kind, "target_names": names, "feature_names": columns}


def words(first: str, n: int = 60):
    import pandas
    told = [["good", "bad", first][i % 3] + " day" for i in range(n)]
    return told, [["no", "yes"][i % 2] for i in range(n)]
"""
NO_HEAD = """
class Turned(Net):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__(in_features, num_classes)
        self.head = nn.Linear(1, 1)
        self.last = nn.Parameter(torch.ones(6, num_classes))

    def forward(self, x):
        return self.body(x) @ self.last
"""
NAMED = {"name": "named", "names": ["ant", "bee", "cat"], "columns": ["a", "b", "c", "d"]}


@pytest.fixture
def begun(write_small, tmp_path):
    """Begins with the weights of a run on named classes and columns, on data that differ."""
    small = write_small(OTHERS)
    folder = trained(small, tmp_path / "named", small.run(data=NAMED, model=NET, train=EPOCHS))

    def begin(**changes):
        return beginning(small, folder.folder / BEST, **{"data": NAMED} | changes)

    return begin, folder


def test_as_many_classes_of_other_names_have_a_fresh_head(begun):
    begin, folder = begun
    found, fresh = begin()
    assert same(found, folder.weights())
    assert fresh == {}
    for names in (["ant", "bee", "dog"], ["bee", "ant", "cat"]):
        found, fresh = begin(data=NAMED | {"names": names})
        assert fresh == {"head": f"classes ant, bee, cat in the file, {', '.join(names)} here"}
        assert changed(folder.weights(), found) == {"head.weight", "head.bias"}


def test_other_classes_are_refused_where_no_layer_is_sized_by_their_number(write_small, tmp_path):
    small = write_small(OTHERS + NO_HEAD)
    run = small.run(data=NAMED, model="Turned", train=EPOCHS)
    path = trained(small, tmp_path / "turned", run).folder / BEST
    assert beginning(small, path, data=NAMED, model="Turned")[1] == {}
    said = refusal(small, path, data=NAMED | {"names": ["x", "y", "z"]}, model="Turned")
    assert "classes ant, bee, cat in the file, x, y, z here, and no layer that could start" in said


def test_other_columns_and_another_standardization_are_refused(begun):
    begin, folder = begun
    with pytest.raises(RequestError) as caught:
        begin(data=NAMED | {"columns": ["a", "b", "c", "e"]}, standardize=False)
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        f"{folder.folder / BEST} was trained on other columns: only in the file d"
    )
    assert "; only here e. Take data with the columns of the file" in first
    assert "was trained on standardized inputs, and standardize=false here." in second
    assert "Set standardize=true, or leave train.start_from out." in second
    with pytest.raises(RequestError, match="they are in another order"):
        begin(data=NAMED | {"columns": ["b", "a", "c", "d"]})
    begin(split={"seed": 4})  # another mean and scale is none of it


def test_another_vocabulary_is_refused(write_small, tmp_path):
    small = write_small(OTHERS)
    plain = {"model": "text_bag", "split": {"folds": 1}}
    asked = [{"data": {"name": "words", "first": word}, **plain} for word in ("fine", "poor")]
    before = trained(small, tmp_path / "words", small.run(train=EPOCHS, **asked[0]))
    assert beginning(small, before.folder / BEST, **asked[0])[1] == {}
    said = refusal(small, before.folder / BEST, **asked[1])
    assert "was trained on other words: only in the file fine; only here poor." in said
    # Without what a run says of them they are mere tensors.
    save_file(before.weights(), tmp_path / "mere.safetensors")
    assert beginning(small, tmp_path / "mere.safetensors", **asked[1])[1] == {}


@pytest.mark.parametrize("said", ["", "no", "[1]", '{"class_names": 3}', '{"text": "pear"}'])
def test_what_another_program_says_of_its_file_is_left_alone(small, tmp_path, said):
    held = state(small, model=NET)
    save_file(held, tmp_path / "a.safetensors", {"preprocessing": said})
    assert same(beginning(small, tmp_path / "a.safetensors")[0], held)


def state_of_seed(small, seed):
    return small.resolver.train_state(small.asked(model=NET), seed).model.state_dict()


def test_missing_unexpected_and_other_shapes_are_listed_together(small, tmp_path):
    held = state(small, model=NET)
    del held["body.0.bias"]
    held["tail.weight"] = torch.zeros(2)
    held["body.1.weight"] = torch.zeros(9)
    torch.save(held, tmp_path / "odd.pt")
    said = refusal(small, tmp_path / "odd.pt")
    assert f"{tmp_path}/odd.pt lacks body.0.bias." in said
    assert "has unexpected tail.weight." in said
    assert "body.1.weight has shape [9], the model's has [6]" in said
    assert len(said.splitlines()) == 3


def test_a_hidden_layer_of_another_width_is_no_head(small, tmp_path):
    torch.save(state(small, model={**NET, "width": 7}), tmp_path / "wide.pt")
    said = refusal(small, tmp_path / "wide.pt")
    assert "body.0.weight has shape [7, 4], the model's has [6, 4]" in said
    assert "head.weight has shape [3, 7], the model's has [3, 6]" in said


def test_a_file_of_which_nothing_would_be_used_is_refused(small, tmp_path):
    held = {"weight": torch.zeros(5, 4), "bias": torch.zeros(5)}
    torch.save(held, tmp_path / "five.pt")
    said = refusal(small, tmp_path / "five.pt", model="linear")
    assert "nothing would begin with it. Leave train.start_from out." in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pt", b"no weights"),
        ("a.pt", b""),
        ("a.safetensors", b"no weights"),
        ("a.safetensors", b""),
        ("list.pt", [1, 2]),
        ("words.pt", {"a": "b"}),
        ("empty.pt", {}),
        ("tensor.pt", torch.ones(2, 2)),
    ],
)
def test_a_file_that_is_no_weights_is_named(small, tmp_path, name, content):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    said = refusal(small, tmp_path / name)
    assert said.startswith(f"train.start_from: {tmp_path}/{name} holds no weights: ")
    assert said.endswith("Give a .safetensors file, or a state dict saved by torch.save.")
    assert "\n" not in said


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


def test_a_pickle_with_code_is_refused_and_not_executed(small, tmp_path):
    mark = tmp_path / "executed"
    with (tmp_path / "a.pt").open("wb") as file:
        pickle.dump({"weight": Bomb(mark)}, file, protocol=2)
    assert "holds no weights" in refusal(small, tmp_path / "a.pt")
    torch.save({"weight": Bomb(mark)}, tmp_path / "b.pt")
    assert "holds no weights" in refusal(small, tmp_path / "b.pt")
    assert not mark.exists()


def test_no_file(small, tmp_path):
    said = refusal(small, tmp_path / "none.pt")
    assert said.startswith(f"train.start_from: there is no file {tmp_path}/none.pt. Give a .safete")


def test_the_id_follows_the_content_of_the_file_not_its_place(small, tmp_path):
    held = state(small, model=NET)
    for name in ("a.pt", "b.pt"):
        torch.save(held, tmp_path / name)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "a.pt", tmp_path / "elsewhere" / "a.pt")
    held["head.bias"] += 1
    torch.save(held, tmp_path / "b.pt")

    def run_id(path):
        train = EPOCHS | {"start_from": path and str(path)}
        return small.run(model=NET, train=train).id

    here, there = run_id(tmp_path / "a.pt"), run_id(tmp_path / "elsewhere" / "a.pt")
    assert here == there
    assert len({here, run_id(tmp_path / "b.pt"), run_id(None)}) == 3


def test_evaluating_needs_no_file_that_the_run_began_with(small, before, tmp_path):
    _, path = before
    moved = tmp_path / "there.safetensors"
    shutil.copy(path, moved)
    run = small.run(5, model=NET, train=EPOCHS | {"start_from": str(moved)})  # of the same fold
    folder = trained(small, tmp_path / "after", run)
    moved.unlink()
    found = evaluate_run(folder.folder, "val")
    assert found.differs == {}


TRACK = """
def track(n: int = 40):
    x = torch.linspace(-1, 1, n)[:, None]
    return x, (x[:, 0] > 0).long()
"""


def test_drawing_the_answers_needs_neither_that_file_nor_the_run_s_gpu(write_small, tmp_path):
    small = write_small(TRACK)
    start = tmp_path / "start.pt"
    torch.save(state(small, data="track"), start)
    run = small.run(data="track", train=EPOCHS | {"start_from": str(start)}, device="cpu")
    folder = trained(small, tmp_path / "run", run)
    start.unlink()
    record = json.loads((folder.folder / RECORD).read_text())
    record["asked"]["device"] = record["configuration"]["device"] = "cuda"
    (folder.folder / RECORD).write_text(json.dumps(record))
    write_manifest(folder.folder)
    surface = surface_of_run(folder.folder)
    found = (surface.val.targets == surface.val.predicted).mean()
    assert found == record["best"]["metrics"]["val/accuracy"]


# ----------------------------------------------------------------- train.only

NESTED = """
class Nested(nn.Module):
    # a parameter of its own beside the layers, and noise in the layer that is trained
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(in_features))
        self.body = nn.Sequential(nn.Linear(in_features, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.fixed = nn.Linear(6, 6)
        self.fixed.requires_grad_(False)
        self.head = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, num_classes))

    def forward(self, x):
        return self.head(self.fixed(self.body(x * self.scale)))
"""


def after_training(small, only, model="Net"):
    """(state before, state after, the run)."""
    run = small.run(model=model, train=EPOCHS | {"only": only})
    *_, (last,) = Loop().train(Job((run,), small.resolver), {})
    return state(small, model=model), last.state()["model"], run


def changed(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_only_these_prefixes_are_trained_and_the_rest_stays_to_the_bit(small):
    first, last, run = after_training(small, ["head"])
    assert changed(first, last) == {"head.weight", "head.bias"}  # no statistics of body.1 either
    assert run.facts["parameters"] == 6 * 3 + 3
    first, last, _ = after_training(small, ["body.0", "head.bias"])
    assert changed(first, last) == {"body.0.weight", "body.0.bias", "head.bias"}


def test_a_layer_of_which_one_parameter_is_trained_keeps_counting(small):
    first, last, _ = after_training(small, ["body.1.weight"])
    statistics = {f"body.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed(first, last) == {"body.1.weight"} | statistics


def test_layers_inside_of_a_frozen_one_are_trained_as_ever(write_small):
    first, last, _ = after_training(write_small(NESTED), ["head"], model="Nested")
    assert changed(first, last) == {name for name in first if name.startswith("head.")}


def test_what_the_model_froze_itself_stays_frozen(write_small):
    first, last, _ = after_training(write_small(NESTED), ["fixed", "head"], model="Nested")
    assert changed(first, last) == {name for name in first if name.startswith("head.")}


def test_an_unknown_prefix_is_refused_with_the_nearest(small):
    with pytest.raises(RequestError) as caught:
        small.run(model=NET, train=EPOCHS | {"only": ["haed", "body.7", "hea"]})
    said = str(caught.value).splitlines()
    assert said[0] == "train.only: no parameter begins with 'haed'. Did you mean 'head'?"
    assert said[1].startswith("train.only: no parameter begins with 'body.7'.")
    assert len(said) == 3  # a prefix ends where a name does


# ---------------------------------------------------------------- torchvision

RESNET = {"name": "torchvision.models.resnet18", "weights": "IMAGENET1K_V1"}
PICTURES = """
def pictures(n: int = 12):
    kind = torch.arange(n) % 3
    return torch.sin(torch.arange(n * 3 * 32 * 32.0)).reshape(n, 3, 32, 32), kind
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Torch's folder of downloaded weights, empty; nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    place = tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    return place


def pictured(write_small):
    small = write_small(PICTURES)
    half = {"method": "in_order", "val_fraction": 0.25, "test_fraction": 0.0}
    return small, {"data": "pictures", "split": half, "model": RESNET}


def test_weights_of_torchvision_begin_with_a_fresh_head(write_small, home):
    from torchvision.models import resnet18

    torch.manual_seed(5)
    # As the real file is: made before torch counted batches.
    held = {k: v for k, v in resnet18().state_dict().items() if "num_batches_tracked" not in k}
    torch.save(held, home / "resnet18-f37072fd.pth")
    small, changes = pictured(write_small)
    run = small.run(**changes)
    assert run.facts["fresh"] == {"fc": "3 classes, file has 1000"}
    train_state = small.resolver.train_state(small.asked(**changes), 1)
    found = train_state.model.state_dict()
    assert found["fc.weight"].shape == (3, 512)
    assert all(torch.equal(found[k], v) for k, v in held.items() if not k.startswith("fc."))
    plain = changes | {"model": {**RESNET, "weights": None}}
    other = small.resolver.train_state(small.asked(**plain), 1).model.state_dict()
    assert torch.equal(found["fc.weight"], other["fc.weight"])  # drawn as without weights

    held["conv1.weight"] = held["conv1.weight"] + 1
    torch.save(held, home / "resnet18-f37072fd.pth")
    again = write_small(PICTURES)
    assert again.run(**changes).id != run.id  # equal ids mean equal bits


def test_without_the_file_the_place_is_named(write_small, home):
    small, changes = pictured(write_small)
    with pytest.raises(RequestError) as caught:
        small.run(**changes)
    said = str(caught.value)
    assert said.startswith(
        f"model.weights=IMAGENET1K_V1: {home}/resnet18-f37072fd.pth is not there and cannot be "
        "downloaded: URLError"
    )
    assert said.endswith(
        "Put there https://download.pytorch.org/models/resnet18-f37072fd.pth, or leave "
        "model.weights out."
    )
    assert list(home.iterdir()) == []


def test_a_damaged_file_is_not_called_missing(write_small, home):
    (home / "resnet18-f37072fd.pth").write_bytes(b"half of a down")
    small, changes = pictured(write_small)
    with pytest.raises(RequestError, match=r"f37072fd\.pth holds no such weights: .* Replace it"):
        small.run(**changes)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({**RESNET, "weights": "IMAGENET1K_V3"}, "no such weights. Did you mean 'IMAGENET1K_V1'?"),
        ({"name": "torchvision.models.mnasnet0_5", "weights": "IMAGNET1K_V1"}, "Did you mean"),
    ],
)
def test_weights_that_do_not_exist(write_small, model, words):
    small, changes = pictured(write_small)
    with pytest.raises(RequestError) as caught:
        small.run(**changes | {"model": model})
    assert words in str(caught.value)
