"""The Optuna view, read back with Optuna's own API in every state of a study."""

import json
import shutil
import sqlite3
from contextlib import closing

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from troubled import Troubled

from paribus.core.errors import RequestError
from paribus.sweeps.execution.driver import USUAL
from paribus.sweeps.formatting import without_credentials
from paribus.sweeps.study import optuna_studies
from paribus.sweeps.study.optuna_studies import checked_storage
from paribus.sweeps.study.study import Study
from paribus.sweeps.tracking.tracker import Tracker

LR = "optimizer.lr=0.1"


def url_of(root):
    return f"sqlite:///{root.path}/optuna.db"


def stored(root, name="study"):
    return optuna.load_study(study_name=name, storage=url_of(root))


def check(study, url=None):
    """Holds the stored study to what is on disk; returns it."""
    found = optuna.load_study(study_name=study.name, storage=url or url_of(study.root))
    results = [r for r in study.results() if r.status != "interrupted"]
    trials = {trial.user_attrs["label"]: trial for trial in found.trials}
    assert len(trials) == len(found.trials) == len(results)
    assert [trial.number for trial in found.trials] == [*range(len(results))]
    assert found.direction.name.lower() == study.direction
    keys = [axis.key for axis in study.requested.axes]
    for result in results:
        trial = trials[result.setting.label]
        assert trial.user_attrs["changed"] == (result.setting.key or "")
        assert trial.user_attrs["runs"] == list(result.runs)
        values = {str(s): v for s, v in zip(result.seeds, result.values, strict=True)}
        assert trial.user_attrs["values"] == values
        assert list(trial.params) == list(trial.distributions) == keys
        if result.status == "complete":
            assert (trial.state, trial.value) == (TrialState.COMPLETE, result.mean)
            assert "reason" not in trial.user_attrs
        else:
            assert (trial.state, trial.values) == (TrialState.FAIL, None)
            assert trial.user_attrs["reason"] == result.reason
    return found


def test_every_state_of_a_growing_study(troubled):
    found = check(troubled.sweep(LR, seeds=[0]).study)
    assert [t.params for t in found.trials] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.1}]
    assert found.trials[0].distributions == {"optimizer.lr": FloatDistribution(0.01, 0.1)}

    found = check(troubled.sweep("optimizer.lr=1", seeds=[0]).study)  # a level
    assert {t.distributions["optimizer.lr"] for t in found.trials} == {FloatDistribution(0.01, 1)}

    loss = "loss=cross_entropy(label_smoothing=0.1)"
    found = check(troubled.sweep(loss, seeds=[0]).study)  # an axis
    assert found.trials[3].params == {
        "optimizer.lr": 0.01, "loss": "cross_entropy(label_smoothing=0.1)"
    }  # fmt: skip

    found = check(troubled.sweep(LR, seeds=[0, 1]).study)  # seeds, of some
    assert list(found.trials[1].user_attrs["values"]) == ["0", "1"]
    assert list(found.trials[2].user_attrs["values"]) == ["0"]

    other = "loss=torch.nn.MultiMarginLoss"
    found = check(troubled.sweep(other, seeds=[0]).study)  # a level of a categorical axis
    assert found.trials[0].distributions["loss"] == CategoricalDistribution(
        ["cross_entropy", "cross_entropy(label_smoothing=0.1)", "torch.nn.MultiMarginLoss"]
    )
    labels = [t.user_attrs["label"] for t in found.trials]
    assert labels == ["baseline", LR, "optimizer.lr=1.0", loss, other]  # numbers never changed

    troubled.switch("broken")
    bad = ("model.trouble=nan,flaky",)
    found = check(troubled.sweep(*bad, seeds=[0]).study)
    assert [t.state.name for t in found.trials[5:]] == ["FAIL", "FAIL"]
    assert "non-finite" in found.trials[5].user_attrs["reason"]
    assert "the switch is on" in found.trials[6].user_attrs["reason"]
    assert found.best_trial.state == TrialState.COMPLETE

    troubled.switch("broken", on=False)
    shutil.rmtree(troubled.root.runs / found.trials[6].user_attrs["runs"][0])
    found = check(troubled.sweep(*bad, seeds=[0]).study)  # retried
    assert [t.state.name for t in found.trials[5:]] == ["FAIL", "COMPLETE"]

    before = {t.number: t.user_attrs["label"] for t in found.trials}
    (troubled.root.path / "optuna.db").unlink()
    found = check(troubled.sweep(*bad, seeds=[0]).study)  # lost, and made again
    assert {t.number: t.user_attrs["label"] for t in found.trials} == before
    importances = optuna.importance.get_param_importances(found)
    assert set(importances) == {"optimizer.lr", "loss", "model.trouble"}


