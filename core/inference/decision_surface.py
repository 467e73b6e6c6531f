"""A finished run's best model over the range of its one or two inputs: predictions on a grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paribus.core.components.models import load_weights, model_outputs
from paribus.core.data.arrays import standardized
from paribus.core.data.loader import Part
from paribus.core.errors import RequestError
from paribus.core.inference.evaluate import reopened
from paribus.core.training.train_state import TrainState

Array = NDArray[Any]
_STEPS = {1: 400, 2: 200}  # inputs: points along each of them
_MARGIN = 0.06  # of the range, on either side
_MOST_EXAMPLES = 1000  # of a part, evenly spaced: more would hide each other


@dataclass(frozen=True, eq=False)
class Examples:
    """Some of a part's examples."""

    inputs: Array  # float64 `[N, D]`, in the units of the data as given
    targets: Array  # codes int64 `[N]`, or values `[N, K]`
    predicted: Array  # the model's predictions, in the form of the targets
    total: int  # how many examples the part has


@dataclass(frozen=True, eq=False)
class Surface:
    """A model's predictions on a grid over its inputs.

    Attributes:
        axes: The grid's places along each of the D inputs, in the units of the data as given.
        predicted: Codes or values: `[G]` and `[G, K]` for one input, `[H, G]` and `[H, G, K]` for
            two, of which the second runs along the rows.
        probabilities: Of each class, `[G, C]` or `[H, G, C]`; None for values.
    """

    axes: tuple[Array, ...]
    predicted: Array
    probabilities: Array | None
    train: Examples
    val: Examples


def surface_of_run(path: Path, trust: bool = False) -> Surface:
    """Predict a grid of inputs with the best checkpoint of the run in a folder.

    With `trust` whatever the record names may be imported and executed.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If the run failed, or its inputs are not one or two numbers.
    """
    run, resolver, data, weights = reopened(path, trust)
    embedded = data.preprocessing.get("dtype") == "int64"
    if embedded or data.input_shape not in ((1,), (2,)):
        raise RequestError(
            f"{run.id}: its inputs have shape {list(data.input_shape)}"
            f"{' and are indices of an embedding' * embedded}, not one or two numbers."
        )
    train_state = resolver.train_state(run.requested, run.seed, pretrained=False)
    load_weights(train_state.model, weights, run.id)
    task, scaling = train_state.task, data.preprocessing["standardize"]
    train, val = (_examples(train_state, part) for part in (data.train, data.val))
    axes = []
    for column in np.concatenate([train.inputs, val.inputs]).T:
        low, high = column.min(), column.max()
        margin = _MARGIN * (high - low) if high > low else 1.0
        axes.append(np.linspace(low - margin, high + margin, _STEPS[data.input_shape[0]]))
    shape = tuple(len(axis) for axis in reversed(axes))
    inputs = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], 1)
    outputs = _outputs(train_state, standardized(torch.from_numpy(inputs), scaling))
    predicted, probabilities = task.predict(outputs), task.probabilities(outputs)

    def on_grid(values: Tensor) -> Array:
        return values.numpy().reshape(*shape, *values.shape[1:])

    shares = None if probabilities is None else on_grid(probabilities)
    return Surface(tuple(axes), on_grid(predicted), shares, train, val)


def _examples(train_state: TrainState, part: Part) -> Examples:
    rows = np.unique(np.linspace(0, len(part) - 1, min(len(part), _MOST_EXAMPLES)).round())
    chosen = part.select(torch.from_numpy(rows.astype(np.int64)))
    inputs, targets = chosen.inputs_of(len(chosen))
    given = inputs.numpy().astype(np.float64)
    if recipe := train_state.data.preprocessing["standardize"]:
        given = given * np.asarray(recipe["scale"]) + np.asarray(recipe["mean"])
    predicted = train_state.task.predict(_outputs(train_state, inputs))
    return Examples(given, targets.numpy(), predicted.numpy(), len(part))


def _outputs(train_state: TrainState, inputs: Tensor) -> Tensor:
    size = train_state.configuration["train"]["eval_batch_size"]
    return model_outputs(train_state.call, torch.split(inputs, size), train_state.device)
