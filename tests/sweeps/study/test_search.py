"""Explored axes and pruned settings, trained: the record decides, and Optuna's tools show it."""

import copy
import hashlib
import json
import re
import shutil
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import matplotlib as mpl
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from troubled import Troubled

from paribus.core.config.values import canonical_json
from paribus.core.errors import RequestError
from paribus.sweeps import api
from paribus.sweeps.analysis.compare import compare_study
from paribus.sweeps.cli import sweep_text
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.progress.progress_state import ProgressState
from paribus.sweeps.study.request import Search
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker

RANGE = "optimizer.lr=1e-5:1:log"
FIVE = [0, 1, 2, 3, 4]
SEARCHES = {  # axes, the rest that is asked, after how many runs it is stopped
    "explored": ((RANGE, "model.width=2:9"), {"search": Search(6), "seeds": [0, 1]}, (3, 17)),
    "median": ((RANGE,), {"search": Search(6, pruner="median"), "seeds": FIVE}, (12,)),
    "wilcoxon": (
        (RANGE,),
        {
            "search": Search(5, "random", "wilcoxon"),
            "seeds": FIVE,
            "overrides": ("select.metric=val/loss",),
        },
        (12,),
    ),
}


def stored(study):
    return optuna.load_study(
        study_name=study.name, storage=f"sqlite:///{study.root.path}/optuna.db"
    )


def outcome(done):
    """What a sweep asked for, in its order, what it pruned, and the bits."""
    return [(s.label, list(s.runs), s.pruned) for s in done.study.settings], done.hashes


@pytest.mark.parametrize("name", SEARCHES)
def test_levels_prunings_and_bits_are_the_same_for_any_workers_and_after_stops(
    name, troubled, workplace, monkeypatch
):
    axes, asked, stops = SEARCHES[name]
    search = asked["search"]

    def sweep(root):
        return troubled.sweep(*axes, root=ResultsDir(troubled.folder / root), **asked)

    first = sweep("two workers")
    settings, hashes = outcome(first)
    assert len(settings) == 1 + len(axes) * search.trials
    assert {r.status for r in first.study.results()} == (
        {"complete"} if search.pruner is None else {"complete", "pruned"}
    )
    again = sweep("two workers")
    assert again.trained == []
    assert outcome(again) == (settings, hashes)

    for stop in stops:
        ended = []
        root = ResultsDir(troubled.folder / f"stopped after {stop}")
        planned = troubled.plan(*axes, root=root, name="study", **asked)
        for step in planned.train(Tracker(), USUAL, stop=lambda: len(ended) >= stop):  # noqa: B023
            ended += [step.run.id] if step.record else []
        assert outcome(sweep(root.path.name)) == (settings, hashes)

    monkeypatch.setattr(workplace, "workers", 1)
    assert outcome(sweep("one worker")) == (settings, hashes)


def test_a_run_that_stopped_holds_up_its_own_axis_only(troubled):
    axes = (RANGE, "model.trouble=memory")
    search, seeds = Search(5, pruner="median"), [0, 1]
    troubled.switch("full")
    done = troubled.sweep(*axes, seeds=seeds, search=search)
    statuses = {r.setting.label: r.status for r in done.sweep.results()}
    assert len(statuses) == 7
    assert [label for label, status in statuses.items() if status == "interrupted"] == [axes[1]]
    assert list(done.study.find(axes[1]).runs) == [0]
    troubled.switch("full", on=False)
    again = troubled.sweep(*axes, seeds=seeds, search=search)
    assert len(again.trained) == 2
    assert again.result(axes[1]).status == "complete"


@pytest.fixture(scope="module")
def swept(tmp_path_factory, workplace):
    """A sweep with a pruner, and the labels that were pruned."""
    place = Troubled(tmp_path_factory.mktemp("swept"), workplace)
    done = place.sweep(RANGE, seeds=FIVE, search=Search(6, pruner="median"))
    labels = [r.setting.label for r in done.study.results() if r.status == "pruned"]
    assert labels
    return place, done, labels


