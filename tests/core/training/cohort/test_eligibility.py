"""Which runs can be members of a cohort, and which of them of one program."""

import pytest

from paribus.core.training.cohort.eligibility import members_keep_their_bits

# Of a user, who has never heard of cohorts.
OWN = """
class Own(nn.Module):
    def __init__(self, in_features: int, out_features: int, hidden: int = 7):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden)
        self.fc2 = nn.Linear(hidden, out_features)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = torch.flatten(x, 1)
        return self.fc2(self.drop(torch.relu(self.fc1(x))))


class Odd(Own):
    def forward(self, x):
        return super().forward(x if x.mean() > 0 else -x)

"""


def test_members_keep_their_bits_on_this_machine():
    assert members_keep_their_bits("cpu")


def test_a_dense_module_of_the_users_takes_part_and_an_odd_one_does_not(write_small):
    small = write_small(OWN)
    assert small.run(model="Own").engine == "cohort"
    assert small.run(model={"name": "Own", "hidden": 3}).engine == "cohort"
    assert small.run(model="Odd").engine == "loop"
    summary = small.resolver.summary(small.asked(model="Odd"), "auto")
    assert "cannot be traced" in summary["why_no_cohort"]


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "mlp", "hidden_dim": 9}},
        {"model": {"name": "mlp", "hidden_dim": 8, "activation": "tanh"}},
        {"train": {"epochs": 4, "batch_size": 15}},
        {"optimizer": {"name": "sgd", "lr": 0.1}},
        {"data": {"name": "waves", "shift": 1.0, "n": 61}},
        {"split": {"seed": 1}},
        {"standardize": False},
    ],
    ids=str,
)
def test_other_shapes_are_other_groups(change, small):
    assert small.run(**change).group != small.run().group


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adam", "lr": 0.01, "eps": 0.0},
        {"name": "adam", "lr": 0.01, "amsgrad": True},
        {"name": "rmsprop", "lr": 0.01, "eps": 0.0},
        {"name": "sgd", "lr": 0.01, "foreach": True},
        {"name": "sgd", "lr": 0.01, "fused": False},
        {"name": "adagrad", "lr": 0.01},
        {"name": "biased", "lr": 0.01},
    ],
    ids=str,
)
def test_an_optimizer_that_is_the_loops(optimizer, write_small):
    small = write_small("""
def biased(params, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in params if p.ndim == 1], lr=lr)
""")
    assert small.run(optimizer=optimizer).engine == "loop"
