"""Data sets that the library `datasets` reads from local files: trained, evaluated, reproduced."""

import json
import os

import numpy as np
import pandas
import pytest
from commands import refused
from PIL import Image
from small_experiment import Small

pytest.importorskip("datasets")

N = 60
EXPERIMENT = '''"""Which of two classes is it?"""

BASELINE = {
    "task": "multiclass",
    "data": "datasets:table.parquet",
    "model": "mlp",
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.01},
    "split": {"folds": 1},
    "train": {"epochs": 2, "batch_size": 16},
}
'''
BERT = (
    "model=transformers.BertForSequenceClassification(vocab_size=20,hidden_size=16,"
    "num_hidden_layers=1,num_attention_heads=2,intermediate_size=16)"
)
CASES = {  # words, and what the run says of its data
    "parquet": ([], {"columns": ["length", "colour", "patient"]}),
    "csv": (["data=datasets:texts.csv", "model=text_bag"], {"text": True}),
    "jsonl": (["data=datasets:tokens.jsonl", BERT, "loss=model"], {"fields": True}),
    "images": (["data=datasets:pictures", "model=timm:test_resnet"], {"image": True}),
    "images inside": (["data=datasets:pictures.parquet", "model=cnn"], {"image": True}),
}


def pixels(row):
    noise = np.random.default_rng(row).integers(0, 100, (32, 32, 3))
    return Image.fromarray((noise + 120 * (row % 2)).astype("uint8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An experiment, and each kind of file beside it."""
    import datasets

    place = tmp_path_factory.mktemp("hub")
    (place / "which.py").write_text(EXPERIMENT)
    kind = np.arange(N) % 2
    words = np.where(kind, "yes", "no")
    length = np.sin(np.arange(N) * 12.9) + kind
    table = {"length": length, "colour": np.where(kind, "red", "blue"), "label": words}
    table["patient"] = np.arange(N) // 4
    pandas.DataFrame(table).to_parquet(place / "table.parquet")
    texts = {"text": [f"{word} word{row % 5}" for row, word in enumerate(words)], "label": kind}
    pandas.DataFrame(texts).to_csv(place / "texts.csv", index=False)
    lines = []
    for row in range(N):
        ids = [1 + row % 2, *range(3, 6 + row % 3)]
        item = {"input_ids": ids, "attention_mask": [1] * len(ids), "label": row % 2}
        lines.append(json.dumps(item) + "\n")
    (place / "tokens.jsonl").write_text("".join(lines))
    for part, rows in (
        ("train", range(24)),
        ("validation", range(24, 36)),
        ("test", range(36, 42)),
    ):
        for row in rows:
            file = place / "pictures" / part / ("cat", "dog")[row % 2] / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels(row).save(file)
    pictures = datasets.Dataset.from_dict(
        {"image": [pixels(row) for row in range(N)], "label": kind},
        features=datasets.Features(
            image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
        ),
    )
    pictures.to_parquet(place / "pictures.parquet")
    return place


@pytest.mark.parametrize("case", CASES)
def test_it_is_trained_evaluated_and_reproduced(paribus, folder, tmp_path, case):
    if case == "jsonl":
        pytest.importorskip("transformers")
    if case == "images":
        pytest.importorskip("timm")
    words, said = CASES[case]
    root = ["--root", tmp_path / "results"]
    done = paribus("run", "which.py", *words, "--json", *root, cwd=folder)
    assert done.code == 0, done.err
    run = done.json["run"]
    record = json.loads((tmp_path / "results" / "runs" / run / "run.json").read_text())
    preprocessing = record["data"]["preprocessing"]
    assert all(
        preprocessing[k] == v if v is not True else preprocessing[k] for k, v in said.items()
    )
    evaluated = paribus("evaluate", run, "--json", *root, cwd=tmp_path)  # finds the file from there
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["differs"] == {}
    assert paribus("reproduce", run, *root, cwd=tmp_path).code == 0


def test_splits_that_the_data_set_has_are_the_parts_and_names_are_kept(paribus, folder, tmp_path):
    shown = paribus("show", "which.py", "data=datasets:pictures", "--json", cwd=folder).json
    assert [shown["data"][part] for part in ("train", "val", "test")] == [24, 12, 6]
    words = ["data=datasets:pictures", "data.split=train"]
    shown = paribus("show", "which.py", *words, "--json", cwd=folder).json
    assert sum(shown["data"][part] for part in ("train", "val", "test")) == 24
    assert set(shown["data"]["classes"]) == {"cat", "dog"}


def test_sequences_of_all_splits_are_filled_up_to_one_length(folder):
    from paribus.core.data.hub import datasets
    from paribus.core.data.load import load

    where = folder / "splits"
    where.mkdir()
    for part, most in (("train", 3), ("validation", 5)):
        rows = [{"input_ids": [7] * (1 + row % most), "label": row % 2} for row in range(6)]
        (where / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = load(datasets, {"path": str(where)}, name="data", seed=0, targets="classes")
    ids = {name: part.store.tensors["input_ids"] for name, part in source.parts.items()}
    assert ids["train"].tolist()[1] == [7, 7, 0, 0, 0]
    assert ids["val"].shape == (6, 5)


def test_columns_that_are_left_out_may_be_groups(folder, monkeypatch):
    monkeypatch.chdir(folder)
    small = Small(folder / "which.py")
    asked = small.asked(
        data={"name": "datasets", "path": "table.parquet", "inputs": ["length", "colour"]},
        split={"group_on": "patient"},
    )
    data = small.resolver.data(asked, 0)
    groups = [set(part.beside["patient"].tolist()) for part in (data.train, data.val, data.test)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == N // 4


def test_the_place_of_a_file_is_no_part_of_the_id(paribus, folder, tmp_path):
    (tmp_path / "elsewhere.parquet").write_bytes((folder / "table.parquet").read_bytes())
    there = f"data=datasets:{tmp_path / 'elsewhere.parquet'}"
    ids = [
        paribus("run", "which.py", *words, "--json", "--root", tmp_path / "r", cwd=folder).json[
            "run"
        ]
        for words in ([], [there])
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "folder"])
def test_a_file_is_read_as_it_is_now(tmp_path, name):
    """The library's cache knows a file by its path and time, which a copy may keep."""
    from paribus.core.data.hub import datasets

    (tmp_path / "folder").mkdir()
    file = tmp_path / (name if name != "folder" else "folder/train.csv")
    for labels in ([0, 1, 0, 1], [1, 0, 1, 0]):
        frame = pandas.DataFrame({"a": [1.5, 2.5, 3.5, 4.5], "label": labels})
        if file.suffix == ".parquet":
            frame.to_parquet(file)
        elif file.suffix == ".csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_json(file, orient="records", lines=True)
        os.utime(file, (1e9, 1e9))
        found, targets, _ = datasets(str(tmp_path / name))
        assert targets.tolist() == labels
        assert found["a"].tolist() == [1.5, 2.5, 3.5, 4.5]


def test_the_network_is_not_used(folder, addresses):
    from paribus.core.data.hub import datasets

    frame, labels, _ = datasets(str(folder / "table.parquet"))
    assert len(frame) == len(labels) == N
    assert addresses == []


REFUSED = {
    "no file": (["data=datasets:none.parquet"], "There is no file or folder none.parquet."),
    "no column": (["data.target=kind"], "table.parquet", "kind"),
    "no split": (["data=datasets:pictures", "data.split=dev"], "train, validation, test", "no dev"),
    "a name twice": (["data=datasets:twice.parquet"], "the header has 'label' twice."),
    "twice below": (["data=datasets:twice"], "label.csv: the header has 'x' twice."),
    "image beside": (["data=datasets:beside.parquet"], "images are inputs alone", "data.inputs="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(paribus, folder, tmp_path, case):
    import datasets
    import pyarrow.parquet

    pictures = datasets.Dataset.from_parquet(str(folder / "pictures.parquet"))
    pictures.add_column("id", list(range(N))).to_parquet(folder / "beside.parquet")
    names = {name: list(range(N)) for name in ("x", "y", "label")}
    twice = pyarrow.table(names).rename_columns(["x", "label", "label"])
    pyarrow.parquet.write_table(twice, folder / "twice.parquet")
    (folder / "twice").mkdir(exist_ok=True)
    (folder / "twice" / "label.csv").write_text("x,x,label\n1,2,0\n3,4,1\n")
    words, *texts = REFUSED[case]
    done = paribus("run", "which.py", *words, "--root", tmp_path / "results", cwd=folder)
    refused(done, tmp_path / "results", *texts)
