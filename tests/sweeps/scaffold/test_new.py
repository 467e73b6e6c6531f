"""`paribus new`: data of every kind becomes a short file that trains as it is."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification

from paribus.core.config.experiment import load_experiment
from paribus.core.errors import RequestError, shown
from paribus.sweeps.execution.planner import plan_runs, read_request
from paribus.sweeps.scaffold.problem import Constant, Guess, Problem, guess_task
from paribus.sweeps.scaffold.write_experiment import render_experiment, write_experiment
from paribus.sweeps.study.request import Request
from paribus.sweeps.study.settings import baseline_setting

RUFF = [sys.executable, "-m", "ruff"]
PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def iris():
    return load_iris(as_frame=True).frame


def words():
    """Iris with names of the kinds, an id, a date and a unit."""
    names = load_iris().target_names
    dates = pd.date_range("2020-01-01", periods=150).astype(str)
    return iris().assign(
        target=lambda f: names[f["target"]], id=range(1000, 1150), made=dates, unit="cm"
    )


def tumours():
    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(kind=np.where(frame.pop("target") == 1, "benign", "malignant"))


def rare():
    points, classes = make_classification(
        1000, 8, n_informative=4, weights=[0.95], flip_y=0, class_sep=2, random_state=0
    )
    return pd.DataFrame(points, columns=list("abcdefgh")).assign(
        fraud=np.where(classes == 1, "yes", "no")
    )


def houses():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["rooms", "age", "light"])
    frame["where, exactly"] = np.where(rng.random(200) < 0.5, 'Bern, "west"', "Basel")
    return frame.assign(price=200_000 + 50_000 * frame.rooms + 9_000 * frame.age)


def wide():
    points = np.random.default_rng(0).normal(size=(60, 300))
    frame = pd.DataFrame(points, columns=[f"gene{n}" for n in range(300)])
    return frame.assign(ill=(points[:, 0] > 0).astype(int))


def letters():
    rng = np.random.default_rng(0)
    common = ["the", "cat", "sat", "on", "a", "mat", "with", "dog", "and", "ball", "near"]
    ends = {"spam": " buy cheap, now!", "ham": " see you, later."}
    kinds = ["spam", "ham"] * 30
    texts = [" ".join(rng.choice(common, 6)) + ends[kind] for kind in kinds]
    return pd.DataFrame({"letter": texts, "kind": kinds})


def draw(folder, sizes, mode="RGB"):
    rng = np.random.default_rng(0)
    for number, kind in enumerate(("red", "green", "blue")):
        (folder / kind).mkdir(parents=True)
        for count in range(8):
            pixels = rng.integers(0, 120, (*sizes[count % len(sizes)], 3), dtype=np.uint8)
            pixels[..., number] += 100
            Image.fromarray(pixels).convert(mode).save(folder / kind / f"{count}.png")


# name: (what makes the data, its file, --target, what else is typed)
TABLES = {
    "two_words": (tumours, "tumours.csv", "kind", ()),
    "more_words": (words, "kinds.csv", "target", ()),
    "few_numbers": (iris, "iris.csv", "target", ()),
    "tabs": (iris, "iris.tsv", "target", ()),
    "values": (lambda: load_diabetes(as_frame=True).frame, "diabetes.csv", "target", ()),
    "large_values": (houses, "houses.csv", "price", ()),
    "commas": (houses, "quoted.csv", "where, exactly", ()),
    "many_columns": (wide, "wide.csv", "ill", ()),
    "unbalanced_words": (rare, "rare.csv", "fraud", ()),
    "few_rows": (lambda: iris()[::5], "thirty.csv", "target", ()),
    "filled": (
        lambda: iris().mask(np.arange(750).reshape(150, 5) == 7),
        "holes.csv",
        "target",
        ("data.missing=mean",),
    ),
    "dropped": (
        lambda: words().mask(np.arange(1200).reshape(150, 8) == 12),
        "unlabelled.csv",
        "target",
        ("data.missing=drop",),
    ),
    "texts": (letters, "letters.csv", None, ()),
}
FOLDERS = {
    "pictures": lambda folder: draw(folder, [(20, 24), (24, 20)]),
    "grey": lambda folder: draw(folder, [(16, 16)], "L"),
    "ready": lambda folder: [draw(folder / part, [(16, 16)]) for part in ("train", "val")],
}
TASKS = {
    "two_words": "binary",  # the column 'kind' has 2 values: 'benign' and 'malignant'
    "commas": "binary",
    "many_columns": "binary",
    "unbalanced_words": "binary",
    "texts": "binary",
    "values": "regression",
    "large_values": "regression",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every kind of data, with the experiment written for it."""
    place = tmp_path_factory.mktemp("new")
    for name, (make, file, target, more) in TABLES.items():
        make().to_csv(place / file, index=False, sep="\t" if file.endswith(".tsv") else ",")
        write_experiment(name, place, str(place / file), target, overrides=more)
    for name, make in FOLDERS.items():
        make(place / f"{name} of things")
        write_experiment(name, place, str(place / f"{name} of things"))
    write_experiment("nothing_yet", place)
    write_experiment("with_a_model", place, model="mlp")
    write_experiment(
        "dotted", place, str(place / "grey of things"), model="torchvision.models.resnet18"
    )
    return place


