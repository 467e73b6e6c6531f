"""Targets of any form: classes and labels become int64 codes, quantities float32 columns."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from paribus.core.data.arrays import (
    NUMERIC,
    Array,
    as_array,
    check_finite,
    float32,
    is_frame,
    too_fine_columns,
)
from paribus.core.errors import bad_data, shown

Targets = Literal["classes", "labels", "values"]
Parts = Mapping[str, tuple[Array, str]]  # by part its targets, and where they came from
Names = Sequence[str] | None

_LARGEST_WHOLE = 2.0**53  # beyond it float64 holds no odd numbers
_KINDS = {"b": "bool", "i": "number", "U": "str"}  # of labels, by numpy's kind


@dataclass(frozen=True)
class Code:
    """How the targets of a source are encoded."""

    names: tuple[str, ...] | None  # of classes or labels, by their codes; None for quantities
    outputs: int  # number of classes, of labels, or of target columns
    encode: Callable[[object], torch.Tensor]  # of one item's target, without `N`; can be pickled


def encode_classes(parts: Parts, given_names: Names) -> tuple[Code, dict[str, Array]]:
    """Return the classes that all parts together define, in order, and codes int64 `[N]`.

    Given names are those of the labels 0, 1, …, used where the labels are such numbers.

    Raises:
        RequestError: Labels are missing, of different types, not whole, or all the same.
    """
    arrays = {key: _one_type(array, where) for key, (array, where) in parts.items()}
    _, where = next(iter(parts.values()))
    _refuse_mixture({_KINDS[array.dtype.kind] for array in arrays.values()}, where)
    classes, codes = np.unique(np.concatenate(list(arrays.values())), return_inverse=True)
    if len(classes) == 1:
        raise bad_data(
            f"{where}: there is only one class, '{shown(classes[0])}'; at least two are needed."
        )
    labels = classes.tolist()  # bools, ints or strings
    names = [str(label) for label in labels]
    if given_names is not None:
        numbers = [label for label in labels if type(label) is int]
        outside = [number for number in numbers if not 0 <= number < len(given_names)]
        if outside:
            raise bad_data(
                f"{where}: the label {outside[0]} is outside of 0 to {len(given_names) - 1}: there "
                f"are {len(given_names)} class names.",
                "Correct the label, or name all classes.",
            )
        named = [given_names[number] for number in numbers]
        names = named if len(set(named)) == len(labels) else names

    ends = np.cumsum([len(array) for array in arrays.values()])[:-1]
    encoded = np.split(codes.astype(np.int64), ends)
    code = Code(tuple(names), len(names), partial(_class_code, labels))
    return code, dict(zip(arrays, encoded, strict=True))


def encode_labels(parts: Parts, given_names: Names) -> tuple[Code, dict[str, Array]]:
    """Return the labels of which an example has any number, and marks int64 `[N, labels]`.

    Refused is what is not 0 and 1 in two or more columns.
    """
    encoded: dict[str, Array] = {}
    for key, (array, where) in parts.items():
        marks = array if array.dtype.kind in NUMERIC else array.astype(object)
        odd = marks[~np.isin(marks, (0, 1))] if marks.ndim == 2 else marks[:0]
        if marks.ndim != 2 or marks.shape[1] < 2 or odd.size:
            example = shown(repr(_plain(odd[0])), 40) if odd.size else 0
            values = f" and values such as {example}" if marks.ndim == 2 else ""
            raise bad_data(
                f"{where}: labels have shape {list(array.shape)}{values}; task multilabel needs a "
                "column of 0 and 1 for each of two labels or more, [N, labels].",
                "For one class per example take task=multiclass or task=binary.",
            )
        encoded[key] = marks.astype(np.int64)
    width = _common_width(encoded, "labels", parts)
    names = tuple(given_names or ())
    if not len(set(names)) == len(names) == width:
        names = tuple(f"label {number}" for number in range(width))
    return Code(names, width, partial(_vector, width, torch.int64)), encoded


def encode_quantities(parts: Parts, _: Names) -> tuple[Code, dict[str, Array]]:
    """Return how many columns there are, and the exact values float64 `[N, outputs]`.

    Refused is what float32 cannot keep, no number, or of different widths.
    """
    encoded = {key: _numbers(array, where) for key, (array, where) in parts.items()}
    width = _common_width(encoded, "target columns", parts)
    for key, (_array, where) in parts.items():
        check_finite(float32(encoded[key]), "targets", where)
        if too_fine_columns(encoded[key], TARGET_STEPS).any():
            raise bad_data(
                f"{where}: targets vary by less than float32 can keep at their size.",
                "Subtract an offset from them in the data function.",
            )
    return Code(None, width, partial(_vector, width, torch.float32)), encoded


# A model is not judged by a hundredth of what targets vary by, and they are not scaled.
TARGET_STEPS = 100

ENCODERS: Mapping[Targets, Callable[..., tuple[Code, dict[str, Array]]]] = {
    "classes": encode_classes,
    "labels": encode_labels,
    "values": encode_quantities,
}


def targets_array(targets: Any, where: str) -> Array:
    """Return targets as an array `[N, ...]`; lists keep each value's own type."""
    if is_frame(targets) and len(targets.columns) == 1:
        targets = targets.iloc[:, 0]
    if isinstance(targets, list | tuple):  # numpy would turn [1, "a"] into words
        return np.array(targets, dtype=object)
    return as_array(targets, "targets", where)


