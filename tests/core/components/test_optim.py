"""Every optimizer and scheduler of torch: trained with, stepped as documented, resumed."""

import inspect
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import lines_of, reports_and_states
from torch.optim import SGD, Optimizer, lr_scheduler

from paribus.core.components.optim import LinearWarmup
from paribus.core.config.registry import NAMES, resolve_component
from paribus.core.errors import RequestError

# An optimizer that notes what each update begins with.
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
    run = small.run(**changes)
    small.experiment.objects.get("RATES", []).clear()  # of the trial
    small.experiment.objects.get("NORMS", []).clear()
    return reports_and_states(small.resolver, run, state)


def resumes(small, reports, saved, **changes):
    again, _ = trained(small, saved[0], **changes)
    return lines_of(again) == lines_of(reports)[1:]


def test_all_of_torch_have_a_short_name(small):
    mine = {
        resolve_component("optimizer", n, small.experiment).function for n in NAMES["optimizer"]
    }
    theirs = {kind for kind in vars(torch.optim).values() if inspect.isclass(kind)}
    assert mine == {kind for kind in theirs if issubclass(kind, Optimizer)} - {Optimizer}


@pytest.mark.parametrize("name", NAMES["optimizer"])
def test_it_trains_and_resumes_to_the_same_bits(write_small, name):
    small = write_small(OPTIMIZERS)
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


# ------------------------------------------- when a schedule steps, and what it does

FACTORIES = (
    NOTES
    + """
from torch.optim.lr_scheduler import (
    ChainedScheduler, CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, SequentialLR,
    StepLR,
)


def cycle(optimizer, epochs, steps_per_epoch):
    return OneCycleLR(optimizer, 0.1, epochs=epochs, steps_per_epoch=steps_per_epoch)


class Cycle(OneCycleLR):
    def __init__(self, optimizer, num_training_steps: int = 12):
        super().__init__(optimizer, max_lr=0.1, total_steps=num_training_steps)


def cycles(optimizer):
    return ChainedScheduler([Cycle(optimizer)], optimizer=optimizer)


def halved(optimizer):
    return StepLR(optimizer, 1, gamma=0.5)


def worse(optimizer):
    return ReduceLROnPlateau(optimizer, patience=0, threshold=0.9, factor=0.5)


def line(optimizer, num_training_steps: int = 12):
    return LambdaLR(optimizer, lambda update: 1 - update / num_training_steps)


class Warm(LambdaLR):
    def __init__(self, optimizer, warmup_steps: int = 4):
        super().__init__(optimizer, lambda update: min(1.0, (update + 1) / warmup_steps))


class Says(Warm):
    interval = "update"


def turned(optimizer, total_steps):
    return CosineAnnealingLR(optimizer, T_max=total_steps)


def both(optimizer):
    return SequentialLR(optimizer, [Warm(optimizer), halved(optimizer)], [2])


def nothing(optimizer):
    pass


class Counts(StepLR):
    def step(self, number):
        super().step()


def odd(optimizer):
    return Counts(optimizer, 1)


def named(optimizer, interval: int = 3):
    return halved(optimizer)
"""
)


def rates_of(small, scheduler, **changes):
    reports, _ = trained(
        small, **{"optimizer": "Noting", "train": TRAIN} | changes, scheduler=scheduler
    )
    return list(small.experiment.objects["RATES"]), [r.line["lr"] for r in reports]


