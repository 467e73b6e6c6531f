"""From a resolved configuration to what is trained: model, loss, optimizer, scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from core.components import NAMES, build, resolve_component
from core.config import COMPONENTS, Direction
from core.data import Data
from core.errors import RequestError, did_you_mean, shown
from core.experiment import Experiment
from core.extra_metrics import ExtraMetric
from core.models import draw_parameters
from core.optimizers import steps_each_update
from core.seeding import seeded_globals
from core.tasks import DIRECTIONS, Task


@dataclass
class Trainee:
    """Everything a run is trained with, at its first step.

    Attributes:
        data: The prepared parts.
        task: From outputs to predictions and metrics.
        model: Drawn from the run's init streams.
        loss: Called as ``loss(outputs, targets)``.
        optimizer: Over the model's parameters.
        scheduler: Of the learning rate.
        scheduler_each_update: Whether it steps after each update rather than each epoch.
        extra_metrics: Further validation metrics.
        epochs: Epochs to train; the last one may end early.
        updates: Optimizer steps in all.
        configuration: The resolved configuration.
        device: Where the model is.
    """

    data: Data
    task: Task
    model: nn.Module
    loss: Any
    optimizer: Optimizer
    scheduler: LRScheduler
    scheduler_each_update: bool
    extra_metrics: list[ExtraMetric]
    epochs: int
    updates: int
    configuration: Mapping[str, Any]
    device: torch.device

    @property
    def batch_size(self) -> int:
        size: int = self.configuration["train"]["batch_size"]
        return size

    @property
    def metric(self) -> str:
        """The selection metric, such as ``val/accuracy``."""
        name: str = self.configuration["select"]["metric"]
        return name

    @property
    def direction(self) -> Direction:
        found: Direction = self.configuration["select"]["direction"]
        return found


def make_trainee(
    configuration: Mapping[str, Any], experiment: Experiment, data: Data, seed: int
) -> Trainee:
    """Builds all parts of a run.

    Args:
        configuration: Resolved (`core.resolve`).
        experiment: For components of its file.
        data: Prepared parts.
        seed: The run's seed.

    Raises:
        RequestError: If a component cannot be built with its keywords.
    """
    parts = _Parts(configuration, experiment)
    device = torch.device(configuration["device"])
    task: Task = parts.make("task")
    with seeded_globals(seed, "init"):
        model = parts.make_model(seed).to(device)
        loss = parts.make_loss()
        optimizer = parts.make("optimizer", [p for p in model.parameters() if p.requires_grad])
        scheduler = parts.make("scheduler", optimizer)
    steps = math.ceil(len(data.train) / configuration["train"]["batch_size"])
    epochs, updates = length(configuration["train"], steps)
    return Trainee(
        data=data,
        task=task,
        model=model,
        loss=loss.to(device) if isinstance(loss, nn.Module) else loss,
        optimizer=optimizer,
        scheduler=scheduler,
        scheduler_each_update=steps_each_update(parts.found["scheduler"].function),
        extra_metrics=[ExtraMetric(m, task, data.outputs) for m in configuration["metrics"]],
        epochs=epochs,
        updates=updates,
        configuration=configuration,
        device=device,
    )


class _Parts:
    """The components of a configuration, ready to be called with their keywords."""

    def __init__(self, configuration: Mapping[str, Any], experiment: Experiment) -> None:
        self.found = {
            kind: resolve_component(kind, configuration[kind]["name"], experiment)
            for kind in COMPONENTS
        }
        self.keywords = {
            kind: {k: v for k, v in configuration[kind].items() if k != "name"}
            for kind in COMPONENTS
        }

    def make(self, kind: str, *run_time: Any) -> Any:
        """Calls a component.

        Raises:
            RequestError: If it raises.
        """
        try:
            return build(self.found[kind], self.keywords[kind], *run_time)
        except RequestError:
            raise
        except Exception as error:
            name, why = self.found[kind].name, shown(error, 300).rstrip(".")
            raise RequestError(
                f"{kind} {name} cannot be made: {type(error).__name__}: {why}.",
                f"Give it other keywords: {kind}.KEYWORD=VALUE.",
                "component-fails",
            ) from error

    def make_model(self, seed: int) -> nn.Module:
        """The model at its first step.

        Raises:
            RequestError: If there is none to train.
        """
        model, name = self.make("model"), self.found["model"].name
        if not isinstance(model, nn.Module):
            raise RequestError(
                f"model {name} returned {shown(repr(model))}, not a torch.nn.Module.",
                "Let it return one.",
                "wrong-kind",
            )
        if not any(p.requires_grad for p in model.parameters()):
            raise RequestError(
                f"model {name} has no parameters to train.",
                "Take a model that has; short names are " + ", ".join(NAMES["model"]) + ".",
            )
        if getattr(type(model), "draws_by_name", False):
            draw_parameters(model, seed)
        return model

    def make_loss(self) -> Any:
        """The loss as a function of outputs and targets."""
        function, keywords = self.found["loss"].function, self.keywords["loss"]
        if isinstance(function, type):
            return self.make("loss")
        return lambda outputs, targets: function(outputs, targets, **keywords)


def length(train: Mapping[str, Any], steps_per_epoch: int) -> tuple[int, int]:
    """(epochs, updates) of a training; with updates the last epoch may end early."""
    if train["updates"] is not None:
        return math.ceil(train["updates"] / steps_per_epoch), train["updates"]
    return train["epochs"], train["epochs"] * steps_per_epoch


def checked_loss(trainee: Trainee, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of a batch, called only when the model's output has the task's shape.

    A loss that broadcasts `[N]` against `[N, 1]` would train on nonsense without a word.

    Raises:
        RequestError: Naming both shapes and where they come from.
    """
    expected = trainee.task.output_shape(len(targets), trainee.data.outputs)
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        task, model = trainee.configuration["task"]["name"], trainee.configuration["model"]["name"]
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        kind = "classes" if trainee.task.targets == "classes" else "target columns"
        raise RequestError(
            f"model {model} returns {got} for a batch of {len(targets)}, but task {task} with "
            f"{trainee.data.outputs} {kind} in the data needs {list(expected)}.",
            "Let the model take out_features or num_classes, which are filled in from the data.",
            "shape",
        )
    found: Tensor = trainee.loss(outputs, targets)
    return found


def selection(
    configuration: Mapping[str, Any], task: Task, extra: list[ExtraMetric]
) -> tuple[str, str]:
    """(metric, direction) by which the best epoch is chosen.

    Raises:
        RequestError: If the runs have no such metric, or no way is known to be better.
    """
    select = configuration["select"]
    known = {f"val/{name}": DIRECTIONS[name] for name in ("loss", *task.metrics)}
    ways: dict[str, Direction | None] = {**known, **{f"val/{e.key}": e.direction for e in extra}}
    metric = select["metric"] or task.select
    if metric not in ways:
        raise RequestError(
            f"select.metric={shown(metric)}: the runs have no such metric.",
            did_you_mean(metric if "/" in metric else f"val/{metric}", ways),
            "unknown-metric",
        )
    direction = select["direction"] or ways[metric]
    if direction is None:
        raise RequestError(
            f"select.metric={metric}: torchmetrics does not say which way is better.",
            "Give select.direction=maximize or minimize.",
        )
    return metric, direction