NAMES = [*TABLES, *FOLDERS, "nothing_yet", "with_a_model", "dotted"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_trains(paribus, folder, tmp_path, name):
    """The epochs are cut short."""
    root = ("--root", tmp_path / "r", "--no-wandb", "--json")
    done = paribus("run", f"{name}.py", "train.epochs=2", *root, cwd=folder)
    assert done.code == 0, done.err
    assert done.json["status"] == "complete"
    assert load_experiment(folder / f"{name}.py").baseline.task.name == TASKS.get(
        name, "multiclass"
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dotted"])
def test_its_axes_can_be_swept(folder, name):
    """Every level is of its parameter's kind, and changes one thing."""
    request = Request(folder / f"{name}.py", axes=())
    question = read_request(request)
    assert "optimizer.lr" in [axis.key for axis in question.axes]
    levels = [setting for axis in question.axes for setting in axis.levels]
    wanted = [(setting, [0]) for setting in (baseline_setting(question.baseline), *levels)]
    settings, _ = plan_runs(request, question.baseline, wanted)
    assert len(settings) >= 5


def test_the_files_are_what_ruff_would_make_of_them(folder):
    files = list(folder.glob("*.py"))
    assert len(files) == len(NAMES)
    formatted_by_ruff(files)
    words = [*RUFF, "check", "--config", PROJECT, *files]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_reason_stands_beside_the_task(folder):
    text = (folder / "two_words.py").read_text()
    line = "\"task\": \"binary\",  # the column 'kind' has 2 values: 'benign' and 'malignant'\n"
    assert line in text
    assert 'DATA = str(Path(__file__).parent / "tumours.csv")\n' in text
    assert len(text.splitlines()) < 40


def test_a_rare_class_is_weighted_and_chosen_by_f1(folder):
    """The rare one's weight is an axis; a baseline by accuracy would never look at it."""
    experiment = load_experiment(folder / "unbalanced_words.py")
    assert experiment.axes["loss.weight"] == ["none", "balanced"]
    assert experiment.baseline.select.metric == "val/f1"
    assert "'yes' is rare: 50 of 1000" in experiment.path.read_text()
    balanced = load_experiment(folder / "two_words.py")
    assert "loss.weight" not in balanced.axes
    assert balanced.baseline.select.metric is None


def test_columns_that_teach_nothing_are_named(folder, tmp_path):
    write = write_experiment("again", tmp_path, str(folder / "kinds.csv"), "target")
    assert [note.partition(".")[0] for note in write.notes] == [
        (
            "Left out, as a model could only memorize it: column 'id' (an id, with 150 values in "
            "150 rows), 'made' (dates, which would be 150 inputs)"
        ),
        "The same value in every row: column 'unit'",
        (
            "To predict the future, validate on what came after training: 'split': {'time_on': "
            "'made'} in the baseline"
        ),
    ]
    assert 'LEAVE_OUT = ["id", "made"]\n' in write.file.read_text()
    measured = write_experiment("measured", tmp_path, str(folder / "diabetes.csv"), "target")
    assert measured.notes == ()


@pytest.fixture
def customers(tmp_path):
    """Their ids come back, their dates are of two forms, and one column says something."""
    days = pd.Series(pd.date_range("2019-01-01", periods=600))
    pd.DataFrame({
        "customer_id": [f"C-{n % 200:04}" for n in range(600)],
        "opened": days.dt.strftime("%d/%m/%Y"),
        "seen": days.dt.strftime("%Y-%m-%d %H:%M"),
        "size": np.arange(600) % 3 / 3,
        "version": ["1-2", "3-4", "5-6"] * 200,
        "left": np.arange(600) % 3 == 0,
    }).to_csv(tmp_path / "customers.csv", index=False)  # fmt: skip
    return "--data", "customers.csv", "--target", "left"


def test_ids_and_dates_are_left_out_and_can_be_kept(paribus, customers, tmp_path):
    done = paribus("new", "one", *customers, cwd=tmp_path)
    assert done.code == 0
    for word in ("'customer_id'", "'opened'", "'seen'", "--keep COLUMN"):
        assert word in done.err
    assert "in the baseline, without split.group_on (split.group_on=null)." in done.err
    assert "All rows of one 'customer_id' are in one part (split.group_on)" in done.err
    assert "split.group_on=null, or take the line out." in done.err
    undone = paribus("show", "one.py", "split.group_on=null", "--json", cwd=tmp_path)
    assert "group_on" not in undone.json["configuration"]["split"]
    shown = paribus("show", "one.py", "--json", cwd=tmp_path).json
    assert shown["data"]["input_shape"] == [4]
    assert shown["configuration"]["data"]["leave_out"] == ["customer_id", "opened", "seen"]
    assert shown["configuration"]["split"]["group_on"] == "customer_id"
    assert "{'time_on': 'opened'}" in (tmp_path / "one.py").read_text()
    words = ("--keep", "customer_id", "--keep", "seen", "--json")
    assert "'opened'" in paribus("new", "two", *customers, *words, cwd=tmp_path).json["notes"][0]
    kept = load_experiment(tmp_path / "two.py").baseline.to_dict()
    assert kept["data"]["leave_out"] == ["opened"]
    refused = paribus("new", "three", *customers, "--keep", "sean", cwd=tmp_path)
    assert (refused.code, "Did you mean 'seen'?" in refused.err) == (2, True)


def test_groups_that_cannot_divide_are_not_proposed(tmp_path):
    """All rows of one class are one patient's."""
    rows = [f"{n if n < 40 else 99},{n * 7919 % 101 / 7},{'sick' if n < 40 else 'well'}"
            for n in range(70)]  # fmt: skip
    (tmp_path / "scans.csv").write_text("\n".join(["patient,size,state", *rows]) + "\n")
    written = write_experiment("scans", tmp_path, str(tmp_path / "scans.csv"), "state")
    assert "Rows of one patient may be in two parts" in written.notes[-1]
    assert "split" not in written.file.read_text().partition("BASELINE")[2]


def test_in_a_terminal_it_asks(customers, tmp_path):
    words = [sys.executable, "-c", "from paribus.sweeps.cli.main import main; main()", "new", "one"]
    driver, terminal = os.openpty()
    done = subprocess.Popen(
        [*words, *customers], cwd=tmp_path, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.write(driver, b"y\nn\ny\n")
    assert done.wait(60) == 0
    os.close(terminal)
    assert b"'customer_id' looks like no input" in os.read(driver, 100_000)
    os.close(driver)
    kept = load_experiment(tmp_path / "one.py").baseline.to_dict()
    assert kept["data"]["leave_out"] == ["customer_id", "seen"]


def test_prices_are_no_ids_and_thousands_no_words(tmp_path):
    """Whole numbers that differ in every row, neither in order nor side by side."""
    rows = [f'{7919 * i % 400_000},"{i % 7},{100 + i}.5",{i % 5}' for i in range(60)]
    (tmp_path / "houses.csv").write_text("\n".join(["price,area,rooms", *rows]) + "\n")
    notes = write_experiment("a", tmp_path, str(tmp_path / "houses.csv"), "rooms").notes
    assert len(notes) == 1
    assert "Read as words, as it is not all numbers: column 'area'" in notes[0]


def test_a_network_for_values_far_from_0_is_warned_of(tmp_path):
    houses().assign(price=lambda f: 300_000 + f.rooms).to_csv(tmp_path / "houses.csv", index=False)
    table = str(tmp_path / "houses.csv")
    assert write_experiment("plain", tmp_path, table, "price").notes == ()
    (note,) = write_experiment("deep", tmp_path, table, "price", model="mlp").notes
    assert "take --model linear" in note


@pytest.mark.parametrize(("times", "plus"), [(1e-6, 0), (1, 2000), (50_000, 200_000)])
def test_values_of_any_size_are_reached(paribus, tmp_path, times, plus):
    """From a model that begins near 0, in few rows."""
    frame = houses().assign(price=lambda f: plus + times * (f.rooms - f.age))
    frame.to_csv(tmp_path / "houses.csv", index=False)
    write_experiment("far", tmp_path, str(tmp_path / "houses.csv"), "price")
    done = paribus("run", "far.py", "--no-wandb", "--json", cwd=tmp_path)
    assert done.json["best"]["metrics"]["val/r2"] > 0.95


@pytest.mark.parametrize(
    ("targets", "task", "why"),
    [
        (["a", "b"] * 3, "binary", "the column has 2 values: 'a' and 'b'"),
        ([0, 1] * 5, "binary", "the column has 2 values: 0 and 1"),
        ([True, False] * 5, "binary", "the column has 2 values: False and True"),
        (["a", "b", "c"] * 3, "multiclass", "the column has 3 different words"),
        ([3, 4, 5] * 10, "multiclass", "3 different whole numbers in 30 rows"),
        ([3, 4, 5] * 9, "regression", "in 27 rows, fewer than 10 for each"),
        ([3, 4, 5.5] * 99, "regression", "the column has numbers that are not whole: 5.5"),
        (range(30), "regression", "30 different whole numbers in 30 rows, more than 20"),
        ([1, 2] * 50 + [9], "regression", "3 different whole numbers in 101 rows, and 9 in 1"),
    ],
)
def test_the_task_follows_from_the_targets(targets, task, why):
    guess = guess_task(pd.Series(targets), "the column")
    assert guess.task == task
    assert why in guess.why


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["a"] * 9, "The column has the same value in every row, 'a': there is nothing to"),
        (["a"] * 9 + ["b"], "fewer than 3 of the 10 rows: 'b'."),
        ([str(n) for n in range(9)], "'4' and 4 more. Training, validation and test need one"),
    ],
)
def test_targets_from_which_nothing_can_be_learned(targets, words):
    with pytest.raises(RequestError) as caught:
        guess_task(pd.Series(targets), "the column")
    assert words in str(caught.value)


