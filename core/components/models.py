"""Models by short name. Each draws every parameter from a stream of its own.

A parameter's values follow from (seed, its name, its layer's shape) alone. So two settings that
share a layer's name and shape start from the same values there, whatever else differs between them.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from paribus.core.components.adapter import Adapter
from paribus.core.data.loader import moved
from paribus.core.errors import DamagedError
from paribus.core.rng import seeded_globals, stream

Activation = Literal[
    "identity", "relu", "leaky_relu", "gelu", "silu", "elu", "tanh", "sigmoid", "softplus"
]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def dropped_of_65536(p: float) -> int:
    """Return how many of 65536 random numbers drop a unit, by its probability; never all."""
    return min(round(p * 65536), 65535)


class Dropout(nn.Module):
    """Inverted dropout whose masks come from `generator`, which the engine sets each epoch.

    The mask is 16 random bits per element against a threshold, four to a 64-bit draw, several
    times faster than drawing floats. So `p` is rounded to a multiple of 1/65536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        dropped = dropped_of_65536(self.p)
        if not self.training or dropped == 0:
            return x
        bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64)
        bits.random_(-(2**63), None, generator=self.generator)
        noise = bits.view(torch.int16)[: x.numel()].view(x.shape)
        keep = (noise >= dropped - 32768).to(x.dtype)
        return x * keep.mul_(65536 / (65536 - dropped)).to(x.device)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Linear(nn.Linear):
    """One linear layer on the flattened input: `[N, ...]` to `[N, out_features]`."""

    draws_by_name = True

    def __init__(self, in_features: Size, out_features: Size, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


class MLP(nn.Module):
    """A multilayer perceptron on the flattened input: `[N, ...]` to `[N, out_features]`.

    Args:
        in_features: Numbers per example; follows from the data.
        out_features: Classes or target columns; follows from the data.
        hidden_dim: Units of each hidden layer.
        num_layers: Hidden layers; 0 is a linear model.
        activation: After each hidden layer.
        dropout: Probability of zeroing a hidden unit in training.
    """

    draws_by_name = True

    def __init__(
        self,
        in_features: Size,
        out_features: Size,
        hidden_dim: Size = 128,
        num_layers: Count = 1,
        activation: Activation = "relu",
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        widths = [in_features, *[hidden_dim] * num_layers]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), ACTIVATIONS[activation](), Dropout(dropout))
            for a, b in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], out_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x)
        return cast(Tensor, self.output(x))


class CNN(nn.Module):
    """A small convolutional network: `[N, in_channels, H, W]` to `[N, out_features]`.

    Each block is a convolution that keeps the size, batch normalization, an activation and a
    max-pool that halves the size; channels double from block to block. A linear layer follows.

    Args:
        in_channels: Follows from the data.
        out_features: Classes or target columns; follows from the data.
        input_shape: (channels, height, width); follows from the data.
        channels: Of the first block.
        num_blocks: Convolutions.
        kernel_size: Side of each convolution; odd.
        activation: After each convolution.
        batch_norm: Whether convolutions are normalized over the batch.
        dropout: Probability of zeroing an input of the linear layer in training.

    Raises:
        ValueError: If nothing of the image is left after the blocks.
    """

    draws_by_name = True

    def __init__(
        self,
        in_channels: Size,
        out_features: Size,
        input_shape: list[int],
        channels: Size = 16,
        num_blocks: Size = 2,
        kernel_size: Literal[1, 3, 5, 7] = 3,
        activation: Activation = "leaky_relu",
        batch_norm: bool = True,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        sides = [side >> num_blocks for side in input_shape[1:]]
        if min(sides) < 1:
            raise ValueError(
                f"{num_blocks} blocks halve {input_shape[1]}×{input_shape[2]} pixels to nothing"
            )
        widths = [in_channels, *(channels << block for block in range(num_blocks))]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, kernel_size, padding=kernel_size // 2),
                nn.BatchNorm2d(b) if batch_norm else nn.Identity(),
                ACTIVATIONS[activation](),
                nn.MaxPool2d(2),
            )
            for a, b in pairwise(widths)
        )
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(widths[-1] * sides[0] * sides[1], out_features)
        self.to(memory_format=torch.channels_last)  # a step takes half to four fifths of the time

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.output(self.dropout(x.flatten(1))))


class TextBag(nn.Module):
    """The mean of a text's word vectors, and a linear layer: int64 `[N, L]` to `[N, out_features]`.

    Args:
        vocab_size: Ids of words; follows from the data. Id 0 is padding and counts nothing.
        out_features: Classes or target columns; follows from the data.
        embedding_dim: Numbers per word.
        dropout: Probability of zeroing a number of the mean in training.
    """

    draws_by_name = True

    def __init__(
        self,
        vocab_size: Size,
        out_features: Size,
        embedding_dim: Size = 64,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(embedding_dim, out_features)

    def forward(self, x: Tensor) -> Tensor:
        words = (x != 0).sum(1, keepdim=True).clamp(min=1)
        mean = self.embedding(x).sum(1) / words
        return cast(Tensor, self.output(self.dropout(mean)))


def draw_parameters(model: nn.Module, seed: int) -> None:
    """Draw the parameters of a model of ours, each from the stream (seed, init, its name).

    The distributions are torch's defaults: linear and convolutional layers uniform within
    ±1/sqrt(inputs of a unit), embeddings standard normal with zeros for padding, normalization the
    identity.
    """
    with torch.no_grad():
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(prefix, recurse=False):
                generator = stream(seed, "init", name)
                if isinstance(module, nn.Linear | nn.Conv2d):
                    bound = 1 / math.sqrt(module.weight[0].numel())
                    parameter.uniform_(-bound, bound, generator=generator)
                elif isinstance(module, nn.Embedding):
                    parameter.normal_(generator=generator)
                    if module.padding_idx is not None:
                        parameter[module.padding_idx].zero_()


def set_dropout_streams(model: nn.Module, seed: int, epoch: int, *rank: int) -> None:
    """Put each of our dropout layers at the start of its stream for an epoch, and a rank but 0."""
    for name, module in model.named_modules():
        if isinstance(module, Dropout):
            module.generator = stream(seed, "dropout", epoch, *rank, name)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def model_outputs(call: Adapter, batches: Iterable[Any], device: torch.device) -> Tensor:
    """Return what a model predicts in evaluation: float `[N, …]`, on the CPU.

    A model that draws in evaluation too gets the same draws for the same inputs, always.
    """
    call.model.eval()
    with torch.no_grad(), seeded_globals(0, "dropout", "predict"):
        return torch.cat([call(moved(inputs, device)).float().cpu() for inputs in batches])


def tensor_hashes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the sha256 (of dtype, shape and bytes) of each tensor of a model's state, by name."""
    tensors = sorted(state.items())
    return {name: hashlib.sha256(_tensor_bytes(tensor)).hexdigest() for name, tensor in tensors}


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Return one sha256 over names, dtypes, shapes and bytes of a model's state, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + b"\0")
        digest.update(_tensor_bytes(tensor))
    return digest.hexdigest()


def _tensor_bytes(tensor: Tensor) -> bytes:
    array = tensor.detach().cpu().contiguous()
    head = f"{array.dtype} {tuple(array.shape)}\0".encode()
    return head + array.flatten().view(torch.uint8).numpy().tobytes()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Put a run's weights into its model; raise DamagedError, with its name, if they do not fit."""
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise DamagedError(f"{name}: the weights do not fit the model: {text[:300]}") from error
