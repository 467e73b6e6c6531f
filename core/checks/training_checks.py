"""Does it learn? Each check takes another part of the training into view."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from paribus.core.checks.subject import (
    SEED,
    Subject,
    Verdict,
    affordable,
    batch_of,
    counted,
    failed,
    loss_of,
    passed,
    skipped,
    some_rows,
)
from paribus.core.components.models import weights_hash
from paribus.core.config.values import null_if_not_finite
from paribus.core.errors import shown
from paribus.core.rng import epoch_order, seeded_globals
from paribus.core.training.engine import Job, Report
from paribus.core.training.loop import train_epoch
from paribus.core.training.script import epochs_of
from paribus.core.training.train_state import TrainState

SAMPLE = 128  # examples that a loss is measured on
GRADIENT_STEPS = 5
GRADIENT_EXAMPLES = 33  # odd: l1's gradient is a sum of signs, which must not cancel
REPEATED = 5  # updates after which equal seeds must have equal weights
MOST_UPDATES, MOST_EXAMPLES, LEAST_UPDATES = 200, 20_000, 50  # of "one epoch"
HARDLY = 1e-3  # share of a loss
FAR = 100  # targets so large take many steps to reach
BURST = 100  # a loss so much larger does not come down again


def starts_at_chance(subject: Subject) -> Verdict:
    """The loss at the start is that of equal probabilities: ln C for C classes.

    What the loss makes of class weights or label smoothing is in both numbers.
    """
    train_state = subject.train_state()
    if train_state.task.targets == "values":
        return skipped("for values there is no chance to compare with")
    if reason := _begins_trained(train_state):
        return skipped(reason)
    part = train_state.data.train
    inputs, targets = batch_of(part, some_rows(part, SAMPLE), train_state.device)
    with torch.no_grad():
        loss, outputs = loss_of(train_state, inputs, targets)
        aims = train_state.task.aims(targets)
        chance = float(train_state.loss(torch.zeros_like(outputs), aims))
    start = loss.item()
    if not (math.isfinite(chance) and chance > 0):
        return skipped(f"this loss is {chance:.4g} for equal probabilities, which says nothing")
    told = f"{start:.4f}; {_named_chance(train_state, chance)}"
    if not chance / 2 <= start <= chance * 2:
        return failed(
            f"The loss at the start is {told}.",
            "Make inputs and initial weights smaller, or repair the loss: the model begins sure.",
        )
    return passed(told)


def _named_chance(train_state: TrainState, chance: float) -> str:
    task, outputs = train_state.task.targets, train_state.data.outputs
    classes = outputs if task == "classes" else 2
    known = f"ln {classes} = " if math.isclose(chance, math.log(classes), rel_tol=1e-5) else ""
    return f"equal probabilities would give {known}{chance:.4f}"


def gradients(subject: Subject) -> Verdict:
    """Every parameter gets a gradient, unless train.only leaves it out."""
    train_state = subject.train_state()
    named = dict(train_state.model.named_parameters())
    only = train_state.configuration["train"]["only"]
    frozen = [name for name, p in named.items() if not p.requires_grad]
    if frozen and not only:
        return failed(
            f"Frozen (requires_grad is False): {_listed(frozen)}.",
            "Unfreeze it in the model; if it is meant, name what is trained with train.only.",
        )
    learning = {name: p for name, p in named.items() if p.requires_grad}
    reached: set[str] = set()
    part = train_state.data.train
    rows = some_rows(part, GRADIENT_EXAMPLES, alike=True)
    inputs, targets = batch_of(part, rows, train_state.device)
    # A few steps: behind a layer that begins with zeros gradients come with the second.
    optimizer = torch.optim.Adam(learning.values(), lr=1e-3)
    for _ in range(GRADIENT_STEPS):
        if len(reached) == len(learning):
            break
        optimizer.zero_grad()
        loss, _ = loss_of(train_state, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        reached |= {n for n, p in learning.items() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
    unreached = [name for name in learning if name not in reached]
    if unreached:
        return failed(
            f"No gradient reaches {_listed(unreached)}.",
            "Look in forward for a layer that is not used, or that stands behind detach, argmax "
            "or no_grad.",
        )
    note = f"; {len(frozen)} are frozen by train.only" if frozen else ""
    return passed(f"all {counted(len(learning), 'tensor')} of parameters{note}")


def falls_in_one_epoch(subject: Subject) -> Verdict:
    """The experiment's own optimizer brings the loss down."""
    train_state = subject.train_state()
    if (reason := _begins_trained(train_state)) and not train_state.fresh:
        return skipped(reason)
    part = train_state.data.train
    inputs, targets = batch_of(part, some_rows(part, SAMPLE), train_state.device)
    before = _measured(train_state, inputs, targets)
    updates = _train_an_epoch(train_state)
    after = _measured(train_state, inputs, targets)
    told = f"from {before:.4g} to {after:.4g} in {counted(updates, 'update')}"
    lr = train_state.optimizer.param_groups[0].get("lr")
    named = f" (optimizer.lr={lr:g})" if isinstance(lr, float) else ""
    if (
        updates < LEAST_UPDATES
        and updates < train_state.updates
        and before <= after < BURST * before
    ):
        return skipped(f"the model is too large to train it for long enough ({told})")
    if not after < before:
        return failed(f"The loss does not fall: {told}{named}.", "Lower optimizer.lr tenfold.")
    if before - after < HARDLY * abs(before):
        size = targets.double().square().mean().sqrt().item()
        far = train_state.task.targets == "values" and size > FAR
        return failed(
            f"The loss hardly falls: {told}{named}.",
            "Raise optimizer.lr tenfold"
            + (f", or divide the targets: they are about {size:.2g}." if far else "."),
        )
    return passed(told)


