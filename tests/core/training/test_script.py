"""A function as an experiment: what it must be, what it may yield, that it keeps to its seed."""

import json
import random

import numpy as np
import pytest
import torch

from paribus.core.config.experiment import load_experiment
from paribus.core.errors import RequestError
from paribus.core.records.run_dir import RunFolder
from paribus.core.training.engine import Job
from paribus.core.training.job import engine_of, resolver_of, train_job

SELECT = 'SELECT = {"metric": "val/score", "direction": "maximize"}\n'
LEARNS = f'''"""Does it learn?"""
import random

import numpy as np
import torch

from mine_too import seen as seen_too

seen = []


def train(lr=0.1, sizes=(2, 3), *, seed):
    for epoch in range(4):
        seen.append(epoch)
        seen_too.append(epoch)
        yield {{
            "val/score": torch.tensor([epoch % 3 * lr]),
            "val/draws": random.random() + np.random.rand() + torch.rand(()).item(),
            "val/before": np.int64(len(seen) + len(seen_too)),
            "val/seed": seed,
            "val/loss": float("nan"),
        }}


{SELECT}'''


def script(tmp_path, text=LEARNS):
    (tmp_path / "mine_too.py").write_text("seen = []\n")
    path = tmp_path / "mine.py"
    path.write_text(text)
    return resolver_of(load_experiment(path))


def function(body, head="lr=0.1, *, seed"):
    return f"def train({head}):\n    {body}\n\n\n{SELECT}"


def trained(resolver, folder, seed=0):
    """The last progress of a run, and its record."""
    run = resolver.specify(resolver.experiment.baseline, seed)
    (folder / run.id).mkdir()
    *_, last = train_job((run,), {run.id: folder / run.id}, 3600.0)
    return last, json.loads((folder / run.id / "run.json").read_text())


def lines(resolver, seed=0, between=lambda: None):
    run = resolver.specify(resolver.experiment.baseline, seed)
    found = []
    for (report,) in engine_of(run.engine).train(Job((run,), resolver), {}):
        found.append(report.line["metrics"])
        between()
    return found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train = 3\n" + SELECT, "mine.py:train is no generator: it yields no metrics. Such as"),
        (function("return 1"), "mine.py:train is no generator"),
        (function("yield {}", "lr=0.1"), "takes no 'seed' by keyword only. Write def train(..., *"),
        (function("yield {}", "seed, lr=0.1"), "takes no 'seed' by keyword only."),
        (function("yield {}", "lr, *, seed"), "the keyword 'lr' has no default. Give it the"),
        (function("yield {}", "lr=1, *, seed, **more"), "takes **more, which has no signature"),
        (function("yield {}", "lr=1, /, *, seed"), "takes 'lr' by position only."),
        (function("yield {}", "name=1, *, seed"), "'name' is the function's own."),
        (function("yield {}").replace(SELECT, ""), "SELECT does not say which metric chooses"),
        (function("yield {}") + "SELECT = 3\n", "SELECT does not say which metric chooses"),
        (function("yield {}") + "SELECT['way'] = 1\n", "no hyperparameter 'select.way'"),
        (function("yield {}") + "SELECT['direction'] = 'up'\n", "select.direction=up: must be"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_when_it_is_loaded(tmp_path, text, words):
    with pytest.raises(RequestError) as caught:
        script(tmp_path, text)
    assert words in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_all_faults_are_told_together(tmp_path):
    with pytest.raises(RequestError) as caught:
        script(tmp_path, function("yield {}", "lr, hidden=3").replace(SELECT, ""))
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("yield 3", "mine.py:train, epoch 1: 3 is not a dict of names to numbers."),
        ("yield {'val/loss': 1.0}", "epoch 1: 'val/score' is missing, which SELECT names."),
        ("yield {'val/score': 'high'}", "'val/score' is \"high\", not a number."),
        ("yield {'val/score': True}", "not a number"),
        ("yield {'val/score': [1, 2]}", "not a number"),
        ("import torch; yield {'val/score': torch.zeros(2)}", "is of shape [2], not a number"),
        ("yield {'val/score': 10**400}", "is larger than any float"),
        ("yield {'val/score': 1, 3: 4}", "3 is no name for a metric."),
        ("yield {'val/score': 1, 'epoch': 4}", '"epoch" is no name for a metric.'),
        ("yield {'val/score': float('inf')}", "non-finite: val/score is inf at epoch 1"),
        ("yield {'val/score': 1}; 1 / 0", "ZeroDivisionError: division by zero (mine.py, line 2)"),
        ("yield {'val/score': 1}; raise SystemExit(3)", "SystemExit: 3"),
        ("yield from ()", "mine.py:train yielded nothing."),
    ],
)
def test_what_goes_wrong_inside_is_the_failure_of_the_run(tmp_path, body, words):
    last, record = trained(script(tmp_path, function(body)), tmp_path)
    assert last.ended == record["status"] == "failed"
    assert words.replace('"', "'") in record["reason"].replace('"', "'")
    assert record["epochs"] == (body.startswith("yield {'val/score': 1};") or "inf" in body)


