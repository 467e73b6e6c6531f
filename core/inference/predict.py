"""Predictions of a finished run's best weights: labels and probabilities, or values."""

from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import torch

from paribus.core.components.models import model_outputs
from paribus.core.inference.evaluate import device_of, trained_model
from paribus.core.inference.load_run import recorded_run
from paribus.core.inference.new_inputs import Given, read_new, read_recipe
from paribus.core.records.run_dir import RunFolder
from paribus.core.runtime import settle
from paribus.core.sources.reads import refusing


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
    """What a run's model predicts for new data: one prediction for each input."""

    run: str
    predictions: list[Prediction]
    notes: list[str]  # what a person should know of the inputs

    def to_dict(self) -> dict[str, Any]:
        """Return what ``paribus predict RUN --json`` prints."""
        return {"run": self.run, "predictions": [one.to_dict() for one in self.predictions]}


def predict_run(path: Path, given: Given, trust: bool = False) -> Predictions:
    """Predict new data with the best checkpoint of the run in a folder.

    Its training data need not be there. With `trust` whatever the record names may be imported and
    executed.

    Raises:
        DamagedError: If a file of the run is not what it was.
        RequestError: If the run failed, or an input is not as its training data were.
    """
    folder = RunFolder(path)
    record = folder.verified_record()
    run = recorded_run(folder, record, trust=trust)
    recipe = read_recipe(record.data.preprocessing, run.id)
    new = read_new(given, recipe, record.configuration["data"]["name"])
    task, call = trained_model(run, folder.weights())
    settle()  # the user's modules, imported by now, may have changed threads or precision
    device = torch.device(device_of(run))
    batches = new.batches(run.configuration["train"]["eval_batch_size"])  # as `evaluate` has them
    named = f"model {run.configuration['model']['name']} cannot take these inputs"
    with refusing(named, "Give inputs like those of the training data."):
        call.model.to(device)
        outputs = model_outputs(call, batches, device)
    probabilities, classes = task.probabilities(outputs), recipe["class_names"]
    predictions = []
    for row, code in enumerate(task.predict(outputs).tolist()):
        if probabilities is None or classes is None:
            value = code[0] if len(code) == 1 else code
            predictions.append(Prediction(new.names[row], value=value))
            continue
        label = classes[code] if isinstance(code, int) else [*compress(classes, code)]
        shares = dict(zip(classes, probabilities[row].tolist(), strict=True))
        predictions.append(Prediction(new.names[row], label, shares))
    return Predictions(run.id, predictions, list(new.notes))
