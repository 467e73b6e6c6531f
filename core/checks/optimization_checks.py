"""Checks of model, loss and optimizer: do they fit each other, and does the model learn?"""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import torch
from torch import Tensor

from paribus.core.checks.subject import (
    AT_ONCE,
    FITS,
    FITS_OF_CONVEX,
    SEED,
    Skipped,
    Subject,
    affordable,
    batch_of,
    explained,
    learning,
    loss_of,
    ordered,
    some_rows,
)
from paribus.core.components.losses import ModelLoss
from paribus.core.components.models import weights_hash
from paribus.core.config.values import null_if_not_finite
from paribus.core.data.loader import Part
from paribus.core.errors import RequestError, first_few, many, shown
from paribus.core.rng import epoch_order, seeded_globals
from paribus.core.sources.seeding_calls import where_seeded
from paribus.core.training.dry_run import dry_run, layer_outputs
from paribus.core.training.engine import Job, Report
from paribus.core.training.loop import train_epoch
from paribus.core.training.script import epochs_of
from paribus.core.training.train_state import TrainState, seeds_are_overridden

EXAMPLES, FEW = 32, 8  # the few are for large models
UPDATES, LOOK_EVERY = 300, 5
OVERFITTED = 0.7  # share of a constant prediction's error that must be explained
BETTER = 0.3  # what is not fitted has to be ordered at least so well: 0 is chance, 1 perfect
SAMPLE = 128  # examples that a loss is measured on
GRADIENT_STEPS = 5
GRADIENT_EXAMPLES = 33  # odd: l1's gradient is a sum of signs, which must not cancel
OTHER_SEEDS = (1, 2)  # a coarse metric may be equal under two seeds by chance
REPEATED = 5  # updates after which equal seeds must have equal weights
MOST_UPDATES, MOST_EXAMPLES, LEAST_UPDATES = 200, 20_000, 50  # of "one epoch"
HARDLY = 1e-3  # share of a loss
FAR = 100  # targets so large take many steps to reach
BURST = 100  # a loss so much larger does not come down again


def shapes(subject: Subject) -> str:
    """Check that inputs go through augmentation and model, and outputs are as wide as needed."""
    train_state = subject.train_state()
    layers = _layers(train_state)
    # With a loss that takes anything, what is left to fit is shapes.
    anything = {**train_state.configuration, "loss": {"name": "any"}}
    try:
        dry_run(
            replace(
                train_state,
                loss=lambda outputs, _: outputs.mean(),
                extra_metrics=[],
                configuration=anything,
            )
        )
    except RequestError as error:
        through = f" Layers: {layers}." if layers else ""
        raise RequestError(f"{error.message}{through}", error.hint) from error
    targets = list(subject.data.train.targets.shape[1:])
    return f"{layers}; targets {_shown(targets)}"


def loss_fits(subject: Subject) -> str:
    """Check that loss and metrics are this task's, and outputs are no probabilities."""
    train_state = subject.train_state()
    by_batch = "; it depends on train.eval_batch_size" if dry_run(train_state) else ""
    part = train_state.data.train
    inputs, _ = batch_of(part, some_rows(part, SAMPLE), train_state.device)
    classes = train_state.task.targets != "values"
    if classes and isinstance(inputs, Tensor) and inputs.is_floating_point():
        with torch.no_grad():
            outputs = train_state.model.eval()(1e3 * inputs)  # logits leave any bounds
        if outputs.min() >= 0 and 0 < outputs.max() <= 1:
            raise RequestError(
                "All outputs of the model lie between 0 and 1, as those of a sigmoid or softmax.",
                "Leave it out of the model: loss and metrics take logits, and predict makes "
                "probabilities of them.",
            )
    loss, task = (train_state.configuration[kind]["name"] for kind in ("loss", "task"))
    more = len(train_state.extra_metrics)
    extra = f" and {many(more, 'metric')}" if more else ""
    return f"loss {loss}{extra} for task {task}{by_batch}"


