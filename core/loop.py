"""The loop engine: one run, step by step, in plain PyTorch."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.build import Trainee, checked_loss
from core.config import Configuration
from core.data.prepared import PartName
from core.engine import Best, Evaluation, Job, Report, State
from core.metrics import is_better
from core.models import load_weights, set_dropout_streams, tensor_hashes, weights_hash
from core.seeding import derive, epoch_order, seed_globals, seeded_globals


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[Report]:
        (run,) = job.runs
        asked = Configuration.parse(run.asked, run.id)
        trainee = job.resolver.trainee(asked, run.seed)
        initial = tensor_hashes(trainee.model)
        best: Best | None = None
        first = 1
        if state := states.get(run.id):
            initial, best, first = _restore(trainee, state)
        with seeded_globals(run.seed, "dropout"):  # leaves the process's generators as they were
            for epoch in range(first, trainee.epochs + 1):
                started = time.perf_counter()
                order = epoch_order(run.seed, epoch, len(trainee.data.train))
                order = order[: _examples_of(trainee, epoch)]
                trained = train_epoch(trainee, order, run.seed, epoch)
                found = measure(trainee, "val")
                if trainee.scheduler_steps == "validation":
                    trainee.scheduler.step(found.metrics["loss"])  # type: ignore[arg-type]
                metrics = {**trained, **{f"val/{k}": v for k, v in found.metrics.items()}}
                failure = _not_finite(metrics, trainee.metric, epoch)
                if failure is None and _is_best(trainee, metrics, best):
                    weights = {k: v.detach().cpu().clone() for k, v in _state(trainee).items()}
                    best = Best(epoch, metrics, found.confusion_matrix, weights, found.outputs)
                line = {
                    "epoch": epoch,
                    "metrics": metrics,
                    "order_sha256": hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    "weights_sha256": weights_hash(trainee.model),
                    "seconds": time.perf_counter() - started,
                }
                finished = (
                    failure is not None
                    or epoch == trainee.epochs
                    or _is_out_of_patience(trainee, best, epoch)
                )
                yield Report(
                    run=run.id,
                    line=line,
                    best=best,
                    finished=finished,
                    failure=failure,
                    initial_weights=initial,
                    state=lambda e=epoch, b=best: _snapshot(trainee, e, b, initial),  # type: ignore[misc]
                )
                if finished:
                    return

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (run,) = job.runs
        asked = Configuration.parse(run.asked, run.id)
        trainee = job.resolver.trainee(asked, run.seed, pretrained=False)
        load_weights(trainee.model, weights, run.id)
        return measure(trainee, split)


def train_epoch(trainee: Trainee, order: Tensor, seed: int, epoch: int) -> dict[str, float | None]:
    """One epoch of updates; the running means of loss and accuracy as trained."""
    model, device = trainee.model, trainee.device
    noise = derive(seed, "dropout", epoch)  # for dropout layers that are not ours
    seed_globals(noise)
    if device.type == "cuda":
        torch.cuda.manual_seed(noise)
    set_dropout_streams(model, seed, epoch)
    trainee.begin_training()
    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.float64, device=device)
    for inputs, targets in trainee.data.train.batches(trainee.batch_size, order, (seed, epoch)):
        inputs, targets = inputs.to(device), targets.to(device)
        loss, outputs = _update(trainee, inputs, targets)
        if trainee.scheduler_steps == "update":
            trainee.scheduler.step()
        with torch.no_grad():
            total += loss * len(targets)
            right = trainee.task.correct(outputs, targets)
            correct += 0 if right is None else right
    if trainee.scheduler_steps == "epoch":
        trainee.scheduler.step()
    means: dict[str, float | None] = {"train/loss": total.item() / len(order)}
    if trainee.task.targets != "values":
        means["train/accuracy"] = correct.item() / len(order)
    return means


def _update(trainee: Trainee, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One update; the batch's loss and outputs before it."""
    seen: list[tuple[Tensor, Tensor]] = []
    clip = trainee.configuration["train"]["clip_grad_norm"]

    def closure() -> Tensor:
        outputs = trainee.model(inputs)
        loss = checked_loss(trainee, outputs, targets)
        trainee.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            groups = trainee.optimizer.param_groups
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], clip)
        seen.append((loss.detach(), outputs.detach()))
        return loss

    if trainee.closure:
        trainee.optimizer.step(closure)  # type: ignore[arg-type]
    else:
        closure()
        trainee.optimizer.step()
    return seen[0]