def _class_code(labels: Sequence[object], label: object) -> torch.Tensor:
    plain = _plain(label)
    if plain not in labels:
        raise bad_data(
            f"The data set gave the label {shown(repr(plain), 40)}, which no example had when it "
            "was loaded.",
            "A label has to follow from the example's index.",
        )
    return torch.tensor(labels.index(plain))


def _vector(width: int, dtype: torch.dtype, numbers: object) -> torch.Tensor:
    return torch.as_tensor(numbers).reshape(width).to(dtype)


def _common_width(encoded: Mapping[str, Array], what: str, parts: Parts) -> int:
    widths: dict[str, int] = {key: array.shape[1] for key, array in encoded.items()}
    if len(set(widths.values())) > 1:
        _, where = next(iter(parts.values()))
        raise bad_data(f"{where}: parts differ in {what}: {widths}.")
    return next(iter(widths.values()))


def _numbers(array: Array, where: str) -> Array:
    """Return quantities as float64 `[N, outputs]`; missing ones are NaN."""
    if array.ndim not in (1, 2) or array.size == 0:
        raise bad_data(
            f"{where}: regression targets have shape {list(array.shape)}; valid are [N] and "
            "[N, outputs]."
        )
    plain = [_plain(value) for value in array.flat] if array.dtype.kind == "O" else []
    odd = [v for v in plain if not (_is_missing(v) or isinstance(v, bool | int | float))]
    if array.dtype.kind not in "biufO":
        odd = [_plain(array.flat[0])]
    if odd:
        words = isinstance(odd[0], str)
        raise bad_data(
            f"{where}: regression targets have to be numbers, not "
            f"{'class words' if words else type(odd[0]).__name__} such as "
            f"{shown(repr(odd[0]), 40)}.",
            "For classes set task=binary or task=multiclass." if words else "",
        )
    if plain:
        flat = [math.nan if _is_missing(value) else float(value) for value in plain]
        array = np.array(flat).reshape(array.shape)
    return array.astype(np.float64).reshape(len(array), -1)


def _one_type(array: Array, where: str) -> Array:
    """Return labels `[N]` as bools, int64 or strings."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise bad_data(
            f"{where}: labels have shape {list(array.shape)}; valid is one label per example, [N].",
            "One-hot labels: return targets.argmax(1).",
        )
    if array.dtype.kind == "O":
        plain = [_plain(value) for value in array]
        _refuse_missing(sum(_is_missing(value) for value in plain), where)
        types = {"number" if type(v) in (int, float) else type(v).__name__ for v in plain}
        _refuse_mixture(types, where)
        if not types <= {"number", "str", "bool"}:
            raise bad_data(
                f"{where}: labels of type {types.pop()}; valid are numbers, strings and bools."
            )
        array = np.array(plain)
    if array.dtype.kind == "f":
        _refuse_missing(int((~np.isfinite(array)).sum()), where)
        odd = array[(array != np.round(array)) | (np.abs(array) > _LARGEST_WHOLE)]
        if len(odd):
            raise bad_data(
                f"{where}: labels are numbers that are not whole, such as {float(odd[0])!r}; this "
                "looks like regression.",
                "Set task=regression.",
            )
    if array.dtype.kind in "iuf":
        return array.astype(np.int64)
    if array.dtype.kind not in "bU":
        raise bad_data(
            f"{where}: labels of dtype {array.dtype}; valid are numbers, strings and bools."
        )
    return array


def _refuse_mixture(kinds: set[str], where: str) -> None:
    if len(kinds) > 1:
        raise bad_data(
            f"{where}: labels are of different types: {', '.join(sorted(kinds))}.",
            "Return labels of one type.",
        )


def _refuse_missing(count: int, where: str) -> None:
    if count:
        raise bad_data(
            f"{where}: {count} {'label is' if count == 1 else 'labels are'} missing (None, NaN or "
            "infinite).",
            "Drop these examples in the data function.",
        )


def _plain(value: Any) -> Any:
    """Return a label or number without its array, in Python's own types; 1.0 as 1."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas' own