def test_a_finished_run_has_the_fields_of_any_other(tmp_path):
    last, record = trained(script(tmp_path), tmp_path, seed=7)
    assert last.ended == record["status"] == "complete"
    assert record["epochs"] == 4
    assert record["best"]["epoch"] == 3  # the earliest of the best
    assert record["best"]["metrics"]["val/score"] == pytest.approx(0.2)
    assert record["last"]["metrics"]["val/seed"] == 7
    assert record["last"]["metrics"]["val/loss"] is None
    assert record["configuration"]["script"] == {
        "name": "mine.py:train", "lr": 0.1, "sizes": [2, 3],
    }  # fmt: skip
    assert (record["data"]["fingerprint"], record["weights_sha256"]) == (None, None)
    files = {path.name for path in (tmp_path / record["run"]).iterdir()}
    assert files == {"run.json", "history.jsonl", "source", "manifest.json"}
    with pytest.raises(RequestError, match="keeps its weights to itself"):
        RunFolder(tmp_path / record["run"]).weights()


def test_names_of_metrics_may_be_members_of_an_enum(tmp_path):
    body = "\n    ".join((
        "from enum import Enum, StrEnum",
        "Metric = StrEnum('Metric', {'SCORE': 'val/score'})",
        "Mixed = Enum('Mixed', {'LOSS': 'val/loss'}, type=str)",
        "yield {Metric.SCORE: 0.5, Mixed.LOSS: 1}",
    ))  # fmt: skip
    resolver = script(tmp_path, function(body))
    assert [[(type(k), k) for k in line] for line in lines(resolver)] == [
        [(str, "val/score"), (str, "val/loss")]
    ]
    last, record = trained(resolver, tmp_path)
    assert last.ended == "complete"
    assert record["best"]["metrics"] == {"val/score": 0.5, "val/loss": 1.0}


def test_a_stopped_run_leaves_nothing_to_go_on_from(tmp_path):
    resolver = script(tmp_path)
    run = resolver.specify(resolver.experiment.baseline, 0)
    progress = train_job((run,), {run.id: tmp_path}, 0.0)
    assert next(progress).line["epoch"] == 1
    progress.close()
    assert not list(tmp_path.glob("last*.pt"))


def test_global_generators_are_seeded_and_nobody_elses_draws_reach_them(tmp_path):
    resolver = script(tmp_path)

    def draw():
        random.random(), np.random.rand(), torch.rand(())

    before = torch.get_rng_state()
    undisturbed = [line["val/draws"] for line in lines(resolver)]
    assert torch.equal(torch.get_rng_state(), before)
    assert [line["val/draws"] for line in lines(resolver, between=draw)] == undisturbed
    assert [line["val/draws"] for line in lines(resolver, seed=1)] != undisturbed
    assert len(set(undisturbed)) == 4


def test_a_run_finds_nothing_that_an_earlier_one_left_in_its_modules(tmp_path):
    resolver = script(tmp_path)
    for _ in range(2):
        assert [line["val/before"] for line in lines(resolver)] == [2, 4, 6, 8]


def test_ids_follow_from_keywords_seed_and_source(tmp_path):
    resolver = script(tmp_path)
    ids = {resolver.specify(resolver.experiment.baseline, seed).id for seed in (0, 1, 0)}
    other = script(tmp_path, LEARNS.replace("epoch % 3", "epoch % 2"))
    ids.add(other.specify(other.experiment.baseline, 0).id)
    comment = script(tmp_path, LEARNS.replace("seen = []", "seen = []  # so far"))
    ids.add(comment.specify(comment.experiment.baseline, 0).id)
    assert len(ids) == 3


def test_only_its_own_engine_trains_it(tmp_path):
    resolver = script(tmp_path)
    with pytest.raises(RequestError, match="'loop' does not train this experiment"):
        resolver.specify(resolver.experiment.baseline, 0, "loop")
