"""Every optimizer and scheduler of torch: trained with, stepped as documented, resumed."""

import inspect
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer, lr_scheduler

from paribus.core.components.optim import LinearWarmup
from paribus.core.config.registry import NAMES, resolve_component
from paribus.core.errors import RequestError
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

# An optimizer that notes what each update begins with, and a model with sparse gradients.
NOTES = """
from torch.optim import SGD

RATES = []
NORMS = []


class Noting(SGD):
    def __init__(self, params, lr: float = 0.1, momentum: float = 0.0):
        super().__init__(params, lr=lr, momentum=momentum)

    def step(self, closure=None):
        (group,) = self.param_groups
        RATES.append(group["lr"])
        NORMS.append(torch.cat([p.grad.flatten() for p in group["params"]]).norm().item())
        return super().step(closure)


def phrases(n: int = 40):
    return [("good " if k % 2 else "bad ") + "film " * (k % 3 + 1) for k in range(n)], \\
        [k % 2 for k in range(n)]


class Sparse(nn.Module):
    def __init__(self, vocab_size: int, num_classes: int):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab_size, num_classes, sparse=True, padding_idx=0)

    def forward(self, x):
        return self.bag(x)
"""
# 42 training examples: three updates of 16 an epoch.
TRAIN = {"epochs": 4, "batch_size": 16}
ODD = {  # what an optimizer needs of the model
    "muon": {"model": {"name": "torch.nn.Linear", "bias": False}},
    "sparse_adam": {"model": "Sparse", "data": "phrases"},
}
SCHEDULERS = {
    "constant": {},
    "cosine": {},
    "step": {"step_size": 2, "gamma": 0.5},
    "one_cycle": {"max_lr": 0.3},
    "plateau": {"patience": 0, "threshold": 0.5},
    "linear_warmup": {"fraction": 0.4, "decay": "cosine"},
    "torch.optim.lr_scheduler.ConstantLR": {"total_iters": 2},
    "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts": {"T_0": 2},
    "torch.optim.lr_scheduler.CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2},
    "torch.optim.lr_scheduler.ExponentialLR": {"gamma": 0.7},
    "torch.optim.lr_scheduler.LinearLR": {"total_iters": 3},
    "torch.optim.lr_scheduler.MultiStepLR": {"milestones": [1, 3]},
    "torch.optim.lr_scheduler.PolynomialLR": {"total_iters": 4},
}
AFTER_UPDATES = ("one_cycle", "linear_warmup", "torch.optim.lr_scheduler.CyclicLR")


def trained(small, state=None, **changes):
    """Reports of a run, and the resume state after each as a file would hold it."""
    run = small.run(**changes)
    small.experiment.objects.get("RATES", []).clear()  # of the trial
    small.experiment.objects.get("NORMS", []).clear()
    states = {} if state is None else {run.id: torch.load(io.BytesIO(state))}
    reports, saved = [], []
    for (report,) in Loop().train(Job((run,), small.resolver), states):
        reports.append(report)
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
        saved.append(buffer.getvalue())
    return reports, saved


def lines(reports):
    return [{k: v for k, v in r.line.items() if k != "seconds"} for r in reports]


def resumes(small, reports, saved, **changes):
    again, _ = trained(small, saved[0], **changes)
    return lines(again) == lines(reports)[1:]


def test_all_of_torch_have_a_short_name(small):
    mine = {
        resolve_component("optimizer", n, small.experiment).function for n in NAMES["optimizer"]
    }
    theirs = {kind for kind in vars(torch.optim).values() if inspect.isclass(kind)}
    assert mine == {kind for kind in theirs if issubclass(kind, Optimizer)} - {Optimizer}


@pytest.mark.parametrize("name", NAMES["optimizer"])
def test_it_trains_and_resumes_to_the_same_bits(write_small, name):
    small = write_small(NOTES)
    changes = ODD.get(name, {}) | {"optimizer": name, "train": TRAIN | {"epochs": 3}}
    reports, saved = trained(small, **changes)
    losses = [r.line["metrics"]["train/loss"] for r in reports]
    assert all(map(math.isfinite, losses))
    assert len({r.line["weights_sha256"] for r in reports}) == 3
    assert resumes(small, reports, saved, **changes)
    dotted = NAMES["optimizer"][name]
    (first, *_), _ = trained(small, **changes | {"optimizer": dotted})
    assert first.line["weights_sha256"] == reports[0].line["weights_sha256"]