@pytest.fixture
def pruned(swept):
    return swept[1:]


@pytest.fixture
def copied(swept, tmp_path):
    """The same to go on with: the place, the sweep, and the levels that were pruned."""
    place, done, labels = swept
    shutil.copytree(place.root.path, tmp_path / "copy")
    place = copy.copy(place)
    place.root = ResultsDir(tmp_path / "copy")
    return place, done, f"optimizer.lr={','.join(label.split('=')[1] for label in labels)}"


def test_a_pruned_setting_is_one_on_the_record_and_in_the_storage(pruned):
    done, labels = pruned
    study = Study.load(done.study.root, "study")
    trials = {trial.user_attrs["label"]: trial for trial in stored(study).trials}
    for result in study.results():
        trial = trials[result.setting.label]
        assert trial.intermediate_values == dict(zip(result.seeds, result.values, strict=True))
        if result.setting.label in labels:
            assert (result.status, result.setting.pruned) == ("pruned", "median")
            assert 0 < len(result.seeds) < 5
            assert trial.state == TrialState.PRUNED
            assert list(trial.user_attrs["values"]) == [str(seed) for seed in result.seeds]
        else:
            assert (trial.state, trial.value) == (TrialState.COMPLETE, result.mean)
    assert trials["baseline"].distributions == {
        "optimizer.lr": FloatDistribution(1e-5, 1.0, log=True)
    }
    assert study.requested.axes[0].range == [1e-5, 1.0]
    again = compare_study(study, study.results()).to_dict()
    for row in again["settings"]:
        if row["label"] in labels:
            assert (row["status"], row["pruned"]) == ("pruned", "median")
            assert row["pairs"] == len(row["seeds"])
    assert done.sweep.document()["best"] not in labels


def test_the_table_says_what_was_pruned(pruned, capsys):
    done, labels = pruned
    sweep_text.begin(done.sweep, verbose=True)
    sweep_text.end(done.sweep, str(done.sweep.request.path), verbose=True)
    said = capsys.readouterr().out
    assert "optimizer.lr = 1e-05 to 1.0, log, 6 trials by tpe   (baseline 0.01)" in said
    assert len(re.findall(r" pruned +\d of 5$", said, re.M)) == len(labels)
    assert f"{len(labels)} level" in " ".join(said.split())


def test_without_the_pruner_the_seeds_left_are_trained(copied):
    place, done, axis = copied
    whole = place.sweep(axis, seeds=FIVE)
    assert len(whole.trained) == sum(5 - len(result.seeds) for result in done.sweep.results())
    for study in (whole.study, Study.load(place.root, "study")):
        assert {r.status for r in study.results()} == {"complete"}
        assert not any(setting.pruned for setting in study.settings)
    assert {trial.state for trial in stored(whole.study).trials} == {TrialState.COMPLETE}
    # The first command replays as it did, on a record that knows more by now.
    again = place.sweep(RANGE, seeds=FIVE, search=Search(6, pruner="median"))
    assert again.trained == []
    assert [s.label for s in again.study.settings] == [s.label for s in done.study.settings]
    assert not any(setting.pruned for setting in again.study.settings)


def test_seeds_that_were_asked_for_and_not_trained_are_let_go_when_it_is_pruned(copied):
    place, _, axis = copied
    planned = place.plan(axis, seeds=FIVE, name="study")
    asked = []
    for step in planned.train(Tracker(), USUAL, stop=lambda: bool(asked)):
        asked.append(step)
    again = place.sweep(RANGE, seeds=FIVE, search=Search(6, pruner="median"))
    assert {r.status for r in again.sweep.results()} <= {"complete", "pruned"}
    assert [r.setting.label for r in again.study.results() if r.status == "interrupted"] == []


