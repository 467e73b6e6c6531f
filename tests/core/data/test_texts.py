"""Texts: a vocabulary of the training part, sequences of any length, padding without effect."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paribus.core.components.models import TextBag, draw_parameters
from paribus.core.config.schema import Split
from paribus.core.data.load import load
from paribus.core.data.prepare import prepare
from paribus.core.data.texts import Texts, Tokens, text, tokens
from paribus.core.errors import RequestError

FILE = "film,label\n" + "".join(
    f'"{words}",{label}\n'
    for words, label in [
        ("Good, good film!", "pro"),
        ("a bad film", "con"),
        ('so ""good""', "pro"),
        ("BAD", "con"),
        ("a new word", "pro"),
        ("bad bad", "con"),
        ("good", "pro"),
        ("film", "con"),
    ]
)


def prepared(returned):
    source = load(lambda: returned, {}, name="mine", seed=0, targets="classes")
    split = Split(method="in_order", val_fraction=0.25, test_fraction=0.25)
    return prepare(source, split, standardize=None)


def write(folder, content=FILE, name="a.csv"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_the_vocabulary_is_of_the_training_part_alone(tmp_path):
    data = prepared(text(str(write(tmp_path))))
    words = data.preprocessing["text"]["vocabulary"]
    # By count, then by the alphabet; "new" and "word" stand in the validation part only.
    assert words == ["good", '"', "bad", "film", "!", ",", "a", "so"]
    ids = {word: 2 + place for place, word in enumerate(words)}
    (inputs, targets), = data.val.batches(10)  # fmt: skip
    assert inputs.tolist() == [[ids["a"], 1, 1], [ids["bad"], ids["bad"], 0]]
    assert targets.tolist() == [1, 0]
    assert data.class_names == ("con", "pro")


@pytest.mark.parametrize("dtype", [object, "U20", np.dtypes.StringDType()], ids=str)
def test_an_array_of_any_kind_of_words_counts_as_texts(dtype):
    texts = np.array(["good film", "bad", "good", "film"] * 2, dtype=dtype)
    data = prepared((texts, [0, 1] * 4))
    assert data.preprocessing["text"]["vocabulary"] == ["film", "good", "bad"]
    assert data.preprocessing["class_names"] == ["0", "1"]


def test_lowercase_and_min_count(tmp_path):
    path = str(write(tmp_path))
    exact = prepared(text(path, lowercase=False)).preprocessing["text"]["vocabulary"]
    assert {"Good", "good", "BAD", "bad"} <= set(exact)
    assert set(prepared(text(path, min_count=2)).preprocessing["text"]["vocabulary"]) == {
        "good", "bad", "film", '"',
    }  # fmt: skip


def test_a_tsv_file_and_named_columns_of_several(tmp_path):
    path = write(tmp_path, "id\twords\tmark\n7\tgood film\tpro\n8\tbad\tcon\n", "a.tsv")
    with pytest.raises(RequestError, match=r"has the columns id, words, mark; which are meant\?"):
        text(str(path))
    texts, labels = text(str(path), text="words", label="mark")
    assert list(texts.texts) == ["good film", "bad"]
    assert labels.tolist() == ["pro", "con"]


@pytest.mark.parametrize("named", [{"text": "film"}, {"label": "mark"}])
def test_of_two_columns_one_name_is_enough(tmp_path, named):
    texts, labels = text(str(write(tmp_path, "mark,film\npro,good\ncon,bad\n")), **named)
    assert list(texts.texts) == ["good", "bad"]
    assert labels.tolist() == ["pro", "con"]


def test_a_column_that_is_missing(tmp_path):
    with pytest.raises(RequestError, match="has no column 'words'; it has film, label"):
        text(str(write(tmp_path)), text="words", label="label")


REFUSED = {
    "texts": ("good,pro\n,con\n  ,pro\nbad,con\n", "texts without any word: example 1, 2 (counted"),
    "labels": ("good,\nbad, \nso,pro\n", "empty cells of the label: 2. Fill them, or take their"),
    "short line": ("good,pro\nbad\n", "empty cells of the label: 1."),
    "no rows": ("", "has no rows."),
    "one label": ("good,pro\nbad,pro\n", "there is only one class, 'pro'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    rows, words = REFUSED[case]
    path = write(tmp_path, f"film,label\n{rows}")
    with pytest.raises(RequestError) as caught:
        load(text, {"path": str(path)}, name="data text", seed=0, targets="classes")
    assert words in str(caught.value)


def test_a_quotation_mark_that_swallows_lines_is_refused(tmp_path):
    rows = '"so they said\tpro\nbad film\tcon\n"good\tpro\nso\tcon\n'
    path = write(tmp_path, f"film\tlabel\n{rows}", "a.tsv")
    with pytest.raises(RequestError, match=r"a quotation mark at the beginning of a cell is not"):
        text(str(path))
    inside = write(tmp_path, 'film\tlabel\nso "they" said\tpro\n"a ""b"" c"\tcon\n', "b.tsv")
    assert list(text(str(inside))[0].texts) == ['so "they" said', 'a "b" c']


def test_words_like_missing_are_words(tmp_path):
    texts, labels = text(str(write(tmp_path, "film,label\nNA,null\nnan,None\n")))
    assert list(texts.texts) == ["NA", "nan"]
    assert labels.tolist() == ["null", "None"]


anything = st.text(min_size=1).filter(lambda t: tokens(t, True) and tokens(t, False))


@settings(max_examples=50, deadline=None)
@given(st.lists(anything, min_size=1, max_size=8), st.booleans(), st.integers(1, 9))
def test_any_texts_become_ids_that_read_back(texts, lowercase, batch_size):
    held = Texts(texts, lowercase)
    recipe = held.fitted()
    sequences = held.encoded(recipe)
    assert sequences.lengths.tolist() == [len(tokens(t, lowercase)) for t in texts]
    order = torch.arange(len(texts)).flip(0)
    batch = sequences.index_select(order[:batch_size]).padded()
    for row, place in zip(batch.tolist(), order.tolist(), strict=False):
        ids = [number for number in row if number]
        assert [recipe["vocabulary"][n - 2] for n in ids] == tokens(texts[place], lowercase)
        assert not any(row[len(ids) :])


# ------------------------------------------------------------------ text_bag


def bag(vocabulary=20, seed=0):
    model = TextBag(vocabulary, 3, embedding_dim=5)
    draw_parameters(model, seed)
    return model


sequences = st.lists(st.lists(st.integers(1, 19), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(sequences, st.integers(0, 9))
def test_padding_and_what_stands_beside_a_text_do_not_change_its_output(ids, more):
    model = bag()
    lengths = torch.tensor([len(s) for s in ids])
    flat = torch.tensor([n for s in ids for n in s])
    batch = Tokens(flat, lengths.cumsum(0) - lengths, lengths).padded()
    wider = torch.nn.functional.pad(batch, (0, more))
    together = model(wider)
    for row, sequence in enumerate(ids):
        alone = model(torch.tensor([sequence]))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-6)
        mean = model.embedding.weight[sequence].mean(0)
        torch.testing.assert_close(alone[0], model.output(mean), rtol=1e-5, atol=1e-6)


def test_padding_has_no_gradient_and_stays_zero():
    model = bag()
    model(torch.tensor([[3, 0, 0], [4, 5, 0]])).sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [3, 4, 5]
    assert (model.embedding.weight[0] == 0).all()


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 12))
def test_batches_of_any_size_hold_the_same_texts(tmp_path, batch_size):
    train = prepared(text(str(write(tmp_path)))).train
    order = torch.tensor([2, 0, 3, 1])
    model = bag(vocabulary=12)
    outputs = torch.cat([model(x) for x, _ in train.batches(batch_size, order)])
    whole = model(next(train.batches(10))[0])
    torch.testing.assert_close(outputs, whole[order], rtol=1e-5, atol=1e-6)
