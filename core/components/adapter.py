"""A model as it is written, called with one batch: how its inputs go in, what its prediction is."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from paribus.core.errors import RequestError


@dataclass(frozen=True)
class Adapter:
    """Calls a model with one batch and returns its prediction, a tensor.

    Inputs that are a dict go in as keyword arguments, those that are a tuple in their order; a
    forward with one argument gets the dict or the tuple itself. Outputs that are no tensor are
    given to `predict`, else their ``logits`` are taken. Called with ``labels=targets`` it returns
    the prediction and the model's own loss. In half precision weights and outputs stay float32:
    autocast would leave some losses in half precision.
    """

    model: Any
    name: str
    alone: str | None  # the one argument of its forward besides ``labels``; None: more
    predict: Callable[[Any], Any] | None  # the function of this name in the experiment's file
    dtype: torch.dtype | None  # of half precision; None: float32

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return what the model predicts: a tensor; other outputs stay, and are refused later."""
        inputs = args[0] if len(args) == 1 else None
        if isinstance(inputs, Mapping) and (self.alone is None or self.alone in inputs):
            args, keywords = (), {**inputs, **keywords}
        elif isinstance(inputs, tuple) and not self.alone:
            args = inputs
        if self.dtype is None:
            outputs = self.model(*args, **keywords)
        else:
            tensors = (x for x in tree_leaves((args, keywords)) if isinstance(x, Tensor))
            with torch.autocast(next(tensors).device.type, self.dtype):
                outputs = self.model(*args, **keywords)
            half = self.dtype
            outputs = tree_map_only(Tensor, lambda x: x.float() if x.dtype == half else x, outputs)
        prediction = outputs
        if not isinstance(outputs, Tensor):
            prediction = _named(outputs, "logits", outputs)
            prediction = self.predict(outputs) if self.predict else prediction
        if keywords.get("labels") is None:
            return prediction
        if (loss := _named(outputs, "loss", None)) is None:
            raise RequestError(
                f"loss=model: model {self.name} returns no loss when it is given labels.",
                'Let it return {"loss": …, "logits": …}, or take another loss.',
            )
        return prediction, loss

    def attached(self) -> nn.Module:
        """Return the model, from then on called so itself."""
        model = self.model
        model.forward = replace(self, model=model.forward).__call__
        return model


def adapter_of(
    model: nn.Module, name: str, predict: Callable[[Any], Any] | None, precision: str | None
) -> Adapter:
    """Return what calls a model, by its forward and `train.precision`."""
    own = inspect.signature(model.forward).parameters.values()
    taken = [parameter for parameter in own if parameter.name != "labels"]
    alone = len(taken) == 1 and taken[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision or "")
    return Adapter(model, name, taken[0].name if alone else None, predict, dtype)


def _named(outputs: Any, name: str, default: Any) -> Any:
    value = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
    return default if value is None else value
