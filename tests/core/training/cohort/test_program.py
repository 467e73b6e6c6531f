"""A member's bits: the same alone and among others, at any place, whatever becomes of them."""

import io
import random
from itertools import cycle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import LABELS, MLP, TWO, VALUES

from paribus.core.training.cohort.cohort_engine import Cohort
from paribus.core.training.engine import Job

SIZES = (1, 2, 7, 20, 64)

OPTIMIZERS = [
    {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"name": "adam", "lr": 0.01},
    {"name": "adamw", "lr": 0.01, "weight_decay": 0.2},
    {"name": "rmsprop", "lr": 0.01, "momentum": 0.5},
]
# Of 42 training examples the last batch is not full; 9 validation examples; 3 classes.
SHAPES = {
    "linear": {"model": "linear"},
    "dropout": {"model": MLP | {"dropout": 0.3}},
    "one output": TWO | {"loss": "bce_with_logits", "train": {"updates": 9, "batch_size": 64}},
    "one value": VALUES | {"data": "slopes", "loss": "mse"},
    "labels": LABELS | {"loss": "bce_with_logits", "train": {"epochs": 2, "batch_size": 19}},
    "batches of one": {"train": {"epochs": 1, "batch_size": 1}},
    "clipped": {"train": {"epochs": 2, "batch_size": 16, "clip_grad_norm": 0.1}},
}


def bits(small, runs, of=None):
    """Run id to its lines and best outputs, epoch by epoch; of one run only, if it is named."""
    found = {run.id: [] for run in runs}
    for reports in Cohort().train(Job(tuple(runs), small.resolver), {}):
        for report in reports:
            if of is None or report.run == of.id:
                line = {k: v for k, v in report.line.items() if k != "seconds"}
                found[report.run].append((line, report.best.outputs.tolist()))
    return found


# All optimizers on two shapes, the other shapes with one of them in turn.
CASES = [(shape, optimizer) for shape in ("dropout", "one value") for optimizer in OPTIMIZERS]
CASES += [(shape, optimizer) for shape, optimizer in zip(SHAPES, cycle(OPTIMIZERS), strict=False)
          if (shape, optimizer) not in CASES]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "optimizer"), CASES, ids=lambda x: x if type(x) is str else x["name"]
)
def test_bits_do_not_depend_on_the_other_members(shape, optimizer, small):
    lrs = (0.001, 0.03)
    runs = [
        small.run(seed, **SHAPES[shape], optimizer=optimizer | {"lr": lr})
        for lr in lrs
        for seed in range(32)
    ]
    assert {run.engine for run in runs} == {"cohort"}
    some = [runs[0], runs[-1]]
    alone = {run.id: bits(small, [run])[run.id] for run in some}
    shuffled = random.Random(0)
    for size in SIZES[1:]:
        members = [*some, *shuffled.sample(runs[1:-1], size - 2)]
        shuffled.shuffle(members)
        among = bits(small, members)
        assert {run.id: among[run.id] for run in some} == alone


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 130), st.integers(0, 3), st.integers(1, 70), st.integers(0, 10**6))
def test_bits_of_any_width_and_batch(write_small_once, width, layers, batch_size, seed):
    small = write_small_once
    shape = {
        "model": {"name": "mlp", "hidden_dim": width, "num_layers": layers, "activation": "silu"},
        "train": {"epochs": 2, "batch_size": batch_size},
    }
    first, second, third = (small.run(seed + i, **shape) for i in range(3))
    alone = bits(small, [second])[second.id]
    assert bits(small, [first, second, third])[second.id] == alone


@pytest.fixture(scope="module")
def write_small_once(tmp_path_factory):
    from small_experiment import SMALL, Small

    path = tmp_path_factory.mktemp("small") / "small.py"
    path.write_text(SMALL)
    return Small(path)


def test_members_differ_in_whatever_changes_no_shape(small):
    """Learning rate, decay, momentum, schedule, dropout, smoothing, weights, clipping, length."""
    changes = [
        {},
        {"optimizer": {"name": "adam", "lr": 0.1, "betas": [0.5, 0.9]}},
        {"optimizer": {"name": "adam", "lr": 0.01, "weight_decay": 0.3}},
        {"scheduler": "cosine"},
        {"scheduler": {"name": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.1}},
        {"model": {"name": "mlp", "hidden_dim": 8, "dropout": 0.4}},
        {"model": {"name": "mlp", "hidden_dim": 8, "dropout": 0.1}},
        {"loss": {"name": "cross_entropy", "label_smoothing": 0.3}},
        {"loss": {"name": "cross_entropy", "weight": [1, 5, 1]}},
        {"train": {"epochs": 4, "batch_size": 16, "clip_grad_norm": 0.1}},
        {"train": {"epochs": 2, "batch_size": 16}},
        {"train": {"epochs": 3, "batch_size": 16}},
        {"train": {"updates": 5, "batch_size": 16}},
        {"train": {"epochs": 9, "batch_size": 16, "patience": 1}},
        {"select": {"metric": "val/loss"}},
        {"metrics": ["CohenKappa"]},
    ]
    runs = [small.run(1, **change) for change in changes]
    assert len({run.group for run in runs}) == 1
    together = bits(small, runs)
    assert len({len(epochs) for epochs in together.values()}) > 2
    for run in runs:
        assert bits(small, [run])[run.id] == together[run.id]


