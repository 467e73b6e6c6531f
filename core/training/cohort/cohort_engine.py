"""The cohort engine: a job's runs as lanes of one program, reported as the loop reports its one."""

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
from paribus.core.training.cohort.graph import Chain, follow, read_chain
from paribus.core.training.cohort.inputs import Inputs
from paribus.core.training.cohort.program import Program
from paribus.core.training.engine import Evaluation, Job, Report, State
from paribus.core.training.run_state import Course
from paribus.core.training.train_state import Trainee


class Cohort:
    """Trains a job's runs together, each as long as it lasts."""

    name = "cohort"

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:
        programs, val = programs_of(job)
        for program in programs:
            for lane, run in enumerate(program.lanes):
                if state := states.get(run.spec.id):
                    _restore(program, lane, state)
        while programs:
            for program in _in_lockstep(programs.pop(0)):
                reports = _train_epoch(program, val)
                yield reports
                left = [lane for lane, report in enumerate(reports) if not report.finished]
                if left:
                    programs.append(program if len(left) == len(reports) else program.of(left))

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:
        (spec,) = job.runs
        asked = Configuration.parse(spec.asked, spec.id)
        trainee = job.resolver.trainee(asked, spec.seed, pretrained=False)
        load_weights(trainee.model, weights, spec.id)
        part = trainee.data.part(split)
        inputs = Inputs(part, trainee.task, trainee.device)
        example = part.inputs_of(EXAMPLES)[0].to(trainee.device)
        program = Program(read_chain(trainee.model, example), [Course(spec, trainee)], inputs)
        losses, outputs = program.measure(inputs)
        return _evaluation(trainee, losses[0], outputs[0], inputs)


def programs_of(job: Job) -> tuple[list[Program[Course]], Inputs]:
    """A job's runs at their first step, and the validation part; mostly they are one program."""
    runs = [_begin(job, spec) for spec in job.runs]
    first = runs[0].trainee
    train, val = (
        Inputs(part, first.task, first.device) for part in (first.data.train, first.data.val)
    )
    return [Program(chain, lanes, train) for chain, lanes in _by_chain(runs).items()], val


def _begin(job: Job, spec: RunSpec) -> Course:
    run = Course.begin(job, spec)
    never_steps(run.trainee.optimizer)  # here the kernels do
    return run


def _by_chain(runs: Sequence[Course]) -> dict[Chain, list[Course]]:
    """The runs by what they compute: a user's module may be another one for another seed."""
    first = runs[0].trainee
    example = first.data.train.inputs_of(EXAMPLES)[0].to(first.device)
    chain = read_chain(first.model, example)
    if getattr(type(first.model), "draws_by_name", False):
        return {chain: [*runs]}  # ours follow from the configuration
    found: dict[Chain, list[Course]] = {chain: [runs[0]]}
    for run in runs[1:]:
        found.setdefault(follow(run.trainee.model.train(), example), []).append(run)
    return found


def _in_lockstep(program: Program[Course]) -> list[Program[Course]]:
    """The program, divided where the lanes' next epochs differ in length."""
    lengths: dict[int, list[int]] = {}
    for lane, run in enumerate(program.lanes):
        lengths.setdefault(run.examples, []).append(lane)
    return [program] if len(lengths) == 1 else [program.of(some) for some in lengths.values()]


def _train_epoch(program: Program[Course], val: Inputs) -> list[Report]:
    """One epoch of all lanes, trained, measured and told."""
    started = time.perf_counter()
    loss, accuracy, orders = program.train_epoch()
    val_losses, outputs = program.measure(val)
    reports = []
    for lane, run in enumerate(program.lanes):
        trained: dict[str, float | None] = {"train/loss": loss[lane].item()}
        if run.trainee.task.targets != "values":
            trained["train/accuracy"] = accuracy[lane].item()
        found = _evaluation(run.trainee, val_losses[lane], outputs[lane], val)
        weights, state = program.weights(lane), partial(_snapshot, program, lane)
        reports.append(run.report(trained, found, weights, orders[lane], state))
    share = (time.perf_counter() - started) / len(reports)
    for report in reports:
        report.line["seconds"] = share
    return reports


def _evaluation(trainee: Trainee, loss: Tensor, outputs: Tensor, part: Inputs) -> Evaluation:
    outputs, targets = outputs.cpu().clone(), part.targets.cpu()  # not a view of all lanes
    metrics: dict[str, float | None] = {"loss": loss.item()}
    metrics |= trainee.task.measure(outputs, targets)
    for extra in trainee.extra_metrics:
        metrics[extra.key] = extra.measure(outputs, targets)
    matrix = trainee.task.confusion_matrix(outputs, targets)
    return Evaluation(metrics, outputs, targets, matrix)


def _snapshot(program: Program[Course], lane: int) -> State:
    """What a lane's steps go on from; streams are made anew each epoch, so no generators."""
    trainee = program.lanes[lane].trainee
    return {
        "lane": {name: tensor.clone() for name, tensor in program.state(lane).items()},
        "optimizer": trainee.optimizer.state_dict(),
        "scheduler": trainee.scheduler.state_dict(),
    }


def _restore(program: Program[Course], lane: int, state: State) -> None:
    run = program.lanes[lane]
    run.resume(state)
    run.trainee.optimizer.load_state_dict(state["optimizer"])
    run.trainee.scheduler.load_state_dict(state["scheduler"])
    program.put(lane, state["lane"])
