"""CSV and TSV files: columns of numbers and words, encoded by what the training part holds."""

import csv
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paribus.core.checks.data_checks import inputs
from paribus.core.checks.subject import Subject
from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.data.tables import table
from paribus.core.errors import RequestError

KINDS = "".join(f"{k},{'ab'[k % 2]},{k % 2}\n" for k in range(8))


def read(path, targets="classes", target="y", **keywords):
    """The parts of a file, in its order: four rows to train, two each to validate and test."""
    source = load(
        table, {"path": str(path), "target": target, **keywords},
        name="data table", seed=0, targets=targets,
    )  # fmt: skip
    split = Split(method="in_order", val_fraction=0.25, test_fraction=0.25)
    return prepare(source, split, standardize=False)


def write(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal_of(path, **keywords):
    with pytest.raises(RequestError) as caught:
        read(path, **keywords)
    return str(caught.value)


# Surrogates cannot be written, a carriage return inside a cell is a new line to every reader.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(words.map(lambda w: f"w{w}"), min_size=8, max_size=8), st.sampled_from([",", "\t"]))
def test_any_word_is_read_as_it_was_written(tmp_path, cells, separator):
    path = tmp_path / ("a.csv" if separator == "," else "a.tsv")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerows([["x", "y"], *zip(cells, [0, 1] * 4, strict=True)])
    data = read(path)
    (column,) = data.preprocessing["table"]["columns"]
    assert column == {"name": "x", "categories": sorted(set(cells[:4]))}
    for part, some in ((data.train, cells[:4]), (data.val, cells[4:6]), (data.test, cells[6:])):
        expected = [[float(word == known) for known in column["categories"]] for word in some]
        assert part.inputs.tolist() == expected


def test_numbers_and_words_stand_side_by_side(tmp_path):
    data = read(write(tmp_path, f"n,w,y\n{KINDS}"))
    assert data.columns == ("n", "w")
    assert data.train.inputs.tolist() == [[0, 1, 0], [1, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert data.train.targets.tolist() == [0, 1, 0, 1]
    assert data.class_names == ("0", "1")
    assert data.input_shape == (3,)


def test_a_word_that_training_never_saw_is_none_of_its_categories(tmp_path):
    changed = KINDS.replace("5,b", "5,new")
    data = read(write(tmp_path, f"n,w,y\n{changed}"))
    assert data.preprocessing["table"]["columns"][1]["categories"] == ["a", "b"]
    assert data.val.inputs.tolist() == [[4, 1, 0], [5, 0, 0]]
    assert data.new_words == {"w": ["new"]}


def test_check_names_words_that_a_later_part_alone_has(write_small, tmp_path):
    changed = KINDS.replace("6,a", "6,new")
    small = write_small()
    asked = small.asked(
        data={"name": "table", "path": str(write(tmp_path, f"n,w,y\n{changed}")), "target": "y"},
        split={"method": "in_order", "val_fraction": 0.25, "test_fraction": 0.25},
    )
    expected = "; words that no training example has, encoded as zeros: 'new' in column 'w'"
    assert inputs(Subject(small.resolver, asked)).endswith(expected)


def test_a_mark_at_the_beginning_and_other_line_ends_change_nothing(tmp_path):
    plain = read(write(tmp_path, f"n,w,y\n{KINDS}"))
    for text in (f"\ufeffn,w,y\n{KINDS}", f"n,w,y\n{KINDS}".replace("\n", "\r\n")):
        data = read(write(tmp_path, text))
        assert data.fingerprint == plain.fingerprint
        assert data.columns == plain.columns


def test_targets_of_every_task(tmp_path):
    names = write(tmp_path, "x,y,z\n" + "".join(f"{k},{k % 2},{k / 4}\n" for k in range(8)))
    values = read(names, targets="values", target="z")
    assert values.train.targets.tolist() == [[0.0], [0.25], [0.5], [0.75]]
    assert values.columns == ("x", "y")
    two = read(names, targets="values", target=["z", "y"])
    assert two.train.targets[:2].tolist() == [[0, 0], [0.25, 1]]
    marks = write(tmp_path, "x,y,z\n" + "".join(f"{k},{k % 2},{k // 4}\n" for k in range(8)))
    labels = read(marks, targets="labels", target=["y", "z"])
    assert labels.train.targets.tolist() == [[0, 0], [1, 0], [0, 0], [1, 0]]
    assert labels.class_names == ("y", "z")


# ------------------------------------------------------------------ empty cells

GAPS = "n,w,y\n0,a,0\n2,,1\n,b,0\n4,b,1\n8,a,0\n,a,1\n6,c,0\n7,,1\n"


def test_empty_cells_are_refused_by_column_and_count(tmp_path):
    path = write(tmp_path, GAPS)
    assert refusal_of(path) == (
        f"{path}: cells are empty in column 'n' (2), 'w' (2); NA, None and the like count "
        "as empty. data.missing=mean fills them (numbers: the training part's mean), "
        "data.missing=drop leaves their rows out."
    )


def test_empty_cells_are_filled_by_the_training_part_alone(tmp_path):
    data = read(write(tmp_path, GAPS), missing="mean")
    number, word = data.preprocessing["table"]["columns"]
    assert number == {"name": "n", "mean": 2.0}  # of 0, 2 and 4
    assert word == {"name": "w", "categories": ["a", "b"]}
    assert data.train.inputs.tolist() == [[0, 1, 0], [2, 0, 0], [2, 0, 1], [4, 0, 1]]
    assert data.val.inputs.tolist() == [[8, 1, 0], [2, 1, 0]]


def test_rows_with_empty_cells_are_left_out(tmp_path):
    full = "n,w,y\n0,a,0\n4,b,1\n8,a,0\n6,c,0\n"
    dropped = read(write(tmp_path, GAPS), missing="drop")
    assert dropped.fingerprint == read(write(tmp_path, full)).fingerprint


@pytest.mark.parametrize("missing", ["mean", "refuse"])
def test_an_empty_target_is_never_filled(tmp_path, missing):
    path = write(tmp_path, "x,y\n" + "".join(f"{k},{k % 2 if k != 3 else ''}\n" for k in range(8)))
    words = f"{path}: empty cells of the target: 1. data.missing=drop leaves their rows out."
    assert refusal_of(path, missing=missing) == words
    assert len(read(path, missing="drop").train) == 3


@pytest.mark.parametrize("late", ["3", "word"])
def test_a_column_of_which_training_knows_nothing_cannot_be_filled(tmp_path, late):
    rows = "".join(f"{k},{late if k > 3 else ''},{k % 2}\n" for k in range(8))
    path = write(tmp_path, f"x,n,y\n{rows}")
    words = f"{path}: column 'n' has no value in the training part, so there is nothing to fill it"
    assert refusal_of(path, missing="mean").startswith(words)


# ------------------------------------------------------------------ what is refused

ROWS = "".join(f"{k},{k % 2}\n" for k in range(8))
REFUSED = {
    "no such column": (f"x,Y\n{ROWS}", {}, "has no column 'y'; it has x, Y. Choose Y or x."),
    "misspelt": (f"x,yy\n{ROWS}", {"target": "yyy"}, "Did you mean 'yy'?"),
    "other separator": ("x;y\n0;1\n", {}, "has no column 'y'; it has x;y."),
    "several columns": (
        f"x,y\n{ROWS}", {"target": ["a", "b"]}, "has no column 'a'; it has x, y.",
    ),
    "target alone": ("y\n0\n1\n", {}, "has no column besides the target."),
    "no rows": ("x,y\n", {}, "has no rows."),
    "no full rows": ("x,y\n,1\n,0\n", {"missing": "drop"}, "has no rows without empty cells."),
    "nothing": ("", {}, "is empty. It has to be a table with a header."),
    "blank lines": ("\n\n\n\n\n", {}, "is empty. It has to be a table with a header."),
    "latin-1": ("x,y\n\xe4,1\n".encode("latin-1"), {}, "is no UTF-8 text. Save it as UTF-8, such"),
    "utf-16": ("x,y\n1,1\n".encode("utf-16"), {}, "by: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    "bytes": (bytes(range(256)), {}, "is no UTF-8 text."),
    "parquet": (b"PAR1\x15\4\xc0PAR1", {}, "is a Parquet file. data=datasets:FILE data.target="),
    "a longer line": (f"x,y\n{ROWS}1,2,3\n", {}, "cannot be read as a table: Error tokenizing"),
    "a short header": ("x,y\n1,0,5\n2,1,6\n", {}, "the header has fewer names than lines have"),
    "a name twice": ("x,y,y\n1,0,0\n2,1,1\n", {}, "the header has 'y' twice. Give each column"),
    "an input's name": ("x,x,x,y\n1,2,3,0\n4,5,6,1\n", {}, "the header has 'x' 3 times."),
    "decimal commas": (
        'x,y\n"1,5",0\n"118,65",1\n2,0\n', {}, "has decimal commas, such as '1,5'. Write 1.5.",
    ),
    "targets with commas": (
        'x,y\n1,"1,5"\n2,"118,650"\n', {"targets": "values"}, "'y' has decimal commas",
    ),
    "infinite": (f"x,y\n{ROWS}inf,1\n", {}, "column 'x' holds numbers that are infinite as"),
    "beyond float32": (f"x,y\n{ROWS}1e300,1\n", {}, "infinite as float32: 1e+300 (1 in all)."),
    "one class": ("x,y\n1,5\n2,5\n", {}, "there is only one class, '5'; at least two are needed."),
    "fractions": ("x,y\n1,.5\n2,1\n", {}, "labels are numbers that are not whole, such as 0.5"),
    "words as values": (
        "x,y\n1,u\n2,v\n", {"targets": "values"}, "regression targets have to be numbers",
    ),
    "counts as labels": (
        "x,y,z\n1,0,2\n2,1,1\n", {"targets": "labels", "target": ["y", "z"]}, "values such as 2;",
    ),
    "one label": ("x,y\n1,0\n2,1\n", {"targets": "labels"}, "task multilabel needs a column of"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    text, keywords, words = REFUSED[case]
    assert words in refusal_of(write(tmp_path, text), **keywords)


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal_of("none.csv") == (
        f"There is no file none.csv (looked for {tmp_path}/none.csv). Give data.path=FILE, a CSV "
        "or TSV file with a header."
    )


def test_one_value_of_a_quantity_is_trained_on_and_has_no_r2(write_small, tmp_path):
    path = write(tmp_path, "x,y\n" + "".join(f"{k},3.5\n" for k in range(8)))
    run = write_small().run(
        task="regression", data={"name": "table", "path": str(path), "target": "y"}, loss="mse"
    )
    assert run.configuration["select"]["metric"] == "val/mae"


def test_a_long_column_has_one_type(tmp_path):
    """pandas reads in chunks, and would guess the type of each."""
    text = "x,y\n" + "1,0\n2,1\n" * 200_000 + "?,1\n"
    source = load(
        table, {"path": str(write(tmp_path, text)), "target": "y"},
        name="data table", seed=0, targets="classes",
    )  # fmt: skip
    assert set(source.parts["all"].inputs.columns["x"]) == {"1", "2", "?"}


def test_thousands_and_lists_are_no_decimal_commas(tmp_path):
    rows = "".join(f'"{k},234","{k},{k + 1},3",{k % 2}\n' for k in range(8))
    data = read(write(tmp_path, f"n,w,y\n{rows}"))
    assert [len(column["categories"]) for column in data.preprocessing["table"]["columns"]] == [
        4,
        4,
    ]


def test_a_column_of_names_is_refused_before_it_fills_the_memory(tmp_path):
    rows = "".join(f"name{k},red,{k % 2}\n" for k in range(36_000))
    path = write(tmp_path, f"name,colour,y\n{rows}")
    assert refusal_of(path) == (
        f"{path}: column 'name' has 18000 different words in 18000 rows, each of which would be an "
        "input of its own: too many for memory. Take it out of the file."
    )


# ------------------------------------------------------------------ frames of a data function


def test_a_frame_with_words_is_a_table():
    frame = pd.DataFrame({"n": np.arange(8.0), "w": pd.Categorical(["u", "v"] * 4)})
    source = load(lambda: (frame, [0, 1] * 4), {}, name="mine", seed=0, targets="classes")
    data = prepare(source, Split(method="none"), standardize=False)
    assert data.columns == ("n", "w")
    assert data.train.inputs[:2].tolist() == [[0, 1, 0], [1, 0, 1]]


def test_columns_of_neither_numbers_nor_words_are_all_named():
    frame = pd.DataFrame({"w": ["a"] * 4, "when": pd.to_datetime(["2020"] * 4), "n": [None] * 4})
    with pytest.raises(RequestError) as caught:
        load(lambda: (frame, [0, 1] * 2), {}, name="mine", seed=0, targets="classes")
    assert re.findall(r"column '(\w+)'", str(caught.value)) == ["when", "n"]
