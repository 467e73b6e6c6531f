"""`export`: a run's model as ONNX answers as `predict` does, by what the JSON beside it says."""

import csv
import json
import random
import re

import numpy as np
import pytest
from commands import refused
from PIL import Image
from scipy.special import expit, softmax
from sklearn.datasets import load_digits
from small_experiment import SMALL

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXPERIMENT = '''"""Does it say the same elsewhere?"""

import torch
from torch import nn


class Halting(nn.Module):
    """A model whose steps depend on its numbers, which no graph can hold."""

    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, x):
        while x.abs().sum() > 1e9:
            x = x / 2
        return self.head(x)


class Drawing(Halting):
    """A model that draws whenever it is asked."""

    def forward(self, x):
        return self.head(x) + torch.rand(len(x), 1)


def pairs():
    x = torch.linspace(-1, 1, 80)[:, None]
    return {"a": x, "b": x.flip(0)}, (x[:, 0] > 0).long()


class Both(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.head = nn.Linear(2, num_classes)

    def forward(self, a, b):
        return self.head(torch.cat([a, b], 1))


BASELINE = {
    "task": "multiclass",
    "data": "digits",
    "model": {"name": "mlp", "hidden_dim": 16},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "train": {"epochs": 2, "batch_size": 32, "eval_batch_size": 50},
}
'''
FUNCTION = '''"""A function as an experiment."""


def train(rate: float = 0.1, *, seed):
    yield {"loss": 1 / (1 + rate)}


SELECT = {"metric": "loss", "direction": "minimize"}
'''


