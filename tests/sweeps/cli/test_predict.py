"""`predict` and `evaluate` for every kind of data and task."""

import csv
import json
import random
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest import write_manifest
from PIL import Image
from safetensors.numpy import load_file
from scipy.special import expit, softmax
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification

EXPERIMENT = '''"""Does it read what it was trained on?"""

BASELINE = {
    "task": "multiclass",
    "data": "sklearn.datasets.load_iris",
    "model": "linear",
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.05},
    "train": {"epochs": 3, "batch_size": 16, "eval_batch_size": 7},
}
'''
WHOLE = "split.method=none"  # all parts are all examples
LAST = ("split.method=in_order", "split.test_fraction=0")  # validation is the last 18 of 120


def write_rows(path, rows, delimiter=","):
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def animals():
    """Numbers with empty cells, words, booleans; the target stands in the middle."""
    draw = random.Random(0)
    yield "length", "colour", "kind", "tame"
    for _ in range(120):
        kind, tame = draw.choice(["cat", "dog", "owl"]), draw.random() < 0.5
        length = repr(ord(kind[0]) + draw.gauss(0, 3)) if draw.random() < 0.9 else ""
        yield length, draw.choice(["red", "blue", f"{kind}like"]), kind, str(tame)


def reviews():
    draw = random.Random(1)
    yield "opinion", "review"
    for _ in range(120):
        label = draw.choice(["pro", "con"])
        words = draw.choices(["Film", "play", "it", label.upper()], k=draw.randint(1, 9))
        yield label, " ".join([*words, f"{label}!"])


