"""What every engine keeps to: the same reports, the same bits, whenever it is stopped."""

import io
import math

import pytest
import torch

from paribus.core.components.models import tensor_hashes, weights_hash
from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Job
from paribus.core.training.job import engine_of
from paribus.core.training.loop import Loop

ONE_CYCLE = {"name": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.05}
DROPOUT = {"name": "mlp", "hidden_dim": 8, "num_layers": 2, "dropout": 0.3}

# 42 training examples: three updates of 16 an epoch. 13 updates end inside the fifth epoch.
RECIPES = {
    "adam": {},
    "dropout": {"model": DROPOUT},
    "momentum and cosine": {
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "scheduler": "cosine",
        "train": {"epochs": 5, "batch_size": 16},
    },
    "one cycle by updates": {
        "model": DROPOUT,
        "optimizer": {"name": "adamw", "lr": 0.01},
        "scheduler": ONE_CYCLE,
        "train": {"updates": 13, "batch_size": 16},
    },
    "steps and batch norm": {
        "model": {"name": "Net", "rate": 0.4},  # its dropout is torch's, drawn from the global one
        "optimizer": "rmsprop",
        "scheduler": {"name": "step", "step_size": 2},
        "metrics": ["CohenKappa"],
    },
    "regression": {
        "task": "regression",
        "data": {"name": "slopes", "columns": 2},
        "loss": "l1",
        "train": {"updates": 7, "batch_size": 10},
    },
}


ENGINES = {"loop": Loop, "cohort": Cohort}
# A net with batch norm is no chain of dense layers.
BOTH = [
    (engine, recipe)
    for recipe in RECIPES
    for engine in ENGINES
    if (engine, recipe) != ("cohort", "steps and batch norm")
]


def pytest_generate_tests(metafunc):
    """Each test for both engines; one that takes a recipe for all that they train."""
    if "recipe" in metafunc.fixturenames:
        made = [(ENGINES[engine](), RECIPES[recipe]) for engine, recipe in BOTH]
        metafunc.parametrize(("engine", "recipe"), made, ids=[f"{e}-{r}" for e, r in BOTH])
    elif "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", [engine() for engine in ENGINES.values()], ids=ENGINES)


def job_of(small, seed=0, **changes):
    return Job((small.run(seed, **changes),), small.resolver)


def that_draws(engine):
    """A model that draws in training, as this engine trains it."""
    return {"name": "Net", "rate": 0.5} if engine.name == "loop" else DROPOUT


def trained(engine, job, state=None, stop=None):
    """Reports of a job, and the resume state after each as a file would hold it."""
    (run,) = job.runs
    reports, states = [], []
    iterator = engine.train(job, {} if state is None else {run.id: torch.load(io.BytesIO(state))})
    for (report,) in iterator:
        reports.append(report)
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
        states.append(buffer.getvalue())
        if len(reports) == stop:
            iterator.close()
            break
    return reports, states


def lines(reports):
    return [{k: v for k, v in r.line.items() if k != "seconds"} for r in reports]


def same_best(first, second):
    assert (first.epoch, first.metrics) == (second.epoch, second.metrics)
    assert first.confusion_matrix == second.confusion_matrix
    assert torch.equal(first.outputs, second.outputs)
    assert first.weights.keys() == second.weights.keys()
    assert all(torch.equal(first.weights[k], second.weights[k]) for k in first.weights)


def test_engines_are_found_by_their_name(engine):
    assert type(engine_of(engine.name)) is type(engine)


