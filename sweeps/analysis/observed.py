"""What was seen of a setting: a value per seed, and what each example adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paribus.core.config.schema import get
from paribus.core.records.run_dir import PREDICTIONS
from paribus.sweeps.stats.verdicts import Pairs
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.study import Study

Array = NDArray[Any]
Scores = NDArray[np.float64]
_CLOSE = 1e-5  # relative; losses are summed in float32


class Outputs(NamedTuple):
    """A model's outputs on a part `[m, C]`, with the targets `[m]` or `[m, L]`."""

    configuration: Mapping[str, Any]
    outputs: Array
    targets: Array


@dataclass(frozen=True, eq=False)
class Observed:
    """What was seen of a setting: the metric of its complete runs by seed, and their outputs.

    The examples are cut into `folds`: seed j is of fold j mod folds.
    """

    label: str
    values: Mapping[int, float]
    failed: tuple[int, ...] = ()
    metric: str = ""
    read: Callable[[int], Outputs | None] = field(default=lambda _seed: None)
    folds: int = 1
    _scores: dict[int, Scores | None] = field(default_factory=dict, init=False)

    def scores(self, seed: int) -> Scores | None:
        """Return what each example adds to the metric: `[m]`; None where it is no mean of them."""
        if seed not in self._scores:  # the baseline's are wanted for every setting
            found = self.read(seed)
            self._scores[seed] = found and example_scores(self.metric, self.values[seed], *found)
        return self._scores[seed]

    def pairs(self, baseline: Observed, seeds: Sequence[int] | None = None) -> Pairs:
        """Pair a setting with the baseline, by the seeds of both; None: all of them."""
        shared = sorted(self.values.keys() & baseline.values.keys())
        shared = [seed for seed in shared if seeds is None or seed in seeds]
        level = [self.values[seed] for seed in shared]
        base = [baseline.values[seed] for seed in shared]
        same = bool(shared) and level == base and all(
            (ours := self.read(seed)) and (theirs := baseline.read(seed))
            and ours.outputs.tobytes() == theirs.outputs.tobytes()
            for seed in shared
        )  # fmt: skip
        folds = [seed % self.folds for seed in shared] if self.folds > 1 else None
        examples = self._differences(baseline, shared)
        return Pairs.of(level, base, examples, identical=same, folds=folds)

    def alone(self, baseline: Observed) -> Observed:
        """Return it with the first seed that it shares with the baseline, and no other."""
        first = sorted(self.values.keys() & baseline.values.keys())[:1]
        return replace(self, values={seed: self.values[seed] for seed in first})

    def _differences(self, baseline: Observed, seeds: Sequence[int]) -> Scores | None:
        """Return level minus baseline for each example: `[n, m]`; None unless all are known."""
        rows = []
        for seed in seeds:
            ours, theirs = self.scores(seed), baseline.scores(seed)
            if ours is None or theirs is None or len(ours) != len(theirs):
                return None
            rows.append(ours - theirs)
        if len({len(row) for row in rows}) > 1:
            return None
        return np.stack(rows) if rows else None

    def lost(self, baseline: Observed) -> tuple[int, ...]:
        """Return the seeds that have no pair because one of the two runs failed."""
        seeds = {*self.values, *self.failed}
        return tuple(sorted({*self.failed, *(seed for seed in baseline.failed if seed in seeds)}))

    def has_ended(self, seeds: Sequence[int]) -> bool:
        return {*seeds} <= {*self.values, *self.failed}


def observed(study: Study, result: SettingResult, metric: str) -> Observed:
    """Return a setting's values by seed; its recorded outputs are read when they are needed.

    The records were verified when `result` was made.
    """

    def read(seed: int) -> Outputs | None:
        run = result.setting.runs[seed]
        record, file = study.outcomes.record(run), study.root.run(run).folder / PREDICTIONS
        if record is None or not file.is_file():  # a function kept its outputs to itself
            return None
        from safetensors.numpy import load_file

        found = load_file(file)
        return Outputs(record.configuration, found["outputs"], found["targets"])

    values = dict(zip(result.seeds, result.values, strict=True))
    return Observed(result.label, values, result.failed, metric, read, result.folds)


def example_scores(
    metric: str, value: float, configuration: Mapping[str, Any], outputs: Array, targets: Array
) -> Scores | None:
    """Return one number for each example `[m]`, whose mean is the metric.

    The mean has to equal the recorded value: a loss with weights, or one of the user's own, may
    have the name of one that is known here. Outputs are `[m, C]`, targets `[m]` or `[m, L]` as the
    data has them. None where the metric is no mean over examples, it is not known how, or examples
    are of groups: those of one are not independent.
    """
    task, loss = configuration.get("task"), configuration.get("loss", {})
    name = metric.rpartition("/")[2]
    if (
        not isinstance(task, Mapping)
        or not isinstance(loss, Mapping)
        or get(configuration, "split.group_on")
    ):
        return None
    if not len(outputs) or outputs.ndim != 2:
        return None
    classes = max(2, outputs.shape[1])
    are_codes = targets.ndim == 1 and targets.dtype.kind in "iu"
    if are_codes and (targets.min() < 0 or targets.max() >= classes):
        return None
    if name == "loss":
        name = str(loss.get("name"))  # metrics and losses of one name have one formula
    with np.errstate(all="ignore"):
        try:
            if name == "accuracy":
                found = _correct(outputs, targets, task)
            else:
                found = _errors(name, outputs.astype(np.float64), targets, loss)
        except (TypeError, ValueError, IndexError):  # a forged record, whose parts do not fit
            return None
    if found is None:
        return None
    scores: Scores = found.reshape(len(found), -1).mean(1, dtype=np.float64)
    same = abs(float(scores.mean()) - value) <= _CLOSE * max(abs(value), 1e-2)
    return scores if same else None


def _correct(outputs: Array, targets: Array, task: Mapping[str, Any]) -> Any:
    if task.get("name") == "multiclass":
        return outputs.argmax(1) == targets
    above = 1 / (1 + np.exp(-outputs.astype(np.float64))) > float(task.get("threshold") or 0.5)
    return above == targets.reshape(above.shape)


def _errors(name: str, outputs: Array, targets: Array, loss: Mapping[str, Any]) -> Any:
    """Return a loss or an error of each output, or each example; None of an unknown one."""
    if name == "cross_entropy":
        smoothing = float(loss.get("label_smoothing") or 0.0)
        shifted = outputs - outputs.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        right = logs[np.arange(len(logs)), targets]
        return -(1 - smoothing) * right - smoothing * logs.mean(1)
    if name in ("bce_with_logits", "bce"):
        return np.logaddexp(0, outputs) - targets.reshape(outputs.shape) * outputs
    if name in ("mae", "l1"):
        return np.abs(outputs - targets)
    if name == "mse":
        return (outputs - targets) ** 2
    if name == "huber":
        delta, errors = float(loss.get("delta") or 1.0), np.abs(outputs - targets)
        return np.where(errors <= delta, errors**2 / 2, delta * (errors - delta / 2))
    return None
