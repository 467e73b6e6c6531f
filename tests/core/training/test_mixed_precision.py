"""Precision, accumulation and averaged weights: against loops by hand, resumed to the same bits."""

import io

import pytest
import torch
from jobs import lines_of, reports_and_states
from torch import nn

from paribus.core.components.models import load_weights
from paribus.core.errors import RequestError
from paribus.core.rng import epoch_order
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop
from paribus.core.training.train_state import make_architecture

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
TRAIN = {"epochs": 3, "batch_size": 16}


def trained(small, state=None, train=None, **changes):
    run = small.run(**{"optimizer": SGD, "model": "Net", "train": TRAIN | (train or {}), **changes})
    return reports_and_states(small.resolver, run, state)


def begun(small, **train):
    """Model, inputs, targets and the order of each epoch, of the run of seed 0 at its start."""
    asked = small.asked(optimizer=SGD, model="Net", train=TRAIN | train)
    train_state = small.resolver.train_state(asked, 0)
    x, y = train_state.data.train.inputs_of(10**6)
    return train_state.model, x, y, [epoch_order(0, epoch, len(x)) for epoch in (1, 2, 3)]


@pytest.mark.parametrize(
    "train",
    [
        {"precision": "bf16"},
        {"precision": "fp16", "clip_grad_norm": 0.5},
        {"accumulate": 2},
        {"ema": 0.9},
        {"precision": "bf16", "accumulate": 2, "ema": 0.9},
    ],
    ids=str,
)
def test_it_has_the_same_bits_twice_and_when_it_is_resumed(small, train):
    reports, saved = trained(small, train=train)
    again, _ = trained(small, train=train)
    assert lines_of(again) == lines_of(reports)
    resumed, _ = trained(small, saved[0], train=train)
    assert lines_of(resumed) == lines_of(reports)[1:]
    plain, _ = trained(small)
    assert plain[-1].line["weights_sha256"] != reports[-1].line["weights_sha256"]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_half_precision_is_torch_s_autocast_and_scaler(small, precision, dtype):
    reports, _ = trained(small, train={"precision": precision})
    model, x, y, orders = begun(small)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    model.train()
    for order in orders:
        for rows in order.split(16):
            with torch.autocast("cpu", dtype):
                outputs = model(x[rows])
            assert outputs.dtype == dtype
            loss = nn.functional.cross_entropy(outputs.float(), y[rows])
            sgd.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()
    last = reports[-1].state()["model"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, last[name]), name
    assert all(tensor.dtype != dtype for tensor in reports[-1].best.weights.values())


def test_validation_is_measured_in_the_run_s_precision(small):
    (run,) = Job(
        (small.run(model="Net", train=TRAIN | {"precision": "bf16"}),), small.resolver
    ).runs
    job = Job((run,), small.resolver)
    *_, (report,) = Loop().train(job, {})
    found = Loop().evaluate(job, report.best.weights, "val")
    recorded = report.best.metrics
    assert {f"val/{k}": v for k, v in found.metrics.items()}.items() <= recorded.items()
    assert found.outputs.dtype == torch.float32
    assert torch.equal(found.outputs, report.best.outputs)
    plain = Job((small.run(model="Net", train=TRAIN),), small.resolver)
    other = Loop().evaluate(plain, report.best.weights, "val")
    assert not torch.equal(other.outputs, found.outputs)


def test_fp16_and_an_optimizer_that_evaluates_the_loss_itself_are_refused(small):
    with pytest.raises(RequestError, match=r"lbfgs cannot update .* GradScaler"):
        small.run(optimizer="lbfgs", train=TRAIN | {"precision": "fp16"})


LBFGS = {"name": "lbfgs", "max_iter": 2, "lr": 0.1}  # evaluates the loss of an update twice


@pytest.mark.parametrize("optimizer", [SGD, LBFGS], ids=["sgd", "lbfgs"])
def test_four_batches_of_16_are_one_of_64(small, optimizer):
    """105 examples: the last update of an epoch is made with 41 of them, in batches of 16 and 9."""
    waves = {"data": {"name": "waves", "n": 150}, "model": "mlp", "optimizer": optimizer}
    waves["scheduler"] = "linear_warmup"
    whole, one = trained(small, train={"batch_size": 64}, **waves)
    parts, other = trained(small, train={"accumulate": 4}, **waves)
    for name, value in torch.load(io.BytesIO(one[-1]))["model"].items():
        torch.testing.assert_close(
            torch.load(io.BytesIO(other[-1]))["model"][name], value, rtol=0, atol=1e-6
        )
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours.line["lr"] == theirs.line["lr"]
        assert ours.line["metrics"] == pytest.approx(theirs.line["metrics"], abs=1e-5)
    facts = small.run(train=TRAIN | {"accumulate": 4}, **waves).facts
    assert (facts["updates_per_epoch"], facts["updates"]) == (2, 6)


