"""What a cohort computes: a chain of dense layers, activations and dropout, read from a module."""

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from paribus.core.components.models import Dropout, dropped_of_65536
from paribus.core.rng import digest_of_globals
from paribus.core.training.cohort.kernels import ACTIVATIONS


class UnsupportedModel(Exception):
    """Why a run cannot be a member of a cohort. The message is one clause, for `show`."""


@dataclass(frozen=True)
class Dense:
    """A linear layer by the names of its parameters; `bias` may be None."""

    weight: str
    bias: str | None
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Activation:
    """An elementwise function of `kernels.ACTIVATIONS`, with its numbers."""

    kind: str
    numbers: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Drop:
    """Dropout by the names of its layer and of its stream; its rate is each member's own."""

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
    """Return by dropout layer how many of 65536 numbers are dropped."""
    return {
        name: dropped_of_65536(module.p)
        for name, module in model.named_modules()
        if type(module) in (Dropout, nn.Dropout)
    }


def read_graph(model: nn.Module, example: Tensor) -> LayerGraph:
    """Return the chain that a module computes.

    The forward of a copy is traced in training and in evaluation mode, and the chain is compared
    with the module on the example `[N, *input_shape]`, N at least 2, outputs and gradients: a
    misreading is refused too.

    Raises:
        UnsupportedModel: If it computes something else.
    """
    refuse_more_than_parameters(model)
    try:
        copied = copy.deepcopy(model)
        before, generators = python_state(copied), digest_of_globals()
        graphs = {trace_graph(copied.train(mode), example) for mode in (True, False)}
        graph = graphs.pop()
        if graphs:
            raise UnsupportedModel("its forward differs between training and evaluation")
        if digest_of_globals() != generators:
            raise UnsupportedModel("its forward draws at random")
        if python_state(copied) != before:
            raise UnsupportedModel("its forward changes the module")
        for mode in (False, True):
            _compare(copied.train(mode), graph, example)
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever a user's forward does when it is followed
        raise UnsupportedModel(f"it cannot be followed ({type(error).__name__})") from error
    return graph


def trace_graph(model: nn.Module, example: Tensor) -> LayerGraph:
    """Return the chain that a module's forward is, in the mode it is in: traced, not called.

    Raises:
        UnsupportedModel: If it is something else.
    """
    return _Reader(model, example).read()


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
_METHODS = {name: Activation(name) for name in ("relu", "tanh", "sigmoid")}
_FUNCTIONS: dict[Any, Activation] = {
    **{getattr(torch, name): activation for name, activation in _METHODS.items()},
    **{getattr(functional, name): activation for name, activation in _METHODS.items()},
    functional.leaky_relu: Activation("leaky_relu", (0.01,)),
    functional.gelu: Activation("gelu", ("none",)),
    functional.silu: Activation("silu"),
    functional.elu: Activation("elu", (1.0,)),
    functional.softplus: Activation("softplus", (1.0, 20.0)),
}


