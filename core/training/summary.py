"""What a configuration amounts to: layers, parameters, sizes of the parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from paribus.core.components.models import count_parameters
from paribus.core.config.schema import SCRIPT, Configuration
from paribus.core.training.resolve import Resolver
from paribus.core.training.train_state import TrainState


def summarize(resolver: Resolver, asked: Configuration, engine: str) -> dict[str, Any]:
    """The resolved configuration, the model's layers and the data's sizes (a function's: None).

    Raises:
        RequestError: If the configuration cannot be trained as asked.
    """
    run = resolver.specify(asked, 0, engine)
    known = {
        "configuration": run.configuration,
        "engine": run.engine,
        "why_no_cohort": resolver.why_no_cohort(asked),
        "facts": run.facts,
    }
    if run.engine == SCRIPT:
        return {**known, "model": None, "data": None}
    train_state = resolver.train_state(asked, 0)
    data = resolver.data(asked)
    return {
        **known,
        "model": {"parameters": count_parameters(train_state.model), "layers": layers(train_state)},
        "data": {"fingerprint": data.fingerprint, **data.sizes()},
    }


def layers(train_state: TrainState) -> list[dict[str, Any]]:
    """Name, type, output shape and parameters of each layer that two examples pass through."""
    with watching(train_state.model) as rows:
        pass_two(train_state)
    return rows


def pass_two(train_state: TrainState) -> None:
    """Sends two training examples through the model, as in evaluation."""
    inputs, _ = train_state.data.train.inputs_of(2)
    train_state.model.eval()
    with torch.inference_mode():
        train_state.model(inputs.to(train_state.device))


@contextmanager
def watching(model: nn.Module) -> Iterator[list[dict[str, Any]]]:
    """Notes each layer that is passed, also where a later one raises."""
    rows: list[dict[str, Any]] = []
    hooks = []

    def watch(name: str, module: nn.Module) -> None:
        def seen(_module: nn.Module, _inputs: Any, output: Any) -> None:
            shape = ["N", *output.shape[1:]] if isinstance(output, Tensor) else None
            rows.append({
                "name": name or "(model)",
                "type": type(module).__name__,
                "output_shape": shape,
                "parameters": sum(p.numel() for p in module.parameters(recurse=False)),
            })  # fmt: skip

        hooks.append(module.register_forward_hook(seen))

    for name, module in model.named_modules():
        if not list(module.children()):
            watch(name, module)
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()
