"""Which runs a cohort can train, and which of them together in one program."""

import hashlib
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from paribus.core.components.losses import CrossEntropy
from paribus.core.components.models import MLP, draw_parameters
from paribus.core.components.tasks import Multiclass, Task
from paribus.core.config.registry import NAMES
from paribus.core.config.schema import IDLE
from paribus.core.config.values import canonical_json, show_value
from paribus.core.data.loader import Fields, Items, Part
from paribus.core.errors import shown
from paribus.core.rng import stream
from paribus.core.training.cohort.graph import LayerGraph, UnsupportedModel, read_graph
from paribus.core.training.cohort.kernels import unfit_loss, unfit_optimizer
from paribus.core.training.cohort.program import Program, rows_of
from paribus.core.training.cohort.sampling import padded_parts
from paribus.core.training.cohort.traced import TracedGraph, trial
from paribus.core.training.train_state import TrainState

EXAMPLES = 16  # on which the graph that was read is compared with the module
# What members of one program may differ in besides the seed; of a model, only dropout.
_OWN = ("optimizer", "scheduler", "train", "select", "metrics", "device", "loss", "model")

Read = Callable[[nn.Module, Tensor], LayerGraph | TracedGraph]


def cohort_group(
    train_state: TrainState, data_fingerprint: str | None, read: Read, *, integers: bool = False
) -> str:
    """Return a name that runs share if, and only if, they can be members of one program.

    Args:
        train_state: Of a run, at its first step.
        data_fingerprint: Of its data.
        read: As what: `read_graph` as a chain of layers, `read_module` as a module of any kind.
        integers: Whether inputs may be such.

    Raises:
        UnsupportedModel: Why it cannot be a member; a clause about the run.
    """
    train, val = train_state.data.train, train_state.data.val
    if isinstance(train.store, Items):
        raise UnsupportedModel("its data are read item by item")
    if isinstance(train.store, Fields):
        raise UnsupportedModel("its inputs are several tensors")
    if not (isinstance(train.store, Tensor) and isinstance(val.store, Tensor)):
        raise UnsupportedModel("its data are no numbers in memory")
    if train.augment is not None or train.scaling is not None:
        raise UnsupportedModel("its data are changed as they are read")
    if not train.store.is_floating_point() and not integers:
        raise UnsupportedModel("its inputs are not floats")
    if not all(parameter.requires_grad for parameter in train_state.model.parameters()):
        raise UnsupportedModel("only some of it is trained")
    configuration = train_state.configuration
    if own := [
        f"{k}={show_value(v)}" for k, v in configuration["train"].items() if k in IDLE["train"]
    ]:
        raise UnsupportedModel(f"it is trained with train.{own[0]}")
    for kind in ("loss", "optimizer", "scheduler"):
        name = configuration[kind]["name"]
        if name not in NAMES[kind] and not name.startswith("torch."):
            raise UnsupportedModel(f"its {kind} is {shown(name)}, not one of torch's")
    why = unfit_loss(train_state.loss) or unfit_optimizer(train_state.optimizer)
    if why is not None:
        raise UnsupportedModel(why)
    if not members_keep_their_bits(train_state.device.type):
        raise UnsupportedModel("this machine does not keep the bits of members: see paribus doctor")
    example = train.inputs_of(EXAMPLES)[0].to(train_state.device)
    graph = read(train_state.model, example)
    if isinstance(graph, TracedGraph):
        rows = rows_of(graph, train_state, len(train), len(val))
        trial(train_state.model, graph, train.inputs_of(max(rows))[0].to(train_state.device), *rows)
    same = [
        repr(graph),
        data_fingerprint,
        [len(train), len(val)],  # folds of whole groups differ
        {k: v for k, v in configuration.items() if k not in _OWN},
        [configuration["train"]["batch_size"], configuration["train"]["eval_batch_size"]],
        [type(part).__name__ for part in (train_state.loss, train_state.optimizer)],
        train_state.device.type,
    ]
    return hashlib.sha256(canonical_json(same).encode()).hexdigest()[:12]


@cache
def members_keep_their_bits(device: str) -> bool:
    """Return whether a member gets the same bits alone, and among others at any place.

    A small cohort is trained. Its sides are odd, there are two hidden layers, the last batch is not
    full, and members of odd seeds have another fold: a machine that rounds by place in memory does
    so here. Takes hundredths of a second, once a process.
    """
    x = torch.randn(70, 13, generator=stream(0, "data", "self-test"))
    whole, every = Part(x, torch.arange(70) % 5), torch.arange(70)
    folds = [(whole.select(every[:56]), whole.select(every[56:])),
             (whole.select(every[14:]), whole.select(every[:14]))]  # fmt: skip
    task: Any = Multiclass()
    example = x[:2].to(device)
    graph = read_graph(_self_test_member(0, device, task).train_state.model, example)

    def trained(*seeds: int) -> dict[int, Tensor]:
        members = [_self_test_member(seed, device, task) for seed in seeds]
        parts = [[folds[seed % 2][part] for seed in seeds] for part in (0, 1)]
        program = Program(graph, members, *padded_parts(parts, task, torch.device(device)))
        for _ in range(2):
            program.train_epoch()
            for member in members:
                member.epoch += 1
        losses, outputs = program.measure()
        return {
            seed: torch.cat([program.parameters[row], outputs[row].flatten(), losses[row, None]])
            for row, seed in enumerate(seeds)
        }

    alone = {seed: trained(seed)[seed] for seed in (0, 4)}
    among = [trained(0, 4), trained(1, 4, 0), trained(0, 1, 2, 3, 4, 5, 6)]
    return all(torch.equal(found[seed], bits) for found in among for seed, bits in alone.items())


def _self_test_member(seed: int, device: str, task: Task) -> Any:
    """Return what a program asks of a run; there is no configuration that makes it."""
    model = MLP(13, 5, hidden_dim=37, num_layers=2, activation="silu", dropout=0.3)
    draw_parameters(model, seed)
    train_state = SimpleNamespace(
        model=model.to(device),
        task=task,
        loss=CrossEntropy(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01, fused=True),
        step_scheduler=lambda moment: False,  # noqa: ARG005
        batch_size=19,
        configuration={"train": {"eval_batch_size": 64, "clip_grad_norm": None}},
        device=torch.device(device),
    )
    return SimpleNamespace(seed=seed, epoch=0, examples=56, train_state=train_state)
