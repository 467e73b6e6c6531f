"""Modules that are no chain, as members of a cohort: their own numbers, their own bits."""

import io

import pytest
import torch
from test_program import bits

from paribus.core.errors import RequestError
from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

NETS = """
import numpy as np


class Normed(nn.Module):
    def __init__(self, in_features: int, out_features: int, hidden: int = 9, p: float = 0.0):
        super().__init__()
        self.a, self.b = nn.Linear(in_features, hidden), nn.Linear(hidden, out_features)
        self.norm, self.drop = nn.BatchNorm1d(hidden), nn.Dropout(p)

    def forward(self, x):
        return self.b(self.drop(torch.relu(self.norm(self.a(x.flatten(1))))))


class Residual(Normed):
    def __init__(self, in_features: int, out_features: int, p: float = 0.0):
        super().__init__(in_features, out_features, 10, p)
        self.norm, self.c = nn.LayerNorm(10), nn.Linear(10, 10)

    def forward(self, x):
        x = self.a(x.flatten(1))
        return self.b(x + self.drop(nn.functional.silu(self.c(self.norm(x)))))


class Encoder(nn.Module):
    def __init__(self, out_features: int, p: float = 0.0):
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.layer.dropout1.p = self.layer.dropout2.p = p
        self.output = nn.Linear(8, out_features)

    def forward(self, x):
        return self.output(self.layer(self.words(x)).mean(1))


def words():
    x = np.random.default_rng(0).integers(0, 11, (60, 5))
    return x, x[:, 0] % 3


def repeated(in_features: int, out_features: int, times: int = 1, most: float = 9.0) -> nn.Module:
    class Repeated(Residual):
        def forward(self, x):
            x = self.a(x.flatten(1))
            for _ in range(times):
                x = x + self.c(self.norm(x))
            return self.b(x.clamp(max=most))

    return Repeated(in_features, out_features)


class Mixing(Residual):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Drawing(Residual):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


class Counting(Residual):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Keeping(Residual):
    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.noise = torch.randn(10)


class Convolved(nn.Module):
    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.conv, self.out = nn.Conv1d(1, 2, 1), nn.Linear(2 * in_features, out_features)

    def forward(self, x):
        return self.out(self.conv(x.flatten(1).unsqueeze(1)).flatten(1))
"""
MODELS = {
    "batch norm": {"model": {"name": "Normed", "p": 0.3}},
    "residual": {"model": {"name": "Residual", "p": 0.3}},
    "encoder": {"model": {"name": "Encoder", "p": 0.3}, "data": "words"},
}


def runs_of(small, kind, seeds, **change):
    change = {"optimizer": {"name": "adam", "lr": 0.01}} | MODELS[kind] | change
    return [small.resolver.specify(small.asked(**change), seed, "cohort") for seed in seeds]


@pytest.fixture
def nets(write_small):
    return write_small(NETS)


@pytest.mark.parametrize("model", MODELS)
def test_bits_do_not_depend_on_the_other_members(model, nets):
    other = {"optimizer": {"name": "adam", "lr": 0.1}}
    runs = runs_of(nets, model, range(3)) + runs_of(nets, model, range(4), **other)
    assert {run.engine for run in runs} == {"cohort"}
    assert len({run.group for run in runs}) == 1
    together = bits(nets, runs)
    for run in (runs[0], runs[-1]):
        assert bits(nets, [run])[run.id] == together[run.id]
        assert bits(nets, [runs[4], run, runs[2]])[run.id] == together[run.id]


@pytest.mark.parametrize("other", [{"times": 3}, {"most": 8.0}])
def test_equal_layers_in_another_forward_are_another_program(other, nets):
    """Found: what a forward has from its surroundings was no part of what was compared."""
    models = [{"name": "repeated"}, {"name": "repeated", **other}]
    runs = [run for model in models for run in runs_of(nets, "residual", [0], model=model)]
    assert len({run.group for run in runs}) == 2
    together = bits(nets, runs)
    assert [together[run.id] for run in runs] == [bits(nets, [run])[run.id] for run in runs]
    if "times" in other:
        assert len({str(epochs) for epochs in together.values()}) == 2


@pytest.mark.parametrize("model", MODELS)
def test_it_computes_what_the_loop_computes(model, nets):
    """Without dropout, whose masks are those of a cohort; sums are made in another order.

    Not by Adam, which blows up a gradient that is zero but for rounding: of a bias before a norm.
    """
    name, sgd = MODELS[model]["model"]["name"], {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    train = {"epochs": 2, "batch_size": 19}
    (run,) = runs_of(nets, model, [1], model=name, train=train, optimizer=sgd)
    found = []
    for engine in (Loop, Cohort):
        *_, (last,) = engine().train(Job((run,), nets.resolver), {})
        found.append(last)
    ours, theirs = (report.line["metrics"] for report in found)
    assert ours == pytest.approx(theirs, rel=1e-3)
    for name, tensor in found[0].best.weights.items():
        torch.testing.assert_close(found[1].best.weights[name], tensor, rtol=1e-3, atol=1e-5)


def test_members_of_other_rates_of_dropout_are_of_one_program(nets):
    runs = [
        *runs_of(nets, "batch norm", range(2)),
        *runs_of(nets, "batch norm", range(2), model={"name": "Normed", "p": 0.0}),
    ]
    assert len({run.group for run in runs}) == 1
    together = bits(nets, runs)
    assert len({str(epochs) for epochs in together.values()}) == 4
    for run in runs:
        assert bits(nets, [run])[run.id] == together[run.id]


def test_it_resumes_in_other_company(nets):
    runs = runs_of(nets, "batch norm", range(3))
    whole = bits(nets, runs)
    (report,) = next(iter(Cohort().train(Job(tuple(runs[:1]), nets.resolver), {})))
    buffer = io.BytesIO()
    torch.save(report.state(), buffer)
    state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    seen = []
    for reports in Cohort().train(Job(tuple(runs), nets.resolver), {runs[0].id: state}):
        seen += [r.line["weights_sha256"] for r in reports if r.run == runs[0].id]
    assert seen == [line["weights_sha256"] for line, _ in whole[runs[0].id][1:]]


def test_evaluating_a_member_gives_its_record(nets):
    runs = runs_of(nets, "batch norm", range(3))
    best = {}
    for reports in Cohort().train(Job(tuple(runs), nets.resolver), {}):
        best |= {report.run: report.best for report in reports}
    found = Cohort().evaluate(Job((runs[1],), nets.resolver), best[runs[1].id].weights, "val")
    assert torch.equal(found.outputs, best[runs[1].id].outputs)
    assert "norm.num_batches_tracked" in best[runs[1].id].weights


def test_only_on_request(nets):
    run, (asked,) = nets.run(**MODELS["batch norm"]), runs_of(nets, "batch norm", [0])
    assert (run.engine, asked.engine) == ("loop", "cohort")
    assert run.group is None
    assert run.id != asked.id


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("Mixing", "batched, it does not compute what it computes alone"),
        ("Drawing", "its forward draws at random"),
        ("Counting", "its forward changes the module"),
        ("Keeping", "keeps noise, which is no buffer"),
        ("Convolved", "conv is a convolution"),
        ({"name": "Normed", "hidden": 1}, "has a side of 1"),
    ],
    ids=str,
)
def test_what_cannot_be_batched_says_why(model, why, nets):
    with pytest.raises(RequestError, match=why):
        nets.resolver.specify(nets.asked(model=model), 0, "cohort")
