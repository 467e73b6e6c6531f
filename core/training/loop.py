"""The training loop: one run, step by step, in plain PyTorch."""

import hashlib
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from paribus.core.components.models import set_dropout_streams, weights_hash
from paribus.core.config.experiment import load_experiment
from paribus.core.config.schema import get
from paribus.core.data.loader import Batch, moved
from paribus.core.data.prepare import PartName
from paribus.core.errors import ParibusError
from paribus.core.rng import derive, epoch_order, seed_globals, seeded_globals
from paribus.core.run_spec import RunSpec
from paribus.core.sources.reads import Reads, add_from_worker, observing
from paribus.core.training.engine import Evaluation, Job, Report, RunState, State, evaluate_outputs
from paribus.core.training.ranks import Group, started, synchronize_batch_norm
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import TrainState, forward_backward, outputs_and_loss

Means = dict[str, float | None]


class Loop:
    """Trains a job's one run with the ordinary steps."""

    name = "loop"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        (spec,) = job.runs
        state, processes = states.get(spec.id), get(spec.configuration, "train.processes")
        sent = pickle.dumps(state) if processes > 1 else None
        on_gpu, arguments = spec.configuration["device"] == "cuda", (spec, job.loader_workers, sent)
        ranks = started(processes, on_gpu, _train_share, job.resolver, *arguments)
        # Leaves the process's generators as they were.
        with ranks as group, seeded_globals(spec.seed, "dropout"):
            run, finished = _begun(job, state, group), False
            train_state = run.train_state
            while not finished:
                began = time.perf_counter()
                order, means = _next_epoch(run, job.loader_workers, Reads())
                validates = len(train_state.data.val) > 0
                measured = measure(train_state, "val", job.loader_workers) if validates else None
                report = run.report(
                    means,
                    measured,
                    train_state.model.state_dict(),
                    hashlib.sha256(order.numpy().tobytes()).hexdigest(),
                    lambda: {name: p.state_dict() for name, p in train_state.stateful.items()},
                )
                report.line["seconds"] = time.perf_counter() - began
                yield [report]
                finished = report.finished
                if group and not finished:
                    group.exchange(measured and measured.metrics["loss"])

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        return measure(job.with_weights(weights), split)


def _train_share(
    group: Group, resolver: Resolver | None, spec: RunSpec, loader_workers: int, state: bytes
) -> None:
    """Train a rank's share of each epoch, for as long as rank 0 goes on."""
    resolver = resolver or Resolver(load_experiment(spec.path, spec.import_paths))
    with observing(reads := Reads()):
        run = _begun(Job((spec,), resolver, loader_workers), pickle.loads(state), group)
        while True:
            _next_epoch(run, loader_workers, reads)
            if (validation_loss := group.exchange(None)[0]) is not None:
                run.train_state.step_scheduler("validation", validation_loss)
            run.epoch += 1


def _begun(job: Job, state: State | None, group: Group | None) -> RunState:
    """Build the job's run at its first step, or where its resume state was saved."""
    run = RunState.begin(job, job.runs[0])
    train_state = run.train_state
    if state:
        run.resume(state)
        train_state.begin_evaluation()
        for name, part in train_state.stateful.items():
            part.load_state_dict(state[name])
    train_state.group = group
    if group and get(train_state.configuration, "train.sync_batch_norm"):
        synchronize_batch_norm(train_state.model)
    return run


def _next_epoch(run: RunState, loader_workers: int, reads: Reads) -> tuple[Tensor, Means]:
    """Train an epoch; return its order and the means as trained.

    All of a run's processes are told what the others read, and must end with equal parameters.
    """
    epoch, train_state = run.epoch + 1, run.train_state
    order = epoch_order(run.seed, epoch, len(train_state.data.train))[: run.examples]
    means = train_epoch(train_state, order, run.seed, epoch, loader_workers)
    train_state.begin_evaluation()  # the mode in which weights and states are saved
    if train_state.group:
        mine = weights_hash(dict(train_state.model.named_parameters()))
        for digest, read in train_state.group.exchange((mine, reads)):
            add_from_worker(read)
            if digest != mine:
                text = f"The run's processes ended epoch {epoch} with different parameters."
                raise ParibusError(text, "Let nothing but their gradients change them.")
    return order, means


def train_epoch(
    train_state: TrainState, order: Tensor, seed: int, epoch: int, loader_workers: int = 0
) -> Means:
    """Train one epoch, by positions in the training part, int64 `[examples]`.

    Returns:
        The running means of loss and accuracy as trained.
    """
    model, task, device = train_state.model, train_state.task, train_state.device
    optimizer, group, own = train_state.optimizer, train_state.group, order
    batch_size, batches_of_each = train_state.batch_size, train_state.update_batches
    rank: tuple[int, ...] = ()
    if group:  # this process has a part of each update
        own, batches_of_each = group.share(order, batch_size), batches_of_each // group.size
        rank = (group.rank,) if group.rank else ()  # its masks: the first has those of one process

    noise = derive(seed, "dropout", epoch, *rank)  # for dropout layers that are not ours
    seed_globals(noise)
    if device.type == "cuda":
        torch.cuda.manual_seed(noise)
    set_dropout_streams(model, seed, epoch, *rank)
    train_state.begin_training()

    computed: list[tuple[Tensor, list[Tensor]]] = []  # of each evaluation of an update's loss

    def compute(batches: Sequence[Batch], examples: int) -> Tensor:
        computed.append(forward_backward(train_state, batches, examples))
        return computed[-1][0]

    total_loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.float64, device=device)
    batches = train_state.data.train.batches(batch_size, own, (seed, epoch), workers=loader_workers)
    for update in torch.split(order, batch_size * train_state.update_batches):
        some, examples = list(islice(batches, batches_of_each)), len(update)
        computed.clear()
        if train_state.closure:  # the optimizer evaluates the loss itself, several times
            optimizer.step(partial(compute, some, examples))  # type: ignore[arg-type]
        else:
            compute(some, examples)
            # Weight decay is in here, as torch's optimizers apply it.
            train_state.scaler.step(optimizer)
            train_state.scaler.update()
        train_state.update_average()
        train_state.step_scheduler("update")
        loss, outputs_of_each = computed[0]  # before the update
        with torch.no_grad():
            total_loss += loss * examples
            for outputs, (_, targets) in zip(outputs_of_each, some, strict=True):
                right = task.correct(outputs, targets.to(device))
                correct += 0 if right is None else right.sum()
    train_state.step_scheduler("epoch")
    if group:
        correct = sum(group.exchange(correct.cpu()), torch.zeros(()))

    means: Means = {"train/loss": total_loss.item() / len(order)}
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