# (what is typed after `new`, what is said)
REFUSED = [
    ("9x", ["'9x' cannot be an experiment's name"]),
    ("class", ["'class' cannot be an experiment's name"]),
    ("sub/mine.py", ["cannot be an experiment's name", "Such as: paribus new mine"]),
    ("digits", ["The catalogue has an experiment 'digits'"]),
    ("json", ["There is a module 'json'"]),
    ("there", ["there.py is there already, and is never overwritten."]),
    ("x --data nowhere.csv", ["There is no file or folder nowhere.csv"]),
    ("x --data thigs.csv", ["There is no file or folder", "Did you mean 'things.csv'?"]),
    ("x --data empty", ["has no folders; one for each class was looked for"]),
    ("x --data alone", ["There is one folder of images, 'cat', so one class: nothing to predict."]),
    ("x --data torn", ["torn/cat/1.png cannot be decoded as an image"]),
    (
        "x --data broken.csv --target a",
        ["broken.csv: the header has fewer names than lines have cells"],
    ),
    ("x --data rows.csv --target a", ["rows.csv: has no rows."]),
    ("x --data one.csv --target a", ["has a single column, 'a'"]),
    ("x --data things.csv", ["which column is to be predicted? It has a, b, c.", "--target c"]),
    ("x --data things.csv --target d", ["things.csv: has no column 'd'; it has a, b, c."]),
    (
        "x --data things.csv --target c",
        ["cells are empty in column 'a' (1), 'b' (2)", "data.missing=mean", "data.missing=drop"],
    ),
    ("x --data things.csv --target b data.missing=mean", ["'b' (2);", "Add data.missing=drop"]),
    ("x --data twice.csv --target b", ["twice.csv: the header has 'b' twice."]),
    (
        "x --data commas.csv --target b",
        ["column 'a' has decimal commas, such as '1,5'. Write 1.5."],
    ),
    (
        "x --data commas.csv --target a",
        ["column 'a' has decimal commas, such as '1,5'. Write 1.5."],
    ),
    (
        "x --data tables",
        ["tables is a folder of tables: a.csv, b.tsv. Name one: --data tables/a.csv"],
    ),
    ("x --data . --target b", [". is a folder of tables: "]),
    ("x --data things.csv --target c data.missing=zero", ["must be mean or drop"]),
    ("x --data things.csv --target c optimizer.lr=1", ["takes data.missing alone"]),
    ("x --data few.csv --target kind", ["class 'p' (3)", "Leave classes of so few examples out"]),
    ("x --target c", ["--target is about the columns of a table, and there is none."]),
    ("x --model mpl", ["There is no model 'mpl'.", "Did you mean 'mlp'?"]),
    ("x --data things.csv --target c --model cnn data.missing=mean", ["model cnn"]),
    (
        "digits --model mpl --data nowhere.csv data.missing=zero",
        ["The catalogue has", "There is no model", "There is no file", "must be mean or drop"],
    ),
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    place = tmp_path_factory.mktemp("wrong")
    (place / "there.py").write_text("mine")
    (place / "empty").mkdir()
    for folder in ("alone/cat", "torn/cat", "torn/dog"):
        (place / folder).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(place / folder / "0.png")
    (place / "torn/cat/1.png").write_text("no image")
    (place / "broken.csv").write_text("a,b\n1,2,3,4\n5\n6,7,8\n")
    (place / "commas.csv").write_text("a,b\n" + '"1,5",0\n"2,25",1\n' * 9)
    (place / "tables").mkdir()
    (place / "tables" / "a.csv").write_text("a,b\n1,2\n")
    (place / "tables" / "b.tsv").write_text("a\tb\n1\t2\n")
    (place / "rows.csv").write_text("a,b\n")
    (place / "twice.csv").write_text("b,a,b\n" + "1,2,1\n0,3,0\n" * 9)
    (place / "few.csv").write_text("a,kind\n" + "1,p\n2,q\n" * 3)
    (place / "one.csv").write_text("a\n1\n2\n")
    rows = ["1,,x", "2,,y", ",3,x", *["1,2,x", "2,4,y"] * 5]
    (place / "things.csv").write_text("\n".join(["a,b,c", *rows, ""]))
    return place


@pytest.mark.parametrize(("typed", "said"), REFUSED)
def test_bad_requests_create_nothing(paribus, wrong, typed, said):
    before = sorted(wrong.rglob("*"))
    done = paribus("new", *typed.split(), cwd=wrong)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    for words in said:
        assert words in done.err
    assert sorted(wrong.rglob("*")) == before
    assert (wrong / "there.py").read_text() == "mine"


def test_what_is_printed(paribus, folder, tmp_path):
    data = folder / "tumours.csv"
    done = paribus("new", "first", "--data", data, "--target", "kind", cwd=tmp_path)
    assert done.code == 0
    assert done.out == (
        "Wrote first.py: task binary, as the column 'kind' has 2 values: 'benign' and "
        "'malignant'.\nNext: paribus check first.py, then paribus sweep first.py\n"
    )
    second = paribus("new", "second", "--json", cwd=tmp_path).json
    assert second["file"] == str(tmp_path / "second.py")
    assert (second["experiment"], second["task"], second["notes"]) == ("second", "multiclass", [])


def a_page(place, name, target, file):
    """An experiment file for a table with such names; its folder and its text."""
    message = f"the column '{shown(target, 40)}' has 2 values"
    problem = Problem(
        guess=Guess("binary", message, rare=f"'{shown(target, 20)}' is rare: 5 of 100"),
        question=f"What helps to predict '{shown(target, 30)}' in {shown(file, 30)}?",
        facts=f"100 rows; 1 column of words besides '{shown(target, 40)}'.",
        data="table",
        constants={"path": Constant("DATA", place / file), "target": Constant("TARGET", target)},
        model="mlp",
        examples=100,
        notes=(f"Another value in every row: column '{shown(target, 40)}'.",),
    )
    path = place / f"{name}.py"
    path.write_text(render_experiment(name, problem, None, place), encoding="utf-8")
    return path


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=120)
FILES = WORDS.filter(lambda s: "/" not in s and "\0" not in s and s.strip("."))