def test_lbfgs_is_torch_s_own_with_a_closure(small):
    """One full batch, by hand: the search evaluates the loss as often as it likes."""
    changes = {
        "model": "linear", "optimizer": {"name": "lbfgs", "max_iter": 5},
        "train": {"epochs": 1, "batch_size": 100},
    }  # fmt: skip
    (report,), _ = trained(small, **changes)
    train_state = small.resolver.train_state(small.asked(**changes), 0)
    inputs, targets = train_state.data.train.inputs_of(100)
    hand = torch.optim.LBFGS(train_state.model.parameters(), max_iter=5)
    losses = []

    def closure():
        hand.zero_grad()
        loss = torch.nn.functional.cross_entropy(train_state.model(inputs), targets)
        loss.backward()
        losses.append(loss.item())
        return loss

    hand.step(closure)
    assert len(losses) > 1
    assert report.line["metrics"]["train/loss"] == pytest.approx(losses[0], abs=1e-6)
    validated = torch.nn.functional.cross_entropy(
        train_state.model(train_state.data.val.inputs), train_state.data.val.targets
    )
    assert report.line["metrics"]["val/loss"] == pytest.approx(validated.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("muon", "optimizer muon cannot be made: ValueError: Muon only supports 2D parameters"),
        ("sparse_adam", "optimizer sparse_adam cannot update model mlp: RuntimeError: SparseAdam"),
    ],
)
def test_one_that_is_for_other_models_is_refused_before_training(small, name, words):
    with pytest.raises(RequestError) as caught:
        small.run(optimizer=name)
    assert str(caught.value).startswith(words)


IN_PLACE = """
class InPlace(Net):
    def forward(self, x):
        x = self.body(x).exp()
        return self.head(x) + x.mul_(2).sum()
"""


def test_a_model_without_a_gradient_is_refused_before_training(write_small):
    with pytest.raises(RequestError) as caught:
        write_small(IN_PLACE).run(model="InPlace")
    assert str(caught.value).startswith(
        "model small.py:InPlace cannot be trained: RuntimeError: one of the"
    )


