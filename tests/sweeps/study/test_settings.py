"""A setting differs from the baseline in one key, and what follows from it is message."""

from dataclasses import replace

import pytest

from paribus.core.config.experiment import catalogue
from paribus.core.errors import RequestError
from paribus.sweeps.execution.planner import plan_runs, read_request
from paribus.sweeps.study.controls import prove_one_change
from paribus.sweeps.study.designs import OneAtATime
from paribus.sweeps.study.request import Request, Search
from paribus.sweeps.study.settings import baseline_setting


@pytest.fixture(scope="module")
def planned():
    """(settings by label, baseline's run, runs by label) of axes on digits."""

    def plan(*axes, overrides=()):
        request = Request(catalogue()["digits"], tuple(overrides), axes)
        question = read_request(request)
        design = OneAtATime(question.baseline, question.axes, [0], question.direction, Search())
        settings, runs = plan_runs(request, question.baseline, design.propose({}))
        return {s.label: s for s in settings}, {label: run for (label, _), run in runs.items()}

    return plan


def test_one_setting_for_the_baseline_and_one_for_each_level(planned):
    settings, runs = planned("optimizer.lr=0.1,0.001,0.01", "model.dropout=0.5")
    assert list(settings) == [
        "baseline", "optimizer.lr=0.1", "optimizer.lr=0.01", "model.dropout=0.5",
    ]  # fmt: skip
    assert settings["baseline"].changed == {}
    assert settings["optimizer.lr=0.1"].changed == {"optimizer.lr": [0.001, 0.1]}
    assert settings["optimizer.lr=0.1"].derived == {}
    assert len({run.id for run in runs.values()}) == 4


def test_parameters_are_derived(planned):
    settings, _ = planned("model.hidden_dim=64")
    assert settings["model.hidden_dim=64"].derived == {
        "parameters": [(64 + 1) * 128 + (128 + 1) * 10, (64 + 1) * 64 + (64 + 1) * 10]
    }


def test_updates_follow_from_the_batch_size(planned):
    settings, _ = planned("train.batch_size=128")
    assert settings["train.batch_size=128"].derived == {
        "updates": [400, 200], "updates_per_epoch": [20, 10],
    }  # fmt: skip


def test_the_length_of_the_schedule_follows_from_the_epochs(planned):
    settings, runs = planned("train.epochs=10", overrides=["scheduler=cosine"])
    assert settings["train.epochs=10"].derived == {
        "scheduler.T_max": [20, 10], "updates": [400, 200],
    }  # fmt: skip
    assert runs["train.epochs=10"].configuration["scheduler"]["T_max"] == 10


def test_the_highest_rate_of_a_cycle_follows_from_the_optimizer_s(planned):
    settings, _ = planned("optimizer.lr=0.1", overrides=["scheduler=one_cycle"])
    assert settings["optimizer.lr=0.1"].derived == {"scheduler.max_lr": [0.001, 0.1]}


SGD = ["optimizer=sgd", "optimizer.momentum=0.9"]
ONE_CYCLE = ["scheduler=one_cycle", "scheduler.max_lr=0.3"]


@pytest.mark.parametrize(
    ("axis", "overrides", "words"),
    [
        (
            "optimizer.lr=0.1,0.2",
            ONE_CYCLE,
            "Vary scheduler.max_lr instead, or leave scheduler.max_lr out: it follows optimizer",
        ),
        ("optimizer=adam(lr=0.5)", ONE_CYCLE, "optimizer=adam(lr=0.5) changes nothing: with"),
        ("optimizer.lr=0.1:0.3", ONE_CYCLE, "The axis optimizer.lr changes nothing: with"),
        (
            "optimizer.momentum=0.5",
            [*SGD, *ONE_CYCLE],
            "Vary scheduler.base_momentum, scheduler.cycle_momentum or scheduler.max_momentum inst",
        ),
        ("scheduler.interval=epoch", ["scheduler=cosine"], "Leave the axis out."),
    ],
)
def test_an_axis_that_the_scheduler_overrides_is_refused(planned, axis, overrides, words):
    with pytest.raises(RequestError) as caught:
        planned(axis, overrides=overrides)
    assert words in str(caught.value)


def test_an_axis_that_the_scheduler_overrides_only_in_part_is_none_of_these(planned):
    settings, _ = planned("optimizer.lr=0.1", overrides=["scheduler=plateau"])
    assert "optimizer.lr=0.1" in settings
    settings, _ = planned("optimizer.weight_decay=0.1", overrides=ONE_CYCLE)
    assert "optimizer.weight_decay=0.1" in settings
    settings, _ = planned("scheduler.interval=update", overrides=["scheduler=cosine"])
    assert settings["scheduler.interval=update"].derived == {"scheduler.T_max": [20, 400]}


def test_the_interval_of_one_scheduler_is_not_another_s(planned):
    settings, _ = planned(
        "scheduler=step(step_size=5)", overrides=["scheduler=cosine", "scheduler.interval=update"]
    )
    assert settings["scheduler=step(step_size=5)"].derived["scheduler.interval"] == ["update", None]


def test_updates_as_the_unit(planned):
    settings, runs = planned("train.updates=30", overrides=["train.updates=100"])
    assert settings["train.updates=30"].changed == {"train.updates": [100, 30]}
    assert settings["train.updates=30"].derived == {"epochs": [5, 2]}
    assert runs["train.updates=30"].facts["updates"] == 30