def test_nothing_is_written_again_that_is_there(troubled):
    study = troubled.sweep(LR, seeds=[0]).study
    times = [t.datetime_complete for t in stored(troubled.root).trials]
    ids = [t._trial_id for t in stored(troubled.root).trials]
    optuna_studies.write(study)
    optuna_studies.write(Study.load(troubled.root, "study"))
    assert [t.datetime_complete for t in stored(troubled.root).trials] == times
    troubled.sweep("optimizer.lr=0.05", seeds=[0])  # inside the range: the rest stays
    assert [t._trial_id for t in stored(troubled.root).trials[:2]] == ids


def test_distributions_are_typed(troubled):
    axes = (
        "model.width=2,8",
        "train.epochs=2",
        "optimizer.weight_decay=1e-4:1e-2:log:3",
        "optimizer.betas=[0.8,0.99],[0.5,0.9]",
        "optimizer.amsgrad=true",
        "scheduler=cosine",
    )
    study = troubled.sweep(*axes, seeds=[0]).study
    found = check(study)
    by_key = found.trials[0].distributions
    assert by_key["model.width"] == IntDistribution(2, 8)
    assert by_key["train.epochs"] == IntDistribution(2, 3)
    assert by_key["optimizer.weight_decay"] == FloatDistribution(0, 0.01)  # no logarithm of 0
    assert by_key["optimizer.amsgrad"] == CategoricalDistribution([False, True])
    assert by_key["optimizer.betas"] == CategoricalDistribution(
        ["[0.9, 0.999]", "[0.8, 0.99]", "[0.5, 0.9]"]
    )
    assert by_key["scheduler"] == CategoricalDistribution(["constant", "cosine"])
    params = {t.user_attrs["label"]: t.params for t in found.trials}
    assert params["optimizer.betas=[0.8, 0.99]"]["optimizer.betas"] == "[0.8, 0.99]"
    assert json.loads(params["baseline"]["optimizer.betas"]) == [0.9, 0.999]
    assert all(isinstance(p["model.width"], int) for p in params.values())


def test_a_logarithmic_range_is_one(troubled):
    study = troubled.sweep("optimizer.lr=1e-3:1e-1:log:3", seeds=[0]).study
    assert check(study).trials[0].distributions == {
        "optimizer.lr": FloatDistribution(0.001, 0.1, log=True)
    }


def test_a_setting_that_has_not_ended_has_no_trial(troubled):
    troubled.switch("full")
    found = check(troubled.sweep("model.trouble=memory", LR, seeds=[0]).study)
    assert [t.user_attrs["label"] for t in found.trials] == ["baseline", LR]
    troubled.switch("full", on=False)
    found = check(troubled.sweep("model.trouble=memory", LR, seeds=[0]).study)
    assert [t.user_attrs["label"] for t in found.trials] == ["baseline", LR, "model.trouble=memory"]


def test_a_direction_to_minimize(troubled):
    study = troubled.sweep(LR, seeds=[0], overrides=("select.metric=val/loss",)).study
    assert check(study).best_trial.value == min(r.mean for r in study.results())


def test_two_studies_in_one_storage(troubled):
    one = troubled.sweep(LR, seeds=[0], name="one").study
    two = troubled.sweep("train.batch_size=8", seeds=[0], name="two").study
    check(one)
    check(two)
    assert set(optuna.get_all_study_names(url_of(troubled.root))) == {"one", "two"}


def foreign(root, **attributes):
    made = optuna.create_study(study_name="study", storage=url_of(root))
    for name, value in attributes.items():
        made.set_user_attr(name, value)
    return made


@pytest.mark.parametrize("attributes", [{}, {"paribus_root": "another"}])
def test_a_foreign_study_is_refused_before_training_and_stays(attributes, troubled):
    troubled.root.create()
    foreign(troubled.root, **attributes).add_trial(
        optuna.trial.create_trial(state=TrialState.COMPLETE, value=1)
    )
    with pytest.raises(RequestError, match="not this root's") as caught:
        troubled.sweep(LR, seeds=[0])
    assert "--study" in caught.value.hint
    found = stored(troubled.root)
    assert ([t.value for t in found.trials], found.user_attrs) == ([1], attributes)
    assert troubled.root.run_ids() == []
    assert troubled.root.study_names() == []


def test_a_foreign_study_without_trials_is_refused_too(troubled):
    troubled.root.create()
    foreign(troubled.root)
    with pytest.raises(RequestError, match="not this root's"):
        troubled.sweep(LR, seeds=[0])


def test_a_kill_between_creation_and_mark_is_made_good(troubled):
    study = troubled.sweep(LR, seeds=[0]).study
    optuna.delete_study(study_name="study", storage=url_of(troubled.root))
    foreign(troubled.root)
    (study.folder / "optuna.new").touch()  # as it is left between the two
    check(troubled.sweep(LR, seeds=[0]).study)
    assert not (study.folder / "optuna.new").exists()


