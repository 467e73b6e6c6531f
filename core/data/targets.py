"""Targets of any form: class labels become int64 codes, quantities float32 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from paribus.core.data.arrays import NUMERIC, Array, as_array, check_finite, float32, is_frame
from paribus.core.errors import RequestError, bad_data, shown

_LARGEST_WHOLE = 2.0**53  # beyond it float64 holds no odd numbers
_KINDS = {"b": "bool", "i": "number", "U": "str"}  # of labels, by numpy's kind


@dataclass(frozen=True)
class Classes:
    """The classes of a source, in the order of their codes.

    Attributes:
        values: The labels as they were returned: bools, ints or strings, sorted.
        names: How each class is called.
    """

    values: tuple[bool | int | str, ...]
    names: tuple[str, ...]

    def encode(self, label: object) -> torch.Tensor:
        """Return one label's code: int64 without dimensions.

        Raises:
            RequestError: No example had this label when the data was loaded.
        """
        plain = _plain(label)
        if plain not in self.values:
            raise bad_data(
                f"The data set gave the label {shown(repr(plain), 40)}, which no example had when "
                "it was loaded.",
                "A label has to follow from the example's index.",
            )
        return torch.tensor(self.values.index(plain))


@dataclass(frozen=True)
class Quantities:
    """Regression targets: how many columns each example has."""

    outputs: int

    def encode(self, target: object) -> torch.Tensor:
        """Return one example's targets: float32 `[outputs]`."""
        return torch.as_tensor(target, dtype=torch.float32).reshape(self.outputs)


def targets_array(targets: Any, where: str) -> Array:
    """Return targets as an array `[N, ...]`; lists keep each value's own type.

    Raises:
        RequestError: They are no array, tensor, list or frame.
    """
    if is_frame(targets) and len(targets.columns) == 1:
        targets = targets.iloc[:, 0]
    if isinstance(targets, list | tuple):  # numpy would turn [1, "a"] into words
        return np.array(targets, dtype=object)
    return as_array(targets, "targets", where)


# ----------------------------------------------------------------- quantities


def encode_quantities(parts: Mapping[str, tuple[Array, str]]) -> tuple[dict[str, Array], int]:
    """Return targets of each part as float64 `[N, outputs]`, and the number of outputs.

    Args:
        parts: For each part its targets and where they came from, as messages say it.

    Raises:
        RequestError: Targets are no numbers, not finite, or of different widths.
    """
    encoded = {key: _numbers(array, where) for key, (array, where) in parts.items()}
    widths = {key: array.shape[1] for key, array in encoded.items()}
    if len(set(widths.values())) > 1:
        _, where = next(iter(parts.values()))
        raise bad_data(f"{where}: parts differ in target columns: {widths}.")
    for key, (_, where) in parts.items():
        check_finite(float32(encoded[key]), "targets", where)
    return encoded, next(iter(widths.values()))


def _numbers(array: Array, where: str) -> Array:
    if array.ndim not in (1, 2) or array.size == 0:
        raise bad_data(
            f"{where}: regression targets have shape {list(array.shape)}; valid are [N] and "
            "[N, outputs]."
        )
    if array.dtype.kind == "O":
        plain = [_plain(value) for value in array.flat]
        for value in plain:
            if not (_is_missing(value) or isinstance(value, bool | int | float)):
                raise _not_a_quantity(value, where)
        flat = [math.nan if _is_missing(value) else float(value) for value in plain]
        array = np.array(flat).reshape(array.shape)
    if array.dtype.kind not in "biuf":
        raise _not_a_quantity(_plain(array.flat[0]), where)
    return array.astype(np.float64).reshape(len(array), -1)


def _not_a_quantity(value: object, where: str) -> RequestError:
    words = isinstance(value, str)
    return bad_data(
        f"{where}: regression targets have to be numbers, not "
        f"{'class words' if words else type(value).__name__} such as {shown(repr(value), 40)}.",
        "For classes set task=binary or task=multiclass." if words else "",
    )


# --------------------------------------------------------------------- labels


@dataclass(frozen=True)
class Labels:
    """The labels of which an example has any number.

    Attributes:
        names: How each is called.
    """

    names: tuple[str, ...]

    def encode(self, marks: object) -> torch.Tensor:
        """Return one example's labels: int64 `[labels]` of 0 and 1."""
        return torch.as_tensor(marks).reshape(len(self.names)).long()


