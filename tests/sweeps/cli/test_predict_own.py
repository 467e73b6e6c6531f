"""`predict` with data functions and data sets of the user's own: it takes what they return."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

OWN = '''"""Which data does predict take?"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image


class Pictures(torch.utils.data.Dataset):
    classes = ("ant", "bee")

    def __init__(self):
        self.paths = sorted(Path("pictures").rglob("*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        pixels = np.asarray(Image.open(self.paths[row]), np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1), int(self.paths[row].parent.name == "bee")


def people():
    frame = pd.read_csv("people.csv")
    frame["bmi"] = frame.weight / frame.height**2
    return frame[["bmi", "age"]], frame.sick


def rows():
    frame, sick = people()
    return frame.to_numpy(), sick


def stamps():
    seconds = np.arange(200) * 18.0
    return pd.DataFrame({"time": 1.7e9 + seconds}), np.sin(seconds / 500)


def words():
    x = np.arange(240).reshape(60, 4) * 7 % 8
    return x, x.max(1) > 6


class Bag(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.table(x).mean(1))


BASELINE = {
    "task": "multiclass",
    "data": people,
    "model": "linear",
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.1},
    "train": {"epochs": 3},
    "split": {"method": "none"},
}
'''
OPTIONS = ("--root", "r", "--json")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("own")
    (place / "own.py").write_text(OWN)
    draw = np.random.default_rng(0)
    for number in range(40):
        path = place / "pictures" / ("ant", "bee")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)
    columns = {"weight": draw.normal(70, 9, 40), "height": draw.normal(1.7, 0.1, 40)}
    people = pd.DataFrame({**columns, "age": np.arange(40) % 13, "sick": np.arange(40) % 2})
    people.to_csv(place / "people.csv", index=False)
    return place


@pytest.fixture(scope="module")
def run(paribus, place):
    """Trains with one of the data functions, and returns its id."""

    def run(*words):
        done = paribus("run", "own.py", *words, "--no-wandb", *OPTIONS, cwd=place)
        assert done.code == 0, done.err
        return done.json["run"]

    return run


@pytest.fixture(scope="module")
def predict(paribus, place):
    def predict(run, *words):
        said = paribus("predict", run, *words, *OPTIONS, cwd=place)
        return said.json["predictions"] if said.code == 0 else said.json["error"]

    return predict


def test_pictures_that_a_dataset_reads(run, predict, place):
    trained = run("data=Pictures")
    pixels = np.stack([
        np.asarray(Image.open(path)) for path in sorted((place / "pictures" / "ant").glob("*.png"))
    ])  # fmt: skip
    images = np.moveaxis(pixels / 255, -1, 1)
    np.save(place / "images.npy", images)
    np.save(place / "one.npy", images[0])
    found = predict(trained, "images.npy", "one.npy")
    assert [each["input"] for each in found[-2:]] == ["images.npy:20", "one.npy:1"]
    assert found[-1]["probabilities"] == found[0]["probabilities"] != found[1]["probabilities"]

    np.save(place / "last.npy", pixels)
    np.save(place / "words.npy", np.array(["a"]))
    error = predict(trained, "last.npy", "pictures/ant/0.png", "pictures")
    takes = ".npy files with an array of shape [3, 6, 5] or [N, 3, 6, 5], CSV or TSV files with 90"
    for word in ("pictures/ant/0.png", "pictures"):
        assert f"{word}: is no table." in error["message"]
    assert (
        f"Give what data own.py:Pictures returns, not files that it reads: {takes}"
        in (error["hint"])
    )
    assert "last.npy: has shape [20, 6, 5, 3]." in error["message"]


def test_columns_that_a_data_function_computes(run, predict, place):
    trained = run()
    error = predict(trained, "people.csv")
    assert error["message"].startswith(
        "people.csv: lacks 1 of the 2 columns that the run was train"
    )
    assert error["hint"] == (
        "They are those that data own.py:people returns: compute them as it does."
    )
    people = pd.read_csv(place / "people.csv")
    bmi = people.weight / people.height**2
    people.assign(bmi=bmi).to_csv(place / "with.csv", index=False)
    np.save(place / "rows.npy", np.stack([bmi, people.age], 1))
    found = predict(trained, "with.csv", "rows.npy")
    shares = [each["probabilities"] for each in found]
    assert shares[:40] == shares[40:]
    error = predict(run("data=rows"), "people.csv")
    assert error["message"] == (
        "people.csv: has 4 columns; expected 2, one for each number of an input."
    )
    assert error["hint"] == "Give the columns that data own.py:rows returns, in its order."


def test_time_stamps_are_predicted_as_they_were_trained(run, predict, place):
    """Rounded to float32 first, these would give one value."""
    trained = run("data=stamps", "task=regression", "loss=mse", "split.method=none")
    pd.DataFrame({"time": [1.7e9 + 10, 1.7e9 + 20]}).to_csv(place / "new.csv", index=False)
    first, second = predict(trained, "new.csv")
    assert first["value"] != second["value"]


def test_integers_of_an_embedding(run, predict):
    trained = run("data=words", "model=Bag")
    assert predict(trained, "1,2,3,4")[0]["label"] in ("True", "False")
    assert "column '2' is no whole number" in predict(trained, "1,2.5,3,4")["message"]
