"""The batched program: the same step of an epoch for all members, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from paribus.core.config.schema import Interval
from paribus.core.training.cohort.graph import Activation, Dense, Drop, LayerGraph, dropout_rates
from paribus.core.training.cohort.kernels import (
    ACTIVATIONS,
    LOSSES,
    ActivationLayer,
    DenseLayer,
    DropLayer,
    Layer,
    MemberLoss,
    MemberUpdate,
    Step,
    hyperparameters,
    padded,
)
from paribus.core.training.cohort.sampling import Orders, PaddedPart, noise
from paribus.core.training.cohort.traced import ROWS, TracedGraph, TracedLayer

if TYPE_CHECKING:
    from paribus.core.training.engine import RunState
    from paribus.core.training.train_state import TrainState


@dataclass(frozen=True)
class Place:
    """Where a parameter lies in a member's row of floats: its beginning and its shape."""

    begin: int
    shape: tuple[int, ...]
    multiple: int = 16  # that sides are padded to

    @property
    def padded_shape(self) -> tuple[int, ...]:
        return tuple(padded(side, self.multiple) for side in self.shape)

    def of(self, rows: Tensor) -> Tensor:
        """View rows `[members, floats]` as the parameter: `[members, *padded shape]`."""
        end = self.begin + math.prod(self.padded_shape)
        return rows[:, self.begin : end].view(len(rows), *self.padded_shape)

    def of_member(self, row: Tensor) -> Tensor:
        """View one row `[floats]` as the parameter without padding."""
        return self.of(row.unsqueeze(0))[0][tuple(slice(side) for side in self.shape)]


def lay_out(graph: LayerGraph | TracedGraph) -> tuple[dict[str, Place], int]:
    """Return the parameters' places by name, in the order of the graph, and a row's floats."""
    shapes: dict[str, tuple[int, ...]] = {}
    if isinstance(graph, TracedGraph):
        shapes |= graph.parameters
    else:
        for step in graph.steps:
            if isinstance(step, Dense):
                shapes[step.weight] = (step.outputs, step.inputs)
                if step.bias is not None:
                    shapes[step.bias] = (step.outputs,)
    places, end = {}, 0
    for name, shape in shapes.items():
        places[name] = Place(end, shape, 1 if isinstance(graph, TracedGraph) else 16)
        end += padded(math.prod(places[name].padded_shape), 32)
    return places, end


def rows_of(
    graph: LayerGraph | TracedGraph, train_state: TrainState, train: int, val: int
) -> tuple[int, int]:
    """Return the rows of a batch in training and in evaluation, filled up; 0: as they come."""
    batch_size = min(train_state.batch_size, train)
    if not isinstance(graph, TracedGraph):
        return padded(batch_size), 0
    eval_size = min(train_state.configuration["train"]["eval_batch_size"], max(val, 1))
    return padded(batch_size, ROWS), padded(eval_size, ROWS)  # others would have to be traced too


