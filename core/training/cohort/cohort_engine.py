"""The cohort engine: a job's runs as members of one program, reported as by the loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from paribus.core.components.models import load_weights
from paribus.core.components.optim import never_steps
from paribus.core.config.schema import Configuration
from paribus.core.data.prepare import PartName
from paribus.core.run_spec import RunSpec
from paribus.core.training.cohort.eligibility import EXAMPLES
from paribus.core.training.cohort.graph import LayerGraph, follow, read_graph
from paribus.core.training.cohort.inputs import Inputs
from paribus.core.training.cohort.program import Program
from paribus.core.training.engine import Evaluation, Job, Report, State
from paribus.core.training.run_state import RunState
from paribus.core.training.train_state import TrainState


class Cohort:
    """Trains a job's runs together, each as long as it lasts."""

    name = "cohort"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        programs, val = programs_of(job)
        for program in programs:
            for member, run in enumerate(program.members):
                if state := states.get(run.spec.id):
                    _restore(program, member, state)
        while programs:
            for program in _in_lockstep(programs.pop(0)):
                reports = _train_epoch(program, val)
                yield reports
                left = [member for member, report in enumerate(reports) if not report.finished]
                if left:
                    programs.append(program if len(left) == len(reports) else program.of(left))

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (spec,) = job.runs
        asked = Configuration.parse(spec.asked, spec.id)
        train_state = job.resolver.train_state(asked, spec.seed, pretrained=False)
        load_weights(train_state.model, weights, spec.id)
        part = train_state.data.part(split)
        inputs = Inputs(part, train_state.task, train_state.device)
        example = part.inputs_of(EXAMPLES)[0].to(train_state.device)
        program = Program(
            read_graph(train_state.model, example), [RunState(spec, train_state)], inputs
        )
        losses, outputs = program.measure(inputs)
        return _evaluation(train_state, losses[0], outputs[0], inputs)


def programs_of(job: Job) -> tuple[list[Program[RunState]], Inputs]:
    """A job's runs at their first step, and the validation part; mostly they are one program."""
    runs = [_begin(job, spec) for spec in job.runs]
    first = runs[0].train_state
    train, val = (
        Inputs(part, first.task, first.device) for part in (first.data.train, first.data.val)
    )
    return [Program(chain, members, train) for chain, members in _by_chain(runs).items()], val


def _begin(job: Job, spec: RunSpec) -> RunState:
    run = RunState.begin(job, spec)
    never_steps(run.train_state.optimizer)  # here the kernels do
    return run


def _by_chain(runs: Sequence[RunState]) -> dict[LayerGraph, list[RunState]]:
    """The runs by what they compute: a user's module may be another one for another seed."""
    first = runs[0].train_state
    example = first.data.train.inputs_of(EXAMPLES)[0].to(first.device)
    chain = read_graph(first.model, example)
    if getattr(type(first.model), "draws_by_name", False):
        return {chain: [*runs]}  # ours follow from the configuration
    found: dict[LayerGraph, list[RunState]] = {chain: [runs[0]]}
    for run in runs[1:]:
        found.setdefault(follow(run.train_state.model.train(), example), []).append(run)
    return found


def _in_lockstep(program: Program[RunState]) -> list[Program[RunState]]:
    """The program, divided where the members' next epochs differ in length."""
    lengths: dict[int, list[int]] = {}
    for member, run in enumerate(program.members):
        lengths.setdefault(run.examples, []).append(member)
    return [program] if len(lengths) == 1 else [program.of(some) for some in lengths.values()]


def _train_epoch(program: Program[RunState], val: Inputs) -> list[Report]:
    """One epoch of all members, trained, measured and told."""
    started = time.perf_counter()
    loss, accuracy, orders = program.train_epoch()
    val_losses, outputs = program.measure(val)
    reports = []
    for member, run in enumerate(program.members):
        trained: dict[str, float | None] = {"train/loss": loss[member].item()}
        if run.train_state.task.targets != "values":
            trained["train/accuracy"] = accuracy[member].item()
        found = _evaluation(run.train_state, val_losses[member], outputs[member], val)
        weights, state = program.weights(member), partial(_snapshot, program, member)
        reports.append(run.report(trained, found, weights, orders[member], state))
    share = (time.perf_counter() - started) / len(reports)
    for report in reports:
        report.line["seconds"] = share
    return reports


def _evaluation(train_state: TrainState, loss: Tensor, outputs: Tensor, part: Inputs) -> Evaluation:
    outputs, targets = outputs.cpu().clone(), part.targets.cpu()  # not a view of all members
    metrics: dict[str, float | None] = {"loss": loss.item()}
    metrics |= train_state.task.measure(outputs, targets)
    for extra in train_state.extra_metrics:
        metrics[extra.key] = extra.measure(outputs, targets)
    matrix = train_state.task.confusion_matrix(outputs, targets)
    return Evaluation(metrics, outputs, targets, matrix)


def _snapshot(program: Program[RunState], member: int) -> State:
    """What a member's steps go on from; streams are made anew each epoch, so no generators."""
    train_state = program.members[member].train_state
    return {
        "member": {name: tensor.clone() for name, tensor in program.state(member).items()},
        "optimizer": train_state.optimizer.state_dict(),
        "scheduler": train_state.scheduler.state_dict(),
    }


def _restore(program: Program[RunState], member: int, state: State) -> None:
    run = program.members[member]
    run.resume(state)
    run.train_state.optimizer.load_state_dict(state["optimizer"])
    run.train_state.scheduler.load_state_dict(state["scheduler"])
    program.put(member, state["member"])
