"""The loop engine: one run, step by step, in plain PyTorch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from paribus.core.components.models import load_weights, set_dropout_streams
from paribus.core.config.schema import Configuration
from paribus.core.data.prepare import PartName
from paribus.core.rng import derive, epoch_order, seed_globals, seeded_globals
from paribus.core.training.engine import Evaluation, Job, Report, State
from paribus.core.training.run_state import Course
from paribus.core.training.train_state import Trainee, checked_loss


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        (spec,) = job.runs
        run = Course.begin(job, spec)
        trainee = run.trainee
        if state := states.get(spec.id):
            run.resume(state)
            _restore(trainee, state)
        with seeded_globals(spec.seed, "dropout"):  # leaves the process's generators as they were
            finished = False
            while not finished:
                started = time.perf_counter()
                order = epoch_order(spec.seed, run.epoch + 1, len(trainee.data.train))
                order = order[: run.examples]
                trained = train_epoch(trainee, order, spec.seed, run.epoch + 1, job.loader_workers)
                report = run.report(
                    trained,
                    measure(trainee, "val", job.loader_workers),
                    trainee.model.state_dict(),
                    hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    lambda: _snapshot(trainee),
                )
                report.line["seconds"] = time.perf_counter() - started
                yield [report]
                finished = report.finished

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (run,) = job.runs
        asked = Configuration.parse(run.asked, run.id)
        trainee = job.resolver.trainee(asked, run.seed, pretrained=False)
        load_weights(trainee.model, weights, run.id)
        return measure(trainee, split)


def train_epoch(
    trainee: Trainee, order: Tensor, seed: int, epoch: int, loader_workers: int = 0
) -> dict[str, float | None]:
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
    batches = trainee.data.train.batches(
        trainee.batch_size, order, (seed, epoch), workers=loader_workers
    )
    for inputs, targets in batches:
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


def measure(trainee: Trainee, split: PartName, loader_workers: int = 0) -> Evaluation:
    """Loss and metrics of the model as it is on one part, in batches of a fixed size."""
    part = trainee.data.part(split)
    trainee.model.eval()
    total, collected, aims = 0.0, [], []
    size = trainee.configuration["train"]["eval_batch_size"]
    # A model that draws in evaluation too gets the same draws for the same part, always.
    with torch.inference_mode(), seeded_globals(0, "dropout", split):
        for inputs, targets in part.batches(size, workers=loader_workers):
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


def _snapshot(trainee: Trainee) -> State:
    """What the steps go on from; streams are made anew each epoch, so no generators."""
    return {
        "model": trainee.model.state_dict(),
        "optimizer": trainee.optimizer.state_dict(),
        "scheduler": trainee.scheduler.state_dict(),
    }


def _restore(trainee: Trainee, state: State) -> None:
    trainee.model.load_state_dict(state["model"])
    trainee.optimizer.load_state_dict(state["optimizer"])
    trainee.scheduler.load_state_dict(state["scheduler"])
