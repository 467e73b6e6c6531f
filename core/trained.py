"""The model of a finished run, built from its record, and where it works.

Its data need not be there.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from paribus.core.build import make_architecture
from paribus.core.experiment import load_experiment
from paribus.core.models import load_weights
from paribus.core.resolve import choose_device
from paribus.core.spec import RunSpec
from paribus.core.tasks import Task


def trained_model(run: RunSpec, weights: Mapping[str, Tensor]) -> tuple[Task, nn.Module]:
    """A run's task, and its model with these weights, on the CPU and in evaluation mode.

    Args:
        run: As `paribus.core.recorded.recorded_run` gives it.
        weights: As `RunFolder.weights` gives them.

    Raises:
        DamagedError: If the weights are another model's.
        RequestError: If task or model cannot be built.
    """
    experiment = load_experiment(run.path, run.import_paths)
    task, model = make_architecture(run.configuration, experiment)
    load_weights(model, weights, run.id)
    return task, model.eval()


def device_of(run: RunSpec) -> str:
    """The device that a run was trained on; the CPU where that is not there."""
    return "cpu" if run.configuration["device"] == "cpu" else choose_device("auto")