def _measured(train_state: TrainState, inputs: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return loss_of(train_state, inputs, targets)[0].item()


def _train_an_epoch(train_state: TrainState, most: int = MOST_UPDATES) -> int:
    """Trains one epoch, cut short where it is long; short ones until there are some updates."""
    size, examples = train_state.batch_size, len(train_state.data.train)
    most = affordable(
        train_state, size, min(most, max(1, MOST_EXAMPLES // size), train_state.updates)
    )
    done, epoch = 0, 0
    with seeded_globals(SEED, "dropout"):
        while done < min(most, LEAST_UPDATES):
            epoch += 1
            order = epoch_order(SEED, epoch, examples)[: (most - done) * size]
            train_epoch(train_state, order, SEED, epoch)
            done += math.ceil(len(order) / size)
    return done


def repeats(subject: Subject) -> Verdict:
    """The same seed twice gives the same weights, at the start and after some updates."""
    first, second = subject.train_state(), subject.train_state()
    if weights_hash(first.model.state_dict()) != weights_hash(second.model.state_dict()):
        return failed(
            "The same seed gives other initial weights.",
            "Draw them from torch's, numpy's or Python's global generators, which are seeded.",
        )
    updates = _train_an_epoch(first, REPEATED)
    _train_an_epoch(second, REPEATED)
    found, again = weights_hash(first.model.state_dict()), weights_hash(second.model.state_dict())
    if found != again:
        return failed(
            f"The same seed gives other weights after {counted(updates, 'update')}.",
            "Draw what is random in model and loss from the global generators, which are seeded.",
        )
    return passed(f"{found[:12]} twice after {counted(updates, 'update')}")


def _begins_trained(train_state: TrainState) -> str | None:
    """Why a model does not begin at chance."""
    if train_state.configuration["train"]["start_from"] is not None:
        return "it begins with the weights of train.start_from"
    if train_state.configuration["model"].get("weights") is not None:
        return "it begins with model.weights"
    return None


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return shown(", ".join(names[:5]), 300) + more


# Checks of a function as an experiment: what its first epoch shows.


def yields_metrics(subject: Subject) -> Verdict:
    """The first epoch has the metric that SELECT names, and it is finite."""
    report = _first_epoch(subject)
    if report is None:
        return failed("It yields nothing.", "Yield a dict of metrics after each epoch.")
    if report.failure is not None:
        return failed(f"{report.failure}.", "Epochs are chosen by it; try a lower learning rate.")
    told = ", ".join(f"{name} {value:.4g}" for name, value in report.line["metrics"].items())
    return passed(f"epoch 1: {told}")


def repeats_metrics(subject: Subject) -> Verdict:
    """The same seed twice gives the same metrics in the first epoch."""
    first, second = (_first_epoch(subject) for _ in range(2))
    if first is None or second is None:
        return failed("It yields nothing.", "Yield a dict of metrics after each epoch.")
    then, now = (null_if_not_finite(report.line["metrics"]) for report in (first, second))
    if then != now:
        name = next(name for name in {**then, **now} if then.get(name) != now.get(name))
        return failed(
            f"The same seed gives {name} {then.get(name)} once and {now.get(name)} again.",
            "Draw what is random from the global generators, which are seeded, or from `seed`.",
        )
    return passed("epoch 1 twice")


def _first_epoch(subject: Subject) -> Report | None:
    run = subject.resolver.specify(subject.asked, SEED)
    epochs = epochs_of(Job((run,), subject.resolver))
    report = next(epochs, None)
    epochs.close()
    return report
