"""Standardization: mean 0 and deviation 1 for each column or channel, as fitted on a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from paribus.core.data.arrays import float32

# In numpy, whose sums do not depend on the number of threads.


def fitted(inputs: torch.Tensor) -> dict[str, list[float]]:
    """Mean and scale of each column of `[N, F]`, or of each channel of `[N, C, ...]`.

    The scale is the standard deviation (of the population), and 1 where all values are the same.
    Both are computed in float64.
    """
    values = inputs.numpy().astype(np.float64)
    axes = (0, *range(2, values.ndim))
    deviation = values.std(
        axis=axes
    )  # exactly 0 for equal float32 values: float64 sums them exactly
    scale = np.where(deviation > 0, deviation, 1.0)
    return {"mean": values.mean(axis=axes).tolist(), "scale": scale.tolist()}


def standardized(
    inputs: torch.Tensor, preprocessing: Mapping[str, Sequence[float]] | None
) -> torch.Tensor:
    """Inputs `[N, F]` or `[N, C, ...]` with the recorded mean and scale applied: float32.

    Args:
        inputs: Features as the data function returned them.
        preprocessing: `Data.preprocessing["standardize"]`: mean and scale, or None for no change.
    """
    if preprocessing is None:
        return inputs
    values = inputs.numpy().astype(np.float64)
    shape = (-1,) + (1,) * (values.ndim - 2)
    values -= np.asarray(preprocessing["mean"]).reshape(shape)
    values /= np.asarray(preprocessing["scale"]).reshape(shape)
    return float32(values)