def test_one_report_an_epoch_and_the_last_is_finished(engine, small, recipe):
    job = job_of(small, **recipe)
    (run,) = job.runs
    reports, _ = trained(engine, job)
    assert [r.line["epoch"] for r in reports] == list(range(1, run.facts["epochs"] + 1))
    assert [r.finished for r in reports] == [False] * (len(reports) - 1) + [True]
    assert all(r.run == run.id and r.failure is None for r in reports)
    names = set(reports[0].line["metrics"])
    task = {"val/mae", "val/mse", "val/r2"}
    if run.configuration["task"]["name"] == "multiclass":
        task = {"train/accuracy", "val/accuracy", "val/precision", "val/recall", "val/f1"}
    assert names >= task | {"train/loss", "val/loss"}
    assert ("val/cohen_kappa" in names) is ("metrics" in recipe)
    assert all(set(r.line["metrics"]) == names for r in reports)
    assert len({r.line["weights_sha256"] for r in reports}) == len(reports)
    assert len({r.line["order_sha256"] for r in reports}) == len(reports)


def test_the_same_job_twice_gives_the_same_bits(engine, small, recipe):
    job = job_of(small, **recipe)
    first, _ = trained(engine, job)
    torch.rand(3)  # whatever the process draws in between
    second, _ = trained(engine, job)
    assert lines(first) == lines(second)
    assert first[0].initial_weights == second[0].initial_weights
    same_best(first[-1].best, second[-1].best)


def test_another_seed_gives_other_weights_and_orders(engine, small):
    (first, *_), _ = trained(engine, job_of(small, seed=0))
    (second, *_), _ = trained(engine, job_of(small, seed=1))
    assert first.line["order_sha256"] != second.line["order_sha256"]
    assert not set(first.initial_weights.values()) & set(second.initial_weights.values())


def test_initial_weights_are_those_before_the_first_step(engine, small):
    job = job_of(small)
    reports, _ = trained(engine, job)
    train_state = small.resolver.train_state(small.asked(), 0)
    assert reports[-1].initial_weights == tensor_hashes(train_state.model.state_dict())


def test_stopped_anywhere_and_resumed_it_ends_in_the_same_bits(engine, small, recipe):
    job = job_of(small, **recipe)
    whole, states = trained(engine, job)
    for epoch in range(1, len(whole)):
        before, stopped = trained(engine, job, stop=epoch)
        rest, _ = trained(engine, job, state=stopped[-1])
        assert lines(before) + lines(rest) == lines(whole)
        assert rest[-1].initial_weights == whole[-1].initial_weights
        same_best(rest[-1].best, whole[-1].best)
    again, _ = trained(engine, job, state=states[0], stop=1)  # and stopped twice
    assert lines(again) == lines(whole)[1:2]


def test_a_state_needs_no_pickled_classes(engine, small, recipe):
    _, states = trained(engine, job_of(small, **recipe), stop=2)
    torch.load(io.BytesIO(states[-1]), weights_only=True)


