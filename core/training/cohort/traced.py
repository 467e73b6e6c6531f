"""A cohort's second form: modules that are no chain, batched by `torch.func` and traced once.

A member is a call of its module with parameters of its own (`functional_call`); `vmap` makes the
calls of all members one, and `make_fx` writes down what is computed, forward and backward, so that
a step pays for no transformation. What mixes the rows of a batch or draws at random is replaced
first: batch normalization knows which rows are examples, dropout takes its masks from the members'
streams. `trial` decides whether the result is the module's own, and a member's bits the same in any
company.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from paribus.core.components.models import Dropout
from paribus.core.training.cohort.graph import (
    UnsupportedModel,
    python_state,
    refuse_more_than_parameters,
)
from paribus.core.training.cohort.kernels import DropLayer, padded

_OF_ANY_MODULE = vars(nn.Module())
ROWS = 32  # with that many rows any vector of a member is a whole number of 32 floats


@dataclass(frozen=True)
class TracedGraph:
    """What a module computes from `[N, *shape]` to outputs `[N, outputs]`, by its description.

    Attributes:
        parameters: Names and shapes, in the module's order.
        drops: By stream the dropout layer, and the numbers of an example that it is given.
        description: Of its layers and their settings, but the rates of dropout.
    """

    shape: tuple[int, ...]
    outputs: int
    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    drops: tuple[tuple[str, str, tuple[int, ...]], ...]
    description: str

    @property
    def inputs(self) -> int:
        return torch.Size(self.shape).numel()


def read_module(model: nn.Module, example: Tensor) -> TracedGraph:
    """Return what `TracedLayer` computes for a module; `trial` says whether it is right.

    Raises:
        UnsupportedModel: If it cannot be batched.
    """
    refuse_more_than_parameters(model, buffers=True)
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            raise UnsupportedModel(f"{name} is a convolution, which is no faster for several runs")
        if isinstance(module, Dropout | nn.Dropout) and module.p >= 1:
            raise UnsupportedModel(f"{name} drops everything")
        if plain := [key for key, value in vars(module).items() if isinstance(value, Tensor)]:
            raise UnsupportedModel(f"{name or 'the model'} keeps {plain[0]}, which is no buffer")
    shapes = [(name, tuple(p.shape)) for name, p in model.named_parameters()]
    if narrow := [name for name, shape in shapes if len(shape) > 1 and 1 in shape]:
        raise UnsupportedModel(f"{narrow[0]} has a side of 1, which is rounded by its place")
    described = copy.deepcopy(model)
    for module in described.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
    call = _Call()
    with _tracing(), torch.no_grad():
        outputs = _swapped(described, call).train()(example.clone())
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(example):
        raise UnsupportedModel("it does not return one row of numbers per example")
    own = {
        name: {key: value for key, value in kept.items() if key not in _OF_ANY_MODULE}
        for name, kept in python_state(described).items()
    }
    description = f"{described!r} {own}"
    drops = tuple((stream, *found) for stream, found in call.drops.items())
    return TracedGraph(
        tuple(example.shape[1:]), outputs.shape[1], tuple(shapes), drops, description
    )


class _Call:
    """What the replaced layers of a module are given and give back during one call of it."""

    def __init__(self) -> None:
        self.shares: Tensor | None = None  # of each row in a mean over the examples; None: equal
        self.examples: Tensor | float = 0.0
        self.masks: Mapping[str, Tensor] | None = None  # by stream; None: nothing is dropped
        self.drops: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.buffers: dict[str, Tensor] = {}  # new values


class _BatchNorm(nn.Module):
    """Batch normalization over the rows that are examples; the others are what fills up."""

    def __init__(self, module: nn.modules.batchnorm._BatchNorm, name: str, call: _Call) -> None:
        super().__init__()
        if module.momentum is None or module.running_mean is None or module.running_var is None:
            raise UnsupportedModel(f"{name} keeps no moving averages")
        self.weight, self.bias = module.weight, module.bias
        self.register_buffer("running_mean", module.running_mean)
        self.register_buffer("running_var", module.running_var)
        self.register_buffer("num_batches_tracked", module.num_batches_tracked)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        self.eps, self.momentum, self.prefix, self.call = module.eps, module.momentum, name, call

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean, var = self.running_mean.view(shape), self.running_var.view(shape)
        if self.training:
            of_each = x[0, 0].numel() if x.ndim > 2 else 1
            shares, examples = self.call.shares, self.call.examples
            if shares is None:
                shares, examples = x.new_full((len(x),), 1 / len(x)), float(len(x))
            count = examples * of_each
            rows, dims = shares.view([-1] + [1] * (x.ndim - 1)) / of_each, [0, *range(2, x.ndim)]
            mean = (x * rows).sum(dims, keepdim=True)
            var = ((x - mean).square() * rows).sum(dims, keepdim=True)
            unbiased = var.flatten() * (count / (count - 1))
            for name, new in (("mean", mean.flatten()), ("var", unbiased)):
                old = getattr(self, f"running_{name}")
                self.call.buffers[f"{self.prefix}.running_{name}"] = old.lerp(new, self.momentum)
            tracked = self.num_batches_tracked + 1
            self.call.buffers[f"{self.prefix}.num_batches_tracked"] = tracked
        y = (x - mean) * (var + self.eps).rsqrt()
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y


class _Drop(nn.Module):
    """Dropout by masks from outside: a stream for each time that it is called."""

    def __init__(self, name: str, call: _Call, *, once: bool) -> None:
        super().__init__()
        self.layer, self.call, self.once = name, call, once

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        times = sum(layer == self.layer for layer, _ in self.call.drops.values())
        if times and self.once:
            raise UnsupportedModel(f"{self.layer} is used twice")
        stream = f"{self.layer}#{times + 1}" if times else self.layer
        self.call.drops[stream] = self.layer, tuple(x.shape[1:])
        masks = self.call.masks or {}
        return x * masks[stream].view(x.shape) if stream in masks else x


def _swapped(model: nn.Module, call: _Call) -> nn.Module:
    """Return a copy of a module whose batch normalization and dropout are ours."""
    model = nn.Sequential(copy.deepcopy(model))  # so that the module itself can be replaced
    for path, module in list(model.named_modules()):
        name = path.partition(".")[2]
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            new: nn.Module = _BatchNorm(module, name, call)
        elif isinstance(module, Dropout | nn.Dropout):
            new = _Drop(name, call, once=isinstance(module, Dropout))
        else:
            continue
        parent, _, leaf = path.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return model[0]


@contextmanager
def _tracing() -> Iterator[None]:
    """Let attention be written down as products; refuse what cannot be followed."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), sdpa_kernel(SDPBackend.MATH):
            yield
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever a user's forward does when it is followed
        raise UnsupportedModel(f"it cannot be batched ({type(error).__name__})") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class TracedLayer:
    """A whole module for all members, as a layer of a program: `kernels.Layer`.

    Args:
        model: Of any member.
        graph: What was read from it.
        parameters: By name the members' parameters, `[members, *shape]`, and `gradients` likewise.
        buffers: By name the members' buffers, which training changes.
        drops: By stream the layer that makes its masks.
        rows: Of a training batch, filled up.

    Attributes:
        shares: Each row's share in the mean of the batch to come, and how many are examples.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: TracedGraph,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        drops: Mapping[str, DropLayer],
        rows: int,
    ) -> None:
        self.model, self.graph, self.drops = model, graph, drops
        self.parameters, self.gradients, self.buffers = parameters, gradients, buffers
        (self.members, *_), self.device = next(iter(parameters.values())).shape, model_device(model)
        # Ones, from which dropout makes its masks.
        sizes = {s: torch.Size(shape).numel() for s, _, shape in graph.drops if s in drops}
        self.ones = {
            stream: torch.ones(self.members, rows, padded(size), device=self.device)
            for stream, size in sizes.items()
        }
        self.sizes = sizes
        self.shares: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        assert self.shares is not None
        masks = [
            self.drops[stream].forward(ones)[:, :, : self.sizes[stream]].contiguous()
            for stream, ones in self.ones.items()
        ]
        forward, self._backward = self._program(x, masks)
        given = self._given(x)
        (outputs, *new), self._saved = forward(*given, *self.shares, *masks)
        for buffer, value in zip(self.buffers.values(), new, strict=True):
            buffer.copy_(value)
        return self._padded(outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        found = self._backward(*self._saved, gradient[:, :, : self.graph.outputs].contiguous())
        for own, computed in zip(self.gradients.values(), found, strict=True):
            own.copy_(computed)
        self._saved = ()
        return gradient

    def evaluate(self, x: Tensor) -> Tensor:
        forward, _ = self._program(x, None)
        (outputs, *_), _ = forward(*self._given(x))
        return self._padded(outputs)

    def _given(self, x: Tensor) -> list[Tensor]:
        """Return parameters, buffers and inputs, which are traced as contiguous tensors."""
        inputs = x[:, :, : self.graph.inputs].reshape(*x.shape[:2], *self.graph.shape)
        values = *self.parameters.values(), *self.buffers.values(), inputs
        return [value.contiguous() for value in values]

    def _padded(self, outputs: Tensor) -> Tensor:
        return nn.functional.pad(outputs, (0, padded(self.graph.outputs) - self.graph.outputs))

    def _program(
        self, x: Tensor, masks: Sequence[Tensor] | None
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return forward and backward for such inputs; without masks, evaluation."""
        key = (
            self.graph,
            self.members,
            x.shape[1],
            tuple(self.ones),
            masks is None,
            str(self.device),
        )
        if key not in _traces:
            _traces[key] = self._traced(x, masks)
        return _traces[key]

    def _traced(
        self, x: Tensor, masks: Sequence[Tensor] | None
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        from torch.func import functional_call, vjp, vmap
        from torch.fx.experimental.proxy_tensor import make_fx

        call, training = _Call(), masks is not None
        module = _swapped(self.model, call).train(training)
        names, kept = [*self.parameters], [*self.buffers]

        def member(*given: Tensor) -> tuple[Tensor, ...]:
            values = iter(given)
            parameters = {name: next(values) for name in names}
            buffers = {name: next(values) for name in kept}
            batch = next(values)
            call.drops, call.buffers = {}, {}
            if not training:
                return (functional_call(module, (parameters, buffers), (batch,)),)
            call.shares, call.examples = next(values), next(values)
            call.masks = {stream: next(values) for stream in self.ones}

            def outputs_of(parameters: dict[str, Tensor]) -> Any:
                outputs = functional_call(module, (parameters, buffers), (batch,))
                return outputs, [call.buffers.get(name, buffers[name]) for name in kept]

            pulled: Any = vjp(outputs_of, parameters, has_aux=True)  # its stub knows no third
            outputs, pull_back, new = pulled
            (gradients,) = pull_back(next(values))
            return outputs, *new, *(gradients[name] for name in names)

        with _tracing(), torch.enable_grad():
            given = [torch.zeros_like(each).copy_(each) for each in self._given(x)]
            in_dims = [0] * len(given)
            if training:
                outputs = given[0].new_ones(self.members, x.shape[1], self.graph.outputs)
                shares = [torch.ones_like(outputs[0, :, 0]), torch.ones_like(outputs[0, 0, 0]) * 2]
                given += [*shares, *(torch.ones_like(mask) for mask in masks or ()), outputs]
                in_dims += [None, None, *[0] * (len(self.ones) + 1)]  # type: ignore[list-item]
            traced = make_fx(vmap(member, tuple(in_dims), randomness="error"))(*given)
        return _split(traced, 1 + len(kept) if training else 1)


# By all that a trace depends on: it takes a second, and parts of a cohort and evaluations share it.
_traces: dict[Any, tuple[Callable[..., Any], Callable[..., Any]]] = {}


def _split(traced: fx.GraphModule, results: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Divide a graph into what its first results need, and what its last input is needed for.

    Returns:
        The first part, which returns the results and what the second is given beside that input.
    """
    graph = traced.graph
    for node in list(graph.nodes):
        if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    graph.eliminate_dead_code()
    *nodes, output = graph.nodes
    returned = output.args[0]
    inputs = [node for node in nodes if node.op == "placeholder"]
    late = {inputs[-1]} if len(returned) > results else set()
    for node in nodes:
        if late.intersection(node.all_input_nodes):
            late.add(node)
    wanted = {node: None for n in nodes if n in late for node in n.all_input_nodes}
    wanted |= dict.fromkeys(returned[results:])
    saved = [node for node in wanted if node not in late]

    def part(given: list[fx.Node], own: set[fx.Node], found: Any) -> Callable[..., Any]:
        graph = fx.Graph()
        copied = {node: graph.placeholder(node.name) for node in given}
        for node in nodes:
            if node in own:
                copied[node] = graph.node_copy(node, copied.__getitem__)
        graph.output(fx.map_arg(found, copied.__getitem__))
        return fx.GraphModule(traced, graph).forward

    first = part([], set(nodes) - late, (list(returned[:results]), saved))
    return first, part([*saved, inputs[-1]], late - {inputs[-1]}, list(returned[results:]))


def model_device(model: nn.Module) -> torch.device:
    """Return where a module's parameters are."""
    return next(model.parameters()).device


_trials: dict[Any, str | None] = {}


def trial(model: nn.Module, graph: TracedGraph, inputs: Tensor, rows: int, eval_rows: int) -> None:
    """Hold a traced module to its own outputs and gradients, and its bits to any company.

    Once a process for each module; takes seconds.

    Args:
        model: At its first step.
        graph: As read from it.
        inputs: Some examples, `[N, *shape]`.
        rows: Of a filled-up training batch.
        eval_rows: Of a filled-up batch in evaluation.

    Raises:
        UnsupportedModel: If one of them differs.
    """
    key = graph, rows, eval_rows, str(model_device(model))
    if key not in _trials:
        try:
            _try(model, graph, inputs, rows, eval_rows)
            _trials[key] = None
        except UnsupportedModel as error:
            _trials[key] = str(error)
    if why := _trials[key]:
        raise UnsupportedModel(why)


def _try(model: nn.Module, graph: TracedGraph, inputs: Tensor, rows: int, eval_rows: int) -> None:
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
    size = max(2, min(rows - 1, len(inputs)))  # not full: what fills up must count nothing
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(len(inputs), graph.outputs, generator=generator).to(inputs.device)

    @cache
    def member(number: int) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
        """Weights near the model's own, buffers, and a batch with the gradient of its outputs."""
        own = torch.Generator().manual_seed(number)
        parameters = {
            name: p.detach() * (1 + 0.1 * number * torch.rand(p.shape, generator=own).to(p.device))
            for name, p in model.named_parameters()
        }
        order = torch.arange(size).roll(number)
        filled = torch.cat([order, order[:1].expand(max(rows, eval_rows) - size)])
        gradient = weights[filled].contiguous()
        gradient[size:] = 0
        return parameters, dict(model.named_buffers()), inputs[filled].flatten(1), gradient

    @torch.inference_mode()
    def computed(*members: int) -> dict[int, list[Tensor]]:
        found = [member(number) for number in members]
        stacks = [
            {name: torch.stack([each[part][name] for each in found]) for name in found[0][part]}  # type: ignore[index]
            for part in (0, 1)
        ]
        x, gradient = (torch.stack([each[part] for each in found]) for part in (2, 3))  # type: ignore[misc]
        gradients = {name: torch.empty_like(stacked) for name, stacked in stacks[0].items()}
        layer = TracedLayer(model, graph, stacks[0], gradients, stacks[1], {}, rows)
        shares = torch.zeros(rows, device=x.device)
        shares[:size] = 1 / size
        layer.shares = shares, torch.tensor(float(size), device=x.device)
        outputs = [layer.forward(x[:, :rows])[:, :size, : graph.outputs]]
        layer.backward(gradient[:, :rows])
        evaluated = layer.evaluate(x[:, :eval_rows])
        outputs.append(evaluated[:, : min(size, eval_rows), : graph.outputs])
        every = [*outputs, *gradients.values(), *stacks[1].values()]
        return {number: [each[row].clone() for each in every] for row, number in enumerate(members)}

    alone = {number: computed(number)[number] for number in (0, 1)}
    with torch.inference_mode(False), torch.enable_grad():
        module = copy.deepcopy(model).train()
        outputs = module(inputs[:size].clone())
        total = (outputs * weights[:size]).sum()
        gradients = torch.autograd.grad(total, [*module.parameters()], allow_unused=True)
        with torch.no_grad():
            evaluated = module.eval()(inputs[: min(size, eval_rows)].clone())
    theirs = [outputs, evaluated, *gradients, *module.buffers()]
    for ours, own in zip(alone[0], theirs, strict=True):
        if own is None:
            raise UnsupportedModel("some of its parameters take no part")
        if not torch.allclose(ours.view(own.shape).double(), own.double(), 1e-3, 1e-5):
            raise UnsupportedModel("batched, it does not compute what it computes alone")
    for company in ((1, 0), (4, 0, 3, 1, 2, 5, 6)):
        among = computed(*company)
        for number, bits in alone.items():
            if not all(map(torch.equal, among[number], bits)):
                raise UnsupportedModel("its bits would depend on the other members of a cohort")