def draw_table(path):
    """Numbers with empty cells, words, and the second of a day, which float32 cannot keep."""
    draw = random.Random(0)
    rows = [("length", "colour", "kind")]
    for _ in range(90):
        kind = draw.choice(["cat", "dog", "owl"])
        length = repr(ord(kind[0]) + draw.gauss(0, 3)) if draw.random() < 0.9 else ""
        rows.append((length, draw.choice(["red", "blue", f"{kind}like"]), kind))
    write(path, rows)
    text = [("opinion", "review")]
    for _ in range(60):
        label = draw.choice(["pro", "con"])
        text.append((label, " ".join(["Film", *["it"] * draw.randint(0, 5), f"{label}!"])))
    write(path.with_name("text.csv"), text)
    times = [(1_700_000_000 + s, "yes" if s > 45 else "no") for s in range(90)]
    write(path.with_name("times.csv"), [("time", "late"), *times])
    return path


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def draw_images(folder):
    draw = np.random.default_rng(2)
    for number in range(48):
        kind = ("dark", "light")[number % 2]
        pixels = draw.integers(0, 120, (*draw.integers(8, 12, 2), 3), dtype=np.uint8)
        pixels += np.uint8(80 * (kind == "light"))
        path = folder / kind / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def call(paribus, tmp_path_factory):
    """Calls commands in a folder with data of each kind."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "any.py").write_text(EXPERIMENT)
    (folder / "small.py").write_text(SMALL)
    (folder / "function.py").write_text(FUNCTION)
    draw_table(folder / "table.csv")
    draw_images(folder / "images")

    def call(*words, **more):
        return paribus(*words, "--root", folder / "r", cwd=folder, **more)

    call.folder = folder
    return call


def trained(call, *words, file="any.py"):
    done = call("run", file, *words, "--no-wandb", "--json")
    assert done.code == 0, done
    return done.json["run"]


def exported(call, run):
    """Exports a run; returns its session, the JSON beside it, and what the command said."""
    done = call("export", run, "-o", f"{run}.onnx", "--json")
    assert done.code == 0, done
    file = call.folder / f"{run}.onnx"
    schema = json.loads(file.with_name(f"{run}.onnx.json").read_text())
    assert done.json["difference"] <= 1e-4
    return onnxruntime.InferenceSession(file), schema, done.json


def ask(session, inputs):
    return session.run(["outputs"], {"inputs": inputs})[0]


def predicted(call, run, *inputs):
    answers = call("predict", run, *inputs, "--json").json["predictions"]
    return np.array([[*one["probabilities"].values()] for one in answers])


def test_a_study_s_best_takes_the_numbers_as_they_are(call):
    sweep = call("sweep", "any.py", "lr=0.03", "--seeds", "2", "--study", "d", "--no-wandb")
    assert sweep.code == 0, sweep
    run = call("compare", "d", "--json").json["settings"][1]["runs"][0]
    done = call("export", "d/optimizer.lr=0.03-s0", "-o", "best.onnx")
    assert done.code == 0, done
    session = onnxruntime.InferenceSession(call.folder / "best.onnx")
    schema = json.loads((call.folder / "best.onnx.json").read_text())
    assert schema["input"] == {"name": "inputs", "type": "float32", "shape": ["N", 64]}
    assert schema["run"] == run
    assert len(schema["inside"]["standardize"]["mean"]) == 64
    digits = load_digits().data[:7].astype(np.float32)
    write(call.folder / "digits.csv", [schema["before"]["columns"], *digits.tolist()])
    wanted = predicted(call, run, "digits.csv")
    assert softmax(ask(session, digits), axis=1) == pytest.approx(wanted, abs=1e-4)
    assert ask(session, digits[:1]).shape == (1, 10)  # a batch of any size
    said = call("evaluate", run, "--json").json["metrics"]
    line = next(line for line in done.out.splitlines() if "val/accuracy" in line)
    assert line.split()[1:] == [f"{said['val/accuracy']:.4f}"] * 2
    assert f"checked on {call('show', run, '--json').json['data']['val']} examples" in done.out


def test_a_network_of_images_takes_pixels_from_0_to_1(call):
    words = ("data=images", "data.root=images", "data.size=[8,6]", "model=cnn")
    run = trained(call, *words, "standardize=true", "augment=RandomHorizontalFlip")
    session, schema, said = exported(call, run)
    assert schema["input"]["shape"] == ["N", 3, 8, 6]
    assert schema["before"]["image"] == {"channels": 3, "size": [8, 6], "resize": True}
    assert len(schema["inside"]["standardize"]["mean"]) == 3
    file = call.folder / "images" / "light" / "01.png"
    pixels = np.asarray(Image.open(file).resize((6, 8), Image.Resampling.BILINEAR), np.float32)
    answer = softmax(ask(session, pixels.transpose(2, 0, 1)[None] / 255), axis=1)
    assert answer == pytest.approx(predicted(call, run, file), abs=1e-4)
    assert schema["output"]["classes"] == ["dark", "light"]
    assert {*said["metrics"]} >= {"val/accuracy", "val/f1"}


def test_the_json_says_how_a_table_s_words_become_numbers(call):
    words = ("data=table", "data.path=table.csv", "data.target=kind", "data.missing=mean")
    run = trained(call, *words)
    session, schema, _ = exported(call, run)
    rows = [("", "red"), ("101.5", "catlike"), ("99", "new")]
    encoded = []
    for row in rows:
        numbers = []
        for column, cell in zip(schema["before"]["table"]["columns"], row, strict=True):
            if "categories" in column:
                numbers += [float(cell == word) for word in column["categories"]]
            else:
                numbers.append(float(cell) if cell else column["mean"])
        encoded.append(numbers)
    assert schema["input"]["shape"] == ["N", len(encoded[0])]
    write(call.folder / "new.csv", [("length", "colour"), *rows])
    answer = softmax(ask(session, np.array(encoded, np.float32)), axis=1)
    assert answer == pytest.approx(predicted(call, run, "new.csv"), abs=1e-4)


def test_texts_have_any_length_and_the_vocabulary_is_in_the_json(call):
    words = ("data=text", "data.path=text.csv", "data.text=review", "data.label=opinion")
    run = trained(call, *words, "model=text_bag", "task=binary", "loss=bce_with_logits")
    session, schema, _ = exported(call, run)
    assert schema["input"] == {"name": "inputs", "type": "int64", "shape": ["N", "T"]}
    text = schema["before"]["text"]
    ids = {word: code for code, word in enumerate(text["vocabulary"], 2)}
    words = re.findall(text["token"], "Film it it pro, unheard!".lower())
    ids = np.array([[ids.get(word, text["unknown"]) for word in words]])
    positive = expit(ask(session, ids))[0, 0]
    assert positive == pytest.approx(
        predicted(call, run, "Film it it pro, unheard!")[0, 1], abs=1e-4
    )


def test_columns_that_float32_cannot_keep_are_standardized_before(call):
    run = trained(call, "data=table", "data.path=times.csv", "data.target=late")
    session, schema, _ = exported(call, run)
    assert schema["inside"]["standardize"] is None
    scaling = schema["before"]["standardize"]
    times = np.array([[1_700_000_010.0], [1_700_000_080.0]])
    inputs = ((times - scaling["mean"]) / scaling["scale"]).astype(np.float32)
    write(call.folder / "new.csv", [("time",), *times.astype(int).tolist()])
    answer = softmax(ask(session, inputs), axis=1)
    assert answer == pytest.approx(predicted(call, run, "new.csv"), abs=1e-4)


def test_a_final_model_is_checked_on_what_it_was_trained_on(call):
    call("sweep", "small.py", "lr=0.1", "--study", "f", "--seeds", "2", "--no-wandb")
    done = call("finalize", "f", "--no-wandb", "--json")
    assert done.code == 0, done
    _, _, said = exported(call, done.json["run"])
    assert said["examples"] == 51
    assert "train/accuracy" in said["metrics"]


@pytest.mark.parametrize("model", ["Halting", "Drawing"])
def test_what_cannot_be_exported_is_refused_in_one_line(call, model):
    run = trained(call, f"model={model}", "--engine", "loop")
    done = call("export", run, "-o", "no.onnx")
    assert "cannot be exported" in refused(done, call.folder / "no.onnx", run, model)[0]
    assert not (call.folder / "no.onnx.json").exists()
    assert ("outputs differ by" in done.err) == (model == "Drawing")


def test_a_run_in_half_precision_is_exported_in_float32(call):
    run = trained(call, "train.precision=bf16", "train.epochs=1")
    _, schema, said = exported(call, run)
    assert schema["input"]["type"] == "float32"
    assert said["precision"] == "bf16"
    recorded = call("evaluate", run, "--json").json["metrics"]["val/accuracy"]
    assert said["metrics"]["val/accuracy"] == [recorded, pytest.approx(recorded, abs=0.02)]
    assert "the run in bf16" in call("export", run, "-o", "half.onnx").out


def test_inputs_of_several_tensors_are_refused(call):
    run = trained(call, "data=pairs", "model=Both")
    done = call("export", run, "-o", "no.onnx")
    assert "its inputs are several tensors" in refused(done, call.folder / "no.onnx", run)[0]


def test_other_refusals_are_one_line_and_write_nothing(call):
    script = trained(call, file="function.py")
    run = trained(call)
    for words, said in (
        ((script,), "of a function"),
        (("nobody",), "nobody"),
        ((run, "-o", "model.pt"), ".onnx"),
        ((run, "-o", "nowhere/model.onnx"), "nowhere"),
    ):
        before = {*call.folder.iterdir()}
        assert said in refused(call("export", *words), call.folder / "model.pt")[0]
        assert {*call.folder.iterdir()} == before
