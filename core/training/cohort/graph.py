"""What a cohort computes: a chain of dense layers, activations and dropout."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from paribus.core.components.models import Dropout
from paribus.core.rng import digest_of_globals
from paribus.core.training.cohort.layer_kernels import ACTIVATIONS


class UnsupportedModel(Exception):
    """Why a module is no chain. One clause, for `show`."""


@dataclass(frozen=True)
class Dense:
    """A linear layer by the names of its parameters; `bias` may be None."""

    weight: str
    bias: str | None
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Activation:
    """An elementwise function of `layers.ACTIVATIONS`, with its numbers."""

    kind: str
    numbers: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Drop:
    """Dropout by the name of its layer and of its stream; how much of it is each member's own."""

    layer: str
    stream: str


Step = Dense | Activation | Drop


@dataclass(frozen=True)
class LayerGraph:
    """What a module computes from flat inputs `[N, inputs]` to outputs `[N, outputs]`."""

    inputs: int
    outputs: int
    steps: tuple[Step, ...]


def dropout_rates(model: nn.Module) -> dict[str, int]:
    """Of each dropout layer by name: of 65536 numbers, how many are dropped."""
    return {
        name: min(round(module.p * 65536), 65535)
        for name, module in model.named_modules()
        if type(module) in (Dropout, nn.Dropout)
    }


# Follows a module's forward, by torch.fx, as a chain.


_MODULES: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.Identity: lambda _: None,
    nn.ReLU: lambda _: Activation("relu"),
    nn.LeakyReLU: lambda m: Activation("leaky_relu", (m.negative_slope,)),
    nn.GELU: lambda m: Activation("gelu", (m.approximate,)),
    nn.SiLU: lambda _: Activation("silu"),
    nn.ELU: lambda m: Activation("elu", (m.alpha,)),
    nn.Tanh: lambda _: Activation("tanh"),
    nn.Sigmoid: lambda _: Activation("sigmoid"),
    nn.Softplus: lambda m: Activation("softplus", (m.beta, m.threshold)),
}
_FUNCTIONS: dict[Any, Activation] = {
    torch.relu: Activation("relu"),
    functional.relu: Activation("relu"),
    functional.leaky_relu: Activation("leaky_relu", (0.01,)),
    functional.gelu: Activation("gelu", ("none",)),
    functional.silu: Activation("silu"),
    functional.elu: Activation("elu", (1.0,)),
    torch.tanh: Activation("tanh"),
    functional.tanh: Activation("tanh"),
    torch.sigmoid: Activation("sigmoid"),
    functional.sigmoid: Activation("sigmoid"),
    functional.softplus: Activation("softplus", (1.0, 20.0)),
}
_METHODS = {name: Activation(name) for name in ("relu", "tanh", "sigmoid")}


def trace_graph(model: nn.Module, example: Tensor) -> LayerGraph:
    """The chain that a module's forward is, in the mode it is in.

    Args:
        model: Its forward is traced, not called.
        example: Inputs `[N, *input_shape]`, of which only the shape is looked at.

    Raises:
        UnsupportedModel: If it is something else.
    """
    return _Follower(model, example).read()