def encode_labels(
    parts: Mapping[str, tuple[Array, str]], given_names: Sequence[str] | None
) -> tuple[dict[str, Array], Labels]:
    """Return labels of each part, int64 `[N, labels]` of 0 and 1, and their names.

    Args:
        parts: For each part its targets and where they came from, as messages say it.
        given_names: Names of the labels, if known.

    Raises:
        RequestError: They are not 0 and 1 in two or more columns.
    """
    encoded: dict[str, Array] = {}
    for key, (array, where) in parts.items():
        marks = array if array.dtype.kind in NUMERIC else array.astype(object)
        if marks.ndim != 2 or marks.shape[1] < 2 or not np.isin(marks, (0, 1)).all():
            odd = "" if marks.ndim != 2 else f" and values such as {_odd(marks)}"
            raise bad_data(
                f"{where}: labels have shape {list(array.shape)}{odd}; task multilabel needs a "
                "column of 0 and 1 for each of two labels or more, [N, labels].",
                "For one class per example take task=multiclass or task=binary.",
            )
        encoded[key] = marks.astype(np.int64)
    widths = {key: array.shape[1] for key, array in encoded.items()}
    if len(set(widths.values())) > 1:
        _, where = next(iter(parts.values()))
        raise bad_data(f"{where}: parts differ in labels: {widths}.")
    width = next(iter(widths.values()))
    fits = given_names is not None and len(set(given_names)) == len(given_names) == width
    names = given_names if fits and given_names else [f"label {n}" for n in range(width)]
    return encoded, Labels(tuple(names))


def _odd(marks: Array) -> object:
    odd = marks[~np.isin(marks, (0, 1))]
    return shown(repr(_plain(odd[0])), 40) if odd.size else 0


# -------------------------------------------------------------------- classes


def encode_classes(
    parts: Mapping[str, tuple[Array, str]], given_names: Sequence[str] | None
) -> tuple[dict[str, Array], Classes]:
    """Return codes of each part, int64 `[N]`, and the classes that all parts together define.

    Args:
        parts: For each part its labels and where they came from, as messages say it.
        given_names: Names for the labels 0, 1, …, used where the labels are such numbers.

    Raises:
        RequestError: Labels are missing, of different types, not whole, or all the same.
    """
    arrays = {key: _one_type(array, where) for key, (array, where) in parts.items()}
    _, where = next(iter(parts.values()))
    kinds = {_KINDS[array.dtype.kind] for array in arrays.values()}
    if len(kinds) > 1:
        raise _mixture(kinds, where)
    found, codes = np.unique(np.concatenate(list(arrays.values())), return_inverse=True)
    if len(found) == 1:
        raise bad_data(
            f"{where}: there is only one class, '{shown(found[0])}'; at least two are needed."
        )
    ends = np.cumsum([len(array) for array in arrays.values()])[:-1]
    values = tuple(found.tolist())
    outside = [v for v in values if type(v) is int and not 0 <= v < len(given_names or ())]
    if given_names is not None and outside:
        raise bad_data(
            f"{where}: the label {outside[0]} is outside of 0 to {len(given_names) - 1}: there are "
            f"{len(given_names)} class names.",
            "Correct the label, or name all classes.",
        )
    classes = Classes(values, _names(values, given_names))
    return dict(zip(arrays, np.split(codes.astype(np.int64), ends), strict=True)), classes


def _names(values: Sequence[bool | int | str], given: Sequence[str] | None) -> tuple[str, ...]:
    numbers = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    if given and len(numbers) == len(values) and numbers[0] >= 0 and numbers[-1] < len(given):
        names = tuple(str(given[number]) for number in numbers)
        if len(set(names)) == len(names):
            return names
    return tuple(str(value) for value in values)


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
        array = _from_objects(array, where)
    if array.dtype.kind == "f":
        return _whole(array, where)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind not in "bU":
        raise bad_data(
            f"{where}: labels of dtype {array.dtype}; valid are numbers, strings and bools."
        )
    return array


def _from_objects(array: Array, where: str) -> Array:
    plain = [_plain(value) for value in array]
    missing = sum(_is_missing(value) for value in plain)
    if missing:
        raise _missing_labels(missing, where)
    types = {"number" if type(value) in (int, float) else type(value).__name__ for value in plain}
    if len(types) > 1:
        raise _mixture(types, where)
    if not types <= {"number", "str", "bool"}:
        raise bad_data(
            f"{where}: labels of type {types.pop()}; valid are numbers, strings and bools."
        )
    return np.array(plain)


def _whole(array: Array, where: str) -> Array:
    missing = int((~np.isfinite(array)).sum())
    if missing:
        raise _missing_labels(missing, where)
    odd = array[(array != np.round(array)) | (np.abs(array) > _LARGEST_WHOLE)]
    if len(odd):
        raise bad_data(
            f"{where}: labels are numbers that are not whole, such as {float(odd[0])!r}; this "
            "looks like regression.",
            "Set task=regression.",
        )
    return array.astype(np.int64)


def _mixture(kinds: set[str], where: str) -> RequestError:
    return bad_data(
        f"{where}: labels are of different types: {', '.join(sorted(kinds))}.",
        "Return labels of one type.",
    )


def _missing_labels(count: int, where: str) -> RequestError:
    return bad_data(
        f"{where}: {count} {'label is' if count == 1 else 'labels are'} missing (None, NaN or "
        "infinite).",
        "Drop these examples in the data function.",
    )


def _plain(value: Any) -> Any:
    """Return a label or number without its array, in Python's own types."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas' own
