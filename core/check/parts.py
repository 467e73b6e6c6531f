"""Do the parts fit each other?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from torch import Tensor

from paribus.core.build import Trainee
from paribus.core.check.subject import Subject, Verdict, counted, failed, passed
from paribus.core.errors import RequestError
from paribus.core.fit import try_fit
from paribus.core.summary import pass_two, watching


def shapes(subject: Subject) -> Verdict:
    """Inputs go through augmentation and model, and what comes out is as wide as the task needs."""
    trainee = subject.trainee()
    layers = _layers(trainee)
    # With a loss that takes anything, what is left to fit is shapes.
    anything = {**trainee.configuration, "loss": {"name": "any"}}
    try:
        try_fit(replace(trainee, loss=_any_loss, extra_metrics=[], configuration=anything))
    except RequestError as error:
        through = f" Layers: {layers}." if layers else ""
        return failed(f"{error.message}{through}", error.hint)
    targets = list(subject.data.train.targets.shape[1:])
    return passed(f"{layers}; targets {_shown(targets)}")


def loss_fits(subject: Subject) -> Verdict:
    """Loss and metrics are this task's."""
    trainee = subject.trainee()
    try:
        try_fit(trainee)
    except RequestError as error:
        return failed(error.message, error.hint)
    loss, task = (trainee.configuration[kind]["name"] for kind in ("loss", "task"))
    extra = f" and {counted(len(trainee.extra_metrics), 'metric')}" if trainee.extra_metrics else ""
    return passed(f"loss {loss}{extra} for task {task}")


def _any_loss(outputs: Tensor, _targets: Tensor) -> Tensor:
    return outputs.sum()


def _layers(trainee: Trainee) -> str:
    """What comes out of each layer, as far as two examples get."""
    with watching(trainee.model) as rows, suppress(Exception):  # `try_fit` tells what it raises
        pass_two(trainee)
    seen = [_shown(trainee.data.input_shape)]
    for row in rows:
        if row["output_shape"] is not None:
            name = row["type"] if row["name"] == "(model)" else row["name"]
            seen.append(f"{name} {_shown(row['output_shape'][1:])}")
    most = 8
    if len(seen) > most:
        seen[most // 2 : -most // 2] = [f"… {len(seen) - most} more …"]
    return " → ".join(seen)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(['N', *map(str, shape)])}]"