@hypothesis_settings(max_examples=50, deadline=None)
@given(target=WORDS, file=FILES)
def test_any_word_may_stand_in_the_data(tmp_path_factory, target, file):
    """Quotes, backslashes and line ends neither end nor change the text."""
    place = tmp_path_factory.getbasetemp()
    found = runpy.run_path(str(a_page(place, "mine", target, file)))
    assert found["TARGET"] == target
    assert found["DATA"] == str(place / file)


def test_odd_words_are_written_as_ruff_would(tmp_path):
    odd = [
        "it's",
        'say "a"',
        "both \" and '",
        "a\\",
        "tab\there",
        "\N{SNOWMAN}",
        "x" * 85,
        "x" * 99,
    ]
    odd += [
        "x y " * 30,
        "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 40,
        "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 60,
    ]
    files = [a_page(tmp_path, f"odd{n}", word, f"{word[:60]}.csv") for n, word in enumerate(odd)]
    formatted_by_ruff(files)


def formatted_by_ruff(files):
    words = ["format", "--check", "--diff", "--line-length", "100"]
    done = subprocess.run([*RUFF, *words, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_column_that_is_not_quite_numbers_is_named(tmp_path):
    rows = [f"{n / 7},{n},{n % 2}" for n in range(40)]
    rows[5] = "?,5,1"
    (tmp_path / "odd.csv").write_text("\n".join(["size,n,kind", *rows, ""]))
    written = write_experiment("odd", tmp_path, str(tmp_path / "odd.csv"), "kind")
    message = next(note for note in written.notes if "'size'" in note)
    assert message.startswith(
        "Read as words, as it is not all numbers: column 'size' (1 of 40 cells"
    )
    assert "such as '?'" in message
