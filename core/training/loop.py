"""The training loop: one run, step by step, in plain PyTorch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from paribus.core.components.models import load_weights, set_dropout_streams
from paribus.core.data.prepare import PartName
from paribus.core.rng import derive, epoch_order, seed_globals, seeded_globals
from paribus.core.training.engine import Evaluation, Job, Report, RunState, State, evaluate_outputs
from paribus.core.training.train_state import TrainState, checked_loss

# What steps go on from; streams are made anew each epoch, so no generators.
_STATEFUL = ("model", "optimizer", "scheduler")


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        (spec,) = job.runs
        run = RunState.begin(job, spec)
        train_state = run.train_state
        if state := states.get(spec.id):
            run.resume(state)
            for part in _STATEFUL:
                getattr(train_state, part).load_state_dict(state[part])
        with seeded_globals(spec.seed, "dropout"):  # leaves the process's generators as they were
            finished = False
            while not finished:
                started = time.perf_counter()
                epoch = run.epoch + 1
                order = epoch_order(spec.seed, epoch, len(train_state.data.train))[: run.examples]
                trained = train_epoch(train_state, order, spec.seed, epoch, job.loader_workers)
                report = run.report(
                    trained,
                    measure(train_state, "val", job.loader_workers),
                    train_state.model.state_dict(),
                    hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    lambda: {name: getattr(train_state, name).state_dict() for name in _STATEFUL},
                )
                report.line["seconds"] = time.perf_counter() - started
                yield [report]
                finished = report.finished

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (run,) = job.runs
        train_state = job.resolver.train_state(run.requested, run.seed, pretrained=False)
        load_weights(train_state.model, weights, run.id)
        return measure(train_state, split)


def train_epoch(
    train_state: TrainState, order: Tensor, seed: int, epoch: int, loader_workers: int = 0
) -> dict[str, float | None]:
    """Train one epoch; return the running means of loss and accuracy as trained.

    Args:
        train_state: Is trained.
        order: Positions in the training part, int64 `[examples]`.
        seed: The run's seed.
        epoch: Counted from 1.
        loader_workers: Processes that read and augment batches ahead.
    """
    model, device, optimizer = train_state.model, train_state.device, train_state.optimizer
    noise = derive(seed, "dropout", epoch)  # for dropout layers that are not ours
    seed_globals(noise)
    if device.type == "cuda":
        torch.cuda.manual_seed(noise)
    set_dropout_streams(model, seed, epoch)
    train_state.begin_training()
    clip = train_state.configuration["train"]["clip_grad_norm"]
    computed: list[tuple[Tensor, Tensor]] = []  # loss and outputs, each time that a batch is

    def forward_backward(inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = model(inputs)
        loss = checked_loss(train_state, outputs, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, clip)
        computed.append((loss.detach(), outputs.detach()))
        return loss

    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.float64, device=device)
    batches = train_state.data.train.batches(
        train_state.batch_size, order, (seed, epoch), workers=loader_workers
    )
    for inputs, targets in batches:
        inputs, targets = inputs.to(device), targets.to(device)
        computed.clear()
        if train_state.closure:  # the optimizer evaluates the loss itself, several times
            optimizer.step(partial(forward_backward, inputs, targets))  # type: ignore[arg-type]
        else:
            forward_backward(inputs, targets)
            optimizer.step()  # weight decay is in here, as torch's optimizers apply it
        if train_state.scheduler_steps == "update":
            train_state.scheduler.step()
        loss, outputs = computed[0]  # before the update
        with torch.no_grad():
            total += loss * len(targets)
            right = train_state.task.correct(outputs, targets)
            correct += 0 if right is None else right.sum()
    if train_state.scheduler_steps == "epoch":
        train_state.scheduler.step()
    means: dict[str, float | None] = {"train/loss": total.item() / len(order)}
    if train_state.task.targets != "values":
        means["train/accuracy"] = correct.item() / len(order)
    return means


def measure(train_state: TrainState, split: PartName, loader_workers: int = 0) -> Evaluation:
    """Return loss and metrics of the model as it is on one part, in batches of a fixed size."""
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
    return evaluate_outputs(train_state, total / len(part), torch.cat(collected), torch.cat(aims))