def measure(trainee: Trainee, split: PartName) -> Evaluation:
    """Loss and metrics of the model as it is on one part, in batches of a fixed size."""
    part = trainee.data.part(split)
    trainee.model.eval()
    total, collected, aims = 0.0, [], []
    size = trainee.configuration["train"]["eval_batch_size"]
    # A model that draws in evaluation too gets the same draws for the same part, always.
    with torch.inference_mode(), seeded_globals(0, "dropout", split):
        for inputs, targets in part.batches(size):
            outputs = trainee.model(inputs.to(trainee.device))
            loss = checked_loss(trainee, outputs, targets.to(trainee.device))
            total += loss.item() * len(targets)
            collected.append(outputs.float().cpu())
            aims.append(targets)
    outputs, targets = torch.cat(collected), torch.cat(aims)
    metrics: dict[str, float | None] = {"loss": total / len(part)}
    metrics |= trainee.task.measure(outputs, targets)
    for extra in trainee.extra_metrics:
        metrics[extra.key] = extra.measure(outputs, targets)
    matrix = trainee.task.confusion_matrix(outputs, targets)
    return Evaluation(metrics, outputs.clone(), targets, matrix)


def _examples_of(trainee: Trainee, epoch: int) -> int:
    """Examples that an epoch visits: all, or fewer in the last epoch of a number of updates."""
    steps = math.ceil(len(trainee.data.train) / trainee.batch_size)
    left = trainee.updates - (epoch - 1) * steps
    return len(trainee.data.train) if left >= steps else left * trainee.batch_size


def _not_finite(metrics: Mapping[str, float | None], metric: str, epoch: int) -> str | None:
    for name in ("train/loss", "val/loss", metric):
        value = metrics[name]
        if value is not None and not math.isfinite(value):
            return f"non-finite: {name} is {value} at epoch {epoch}"
    return None


def _is_best(trainee: Trainee, metrics: Mapping[str, float | None], best: Best | None) -> bool:
    """Whether an epoch is the first, or beats the best so far."""
    name = trainee.metric
    return best is None or is_better(trainee.direction, metrics[name], best.metrics[name])


def _is_out_of_patience(trainee: Trainee, best: Best | None, epoch: int) -> bool:
    """Whether there were as many epochs without a better one as patience allows."""
    patience = trainee.configuration["train"]["patience"]
    return patience is not None and epoch - (best.epoch if best else 0) >= patience


def _state(trainee: Trainee) -> dict[str, Tensor]:
    state: dict[str, Tensor] = trainee.model.state_dict()
    return state


def _snapshot(trainee: Trainee, epoch: int, best: Best | None, initial: dict[str, str]) -> State:
    """What is needed to go on after an epoch; streams are made anew, so no generators."""
    return {
        "epoch": epoch,
        "model": _state(trainee),
        "optimizer": trainee.optimizer.state_dict(),
        "scheduler": trainee.scheduler.state_dict(),
        "best": None if best is None else vars(best),
        "initial_weights": initial,
    }


def _restore(trainee: Trainee, state: State) -> tuple[dict[str, str], Best | None, int]:
    trainee.model.load_state_dict(state["model"])
    trainee.optimizer.load_state_dict(state["optimizer"])
    trainee.scheduler.load_state_dict(state["scheduler"])
    best: Any = state["best"]
    return state["initial_weights"], best and Best(**best), state["epoch"] + 1
