"""From a resolved configuration to what is trained: model, loss, optimizer, scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from paribus.core.components.losses import weighted
from paribus.core.components.metrics import ExtraMetric
from paribus.core.components.models import draw_parameters
from paribus.core.components.optim import Moment, needs_closure, steps_after
from paribus.core.components.pretrained import (
    begin_from,
    is_torchvision,
    put_pretrained,
    train_only,
    without_weights,
)
from paribus.core.components.tasks import Task
from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import NAMES, build, resolve_component
from paribus.core.config.schema import COMPONENTS, DIRECTIONS, Direction
from paribus.core.data.prepare import Data
from paribus.core.errors import RequestError, did_you_mean, shown
from paribus.core.rng import seeded_globals


@dataclass
class TrainState:
    """Everything a run is trained with, at its first step.

    Attributes:
        data: The prepared parts.
        task: From outputs to predictions and metrics.
        model: Drawn from the run's init streams.
        loss: Called as ``loss(outputs, targets)``.
        optimizer: Over the model's parameters.
        closure: Whether the optimizer evaluates the loss itself, as often as it likes.
        scheduler: Of the learning rate.
        scheduler_steps: After what it steps.
        frozen: Layers of which nothing is trained; they stay as in evaluation.
        fresh: Layers that a file of weights does not fit, and why; they start as drawn.
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
    closure: bool
    scheduler: LRScheduler
    scheduler_steps: Moment
    frozen: list[nn.Module]
    fresh: dict[str, str]
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

    def begin_training(self) -> None:
        """Puts all layers in training, but for those of which nothing is trained."""
        self.model.train()
        for layer in self.frozen:
            layer.training = False  # not eval(): a layer inside may be trained

    @property
    def direction(self) -> Direction:
        found: Direction = self.configuration["select"]["direction"]
        return found


def make_train_state(
    configuration: Mapping[str, Any], experiment: Experiment, data: Data, seed: int
) -> TrainState:
    """Builds all parts of a run.

    Args:
        configuration: Resolved (`paribus.core.training.resolve`).
        experiment: For components of its file.
        data: Prepared parts.
        seed: The run's seed.

    Raises:
        RequestError: If a component cannot be built with its keywords.
    """
    parts = _Parts(configuration, experiment)
    device = torch.device(configuration["device"])
    task: Task = parts.make("task")
    train = configuration["train"]
    with seeded_globals(seed, "init"):
        model, fresh = parts.make_model(seed)
        width = task.width(data.outputs)
        fresh |= begin_from(model, train["start_from"], width, data.preprocessing)
        frozen = train_only(model, train["only"])
        model = model.to(device)
        loss = parts.make_loss(data, task)
        optimizer = parts.make("optimizer", [p for p in model.parameters() if p.requires_grad])
        scheduler = parts.make("scheduler", optimizer)
    epochs, updates = length(train, math.ceil(len(data.train) / train["batch_size"]))
    return TrainState(
        data=data,
        task=task,
        model=model,
        loss=loss.to(device) if isinstance(loss, nn.Module) else loss,
        optimizer=optimizer,
        closure=needs_closure(parts.found["optimizer"].function),
        scheduler=scheduler,
        scheduler_steps=steps_after(parts.found["scheduler"].function),
        frozen=frozen,
        fresh=fresh,
        extra_metrics=[ExtraMetric(m, task, data.outputs) for m in configuration["metrics"]],
        epochs=epochs,
        updates=updates,
        configuration=configuration,
        device=device,
    )


def make_architecture(
    configuration: Mapping[str, Any], experiment: Experiment
) -> tuple[Task, nn.Module]:
    """Task and model, for weights that replace all of the model's own. Needs no data.

    Args:
        configuration: Resolved (`paribus.core.training.resolve`).
        experiment: For components of its file.

    Raises:
        RequestError: If a component cannot be built with its keywords.
    """
    parts = _Parts(without_weights(configuration), experiment, ("task", "model"))
    with seeded_globals(0, "init"):
        model, _ = parts.make_model(0)
        return parts.make("task"), model


