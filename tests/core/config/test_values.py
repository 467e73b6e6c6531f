"""Typed values are YAML 1.2 scalars and lists; whatever is typed gives a value or a reason."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paribus.core.config.values import (
    as_plain,
    canonical_json,
    null_if_not_finite,
    parse_component,
    parse_value,
    show_value,
    split_commas,
)
from paribus.core.errors import RequestError

modest = settings(max_examples=150, deadline=None)

SCALARS = [
    ("1e-3", 0.001),
    ("1E5", 100000.0),
    ("1.", 1.0),
    (".5", 0.5),
    ("-0.5", -0.5),
    ("5", 5),
    ("+5", 5),
    ("-5", -5),
    ("007", 7),
    ("0o17", 15),
    ("0o8", "0o8"),
    ("0x1F", 31),
    ("1_000", "1_000"),
    ("12:30", "12:30"),
    ("2001-01-01", "2001-01-01"),
    ("true", True),
    ("FALSE", False),
    ("tRue", "tRue"),
    ("on", "on"),
    ("yes", "yes"),
    ("y", "y"),
    ("relu", "relu"),
    ("none", "none"),
    ("null", "null"),
    ("~", "~"),
    ("~/data/x.csv", "~/data/x.csv"),
    ("*.csv", "*.csv"),
    ("a: b", "a: b"),
    ("{a: 1}", "{a: 1}"),
    ('"1"', "1"),
    ("'a, b'", "a, b"),
    ("[]", []),
    ("[64, 64]", [64, 64]),
    ("[1, [2, 1e-3], none]", [1, [2, 0.001], "none"]),
    ("  3  ", 3),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_yaml_1_2(text, value):
    found = parse_value(text, "key")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", ".nan", ".inf", "-.inf", "1e999", "[1, .inf]", "[1, 2", '"a', "[,]", "['a]"),
        *("[!!binary aGVsbG8=]", "[!!bool maybe]", '[!!float ""]', "[!!python/name:os.system x]"),
        *("[&a [*a]]", "[&a 1]", "[&a 1, *a]", "[a: 1]", "[{a: 1}]", '"\\ud800"', "\udce9"),
        *("9" * 30, "x" * 10_001),
    ],
)
def test_refused_values_name_the_key(text):
    with pytest.raises(RequestError, match=r"^optimizer\.lr: "):
        parse_value(text, "optimizer.lr")


def test_aliases_cannot_blow_up():
    levels = ", ".join(f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))
    with pytest.raises(RequestError):
        parse_value(f"[&a0 [1], {levels}]", "key")


def answered(parse, text, where):
    """(value, None) or (None, the refusal); any other error passes through."""
    try:
        return parse(text, where), None
    except RequestError as error:
        return None, str(error)


AWKWARD = st.text("[](){}\"',:=!&*~#|>%@`?-+.0159eExXinfNaN \n\t\0a\ud800", max_size=40)


@modest
@given(st.one_of(AWKWARD, st.text(max_size=60)))
@example("\0")
@example("[" * 5000 + "]" * 5000)
@example("(" * 5000)
@example("x" * 5120)
@example("[" + "1, " * 1700 + "1]")
@example("9" * 5000)
def test_whatever_is_typed_is_a_plain_value_or_a_request_error(text):
    value, refusal = answered(parse_value, text, "key")
    if refusal is not None:
        assert refusal.startswith("key: ")
        assert len(refusal) < 400
        assert refusal.isprintable()
    else:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        assert isinstance(value, bool | int | float | str | list)


@modest
@given(st.one_of(AWKWARD, AWKWARD.map("f(a={})".format), AWKWARD.map("f(a=1, {})".format)))
@example("f(" * 2500 + ")" * 2500)
@example("f(a=" + "[" * 3000 + ")")
@example("\0(a=\0)")
@example("a" * 5120 + "(b=1)")
def test_whatever_is_typed_is_a_component_or_a_request_error(text):
    component, refusal = answered(parse_component, text, "loss")
    if refusal is not None:
        assert refusal.startswith("loss: ")
        assert refusal.isprintable()
    else:
        assert component["name"]
        assert all(key.isidentifier() for key in component if key != "name")


COMPONENTS = [
    ("mlp", {"name": "mlp"}),
    ("mlp()", {"name": "mlp"}),
    (" step ( step_size = 5 , gamma=0.5 ) ", {"name": "step", "step_size": 5, "gamma": 0.5}),
    ("adam(betas=[0.9, 0.99], lr=1e-3)", {"name": "adam", "betas": [0.9, 0.99], "lr": 0.001}),
    ('f(a="x, y", b=on)', {"name": "f", "a": "x, y", "b": "on"}),
    ("torch.optim.RAdam", {"name": "torch.optim.RAdam"}),
    ("my-own file.py:Net", {"name": "my-own file.py:Net"}),
    ("my-own.py:Net(width=3)", {"name": "my-own.py:Net", "width": 3}),
    ("2nd.py:Net(width=3)", {"name": "2nd.py:Net", "width": 3}),
]


@pytest.mark.parametrize(("text", "component"), COMPONENTS)
def test_components(text, component):
    assert parse_component(text, "model") == component


@pytest.mark.parametrize(
    "text",
    [
        *("", "(a=1)", "a=1", "f(", "f)", "f(1)", "f(a)", "f(a=)", "f(a=1, a=2)", "f(name=x)"),
        *("f(a=1,)", "f(a-b=1)", "f(a=[1, 2)", "f(a=.nan)", "f, g"),
    ],
)
def test_refused_components(text):
    with pytest.raises(RequestError, match=r"^model: "):
        parse_component(text, "model")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2", ["1", "2"]),
        ("[64,64],[128]", ["[64,64]", "[128]"]),
        ("a(x=1,y=[2,3]),b", ["a(x=1,y=[2,3])", "b"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("one", ["one"]),
        ("a,", ["a", ""]),
    ],
)
def test_commas_are_protected_by_brackets_and_quotes(text, parts):
    assert split_commas(text) == parts


NUMBERS = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)


@modest
@given(st.one_of(NUMBERS, st.lists(NUMBERS, max_size=4)))
def test_what_is_shown_can_be_typed_again(value):
    again = parse_value(show_value(value), "key")
    assert repr(again) == repr(value)
    component = {"name": "f", "a": value, "b": value}
    assert repr(parse_component(show_value(component), "loss")) == repr(component)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0001, "0.0001"),
        (None, "none"),
        (True, "true"),
        ("relu", "relu"),
        ({"name": "mlp"}, "mlp"),
        ({"name": "f", "a": 0.1, "b": None}, "f(a=0.1, b=none)"),
    ],
)
def test_shown(value, text):
    assert show_value(value) == text


def test_numpys_numbers_become_pythons():
    import numpy as np

    found = as_plain({"a": np.float32(0.5), "b": [np.int64(3), (np.True_,)]}, "key")
    assert repr(found) == "{'a': 0.5, 'b': [3, (True,)]}"
    for odd in (np.zeros(3), {1}, b"x", print, np.float32("inf")):
        with pytest.raises(RequestError, match=r"^key\.a: "):
            as_plain({"a": odd}, "key")


def test_json_without_nan():
    assert canonical_json({"b": [1.0, None], "a": "é"}) == '{"a":"\\u00e9","b":[1.0,null]}'
    with pytest.raises(ValueError, match="not JSON"):
        canonical_json([float("nan")])
    found = null_if_not_finite({"a": [float("nan"), 1.0], "b": (float("inf"), "x")})
    assert found == {"a": [None, 1.0], "b": [None, "x"]}
