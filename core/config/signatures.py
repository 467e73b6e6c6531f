"""Keyword arguments checked against a component's signature, before anything is trained.

In a one-factor study a keyword that is dropped reads as "no effect". So an unknown keyword is an
error, and a value is checked against its parameter's annotation, else the type of its default.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Union

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from paribus.core.config.values import NULL_WORDS, show_value
from paribus.core.errors import Faults, RequestError, did_you_mean, one_of, shown

REQUIRED = inspect.Parameter.empty
UNRECORDED = "unrecorded"  # metadata of a keyword that is newer than records without it


@dataclass(frozen=True)
class Parameter:
    """One keyword of a component: its name, annotation (or `REQUIRED`) and default."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def accepted(self) -> Any:
        """The annotation, else the type of the default."""
        if self.annotation is REQUIRED or isinstance(self.annotation, str):
            kind = type(self.default)
            return kind if kind in (bool, int, float, str) else Any
        return self.annotation


@dataclass(frozen=True)
class Signature:
    """The keywords that a user may give to a component."""

    parameters: dict[str, Parameter]  # by name, in the signature's order
    open: bool  # whether it takes further keywords (``**kwargs``), which cannot be checked here
    further: tuple[str, ...] = ()  # names of some of these: of the class that it returns

    def adding(self, *more: Parameter) -> Signature:
        """Return it with further keywords."""
        return replace(self, parameters=self.parameters | {p.name: p for p in more})


def read_signature(
    function: Callable[..., Any], run_time: int, hidden: tuple[str, ...] = ()
) -> Signature:
    """Return the signature without its first `run_time` arguments and without `hidden` ones."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Signature({}, open=True)
    target = function.__init__ if inspect.isclass(function) else function
    try:
        hints = typing.get_type_hints(target, include_extras=True)
    except Exception:  # an annotation that cannot be evaluated counts as none
        hints = {}
    open_to_more = any(p.kind is p.VAR_KEYWORD for p in found)
    further: tuple[str, ...] = ()
    if open_to_more and target is function and inspect.isclass(made := hints.get("return")):
        inner = read_signature(made, 0, hidden).parameters.values()
        further = tuple(p.name for p in inner if not p.required)
    keywords = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return Signature(
        {
            p.name: Parameter(p.name, hints.get(p.name, p.annotation), p.default)
            for p in keywords[run_time:]
            if p.name not in hidden
        },
        open_to_more,
        further,
    )


def check_keyword(parameter: Parameter, value: Any, where: str) -> Any:
    """Return the value as the parameter takes it: 1 as 1.0 for a float, ``none`` as null.

    ``none`` stays a word where the parameter has it. Raises RequestError saying what fits.
    """
    words = words_of(parameter.accepted)
    candidates = [value]
    if isinstance(value, str) and value in NULL_WORDS:
        candidates = [value, None] if value in words else [None, value]
    for candidate in candidates:
        fits, accepted = _accept(parameter.accepted, candidate)
        if fits:
            return accepted
    hint = ""
    if isinstance(value, str):
        is_number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value)
        hint = did_you_mean(value, words, "It is text: leave its quotes out." if is_number else "")
    raise RequestError(
        f"{where}={shown(show_value(value))}: must be {describe(parameter.accepted)}.", hint
    )


def check_keywords(
    signature: Signature, keywords: Mapping[str, Any], kind: str, name: str, faults: Faults
) -> dict[str, Any]:
    """Return a component's keywords as its parameters take them, collecting what is wrong."""
    accepted = {}
    for keyword, value in keywords.items():
        parameter = signature.parameters.get(keyword)
        with faults.collecting():
            if parameter is not None:
                accepted[keyword] = check_keyword(parameter, value, f"{kind}.{keyword}")
            elif signature.open:
                accepted[keyword] = value
            else:
                raise RequestError(
                    f"{kind} {name} has no keyword '{shown(keyword)}'.",
                    did_you_mean(keyword, signature.parameters),
                )
    return accepted


def plain(default: Any) -> Any:
    """Return a default as JSON holds it; what JSON cannot hold is named by its path."""
    if default is None or isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, tuple | list):
        return [plain(item) for item in default]
    if isinstance(default, dict):
        return {str(key): plain(item) for key, item in default.items()}
    owner = default if hasattr(default, "__qualname__") else type(default)
    return f"{owner.__module__}.{owner.__qualname__}"


def plain_default(parameter: Parameter) -> Any:
    """Return a parameter's default as JSON holds it, of the type of a typed value (0.0)."""
    default = plain(parameter.default)
    if type(default) is int:
        fits, accepted = _accept(parameter.accepted, default)
        return accepted if fits else default
    return default


def words_of(annotation: Any) -> list[str]:
    """Return the words of the ``Literal``s in an annotation."""
    if typing.get_origin(annotation) is Literal:
        return [word for word in typing.get_args(annotation) if isinstance(word, str)]
    return [word for part in typing.get_args(annotation) for word in words_of(part)]


_SIMPLE = {int: "a whole number", float: "a number", bool: "true or false", str: "a word",
           None: "none", type(None): "none"}  # fmt: skip
_LIMITS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


def describe(annotation: Any) -> str:
    """Return an annotation as words: ``a number``, ``relu, tanh or none``."""
    if isinstance(annotation, Hashable) and annotation in _SIMPLE:
        return _SIMPLE[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return one_of(str(word) for word in inner)
    if origin is typing.Annotated:
        marks = [mark for field in inner[1:] for mark in getattr(field, "metadata", [])]
        limits = [f"{word} {getattr(mark, name)}" for mark in marks
                  for name, word in _LIMITS.items() if hasattr(mark, name)]  # fmt: skip
        text = describe(inner[0])
        number = text.removesuffix(" or none")
        return f"{number} {' and '.join(limits)}".strip() + text[len(number) :]
    if origin in (Union, types.UnionType):
        known = [describe(part) for part in inner if getattr(part, "__name__", "") != "Tensor"]
        if type(None) in inner and "none" in words_of(annotation):  # among the words already
            known.remove("none")
        return " or ".join(dict.fromkeys(text for text in known if text))
    if origin in (tuple, list):
        return "a list of numbers" if any(part in (int, float) for part in inner) else "a list"
    if origin is dict:
        return 'a dict such as {"NAME": 0.1}'
    if fields := getattr(annotation, "model_fields", None):
        return f"a dict of {', '.join(fields)}"
    return getattr(annotation, "__name__", str(annotation))


def accepts(annotation: Any, value: Any) -> bool:
    """Return whether a value fits an annotation."""
    return _accept(annotation, value)[0]


def _accept(annotation: Any, value: Any) -> tuple[bool, Any]:
    if annotation is Any:
        return True, value
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(
            annotation, config=ConfigDict(arbitrary_types_allowed=True)
        )
        # JSON's strict mode: lists may be tuples, 1 may be 1.0, but true is not 1, "1" no number.
        accepted = adapter.validate_json(json.dumps(value), strict=True)
    except (ValidationError, PydanticUserError, TypeError, ValueError):
        return False, None
    return True, list(accepted) if isinstance(accepted, tuple) else accepted