def draw_images(folder):
    """Grey and coloured files of different sizes, in train and val."""
    draw = np.random.default_rng(2)
    for number in range(60):
        kind, part = ("dark", "light", "red")[number % 3], ("train", "train", "val")[number // 20]
        pixels = draw.integers(0, 120, (*draw.integers(6, 12, 2), 3), dtype=np.uint8)
        pixels[..., {"dark": [], "light": [0, 1, 2], "red": [0]}[kind]] += 80
        path = folder / part / kind / f"{number:02}.{('png', 'bmp')[number % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("L" if number % 5 == 0 else "RGB").save(path)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def trained(paribus, place):
    """The id of a run of each kind of data."""
    (place / "any.py").write_text(EXPERIMENT)
    table = write_rows(place / "table.csv", animals())
    text = write_rows(place / "text.tsv", reviews(), "\t")
    folder = draw_images(place / "images")
    labels = "data=sklearn.datasets.make_multilabel_classification"
    asked = {
        "table": [
            *("data=table", f"data.path={table}", "data.target=kind", "data.missing=mean", *LAST),
        ],
        "text": [
            *("data=text", f"data.path={text}", "data.text=review", "data.label=opinion", *LAST),
            *("model=text_bag", "task=binary", "task.threshold=0.4", "loss=bce_with_logits"),
        ],
        "images": ["data=images", f"data.root={folder}", "data.size=[8,6]", "standardize=true"],
        "columns": [WHOLE],
        "labels": [labels, "data.random_state=0", "task=multilabel", "loss=bce", WHOLE],
        "values": ["data=sklearn.datasets.load_diabetes", "task=regression", "loss=mse", WHOLE],
    }
    options = ("--no-wandb", "--root", place / "r", "--json")
    done = {
        kind: paribus("run", place / "any.py", *words, *options) for kind, words in asked.items()
    }
    assert not [each.err for each in done.values() if each.code]
    return {kind: each.json["run"] for kind, each in done.items()}


@pytest.fixture(scope="module")
def evaluated(paribus, trained, place):
    """What `evaluate` says of each run."""
    return {k: paribus("evaluate", r, "--root", place / "r", "--json") for k, r in trained.items()}


@pytest.fixture(scope="module")
def runs(trained, evaluated, place):
    """The same runs; their data are gone."""
    for name in ("table.csv", "text.tsv", "images"):
        (place / name).rename(place / f"moved-{name}")
    return trained


@pytest.fixture(scope="module")
def inputs(runs, place):
    """For each kind a file or folder with its validation examples, in order."""
    columns, values = load_iris(), load_diabetes()
    labels, _ = make_multilabel_classification(random_state=0)
    head, *table = animals()
    title, *text = reviews()
    return {
        "table": write_rows(place / "a.csv", [head, *table[-18:]]),
        "text": write_rows(place / "a.tsv", [title, *text[-18:]], "\t"),
        "images": place / "moved-images" / "val",
        "columns": write_rows(place / "b.csv", [columns.feature_names, *columns.data.tolist()]),
        "labels": write_rows(place / "c.csv", labels.tolist()),
        "values": write_rows(place / "d.csv", [values.feature_names, *values.data.tolist()]),
    }


@pytest.fixture(scope="module")
def predict(paribus, runs, place):
    def predict(kind, *words, stdin=""):
        done = paribus("predict", runs[kind], *words, "--root", place / "r", cwd=place, stdin=stdin)
        assert "Traceback" not in done.err
        return done

    return predict


def stored(place, run):
    """Names of the classes, and what the run keeps of each validation example."""
    folder = place / "r" / "runs" / run
    record = json.loads((folder / "run.json").read_text())
    kept = load_file(folder / "predictions.safetensors")
    return record["data"]["preprocessing"]["class_names"], kept["targets"], kept["outputs"]


def predictions(done):
    assert (done.code, done.err) == (0, "")
    return done.json["predictions"]


def test_evaluate_gives_what_was_recorded_for_every_task(evaluated, trained, place):
    for kind, done in evaluated.items():
        assert (done.code, done.err) == (0, "")
        record = json.loads((place / "r" / "runs" / trained[kind] / "run.json").read_text())
        assert done.json["metrics"].items() <= record["best"]["metrics"].items()
        assert len(done.json["metrics"]) >= 4
        assert done.json["confusion_matrix"] == record["best"]["confusion_matrix"]
        assert (done.json["report"] is None) == (kind == "values")


def test_evaluate_shows_a_matrix_for_each_label(paribus, runs, evaluated, place):
    done = paribus("evaluate", runs["labels"], "--root", place / "r")
    lines = [line.split() for line in done.out.splitlines()]
    at = lines.index(["label", "true", "\\", "predicted", "no", "yes"])
    for number, matrix in enumerate(evaluated["labels"].json["confusion_matrix"]):
        no, yes = lines[at + 2 + 2 * number : at + 4 + 2 * number]
        assert no == ["label", str(number), "no", *map(str, matrix[0])]
        assert yes == ["yes", *map(str, matrix[1])]


def test_other_numbers_than_recorded_are_told(paribus, runs, place, tmp_path):
    """In the recorded environment they are a no; elsewhere both are printed."""
    folder = tmp_path / "r" / "runs" / runs["values"]
    shutil.copytree(place / "r" / "runs" / runs["values"], folder)
    record = json.loads((folder / "run.json").read_text())
    mae = record["best"]["metrics"]["val/mae"]
    record["best"]["metrics"]["val/mae"] = 1.5
    for environment, code in (({}, 1), ({"torch": "1.0"}, 0)):
        record["identity"]["environment"] |= environment
        (folder / "run.json").write_text(json.dumps(record))
        write_manifest(folder)
        done = paribus("evaluate", runs["values"], "--root", tmp_path / "r")
        assert done.code == code
        assert f"val/mae was recorded as 1.5, is {mae!r}" in done.err
        assert ("environment: torch was 1.0, is " in done.err) == bool(environment)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_run_of_a_gpu_that_is_not_here(paribus, runs, place, tmp_path, asked):
    folder = tmp_path / "r" / "runs" / runs["values"]
    shutil.copytree(place / "r" / "runs" / runs["values"], folder)
    record = json.loads((folder / "run.json").read_text())
    record["asked"]["device"], record["configuration"]["device"] = asked, "cuda"
    record["identity"]["environment"]["gpu"] = "Difference Engine"
    (folder / "run.json").write_text(json.dumps(record))
    write_manifest(folder)
    done = paribus("evaluate", runs["values"], "--root", tmp_path / "r")
    assert done.code == 0
    assert "environment: gpu was Difference Engine, is " in done.err
    typed = ",".join(["0.01"] * 10)
    assert paribus("predict", runs["values"], typed, "--root", tmp_path / "r").code == 0


@pytest.mark.parametrize("kind", ["table", "text", "images", "columns"])
def test_files_get_the_labels_that_evaluate_counted(predict, runs, inputs, evaluated, place, kind):
    found = predictions(predict(kind, inputs[kind], "--json"))
    names, targets, outputs = stored(place, runs[kind])
    second = expit(outputs[:, :1])
    shares = softmax(outputs, 1) if kind != "text" else np.hstack([1 - second, second])
    codes = shares.argmax(1) if kind != "text" else (second[:, 0] > 0.4).astype(int)
    assert [one["label"] for one in found] == [names[code] for code in codes]
    counts = np.zeros((len(names), len(names)), int)
    for target, one, share in zip(targets, found, shares.tolist(), strict=True):
        counts[target, names.index(one["label"])] += 1
        assert one["probabilities"] == pytest.approx(dict(zip(names, share, strict=True)), abs=1e-6)
    assert counts.tolist() == evaluated[kind].json["confusion_matrix"]
    assert len(set(codes.tolist())) > 1


def test_several_labels_and_values(predict, runs, inputs, place):
    _, _, outputs = stored(place, runs["labels"])
    found = predictions(predict("labels", inputs["labels"], "--json"))
    for one, shares in zip(found, expit(outputs).tolist(), strict=True):
        assert list(one["probabilities"].values()) == pytest.approx(shares, abs=1e-6)
        assert one["label"] == [name for name, p in one["probabilities"].items() if p > 0.5]
    _, _, outputs = stored(place, runs["values"])
    found = predictions(predict("values", inputs["values"], "--json"))
    # The module gives what the cohort gave, summed in another order.
    assert [one["value"] for one in found] == pytest.approx(outputs[:, 0].tolist(), rel=1e-5)
    assert found[0]["input"] == f"{inputs['values']}:1"


def test_a_document_a_file_and_typed_numbers_say_the_same(predict, inputs):
    whole = predictions(predict("columns", inputs["columns"], "--json"))
    iris = load_iris()
    rows = [dict(zip(iris.feature_names, row, strict=True)) for row in iris.data.tolist()[:3]]
    mixed = json.dumps([rows[0], list(rows[1].values()), rows[2]])
    typed = [",".join(map(str, row.values())) for row in rows]
    for done in (predict("columns", "--json", stdin=mixed), predict("columns", *typed, "--json")):
        assert [one["label"] for one in predictions(done)] == [one["label"] for one in whole[:3]]
    cells = {"length": None, "colour": "red", "tame": True}
    by_name = predictions(predict("table", "--json", stdin=json.dumps([cells, [None, "red", 1]])))
    assert by_name[0]["probabilities"] == by_name[1]["probabilities"]


def test_texts_are_typed_or_read_by_line(predict, place):
    (place / "lines.txt").write_text("a film, con\n\nFILM pro!\n")
    found = predictions(
        predict("text", "it play", "lines.txt", "-", "--json", stdin="play pro\nit con\n")
    )
    named = ["it play", "lines.txt:1", "lines.txt:3", "-:1", "-:2"]
    assert [one["input"] for one in found] == named
    assert found[2]["probabilities"]["pro"] > found[1]["probabilities"]["pro"]


def test_words_that_training_lacks_are_read_as_evaluate_reads_them(predict, place):
    """As an empty cell is, which this training fills by none of the words; and it is told."""
    (place / "violet.csv").write_text("length,colour,tame\n1,violet,True\n2,red,True\n1,x,True\n")
    empty = json.dumps([[1, None, True]])
    done = predict("table", "violet.csv", "--json")
    assert done.code == 0
    assert done.err == (
        "violet.csv:1, column 'colour' holds 'violet' (and in 1 more rows): it counts as none of "
        "the training part's words blue, catlike, doglike, owllike, red.\n"
    )
    (expected,) = predictions(predict("table", "--json", stdin=empty))
    first, _, last = done.json["predictions"]
    for row in (first, last):  # some processors multiply one row otherwise than three
        assert row["probabilities"] == pytest.approx(expected["probabilities"], rel=1e-5)


def test_negative_numbers_and_a_table_for_people(predict, runs, inputs):
    row = ",".join(["-0.02"] * 10)
    done = predict("values", row)
    assert (done.code, done.err) == (0, "")
    assert done.out.split()[:2] == ["input", "value"]
    assert done.out.split()[3] == row
    lines = predict("columns", inputs["columns"]).out.splitlines()
    assert lines[1].split() == ["input", "label", "probability"]
    first = predictions(predict("columns", inputs["columns"], "--json"))[0]
    assert lines[3].split()[1:4:2] == [
        first["label"],
        f"{max(first['probabilities'].values()):.4f},",
    ]
    assert predict("values", row, "--jsn").code == 2


def test_a_copied_folder_is_enough(predict, paribus, runs, place, tmp_path):
    typed = ",".join(["0.01"] * 10)
    shutil.copytree(place / "r" / "runs" / runs["values"], tmp_path / "copy" / runs["values"])
    done = paribus("predict", f"./copy/{runs['values']}", typed, "--json", cwd=tmp_path)
    assert predictions(done) == predictions(predict("values", typed, "--json"))


ROW = [1.0, 2.0, 3.0, 4.0]
FILES = {
    "few.csv": "sepal length (cm),sepal widht (cm)\n1,2\n",
    "odd.csv": "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n"
    "1,2,3,4\n1,x,,1e99\n",
    "new.csv": "length,colour,tame\nlong,violet,True\n2,,False\n",
    "wide.csv": "1,2,3\n4,5,6\n",
    "head.csv": ",".join(map(str, range(20))) + "\n" + ",".join(["1"] * 20) + "\n",
    "mixed.csv": ",".join(["1"] * 19 + ["1 m"]) + "\n",
    "no.png": "no image",
    "bad.txt": "play\nxyzzy plugh\n!?\n",
}
REFUSED = [
    ("columns", ["few.csv"], "", [
        "few.csv: lacks 3 of the 4 columns", "'sepal width (cm)' (is it 'sepal widht (cm)'?)",
    ]),
    ("columns", ["odd.csv", "none.csv", "1,2"], "", [
        "odd.csv:2, column 'sepal width (cm)' holds 'x', which is no number.",
        "odd.csv:2, column 'petal length (cm)' is empty.",
        "odd.csv:2, column 'petal width (cm)' is not finite as float32.",
        "none.csv: there is no such file.", "1,2 has shape [2]; expected shape [4].",
    ]),
    ("columns", ["--json"], [ROW, ROW[:3], [ROW], "x", {"sepal length (cm)": 1}], [
        "-:2 has shape [3]; expected shape [4].", "-:3 has shape [1, 4]; expected shape [4].",
        "-:4 has shape [1]", "-:5: lacks 3 of the 4 columns",
    ]),
    ("table", ["new.csv"], "", [
        "new.csv:1, column 'length' holds 'long', which is no number.",
    ]),
    ("labels", ["wide.csv", "head.csv", "mixed.csv"], "", [
        "wide.csv: has 3 columns; expected 20, one for each number of an input.",
        "head.csv: its first line, 0, 1, 2,", "may be a header as well as a row.",
        "mixed.csv:1: '1 m' is no number. The first line is a header of words, or a row",
    ]),
    ("values", ["no.png"], "", [
        "no.png: is no table. Give what data sklearn.datasets.load_diabetes returns, not files",
        "that it reads: CSV or TSV files with the columns age",
    ]),
    ("images", ["no.png", "none.png", "no folder/", "."], "", [
        "no.png cannot be decoded as an image", "There is no file none.png.",
        "There is no file no folder/.",
    ]),
    ("images", ["--json"], ["a.png", 3], [
        "-:2 is 3; expected the path of an image.", "There is no file a.png.",
    ]),
    ("text", ["bad.txt", "none.txt"], "", [
        "bad.txt:2: 'xyzzy plugh' has none of the words that the run was trained with.",
        "There is no file none.txt.",
    ]),
    ("text", ["some words", "a.csv"], "", [
        "'some words' has none of the words", "a.csv: has no column 'review'",
    ]),
    ("text", [], "", ["There is nothing to predict. Give texts, .txt files"]),
    ("columns", ["--json"], [], ["There is nothing to predict."]),
    ("columns", ["--json"], {"a": 1}, ["not a list of rows"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "words", "stdin", "said"), REFUSED)
def test_what_cannot_be_predicted_is_told_together(
    predict, inputs, place, kind, words, stdin, said
):
    for name, content in FILES.items():
        (place / name).write_text(content)
    before = sorted(place.rglob("*"))
    document = json.dumps(stdin) if stdin or words == ["--json"] else ""
    done = predict(kind, *words, stdin=document)
    assert done.code == 2
    told = done.err
    if words == ["--json"]:
        told = done.json["error"]["message"] + "\n" + done.json["error"]["hint"]
    for words in said:
        assert words in told
    assert sorted(place.rglob("*")) == before


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(),
    st.sampled_from(["red", "", "\0", "3"]),
)
DOCUMENTS = st.lists(
    st.one_of(
        CELLS,
        st.lists(CELLS, min_size=2, max_size=4),
        st.lists(st.lists(CELLS, max_size=3), max_size=4),
        st.dictionaries(st.sampled_from(["length", "colour", "tame", "x"]), CELLS),
    ),
    max_size=3,
)


@pytest.mark.parametrize("kind", ["table", "columns"])
def test_whatever_a_document_holds_is_predicted_or_refused(predict, kind):
    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(DOCUMENTS)
    def tried(document):
        done = predict(kind, "--json", stdin=json.dumps(document))
        assert done.code in (0, 2)
        told = [line for line in done.err.splitlines() if "training part's words" not in line]
        assert not told
        assert done.json.keys() <= {"run", "predictions", "error"}
        if done.code == 0:
            assert len(done.json["predictions"]) == len(document)

    tried()


def test_images_of_another_size_where_none_were_resized(paribus, predict, place, tmp_path):
    for number in range(12):
        path = tmp_path / "all" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), 20 * number).save(path)
    options = ("data=images", f"data.root={tmp_path / 'all'}", "data.channels=1", "train.epochs=1")
    root = ("--root", tmp_path / "r")
    run = paribus("run", place / "any.py", *options, "--no-wandb", "--json", *root).json["run"]
    Image.new("RGB", (4, 4)).save(tmp_path / "other.png")
    done = paribus("predict", run, tmp_path / "other.png", *root)
    assert (done.code, done.out) == (2, "")
    assert "other.png is 4×4 pixels (height×width); expected 4×5, as all" in done.err


def test_a_damaged_run_is_no_model(paribus, runs, place, tmp_path):
    folder = tmp_path / "r" / "runs" / runs["values"]
    shutil.copytree(place / "r" / "runs" / runs["values"], folder)
    with (folder / "best.safetensors").open("ab") as file:
        file.write(b"more")
    done = paribus("predict", runs["values"], ",".join(["0"] * 10), "--root", tmp_path / "r")
    assert (done.code, done.out) == (1, "")
    assert "best.safetensors: does not hold what was written" in done.err