class _Parts:
    """The components of a configuration, ready to be called with their keywords."""

    def __init__(
        self,
        configuration: Mapping[str, Any],
        experiment: Experiment,
        kinds: Sequence[str] = COMPONENTS,
    ) -> None:
        self.found = {
            kind: resolve_component(kind, configuration[kind]["name"], experiment)
            for kind in kinds
            if kind in configuration
        }
        self.keywords = {
            kind: {k: v for k, v in configuration[kind].items() if k != "name"}
            for kind in self.found
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

    def make_model(self, seed: int) -> tuple[nn.Module, dict[str, str]]:
        """The model at its first step, and the layers that torchvision's weights do not fit.

        Raises:
            RequestError: If there is none to train.
        """
        name = self.found["model"].name
        keywords = dict(self.keywords["model"])
        pretrained = is_torchvision(name) and self.keywords["model"].pop("weights", None)
        model = self.make("model")
        if not isinstance(model, nn.Module):
            raise RequestError(
                f"model {name} returned {shown(repr(model))}, not a torch.nn.Module.",
                "Let it return one.",
                "wrong-kind",
            )
        odd = [k for k, v in model.state_dict().items() if not isinstance(v, Tensor) or is_lazy(v)]
        if odd:
            raise RequestError(
                f"model {name}: {', '.join(map(shown, odd[:5]))} of its state is no tensor of a "
                "known shape, so its weights cannot be recorded.",
                "Give lazy layers their sizes: in_features and num_classes are filled in from the "
                "data. Leave other state out.",
                "wrong-kind",
            )
        if not any(p.requires_grad for p in model.parameters()):
            raise RequestError(
                f"model {name} has no parameters to train.",
                "Take a model that has; short names are " + ", ".join(NAMES["model"]) + ".",
            )
        if getattr(type(model), "draws_by_name", False):
            draw_parameters(model, seed)
        if not pretrained:
            return model, {}
        return model, put_pretrained(model, name, self.found["model"].function, keywords)

    def make_loss(self, data: Data, task: Task) -> Any:
        """The loss as a function of outputs and targets.

        Raises:
            RequestError: If there are not as many weights as it needs.
        """
        function, keywords = self.found["loss"].function, self.keywords["loss"]
        if function.__module__ == "paribus.core.components.losses":
            self.keywords["loss"] = keywords | weighted(keywords, data, task)
        if isinstance(function, type):
            return self.make("loss")
        return lambda outputs, targets: function(outputs, targets, **keywords)


def length(train: Mapping[str, Any], steps_per_epoch: int) -> tuple[int, int]:
    """(epochs, updates) of a training; with updates the last epoch may end early."""
    if train["updates"] is not None:
        return math.ceil(train["updates"] / steps_per_epoch), train["updates"]
    return train["epochs"], train["epochs"] * steps_per_epoch


def checked_loss(train_state: TrainState, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of a batch, called only when the model's output has the task's shape.

    A loss that broadcasts `[N]` against `[N, 1]` would train on nonsense without a word.

    Raises:
        RequestError: Naming both shapes and where they come from.
    """
    expected = (len(targets), train_state.task.width(train_state.data.outputs))
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        task, model = (
            train_state.configuration["task"]["name"],
            train_state.configuration["model"]["name"],
        )
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        kind = {"values": "target columns"}.get(train_state.task.targets, train_state.task.targets)
        raise RequestError(
            f"model {model} returns {got} for a batch of {len(targets)}, but task {task} with "
            f"{train_state.data.outputs} {kind} in the data needs {list(expected)}.",
            "Let the model take out_features or num_classes, which are filled in from the data.",
            "shape",
        )
    found: Tensor = train_state.loss(outputs, train_state.task.aims(targets))
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
    if f"val/{metric}" in ways:
        metric = f"val/{metric}"
    elif len(found := [name for name in ways if name.endswith(f"_{metric}")]) == 1:
        (metric,) = found  # auroc: val/binary_auroc
    if metric not in ways:
        raise RequestError(
            f"select.metric={shown(metric)}: the runs have no such metric.",
            did_you_mean(metric if "/" in metric else f"val/{metric}", ways),
            "unknown-metric",
        )
    return metric, checked_direction(metric, select["direction"], ways[metric])


def checked_direction(metric: str, asked: str | None, known: str | None) -> str:
    """Which way of a metric is better.

    Args:
        metric: Its name.
        asked: `select.direction`.
        known: What is known of the metric.

    Raises:
        RequestError: If neither says, or one says otherwise than the other.
    """
    if asked is None and known is None:
        raise RequestError(
            f"select.metric={shown(metric)}: it is not known which way is better.",
            "Give select.direction=maximize or minimize.",
            "missing-key",
        )
    if asked and known and asked != known:
        raise RequestError(
            f"select.direction={asked}: of {shown(metric)} "
            f"{'less' if known == 'minimize' else 'more'} is better.",
            "Leave select.direction out.",
            "bad-value",
        )
    return asked or known or ""
