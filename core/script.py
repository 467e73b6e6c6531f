"""A function as an experiment: what an experiment file's `train` and `SELECT` must be.

`train` is a generator: each dict of metrics that it yields ends an epoch. Its keywords are the
hyperparameters. This module imports no torch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from paribus.core.config import SCRIPT, same_value
from paribus.core.errors import Faults, RequestError, did_you_mean, shown
from paribus.core.signatures import plain_default, read_signature

FUNCTION = "train"
HIDDEN = ("seed",)  # keywords that are no hyperparameters
_YIELD = 'Such as yield {"val/accuracy": accuracy, "val/loss": loss}.'


def script_baseline(file: str, objects: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a file's function, with its defaults as the baseline's levels.

    Args:
        file: The file's name.
        objects: What it defines.

    Raises:
        RequestError: With everything that is wrong with the function and `SELECT`.
    """
    function, select, faults = objects[FUNCTION], objects.get("SELECT"), Faults()
    with faults.collecting():
        check_function(function, f"{file}:{FUNCTION}")
    if not isinstance(select, Mapping) or not select.get("metric"):
        faults.add(
            f"{file}: SELECT does not say which metric chooses the best epoch.",
            'Such as SELECT = {"metric": "val/accuracy", "direction": "maximize"}.',
            "script",
        )
    faults.check()
    parameters = read_signature(function, 0, HIDDEN).parameters.values()
    plain = {parameter.name: plain_default(parameter) for parameter in parameters}
    levels = {p.name: plain[p.name] for p in parameters if same_value(plain[p.name], p.default)}
    return {SCRIPT: {"name": f"{file}:{FUNCTION}", **levels}, "select": select}


def check_function(function: Any, where: str) -> None:
    """Refuses what cannot be an experiment, as far as that shows without calling it.

    Raises:
        RequestError: With every fault.
    """
    where, faults = shown(where), Faults()
    if not inspect.isgeneratorfunction(function):
        raise RequestError(f"{where} is no generator: it yields no metrics.", _YIELD, "script")
    parameters = inspect.signature(function).parameters
    seed = parameters.get("seed")
    if seed is None or seed.kind is not seed.KEYWORD_ONLY:
        faults.add(
            f"{where} takes no 'seed' by keyword only.",
            f"Write def {function.__name__}(..., *, seed).",
            "script",
        )
    for name, parameter in parameters.items():
        if name in HIDDEN:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            what = f"{where} takes {parameter}, which can be held to no signature."
            faults.add(what, "Name its keywords, each with a default.", "script")
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            faults.add(f"{where} takes '{name}' by position only.", "Take out the '/'.", "script")
        elif name == "name":
            faults.add(f"{where}: 'name' is the function's own.", "Rename the keyword.", "script")
        elif parameter.default is parameter.empty:
            hint = f"Give it the baseline's level: {name}=VALUE."
            faults.add(f"{where}: the keyword '{name}' has no default.", hint, "script")
    faults.check()


def read_metrics(item: Any, metric: str) -> dict[str, float]:
    """One yielded dict as names to numbers.

    Args:
        item: What was yielded.
        metric: The one that `SELECT` names.

    Raises:
        RequestError: If it is not such a dict, or lacks the metric.
    """
    if not isinstance(item, Mapping):
        raise RequestError(f"{shown(repr(item))} is not a dict of names to numbers.", _YIELD)
    found = {_name(name): _number(name, value) for name, value in item.items()}
    if metric not in found:
        raise RequestError(
            f"'{shown(metric)}' is missing, which SELECT names.", did_you_mean(metric, found)
        )
    return found


def _name(name: Any) -> str:
    """A metric's name, fit for history, tables and W&B."""
    fits = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()
    if not fits or name.startswith("_") or name == "epoch":
        raise RequestError(
            f"{shown(repr(name))} is no name for a metric.",
            "Take up to 100 printable characters, not beginning with '_', and not 'epoch'.",
        )
    return str(name)


def _number(name: str, value: Any) -> float:
    """A number, also as an array or tensor of one element; it need not be finite."""
    shape = getattr(value, "shape", None)
    if shape is not None and math.prod(shape) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = shown(repr(value)) if shape is None else f"of shape {list(shape)}"
        raise RequestError(f"'{shown(name)}' is {text}, not a number.")
    try:
        return float(value)
    except OverflowError:
        raise RequestError(f"'{shown(name)}' is larger than any float.") from None
