"""From a resolved configuration to what is trained: model, loss, optimizer, scheduler."""

import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paribus.core.components.adapter import Adapter, adapter_of
from paribus.core.components.losses import ModelLoss, weight_keyword
from paribus.core.components.metrics import ExtraMetric, extra_metrics
from paribus.core.components.models import draw_parameters, weights_hash
from paribus.core.components.optim import (
    needs_closure,
    never_steps,
    options,
    parameter_groups,
    scheduler_interval,
)
from paribus.core.components.pretrained import (
    begin_from,
    is_torchvision,
    put_pretrained,
    train_only,
    without_weights,
)
from paribus.core.components.tasks import Task
from paribus.core.config.experiment import Experiment
from paribus.core.config.registry import INTERVAL, LR_SCALE, NAMES, build, resolve_component
from paribus.core.config.schema import Interval
from paribus.core.config.values import show_value
from paribus.core.data.loader import Batch, moved
from paribus.core.data.prepare import Data
from paribus.core.errors import RequestError, did_you_mean, first_few, shown
from paribus.core.rng import Generators, globals_now, seeded_globals, some_equal
from paribus.core.sources.reads import refusing
from paribus.core.training.ranks import Group


@dataclass
class TrainState:
    """Everything a run is trained with, at its first step.

    Attributes:
        call: What calls the model with a batch.
        loss: Called as ``loss(outputs, targets)``.
        closure: Whether the optimizer's step evaluates the loss itself, several times.
        scheduler_steps: After what the scheduler steps.
        lr: The learning rate of the last update, of the optimizer's first group of parameters.
        scaler: Scales the loss for gradients of fp16; else it does nothing.
        ema: The moving average of the model's parameters (`train.ema`).
        averaged: Whether it is in the model, and the parameters as trained in its place.
        group: The processes that train it, if they are several; else this one takes their batches.
        generators: The global generators when all parts were made.
        frozen: Layers of which nothing is trained; they stay as in evaluation.
        fresh: Layers that a file of weights does not fit, and why; they start as drawn.
        epochs: Epochs of the schedule; the last one may end early.
        updates: Its optimizer steps.
        configuration: Resolved.
    """

    data: Data
    task: Task
    model: nn.Module
    call: Adapter
    loss: Any
    optimizer: Optimizer
    closure: bool
    scheduler: LRScheduler
    scheduler_steps: Interval
    generators: Generators
    frozen: list[nn.Module]
    fresh: dict[str, str]
    extra_metrics: list[ExtraMetric]
    epochs: int
    updates: int
    configuration: Mapping[str, Any]
    device: torch.device
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    averaged: bool = False
    group: Group | None = None
    lr: float | None = None

    @property
    def batch_size(self) -> int:
        return self.configuration["train"]["batch_size"]

    @property
    def update_batches(self) -> int:
        """Batches of an update, of all processes."""
        train = self.configuration["train"]
        return int(train.get("accumulate", 1) * train.get("processes", 1))

    @property
    def stateful(self) -> dict[str, Any]:
        """What steps go on from. Streams of random numbers are made anew each epoch."""
        parts: dict[str, Any] = {
            "model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler
        }  # fmt: skip
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        return parts | ({"ema": self.ema} if self.ema else {})

    @property
    def last_epoch(self) -> int:
        """The epoch that ends training: the schedule's last, or where a final run stops."""
        return self.configuration.get("final_epoch") or self.epochs

    def begin_training(self) -> None:
        """Put all layers in training mode, except those of which nothing is trained."""
        self._put_average(False)
        self.model.train()
        for layer in self.frozen:
            layer.training = False  # not eval(): a layer inside may be trained
        if hasattr(self.optimizer, "train"):
            self.optimizer.train()

    def begin_evaluation(self) -> None:
        """Put all layers in evaluation mode; what they return then is the user's affair.

        The weights to be evaluated and saved are then in the model: averaged ones, and those of a
        schedule-free optimizer.
        """
        self.model.eval()
        if hasattr(self.optimizer, "eval"):
            self.optimizer.eval()
        self._put_average(True)

    def update_average(self) -> None:
        """Average the parameters after an update; the first is taken as it is."""
        if self.ema:
            self.ema.update_parameters(nn.ParameterList(self.model.parameters()))

    @torch.no_grad()
    def _put_average(self, wanted: bool) -> None:
        """Exchange the model's parameters and their average, unless they are where they should be.

        In place, not in a copy of the model: its forward may hold layers of its own.
        """
        if self.ema and self.averaged != wanted:
            self.averaged = wanted
            pairs = [*zip(self.model.parameters(), self.ema.module.parameters(), strict=True)]
            held = [parameter.clone() for parameter, _ in pairs]  # before any: two may share memory
            for parameter, average in pairs:
                parameter.copy_(average)
            for (_, average), trained in zip(pairs, held, strict=True):
                average.copy_(trained)

    def step_scheduler(self, moment: Interval, *measured: float | None) -> bool:
        """Step the scheduler if it steps at this moment; return whether it did."""
        if moment == "update":
            lr = self.optimizer.param_groups[0].get("lr")
            self.lr = lr.item() if isinstance(lr, Tensor) else lr  # the scheduler writes into it
        due = self.scheduler_steps == moment
        if due:
            self.scheduler.step(*measured)  # type: ignore[arg-type]
        return due


