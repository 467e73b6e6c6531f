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
from paribus.core.training.train_state import TrainState, checked_loss

# Losses that take no logits: of torch, by class and function; what they take; what to do.
_NO_LOGITS = (
    (
        ("BCELoss", "binary_cross_entropy"),
        "probabilities",
        "Take bce, which takes their sigmoid itself, or bce_with_logits.",
    ),
    (("NLLLoss", "nll_loss"), "logarithms of probabilities", "Take cross_entropy."),
)


def dry_run(train_state: TrainState, *, update: bool = True) -> None:
    """Sends a few training examples through model, loss and metrics, and updates the model once.

    Args:
        train_state: Not to be trained with any more.
        update: Whether its own optimizer makes that update. A cohort makes its own, of what it
            knows; and torch imports its compiler when an optimizer first steps, which takes a
            second.

    Raises:
        RequestError: If something does not fit, with both shapes and where they come from.
    """
    _refuse_loss_of_another_task(train_state)
    # Not as many as there are classes: a loss that broadcasts [N, C] against [N] must fail here.
    rows = 3 if train_state.data.outputs == 2 else 2
    inputs, targets = train_state.data.train.inputs_of(rows)
    _try_augment(train_state, inputs)
    inputs, targets = inputs.to(train_state.device), targets.to(train_state.device)
    with seeded_globals(0, "dropout"):
        outputs = _try_model(train_state, inputs)
        _try_loss(train_state, outputs, targets)
        _try_metrics(train_state, outputs.detach().cpu(), targets.cpu())
        # In training with as few examples as its last batch may have.
        last = len(train_state.data.train) % train_state.batch_size or train_state.batch_size
        outputs = _try_model(train_state, inputs[:last], training=True)
        _try_update(train_state, _try_loss(train_state, outputs, targets[:last]), steps=update)


def _refuse_loss_of_another_task(train_state: TrainState) -> None:
    loss, task = _name(train_state, "loss"), _name(train_state, "task")
    kinds = [kind.__name__ for kind in type(train_state.loss).__mro__]
    if loss.startswith("torch."):  # a function of torch.nn.functional
        kinds.append(loss.rpartition(".")[2])
    for names, wants, hint in _NO_LOGITS:
        if set(names) & set(kinds):
            raise RequestError(
                f"loss {loss} takes {wants}, and every task's model returns logits.",
                hint,
                "loss-task",
            )
    if isinstance(train_state.loss, nn.Module) and any(True for _ in train_state.loss.parameters()):
        raise RequestError(
            f"loss {loss} has parameters of its own, which no optimizer would train.",
            "Move them into the model.",
            "loss-task",
        )
    fitting = next((LOSS_TASKS[kind] for kind in kinds if kind in LOSS_TASKS), (task,))
    if task not in fitting:
        raise RequestError(
            f"loss {loss} is for task {one_of(fitting)}, not for task {task}.",
            f"Take {one_of(train_state.task.loss)}.",
            "loss-task",
        )


def _try_augment(train_state: TrainState, inputs: Tensor) -> None:
    if train_state.data.train.augment is None:
        return
    names = show_value(train_state.configuration["augment"])
    some = torch.arange(len(inputs))
    try:
        drawn, _ = next(train_state.data.train.batches(len(inputs), some, (0, 0)))
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


def _try_model(train_state: TrainState, inputs: Tensor, *, training: bool = False) -> Tensor:
    if training:
        train_state.begin_training()
    else:
        train_state.model.eval()
    set_dropout_streams(train_state.model, seed=0, epoch=0)
    try:
        outputs: Tensor = train_state.model(inputs.clone())
    except Exception as error:
        where = f"data {_name(train_state, 'data')} gives"
        hint = "Let the model take in_features or input_shape, which are filled in from the data."
        if training:
            where = "training's last batch has" if len(inputs) == 1 else f"{where} in training"
            hint = (
                "Another train.batch_size leaves a larger last batch." if len(inputs) == 1 else ""
            )
        raise RequestError(
            f"model {_name(train_state, 'model')} cannot take a batch of shape "
            f"{list(inputs.shape)}, which {where}: {type(error).__name__}: {shown(error, 200)}.",
            hint,
            "shape",
        ) from error
    return outputs


def _try_loss(train_state: TrainState, outputs: Tensor, targets: Tensor) -> Tensor:
    name = _name(train_state, "loss")
    if train_state.configuration["loss"].get("reduction") == "sum":
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
            loss = checked_loss(train_state, outputs, targets)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(
                f"loss {name} cannot take outputs {list(outputs.shape)} and targets "
                f"{list(targets.shape)} ({targets.dtype}) of task {_name(train_state, 'task')}: "
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


def _try_update(train_state: TrainState, loss: Tensor, *, steps: bool) -> None:
    """One step: an optimizer may be for some models only, and says so when it meets gradients."""
    model, optimizer, scheduler = (
        _name(train_state, k) for k in ("model", "optimizer", "scheduler")
    )
    _refuse_scheduler(train_state, scheduler)
    measured: list[Any] = [loss.item()] if train_state.scheduler_steps == "validation" else []
    if not steps:
        never_steps(train_state.optimizer)
    for what, act, hint in (
        (
            f"model {model} cannot be trained",
            loss.backward,
            "Let each step of its forward be differentiable.",
        ),
        (
            f"optimizer {optimizer} cannot update model {model}",
            lambda: steps and train_state.optimizer.step(lambda: loss),  # type: ignore[arg-type,return-value]
            "Take another, such as optimizer=adam.",
        ),
        (
            f"scheduler {scheduler} cannot step",
            lambda: train_state.scheduler.step(*measured),
            "Give it other keywords: scheduler.KEYWORD=VALUE.",
        ),
    ):
        try:
            act()
        except Exception as error:
            why = f"{type(error).__name__}: {shown(error, 200).rstrip('.')}"
            raise RequestError(f"{what}: {why}.", hint, "update") from error


def _refuse_scheduler(train_state: TrainState, name: str) -> None:
    """What would raise in the middle of training, or turn the learning rate the wrong way."""
    ends = getattr(train_state.scheduler, "total_steps", None)
    if train_state.scheduler_steps == "update" and ends is not None and ends < train_state.updates:
        raise RequestError(
            f"scheduler {name} ends after {ends} updates, and training takes "
            f"{train_state.updates}.",
            "Leave its length out; it follows from train.epochs.",
            "update",
        )
    if (
        train_state.scheduler_steps == "validation"
        and getattr(train_state.scheduler, "mode", "") == "max"
    ):
        raise RequestError(
            f"scheduler {name} is given the validation loss, of which less is better.",
            "Leave scheduler.mode out.",
            "update",
        )


def _try_metrics(train_state: TrainState, outputs: Tensor, targets: Tensor) -> None:
    times = -(-4 // len(targets))  # a metric may need a few examples
    outputs = outputs.repeat(times, *[1] * (outputs.ndim - 1))
    targets = targets.repeat(times, *[1] * (targets.ndim - 1))
    for metric in train_state.extra_metrics:
        try:
            metric.measure(outputs, targets)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(
                f"metrics: {metric.name} does not fit task {_name(train_state, 'task')}: "
                f"{shown(error)}.",
                "Leave it out, or name another.",
                "metric-task",
            ) from error


def _name(train_state: TrainState, kind: str) -> str:
    name: str = train_state.configuration[kind]["name"]
    return name