def test_a_member_that_is_not_finite_fails_alone(small):
    good = [small.run(seed, optimizer={"name": "sgd", "lr": 0.1}) for seed in range(3)]
    bad = small.run(0, optimizer={"name": "sgd", "lr": 1e30})
    ends = {}
    for reports in Cohort().train(Job((good[0], bad, *good[1:]), small.resolver), {}):
        ends |= {r.run: r for r in reports if r.finished}
    assert ends[bad.id].failure.startswith("non-finite: ")
    assert [ends[run.id].failure for run in good] == [None] * 3
    for run in good:
        assert (
            bits(small, [run])[run.id][-1][0]["weights_sha256"]
            == (ends[run.id].line["weights_sha256"])
        )


def test_members_resume_at_different_epochs(small):
    runs = [small.run(seed, model=MLP | {"dropout": 0.2}) for seed in range(3)]
    whole = bits(small, runs)
    states = {}
    for run, stop in zip(runs, (1, 3), strict=False):
        for epoch, (report,) in enumerate(Cohort().train(Job((run,), small.resolver), {}), 1):
            if epoch == stop:
                buffer = io.BytesIO()
                torch.save(report.state(), buffer)
                states[run.id] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
                break
    seen = {run.id: [] for run in runs}
    for reports in Cohort().train(Job(tuple(runs), small.resolver), states):
        for report in reports:
            seen[report.run].append(report.line["weights_sha256"])
    for run, done in zip(runs, (1, 3, 0), strict=True):
        assert seen[run.id] == [line["weights_sha256"] for line, _ in whole[run.id][done:]]


def test_evaluating_a_member_of_many_gives_its_record(small):
    runs = [small.run(seed, model=MLP) for seed in range(7)]
    best = {}
    for reports in Cohort().train(Job(tuple(runs), small.resolver), {}):
        best |= {report.run: report.best for report in reports}
    for run in runs:
        found = Cohort().evaluate(Job((run,), small.resolver), best[run.id].weights, "val")
        assert torch.equal(found.outputs, best[run.id].outputs)
        assert {f"val/{k}": v for k, v in found.metrics.items()}.items() <= (
            best[run.id].metrics.items()
        )


def test_validation_in_many_batches_does_not_depend_on_the_members(small):
    change = VALUES | {
        "data": {"name": "slopes", "n": 900},
        "loss": "mse",
        "train": {"epochs": 6, "batch_size": 64, "eval_batch_size": 3},
        "split": {"val_fraction": 0.5, "test_fraction": 0.1},
        "optimizer": {"name": "sgd", "lr": 0.001},
    }
    runs = [small.run(seed, **change) for seed in range(5)]
    together = bits(small, runs)
    for run in runs:
        assert bits(small, [run])[run.id] == together[run.id]


def test_a_member_that_is_clipped_leaves_one_that_is_not_alone(write_small):
    """Though its gradient's norm is infinite."""
    small = write_small("""
def far():
    x, y = slopes()
    return x * 1e20, y
""")
    far = VALUES | {"data": "far", "loss": "l1", "standardize": False}
    far |= {"optimizer": {"name": "sgd", "lr": 1e-30}}
    train = {"epochs": 3, "batch_size": 16}
    plain = small.run(0, **far, train=train)
    clipped = small.run(1, **far, train=train | {"clip_grad_norm": 1.0})
    alone = bits(small, [plain])[plain.id]
    assert len(alone) == 3
    assert bits(small, [plain, clipped])[plain.id] == alone


def test_a_module_that_is_another_for_another_seed(write_small):
    small = write_small("""
class Moody(nn.Sequential):
    def __init__(self, in_features: int, out_features: int):
        mood = nn.Tanh() if torch.rand(()) < 0.5 else nn.ReLU()
        super().__init__(nn.Linear(in_features, 8), mood, nn.Linear(8, out_features))
""")
    runs = [small.run(seed, model="Moody") for seed in range(6)]
    together = bits(small, runs)
    for run in runs:
        assert bits(small, [run])[run.id] == together[run.id]
    assert bits(small, runs[::-1]) == together


def test_a_state_holds_one_member_only(small):
    runs = [small.run(seed) for seed in range(16)]
    sizes = []
    for some in (runs[:1], runs):
        reports = next(iter(Cohort().train(Job(tuple(some), small.resolver), {})))
        buffer = io.BytesIO()
        torch.save(reports[0].state(), buffer)
        sizes.append(len(buffer.getvalue()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
