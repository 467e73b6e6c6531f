"""A keyword is taken as its annotation, or its default's type, says; or refused with what fits."""

from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field

from paribus.core.config.signatures import (
    Parameter,
    check_keyword,
    check_keywords,
    describe,
    plain,
    plain_default,
    read_signature,
    words_of,
)
from paribus.core.errors import Faults, RequestError

NO = read_signature(lambda x: x, 0).parameters["x"].annotation
Rate = Annotated[float, Field(ge=0, lt=1)]
Word = Literal["relu", "tanh"]


def parameter(annotation=NO, default=NO):
    return Parameter("x", annotation, default)


@pytest.mark.parametrize(
    ("annotation", "default", "given", "taken"),
    [
        (float, NO, 1, 1.0),
        (float, NO, 0.5, 0.5),
        (int, NO, 3, 3),
        (bool, NO, True, True),
        (str, NO, "a", "a"),
        (str, NO, "none", "none"),
        (int | None, NO, "none", None),
        (int | None, NO, None, None),
        (float | None, NO, 2, 2),
        (tuple[float, float], NO, [0.9, 1], [0.9, 1.0]),
        (list[int], NO, [1, 2], [1, 2]),
        (Word, NO, "relu", "relu"),
        (Literal["none", "relu"], NO, "none", "none"),
        (Word | None, NO, "None", None),
        (Rate, NO, 0, 0.0),
        (Any, NO, "none", None),
        (NO, 1.0, 2, 2.0),
        (NO, 1, 2, 2),
        (NO, True, False, False),
        (NO, "mean", "sum", "sum"),
        (NO, None, [1, "a"], [1, "a"]),
        (NO, NO, "anything", "anything"),
        ("Unknown", 3, 4, 4),
        (float | torch.Tensor, 0.1, 1, 1.0),
    ],
)
def test_taken(annotation, default, given, taken):
    found = check_keyword(parameter(annotation, default), given, "model.x")
    assert found == taken
    assert type(found) is type(taken) or annotation == float | None


@pytest.mark.parametrize(
    ("annotation", "default", "given", "words"),
    [
        (float, NO, True, "must be a number"),
        (float, NO, "1", "must be a number. It is text: leave its quotes out."),
        (float, NO, "none", "must be a number"),
        (int, NO, 1.5, "must be a whole number"),
        (int, NO, True, "must be a whole number"),
        (bool, NO, 1, "must be true or false"),
        (str, NO, 1, "must be a word"),
        (int | None, NO, "x", "must be a whole number or none"),
        (tuple[float, float], NO, [1], "must be a list of numbers"),
        (Word, NO, "rellu", "must be relu or tanh. Did you mean 'relu'?"),
        (Word, NO, "none", "must be relu or tanh"),
        (Rate, NO, 1, "must be a number of at least 0 and below 1"),
        (Rate, NO, -0.1, "of at least 0"),
        (NO, 1.0, "x", "must be a number"),
        (NO, 1, 0.5, "must be a whole number"),
        (NO, False, "no", "must be true or false"),
        (NO, "mean", 3, "must be a word"),
    ],
)
def test_refused_with_what_fits(annotation, default, given, words):
    with pytest.raises(RequestError) as caught:
        check_keyword(parameter(annotation, default), given, "model.x")
    assert str(caught.value).startswith("model.x=")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["1", "-.5", "+1.", "1e-3", "2.5E+10"])
def test_a_number_in_quotes_is_named(text):
    with pytest.raises(RequestError, match=r"It is text: leave its quotes out\.$"):
        check_keyword(parameter(float, NO), text, "model.x")


@pytest.mark.parametrize("text", ["1e-", "-", ".", "e", "1e", "1.2.3", "1-2"])
def test_what_is_no_number_without_its_quotes_gets_no_hint(text):
    with pytest.raises(RequestError, match=r"must be a number\.$"):
        check_keyword(parameter(float, NO), text, "model.x")


def run_time(outputs, targets, *, weight: float = 1.0, hidden=0, **more):
    return outputs, targets, weight, hidden, more


def test_read_signature():
    found = read_signature(run_time, 2, ("hidden",))
    assert list(found.parameters) == ["weight"]
    assert found.open
    assert read_signature(run_time, 0).parameters["outputs"].required
    assert not read_signature(test_read_signature, 0).open
    assert read_signature(dict, 0).open  # a builtin that does not say


def test_unknown_keywords_are_refused_with_the_nearest_and_all_at_once():
    signature = read_signature(torch.nn.Linear, 0)
    faults = Faults()
    given = {"in_feature": 3, "bias": 1, "out_features": 2}
    assert check_keywords(signature, given, "model", "Linear", faults) == {"out_features": 2}
    unknown, wrong = map(str, faults.found)
    assert "model Linear has no keyword 'in_feature'. Did you mean 'in_features'?" in unknown
    assert "model.bias=1: must be true or false" in wrong
    faults = Faults()
    accepted = check_keywords(read_signature(run_time, 2), {"zzz": 1}, "loss", "run_time", faults)
    assert (accepted, faults.found) == ({"zzz": 1}, [])  # it takes further keywords itself


@pytest.mark.parametrize(
    ("default", "value"),
    [
        ((0.9, (1, None)), [0.9, [1, None]]),
        ({"a": (1,)}, {"a": [1]}),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        ("mean", "mean"),
    ],
)
def test_defaults_as_json_holds_them(default, value):
    assert plain(default) == value


@pytest.mark.parametrize(
    ("annotation", "default", "value"),
    [(float, 0, 0.0), (int, 0, 0), (bool, False, False), (NO, 0, 0), (float | None, None, None)],
)
def test_a_default_has_the_type_that_the_same_value_has_when_typed(annotation, default, value):
    found = plain_default(parameter(annotation, default))
    assert repr(found) == repr(value)
    assert repr(check_keyword(parameter(annotation, default), default, "x")) == repr(found)


def test_words_and_descriptions():
    assert words_of(Word | None) == ["relu", "tanh"]
    assert describe(Word | None) == "relu or tanh or none"
    assert describe(list[int]) == "a list of numbers"
    assert describe(Literal["none", "b"] | None) == "b or none"
    assert describe(Literal["none", "x"] | float) == "none or x or a number"
    assert describe(Annotated[int | None, Field(ge=1)]) == "a whole number of at least 1 or none"
