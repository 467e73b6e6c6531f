"""The cohort engine: a job's runs as members of one program, reported as by the loop."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from paribus.core.components.optim import never_steps
from paribus.core.config.values import canonical_json
from paribus.core.data.prepare import PartName
from paribus.core.training.cohort.eligibility import EXAMPLES
from paribus.core.training.cohort.graph import LayerGraph, UnsupportedModel, read_graph, trace_graph
from paribus.core.training.cohort.program import Program
from paribus.core.training.cohort.sampling import padded_parts
from paribus.core.training.cohort.traced import TracedGraph, layers_of, read_module
from paribus.core.training.engine import (
    Evaluation,
    Job,
    Report,
    RunState,
    State,
    evaluate_outputs,
    evaluate_runs,
)


class Cohort:
    """Trains a job's runs together, each for as long as it lasts."""

    name = "cohort"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        programs = programs_of(job)
        for program in programs:
            for member, run in enumerate(program.members):
                if state := states.get(run.spec.id):
                    run.resume(state)
                    run.train_state.optimizer.load_state_dict(state["optimizer"])
                    run.train_state.scheduler.load_state_dict(state["scheduler"])
                    program.put(member, state["member"])
        while programs:
            program = programs.pop(0)
            # Members train in lockstep: they are divided where their next epochs differ in length.
            lengths: dict[int, list[int]] = {}
            for member, run in enumerate(program.members):
                lengths.setdefault(run.examples, []).append(member)
            for members in lengths.values():
                part = program if len(lengths) == 1 else program.subset(members)
                reports = _epoch(part)
                yield reports
                left = [member for member, report in enumerate(reports) if not report.finished]
                if left:
                    programs.append(part if len(left) == len(reports) else part.subset(left))

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        train_state = job.with_weights(weights)
        part = train_state.data.part(split)
        (padded_part,) = padded_parts([[part]], train_state.task, train_state.device)
        example = part.inputs_of(EXAMPLES)[0].to(train_state.device)
        graph = read(train_state.model, example)
        state = RunState(job.runs[0], train_state)
        losses, outputs = Program(graph, [state], padded_part, padded_part).measure()
        return evaluate_outputs(train_state, losses[0].item(), outputs[0], part.targets)


def _epoch(program: Program) -> list[Report]:
    """Train and validate an epoch of all members; return a report of each."""
    started = time.perf_counter()
    losses, accuracies, orders = program.train_epoch()
    validations: Sequence[Evaluation | None] = [None] * len(program.members)
    if len(program.val):
        val_losses, outputs = program.measure()
        states = [run.train_state for run in program.members]
        targets = program.val.targets_of(len(states))
        validations = evaluate_runs(states, val_losses.tolist(), outputs, targets)
    reports = []
    for member, run in enumerate(program.members):
        means: dict[str, float | None] = {"train/loss": losses[member].item()}
        if run.train_state.task.targets != "values":
            means["train/accuracy"] = accuracies[member].item()
        weights, state = program.weights(member), partial(_state, program, member)
        reports.append(run.report(means, validations[member], weights, orders[member], state))
    seconds = (time.perf_counter() - started) / len(reports)  # members share the time
    for report in reports:
        report.line["seconds"] = seconds
    return reports


def _state(program: Program, member: int) -> State:
    """Return what a member's steps go on from; streams are made anew each epoch."""
    train_state = program.members[member].train_state
    return {
        "member": {name: tensor.clone() for name, tensor in program.state(member).items()},
        "optimizer": train_state.optimizer.state_dict(),
        "scheduler": train_state.scheduler.state_dict(),
    }


def read(model: nn.Module, example: Tensor) -> LayerGraph | TracedGraph:
    """Return a module that was found to fit, as a chain if it is one."""
    try:
        return read_graph(model, example)
    except UnsupportedModel:
        return read_module(model, example)


def programs_of(job: Job) -> list[Program]:
    """Return a job's runs at their first step, mostly as one program."""
    runs = [RunState.begin(job, spec) for spec in job.runs]
    for run in runs:
        never_steps(run.train_state.optimizer)  # `MemberUpdate` makes the steps
    first = runs[0].train_state
    example = first.data.train.inputs_of(EXAMPLES)[0].to(first.device)
    members: dict[LayerGraph | TracedGraph, list[int]] = {read(first.model, example): [0]}
    # The layers of our own models follow from the configuration; a user's module may have others
    # for another seed.
    ours = getattr(type(first.model), "draws_by_name", False)
    graphs: dict[str, TracedGraph] = {}  # of what was made alike, and has equal layers
    for number, run in enumerate(runs[1:], 1):
        graph = next(iter(members))
        if not ours:
            model = run.train_state.model.train()
            if isinstance(graph, LayerGraph):
                graph = trace_graph(model, example)
            else:
                made = canonical_json(run.train_state.configuration["model"]) + layers_of(model)
                graph = graphs[made] = graphs.get(made) or read_module(model, example)
        members.setdefault(graph, []).append(number)
    data = [run.train_state.data for run in runs]
    parts = [[each.train for each in data], [each.val for each in data]]
    train, val = padded_parts(parts, first.task, first.device)
    return [
        Program(graph, [runs[number] for number in some], train.of(some), val.of(some))
        for graph, some in members.items()
    ]
