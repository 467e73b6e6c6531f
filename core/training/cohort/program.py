"""The batched program: the same step of an epoch for all members, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from paribus.core.training.cohort.graph import Activation, Dense, Drop, LayerGraph, dropout_rates
from paribus.core.training.cohort.layer_kernels import (
    ACTIVATIONS,
    ActivationLayer,
    DenseLayer,
    DropLayer,
    Layer,
    padded,
)
from paribus.core.training.cohort.loss_kernels import LOSSES, MemberLoss
from paribus.core.training.cohort.optimizer_kernels import UPDATES, Step, Update, hyperparameters
from paribus.core.training.cohort.sampling import Orders, PaddedPart, noise
from paribus.core.training.train_state import TrainState

_SEGMENT = 32  # floats


@dataclass(frozen=True)
class Place:
    """A parameter's place: its beginning, its shape, and its shape with padding."""

    begin: int
    shape: tuple[int, ...]
    room: tuple[int, ...]

    @property
    def length(self) -> int:
        found = 1
        for side in self.room:
            found *= side
        return found

    def of(self, rows: Tensor) -> Tensor:
        """`[members, *room]` of rows `[members, parameters]`: a view."""
        part = rows[:, self.begin : self.begin + self.length]
        return part.view(len(rows), *self.room)