def test_a_number_of_updates_counts_accumulated_ones(small):
    """42 examples: two updates an epoch, of 32 and 10, so the third is the last."""
    train = {"epochs": None, "updates": 3, "accumulate": 2}
    reports, _ = trained(small, train=train)
    assert [report.line["epoch"] for report in reports] == [1, 2]
    whole, other = trained(small, train=train | {"batch_size": 32, "accumulate": 1}, model="mlp")
    parts, one = trained(small, train=train, model="mlp")
    mine, theirs = (torch.load(io.BytesIO(s[-1]))["model"] for s in (one, other))
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-6)
    assert parts[-1].line["order_sha256"] == whole[-1].line["order_sha256"]


def test_averaged_weights_are_those_of_the_formula(small):
    reports, _ = trained(small, train={"ema": 0.9})
    model, x, y, orders = begun(small)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    average = None
    for order in orders:
        for rows in order.split(16):
            sgd.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            sgd.step()
            now = {name: p.detach().clone() for name, p in model.named_parameters()}
            average = {n: 0.9 * a + 0.1 * now[n] for n, a in (average or now).items()}
    state = reports[-1].state()
    model.load_state_dict(average, strict=False)  # the buffers are those after the last update
    found = reports[-1].best.weights
    assert reports[-1].best.epoch == 3
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    for place, value in enumerate(now.values()):  # while it is evaluated, kept in its place
        assert torch.equal(state["ema"][f"module.{place}"], value)
    val = small.resolver.data(small.asked(), 0).val
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model.eval()(val.inputs), val.targets).item()
    assert reports[-1].line["metrics"]["val/loss"] == pytest.approx(loss, rel=1e-5)


CLOSED = """

class Closed(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.layer = layer = nn.Linear(in_features, num_classes)
        self.twin = nn.Parameter(layer.bias.detach())  # in the same memory
        self.forward = lambda x: layer(x) + (x.mean() if self.training else 0)


def compiled(in_features: int, num_classes: int):
    return torch.compile(nn.Linear(in_features, num_classes), backend="eager")


def scripted(in_features: int, num_classes: int):
    return torch.jit.script(nn.Linear(in_features, num_classes))
"""


@pytest.mark.parametrize("train", [{"ema": 0.99}, {"ema": 0.9, "precision": "bf16"}], ids=str)
def test_the_weights_that_are_validated_are_those_that_are_saved(write_small, train):
    small = write_small(CLOSED)
    run = small.run(model="Closed", optimizer=SGD, train=TRAIN | train)
    reports, saved = reports_and_states(small.resolver, run)
    best = reports[-1].best
    found = Loop().evaluate(Job((run,), small.resolver), best.weights, "val")
    assert found.metrics["loss"] == best.metrics["val/loss"]
    assert torch.equal(found.outputs, best.outputs)
    resumed, _ = reports_and_states(small.resolver, run, saved[0])
    assert lines_of(resumed) == lines_of(reports)[1:]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["Closed", "compiled", "scripted"])
def test_a_model_that_is_no_plain_module_is_trained_and_evaluated(write_small, model, precision):
    small = write_small(CLOSED)
    run = small.run(model=model, optimizer=SGD, train=TRAIN | {"precision": precision})
    reports, _ = reports_and_states(small.resolver, run)
    best = reports[-1].best
    found = Loop().evaluate(Job((run,), small.resolver), best.weights, "val")
    assert torch.equal(found.outputs, best.outputs)
    _, call = make_architecture(run.configuration, small.experiment)
    load_weights(call.model, best.weights, "run")
    val = small.resolver.data(run.requested, 0).val
    with torch.no_grad():
        answers = call.attached().eval()(val.inputs)
    assert torch.equal(answers, best.outputs)


def test_idle_values_leave_records_as_they_were(small):
    plain = small.run(train=TRAIN)
    idle = small.run(train=TRAIN | {"precision": "fp32", "accumulate": 1, "ema": None})
    assert idle.id == plain.id
    assert not {"precision", "accumulate", "ema"} & plain.configuration["train"].keys()
    assert plain.engine == "cohort"
    for key, value in (("precision", "bf16"), ("accumulate", 2), ("ema", 0.9)):
        run = small.run(train=TRAIN | {key: value})
        assert run.id != plain.id
        assert run.engine == "loop"
        why = small.resolver.summary(run.requested, "auto")["why_no_cohort"]
        assert why == f"it is trained with train.{key}={value}"


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"precision": "tf32"}, "train.precision=tf32: must be bf16, fp16 or fp32"),
        ({"accumulate": 0}, "train.accumulate=0: must be a whole number of at least 1"),
        ({"ema": 1.0}, "train.ema=1.0: must be a number above 0 and below 1 or none"),
    ],
)
def test_values_that_make_no_sense_are_refused(small, train, words):
    with pytest.raises(RequestError) as caught:
        small.run(train=TRAIN | train)
    assert words in str(caught.value)