class _Tracer(fx.Tracer):
    """Goes into every module but those that are read whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return type(m) in (*_MODULES, nn.Linear, nn.Flatten, nn.Dropout, Dropout)


class _Follower:
    """Follows the one value that runs through a traced module."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model
        self.shape = tuple(example.shape[1:])
        self.inputs = example[0].numel()
        self.width = self.inputs  # of the value, once it is flat
        self.steps: list[Step] = []
        self.taken: set[str] = set()  # parameters
        self.drops: dict[str, int] = {}
        self.value: fx.Node | None = None
        self.sizes: set[fx.Node] = set()  # what was asked of a value's shape

    def read(self) -> LayerGraph:
        try:
            graph = _Tracer().trace(self.model)
        except Exception as error:
            # The tracer cannot follow a branch that depends on values; nor can a chain.
            raise UnsupportedModel(
                "its forward cannot be traced: it may depend on values"
            ) from error
        modes = {m.training for m in self.model.modules() if isinstance(m, Dropout | nn.Dropout)}
        if modes - {self.model.training}:
            raise UnsupportedModel("its dropout is switched by itself")
        for node in graph.nodes:
            if node.op == "placeholder":
                if self.value is not None:
                    raise UnsupportedModel("its forward takes more than one input")
                self.value = node
            elif node.op == "output":
                if node.args != (self.value,):
                    raise UnsupportedModel(
                        "its forward returns more than one value, or not the last"
                    )
            elif node.op != "get_attr":
                self._follow(node)
        names = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        if names != self.taken:
            raise UnsupportedModel("some of its parameters take no part")
        return LayerGraph(self.inputs, self.width, tuple(self.steps))

    def _follow(self, node: fx.Node) -> None:
        if self._is_size(node):
            self.sizes.add(node)
            return
        if self.value is None or not node.args or node.args[0] is not self.value:
            raise UnsupportedModel(
                f"it is no chain: {_told(node)} is not applied to the value before it"
            )
        if node.op == "call_module":
            self._module(str(node.target), self.model.get_submodule(str(node.target)))
        elif node.op == "call_function":
            self._function(node)
        else:
            self._method(node)
        self.value = node

    def _is_size(self, node: fx.Node) -> bool:
        """Whether a node asks for the number of examples, which a reshape may name."""
        first = node.args[0] if node.args else None
        if node.op == "call_method" and node.target == "size":
            return first is self.value
        if node.op == "call_function" and node.target in (getattr, len):
            return first is self.value and node.args[1:] in ((), ("shape",))
        return bool(node.target is operator.getitem) and first in self.sizes

    def _module(self, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            bias = f"{name}.bias" if module.bias is not None else None
            self._dense(f"{name}.weight", bias, module.in_features, module.out_features)
        elif isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                raise UnsupportedModel(f"{name} does not flatten each example")
            self._flatten()
        elif isinstance(module, Dropout | nn.Dropout):
            if not self._is_flat():
                raise UnsupportedModel(f"{name} drops before the input is flat")
            if module.p >= 1:
                raise UnsupportedModel(f"{name} drops everything")
            if name in self.drops and isinstance(module, Dropout):
                raise UnsupportedModel(f"{name} is used twice")
            self.drops[name] = self.drops.get(name, 0) + 1
            again = f"#{self.drops[name]}" if self.drops[name] > 1 else ""
            self.steps.append(Drop(name, name + again))
        else:
            self._activation(_MODULES[type(module)](module))

    def _function(self, node: fx.Node) -> None:
        target, rest = node.target, node.args[1:]
        if target is functional.linear:
            names = [n.target if isinstance(n, fx.Node) else None for n in rest]
            names += [node.kwargs[k].target if isinstance(node.kwargs[k], fx.Node) else None  # type: ignore[union-attr]
                      for k in ("weight", "bias") if k in node.kwargs]  # fmt: skip
            weight, bias = [*names, None][:2]
            if weight is None:
                raise UnsupportedModel("the weight of a linear layer is computed")
            outputs, inputs = self.model.get_parameter(str(weight)).shape
            if bias is not None and self.model.get_parameter(str(bias)).shape != (outputs,):
                raise UnsupportedModel("the bias of a linear layer is shared by its outputs")
            self._dense(str(weight), None if bias is None else str(bias), inputs, outputs)
        elif target is torch.flatten:
            self._flatten_from(node)
        elif target is functional.dropout:
            raise UnsupportedModel("it calls 'dropout'; the module nn.Dropout can take part")
        elif target in _FUNCTIONS and not rest and not set(node.kwargs) - {"inplace"}:
            self._activation(_FUNCTIONS[target])
        else:
            raise UnsupportedModel(f"it has {_told(node)}")

    def _method(self, node: fx.Node) -> None:
        target = str(node.target)
        if target == "flatten":
            self._flatten_from(node)
        elif target in ("view", "reshape"):
            first, *rest = node.args[1:] if not node.kwargs else (None,)
            rows = first in self.sizes and rest in ([-1], [self.inputs])
            if not rows and [first, *rest] != [-1, self.inputs]:
                raise UnsupportedModel("it gives its input another shape than one row per example")
            self._flatten()
        elif target in _METHODS and len(node.args) == 1:
            self._activation(_METHODS[target])
        else:
            raise UnsupportedModel(f"it has {_told(node)}")

    def _flatten_from(self, node: fx.Node) -> None:
        names = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        if {"end_dim": -1, **names} != {"start_dim": 1, "end_dim": -1}:
            raise UnsupportedModel("it does not flatten each example")
        self._flatten()

    def _flatten(self) -> None:
        if not self._is_flat():
            self.shape = (self.inputs,)

    def _is_flat(self) -> bool:
        return len(self.shape) == 1

    def _activation(self, found: Activation | None) -> None:
        if found is not None:
            self.steps.append(found)

    def _dense(self, weight: str, bias: str | None, inputs: int, outputs: int) -> None:
        if not self._is_flat():
            raise UnsupportedModel("a linear layer takes an input that is not flat")
        names = {weight} if bias is None else {weight, bias}
        if names & self.taken:
            raise UnsupportedModel(f"{weight} is used twice")
        if inputs != self.width:
            raise UnsupportedModel(f"{weight} does not fit what comes before it")
        self.taken |= names
        self.width = outputs
        self.steps.append(Dense(weight, bias, inputs, outputs))


def _told(node: fx.Node) -> str:
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return f"'{target}'"


# Reads an ordinary module as a chain, and holds what was read to what the module gives.


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def read_graph(model: nn.Module, example: Tensor) -> LayerGraph:
    """The chain that a module is.

    Its forward is traced, in training and in evaluation, and what was read is held to what the
    module gives for the example: a misreading is no chain either.

    Args:
        model: Is not changed: a copy of it is read.
        example: Inputs `[N, *input_shape]`, N at least 2.

    Raises:
        UnsupportedModel: If it is something else.
    """
    _refuse_more_than_parameters(model)
    try:
        copied = copy.deepcopy(model)
        memory, drawn = _memory(copied), digest_of_globals()
        chains = {trace_graph(copied.train(mode), example) for mode in (True, False)}
        found = chains.pop()
        if chains:
            raise UnsupportedModel("its forward differs between training and evaluation")
        if digest_of_globals() != drawn:
            raise UnsupportedModel("its forward draws at random")
        if _memory(copied) != memory:
            raise UnsupportedModel("its forward changes the module")
        for mode in (False, True):
            _hold(copied, found, example, training=mode)
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever a user's forward does when it is followed
        raise UnsupportedModel(f"it cannot be followed ({type(error).__name__})") from error
    return found


def _refuse_more_than_parameters(model: nn.Module) -> None:
    """Refuses what acts on a module from outside its forward, or is kept beside its parameters."""
    for name, module in model.named_modules():
        if any(getattr(module, hooks) for hooks in _HOOKS) or "forward" in vars(module):
            raise UnsupportedModel(f"{name or 'the model'} has hooks")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if more := sorted(set(model.state_dict()) ^ set(parameters)):
        raise UnsupportedModel(f"the model has buffers or other state, such as {more[0]}")
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise UnsupportedModel("its parameters are not float32")
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise UnsupportedModel(f"{name} has hooks")
    if len({p.untyped_storage().data_ptr() for p in parameters.values()}) < len(parameters):
        raise UnsupportedModel("a parameter is used twice")


def _memory(model: nn.Module) -> dict[str, dict[str, str]]:
    """What modules keep besides tensors and modules: a forward that counts changes it."""
    return {
        name: {
            key: repr(value)
            for key, value in vars(module).items()
            if isinstance(value, int | float | str | tuple | list | dict | set)
            and key != "training"
            and not key.startswith(("_parameters", "_buffers", "_modules"))
        }
        for name, module in model.named_modules()
    }


def _hold(model: nn.Module, chain: LayerGraph, example: Tensor, *, training: bool) -> None:
    """Holds what was read to what the module gives: outputs, and gradients of all parameters."""
    model.train(training)
    for module in model.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
            if isinstance(module, Dropout):
                module.threshold = 0
    parameters = dict(model.named_parameters())
    with torch.enable_grad():
        given = model(example.clone())
        read = _followed(chain, parameters, example)
        if given.shape != read.shape:
            raise UnsupportedModel("what it returns has another shape than what was read from it")
        weights = torch.linspace(-1, 1, read.numel(), device=read.device).view_as(read)
        slopes = [
            torch.autograd.grad((found * weights).sum(), [*parameters.values()], allow_unused=True)
            for found in (given, read)
        ]
    pairs = zip((given, *slopes[0]), (read, *slopes[1]), strict=True)
    if not all(_alike(one, other) for one, other in pairs):
        raise UnsupportedModel("what it computes is not what was read from it")


def _followed(chain: LayerGraph, parameters: Mapping[str, Tensor], example: Tensor) -> Tensor:
    """What a chain computes, without dropout."""
    value = example.flatten(1)
    for step in chain.steps:
        if isinstance(step, Dense):
            bias = None if step.bias is None else parameters[step.bias]
            value = functional.linear(value, parameters[step.weight], bias)
        elif isinstance(step, Activation):
            value = ACTIVATIONS[step.kind].forward(value, *step.numbers)
    return value


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, 1e-3, 1e-5, equal_nan=True)