class _Tracer(fx.Tracer):
    """Goes into every module but those that are read as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return type(m) in (*_MODULES, nn.Linear, nn.Flatten, nn.Dropout, Dropout)


class _Reader:
    """Follows the one value that runs through a traced module, and notes what is applied to it."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model
        self.inputs = self.width = example[0].numel()
        self.is_flat = example.ndim == 2
        self.steps: list[Step] = []
        self.parameters: set[str] = set()  # that were used
        self.drops: dict[str, int] = {}  # how often each dropout layer was called
        self.value: fx.Node | None = None
        self.sizes: set[fx.Node] = set()  # numbers of examples, which a reshape may name

    def read(self) -> LayerGraph:
        try:
            graph = _Tracer().trace(self.model)
        except Exception as error:
            # The tracer cannot follow a branch that depends on values; nor can a chain.
            text = "its forward cannot be traced: it may depend on values"
            raise UnsupportedModel(text) from error
        modes = {m.training for m in self.model.modules() if isinstance(m, Dropout | nn.Dropout)}
        if modes - {self.model.training}:
            raise UnsupportedModel("it switches its dropout on and off")
        for node in graph.nodes:
            if node.op == "placeholder":
                if self.value is not None:
                    raise UnsupportedModel("its forward takes more than one input")
                self.value = node
            elif node.op == "output":
                if node.args != (self.value,):
                    text = "its forward returns more than one value, or not the last"
                    raise UnsupportedModel(text)
            elif self._is_size(node):
                self.sizes.add(node)
            elif node.op != "get_attr":
                if not node.args or node.args[0] is not self.value:
                    text = f"{_called(node)} is not applied to the value before it"
                    raise UnsupportedModel(f"it is no chain: {text}")
                getattr(self, node.op)(node)
                self.value = node
        names = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        if names != self.parameters:
            raise UnsupportedModel("some of its parameters take no part")
        return LayerGraph(self.inputs, self.width, tuple(self.steps))

    def _is_size(self, node: fx.Node) -> bool:
        """Return whether a node asks for a shape: ``x.size(0)``, ``x.shape[0]``, ``len(x)``."""
        first = node.args[0] if node.args else None
        if node.op == "call_method" and node.target == "size":
            return first is self.value
        if node.op == "call_function" and node.target in (getattr, len):
            return first is self.value and node.args[1:] in ((), ("shape",))
        return bool(node.target is operator.getitem) and first in self.sizes

    def call_module(self, node: fx.Node) -> None:
        name = str(node.target)
        module = self.model.get_submodule(name)
        if isinstance(module, nn.Linear):
            bias = f"{name}.bias" if module.bias is not None else None
            self._dense(f"{name}.weight", bias, module.in_features, module.out_features)
        elif isinstance(module, nn.Flatten):
            self._flatten(module.start_dim, module.end_dim)
        elif isinstance(module, Dropout | nn.Dropout):
            if not self.is_flat:
                raise UnsupportedModel(f"{name} drops before the input is flat")
            if module.p >= 1:
                raise UnsupportedModel(f"{name} drops everything")
            if name in self.drops and isinstance(module, Dropout):
                raise UnsupportedModel(f"{name} is used twice")
            self.drops[name] = self.drops.get(name, 0) + 1
            again = f"#{self.drops[name]}" if self.drops[name] > 1 else ""
            self.steps.append(Drop(name, name + again))
        elif activation := _MODULES[type(module)](module):
            self.steps.append(activation)

    def call_function(self, node: fx.Node) -> None:
        target, rest = node.target, node.args[1:]
        if target is functional.linear:
            given = dict(zip(("weight", "bias"), rest, strict=False)) | node.kwargs
            nodes = (given.get("weight"), given.get("bias"))
            weight, bias = (str(n.target) if isinstance(n, fx.Node) else None for n in nodes)
            if weight is None:
                raise UnsupportedModel("the weight of a linear layer is computed")
            outputs, inputs = self.model.get_parameter(weight).shape
            if bias is not None and self.model.get_parameter(bias).shape != (outputs,):
                raise UnsupportedModel("the bias of a linear layer is shared by its outputs")
            self._dense(weight, bias, inputs, outputs)
        elif target is torch.flatten:
            self._flatten(*node.args[1:], **node.kwargs)
        elif target is functional.dropout:
            raise UnsupportedModel("it calls 'dropout'; the module nn.Dropout can take part")
        elif target in _FUNCTIONS and not rest and not set(node.kwargs) - {"inplace"}:
            self.steps.append(_FUNCTIONS[target])
        else:
            raise UnsupportedModel(f"it has {_called(node)}")

    def call_method(self, node: fx.Node) -> None:
        target = str(node.target)
        if target == "flatten":
            self._flatten(*node.args[1:], **node.kwargs)
        elif target in ("view", "reshape"):
            first, *rest = node.args[1:] if not node.kwargs else (None,)
            by_size = first in self.sizes and rest in ([-1], [self.inputs])
            if not by_size and [first, *rest] != [-1, self.inputs]:
                raise UnsupportedModel("it gives its input another shape than one row per example")
            self.is_flat = True
        elif target in _METHODS and len(node.args) == 1:
            self.steps.append(_METHODS[target])
        else:
            raise UnsupportedModel(f"it has {_called(node)}")

    def _flatten(self, start_dim: Any = 0, end_dim: Any = -1) -> None:
        if (start_dim, end_dim) != (1, -1):
            raise UnsupportedModel("it does not flatten each example")
        self.is_flat = True

    def _dense(self, weight: str, bias: str | None, inputs: int, outputs: int) -> None:
        if not self.is_flat:
            raise UnsupportedModel("a linear layer takes an input that is not flat")
        names = {weight} if bias is None else {weight, bias}
        if names & self.parameters:
            raise UnsupportedModel(f"{weight} is used twice")
        if inputs != self.width:
            raise UnsupportedModel(f"{weight} does not fit what comes before it")
        self.parameters |= names
        self.width = outputs
        self.steps.append(Dense(weight, bias, inputs, outputs))