def test_trials_that_were_added_by_hand_go_with_the_next_sweep(troubled):
    study = troubled.sweep(LR, seeds=[0]).study
    extra = optuna.trial.create_trial(state=TrialState.COMPLETE, value=99)
    stored(troubled.root).add_trial(extra)
    optuna_studies.write(study)
    check(study)


def test_while_training_only_what_ended_before_the_first_that_has_not_is_added(troubled):
    troubled.switch("full")
    study = troubled.sweep(LR, "model.trouble=memory", "train.batch_size=8", seeds=[0]).study
    (troubled.root.path / "optuna.db").unlink()
    optuna_studies.write(study, only_add=True)
    labels = [t.user_attrs["label"] for t in stored(troubled.root).trials]
    assert labels == ["baseline", LR]
    optuna_studies.write(study)
    check(study)


CELLS = {
    "an attribute": "UPDATE study_user_attributes SET value_json = 'x'",
    "a trial": "UPDATE trial_user_attributes SET value_json = 'x'",
    "a direction": "UPDATE study_directions SET direction = '8'",
    # SQLite's message quotes it, and the message cannot be decoded.
    "no text": "UPDATE sqlite_master SET sql = CAST(x'435245415445A0A0' AS TEXT)",
}


@pytest.mark.parametrize("how", ["gone", "no database", "cut", "study gone", *CELLS])
def test_a_lost_or_damaged_storage_is_built_anew_saying_so(troubled, how):
    database = troubled.root.path / "optuna.db"
    troubled.sweep(LR, seeds=[0])
    content = database.read_bytes()
    if how == "gone":
        database.unlink()
    elif how == "study gone":
        optuna.delete_study(study_name="study", storage=url_of(troubled.root))
    elif how in CELLS:
        with closing(sqlite3.connect(database)) as base:
            base.execute("PRAGMA writable_schema=ON")
            base.execute(CELLS[how])
            base.commit()
        content = database.read_bytes()
    else:
        database.write_bytes(b"nothing" * 100 if how == "no database" else content[:-5000])
        content = database.read_bytes()
    again = troubled.sweep(LR, seeds=[0])
    assert again.trained == []
    check(again.study)
    aside = troubled.root.path / "optuna.db.damaged-1"
    if how in ("gone", "study gone"):
        assert again.sweep.notes == [
            "study was not in the Optuna storage; it is built anew from the runs."
        ]
    else:
        (note,) = again.sweep.notes
        assert note.startswith("The Optuna storage was damaged (")
        assert note.endswith(f"); it is now {aside}, and built anew.")
        assert aside.read_bytes() == content
    assert aside.exists() == (how not in ("gone", "study gone"))


def test_trouble_with_the_view_after_training_loses_no_result(troubled):
    database = troubled.root.path / "optuna.db"
    planned = troubled.plan(LR, seeds=[0], name="study")
    for step in planned.train(Tracker(), USUAL):
        if step.record:
            database.write_text("this is no database, but it is long enough")
    assert {r.status for r in planned.results()} == {"complete"}
    (note,) = planned.notes
    assert note.startswith("The Optuna view is not up to date")
    assert planned.document()["best"] is not None
    database.unlink()
    check(troubled.sweep(LR, seeds=[0]).study)


def test_another_storage(troubled, tmp_path):
    url = f"sqlite:///{tmp_path}/other.db"
    done = troubled.sweep(LR, seeds=[0], storage=url)
    check(done.study, url)
    assert done.sweep.document()["storage"] == url
    assert not (troubled.root.path / "optuna.db").exists()
    check(troubled.sweep("optimizer.lr=1", seeds=[0]).study, url)  # remembered


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////a/b@c/x.db", "sqlite:////a/b@c/x.db"),
        ("postgresql://me:pass@host:5432/base", "postgresql://host:5432/base"),
        ("postgresql+psycopg://me@host/base", "postgresql+psycopg://host/base"),
        ("mysql://me:p/a:ss@host/base", "mysql://host/base"),
        ("mysql://host/base?user=me&password=x", "mysql://host/base"),
        ("postgresql://:pw@host/base", "postgresql://host/base"),
    ],
)
def test_without_credentials(url, shown):
    assert without_credentials(url) == shown


def test_paths_of_storages_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checked_storage("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert checked_storage("sqlite:////x.db") == "sqlite:////x.db"
    assert checked_storage("sqlite:///~/x.db") == f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize("url", ["nonsense", "foo://x", "sqlite:////nowhere/at/all/x.db"])
def test_storages_that_cannot_work_are_refused(url):
    with pytest.raises(RequestError) as caught:
        checked_storage(url)
    assert caught.value.exit_code == 2


def test_a_root_of_another_id_is_another_root(troubled, tmp_path):
    troubled.sweep(LR, seeds=[0])
    other = Troubled(tmp_path / "other", troubled.workplace)
    with pytest.raises(RequestError, match="not this root's"):
        other.sweep(LR, seeds=[0], storage=url_of(troubled.root))
    check(troubled.sweep(LR, seeds=[0]).study)
