"""A model as it is written, called with one batch: how its inputs go in, what its prediction is."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from paribus.core.errors import RequestError


@dataclass(frozen=True)
class Adapter:
    """Lets a model be called as ``model(inputs)`` and return its prediction, a tensor.

    Inputs that are a dict go in as keyword arguments, those that are a tuple in their order; a
    forward with one argument gets the dict or the tuple itself. Outputs that are no tensor are
    given to `predict`, else their ``logits`` are taken. Called with ``labels=targets`` the model
    returns its prediction and its own loss.
    """

    name: str
    alone: str | None  # the one argument of its forward besides ``labels``; None: more
    predict: Callable[[Any], Any] | None  # the function of this name in the experiment's file

    def spread(self, _model: nn.Module, args: Any, keywords: dict[str, Any]) -> Any:
        """Return the arguments that the model's forward is called with."""
        inputs = args[0] if len(args) == 1 else None
        if isinstance(inputs, Mapping) and (self.alone is None or self.alone in inputs):
            return (), {**inputs, **keywords}
        return (inputs if isinstance(inputs, tuple) and not self.alone else args), keywords

    def prediction(
        self, _model: nn.Module, _args: Any, keywords: dict[str, Any], outputs: Any
    ) -> Any:
        """Return what the outputs predict: a tensor; other outputs stay, and are refused later."""
        found = outputs
        if not isinstance(outputs, Tensor):
            found = self.predict(outputs) if self.predict else _named(outputs, "logits", outputs)
        if keywords.get("labels") is None:
            return found
        if (loss := _named(outputs, "loss", None)) is None:
            raise RequestError(
                f"loss=model: model {self.name} returns no loss when it is given labels.",
                'Let it return {"loss": …, "logits": …}, or take another loss.',
            )
        return found, loss


def adapt(model: nn.Module, name: str, predict: Callable[[Any], Any] | None) -> None:
    """Let a model be called as `Adapter` says."""
    own = inspect.signature(model.forward).parameters.values()
    taken = [parameter for parameter in own if parameter.name != "labels"]
    alone = len(taken) == 1 and taken[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    adapter = Adapter(name, taken[0].name if alone else None, predict)
    model.register_forward_pre_hook(adapter.spread, with_kwargs=True)
    model.register_forward_hook(adapter.prediction, with_kwargs=True)


def _named(outputs: Any, name: str, default: Any) -> Any:
    found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
    return default if found is None else found
