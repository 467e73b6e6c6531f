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
from paribus.core.training.run_state import RunState
from paribus.core.training.train_state import TrainState, checked_loss


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        (spec,) = job.runs
        run = RunState.begin(job, spec)
        train_state = run.train_state
        if state := states.get(spec.id):
            run.resume(state)
            _restore(train_state, state)
        with seeded_globals(spec.seed, "dropout"):  # leaves the process's generators as they were
            finished = False
            while not finished:
                started = time.perf_counter()
                order = epoch_order(spec.seed, run.epoch + 1, len(train_state.data.train))
                order = order[: run.examples]
                trained = train_epoch(
                    train_state, order, spec.seed, run.epoch + 1, job.loader_workers
                )
                report = run.report(
                    trained,
                    measure(train_state, "val", job.loader_workers),
                    train_state.model.state_dict(),
                    hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    lambda: _snapshot(train_state),
                )
                report.line["seconds"] = time.perf_counter() - started
                yield [report]
                finished = report.finished

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (run,) = job.runs
        asked = Configuration.parse(run.asked, run.id)
        train_state = job.resolver.train_state(asked, run.seed, pretrained=False)
        load_weights(train_state.model, weights, run.id)
        return measure(train_state, split)


def train_epoch(
    train_state: TrainState, order: Tensor, seed: int, epoch: int, loader_workers: int = 0
) -> dict[str, float | None]:
    """One epoch of updates; the running means of loss and accuracy as trained."""
    model, device = train_state.model, train_state.device
    noise = derive(seed, "dropout", epoch)  # for dropout layers that are not ours
    seed_globals(noise)
    if device.type == "cuda":
        torch.cuda.manual_seed(noise)
    set_dropout_streams(model, seed, epoch)
    train_state.begin_training()
    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.float64, device=device)
    batches = train_state.data.train.batches(
        train_state.batch_size, order, (seed, epoch), workers=loader_workers
    )
    for inputs, targets in batches:
        inputs, targets = inputs.to(device), targets.to(device)
        loss, outputs = _update(train_state, inputs, targets)
        if train_state.scheduler_steps == "update":
            train_state.scheduler.step()
        with torch.no_grad():
            total += loss * len(targets)
            right = train_state.task.correct(outputs, targets)
            correct += 0 if right is None else right
    if train_state.scheduler_steps == "epoch":
        train_state.scheduler.step()
    means: dict[str, float | None] = {"train/loss": total.item() / len(order)}
    if train_state.task.targets != "values":
        means["train/accuracy"] = correct.item() / len(order)
    return means


def _update(train_state: TrainState, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One update; the batch's loss and outputs before it."""
    seen: list[tuple[Tensor, Tensor]] = []
    clip = train_state.configuration["train"]["clip_grad_norm"]

    def closure() -> Tensor:
        outputs = train_state.model(inputs)
        loss = checked_loss(train_state, outputs, targets)
        train_state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            groups = train_state.optimizer.param_groups
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], clip)
        seen.append((loss.detach(), outputs.detach()))
        return loss

    if train_state.closure:
        train_state.optimizer.step(closure)  # type: ignore[arg-type]
    else:
        closure()
        train_state.optimizer.step()
    return seen[0]


def measure(train_state: TrainState, split: PartName, loader_workers: int = 0) -> Evaluation:
    """Loss and metrics of the model as it is on one part, in batches of a fixed size."""
    part = train_state.data.part(split)
    train_state.model.eval()
    total, collected, aims = 0.0, [], []
    size = train_state.configuration["train"]["eval_batch_size"]
    # A model that draws in evaluation too gets the same draws for the same part, always.
    with torch.inference_mode(), seeded_globals(0, "dropout", split):
        for inputs, targets in part.batches(size, workers=loader_workers):
            outputs = train_state.model(inputs.to(train_state.device))
            loss = checked_loss(train_state, outputs, targets.to(train_state.device))
            total += loss.item() * len(targets)
            collected.append(outputs.float().cpu())
            aims.append(targets)
    outputs, targets = torch.cat(collected), torch.cat(aims)
    metrics: dict[str, float | None] = {"loss": total / len(part)}
    metrics |= train_state.task.measure(outputs, targets)
    for extra in train_state.extra_metrics:
        metrics[extra.key] = extra.measure(outputs, targets)
    matrix = train_state.task.confusion_matrix(outputs, targets)
    return Evaluation(metrics, outputs.clone(), targets, matrix)


def _snapshot(train_state: TrainState) -> State:
    """What the steps go on from; streams are made anew each epoch, so no generators."""
    return {
        "model": train_state.model.state_dict(),
        "optimizer": train_state.optimizer.state_dict(),
        "scheduler": train_state.scheduler.state_dict(),
    }


def _restore(train_state: TrainState, state: State) -> None:
    train_state.model.load_state_dict(state["model"])
    train_state.optimizer.load_state_dict(state["optimizer"])
    train_state.scheduler.load_state_dict(state["scheduler"])
