"""The processes of one run (`train.processes`): the first starts the others, all sum gradients.

Rank 0 is the worker itself, which alone validates, reports and saves. The others build the same
run, train their share of each epoch, and decide nothing.
"""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paribus.core.components.optim import skip_compiler_import
from paribus.core.data.loader import end_with_trainer, portable
from paribus.core.errors import ProcessEnded
from paribus.core.runtime import pinned_environment, settle

_LONGEST = timedelta(hours=1)  # that one waits for another


class ConnectionLost(Exception):
    """Another process of the run was ended, or has an error that it reports itself."""


@dataclass(frozen=True)
class Group:
    """The processes of a run as one of them sees it; all make the same calls in the same order."""

    rank: int
    size: int

    def share(self, order: Tensor, batch_size: int) -> Tensor:
        """Return the rank's examples of an epoch, one of every `size` batches: int64 `[M]`.

        The last ones are divided evenly: batch normalization takes no batch of a single example.
        """
        rounds = torch.split(order, batch_size * self.size)
        return torch.cat([each.tensor_split(self.size)[self.rank] for each in rounds])

    def exchange(self, mine: Any) -> list[Any]:
        """Return what each rank calls this with."""
        found = [None] * self.size
        _call(dist.all_gather_object, found, mine)
        return found

    def share_buffers(self, model: nn.Module) -> None:
        """Replace the buffers that are saved by rank 0's."""
        saved = model.state_dict().keys()
        buffers = [buffer for name, buffer in model.named_buffers() if name in saved]
        _flat(lambda flat: dist.broadcast(flat.view(torch.uint8), 0), buffers)

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> None:
        """Sum gradients and loss, in place. What no process used still has no gradient."""
        used = torch.tensor([parameter.grad is not None for parameter in parameters]).int()
        _call(dist.all_reduce, used, dist.ReduceOp.MAX)  # by the CPU: it notices who has ended
        for parameter, by_some in zip(parameters, used.tolist(), strict=True):
            if by_some and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        _flat(dist.all_reduce, [loss, *(p.grad for p in parameters if p.grad is not None)])


def _call(operation: Callable[..., Any], *arguments: Any) -> None:
    try:
        operation(*arguments)
    except RuntimeError as error:
        raise ConnectionLost(str(error)) from error


@torch.no_grad()
def _flat(operation: Callable[[Tensor], Any], tensors: Sequence[Tensor]) -> None:
    """Change tensors in place by an operation on a flat one, which holds all of a dtype."""
    for dtype in {tensor.dtype: None for tensor in tensors}:
        some = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.flatten() for tensor in some])
        _call(operation, flat)
        for tensor, part in zip(some, torch.split(flat, [t.numel() for t in some]), strict=True):
            tensor.copy_(part.view(tensor.shape))


@contextmanager
def started(
    size: int, on_gpu: bool, main: Callable[..., None], resolver: Any, *arguments: Any
) -> Iterator[Group | None]:
    """Start the other processes of a run, and end them after the block; of one there are none.

    Each calls `main` with its group, the resolver, or None where it is not forked, and the other
    arguments. Raises what one of them raised, or ProcessEnded.
    """
    if size == 1:
        yield None
        return
    forks = sys.platform == "linux" and not torch.cuda.is_available()  # autograd's threads for GPUs
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    arguments = (resolver if forks else None, *arguments)
    processes, pipes = [], []
    server = socket.create_server(("127.0.0.1", 0))  # torch's own would listen to all the world
    join = partial(_joined, size, on_gpu, server.getsockname()[1])
    try:
        for rank in range(1, size):
            pipe, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_main, args=(main, join, rank, theirs, arguments))
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(pipe)
        yield join(0, server.detach())
    except ConnectionLost as error:
        raise _cause(processes, pipes) from error
    finally:
        for process in processes:
            process.kill()  # it has nothing to lose
            process.join()
        if dist.is_initialized():
            dist.destroy_process_group()


def _main(
    main: Callable[..., None], join: Callable[[int], Group], rank: int, pipe: Any, arguments: Any
) -> None:
    end_with_trainer()
    os.dup2(2, 1)  # standard output is the command's own
    settle()
    skip_compiler_import()
    try:
        main(join(rank), *arguments)
    except ConnectionLost:
        pass  # another one says why
    except BaseException as error:
        with suppress(OSError):
            pipe.send(portable(error))


def _joined(size: int, on_gpu: bool, port: int, rank: int, server: int | None = None) -> Group:
    """Connect with the other processes, by the CPU, and by GPU if each has one."""
    if on_gpu:
        torch.cuda.set_device(rank)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", port, size, rank == 0, _LONGEST, False, master_listen_fd=server
    )
    with pinned_environment({"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}):
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, None, _LONGEST, size, rank, store)
    return Group(rank, size)


def _cause(processes: Sequence[Any], pipes: Sequence[Any]) -> BaseException:
    """Return why the connection was lost: what a process raised, or that it was ended."""
    for process in processes:
        process.join(5)  # those that lost the connection end, too
    for rank, (process, pipe) in enumerate(zip(processes, pipes, strict=True), 1):
        with suppress(EOFError, OSError):
            if pipe.poll():
                return pipe.recv()
        if code := process.exitcode:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            text = f"process {rank} of the run's {len(pipes) + 1} died ({how})."
            return ProcessEnded(text, "Is the machine out of memory?")
    return ProcessEnded("the connection between the run's processes was lost.")


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the layers that `train.sync_batch_norm` changes."""
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def synchronize_batch_norm(model: nn.Module) -> None:
    """Let batch normalization, while it trains, be over the batches of all processes.

    torch's `SyncBatchNorm` is for GPUs alone.
    """
    for layer in batch_norms(model):  # which stays what it is: others may hold it
        layer.forward = partial(_normalized, layer)  # type: ignore[method-assign]


def _normalized(layer: Any, x: Tensor) -> Tensor:
    """Normalize `[N, C, ...]` as `layer` does; no process may have an empty batch."""
    if not layer.training:
        return type(layer).forward(layer, x)
    axes, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
    wide = x if x.dtype == torch.float64 else x.float()
    own = wide.new_tensor([x.numel() / x.shape[1]])  # values of a channel
    total = _Sum.apply(torch.cat([wide.sum(axes), own]))
    mean, count = total[:-1] / total[-1], total[-1]
    centered = wide - mean.view(shape)
    variance = _Sum.apply(centered.square().sum(axes)) / count
    if layer.running_mean is not None:
        with torch.no_grad():
            layer.num_batches_tracked += 1
            weight = layer.momentum
            weight = 1 / layer.num_batches_tracked.item() if weight is None else weight
            layer.running_mean.lerp_(mean, weight)
            layer.running_var.lerp_(variance * (count / (count - 1)), weight)
    normal = centered * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        normal = normal * layer.weight.view(shape) + layer.bias.view(shape)
    return normal.to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes. The sum of their losses is minimized: so are its gradients."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        summed = x.clone(memory_format=torch.contiguous_format)
        _call(dist.all_reduce, summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(_, gradient)
