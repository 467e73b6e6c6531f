"""Whether the parts of a run fit each other, tried on a few examples before it is trained."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from paribus.core.components.models import set_dropout_streams
from paribus.core.components.optim import never_steps
from paribus.core.config.registry import LOSS_TASKS
from paribus.core.config.values import show_value
from paribus.core.errors import RequestError, one_of, shown
from paribus.core.rng import seeded_globals
from paribus.core.training.train_state import Trainee, checked_loss

# Losses that take no logits: of torch, by class and function; what they take; what to do.
_NO_LOGITS = (
    (
        ("BCELoss", "binary_cross_entropy"),
        "probabilities",
        "Take bce, which takes their sigmoid itself, or bce_with_logits.",
    ),
    (("NLLLoss", "nll_loss"), "logarithms of probabilities", "Take cross_entropy."),
)


def try_fit(trainee: Trainee, *, update: bool = True) -> None:
    """Sends a few training examples through model, loss and metrics, and updates the model once.

    Args:
        trainee: Not to be trained with any more.
        update: Whether its own optimizer makes that update. A cohort makes its own, of what it
            knows; and torch imports its compiler when an optimizer first steps, which takes a
            second.

    Raises:
        RequestError: If something does not fit, with both shapes and where they come from.
    """
    _refuse_loss_of_another_task(trainee)
    # Not as many as there are classes: a loss that broadcasts [N, C] against [N] must fail here.
    rows = 3 if trainee.data.outputs == 2 else 2
    inputs, targets = trainee.data.train.inputs_of(rows)
    _try_augment(trainee, inputs)
    inputs, targets = inputs.to(trainee.device), targets.to(trainee.device)
    with seeded_globals(0, "dropout"):
        outputs = _try_model(trainee, inputs)
        _try_loss(trainee, outputs, targets)
        _try_metrics(trainee, outputs.detach().cpu(), targets.cpu())
        # In training with as few examples as its last batch may have.
        last = len(trainee.data.train) % trainee.batch_size or trainee.batch_size
        outputs = _try_model(trainee, inputs[:last], training=True)
        _try_update(trainee, _try_loss(trainee, outputs, targets[:last]), steps=update)


def _refuse_loss_of_another_task(trainee: Trainee) -> None:
    loss, task = _name(trainee, "loss"), _name(trainee, "task")
    kinds = [kind.__name__ for kind in type(trainee.loss).__mro__]
    if loss.startswith("torch."):  # a function of torch.nn.functional
        kinds.append(loss.rpartition(".")[2])
    for names, wants, hint in _NO_LOGITS:
        if set(names) & set(kinds):
            raise RequestError(
                f"loss {loss} takes {wants}, and every task's model returns logits.",
                hint,
                "loss-task",
            )
    if isinstance(trainee.loss, nn.Module) and any(True for _ in trainee.loss.parameters()):
        raise RequestError(
            f"loss {loss} has parameters of its own, which no optimizer would train.",
            "Move them into the model.",
            "loss-task",
        )
    fitting = next((LOSS_TASKS[kind] for kind in kinds if kind in LOSS_TASKS), (task,))
    if task not in fitting:
        raise RequestError(
            f"loss {loss} is for task {one_of(fitting)}, not for task {task}.",
            f"Take {one_of(trainee.task.loss)}.",
            "loss-task",
        )


def _try_augment(trainee: Trainee, inputs: Tensor) -> None:
    if trainee.data.train.augment is None:
        return
    names = show_value(trainee.configuration["augment"])
    some = torch.arange(len(inputs))
    try:
        drawn, _ = next(trainee.data.train.batches(len(inputs), some, (0, 0)))
    except Exception as error:
        raise RequestError(
            f"augment={names} cannot take an image of shape {list(inputs.shape[1:])}: "
            f"{type(error).__name__}: {shown(error, 200)}.",
            "Leave it out, or give it other keywords.",
            "augment",
        ) from error
    if drawn.shape != inputs.shape or drawn.dtype != inputs.dtype:
        raise RequestError(
            f"augment={names} makes {list(drawn.shape[1:])} ({drawn.dtype}) of an image of shape "
            f"{list(inputs.shape[1:])} ({inputs.dtype}).",
            "It has to keep the shape: give a crop the image's size.",
            "augment",
        )


def _try_model(trainee: Trainee, inputs: Tensor, *, training: bool = False) -> Tensor:
    if training:
        trainee.begin_training()
    else:
        trainee.model.eval()
    set_dropout_streams(trainee.model, seed=0, epoch=0)
    try:
        outputs: Tensor = trainee.model(inputs.clone())
    except Exception as error:
        where = f"data {_name(trainee, 'data')} gives"
        hint = "Let the model take in_features or input_shape, which are filled in from the data."
        if training:
            where = "training's last batch has" if len(inputs) == 1 else f"{where} in training"
            hint = (
                "Another train.batch_size leaves a larger last batch." if len(inputs) == 1 else ""
            )
        raise RequestError(
            f"model {_name(trainee, 'model')} cannot take a batch of shape {list(inputs.shape)}, "
            f"which {where}: {type(error).__name__}: {shown(error, 200)}.",
            hint,
            "shape",
        ) from error
    return outputs


def _try_loss(trainee: Trainee, outputs: Tensor, targets: Tensor) -> Tensor:
    name = _name(trainee, "loss")
    if trainee.configuration["loss"].get("reduction") == "sum":
        raise RequestError(
            "A loss must be a mean over examples: with reduction=sum it grows with the batch, and "
            "val/loss with train.eval_batch_size.",
            "Leave it out, and scale optimizer.lr where the sum was meant.",
            "loss-reduction",
        )
    with warnings.catch_warnings():
        # Of a loss that broadcasts torch only warns.
        warnings.filterwarnings("error", message="Using a target size")
        try:
            loss = checked_loss(trainee, outputs, targets)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(
                f"loss {name} cannot take outputs {list(outputs.shape)} and targets "
                f"{list(targets.shape)} ({targets.dtype}) of task {_name(trainee, 'task')}: "
                f"{shown(error, 200)}.",
                "Take another loss: loss=NAME.",
                "loss-task",
            ) from error
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise RequestError(
            f"loss {name} must return one number that depends on the model; got {got}.",
            "Let it return the mean over the examples.",
            "loss-task",
        )
    return loss


def _try_update(trainee: Trainee, loss: Tensor, *, steps: bool) -> None:
    """One step: an optimizer may be for some models only, and says so when it meets gradients."""
    model, optimizer, scheduler = (_name(trainee, k) for k in ("model", "optimizer", "scheduler"))
    _refuse_scheduler(trainee, scheduler)
    measured: list[Any] = [loss.item()] if trainee.scheduler_steps == "validation" else []
    if not steps:
        never_steps(trainee.optimizer)
    for what, act, hint in (
        (
            f"model {model} cannot be trained",
            loss.backward,
            "Let each step of its forward be differentiable.",
        ),
        (
            f"optimizer {optimizer} cannot update model {model}",
            lambda: steps and trainee.optimizer.step(lambda: loss),  # type: ignore[arg-type,return-value]
            "Take another, such as optimizer=adam.",
        ),
        (
            f"scheduler {scheduler} cannot step",
            lambda: trainee.scheduler.step(*measured),
            "Give it other keywords: scheduler.KEYWORD=VALUE.",
        ),
    ):
        try:
            act()
        except Exception as error:
            why = f"{type(error).__name__}: {shown(error, 200).rstrip('.')}"
            raise RequestError(f"{what}: {why}.", hint, "update") from error


def _refuse_scheduler(trainee: Trainee, name: str) -> None:
    """What would raise in the middle of training, or turn the learning rate the wrong way."""
    ends = getattr(trainee.scheduler, "total_steps", None)
    if trainee.scheduler_steps == "update" and ends is not None and ends < trainee.updates:
        raise RequestError(
            f"scheduler {name} ends after {ends} updates, and training takes {trainee.updates}.",
            "Leave its length out; it follows from train.epochs.",
            "update",
        )
    if trainee.scheduler_steps == "validation" and getattr(trainee.scheduler, "mode", "") == "max":
        raise RequestError(
            f"scheduler {name} is given the validation loss, of which less is better.",
            "Leave scheduler.mode out.",
            "update",
        )


def _try_metrics(trainee: Trainee, outputs: Tensor, targets: Tensor) -> None:
    times = -(-4 // len(targets))  # a metric may need a few examples
    outputs = outputs.repeat(times, *[1] * (outputs.ndim - 1))
    targets = targets.repeat(times, *[1] * (targets.ndim - 1))
    for metric in trainee.extra_metrics:
        try:
            metric.measure(outputs, targets)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(
                f"metrics: {metric.name} does not fit task {_name(trainee, 'task')}: "
                f"{shown(error)}.",
                "Leave it out, or name another.",
                "metric-task",
            ) from error


def _name(trainee: Trainee, kind: str) -> str:
    name: str = trainee.configuration[kind]["name"]
    return name