ONE_CYCLE = [  # the rate of each of 12 updates, by torch
    *by_torch("one_cycle", {"max_lr": 0.1}, []),
]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("cycle", ONE_CYCLE),
        ("Cycle", ONE_CYCLE),
        ("cycles", ONE_CYCLE),
        ("Says", [0.025, 0.05, 0.075] + [0.1] * 9),
        ("halved", [0.1 / 2**epoch for epoch in range(4) for _ in range(3)]),
        ("worse", [0.1] * 6 + [0.05] * 3 + [0.025] * 3),
        ({"name": "line", "interval": "update"}, [0.1 * (1 - k / 12) for k in range(12)]),
        ({"name": "Warm", "interval": "epoch"}, [0.025 * (k + 1) for k in range(4) for _ in "abc"]),
        (
            {"name": "cosine", "interval": "update"},
            [0.05 * (1 + math.cos(math.pi * k / 12)) for k in range(12)],
        ),
    ],
)
def test_a_schedule_steps_after_what_the_object_or_the_configuration_says(
    write_small, scheduler, expected
):
    rates, recorded = rates_of(write_small(FACTORIES), scheduler)
    assert rates == pytest.approx(expected)
    assert recorded == [rates[k] for k in (2, 5, 8, 11)]  # of each epoch's last update


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [
        ("line", "LambdaLR"),
        ("Warm", "Warm"),
        ("turned", "CosineAnnealingLR"),
        ("both", "SequentialLR"),
    ],
)
def test_a_schedule_that_does_not_say_what_it_counts_is_asked_about(write_small, scheduler, kind):
    with pytest.raises(RequestError) as caught:
        write_small(FACTORIES).run(scheduler=scheduler)
    assert str(caught.value).startswith(
        f"scheduler small.py:{scheduler} ({kind}) does not say whether it counts updates or "
        "epochs. Write scheduler.interval=update, or scheduler.interval=epoch"
    )


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({"name": "worse", "interval": "update"}, "takes the validation loss when it steps"),
        ({"name": "step", "step_size": 1, "interval": "validation"}, "takes no validation loss"),
        ({"name": "cosine", "interval": "step"}, "scheduler.interval=step"),
        ("nothing", "scheduler small.py:nothing returned None, not a torch.optim.lr_scheduler"),
        ("odd", "TypeError: Counts.step() missing 1 required positional argument"),
        ("named", "has a keyword 'interval', and scheduler.interval says when"),
        ({"name": "one_cycle", "total_steps": 3, "interval": "epoch"}, "ends after 3 epochs"),
    ],
)
def test_a_schedule_that_cannot_step_so(write_small, scheduler, words):
    with pytest.raises(RequestError) as caught:
        write_small(FACTORIES).run(scheduler=scheduler)
    assert words in str(caught.value)


def test_the_interval_stays_out_of_a_configuration_that_does_not_need_it(small):
    assert "interval" not in small.resolved(scheduler="cosine")["scheduler"]
    given = small.resolved(scheduler={"name": "cosine", "interval": "update"})["scheduler"]
    assert (given["interval"], given["T_max"]) == ("update", 12)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("constant", {"interval": "epoch", "first": 0.01, "middle": 0.01, "last": 0.01}),
        (
            {"name": "step", "step_size": 1},
            {"interval": "epoch", "first": 0.01, "middle": 1e-3, "last": 1e-5},
        ),
        (
            {"name": "linear_warmup", "fraction": 0.5, "decay": "linear"},
            {"interval": "update", "first": 0.01 / 6, "middle": 0.01, "last": 0.01 / 6},
        ),
        ("plateau", {"interval": "validation", "first": 0.01, "middle": None, "last": None}),
    ],
)
def test_show_has_the_rate_at_the_first_middle_and_last_update(small, scheduler, expected):
    found = small.resolver.summary(small.asked(scheduler=scheduler), "auto")["learning_rate"]
    assert found == pytest.approx(expected)


# ------------------------------------------------------------- kinds of optimizers

OPTIMIZERS = """
from torch.optim import LBFGS, Optimizer, SGD


def newton(params, max_iter: int = 5):
    return LBFGS(params, max_iter=max_iter)


class Searching(SGD):
    def step(self, closure=None):
        assert closure is not None, "a search needs the loss"
        return super().step(closure)


class Free(Optimizer):
    \"\"\"Schedule-free SGD: gradients at y, between the iterate z and x, the mean of all z.\"\"\"

    def __init__(self, params, lr: float = 0.1, beta: float = 0.9):
        super().__init__(params, {"lr": lr, "beta": beta, "updates": 0})
        self.training = True

    def mix(self, weight):
        for group in self.param_groups:
            for p in group["params"]:
                if "z" in self.state[p]:
                    p.data.lerp_(self.state[p]["z"], weight)

    def train(self):
        if not self.training:
            self.mix(1 - self.param_groups[0]["beta"])
        self.training = True

    def eval(self):
        if self.training:
            self.mix(1 - 1 / self.param_groups[0]["beta"])
        self.training = False

    @torch.no_grad()
    def step(self, closure=None):
        assert self.training
        (group,) = self.param_groups
        group["updates"] += 1
        for p in group["params"]:
            z = self.state[p].setdefault("z", p.clone())
            x = p.lerp(z, 1 - 1 / group["beta"])
            z.sub_(p.grad, alpha=group["lr"])
            x.lerp_(z, 1 / group["updates"])
            p.copy_(x.lerp(z, 1 - group["beta"]))


def phrases(n: int = 40):
    return [("good " if k % 2 else "bad ") + "film " * (k % 3 + 1) for k in range(n)], \\
        [k % 2 for k in range(n)]


class Sparse(nn.Module):
    def __init__(self, vocab_size: int, num_classes: int):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab_size, num_classes, sparse=True, padding_idx=0)

    def forward(self, x):
        return self.bag(x)


class Complex(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, num_classes, dtype=torch.cfloat))

    def forward(self, x):
        return (x.to(torch.cfloat) @ self.weight).abs()
"""