def test_keywords_dropped_and_newly_defaulted_are_derived(planned):
    settings, runs = planned("optimizer=sgd", overrides=["optimizer.lr=0.02"])
    derived = settings["optimizer=sgd"].derived
    assert settings["optimizer=sgd"].changed == {"optimizer": ["adam", "sgd"]}
    assert derived["optimizer.betas"] == [[0.9, 0.999], None]
    assert derived["optimizer.momentum"] == [None, 0.0]
    assert "optimizer.lr" not in derived
    assert runs["optimizer=sgd"].configuration["optimizer"]["lr"] == 0.02


def test_a_level_s_own_keywords_are_not_derived(planned):
    label = "loss=cross_entropy(label_smoothing=0.1)"
    settings, _ = planned("loss=cross_entropy(label_smoothing=0.1)")
    assert settings[label].changed == {"loss": ["cross_entropy", label.partition("=")[2]]}
    assert settings[label].derived == {}


def test_the_proof_catches_a_second_change(planned):
    settings, runs = planned("optimizer.lr=0.1")
    setting, base, run = settings["optimizer.lr=0.1"], runs["baseline"], runs["optimizer.lr=0.1"]
    assert prove_one_change(setting, base, run) == {}
    for group, key, value in (
        ("model", "dropout", 0.7), ("split", "seed", 1), ("train", "batch_size", 8),
    ):  # fmt: skip
        requested = run.requested.replace(f"{group}.{key}", value)
        with pytest.raises(RequestError, match=f"would also change {group}.{key}"):
            prove_one_change(setting, base, replace(run, requested=requested))
        resolved = {
            **run.configuration, group: {**run.configuration[group], key: value},
        }  # fmt: skip
        with pytest.raises(RequestError, match=f"would also change {group}.{key}"):
            prove_one_change(setting, base, replace(run, configuration=resolved))


def test_the_proof_catches_no_change(planned):
    settings, runs = planned("optimizer.lr=0.1")
    with pytest.raises(RequestError, match="changes nothing"):
        prove_one_change(settings["optimizer.lr=0.1"], runs["baseline"], runs["baseline"])


def test_a_change_of_preprocessing_keeps_the_examples(planned):
    settings, _ = planned("standardize=true,false")
    assert [*settings] == ["baseline", "standardize=false"]  # inputs of a table are standardized
    assert settings["standardize=false"].changed == {"standardize": [True, False]}
    assert settings["standardize=false"].derived == {}


def test_faults_of_settings_are_told_with_their_labels(planned):
    with pytest.raises(RequestError) as error:
        planned("optimizer.lr=-1,0.1", "train.batch_size=32")
    (fault,) = error.value.faults
    assert str(fault).startswith("optimizer.lr=-1.0: optimizer adam cannot be made")


def test_short_names_are_recorded_whole():
    short = ("epochs=1", "metrics=MulticlassAUROC", "select.metric=auroc")
    whole = ("train.epochs=1", "metrics=MulticlassAUROC", "select.metric=val/multiclass_auroc")
    asked, written_out = (
        read_request(Request(catalogue()["digits"], overrides, (f"{key}=0.1",)))
        for overrides, key in ((short, "lr"), (whole, "optimizer.lr"))
    )
    assert asked.baseline == written_out.baseline
    assert asked.baseline.select.metric == asked.metric == "val/multiclass_auroc"
    assert [axis.key for axis in asked.axes] == ["optimizer.lr"]
    assert asked.request.axes == ("optimizer.lr=0.1",)
    assert asked.request.overrides == ("train.epochs=1", *short[1:])


def test_levels_carry_the_whole_name_of_a_short_metric():
    overrides = ("metrics=BinaryAUROC", "select.metric=auroc")
    request = Request(catalogue()["cancer"], overrides, ("optimizer.lr=0.1", "model=mlp"))
    asked = read_request(request)
    wanted = [(baseline_setting(asked.baseline), [0])]
    wanted += [(level, [0]) for axis in asked.axes for level in axis.levels]
    _, runs = plan_runs(asked.request, asked.baseline, wanted)
    assert len(runs) == 3
    assert {run.requested.select.metric for run in runs.values()} == {"val/binary_auroc"}


def test_python_values_are_not_made_text():
    axes = (("optimizer.lr", [0.1, 1]), ("loss", [{"name": "cross_entropy", "weight": "balanced"}]))
    overrides = (("clip_grad_norm", 2.0), ("model", "mlp(dropout=0.5)"), ("metrics", "none"))
    typed = read_request(
        Request(
            catalogue()["digits"],
            ("train.clip_grad_norm=2.0", "model=mlp(dropout=0.5)", "metrics=none"),
            ("optimizer.lr=0.1,1", "loss=cross_entropy(weight=balanced)"),
        )
    )
    given = read_request(Request(catalogue()["digits"], overrides, axes))
    assert (given.baseline, given.axes) == (typed.baseline, typed.axes)
    text = read_request(Request(catalogue()["digits"], (("optimizer.lr", "1e-2"),), None))
    assert text.baseline.optimizer.keywords["lr"] == 0.01