class Layout:
    """The places of all parameters, by name, in the order of the graph.

    Attributes:
        places: Name to place.
        length: Floats in a row.
    """

    def __init__(self, graph: LayerGraph) -> None:
        self.places: dict[str, Place] = {}
        self.length = 0
        for step in graph.steps:
            if isinstance(step, Dense):
                self._put(step.weight, (step.outputs, step.inputs))
                if step.bias is not None:
                    self._put(step.bias, (step.outputs,))

    def _put(self, name: str, shape: tuple[int, ...]) -> None:
        place = Place(self.length, shape, tuple(padded(side) for side in shape))
        self.places[name] = place
        self.length += padded(place.length, _SEGMENT)

    def write(self, row: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Puts a member's parameters into its row `[parameters]`."""
        for name, place in self.read(row).items():
            place.copy_(tensors[name])

    def read(self, row: Tensor) -> dict[str, Tensor]:
        """A member's parameters, without padding: views of its row."""
        return {
            name: _inside(place.of(row.unsqueeze(0))[0], place.shape)
            for name, place in self.places.items()
        }


def _inside(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tensor[tuple(slice(side) for side in shape)]


class Member(Protocol):
    """One run's own: what decides its numbers beside the data.

    Attributes:
        seed: The run's.
        train_state: Its parts. The model's parameters are the first; optimizer and scheduler only
            say with what each step is made.
        epoch: How many it has behind it.
        examples: Those that its next epoch visits.
    """

    train_state: TrainState
    epoch: int

    @property
    def seed(self) -> int: ...

    @property
    def examples(self) -> int: ...


SomeMember = TypeVar("SomeMember", bound=Member)


class Program(Generic[SomeMember]):
    """Members in lockstep: the same step of an epoch for all of them.

    Args:
        graph: What each member computes.
        members: The members.
        train: The training part.
    """

    def __init__(self, graph: LayerGraph, members: Sequence[SomeMember], train: PaddedPart) -> None:
        first = members[0].train_state
        self.graph, self.members, self.train = graph, list(members), train
        self.task, self.device = first.task, first.device
        self.batch_size = min(first.batch_size, len(train))
        self.layout = Layout(graph)
        shape = len(members), self.layout.length
        self.parameters = torch.zeros(shape, device=self.device)
        self.gradients = torch.zeros(shape, device=self.device)
        for row, member in zip(self.parameters, members, strict=True):
            self.layout.write(row, member.train_state.model.state_dict())
        self.update: Update = UPDATES[type(first.optimizer)](self.parameters, self.gradients)
        losses = [member.train_state.loss for member in members]
        self.loss: MemberLoss = LOSSES[type(first.loss)](losses, graph.outputs, self.device)
        self.drops: dict[str, tuple[DropLayer, int]] = {}  # by stream, with their units
        self.layers = list(self._layers(padded(self.batch_size)))
        dense = [isinstance(layer, DenseLayer) for layer in self.layers]
        self.first, self.ends_dense = dense.index(True), dense[-1]
        clips = [member.train_state.configuration["train"]["clip_grad_norm"] for member in members]
        self.clips = None
        if any(clip is not None for clip in clips):
            bounds = [float("inf") if clip is None else clip for clip in clips]
            self.clips = torch.tensor(bounds, device=self.device)

    @torch.inference_mode()
    def train_epoch(self) -> tuple[Tensor, Tensor, list[str]]:
        """The members' next epoch of updates, which has the same length for all of them.

        Returns:
            The running means of loss and accuracy as trained (float64 `[members]`; accuracy is zero
            where it has no meaning), and the digest of each member's order.
        """
        examples = self.members[0].examples
        draws = [(member.seed, member.epoch + 1) for member in self.members]
        orders = Orders(draws, len(self.train), examples, self.batch_size)
        noises = self._noises(draws, orders.sizes)
        loss = torch.zeros(len(self.members), dtype=torch.float64, device=self.device)
        right = torch.zeros_like(loss)
        updates = self._updates()
        shares = {size: self._shares(size) for size in set(orders.sizes)}
        for rows, size in zip(orders.rows.to(self.device), orders.sizes, strict=True):
            for stream, batches in noises.items():
                self.drops[stream][0].noise = next(batches).to(self.device)
            outputs = self._forward(rows)
            if not self.ends_dense:  # the loss writes over them, and that layer goes on with them
                outputs = outputs.clone()
            right += self._right(outputs, rows, size)
            loss += (self.loss.losses(outputs) * shares[size].view(-1)).sum(1) * size
            self._backward(self.loss.gradient(outputs, shares[size]))
            self.update.steps.add_(1)
            for update in updates:
                update()
            if self._schedule("update"):
                updates = self._updates()
        self._schedule("epoch")
        return loss / examples, right / examples, orders.digests

    def _forward(self, rows: Tensor) -> Tensor:
        """Outputs `[members, rows, units]` of a batch, whose targets the loss is told."""
        flat = rows.view(-1)
        aims = self.train.aims.index_select(0, flat)
        self.loss.at(aims.view(*rows.shape, *aims.shape[1:]))
        value = self.train.x.index_select(0, flat).view(*rows.shape, -1)
        for layer in self.layers:
            value = layer.forward(value)
        return value

    def _backward(self, gradient: Tensor) -> None:
        """Writes all members' gradients, and clips them to each member's norm."""
        for layer in reversed(self.layers[self.first :]):
            gradient = layer.backward(gradient)
        if self.clips is not None:
            norms = torch.linalg.vector_norm(self.gradients, dim=1)
            factors = (self.clips / (norms + 1e-6)).clamp_(max=1)
            factors.masked_fill_(
                self.clips.isinf(), 1
            )  # also where such a member's norm is infinite
            self.gradients.mul_(factors.unsqueeze(1))

    def _right(self, outputs: Tensor, rows: Tensor, size: int) -> Tensor | float:
        """How many of a batch are right, member by member: float64 `[members]`."""
        if self.task.targets == "values":
            return 0.0
        targets = self.train.targets.index_select(0, rows.view(-1))
        right = self.task.correct(outputs.flatten(0, 1)[:, : self.graph.outputs], targets)
        assert right is not None
        return right.view(rows.shape)[:, :size].sum(1)

    @torch.inference_mode()
    def measure(self, part: PaddedPart) -> tuple[Tensor, Tensor]:
        """All members as they are on a part, without dropout.

        Returns:
            Mean loss, float64 `[members]`, and outputs `[members, N, outputs]`.
        """
        loss = torch.zeros(len(self.members), dtype=torch.float64, device=self.device)
        outputs = []
        batch_size = self.members[0].train_state.configuration["train"]["eval_batch_size"]
        for begin in range(0, len(part), batch_size):
            size = min(batch_size, len(part) - begin)
            x, aims = part.batch(begin, size)
            self.loss.at(aims.expand(len(self.members), *aims.shape))
            value = x.expand(len(self.members), -1, -1)
            for layer in self.layers:
                value = layer.answer(value)
            outputs.append(value[:, :size, : self.graph.outputs].clone())
            # One after the other: a sum over a stack of them depends on how many members there are.
            loss += self.loss.losses(value)[:, :size].double().sum(1)
        return loss / len(part), torch.cat(outputs, 1)

    def of(self, members: Sequence[int]) -> Program[SomeMember]:
        """The same for some of the members, which go on as they are."""
        found = Program(self.graph, [self.members[member] for member in members], self.train)
        for row, member in enumerate(members):
            found.put(row, self.state(member))
        return found

    def state(self, member: int) -> dict[str, Any]:
        """What of a member changes with its steps, padding and all: views."""
        return {
            "parameters": self.parameters[member],
            "steps": self.update.steps[member],
            **{name: tensor[member] for name, tensor in self.update.state.items()},
        }

    def put(self, member: int, state: Mapping[str, Any]) -> None:
        """Sets what `state` gave."""
        for name, tensor in self.state(member).items():
            tensor.copy_(state[name])

    def weights(self, member: int) -> dict[str, Tensor]:
        """A member's parameters by name: views."""
        return self.layout.read(self.parameters[member])

    def _layers(self, rows: int) -> Iterator[Layer]:
        units, first = self.graph.inputs, True
        before: Dense | Activation | Drop | None = None
        rates = [dropout_rates(member.train_state.model) for member in self.members]
        for step in self.graph.steps:
            if isinstance(step, Dense):
                weight, weight_grad = self._places(step.weight)
                bias, bias_grad = self._places(step.bias)
                yield DenseLayer(weight, bias, weight_grad, bias_grad, rows, first=first)
                units, first = step.outputs, False
            elif isinstance(step, Activation):
                function = ACTIVATIONS[step.kind]
                yield ActivationLayer(
                    function, step.numbers, units, in_place=isinstance(before, Dense)
                )
            else:
                dropped = torch.tensor([rate[step.layer] for rate in rates], device=self.device)
                if not dropped.any():
                    continue  # nothing is dropped exactly where there is no layer
                asked = isinstance(before, Activation) and ACTIVATIONS[before.kind].asks_output
                layer = DropLayer(dropped, in_place=not asked)
                self.drops[step.stream] = layer, units
                yield layer
            before = step

    def _places(self, name: str | None) -> tuple[Any, Any]:
        """A parameter and its gradient: `[members, *padded shape]`."""
        if name is None:
            return None, None
        place = self.layout.places[name]
        return place.of(self.parameters), place.of(self.gradients)

    def _noises(
        self, draws: Sequence[tuple[int, int]], sizes: Sequence[int]
    ) -> dict[str, Iterator[Tensor]]:
        rows = padded(self.batch_size)
        return {
            stream: noise(stream, draws, sizes, (rows, padded(units), units))
            for stream, (_, units) in self.drops.items()
        }

    def _updates(self) -> list[Step]:
        """The members' next steps: one for those that share their hyperparameters."""
        found: dict[Any, list[int]] = {}
        for number, member in enumerate(self.members):
            found.setdefault(hyperparameters(member.train_state.optimizer), []).append(number)
        return [self.update.step_of(members, dict(at)) for at, members in found.items()]

    def _schedule(self, moment: str) -> bool:
        """Steps the schedulers whose moment it is; whether there were any."""
        some = [
            member.train_state
            for member in self.members
            if member.train_state.scheduler_steps == moment
        ]
        for train_state in some:
            train_state.scheduler.step()
        return bool(some)

    def _shares(self, size: int) -> Tensor:
        """Of each row in a batch's mean; what fills up a batch has none: `[rows, 1]`."""
        found = torch.zeros(padded(self.batch_size), 1, device=self.device)
        found[:size] = 1 / size
        return found