def test_a_function_that_returns_lbfgs_is_stepped_with_a_closure(write_small):
    small = write_small(OPTIMIZERS)
    made, _ = trained(small, optimizer="newton")
    named, _ = trained(small, optimizer={"name": "lbfgs", "max_iter": 5})
    assert lines_of(made) == lines_of(named)


def test_the_dry_run_steps_an_optimizer_as_training_does(write_small):
    with pytest.raises(RequestError, match=r"Searching cannot update .*a search needs the loss"):
        write_small(OPTIMIZERS).run(optimizer="Searching")


@pytest.mark.parametrize("last", [None, 3])
def test_schedule_free_weights_are_validated_saved_and_resumed(write_small, last):
    """By hand: one batch an epoch, and x, the mean of all z, is what counts; in a final run too."""
    small = write_small(OPTIMIZERS)
    changes = {
        "model": "linear", "optimizer": "Free", "train": {"epochs": 3, "batch_size": 100},
        "final_epoch": last,
    }  # fmt: skip
    reports, saved = trained(small, **changes)
    train_state = small.resolver.train_state(small.asked(**changes), 0)
    model, data = train_state.model, train_state.data
    loss_of = torch.nn.functional.cross_entropy
    x = z = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    for count, report in enumerate(reports, 1):
        torch.nn.utils.vector_to_parameters(0.9 * x + 0.1 * z, model.parameters())
        loss = loss_of(model(data.train.inputs), data.train.targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        z = z - 0.1 * torch.nn.utils.parameters_to_vector(gradients)
        x = x + (z - x) / count
        torch.nn.utils.vector_to_parameters(x, model.parameters())
        if last is None:
            validated = loss_of(model(data.val.inputs), data.val.targets).item()
            assert report.line["metrics"]["val/loss"] == pytest.approx(validated, rel=1e-5)
    state = torch.load(io.BytesIO(saved[-1]))["model"]
    found = torch.cat([state[name].flatten() for name, _ in model.named_parameters()])
    torch.testing.assert_close(found, x)
    assert resumes(small, reports, saved, **changes)


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        ("sgd", {"model": "Sparse", "data": "phrases"}),
        ("adagrad", {"model": "Sparse", "data": "phrases"}),
        ("adam", {"model": "Complex"}),
    ],
)
def test_a_model_that_the_fused_form_cannot_update_gets_the_other(write_small, optimizer, changes):
    small = write_small(OPTIMIZERS)
    changes = {"optimizer": {"name": optimizer, "lr": 0.1}, **changes}
    assert small.resolved(**changes)["optimizer"]["fused"] is False
    assert small.run(**changes).configuration["optimizer"]["fused"] is False
    reports, _ = trained(small, **changes)
    assert len({r.line["weights_sha256"] for r in reports}) == 4


def test_a_fused_form_that_was_asked_for_is_refused_where_it_cannot_update(write_small):
    small = write_small(OPTIMIZERS)
    with pytest.raises(RequestError, match=r"adam cannot update .* Leave optimizer.fused out\."):
        small.run(model="Complex", optimizer={"name": "adam", "fused": True})


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
    assert lines_of(plain) == lines_of(patient)


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
    """60 examples: 41 for training, so one is left over; batch normalization needs two."""
    with pytest.raises(RequestError, match=r"training's last batch has.*more than 1 value"):
        small.run(model="Net", train={"epochs": 1, "batch_size": 40})
