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
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from paribus.core.components.models import Dropout
from paribus.core.rng import digest_of_globals
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
        description: All that it computes, but for dropout.
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
    call = _Call()
    swapped, generators = _swapped(_undropped(model), call).train(), digest_of_globals()
    before = python_state(swapped)
    with _tracing(), torch.no_grad():
        outputs = swapped(example.clone())
    # A trace would repeat what it saw.
    if digest_of_globals() != generators:
        raise UnsupportedModel("its forward draws at random")
    if python_state(swapped) != before:
        raise UnsupportedModel("its forward changes the module")
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(example):
        raise UnsupportedModel("it does not return one row of numbers per example")
    drops = tuple((stream, *found) for stream, found in call.drops.items())
    modes = (_written_down(swapped.train(mode), call, example) for mode in (True, False))
    description = "".join(modes)
    return TracedGraph(
        tuple(example.shape[1:]), outputs.shape[1], tuple(shapes), drops, description
    )


def _written_down(module: nn.Module, call: _Call, example: Tensor) -> str:
    """Return all that a module computes, operator by operator, with its constants.

    Two models of equal layers may differ in what their forward has from its surroundings.
    """
    from torch.func import functional_call
    from torch.fx.experimental.proxy_tensor import make_fx

    def computed(state: dict[str, Tensor], batch: Tensor) -> list[Tensor]:
        call.drops, call.buffers = {}, {}
        return [functional_call(module, state, (batch,)), *call.buffers.values()]

    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with _tracing(), torch.no_grad():
        traced = make_fx(computed)(state, example.clone())
    kept = {name: value.tolist() for name, value in traced.named_buffers()}
    return f"{traced.code}{kept}"


def layers_of(model: nn.Module) -> str:
    """Return what a module says of its layers: equal ones made alike compute the same."""
    own = {
        name: {key: value for key, value in kept.items() if key not in _OF_ANY_MODULE}
        for name, kept in python_state(model).items()
    }
    return f"{model!r} {own}"


def _undropped(model: nn.Module) -> nn.Module:
    """Return a copy of a module that drops nothing."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, Dropout | nn.Dropout):
            module.p = 0.0
    return copied


@dataclass
class _Call:
    """What the replaced layers of a module are given, and give back, during one call of it."""

    shares: Tensor | None = None  # of each row in a mean over the examples; None: equal ones
    examples: Tensor | float = 0.0
    masks: Mapping[str, Tensor] = field(default_factory=dict)  # by stream
    drops: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)  # their new values


class _Normalize(torch.autograd.Function):
    """A batch's mean and variance, and its rows normalized; by half the operators of autograd's."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, shares: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        dims = [0, *range(2, x.ndim)]
        mean = (x * shares).sum(dims, keepdim=True)
        far = x - mean
        var = (far * far * shares).sum(dims, keepdim=True)
        return far * ((var + eps).rsqrt() * weight) + bias, mean, var

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        x, shares, weight, _, eps = inputs
        _, mean, var = output
        context.mark_non_differentiable(mean, var)
        context.save_for_backward(x, shares, weight, mean, (var + eps).rsqrt())

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Any) -> Any:
        x, shares, weight, mean, scale = context.saved_tensors
        dims = [0, *range(2, x.ndim)]
        y = (x - mean) * scale
        of_bias = gradient.sum(dims, keepdim=True)
        of_weight = (gradient * y).sum(dims, keepdim=True)
        of_x = (gradient - (y * of_weight + of_bias) * shares) * (scale * weight)
        return of_x, None, of_weight, of_bias, None


class _BatchNorm(nn.Module):
    """Batch normalization over the rows that are examples; the others are what fills up."""

    def __init__(self, module: Any, name: str, call: _Call) -> None:
        super().__init__()
        if module.momentum is None or module.running_mean is None or module.weight is None:
            raise UnsupportedModel(f"{name} keeps no moving averages, or has no weights")
        self.weight, self.bias = module.weight, module.bias
        for buffer, value in module.named_buffers():
            self.register_buffer(buffer, value)
        self.eps, self.momentum, self.prefix, self.call = module.eps, module.momentum, name, call

    def forward(self, x: Tensor) -> Tensor:
        old, shape = dict(self.named_buffers()), [1, -1] + [1] * (x.ndim - 2)
        weight, bias = self.weight.view(shape), self.bias.view(shape)
        if not self.training:
            mean, var = old["running_mean"].view(shape), old["running_var"].view(shape)
            return (x - mean) * (var + self.eps).rsqrt() * weight + bias
        each = x[0, 0].numel() if x.ndim > 2 else 1  # numbers of an example and a feature
        shares, examples = self.call.shares, self.call.examples
        if shares is None:
            shares, examples = x.new_full((len(x),), 1 / len(x)), float(len(x))
        rows = shares.view([-1] + [1] * (x.ndim - 1)) / each
        y, mean, var = _Normalize.apply(x, rows, weight, bias, self.eps)
        count = examples * each
        new = {"running_mean": mean.flatten(), "running_var": var.flatten() * count / (count - 1)}
        for name, value in new.items():
            self.call.buffers[f"{self.prefix}.{name}"] = old[name].lerp(value, self.momentum)
        tracked = "num_batches_tracked"
        self.call.buffers[f"{self.prefix}.{tracked}"] = old[tracked] + 1
        return y