def test_closing_after_an_epoch_restores_the_generators_of_the_process(engine, small):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    trained(engine, job_of(small, model=that_draws(engine)), stop=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_the_consumer_draws_between_epochs_changes_nothing(engine, small):
    job = job_of(small, model=that_draws(engine))
    quiet, _ = trained(engine, job)
    noisy = []
    for (report,) in engine.train(job, {}):
        noisy.append(report)
        torch.rand(7)
    assert lines(noisy) == lines(quiet)


@pytest.mark.parametrize("split", ["val", "train", "test"])
def test_evaluating_the_best_weights_gives_the_best_metrics_bit_for_bit(
    engine, small, recipe, split
):
    job = job_of(small, **recipe | {"train": {"epochs": 4, "batch_size": 16, "eval_batch_size": 4}})
    reports, _ = trained(engine, job)
    best = reports[-1].best
    found = engine.evaluate(job, best.weights, split)
    part = small.resolver.data(small.asked(**recipe), 0).part(split)
    assert torch.equal(found.targets, part.targets)
    assert len(found.outputs) == len(part)
    if split == "val":
        recorded = {k.removeprefix("val/"): v for k, v in best.metrics.items() if k[:4] == "val/"}
        assert found.metrics == recorded
        assert torch.equal(found.outputs, best.outputs)


def test_the_best_epoch_has_the_best_metric(engine, small):
    for metric, pick in (("val/accuracy", max), ("val/loss", min)):
        reports, _ = trained(engine, job_of(small, select={"metric": metric}))
        values = [r.line["metrics"][metric] for r in reports]
        assert reports[-1].best.epoch == values.index(pick(values)) + 1
        assert reports[-1].best.metrics == reports[reports[-1].best.epoch - 1].line["metrics"]


@pytest.mark.parametrize("metric", ["val/accuracy", "val/loss"])
def test_of_equal_epochs_the_earliest_is_best(engine, small, metric):
    still = {"optimizer": {"name": "sgd", "lr": 0.0}, "select": {"metric": metric}}
    reports, states = trained(engine, job_of(small, **still))
    assert len({r.line["metrics"][metric] for r in reports}) == 1
    assert [r.best.epoch for r in reports] == [1] * 4
    rest, _ = trained(engine, job_of(small, **still), state=states[1])
    assert rest[-1].best.epoch == 1


def test_best_weights_are_a_copy_of_their_epoch(engine, small):
    job = job_of(small)
    reports, _ = trained(engine, job)
    train_state = small.resolver.train_state(small.asked(), 0)
    for report in reports:
        train_state.model.load_state_dict(report.best.weights)
        chosen = reports[report.best.epoch - 1]
        assert weights_hash(train_state.model.state_dict()) == chosen.line["weights_sha256"]


def test_numbers_that_are_not_finite_end_the_run(engine, small):
    reports, _ = trained(engine, job_of(small, optimizer={"name": "sgd", "lr": 1e30}))
    last = reports[-1]
    assert last.finished
    assert last.failure.startswith("non-finite: ")
    assert f"at epoch {len(reports)}" in last.failure
    assert not math.isfinite(last.line["metrics"]["train/loss"]) or not math.isfinite(
        last.line["metrics"]["val/loss"]
    )
    assert all(r.failure is None and not r.finished for r in reports[:-1])


def test_a_metric_that_is_not_defined_fails_nothing(engine, small):
    job = job_of(
        small,
        task="regression",
        data={"name": "slopes", "n": 10},
        loss="mse",
        split={"val_fraction": 0.1, "test_fraction": 0.1},
        select={"metric": "val/r2"},
    )
    reports, _ = trained(engine, job)
    assert [r.line["metrics"]["val/r2"] for r in reports] == [None] * 4
    assert reports[-1].failure is None
    assert reports[-1].best.epoch == 1


def test_the_last_epoch_of_a_number_of_updates_ends_at_that_update(engine, small):
    reports, _ = trained(engine, job_of(small, train={"updates": 4, "batch_size": 16}))
    assert len(reports) == 2
    whole, _ = trained(engine, job_of(small, train={"epochs": 2, "batch_size": 16}))
    assert lines(reports)[0] == lines(whole)[0]  # the first epoch is the same one
    assert lines(reports)[1]["order_sha256"] != lines(whole)[1]["order_sha256"]


FINAL = {"final_epoch": 3, "scheduler": "cosine", "train": {"epochs": 6, "batch_size": 16}}


def test_a_final_run_stops_inside_its_schedule_and_validates_nothing(engine, small):
    job = job_of(small, **FINAL)
    reports, states = trained(engine, job)
    assert [r.finished for r in reports] == [False, False, True]
    assert all({*r.line["metrics"]} == {"train/loss", "train/accuracy"} for r in reports)
    last = reports[-1]
    assert (last.best.epoch, last.best.outputs) == (3, None)
    assert weights_hash(last.best.weights) == last.line["weights_sha256"]
    # 51 of 60 examples: an update more than in the four of five folds.
    usual, _ = trained(engine, job_of(small, scheduler="cosine", train=FINAL["train"]))
    assert [r.line["lr"] for r in reports] == [r.line["lr"] for r in usual[:3]]
    rest, _ = trained(engine, job, state=states[0])
    assert lines(rest) == lines(reports)[1:]
    assert weights_hash(rest[-1].best.weights) == last.line["weights_sha256"]
    found = engine.evaluate(job, last.best.weights, "test")
    assert len(found.outputs) == 9
