"""What each example adds to a metric, from recorded outputs; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scores = NDArray[np.float64]
_CLOSE = 1e-5  # relative; losses are summed in float32


def example_scores(
    metric: str, value: float, configuration: Mapping[str, Any], outputs: Array, targets: Array
) -> Scores | None:
    """Return one number for each example, whose mean is the metric.

    Args:
        metric: ``<split>/<name>``.
        value: What was recorded. Only numbers whose mean is this are given: a loss with weights, or
            of the user's own, may be called like one that is known here.
        configuration: The run's, resolved.
        outputs: `[m, C]`, as the model returned them.
        targets: `[m]` or `[m, L]`, as the data has them.

    Returns:
        `[m]`; None where the metric is no mean over examples, or it is not known how.
    """
    name = metric.rpartition("/")[2]
    task = configuration.get("task")
    if not isinstance(task, Mapping) or not len(outputs) or outputs.ndim != 2:
        return None
    if targets.ndim == 1 and targets.dtype.kind in "iu" and not _are_codes(targets, outputs):
        return None
    score = _scorer(name, task, configuration.get("loss") or {})
    if score is None:
        return None
    with np.errstate(all="ignore"):
        scores = score(outputs.astype(np.float64), targets)
    same = abs(float(scores.mean()) - value) <= _CLOSE * max(abs(value), 1e-2)
    return scores if same else None


def _are_codes(targets: Array, outputs: Array) -> bool:
    """Return whether all targets are classes that the outputs have a place for."""
    return int(targets.min()) >= 0 and int(targets.max()) < max(2, outputs.shape[1])


def _scorer(
    name: str, task: Mapping[str, Any], loss: Mapping[str, Any]
) -> Callable[[Array, Array], Scores] | None:
    if name == "accuracy":
        return lambda outputs, targets: _right(outputs, targets, task)
    if name == "loss":
        name = str(loss.get("name"))  # of two names of a metric and a loss the formula is one
    if name == "cross_entropy":
        smoothing = float(loss.get("label_smoothing") or 0.0)
        return lambda outputs, targets: _cross_entropy(outputs, targets, smoothing)
    if name == "huber":
        delta = float(loss.get("delta") or 1.0)
        return lambda outputs, targets: _by_example(_huber(outputs - targets, delta))
    return _PLAIN.get(name)


def _right(outputs: Array, targets: Array, task: Mapping[str, Any]) -> Scores:
    if task.get("name") == "multiclass":
        return _by_example(outputs.argmax(1) == targets)
    above = 1 / (1 + np.exp(-outputs)) > float(task.get("threshold") or 0.5)
    return _by_example(above == targets.reshape(above.shape))


def _cross_entropy(outputs: Array, targets: Array, smoothing: float) -> Scores:
    shifted = outputs - outputs.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    right = logs[np.arange(len(logs)), targets]
    scores: Scores = -(1 - smoothing) * right - smoothing * logs.mean(1)
    return scores


def _binary_cross_entropy(outputs: Array, targets: Array) -> Scores:
    aims = targets.reshape(outputs.shape)
    return _by_example(np.logaddexp(0, outputs) - aims * outputs)


def _huber(errors: Array, delta: float) -> Array:
    far = np.abs(errors)
    return np.where(far <= delta, errors**2 / 2, delta * (far - delta / 2))


def _by_example(values: Array) -> Scores:
    """Return the mean of each row: `[m, L]` to `[m]`."""
    means: Scores = values.reshape(len(values), -1).mean(1, dtype=np.float64)
    return means


_PLAIN: dict[str, Callable[[Array, Array], Scores]] = {
    "bce_with_logits": _binary_cross_entropy,
    "bce": _binary_cross_entropy,
    "mae": lambda outputs, targets: _by_example(np.abs(outputs - targets)),
    "l1": lambda outputs, targets: _by_example(np.abs(outputs - targets)),
    "mse": lambda outputs, targets: _by_example((outputs - targets) ** 2),
}