class _Drop(nn.Module):
    """Dropout by masks from outside: a stream for each time that it is called."""

    def __init__(self, module: nn.Module, name: str, call: _Call) -> None:
        super().__init__()
        self.layer, self.call, self.once = name, call, isinstance(module, Dropout)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        times = sum(layer == self.layer for layer, _ in self.call.drops.values())
        if times and self.once:
            raise UnsupportedModel(f"{self.layer} is used twice")
        stream = f"{self.layer}#{times + 1}" if times else self.layer
        self.call.drops[stream] = self.layer, tuple(x.shape[1:])
        masks = self.call.masks
        return x * masks[stream].view(x.shape) if stream in masks else x


def _swapped(model: nn.Module, call: _Call) -> nn.Module:
    """Return a copy of a module whose batch normalization and dropout are ours."""
    model = nn.Sequential(copy.deepcopy(model))  # so that the module itself can be replaced
    for path, module in list(model.named_modules()):
        norm = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
        if norm or isinstance(module, Dropout | nn.Dropout):
            parent, _, leaf = path.rpartition(".")
            new = (_BatchNorm if norm else _Drop)(module, path.partition(".")[2], call)
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


# Forward and backward of a module for so many members.
_Steps = tuple[Callable[..., Any], Callable[..., Any]]
# By all that a trace depends on: it takes a second, and parts of a cohort and evaluations share it.
_traces: dict[Any, _Steps] = {}
_trials: dict[Any, str | None] = {}  # why not


