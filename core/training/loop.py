"""The training loop: one run, step by step, in plain PyTorch."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from paribus.core.components.models import set_dropout_streams
from paribus.core.data.loader import Batch, moved
from paribus.core.data.prepare import PartName
from paribus.core.rng import derive, epoch_order, seed_globals, seeded_globals
from paribus.core.training.engine import Evaluation, Job, Report, RunState, State, evaluate_outputs
from paribus.core.training.train_state import TrainState, forward_backward, outputs_and_loss


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        (spec,) = job.runs
        run = RunState.begin(job, spec)
        train_state = run.train_state
        if state := states.get(spec.id):
            run.resume(state)
            train_state.begin_evaluation()
            for name, part in train_state.stateful.items():
                part.load_state_dict(state[name])
        finished = False
        with seeded_globals(spec.seed, "dropout"):  # leaves the process's generators as they were
            while not finished:
                started = time.perf_counter()
                epoch = run.epoch + 1
                order = epoch_order(spec.seed, epoch, len(train_state.data.train))[: run.examples]
                means = train_epoch(train_state, order, spec.seed, epoch, job.loader_workers)
                train_state.begin_evaluation()  # the mode in which weights and states are saved
                validates = len(train_state.data.val) > 0
                report = run.report(
                    means,
                    measure(train_state, "val", job.loader_workers) if validates else None,
                    train_state.model.state_dict(),
                    hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    lambda: {name: p.state_dict() for name, p in train_state.stateful.items()},
                )
                report.line["seconds"] = time.perf_counter() - started
                yield [report]
                finished = report.finished

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        return measure(job.with_weights(weights), split)


def train_epoch(
    train_state: TrainState, order: Tensor, seed: int, epoch: int, loader_workers: int = 0
) -> dict[str, float | None]:
    """Train one epoch, by positions in the training part, int64 `[examples]`.

    Returns:
        The running means of loss and accuracy as trained.
    """
    model, task, device = train_state.model, train_state.task, train_state.device
    optimizer = train_state.optimizer

    noise = derive(seed, "dropout", epoch)  # for dropout layers that are not ours
    seed_globals(noise)
    if device.type == "cuda":
        torch.cuda.manual_seed(noise)
    set_dropout_streams(model, seed, epoch)
    train_state.begin_training()

    computed: list[tuple[Tensor, list[Tensor]]] = []  # of each evaluation of an update's loss

    def compute(batches: Sequence[Batch]) -> Tensor:
        computed.append(forward_backward(train_state, batches))
        return computed[-1][0]

    total_loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.float64, device=device)
    batches = train_state.data.train.batches(
        train_state.batch_size, order, (seed, epoch), workers=loader_workers
    )
    while some := list(islice(batches, train_state.accumulate)):
        computed.clear()
        if train_state.closure:  # the optimizer evaluates the loss itself, several times
            optimizer.step(partial(compute, some))  # type: ignore[arg-type]
        else:
            compute(some)
            # Weight decay is in here, as torch's optimizers apply it.
            train_state.scaler.step(optimizer)
            train_state.scaler.update()
        train_state.update_average()
        train_state.step_scheduler("update")
        loss, outputs_of_each = computed[0]  # before the update
        with torch.no_grad():
            total_loss += loss * sum(len(targets) for _, targets in some)
            for outputs, (_, targets) in zip(outputs_of_each, some, strict=True):
                right = task.correct(outputs, targets.to(device))
                correct += 0 if right is None else right.sum()
    train_state.step_scheduler("epoch")

    means: dict[str, float | None] = {"train/loss": total_loss.item() / len(order)}
    if task.targets != "values":
        means["train/accuracy"] = correct.item() / len(order)
    return means


def measure(train_state: TrainState, split: PartName, loader_workers: int = 0) -> Evaluation:
    """Evaluate the model as it is on one part, in batches of `train.eval_batch_size`."""
    part = train_state.data.part(split)
    train_state.begin_evaluation()
    batch_size = train_state.configuration["train"]["eval_batch_size"]
    total_loss, outputs, targets = 0.0, [], []
    # Not inference_mode: what a module caches here (masks, rotary tables) it also trains with.
    # A model that draws in evaluation too gets the same draws for the same part, always.
    with torch.no_grad(), seeded_globals(0, "dropout", split):
        for batch, batch_targets in part.batches(batch_size, workers=loader_workers):
            inputs, on_device = moved((batch, batch_targets), train_state.device)
            batch_outputs, loss = outputs_and_loss(train_state, inputs, on_device)
            total_loss += loss.item() * len(batch_targets)
            outputs.append(batch_outputs.float().cpu())
            targets.append(batch_targets)
    mean_loss = total_loss / len(part)
    return evaluate_outputs(train_state, mean_loss, torch.cat(outputs), torch.cat(targets))
