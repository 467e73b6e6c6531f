"""What is read as a chain, whoever wrote it, and what is the loop's, and why."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from paribus.core.training.cohort.graph import Dense, Drop, UnsupportedModel, read_graph

X = torch.linspace(-1, 1, 60).reshape(4, 3, 5)


class Functional(nn.Module):
    """As tutorials write it."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(15, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        x = self.drop(functional.relu(self.fc1(x)))
        x = self.drop(torch.tanh(self.fc2(x)))
        return self.fc3(x)


class Own(nn.Module):
    """Weights of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 30).reshape(2, 15))

    def forward(self, x):
        return functional.linear(x.reshape(x.shape[0], -1), self.weight)


class Viewed(nn.Module):
    """As tutorials flatten images."""

    def forward(self, x):
        return x.view(-1, 15)


class Rest(nn.Module):
    """A linear layer and whatever a test wants of it."""

    def __init__(self, forward):
        super().__init__()
        self.fc = nn.Linear(15, 15)
        self.fc2 = nn.Linear(15, 15)
        self.calls = 0
        self.told = forward

    def forward(self, x):
        return self.told(self, x.flatten(1))


CHAINS = {
    "sequential": nn.Sequential(nn.Flatten(), nn.Linear(15, 8), nn.GELU(), nn.Linear(8, 2)),
    "nested": nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(15, 8), nn.ELU(0.5)),
                            nn.Identity(), nn.Linear(8, 2, bias=False)),
    "activation first": nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(15, 2), nn.Sigmoid()),
    "functional": Functional(),
    "own weights": Own(),
    "by its size": nn.Sequential(Viewed(), nn.Linear(15, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_read_whoever_wrote_it(name):
    model = CHAINS[name].train()
    found = read_graph(model, X)
    assert (found.inputs, found.outputs) == (15, 2)
    read = {n for s in found.steps if isinstance(s, Dense) for n in (s.weight, s.bias)} - {None}
    assert read == {n for n, _ in model.named_parameters()}
    assert model.training


def test_a_dropout_layer_used_twice_has_two_streams():
    drops = [step for step in read_graph(Functional(), X).steps if isinstance(step, Drop)]
    assert [(drop.layer, drop.stream) for drop in drops] == [("drop", "drop"), ("drop", "drop#2")]


def counted(model, x):
    model.calls += 1
    return model.fc2(model.fc(x))


def hooked():
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 2))
    model[1].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return model


def tied():
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 15), nn.Linear(15, 15))
    model[2].weight = model[1].weight
    return model


class Flipped(torch.autograd.Function):
    """A relu whose gradient is another's."""

    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def frozen(model, x):
    with torch.no_grad():
        h = model.fc(x).relu()
    return model.fc2(h)


def with_tensor_hook():
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 2))
    model[1].weight.register_hook(lambda gradient: gradient.clamp(-1, 1))
    return model


def sharing_memory():
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 15), nn.Linear(15, 15))
    model[2].weight = nn.Parameter(model[1].weight.t())
    return model


def with_a_forward_of_its_own():
    model = nn.Sequential(nn.Flatten(), nn.Linear(15, 2))
    model[1].forward = lambda x: 2 * nn.functional.linear(x, model[1].weight, model[1].bias)
    return model


class OneBias(nn.Module):
    """One bias for three outputs."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(3, 15)), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return functional.linear(x.flatten(1), self.weight, self.bias)


class NeverDrops(nn.Module):
    """Switches its dropout off by itself."""

    def __init__(self):
        super().__init__()
        self.fc, self.drop = nn.Linear(15, 2), nn.Dropout(0.5)

    def forward(self, x):
        self.drop.eval()
        return self.drop(self.fc(x.flatten(1)))


def counted_in_a_list(model, x):
    model.seen = [*getattr(model, "seen", []), 1]
    return model.fc2(model.fc(x))


OTHERS = {
    "without gradients": (Rest(frozen), "not what was read"),
    "a gradient of its own": (
        Rest(lambda m, x: m.fc2(Flipped.apply(m.fc(x)))),
        "not what was read|has |followed",
    ),
    "a tensor's hook": (with_tensor_hook(), "has hooks"),
    "shared memory": (sharing_memory(), "used twice"),
    "another forward": (with_a_forward_of_its_own(), "has hooks"),
    "one bias for all": (OneBias(), "shared by its outputs"),
    "dropout switched off": (NeverDrops(), "switches its dropout"),
    "a list that grows": (Rest(counted_in_a_list), "changes the module"),
    "half precision inside": (Rest(lambda m, x: m.fc2(m.fc(x).half().float())), "half"),
    "a weight that is no parameter": (
        Rest(lambda m, x: m.fc2(functional.linear(m.fc(x), torch.ones(15, 15)))),
        "is computed|followed",
    ),
    "a branch that depends on data": (
        Rest(lambda m, x: m.fc2(m.fc(x) if x.sum() > 0 else x)),
        "cannot be traced",
    ),
    "a draw of its own": (Rest(lambda m, x: m.fc2(m.fc(x + torch.rand(15)))), "add"),
    "a branch by chance": (
        Rest(lambda m, x: m.fc2(m.fc(x)) if torch.rand(()) < 2 else x),
        "draws at random",
    ),
    "a residual": (Rest(lambda m, x: m.fc2(x + m.fc(x))), "add"),
    "a count": (Rest(counted), "changes the module"),
    "half of it": (Rest(lambda m, x: m.fc(x)), "take no part"),
    "a factor": (Rest(lambda m, x: 2 * m.fc2(m.fc(x))), "mul"),
    "functional dropout": (
        Rest(lambda m, x: m.fc2(functional.dropout(m.fc(x), 0.5, m.training))),
        "dropout",
    ),
    "in training only": (
        Rest(lambda m, x: m.fc2(m.fc(x).relu() if m.training else m.fc(x))),
        "differs between training and evaluation",
    ),
    "two values": (Rest(lambda m, x: (m.fc(x), m.fc2(x))), "is not applied to the value before it"),
    "batch norm": (
        nn.Sequential(nn.Flatten(), nn.Linear(15, 4), nn.BatchNorm1d(4)),
        "has buffers",
    ),
    "layer norm": (
        nn.Sequential(nn.Flatten(), nn.Linear(15, 4), nn.LayerNorm(4)),
        "layer_norm",
    ),
    "a hook": (hooked(), "has hooks"),
    "tied weights": (tied(), "used twice"),
    "not flat": (nn.Sequential(nn.Linear(5, 2), nn.Flatten()), "not flat"),
    "a convolution": (
        nn.Sequential(nn.Conv1d(3, 2, 3), nn.Flatten(), nn.Linear(6, 2)),
        "conv1d",
    ),
    "softmax": (nn.Sequential(nn.Flatten(), nn.Linear(15, 2), nn.Softmax(1)), "softmax"),
    "doubles": (nn.Sequential(nn.Flatten(), nn.Linear(15, 2).double()), "float32"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_is_the_loops_and_why(what):
    model, why = OTHERS[what]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UnsupportedModel, match=why):
        read_graph(model, X)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
