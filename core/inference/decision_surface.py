"""A finished run's best model over the range of its one or two inputs: predictions on a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paribus.core.components.models import answers, load_weights
from paribus.core.data.arrays import standardized
from paribus.core.data.loader import Part
from paribus.core.errors import RequestError
from paribus.core.inference.evaluate import data_as_trained, device_of
from paribus.core.inference.load_run import recorded_run
from paribus.core.records.run_dir import RunFolder
from paribus.core.training.job import resolver_for_file
from paribus.core.training.train_state import TrainState

Array = NDArray[Any]
_STEPS = {1: 400, 2: 200}  # inputs: points along each of them
_MARGIN = 0.06  # of the range, on either side
_MOST_EXAMPLES = 1000  # of a part, evenly spaced: more would hide each other


@dataclass(frozen=True, eq=False)
class Examples:
    """Some of a part's examples.

    Attributes:
        inputs: float64 `[N, D]`, in the units of the data as given.
        targets: Codes int64 `[N]`, or values `[N, K]`.
        predicted: The model's predictions, in the form of the targets.
        total: How many examples the part has.
    """

    inputs: Array
    targets: Array
    predicted: Array
    total: int


@dataclass(frozen=True, eq=False)
class Surface:
    """A model's predictions on a grid over its inputs.

    Attributes:
        axes: The grid's places along each of the D inputs, in the units of the data as given.
        predicted: Codes or values: `[G]` and `[G, K]` for one input, `[H, G]` and `[H, G, K]` for
            two, of which the second runs along the rows.
        probabilities: Of each class, `[G, C]` or `[H, G, C]`; None for values.
        train: Training examples.
        val: Validation examples.
    """

    axes: tuple[Array, ...]
    predicted: Array
    probabilities: Array | None
    train: Examples
    val: Examples


def surface_of_run(path: Path, trust: bool = False) -> Surface:
    """Predict a grid of inputs with the best checkpoint of the run in a folder.

    Args:
        path: The folder.
        trust: Whether whatever the record names may be imported and executed.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If the run failed, or its inputs are not one or two numbers.
    """
    folder = RunFolder(path)
    run = recorded_run(folder, folder.verified_record(), trust=trust)
    weights = folder.weights()
    resolver = resolver_for_file(run.path, run.import_paths)
    requested = run.requested.model_copy(update={"device": device_of(run)})
    data = data_as_trained(replace(run, requested=requested), resolver)
    if data.input_shape not in ((1,), (2,)):
        raise RequestError(
            f"{run.id}: its inputs have shape {list(data.input_shape)}, not one or two numbers.",
            kind="surface",
        )
    train_state = resolver.train_state(requested, run.seed, pretrained=False)
    load_weights(train_state.model, weights, run.id)
    train, val = (_examples(train_state, part) for part in (data.train, data.val))
    axes = _axes(np.concatenate([train.inputs, val.inputs]))
    shape = tuple(len(axis) for axis in reversed(axes))
    inputs = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], 1)
    grid = torch.from_numpy(inputs.astype(np.float32))
    outputs = _outputs(train_state, standardized(grid, data.preprocessing["standardize"]))
    shares = train_state.task.probabilities(outputs)
    predicted, probabilities = (
        None if some is None else some.numpy().reshape(*shape, *some.shape[1:])
        for some in (train_state.task.predict(outputs), shares)
    )
    assert predicted is not None
    return Surface(axes, predicted, probabilities, train, val)


def _examples(train_state: TrainState, part: Part) -> Examples:
    rows = np.unique(np.linspace(0, len(part) - 1, min(len(part), _MOST_EXAMPLES)).round())
    chosen = part.select(torch.from_numpy(rows.astype(np.int64)))
    inputs, targets = chosen.inputs_of(len(chosen))
    given = inputs.numpy().astype(np.float64)
    if recipe := train_state.data.preprocessing["standardize"]:
        given = given * np.asarray(recipe["scale"]) + np.asarray(recipe["mean"])
    predicted = train_state.task.predict(_outputs(train_state, inputs))
    return Examples(given, targets.numpy(), predicted.numpy(), len(part))


def _axes(inputs: Array) -> tuple[Array, ...]:
    """Return evenly spaced places along each column of `[N, D]`, a little beyond its ends."""
    lows, highs = inputs.min(0), inputs.max(0)
    margins = np.where(highs > lows, _MARGIN * (highs - lows), 1.0)
    steps = _STEPS[inputs.shape[1]]
    return tuple(
        np.linspace(low - margin, high + margin, steps)
        for low, high, margin in zip(lows, highs, margins, strict=True)
    )


def _outputs(train_state: TrainState, inputs: Tensor) -> Tensor:
    size = train_state.configuration["train"]["eval_batch_size"]
    return answers(train_state.model, torch.split(inputs, size), train_state.device)
