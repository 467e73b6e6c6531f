"""The loop: what a loop written by hand does, to the bit."""

import io

import pytest
import torch
from torch import nn

from paribus.core.components.models import MLP, set_dropout_streams
from paribus.core.rng import epoch_order
from paribus.core.training.engine import Job
from paribus.core.training.loop import Loop

ONE_CYCLE = {"name": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.05}
DROPOUT = {"name": "mlp", "hidden_dim": 8, "num_layers": 2, "dropout": 0.3}


def job_of(small, **changes):
    return Job((small.run(0, **changes),), small.resolver)


def trained(job):
    """Reports of a job, and its last resume state as a file would hold it."""
    reports = []
    for (report,) in Loop().train(job, {}):
        reports.append(report)
        buffer = io.BytesIO()
        torch.save(report.state(), buffer)
    return reports, torch.load(io.BytesIO(buffer.getvalue()))


def written_by_hand(small, model, optimizer, job, scheduler=None):
    """The ordinary loop on the same data; (running means, validation accuracies)."""
    (run,) = job.runs
    data = small.resolver.data(small.asked(), run.seed)
    x, y = data.train.inputs, data.train.targets
    loss_of, size = nn.CrossEntropyLoss(), run.configuration["train"]["batch_size"]
    means, accuracies = [], []
    for epoch in range(1, run.facts["epochs"] + 1):
        total = 0.0
        model.train()
        set_dropout_streams(model, run.seed, epoch)  # a plain model has none of ours
        for rows in epoch_order(run.seed, epoch, len(x)).split(size):
            loss = loss_of(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            total += loss.item() * len(rows)
        means.append(total / len(x))
        model.eval()
        with torch.no_grad():
            right = (model(data.val.inputs).argmax(1) == data.val.targets).sum().item()
        accuracies.append(right / len(data.val))
    return means, accuracies


OPTIMIZERS = {
    "adam": ({"name": "adam", "lr": 0.01}, lambda p: torch.optim.Adam(p, lr=0.01, fused=True)),
    "sgd": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    ),
    "radam": ({"name": "torch.optim.RAdam", "lr": 0.01}, lambda p: torch.optim.RAdam(p, lr=0.01)),
}


@pytest.mark.parametrize("scheduler", ["constant", ONE_CYCLE], ids=["constant", "one cycle"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_what_a_loop_written_by_hand_does(small, optimizer, scheduler):
    asked, make = OPTIMIZERS[optimizer]
    job = job_of(small, optimizer=asked, scheduler=scheduler, model="mlp")
    reports, state = trained(job)
    hand = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, 3))
    initial = small.resolver.train_state(small.asked(model="mlp"), 0).model.state_dict()
    names = ["hidden.0.0.weight", "hidden.0.0.bias", "output.weight", "output.bias"]
    with torch.no_grad():
        for parameter, name in zip(hand.parameters(), names, strict=True):
            parameter.copy_(initial[name])
    made = make(list(hand.parameters()))
    schedule = None
    if scheduler is ONE_CYCLE:
        steps = job.runs[0].facts["updates"]
        schedule = torch.optim.lr_scheduler.OneCycleLR(made, max_lr=0.05, total_steps=steps)
    means, accuracies = written_by_hand(small, hand, made, job, schedule)
    for parameter, name in zip(hand.parameters(), names, strict=True):
        assert torch.equal(parameter, state["model"][name]), name
    assert [r.line["metrics"]["val/accuracy"] for r in reports] == accuracies
    assert [r.line["metrics"]["train/loss"] for r in reports] == pytest.approx(means, rel=1e-6)


def test_masks_of_our_dropout_layers_come_from_their_streams(small):
    job = job_of(small, model=DROPOUT, optimizer={"name": "sgd", "lr": 0.1})
    reports, state = trained(job)
    hand = MLP(4, 3, hidden_dim=8, num_layers=2, dropout=0.3)
    hand.load_state_dict(
        small.resolver.train_state(small.asked(model=DROPOUT), 0).model.state_dict()
    )
    sgd = torch.optim.SGD(hand.parameters(), lr=0.1, fused=True)
    _, accuracies = written_by_hand(small, hand, sgd, job)
    for name, value in hand.state_dict().items():
        assert torch.equal(value, state["model"][name]), name
    assert [r.line["metrics"]["val/accuracy"] for r in reports] == accuracies


def test_the_last_epoch_of_a_number_of_updates_ends_at_that_update(small):
    _, state = trained(job_of(small, train={"updates": 4, "batch_size": 16}))
    assert {int(entry["step"]) for entry in state["optimizer"]["state"].values()} == {4}


ROTARY = """
class Rotary(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.linear, self.angles = nn.Linear(in_features, num_classes), torch.ones(0, 1)

    def forward(self, x):
        if len(self.angles) < len(x):  # grows with the longest seen, as rotary caches do
            self.angles = torch.arange(len(x)).cos().unsqueeze(1)
        return self.linear(x) * self.angles[: len(x)]
"""


def test_a_module_trains_with_what_it_cached_in_evaluation(write_small):
    # The validation part is one batch, larger than those of training.
    job = job_of(write_small(ROTARY), model="Rotary", train={"epochs": 2, "batch_size": 4})
    reports, _ = trained(job)
    assert [report.line["epoch"] for report in reports] == [1, 2]