def by_torch(name, keywords, validated):
    """The rate of each of 12 updates, by the scheduler as its documentation has it stepped."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    component = NAMES["scheduler"].get(name, name)
    follows = {"one_cycle": {"total_steps": 12}, "cosine": {"T_max": 4}}.get(name, {})
    scheduler = getattr(lr_scheduler, component.rpartition(".")[2])(
        optimizer, **follows, **keywords
    )
    rates = []
    for epoch in range(4):
        for _ in range(3):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if name in AFTER_UPDATES:
                scheduler.step()
        if name == "plateau":
            scheduler.step(validated[epoch])
        elif name not in AFTER_UPDATES:
            scheduler.step()
    return rates


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_rate_of_each_update_is_torch_s_and_resumes(write_small, name):
    small = write_small(NOTES)
    keywords = SCHEDULERS[name]
    changes = {
        "optimizer": "Noting", "scheduler": {"name": name, **keywords}, "train": TRAIN,
    }  # fmt: skip
    reports, saved = trained(small, **changes)
    rates = list(small.experiment.objects["RATES"])
    validated = [r.line["metrics"]["val/loss"] for r in reports]
    if name == "constant":
        assert rates == [0.1] * 12
    elif name == "linear_warmup":
        rising = [0.1 * (k + 1) / 5 for k in range(5)]
        falling = [0.05 * (1 + math.cos(math.pi * k / 7)) for k in range(7)]
        assert rates == pytest.approx(rising + falling)
    else:
        assert rates == pytest.approx(by_torch(name, keywords, validated))
        assert len(set(rates)) > 1
    assert resumes(small, reports, saved, **changes)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 200),
    st.floats(0.01, 1),
    st.sampled_from(["none", "linear", "cosine"]),
)
def test_warm_up_rises_to_the_rate_and_only_then_falls(steps, fraction, decay):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = LinearWarmup(optimizer, steps, fraction, decay)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    top = max(1, round(fraction * steps)) - 1
    assert rates[top] == 0.5
    assert rates[: top + 1] == pytest.approx([0.5 * (k + 1) / (top + 1) for k in range(top + 1)])
    after = rates[top:]
    assert after == sorted(after, reverse=True)
    assert after[-1] > 0
    assert (len(set(after)) == 1) is (decay == "none" or len(after) <= 2)


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("torch.optim.lr_scheduler.LambdaLR", "lr_lambda"),
        ("torch.optim.lr_scheduler.SequentialLR", "schedulers"),
        ({"name": "step", "step_size": 0}, "scheduler step cannot step: ZeroDivisionError"),
        ({"name": "linear_warmup", "fraction": 0}, "scheduler.fraction=0"),
        ({"name": "linear_warmup", "decay": "exponential"}, "scheduler.decay=exponential"),
    ],
)
def test_schedulers_that_cannot_be_made(small, scheduler, words):
    with pytest.raises(RequestError) as caught:
        small.run(scheduler=scheduler)
    assert words in str(caught.value)


# ---------------------------------------------------- clipping, patience, device


def norms(small, **train):
    trained(small, optimizer="Noting", train={"epochs": 2, "batch_size": 16} | train)
    return list(small.experiment.objects["NORMS"])


def test_gradients_are_clipped_by_their_norm_before_the_update(write_small):
    small = write_small(NOTES)
    free = norms(small)
    half = free[0] / 2
    assert norms(small, clip_grad_norm=half)[0] == pytest.approx(half, rel=1e-4)
    assert max(norms(small, clip_grad_norm=half)) <= half * (1 + 1e-6)
    assert norms(small, clip_grad_norm=2 * max(free)) == free


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_epochs_without_a_better_one(small, patience):
    changes = {
        "optimizer": {"name": "sgd", "lr": 0.0},  # so the first epoch stays the best
        "train": {"epochs": 9, "batch_size": 16, "patience": patience},
    }
    reports, saved = trained(small, **changes)
    assert [r.finished for r in reports] == [False] * patience + [True]
    assert reports[-1].failure is None
    assert reports[-1].best.epoch == 1
    assert resumes(small, reports, saved, **changes)


def test_patience_that_never_ends_changes_nothing(small):
    plain, _ = trained(small)
    patient, _ = trained(small, train={"epochs": 4, "batch_size": 16, "patience": 4})
    assert lines(plain) == lines(patient)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"clip_grad_norm": 0}, "train.clip_grad_norm=0"),
        ({"clip_grad_norm": -1.0}, "train.clip_grad_norm=-1.0"),
        ({"patience": 0}, "train.patience=0"),
        ({"updates": 0, "epochs": None}, "train.updates=0"),
    ],
)
def test_limits_of_training_that_make_no_sense(small, train, words):
    with pytest.raises(RequestError) as caught:
        small.run(train=TRAIN | train)
    assert words in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(small):
    with pytest.raises(RequestError, match=r"^device=cuda: there is no CUDA device here\."):
        small.run(device="cuda")
    assert small.resolved(device="auto")["device"] == "cpu"


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({"name": "one_cycle", "total_steps": 10}, "ends after 10 updates, and training takes 12"),
        ({"name": "one_cycle", "epochs": 1, "steps_per_epoch": 5}, "ends after 5 updates"),
        ({"name": "plateau", "mode": "max"}, "the validation loss, of which less is better"),
    ],
)
def test_a_schedule_that_does_not_fit_the_training_is_refused(small, scheduler, words):
    with pytest.raises(RequestError, match=words):
        small.run(scheduler=scheduler)


def test_what_fails_with_the_last_batch_is_refused_before_training(small):
    """60 examples: 42 for training, so one is left over; batch normalization needs two."""
    with pytest.raises(RequestError, match=r"training's last batch has.*more than 1 value"):
        small.run(model="Net", train={"epochs": 1, "batch_size": 41})
