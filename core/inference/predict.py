"""Predictions of a finished run's best weights: labels and probabilities, or values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paribus.core.components.models import answers
from paribus.core.components.tasks import Task
from paribus.core.errors import ParibusError, RequestError, shown
from paribus.core.inference.evaluate import device_of, trained_model
from paribus.core.inference.load_run import recorded_run
from paribus.core.inference.new_inputs import (
    Given,
    New,
    expected,
    new_images,
    new_texts,
    read_recipe,
)
from paribus.core.inference.new_rows import new_rows
from paribus.core.records.run_dir import RunFolder
from paribus.core.runtime import settle


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input.

    Attributes:
        input: What the input is called: a path, a text, ``file.csv:ROW`` counted from 1.
        label: The class, or the labels; None for values.
        probabilities: Of each class or label; None for values.
        value: The number, or the numbers; None for classes.
    """

    input: str
    label: str | list[str] | None = None
    probabilities: dict[str, float] | None = None
    value: float | list[float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of it, as JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Predictions:
    """What a run's model predicts for new data.

    Attributes:
        run: The run's id.
        predictions: One for each input.
        notes: What to know of the inputs.
    """

    run: str
    predictions: list[Prediction]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus predict RUN --json`` prints."""
        return {"run": self.run, "predictions": [one.to_dict() for one in self.predictions]}


def predict_run(path: Path, given: Given, trust: bool = False) -> Predictions:
    """Predict new data with the best checkpoint of the run in a folder.

    Its training data need not be there.

    Args:
        path: The folder.
        given: What to predict.
        trust: Whether whatever the record names may be imported and executed.

    Raises:
        DamagedError: If a file of the run is not what it was.
        RequestError: If the run failed, or an input is not as its training data were.
    """
    folder = RunFolder(path)
    record = folder.verified_record()
    run = recorded_run(folder, record, trust=trust)
    recipe = read_recipe(record.data.preprocessing, run.id)
    new = New([], lambda _: iter(()))
    if given.words or given.rows:
        if "image" in recipe:
            new = new_images(recipe["image"], recipe["standardize"], given)
        elif "text" in recipe:
            new = new_texts(recipe["text"], given)
        else:
            new = new_rows(recipe, given)
    if not new.names:
        raise RequestError(
            "There is nothing to predict.",
            f"Give {expected(recipe)}; or rows as JSON on standard input, with --json.",
            "input",
        )
    task, model = trained_model(run, folder.weights())
    settle()  # the user's modules, imported by now, may have changed threads or precision
    device = torch.device(device_of(run))
    batches = new.batches(run.configuration["train"]["eval_batch_size"])  # as `evaluate` has them
    try:
        outputs = answers(model.to(device), batches, device)
    except ParibusError:
        raise
    except Exception as error:
        raise RequestError(
            f"model {run.configuration['model']['name']} cannot take these inputs: "
            f"{type(error).__name__}: {shown(error, 200)}.",
            "Give inputs like those of the training data.",
            "shape",
        ) from error
    predictions = _predictions(task, outputs, new.names, recipe["class_names"])
    return Predictions(run.id, predictions, list(new.notes))


def _predictions(
    task: Task, outputs: Tensor, inputs: list[str], classes: list[str] | None
) -> list[Prediction]:
    """Return each input's prediction from the model's outputs: float `[N, …]`."""
    probabilities = task.probabilities(outputs)
    predicted = task.predict(outputs).tolist()
    if probabilities is None or classes is None:
        return [
            Prediction(given, value=value[0] if len(value) == 1 else value)
            for given, value in zip(inputs, predicted, strict=True)
        ]
    several = task.targets == "labels"
    return [
        Prediction(
            given,
            [name for name, marked in zip(classes, code, strict=True) if marked]
            if several
            else classes[code],
            dict(zip(classes, row, strict=True)),
        )
        for given, code, row in zip(inputs, predicted, probabilities.tolist(), strict=True)
    ]