def _called(node: fx.Node) -> str:
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return f"'{target}'"


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def refuse_more_than_parameters(model: nn.Module, *, buffers: bool = False) -> None:
    """Refuse what acts on a module from outside its forward, or is kept beside its parameters.

    Args:
        model: A module.
        buffers: Whether it may keep those.
    """
    for name, module in model.named_modules():
        hooks = [hook for kind in _HOOKS for hook in getattr(module, kind).values()]
        if hooks or "forward" in vars(module):
            raise UnsupportedModel(f"{name or 'the model'} has hooks")
    parameters = dict(model.named_parameters(remove_duplicate=False))
    kept = set(parameters) | ({name for name, _ in model.named_buffers()} if buffers else set())
    if more := sorted((set(model.state_dict()) ^ set(parameters)) - (kept - set(parameters))):
        raise UnsupportedModel(f"the model has buffers or other state, such as {more[0]}")
    for name, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise UnsupportedModel("its parameters are not float32")
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise UnsupportedModel(f"{name} has hooks")
    if len({p.untyped_storage().data_ptr() for p in parameters.values()}) < len(parameters):
        raise UnsupportedModel("a parameter is used twice")


def python_state(model: nn.Module) -> dict[str, dict[str, str]]:
    """Return what modules keep besides tensors and modules: a forward that counts changes it."""
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


def _compare(model: nn.Module, graph: LayerGraph, example: Tensor) -> None:
    """Compare the chain with the module, without dropout: outputs, and gradients of parameters."""
    for module in model.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
    parameters = dict(model.named_parameters())
    with torch.enable_grad():
        given, read = model(example.clone()), example.flatten(1)
        for step in graph.steps:
            if isinstance(step, Dense):
                bias = None if step.bias is None else parameters[step.bias]
                read = functional.linear(read, parameters[step.weight], bias)
            elif isinstance(step, Activation):
                read = ACTIVATIONS[step.kind].forward(read, *step.numbers)
        if given.shape != read.shape:
            raise UnsupportedModel("what it returns has another shape than what was read from it")
        # Other weights for each output: an error cannot cancel in their sum.
        weights = torch.linspace(-1, 1, read.numel(), device=read.device).view_as(read)
        of_given, of_read = (
            torch.autograd.grad((found * weights).sum(), [*parameters.values()], allow_unused=True)
            for found in (given, read)
        )
    for one, other in zip((given, *of_given), (read, *of_read), strict=True):
        if one is None or other is None:
            alike = one is other
        else:
            alike = torch.allclose(one, other, 1e-3, 1e-5, equal_nan=True)
        if not alike:
            raise UnsupportedModel("what it computes is not what was read from it")
