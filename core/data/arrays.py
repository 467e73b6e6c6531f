"""Features of any form as one numeric array, and the checks that every value must pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from paribus.core.errors import bad_data, shown

Array = npt.NDArray[Any]

NUMERIC = "biuf"  # numpy's kinds: bool, int, unsigned, float


def is_frame(values: object) -> bool:
    """Return whether `values` can do what a DataFrame can: pandas is not imported."""
    return all(hasattr(values, name) for name in ("columns", "iloc", "to_numpy"))


def as_array(values: Any, what: str, where: str) -> Array:
    """Return values of any dtype as an array `[N, ...]`; raise RequestError if they are none."""
    try:
        if isinstance(values, torch.Tensor):
            dense = values.detach().cpu()
            if dense.dtype == torch.bfloat16:  # numpy has none
                dense = dense.float()
            array: Array = dense.resolve_conj().resolve_neg().numpy()
        elif np.ma.is_masked(values):
            raise ValueError("it has masked values; drop or fill them")
        else:
            array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise bad_data(f"{where}: the {what} cannot be one array: {shown(error, 200)}.") from error
    if array.ndim == 0:
        raise bad_data(
            f"{where}: the {what} are of type {type(values).__name__}; valid are an array, a "
            "tensor, a list, a DataFrame or a Series.",
            "Sparse matrices: call .toarray()." if hasattr(values, "toarray") else "",
        )
    return array


def features_array(features: Any, where: str) -> tuple[Array, tuple[str, ...] | None]:
    """Return features as a numeric array `[N, ...]` with at least two dimensions, and column names.

    Raises:
        RequestError: Something in them is not a number, or there is nothing in them.
    """
    columns = None
    if is_frame(features):
        columns = tuple(str(column) for column in features.columns)
        if not columns:
            raise bad_data(f"{where}: the DataFrame of features has no columns.")
        array = np.column_stack([
            column.to_numpy()
            if isinstance(column.dtype, np.dtype)
            else column.to_numpy(dtype=np.float64, na_value=np.nan)  # an extension type
            for _, column in features.items()
        ])  # fmt: skip
    else:
        array = as_array(features, "features", where)
    if array.dtype.kind not in NUMERIC:
        first = ""
        for (example, *column), value in np.ndenumerate(array):
            if not isinstance(value, int | float | np.number):
                place = f"example {example}" + (f", column {column[0]}" if len(column) == 1 else "")
                word = value.item() if isinstance(value, np.generic) else value
                first = f": {place} is {shown(repr(word), 40)}"
                break
        raise bad_data(
            f"{where}: the features are not numbers (dtype {array.dtype}){first}.",
            "Encode or drop what is not a number in the data function.",
        )
    if len(array) == 0:
        raise bad_data(f"{where}: there are no examples.")
    if array.size == 0:
        raise bad_data(f"{where}: an example has no features (shape {list(array.shape)}).")
    return (array[:, None] if array.ndim == 1 else array), columns


def float32(array: npt.ArrayLike) -> torch.Tensor:
    """Return a float32 copy in memory that torch aligned; values beyond float32 become infinite."""
    values = np.asarray(array)
    copy = torch.empty(values.shape, dtype=torch.float32, device="cpu")
    with np.errstate(over="ignore"):
        np.copyto(copy.numpy(), values, casting="unsafe")
    return copy


def widened(values: Array) -> torch.Tensor:
    """Return values as float32 where that holds each exactly, else as float64."""
    single = float32(values)
    if np.array_equal(single.numpy(), values):
        return single
    return torch.from_numpy(values.astype(np.float64))


STEPS = 4096  # between the lowest and the highest value of a column
NOISE = 1e-13  # relative difference of values that are the same but for float64's rounding


def too_fine(
    low: npt.ArrayLike, high: npt.ArrayLike, error: npt.ArrayLike, steps: int = STEPS
) -> Array:
    """Return which columns float32 cannot keep: bool, of the shape of each argument.

    It keeps fewer than so many steps between a column's lowest and highest value (float64), by its
    largest error in it: such as 28 of an hour of seconds since 1970.
    """
    low, high, error = np.asarray(low), np.asarray(high), np.asarray(error)
    span = high - low
    return _differ(low, high) & (error > span / steps)


def too_fine_columns(values: Array, steps: int = STEPS) -> Array:
    """Return which columns of `[N, F]`, or channels of `[N, C, ...]`, float32 cannot keep."""
    axes = (0, *range(2, values.ndim))
    error = np.abs(values.astype(np.float32) - values)
    return too_fine(values.min(axis=axes), values.max(axis=axes), error.max(axis=axes), steps)


def _differ(low: Array, high: Array) -> Array:
    return high - low > NOISE * np.maximum(np.abs(low), np.abs(high))


def check_finite(
    values: torch.Tensor, what: str, where: str, columns: Sequence[str] | None = None
) -> None:
    """Check that float32 `values` `[N, ...]` are finite; with `columns`, `[N, columns]`.

    Raises RequestError saying how many are not, and in which columns or from which example on.
    """
    bad = ~torch.isfinite(values)
    count = int(bad.sum())
    if not count:
        return
    if columns:
        per_column = zip(columns, bad.sum(0).tolist(), strict=True)
        place = "in column " + ", ".join(f"'{shown(c)}' ({n})" for c, n in per_column if n)
    else:
        place = f"first in example {int(bad.flatten(1).any(1).nonzero()[0])}"
    raise bad_data(
        f"{where}: {count} of the {what} {'is' if count == 1 else 'are'} NaN or infinite as "
        f"float32, {place}.",
        "Drop or fill what is missing in the data function.",
    )


# Standardization: mean 0 and deviation 1 for each column or channel, as fitted on a part. In numpy:
# its sums do not depend on the number of threads, as torch's do.


Scaling = dict[str, list[float]]  # mean and scale of each column or channel


def fitted(inputs: torch.Tensor) -> Scaling:
    """Return mean and scale of each column of `[N, F]`, or of each channel of `[N, C, ...]`.

    The scale is the standard deviation (of the population), and 1 where all values are the same.
    Both are computed in float64.
    """
    values = inputs.numpy().astype(np.float64)
    axes = (0, *range(2, values.ndim))
    low, high = values.min(axis=axes), values.max(axis=axes)
    differ = _differ(low, high)  # float64 does not sum equal values exactly
    mean = np.where(differ, values.mean(axis=axes), low)
    scale = np.where(differ, values.std(axis=axes), 1.0)
    return {"mean": mean.tolist(), "scale": scale.tolist()}


def standardized(inputs: torch.Tensor, scaling: Scaling | None) -> torch.Tensor:
    """Return inputs `[N, F]` or `[N, C, ...]` by the scaling of `fitted`, as float32.

    Without a scaling, float32 and int64 stay as they are.
    """
    if scaling is None:
        return float32(inputs) if inputs.dtype == torch.float64 else inputs
    values = inputs.numpy().astype(np.float64)
    shape = (-1,) + (1,) * (values.ndim - 2)
    values -= np.asarray(scaling["mean"]).reshape(shape)
    values /= np.asarray(scaling["scale"]).reshape(shape)
    return float32(values)
