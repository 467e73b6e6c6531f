"""Try on a few examples whether the parts of a run fit each other, before it is trained."""

import math
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from paribus.core.components.adapter import Adapter
from paribus.core.components.losses import ModelLoss
from paribus.core.components.models import set_dropout_streams
from paribus.core.components.optim import never_steps
from paribus.core.config.registry import FROM_DATA, LOSS_TASKS
from paribus.core.config.values import show_value
from paribus.core.data.loader import moved
from paribus.core.errors import RequestError, one_of
from paribus.core.rng import seeded_globals
from paribus.core.sources.reads import refusing
from paribus.core.training.ranks import batch_norms
from paribus.core.training.train_state import (
    TrainState,
    checked_loss,
    forward_backward,
    outputs_and_loss,
)

# Losses of torch that take no logits, by class and function; what they take; what to do.
_BCE_HINT = "Take bce, which takes their sigmoid itself, or bce_with_logits."
_NO_LOGITS = (
    ({"BCELoss", "binary_cross_entropy"}, "probabilities", _BCE_HINT),
    ({"NLLLoss", "nll_loss"}, "logarithms of probabilities", "Take cross_entropy."),
)


TOO_LARGE = "index out of range in self"  # torch's message of an embedding


def dry_run(train_state: TrainState, *, update: bool = True) -> bool:
    """Send a few training examples through model, loss and metrics, and update the model once.

    Return whether the loss depends on how many examples it is given together.

    Args:
        train_state: Not to be trained with any more.
        update: Whether the optimizer makes that update. A cohort computes its own with optimizers
            that it knows, and torch imports its compiler when an optimizer first steps, which
            takes a second.

    Raises:
        RequestError: If something does not fit, with both shapes and where they come from.
    """
    _check_loss_kind(train_state)
    _check_scheduler(train_state)
    data, train = train_state.data, train_state.configuration["train"]
    processes, synchronized = train.get("processes", 1), train.get("sync_batch_norm")
    size = train["batch_size"] * processes
    if synchronized and not batch_norms(train_state.model):
        name = _name(train_state, "model")
        text = f"train.sync_batch_norm=true: model {name} has no batch normalization."
        raise RequestError(text, "Leave it out.")
    # Not as many as there are classes: a loss that broadcasts [N, C] against [N] must fail here.
    inputs, targets = data.train.inputs_of(3 if data.outputs == 2 else 2)
    _try_augment(train_state, inputs)
    inputs, targets = moved((inputs, targets), train_state.device)
    with seeded_globals(0, "dropout"):
        outputs = _try_model(train_state, inputs)
        own = isinstance(train_state.loss, ModelLoss)
        depends = not own and _depends_on_batch(train_state, outputs, targets)
        _try_metrics(train_state, outputs.detach().cpu(), targets.cpu())
        # In training mode with as few examples as the last batch may have.
        last = len(data.train) % size or size
        last = min(last, train["batch_size"]) if synchronized else max(1, last // processes)
        batch = tree_map(lambda tensor: tensor[:last], (inputs, targets))
        outputs = _try_model(train_state, batch[0], training=True)
        loss = _try_loss(train_state, outputs, batch[1], batch[0] if own else None)
        _try_update(train_state, loss, *batch, update=update)
    return depends


def embeds(call: Adapter, batch: Tensor) -> bool:
    """Return whether a model that is given integers `batch` looks them up in an embedding.

    What an embedding is given has to change with the batch: positions do not.
    """
    given: list[Tensor] = []
    for module in call.model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    try:
        with seeded_globals(0, "dropout"), torch.no_grad():
            call.model.eval()
            call(batch.clone())
            count = len(given)
            call(torch.zeros_like(batch))
    except IndexError as error:  # it looks up larger ids than it has: said where it is tried
        return TOO_LARGE in str(error)
    except Exception:  # it takes no integers
        return False
    return any(not torch.equal(*pair) for pair in zip(given[:count], given[count:], strict=False))


def _check_loss_kind(train_state: TrainState) -> None:
    """Refuse losses of another task, that take no logits, or have parameters."""
    loss, name, task = train_state.loss, _name(train_state, "loss"), _name(train_state, "task")
    kinds = [kind.__name__ for kind in type(loss).__mro__]
    if name.startswith("torch."):  # a function of torch.nn.functional
        kinds.append(name.rpartition(".")[2])
    for names, takes, hint in _NO_LOGITS:
        if names & set(kinds):
            text = f"loss {name} takes {takes}, and every task's model returns logits."
            raise RequestError(text, hint)
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        text = f"loss {name} has parameters of its own, which no optimizer would train."
        raise RequestError(text, "Move them into the model.")
    tasks = next((LOSS_TASKS[kind] for kind in kinds if kind in LOSS_TASKS), (task,))
    if task not in tasks:
        text = f"loss {name} is for task {one_of(tasks)}, not for task {task}."
        raise RequestError(text, f"Take {one_of(train_state.task.loss)}.")


def _check_scheduler(train_state: TrainState) -> None:
    """Refuse what would raise during training, or turn the learning rate the wrong way."""
    name, scheduler = _name(train_state, "scheduler"), train_state.scheduler
    ends, unit = getattr(scheduler, "total_steps", None), train_state.scheduler_steps
    steps = train_state.updates if unit == "update" else train_state.epochs
    if ends is not None and ends < steps:
        raise RequestError(
            f"scheduler {name} ends after {ends} {unit}s, and training takes {steps}.",
            "Leave its length out; it follows from train.epochs.",
        )
    if train_state.scheduler_steps == "validation" and "final_epoch" in train_state.configuration:
        raise RequestError(
            f"scheduler {name} follows the validation loss, and a final run has no validation.",
            "Finalize a setting with another scheduler.",
        )
    maximizes = getattr(scheduler, "mode", "") == "max"
    if train_state.scheduler_steps == "validation" and maximizes:
        raise RequestError(
            f"scheduler {name} is given the validation loss, of which less is better.",
            "Leave scheduler.mode out.",
        )


def _try_augment(train_state: TrainState, inputs: Any) -> None:
    train = train_state.data.train
    if train.augment is None:
        return
    names = show_value(train_state.configuration["augment"])
    shape, hint = list(inputs.shape[1:]), "Leave it out, or give it other keywords."
    with refusing(f"augment={names} cannot take an image of shape {shape}", hint):
        drawn, _ = next(train.batches(len(inputs), torch.arange(len(inputs)), (0, 0)))
    if drawn.shape != inputs.shape or drawn.dtype != inputs.dtype:
        raise RequestError(
            f"augment={names} makes {list(drawn.shape[1:])} ({drawn.dtype}) of an image of shape "
            f"{shape} ({inputs.dtype}).",
            "It has to keep the shape: give a crop the image's size.",
        )


def _try_model(train_state: TrainState, inputs: Any, *, training: bool = False) -> Tensor:
    where = f"data {_name(train_state, 'data')} gives"
    hint = ""
    if not set(FROM_DATA) & train_state.configuration["model"].keys():
        hint = "Let the model take in_features or input_shape, which are filled in from the data."
    train_state.model.eval()
    if training:
        train_state.begin_training()
        where, hint = f"{where} in training", ""
        if len(tree_leaves(inputs)[0]) == 1:
            where = "training's last batch has"
            hint = "Another train.batch_size leaves a larger last batch."
    set_dropout_streams(train_state.model, seed=0, epoch=0)
    name, shape = _name(train_state, "model"), tree_map(lambda tensor: list(tensor.shape), inputs)
    what = f"model {name} cannot take a batch of shape {shape}, which {where}"
    with refusing(what, hint):
        try:
            outputs: Tensor = train_state.call(tree_map(torch.clone, inputs))
        except IndexError as error:
            if TOO_LARGE not in str(error):
                raise
            data = train_state.data.train
            ids = [t for t in tree_leaves(data.inputs_of(len(data))) if not t.is_floating_point()]
            largest = max((int(t.max()) for t in ids), default=None)
            tables = {m.num_embeddings for m in train_state.model.modules()
                      if isinstance(m, nn.Embedding | nn.EmbeddingBag)}  # fmt: skip
            raise RequestError(
                f"model {name} looks up ids that its embedding has not: the inputs hold ids up to "
                f"{largest}, it has {one_of(map(str, tables))} rows.",
                "Give it a row for each id, from 0 on.",
            ) from error
    return outputs


def _try_loss(
    train_state: TrainState, outputs: Tensor, targets: Tensor, inputs: Any = None
) -> Tensor:
    """Return the loss of a batch: that of the outputs, or with inputs the model's own."""
    name, task = _name(train_state, "loss"), _name(train_state, "task")
    shape = list(getattr(outputs, "shape", ()))  # a model may return anything
    with (
        refusing(
            f"loss {name} cannot take outputs {shape} and targets {list(targets.shape)} "
            f"({targets.dtype}) of task {task}",
            "Take another loss: loss=NAME.",
        ),
        warnings.catch_warnings(),
    ):
        # torch only warns of a loss that broadcasts.
        warnings.filterwarnings("error", message="Using a target size")
        if inputs is None:
            loss = checked_loss(train_state, outputs, targets)
        else:
            _, loss = outputs_and_loss(train_state, inputs, targets)
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise RequestError(
            f"loss {name} must return one number that depends on the model; got {got}.",
            "Let it return the mean over the examples.",
        )
    return loss


def _depends_on_batch(train_state: TrainState, outputs: Tensor, targets: Tensor) -> bool:
    """Return whether the loss is another number where every example is there twice.

    Not where it is random.

    Raises:
        RequestError: If it is a sum, which is twice as large.
    """
    one = _try_loss(train_state, outputs, targets).item()  # refuses outputs that are no tensor
    # Three times, too: a contrastive loss of 2 and 4 examples, log 2 and log 4, looks like a sum.
    again, two, three = (
        _try_loss(train_state, torch.cat([outputs] * k), torch.cat([targets] * k)).item()
        for k in (1, 2, 3)
    )
    grows = all(math.isclose(loss, k * one, rel_tol=0.01) for k, loss in ((2, two), (3, three)))
    if grows and 0 < abs(one) < math.inf:
        raise RequestError(
            f"loss {_name(train_state, 'loss')} must be a mean over examples: it is twice as large "
            "where every example is there twice, so it grows with the batch, and val/loss with "
            "train.eval_batch_size.",
            "Let it return the mean (no reduction=sum), and scale optimizer.lr where the sum was "
            "meant.",
        )
    return again == one and math.isfinite(two) and not math.isclose(two, one, rel_tol=1e-4)


def _try_metrics(train_state: TrainState, outputs: Tensor, targets: Tensor) -> None:
    times = -(-4 // len(targets))  # a metric may need a few examples
    outputs = outputs.repeat(times, *[1] * (outputs.ndim - 1))
    targets = targets.repeat(times, *[1] * (targets.ndim - 1))
    for metric in train_state.extra_metrics:
        what = f"metrics: {metric.name} does not fit task {_name(train_state, 'task')}"
        with refusing(what, "Leave it out, or name another."):
            metric.measure(outputs, targets)


def _try_update(
    train_state: TrainState, loss: Tensor, inputs: Any, targets: Tensor, *, update: bool
) -> None:
    """Make one step as training does: some optimizers only fail when they meet gradients."""
    kinds = ("model", "optimizer", "scheduler")
    model, optimizer, scheduler = (f"{kind} {_name(train_state, kind)}" for kind in kinds)
    validation_loss = [loss.item()] if train_state.scheduler_steps == "validation" else []
    hint = "Let each step of its forward be differentiable."
    with refusing(f"{model} cannot be trained", hint):
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in train_state.model.parameters() if p.grad is not None]
        if "processes" in train_state.configuration["train"] and any(
            g.is_sparse for g in gradients
        ):
            raise TypeError("several processes cannot sum sparse gradients")
    fused = train_state.configuration["optimizer"].get("fused")
    hint = "Leave optimizer.fused out." if fused else "Take another: optimizer=NAME."
    with refusing(f"{optimizer} cannot update {model}", hint):
        if not update:
            never_steps(train_state.optimizer)
        elif train_state.closure:
            compute = partial(forward_backward, train_state, [(inputs, targets)], len(targets))
            # The scaler of fp16 refuses it.
            train_state.scaler.step(train_state.optimizer, closure=lambda: compute()[0])
        else:
            train_state.optimizer.step()
        train_state.begin_evaluation()  # which some optimizers cannot
    hint = "Give it other keywords: scheduler.KEYWORD=VALUE."
    with refusing(f"{scheduler} cannot step", hint):
        train_state.scheduler.step(*validation_loss)  # type: ignore[arg-type]


def _name(train_state: TrainState, kind: str) -> str:
    return train_state.configuration[kind]["name"]


def layer_outputs(train_state: TrainState) -> list[dict[str, Any]]:
    """Return name, type, output shape and parameters of each layer, in the order of their calls.

    Two examples go through the model as in evaluation. Where a layer raises, those before it are
    returned; `dry_run` reports the error.
    """
    rows: list[dict[str, Any]] = []
    model = train_state.model
    names = {layer: name for name, layer in model.named_modules()}

    def note(layer: nn.Module, _inputs: Any, output: Any) -> None:
        rows.append({
            "name": names[layer] or "(model)",
            "type": type(layer).__name__,
            "output_shape": ["N", *output.shape[1:]] if isinstance(output, Tensor) else None,
            "parameters": sum(p.numel() for p in layer.parameters(recurse=False)),
        })  # fmt: skip

    model.eval()
    leaves = [layer for layer in names if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    with suppress(Exception), torch.no_grad():
        inputs, _ = train_state.data.train.inputs_of(2)
        train_state.call(moved(inputs, train_state.device))
    for hook in hooks:
        hook.remove()
    return rows