def test_a_study_of_old_grows_a_range(troubled):
    done = troubled.sweep("optimizer.lr=0.1", seeds=[0])
    file = done.study.folder / "study.json"
    asked = json.loads(file.read_text())
    for setting in asked["settings"]:
        del setting["pruned"]
    for axis in asked["axes"]:
        del axis["range"]
    del asked["sha256"]
    digest = hashlib.sha256(canonical_json(asked).encode()).hexdigest()
    file.write_text(json.dumps({**asked, "sha256": digest}))
    study = troubled.sweep("optimizer.lr=1e-3:1:log", seeds=[0], search=Search(2)).study
    (axis,) = study.requested.axes
    assert axis.range == [1e-3, 1.0]
    assert axis.log
    assert len(axis.levels) == 3
    study = troubled.sweep("optimizer.lr=1e-4:1e-2", seeds=[0], search=Search(1)).study
    assert study.requested.axes[0].range == [1e-4, 1.0]


def test_fewer_levels_than_trials_are_said(troubled):
    done = troubled.sweep("model.width=3:5", seeds=[0])
    assert len(done.study.settings) == 3
    assert done.sweep.notes == [
        "model.width: 2 trials instead of 8, as these are all levels of 3 to 5."
    ]


def test_runs_of_later_rounds_are_counted_from_the_start(troubled):
    planned = troubled.plan(RANGE, seeds=[0, 1], search=Search(6), name="study")
    assert (len(planned.distinct_runs()), planned.most_runs()) == (10, 14)
    standing = ProgressState(planned)
    assert (standing.total, standing.work) == (14, 14 * 3)
    for step in planned.train(Tracker(), USUAL):
        standing.take(step)
    assert (standing.done, standing.total, standing.worked) == (14, 14, 42)
    assert [s.label for s in standing.settings()] == [s.label for s in planned.settings]
    found = {s.label: pytest.approx(s.value) for s in standing.settings()}
    assert found == {r.setting.label: r.mean for r in planned.results()}


def test_faults_of_the_api_s_options_are_told_together(tmp_path):
    options = {"trials": 0, "sampler": "tpee", "pruner": "mean", "root": tmp_path / "root"}
    with pytest.raises(RequestError) as caught:
        api.sweep("line", {"optimizer.lr": "1e-3:1:log"}, **options)
    said = [str(fault) for fault in caught.value.faults]
    assert len(said) == 3
    for word, text in zip(("trials=0", "'tpee'", "'mean'"), said, strict=True):
        assert word in text
    assert not (tmp_path / "root").exists()


def test_nothing_to_explore_is_refused_before_anything_is_created(troubled):
    with pytest.raises(RequestError, match="no axis is explored"):
        troubled.plan("optimizer.lr=0.1", seeds=[0], search=Search(2))
    assert not troubled.root.path.exists()


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def test_optuna_s_dashboard_opens_the_storage(pruned):
    from optuna_dashboard import wsgi

    done, _ = pruned
    app = wsgi(f"sqlite:///{done.study.root.path}/optuna.db")
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        try:
            with urllib.request.urlopen(f"{at}/api/studies", timeout=30) as answer:
                (summary,) = json.load(answer)["study_summaries"]
            assert summary["study_name"] == "study"
            one = f"{at}/api/studies/{summary['study_id']}"
            with urllib.request.urlopen(f"{one}?after=0", timeout=30) as answer:
                trials = json.load(answer)["trials"]
            with urllib.request.urlopen(f"{at}/dashboard", timeout=30) as answer:
                assert b"<html" in answer.read()
        finally:
            server.shutdown()
    study = stored(done.study)
    assert [t["state"] for t in trials] == [
        {TrialState.COMPLETE: "Complete", TrialState.PRUNED: "Pruned"}[t.state]
        for t in study.trials
    ]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_s_plots_are_drawn_of_the_storage(pruned):
    mpl.use("Agg")
    from optuna.visualization import matplotlib as plots

    study = stored(pruned[0].study)
    for plot in (
        plots.plot_slice,
        plots.plot_optimization_history,
        plots.plot_param_importances,
        plots.plot_intermediate_values,
    ):
        drawn = plot(study)
        assert drawn.has_data()
    mpl.pyplot.close("all")