def make_train_state(
    configuration: Mapping[str, Any], experiment: Experiment, data: Data, seed: int
) -> TrainState:
    """Build all parts of a run, by a resolved configuration, at its first step.

    Raises:
        RequestError: If a component cannot be built with its keywords.
    """
    train, device = configuration["train"], torch.device(configuration["device"])
    task: Task = _make("task", configuration, experiment)
    with seeded_globals(seed, "init"):
        call, fresh = _make_model(configuration, experiment, seed)
        model: nn.Module = call.model
        width = task.width(data.outputs)
        fresh |= begin_from(model, train["start_from"], width, data.preprocessing)
        frozen = train_only(model, train["only"])
        model = model.to(device)
        loss = _make_loss(configuration, experiment, data, task)
        groups = parameter_groups(model, configuration["optimizer"], experiment.objects)
        optimizer = _make("optimizer", configuration, experiment, groups)
        odd = {key for group in optimizer.param_groups for key in group} - {"params", LR_SCALE}
        odd -= optimizer.defaults.keys()  # of which torch's own read nothing
        if odd and type(optimizer).__module__.startswith("torch."):
            text = f"optimizer.groups: {first_few(sorted(odd))} is no option of this optimizer."
            raise RequestError(text, did_you_mean(min(odd), optimizer.defaults))
        # Other schedulers begin at the rates of the groups; these set them.
        ends = {key: configuration["scheduler"].get(key) for key in ("max_lr", "base_lr")}
        scales = [group.get(LR_SCALE) for group in optimizer.param_groups]
        rates = {k: [end * s for s in scales] for k, end in ends.items() if end and all(scales)}
        scheduler = _make("scheduler", configuration, experiment, optimizer, **rates)
        ema = None
        if decay := train.get("ema"):
            parameters = nn.ParameterList(model.parameters())
            ema = AveragedModel(parameters, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
        generators = globals_now()
    named = configuration["scheduler"]["name"]
    factory = resolve_component("scheduler", named, experiment).function
    epochs, updates = length(train, updates_per_epoch(train, len(data.train)))
    scaler = torch.amp.GradScaler(device.type, enabled=train.get("precision") == "fp16")
    return TrainState(
        data=data,
        task=task,
        model=model,
        call=call,
        loss=loss.to(device) if isinstance(loss, nn.Module) else loss,
        optimizer=optimizer,
        closure=needs_closure(optimizer),
        scheduler=scheduler,
        scheduler_steps=scheduler_interval(
            scheduler, factory, named, configuration["scheduler"].get(INTERVAL)
        ),
        generators=generators,
        frozen=frozen,
        fresh=fresh,
        extra_metrics=extra_metrics(configuration["metrics"], task, data.outputs),
        epochs=epochs,
        updates=updates,
        configuration=configuration,
        device=device,
        scaler=scaler,
        ema=ema,
    )


def seeds_are_overridden(one: TrainState, other: TrainState) -> bool:
    """Return whether two seeds begin with equal weights as the model seeds the generators itself.

    Both are at their first step. Weights that are all zeros, or read from a file, leave the
    generators as different as the seeds.
    """
    first, second = (weights_hash(each.model.state_dict()) for each in (one, other))
    return first == second and some_equal(one.generators, other.generators)


def make_architecture(
    configuration: Mapping[str, Any], experiment: Experiment
) -> tuple[Task, Adapter]:
    """Build task and model, for weights that replace all of the model's own. Needs no data.

    Raises:
        RequestError: If a component cannot be built with its keywords.
    """
    with seeded_globals(0, "init"):
        call, _ = _make_model(without_weights(configuration), experiment, seed=0)
        return _make("task", configuration, experiment), call


# What a factory has to return.
_KINDS: dict[str, tuple[type[Any], str]] = {
    "model": (nn.Module, "torch.nn.Module"),
    "optimizer": (Optimizer, "torch.optim.Optimizer"),
    "scheduler": (LRScheduler, "torch.optim.lr_scheduler.LRScheduler"),
}


def _make(
    kind: str,
    configuration: Mapping[str, Any],
    experiment: Experiment,
    *run_time: Any,
    **replaced: Any,
) -> Any:
    """Call a component with its keywords, of which some are replaced."""
    component = resolve_component(kind, configuration[kind]["name"], experiment)
    keywords = {k: v for k, v in configuration[kind].items() if k != "name"} | replaced
    hint = f"Give it other keywords: {kind}.KEYWORD=VALUE."
    with refusing(f"{kind} {component.name} cannot be made", hint):
        try:
            made = build(component, keywords, *run_time)
        except ValueError as error:  # such as torch's "Invalid learning rate: -1.0"
            words = re.split(r"[^\w.+-]+", str(error))
            each = {k: v if isinstance(v, list) else [v] for k, v in keywords.items()}
            given = [k for k, values in each.items() if {*map(str, values)} & {*words}]
            if len(given) != 1:
                raise
            key, why = f"{kind}.{given[0]}", shown(error, 300).rstrip(".")
            raise RequestError(
                f"{kind} {component.name} cannot be made with "
                f"{key}={shown(show_value(keywords[given[0]]))}: {why}.",
                "Give it another value.",
            ) from error
    base, known_as = _KINDS.get(kind, (object, ""))
    if not isinstance(made, base):
        raise RequestError(
            f"{kind} {component.name} returned {shown(repr(made))}, not a {known_as}.",
            "Let it return one.",
        )
    return made


def _make_model(
    configuration: Mapping[str, Any], experiment: Experiment, seed: int
) -> tuple[Adapter, dict[str, str]]:
    """Return the model at its first step, and the layers that torchvision's weights do not fit."""
    keywords = dict(configuration["model"])
    name = keywords.pop("name")
    # torchvision builds models with other classes only without weights: they are put in after.
    replaced = {"weights": None} if is_torchvision(name) and "weights" in keywords else {}
    model = _make("model", configuration, experiment, **replaced)
    odd = [k for k, v in model.state_dict().items() if not isinstance(v, Tensor) or is_lazy(v)]
    if odd:
        raise RequestError(
            f"model {name}: {', '.join(map(shown, odd[:5]))} of its state is no tensor of a "
            "known shape, so its weights cannot be recorded.",
            "Give lazy layers their sizes: in_features and num_classes are filled in from the "
            "data. Leave other state out.",
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise RequestError(
            f"model {name} has no parameters to train.",
            "Take a model that has; short names are " + ", ".join(NAMES["model"]) + ".",
        )
    if getattr(type(model), "draws_by_name", False):
        draw_parameters(model, seed)
    predict = experiment.objects.get("predict")
    predict = predict if inspect.isfunction(predict) else None
    call = adapter_of(model, name, predict, configuration["train"].get("precision"))
    if replaced and keywords["weights"]:
        builder = resolve_component("model", name, experiment).function
        return call, put_pretrained(model, name, builder, keywords)
    return call, {}


def _make_loss(
    configuration: Mapping[str, Any], experiment: Experiment, data: Data, task: Task
) -> Any:
    """Return the loss as a function of outputs and targets."""
    keywords = dict(configuration["loss"])
    function = resolve_component("loss", keywords.pop("name"), experiment).function
    if not isinstance(function, type):
        return lambda outputs, targets: function(outputs, targets, **keywords)
    ours = function.__module__ == "paribus.core.components.losses"
    weights = weight_keyword(keywords, data, task) if ours else {}
    return _make("loss", configuration, experiment, **weights)


def updates_per_epoch(train: Mapping[str, Any], examples: int) -> int:
    """Return how many updates an epoch of so many examples has; the last may be of fewer."""
    size: int = train["batch_size"] * train.get("accumulate", 1) * train.get("processes", 1)
    return math.ceil(examples / size)


def length(train: Mapping[str, Any], steps_per_epoch: int) -> tuple[int, int]:
    """Return (epochs, updates) of a training; with ``updates`` the last epoch may end early."""
    if train["updates"] is not None:
        return math.ceil(train["updates"] / steps_per_epoch), train["updates"]
    return train["epochs"], train["epochs"] * steps_per_epoch


def simulate(train_state: TrainState) -> Iterator[list[dict[str, Any]]]:
    """Yield the optimizer's options, by group, of each update; compute no update.

    A scheduler that steps after validation leaves them as they begin.

    Args:
        train_state: Not to be trained with any more.
    """
    never_steps(train_state.optimizer)
    train = train_state.configuration["train"]
    per_epoch = updates_per_epoch(train, len(train_state.data.train))
    for update in range(1, train_state.updates + 1):
        yield options(train_state.optimizer)
        train_state.step_scheduler("update")
        if update % per_epoch == 0:
            train_state.step_scheduler("epoch")


def forward_backward(
    train_state: TrainState, batches: Sequence[Batch], examples: int
) -> tuple[Tensor, list[Tensor]]:
    """Compute the gradients that an update is made with.

    Args:
        train_state: The run.
        batches: This process' batches of the update.
        examples: Of the whole update.

    Returns:
        The mean loss over the examples of the update, and the outputs of each batch.
    """
    losses, outputs_of_each, group = [], [], train_state.group
    groups = train_state.optimizer.param_groups
    train_state.optimizer.zero_grad()
    if group:
        group.share_buffers(train_state.model)
    for inputs, targets in batches:
        inputs, targets = moved((inputs, targets), train_state.device)
        outputs, loss = outputs_and_loss(train_state, inputs, targets)
        loss = loss * (len(targets) / examples)  # of a single batch to the same bits
        train_state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        outputs_of_each.append(outputs.detach())
    parameters = [parameter for each in groups for parameter in each["params"]]
    if not losses:  # no example of the update is this process'
        losses = [torch.zeros((), device=train_state.device)]
    loss = torch.stack(losses).sum()
    if group:
        group.sum_gradients(parameters, loss)
    clip = train_state.configuration["train"]["clip_grad_norm"]
    if clip is not None:
        train_state.scaler.unscale_(train_state.optimizer)
        nn.utils.clip_grad_norm_(parameters, clip)
    return loss, outputs_of_each


def outputs_and_loss(
    train_state: TrainState, inputs: Any, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the model's outputs for a batch, and their loss: as `checked_loss`, or its own."""
    if isinstance(train_state.loss, ModelLoss):
        outputs, loss = train_state.call(inputs, labels=train_state.task.loss_targets(targets))
        return outputs, checked_loss(train_state, outputs, targets, loss)
    outputs = train_state.call(inputs)
    return outputs, checked_loss(train_state, outputs, targets)


def checked_loss(
    train_state: TrainState, outputs: Tensor, targets: Tensor, known: Tensor | None = None
) -> Tensor:
    """Return the loss of a batch whose outputs have the task's shape, if it is not known.

    A loss that broadcasts `[N]` against `[N, 1]` would train on nonsense without an error.

    Raises:
        RequestError: Naming both shapes and where they come from.
    """
    task, data = train_state.task, train_state.data
    expected = (len(targets), task.width(data.outputs))
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
        names = {kind: train_state.configuration[kind]["name"] for kind in ("model", "task")}
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        kind = "target columns" if task.targets == "values" else task.targets
        raise RequestError(
            f"model {names['model']} returns {got} for a batch of {len(targets)}, but task "
            f"{names['task']} with {data.outputs} {kind} in the data needs {list(expected)}.",
            "Say in the experiment's file what of it is the prediction: "
            "predict = lambda outputs: outputs[0]"
            if not isinstance(outputs, Tensor)
            else f"Let it return {list(expected)}: leave out squeeze(-1)."
            if got == [len(targets)] and expected[1] == 1
            else f"Let it return {list(expected)}."
            if {"out_features", "num_classes"} & train_state.configuration["model"].keys()
            else "Let it take out_features or num_classes, which are filled in from the data.",
        )
    return train_state.loss(outputs, task.loss_targets(targets)) if known is None else known