class Program:
    """Members in lockstep: the same step of an epoch for all of them.

    Args:
        graph: What each member computes.
        members: The runs. Their models' parameters are copied; their optimizers and schedulers only
            say with which hyperparameters each step is made.
        train: The training part.
        val: The part that `measure` evaluates on.

    Attributes:
        parameters: float32 `[members, floats]`.
        buffers: By name those of the members' models: `[members, …]`.
    """

    def __init__(
        self,
        graph: LayerGraph | TracedGraph,
        members: Sequence[RunState],
        train: PaddedPart,
        val: PaddedPart,
    ) -> None:
        first = members[0].train_state
        self.graph, self.members = graph, list(members)
        self.train, self.val = train, val
        self.task, self.device = first.task, first.device
        self.batch_size = min(first.batch_size, len(train))
        self.rows, self.eval_rows = rows_of(graph, first, len(train), len(val))
        self.places, floats = lay_out(graph)
        self.parameters = torch.zeros(len(members), floats, device=self.device)
        self.gradients = torch.zeros_like(self.parameters)
        models = [member.train_state.model for member in members]
        self.stored = first.model.state_dict().keys()
        each = [dict(model.named_buffers()) for model in models]
        self.buffers = {name: torch.stack([own[name] for own in each]) for name in each[0]}
        for row, model in enumerate(models):
            state = model.state_dict()
            for name, parameter in self.weights(row).items():
                parameter.copy_(state[name])
        self.update = MemberUpdate(type(first.optimizer), self.parameters, self.gradients)
        losses = [member.train_state.loss for member in members]
        self.loss: MemberLoss = LOSSES[type(first.loss)](losses, graph.outputs, self.device)
        self.drops: dict[str, tuple[DropLayer, int]] = {}  # by stream, with their units
        self.layers = list(self._layers())
        dense = [isinstance(layer, DenseLayer | TracedLayer) for layer in self.layers]
        self.first_dense, self.ends_dense = dense.index(True), dense[-1]
        clips = [member.train_state.configuration["train"]["clip_grad_norm"] for member in members]
        bounds = [math.inf if clip is None else clip for clip in clips]
        self.clips = torch.tensor(bounds, device=self.device) if any(clips) else None

    def _layers(self) -> Iterator[Layer | TracedLayer]:
        units, first = self.graph.inputs, True
        before: Dense | Activation | Drop | None = None
        rates = [dropout_rates(member.train_state.model) for member in self.members]
        if isinstance(self.graph, TracedGraph):
            for stream, name, shape in self.graph.drops:
                dropped = [rate[name] for rate in rates]
                if any(dropped):
                    drop = DropLayer(dropped, self.device, in_place=False)
                    self.drops[stream] = drop, math.prod(shape)
            model, drops = self.members[0].train_state.model, self.drops.items()
            yield TracedLayer(
                model,
                self.graph,
                {name: self._views(name) for name in self.places},
                self.buffers,
                {stream: drop for stream, (drop, _) in drops},
                self.rows,
            )
            return
        for step in self.graph.steps:
            if isinstance(step, Dense):
                bias = None if step.bias is None else self._views(step.bias)
                yield DenseLayer(self._views(step.weight), bias, self.rows, first=first)
                units, first = step.outputs, False
            elif isinstance(step, Activation):
                function, in_place = ACTIVATIONS[step.kind], isinstance(before, Dense)
                yield ActivationLayer(function, step.numbers, units, in_place=in_place)
            else:
                dropped = [rate[step.layer] for rate in rates]
                if not any(dropped):
                    continue  # nothing is dropped: the same as no layer
                needed = isinstance(before, Activation) and ACTIVATIONS[before.kind].needs_output
                layer = DropLayer(dropped, self.device, in_place=not needed)
                self.drops[step.stream] = layer, units
                yield layer
            before = step

    def _views(self, name: str) -> tuple[Tensor, Tensor]:
        """View a parameter and its gradient: `[members, *padded shape]`."""
        return self.places[name].of(self.parameters), self.places[name].of(self.gradients)

    @torch.inference_mode()
    def train_epoch(self) -> tuple[Tensor, Tensor, list[str]]:
        """Train the members' next epoch, which has the same length for all of them.

        Returns:
            The running means of loss and accuracy as trained (float64 `[members]`; accuracy is zero
            for values), and the digest of each member's order.
        """
        examples = self.members[0].examples
        draws = [(member.seed, member.epoch + 1) for member in self.members]
        orders = Orders(draws, len(self.train), examples, self.batch_size, self.rows)
        all_rows = self.train.rows_of(orders.rows.to(self.device))
        distinct = [*dict.fromkeys(draws)]
        noises = {}
        for stream, (layer, units) in self.drops.items():
            layer.share([distinct.index(draw) for draw in draws])
            shape = self.rows, padded(units), units
            noises[stream] = noise(stream, distinct, orders.sizes, shape)
        loss = torch.zeros(len(self.members), dtype=torch.float64, device=self.device)
        correct = torch.zeros_like(loss)
        updates = self._updates()
        shares = {size: self._shares(size) for size in set(orders.sizes)}
        for rows, size in zip(all_rows, orders.sizes, strict=True):
            for stream, batches in noises.items():
                self.drops[stream][0].noise = next(batches).to(self.device)
            if isinstance(traced := self.layers[0], TracedLayer):
                traced.shares = shares[size].view(-1), torch.tensor(float(size)).to(self.device)
            outputs = self._forward(rows)
            if not self.ends_dense:  # the loss overwrites them, and the last layer needs them
                outputs = outputs.clone()
            correct += self._correct(outputs, rows, size)
            loss += (self.loss.losses(outputs) * shares[size].view(-1)).sum(1) * size
            self._backward(self.loss.gradient(outputs, shares[size]))
            self.update.steps.add_(1)
            for update in updates:
                update()
            if self._step_schedulers("update"):
                updates = self._updates()
        self._step_schedulers("epoch")
        return loss / examples, correct / examples, orders.digests

    def _forward(self, rows: Tensor) -> Tensor:
        """Return outputs `[members, rows, units]` of a batch; give the loss its targets."""
        flat = rows.view(-1)
        targets = self.train.loss_targets.index_select(0, flat)
        self.loss.set_targets(targets.view(*rows.shape, *targets.shape[1:]))
        value = self.train.x.index_select(0, flat).view(*rows.shape, -1)
        for layer in self.layers:
            value = layer.forward(value)
        return value

    def _backward(self, gradient: Tensor) -> None:
        """Write all members' gradients, and clip them to each member's norm."""
        for layer in reversed(self.layers[self.first_dense :]):
            gradient = layer.backward(gradient)
        if self.clips is not None:
            norms = torch.linalg.vector_norm(self.gradients, dim=1)
            factors = (self.clips / (norms + 1e-6)).clamp_(max=1)
            # inf / inf is nan: a member that is not clipped may have an infinite norm.
            factors.masked_fill_(self.clips.isinf(), 1)
            self.gradients.mul_(factors.unsqueeze(1))

    def _correct(self, outputs: Tensor, rows: Tensor, size: int) -> Tensor | float:
        """Return how many examples of a batch each member has right: `[members]`."""
        if self.task.targets == "values":
            return 0.0
        targets = self.train.targets.index_select(0, rows.view(-1))
        right = self.task.correct(outputs.flatten(0, 1)[:, : self.graph.outputs], targets)
        assert right is not None
        return right.view(rows.shape)[:, :size].sum(1)

    def _shares(self, size: int) -> Tensor:
        """Return each row's share in a batch's mean, zero for padding: `[rows, 1]`."""
        shares = torch.zeros(self.rows, 1, device=self.device)
        shares[:size] = 1 / size
        return shares

    def _updates(self) -> list[Step]:
        """Return the members' next steps: one for those that share their hyperparameters."""
        groups: dict[Any, list[int]] = {}
        for number, member in enumerate(self.members):
            groups.setdefault(hyperparameters(member.train_state.optimizer), []).append(number)
        return [self.update.step_of(members, dict(key)) for key, members in groups.items()]

    def _step_schedulers(self, moment: Interval) -> bool:
        """Step the schedulers that step at this moment; return whether there were any."""
        stepped = [member.train_state.step_scheduler(moment) for member in self.members]
        return any(stepped)

    @torch.inference_mode()
    def measure(self) -> tuple[Tensor, Tensor]:
        """Evaluate all members as they are on `val`, without dropout.

        Returns:
            Mean loss, float64 `[members]`, and outputs `[members, N, outputs]`.
        """
        loss = torch.zeros(len(self.members), dtype=torch.float64, device=self.device)
        outputs = []
        batch_size = self.members[0].train_state.configuration["train"]["eval_batch_size"]
        members, examples = len(self.members), len(self.val)
        for begin in range(0, examples, batch_size):
            size = min(batch_size, examples - begin)
            x, targets = self.val.batch(begin, size, self.eval_rows or padded(size))
            self.loss.set_targets(targets.expand(members, *targets.shape[1:]))
            value = x.expand(members, -1, -1)
            for layer in self.layers:
                value = layer.evaluate(value)
            outputs.append(value[:, :size, : self.graph.outputs].clone())
            # One after the other: the rounding of a sum over all batches at once would depend on
            # how many members there are.
            loss += self.loss.losses(value)[:, :size].double().sum(1)
        return loss / examples, torch.cat(outputs, 1)

    def subset(self, members: Sequence[int]) -> Program:
        """Return a program of some of the members, which go on as they are."""
        chosen = [self.members[member] for member in members]
        program = Program(self.graph, chosen, self.train.of(members), self.val.of(members))
        for row, member in enumerate(members):
            program.put(row, self.state(member))
        return program

    def state(self, member: int) -> dict[str, Tensor]:
        """Return what of a member changes with its steps, padding included: views."""
        return {
            "parameters": self.parameters[member],
            "steps": self.update.steps[member],
            **{name: tensor[member] for name, tensor in self.update.state.items()},
            **{f"buffer {name}": tensor[member] for name, tensor in self.buffers.items()},
        }

    def put(self, member: int, state: Mapping[str, Any]) -> None:
        """Set what `state` gave."""
        for name, tensor in self.state(member).items():
            tensor.copy_(state[name])

    def weights(self, member: int) -> dict[str, Tensor]:
        """Return the state of a member's model by name: views."""
        row = self.parameters[member]
        found = {name: place.of_member(row) for name, place in self.places.items()}
        buffers = {name: tensor[member] for name, tensor in self.buffers.items()}
        return found | {name: own for name, own in buffers.items() if name in self.stored}
