"""The calls a tracker gets for a study: with the difference to the baseline, in any order."""

import itertools
import shutil

import pytest

from paribus.core.run_spec import RunSpec
from paribus.sweeps.execution.driver import USUAL, RunEvent
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker, TrackerCallback

LR = "optimizer.lr=0.1"


class Told(Tracker):
    """Keeps the differences that it is told of, by run, and the studies."""

    def __init__(self):
        self.begun, self.deltas, self.studies = [], {}, []

    def begin(self, run):
        self.begun.append(run.run)

    def finish(self, run, record, history, delta):
        assert run in self.begun
        self.deltas.setdefault(run, []).append(delta)

    def conclude(self, study):
        self.studies.append(study())


@pytest.fixture(scope="module")
def swept(tmp_path_factory, workplace):
    """A study of two settings with two seeds, and a step for each of its runs."""
    from troubled import Troubled

    done = Troubled(tmp_path_factory.mktemp("swept"), workplace).sweep(LR)
    return done.study, [step for step in done.steps if step.record]


def differences(study):
    """Run to the difference that it has, as the table of settings has it."""
    base, level = study.results()
    return dict.fromkeys(base.runs) | {
        run: ours - theirs
        for run, ours, theirs in zip(level.runs, level.values, base.values, strict=True)
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_ends_first(swept, order, tmp_path):
    study, steps = swept
    root = ResultsDir(shutil.copytree(study.root.path, tmp_path / "r"))
    shutil.rmtree(root.runs)
    told = Told()
    callback = TrackerCallback(
        told, root, Study.load(root, study.name), [step.run for step in steps]
    )
    for number in order:
        run = steps[number].run.id
        shutil.copytree(study.root.run(run).folder, root.run(run).folder)
        callback.on_event(steps[number])
    assert told.deltas == {run: [delta] for run, delta in differences(study).items()}
    callback.close()
    assert all(len(deltas) == 1 for deltas in told.deltas.values())


def test_a_baseline_of_an_earlier_command(swept):
    study, steps = swept
    told = Told()
    levels = [step for step in steps if study.place_of(step.run.id)[0].key]
    callback = TrackerCallback(told, study.root, study, [step.run for step in levels])
    for step in levels:
        callback.on_event(step)
    expected = differences(study)
    assert told.deltas == {step.run.id: [expected[step.run.id]] for step in levels}


def test_a_baseline_that_never_ends(swept):
    study, steps = swept
    told = Told()
    level = next(step for step in steps if study.place_of(step.run.id)[0].key)
    with_baseline: list[RunSpec] = [step.run for step in steps]
    callback = TrackerCallback(told, study.root, study, with_baseline)
    callback.on_event(level)
    assert told.deltas == {}
    callback.close()
    assert list(told.deltas) == [level.run.id]


def test_a_run_of_its_own(swept):
    study, steps = swept
    told = Told()
    callback = TrackerCallback(told, study.root, None, [steps[0].run])
    callback.on_event(RunEvent(steps[0].run, message="something"))
    assert told.begun == []
    callback.on_event(steps[0])
    assert told.deltas == {steps[0].run.id: [None]}


def test_a_baseline_that_stopped_is_made_up_for_later(troubled):
    """Its settings are told without a difference, and with it once there is one."""
    troubled.switch("full")
    told = Told()
    calm = ("model.trouble=calm",)
    planned = troubled.plan(*calm, overrides=["model.trouble=memory"], seeds=[0], name="study")
    list(planned.train(told, USUAL))
    assert list(told.deltas.values()) == [[None]]
    assert told.studies == [None]  # nothing can be compared
    troubled.switch("full", on=False)
    planned = troubled.plan(*calm, overrides=["model.trouble=memory"], seeds=[0], name="study")
    list(planned.train(told, USUAL))
    (level,) = planned.study.results()[1].runs
    expected = differences(planned.study)[level]
    assert told.deltas[level] == [None, expected]
    assert told.studies[1].study == "study"


def test_a_study_that_was_stopped_is_not_concluded(troubled):
    told = Told()
    stopped = iter([False] * 4 + [True] * 1000)
    list(troubled.plan(LR, name="study").train(told, USUAL, stop=lambda: next(stopped)))
    assert told.studies == []
    list(troubled.plan(LR, name="study").train(told, USUAL))
    assert len(told.studies) == 1