class TracedLayer:
    """A whole module for all members, as a layer of a program: `kernels.Layer`.

    Args:
        model: Of any member.
        graph: What was read from it.
        views: By name the members' parameters and gradients, both `[members, *shape]`.
        buffers: By name the members' buffers, which training changes.
        drops: By stream the layer that makes its masks.
        rows: Of a training batch, filled up.

    Attributes:
        shares: Each row's share in the mean of the batch to come, and how many are examples.
    """

    shares: tuple[Tensor, Tensor]

    def __init__(
        self,
        model: nn.Module,
        graph: TracedGraph,
        views: Mapping[str, tuple[Tensor, Tensor]],
        buffers: Mapping[str, Tensor],
        drops: Mapping[str, DropLayer],
        rows: int,
    ) -> None:
        self.model, self.graph, self.drops = model, graph, drops
        self.views, self.buffers = views, buffers
        first, _ = next(iter(views.values()))
        self.members, self.device = len(first), first.device
        self.sizes = {s: torch.Size(shape).numel() for s, _, shape in graph.drops if s in drops}
        # Of which dropout makes its masks.
        self.ones = {s: first.new_ones(len(first), rows, padded(n)) for s, n in self.sizes.items()}

    def forward(self, x: Tensor) -> Tensor:
        masks = [
            self.drops[stream].forward(ones)[:, :, : self.sizes[stream]].contiguous()
            for stream, ones in self.ones.items()
        ]
        forward, self._backward = self._traced(x, masks)
        (outputs, *new), self._saved = forward(*self._given(x), *self.shares, *masks)
        for buffer, value in zip(self.buffers.values(), new, strict=True):
            buffer.copy_(value)
        return self._padded(outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        found = self._backward(*self._saved, gradient[:, :, : self.graph.outputs].contiguous())
        for (_, own), computed in zip(self.views.values(), found, strict=True):
            own.copy_(computed)
        return gradient

    def evaluate(self, x: Tensor) -> Tensor:
        (outputs, *_), _ = self._traced(x, None)[0](*self._given(x))
        return self._padded(outputs)

    def _given(self, x: Tensor) -> list[Tensor]:
        """Return parameters, buffers and inputs, which are traced as contiguous tensors."""
        inputs = x[:, :, : self.graph.inputs].reshape(*x.shape[:2], *self.graph.shape)
        parameters = (parameter for parameter, _ in self.views.values())
        return [each.contiguous() for each in (*parameters, *self.buffers.values(), inputs)]

    def _padded(self, outputs: Tensor) -> Tensor:
        return nn.functional.pad(outputs, (0, padded(self.graph.outputs) - self.graph.outputs))

    def _traced(self, x: Tensor, masks: Sequence[Tensor] | None) -> _Steps:
        """Return forward and backward for such inputs; without masks, evaluation."""
        key = (
            self.graph,
            self.members,
            x.shape[1],
            tuple(self.ones),
            masks is None,
            str(self.device),
        )
        if key in _traces:
            return _traces[key]
        from torch.func import functional_call, vjp, vmap
        from torch.fx.experimental.proxy_tensor import make_fx

        call, training = _Call(), masks is not None
        module = _swapped(self.model, call).train(training)
        names, kept = [*self.views], [*self.buffers]

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
            in_dims: list[int | None] = [0] * len(given)
            if masks is not None:
                outputs = torch.ones(*x.shape[:2], self.graph.outputs, device=self.device)
                shares = outputs[0, :, 0].clone(), outputs[0, 0, 0] * 2
                given += [*shares, *(torch.ones_like(mask) for mask in masks), outputs]
                in_dims += [None, None, *[0] * (len(masks) + 1)]
            traced = make_fx(vmap(member, tuple(in_dims), randomness="error"))(*given)
        _traces[key] = _split(traced, 1 + len(kept) if training else 1)
        return _traces[key]


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


def trial(model: nn.Module, graph: TracedGraph, inputs: Tensor, rows: int, eval_rows: int) -> None:
    """Hold a traced module to its own outputs and gradients, and its bits to any company.

    Once a process for each module; takes seconds. `inputs` are some examples, the rows those of
    filled-up batches.

    Raises:
        UnsupportedModel: If one of them differs.
    """
    key = graph, rows, eval_rows, str(inputs.device)
    if key not in _trials:
        try:
            _trials[key] = _fault(_undropped(model), graph, inputs, rows, eval_rows)
        except UnsupportedModel as error:
            _trials[key] = str(error)
    if why := _trials[key]:
        raise UnsupportedModel(why)


def _fault(
    model: nn.Module, graph: TracedGraph, inputs: Tensor, rows: int, eval_rows: int
) -> str | None:
    size = max(2, min(rows - 1, eval_rows, len(inputs)))  # not full: what fills up counts nothing
    # Other weights for each output: an error cannot cancel in their sum.
    weights = torch.linspace(-1, 1, len(inputs) * graph.outputs, device=inputs.device)
    weights = weights.view(-1, graph.outputs)
    shares = torch.zeros(rows, device=inputs.device)
    shares[:size] = 1 / size

    @torch.inference_mode()
    def computed(*members: int) -> dict[int, list[Tensor]]:
        parameters, buffers = (
            {name: torch.stack([own] * len(members)) for name, own in values}
            for values in (model.named_parameters(), model.named_buffers())
        )
        order = torch.stack([torch.arange(max(rows, eval_rows)) % size + m for m in members]) % size
        order[:, size:] = order[:, :1]
        for values in parameters.values():  # each member's are its own
            values.mul_(1 + torch.tensor(members).view(-1, *[1] * (values.ndim - 1)).to(values) / 9)
        views = {name: (own, torch.empty_like(own)) for name, own in parameters.items()}
        layer = TracedLayer(model, graph, views, buffers, {}, rows)
        layer.shares = shares, torch.tensor(float(size), device=inputs.device)
        x, gradient = inputs[order].flatten(2), weights[order]
        gradient[:, size:] = 0
        outputs = [layer.forward(x[:, :rows])]
        layer.backward(gradient[:, :rows])
        outputs.append(layer.evaluate(x[:, :eval_rows]))
        outputs = [each[:, :size, : graph.outputs] for each in outputs]
        every = [*outputs, *(gradient for _, gradient in views.values()), *buffers.values()]
        return {number: [each[row] for each in every] for row, number in enumerate(members)}

    alone = computed(0) | computed(1)
    module = copy.deepcopy(model).train()
    with torch.inference_mode(False), torch.enable_grad():
        outputs = module(inputs[:size].clone())
        total = (outputs * weights[:size]).sum()
        gradients = torch.autograd.grad(total, [*module.parameters()], allow_unused=True)
        evaluated = module.eval()(inputs[:size].clone())
    theirs = [outputs, evaluated, *gradients, *module.buffers()]
    for ours, own in zip(alone[0], theirs, strict=True):
        if own is None:
            return "some of its parameters take no part"
        if not torch.allclose(ours.view(own.shape).double(), own.double(), 1e-3, 1e-5):
            return "batched, it does not compute what it computes alone"
    for members in ((1, 0), (4, 0, 3, 1, 2, 5, 6)):
        among = computed(*members)
        if not all(all(map(torch.equal, among[number], alone[number])) for number in alone):
            return "its bits would depend on the other members of a cohort"
    return None