def _layers(train_state: TrainState) -> str:
    """Return the shape of each layer's output, as far as two examples get."""
    seen = [_shown(train_state.data.input_shape)]
    for row in layer_outputs(train_state):
        if row["output_shape"] is not None:
            name = row["type"] if row["name"] == "(model)" else row["name"]
            seen.append(f"{name} {_shown(row['output_shape'][1:])}")
    most = 8
    if len(seen) > most:
        seen[most // 2 : -most // 2] = [f"… {len(seen) - most} more …"]
    return " → ".join(seen)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(['N', *map(str, shape)])}]"


def overfits_one_batch(subject: Subject) -> str:
    """Check that the model can fit a few examples, with optimizers that need no learning rate.

    A linear model cannot fit every batch. Where it does not, it has to be clearly better than
    chance on more examples.
    """
    part, train_state = subject.data.train, subject.train_state()
    most = FEW if affordable(train_state, EXAMPLES, UPDATES) < UPDATES else EXAMPLES
    if train_state.task.targets == "values":  # no more than a linear model of this size can fit
        width = train_state.task.width(train_state.data.outputs)
        trained = sum(parameter.numel() for parameter in learning(train_state))
        most = min(most, max(2, trained // (2 * width)))
    batch = part.select(some_rows(part, most, alike=True))
    share, tried = _fitted(subject, batch)
    than = f"better than a constant prediction on {many(len(batch), 'example')}"
    found = f"{max(share, 0.0):.0%} {than}"
    if share >= OVERFITTED:
        return found
    if not tried:
        raise Skipped(f"the model is too large to be fitted quickly ({found})")
    if not is_linear(train_state, batch):
        raise RequestError(
            f"The model cannot fit one batch: {found}.",
            "Give it more width or more layers; if it has them, look for a wrong sign in the loss, "
            "or for targets that its last layer cannot reach.",
        )
    if _orders(subject):
        return f"{found}: a linear model, which need not fit them all"
    raise RequestError(
        f"The model cannot fit one batch: {found}.",
        "The model is linear, without an activation between its layers: give it one "
        "(model.activation=relu), or take a model that has (model=mlp).",
    )


def _fitted(subject: Subject, batch: Part) -> tuple[float, bool]:
    """Return the share of a batch that can be explained, and whether it was tried long enough."""
    best, updates = -math.inf, 0
    for fit in FITS:
        train_state = subject.train_state()
        inputs, targets = batch_of(batch, torch.arange(len(batch)), train_state.device)
        for update in fit(train_state, batch, UPDATES):
            updates += 1
            if update % LOOK_EVERY == 0:
                with torch.no_grad():
                    _, outputs = loss_of(train_state, inputs, targets)
                best = max(best, explained(train_state.task, outputs, targets))
            if best >= OVERFITTED:
                return best, True
    return best, updates >= UPDATES


def _orders(subject: Subject) -> bool:
    """Return whether a linear model is clearly better than chance on some hundred examples."""
    part = subject.data.train
    many = part.select(some_rows(part, AT_ONCE, alike=True))
    for fit in FITS_OF_CONVEX:
        train_state = subject.train_state()
        inputs, targets = batch_of(many, torch.arange(len(many)), train_state.device)
        for _ in fit(train_state, many, UPDATES // 3):
            pass
        with torch.no_grad():
            _, outputs = loss_of(train_state, inputs, targets)
        if ordered(train_state.task, outputs, targets) >= BETTER:
            return True
    return False


def is_linear(train_state: TrainState, part: Part) -> bool:
    """Return whether the output for the middle of two examples is the middle of their outputs."""
    inputs, _ = part.inputs_of(len(part) // 2 * 2)
    if getattr(inputs, "dtype", None) != torch.float32 or len(inputs) < 2:
        return False
    train_state.model.eval()
    with torch.no_grad(), seeded_globals(SEED, "dropout"):
        one, other, middle = (
            train_state.call(batch.to(train_state.device))
            for batch in (inputs[::2], inputs[1::2], (inputs[::2] + inputs[1::2]) / 2)
        )
    return torch.allclose(middle, (one + other) / 2, rtol=1e-3, atol=1e-5)


def starts_at_chance(subject: Subject) -> str:
    """Check that the loss at the start is that of equal probabilities: ln C for C classes.

    What the loss makes of class weights or label smoothing is in both numbers.
    """
    train_state = subject.train_state()
    if train_state.task.targets == "values":
        raise Skipped("for values there is no chance to compare with")
    if isinstance(train_state.loss, ModelLoss):
        raise Skipped("the model computes its loss itself")
    _skip_if_trained(train_state)
    part = train_state.data.train
    inputs, targets = batch_of(part, some_rows(part, SAMPLE), train_state.device)
    with torch.no_grad():
        loss, outputs = loss_of(train_state, inputs, targets)
        loss_targets = train_state.task.loss_targets(targets)
        chance = float(train_state.loss(torch.zeros_like(outputs), loss_targets))
    start = loss.item()
    if not (math.isfinite(chance) and chance > 0):
        raise Skipped(f"this loss is {chance:.4g} for equal probabilities, which says nothing")
    classes = train_state.data.outputs if train_state.task.targets == "classes" else 2
    known = f"ln {classes} = " if math.isclose(chance, math.log(classes), rel_tol=1e-5) else ""
    losses = f"{start:.4f}; equal probabilities would give {known}{chance:.4f}"
    if not chance / 2 <= start <= chance * 2:
        raise RequestError(
            f"The loss at the start is {losses}.",
            "Make inputs and initial weights smaller, or repair the loss: the model begins sure.",
        )
    return losses


def gradients(subject: Subject) -> str:
    """Check that every parameter gets a gradient, unless train.only leaves it out."""
    train_state = subject.train_state()
    named = dict(train_state.model.named_parameters())
    only = train_state.configuration["train"]["only"]
    frozen = [name for name, p in named.items() if not p.requires_grad]
    if frozen and not only:
        raise RequestError(
            f"Frozen (requires_grad is False): {first_few([shown(name) for name in frozen])}.",
            "Unfreeze it in the model; if it is meant, name what is trained with train.only.",
        )
    trained = {name: p for name, p in named.items() if p.requires_grad}
    reached: set[str] = set()
    part = train_state.data.train
    rows = some_rows(part, GRADIENT_EXAMPLES, alike=True)
    inputs, targets = batch_of(part, rows, train_state.device)
    # A few steps: behind a layer that begins with zeros gradients come with the second.
    optimizer = torch.optim.Adam(trained.values(), lr=1e-3)
    for _ in range(GRADIENT_STEPS):
        if len(reached) == len(trained):
            break
        optimizer.zero_grad()
        loss, _ = loss_of(train_state, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        reached |= {n for n, p in trained.items() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
    unreached = [name for name in trained if name not in reached]
    if unreached:
        raise RequestError(
            f"No gradient reaches {first_few([shown(name) for name in unreached])}.",
            "Look in forward for a layer that is not used, or that is behind detach, argmax "
            "or no_grad.",
        )
    note = f"; {len(frozen)} are frozen by train.only" if frozen else ""
    return f"all {many(len(trained), 'tensor')} of parameters{note}"


def falls_in_one_epoch(subject: Subject) -> str:
    """Check that the experiment's own optimizer reduces the loss."""
    train_state = subject.train_state()
    if not train_state.fresh:
        _skip_if_trained(train_state)
    part = train_state.data.train
    inputs, targets = batch_of(part, some_rows(part, SAMPLE), train_state.device)
    with torch.no_grad():
        before = loss_of(train_state, inputs, targets)[0].item()
    updates = _train_an_epoch(train_state)
    with torch.no_grad():
        after = loss_of(train_state, inputs, targets)[0].item()
    course = f"from {before:.4g} to {after:.4g} in {many(updates, 'update')}"
    lr = train_state.optimizer.param_groups[0].get("lr")
    named = f" (optimizer.lr={lr:g})" if isinstance(lr, float) else ""
    if (
        updates < LEAST_UPDATES
        and updates < train_state.updates
        and before <= after < BURST * before
    ):
        raise Skipped(f"the model is too large to train it for long enough ({course})")
    if not after < before:
        advice = "Lower optimizer.lr tenfold."
        raise RequestError(f"The loss does not fall: {course}{named}.", advice)
    if before - after < HARDLY * abs(before):
        size = targets.double().square().mean().sqrt().item()
        far = train_state.task.targets == "values" and size > FAR
        raise RequestError(
            f"The loss hardly falls: {course}{named}.",
            "Raise optimizer.lr tenfold"
            + (f", or divide the targets: they are about {size:.2g}." if far else "."),
        )
    return course


def _train_an_epoch(train_state: TrainState, most: int = MOST_UPDATES) -> int:
    """Train one epoch, cut short where it is long; short ones until there are some updates."""
    size, examples = (
        train_state.batch_size * train_state.update_batches,
        len(train_state.data.train),
    )
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
    train_state.begin_evaluation()
    return done


def repeats(subject: Subject) -> str:
    """Check that equal seeds give equal weights, at the start and after some updates."""
    first, second = subject.train_state(), subject.train_state()
    if weights_hash(first.model.state_dict()) != weights_hash(second.model.state_dict()):
        raise RequestError(
            "The same seed gives other initial weights.",
            "Draw them from torch's, numpy's or Python's global generators, which are seeded.",
        )
    updates = _train_an_epoch(first, REPEATED)
    _train_an_epoch(second, REPEATED)
    found, again = weights_hash(first.model.state_dict()), weights_hash(second.model.state_dict())
    if found != again:
        raise RequestError(
            f"The same seed gives other weights after {many(updates, 'update')}.",
            "Draw what is random in model and loss from the global generators, which are seeded.",
        )
    return f"{found[:12]} twice after {many(updates, 'update')}"


def seeds_differ(subject: Subject) -> str:
    """Check that another seed gives other weights, unless none are drawn."""
    requested, resolver = subject.requested, subject.resolver
    folds = resolver.split(requested).folds or 1  # the next seed of equal examples
    first, second = subject.train_state(), resolver.train_state(requested, SEED + folds)
    if seeds_are_overridden(first, second):
        raise RequestError(
            f"All seeds begin with the same weights: the model seeds the generators "
            f"itself{_seeded_at(subject)}.",
            "Leave that out: they are seeded before it is made.",
        )
    one, other = (weights_hash(each.model.state_dict()) for each in (first, second))
    return "initial weights are not drawn" if one == other else f"{one[:12]} and {other[:12]}"


def _seeded_at(subject: Subject) -> str:
    return where_seeded(subject.resolver.specify(subject.requested, SEED).sources)


def _skip_if_trained(train_state: TrainState) -> None:
    """Skip a check of a model that does not begin at chance."""
    if train_state.configuration["train"]["start_from"] is not None:
        raise Skipped("it begins with the weights of train.start_from")
    if train_state.configuration["model"].get("weights") is not None:
        raise Skipped("it begins with model.weights")


# Checks of a function as an experiment: what its first epoch shows.


def yields_metrics(subject: Subject) -> str:
    """Check that the first epoch has the metric that SELECT names, and it is finite."""
    report = _first_epoch(subject)
    if report.failure is not None:
        advice = "Epochs are chosen by it; try a lower learning rate."
        raise RequestError(f"{report.failure}.", advice)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in report.line["metrics"].items())
    return f"epoch 1: {metrics}"


def repeats_metrics(subject: Subject) -> str:
    """Check that the same seed twice gives the same metrics in the first epoch."""
    then, now = (null_if_not_finite(_first_epoch(subject).line["metrics"]) for _ in range(2))
    if then != now:
        name = next(name for name in {**then, **now} if then.get(name) != now.get(name))
        raise RequestError(
            f"The same seed gives {name} {then.get(name)} once and {now.get(name)} again.",
            "Draw what is random from the global generators, which are seeded, or from `seed`.",
        )
    return "epoch 1 twice"


def metrics_differ(subject: Subject) -> str:
    """Check that other seeds give other metrics in the first epoch."""
    first = _first_epoch(subject).line["metrics"]
    if all(_first_epoch(subject, seed).line["metrics"] == first for seed in OTHER_SEEDS):
        raise RequestError(
            f"Other seeds than {SEED} give the same metrics{_seeded_at(subject)}.",
            "Draw what is random from `seed`, or from the global generators, which are seeded; "
            "where seeds do differ, yield a finer metric too, such as val/loss.",
        )
    return "epoch 1 under two seeds"


def _first_epoch(subject: Subject, seed: int = SEED) -> Report:
    run = subject.resolver.specify(subject.requested, seed)
    with closing(epochs_of(Job((run,), subject.resolver))) as epochs:
        for report in epochs:
            return report
    raise RequestError("It yields nothing.", "Yield a dict of metrics after each epoch.")
