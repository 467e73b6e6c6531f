"""A run's course over its epochs: what every engine reports of it, whoever made the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from paribus.core.components.metrics import is_better
from paribus.core.components.models import tensor_hashes, weights_hash
from paribus.core.config.schema import Configuration
from paribus.core.run_spec import RunSpec
from paribus.core.training.engine import Best, Evaluation, Job, Report, State
from paribus.core.training.train_state import TrainState


@dataclass
class RunState:
    """Where a run is.

    Attributes:
        spec: The run.
        train_state: Its parts.
        initial: Name to sha256 of each tensor before the first step.
        epoch: How many are behind it.
        best: The best of them.
    """

    spec: RunSpec
    train_state: TrainState
    initial: dict[str, str] = field(default_factory=dict)
    epoch: int = 0
    best: Best | None = None

    @classmethod
    def begin(cls, job: Job, spec: RunSpec) -> RunState:
        """A run of a job at its first step."""
        asked = Configuration.parse(spec.asked, spec.id)
        train_state = job.resolver.train_state(asked, spec.seed)
        return cls(spec, train_state, tensor_hashes(train_state.model.state_dict()))

    def resume(self, state: State) -> None:
        """Goes on from what `report` put into a resume state."""
        best: Any = state["best"]
        self.initial, self.epoch = state["initial_weights"], state["epoch"]
        self.best = best and Best(**best)

    @property
    def seed(self) -> int:
        return self.spec.seed

    @property
    def examples(self) -> int:
        """Those that the next epoch visits: all, or fewer in the last of a number of updates."""
        train, size = len(self.train_state.data.train), self.train_state.batch_size
        steps = math.ceil(train / size)
        left = self.train_state.updates - self.epoch * steps
        return train if left >= steps else left * size

    def report(
        self,
        trained: Mapping[str, float | None],
        found: Evaluation,
        weights: Mapping[str, Tensor],
        order_sha256: str,
        state: Callable[[], State],
    ) -> Report:
        """Ends an epoch: judges it, and tells of it.

        Args:
            trained: The running means as trained.
            found: The validation part.
            weights: The model's state as it is now.
            order_sha256: Digest of the order of the examples.
            state: Makes what the engine itself needs to go on from here.
        """
        self.epoch += 1
        train_state, epoch = self.train_state, self.epoch
        if train_state.scheduler_steps == "validation":
            train_state.scheduler.step(found.metrics["loss"])  # type: ignore[arg-type]
        metrics = {**trained, **{f"val/{k}": v for k, v in found.metrics.items()}}
        failure = _not_finite(metrics, train_state.metric, epoch)
        if failure is None and self._is_best(metrics):
            kept = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            self.best = Best(epoch, metrics, found.confusion_matrix, kept, found.outputs)
        line = {
            "epoch": epoch,
            "metrics": metrics,
            "order_sha256": order_sha256,
            "weights_sha256": weights_hash(weights),
        }
        best, initial = self.best, self.initial
        return Report(
            run=self.spec.id,
            line=line,
            best=best,
            finished=failure is not None
            or epoch == train_state.epochs
            or self._is_out_of_patience(),
            failure=failure,
            initial_weights=initial,
            state=lambda: {
                **state(),
                "epoch": epoch,
                "best": None if best is None else vars(best),
                "initial_weights": initial,
            },
        )

    def _is_best(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether an epoch is the first, or beats the best so far."""
        name, best = self.train_state.metric, self.best
        return best is None or is_better(
            self.train_state.direction, metrics[name], best.metrics[name]
        )  # fmt: skip

    def _is_out_of_patience(self) -> bool:
        """Whether there were as many epochs without a better one as patience allows."""
        patience = self.train_state.configuration["train"]["patience"]
        since = self.epoch - (self.best.epoch if self.best else 0)
        return patience is not None and since >= patience


def _not_finite(metrics: Mapping[str, float | None], metric: str, epoch: int) -> str | None:
    for name in ("train/loss", "val/loss", metric):
        value = metrics[name]
        if value is not None and not math.isfinite(value):
            return f"non-finite: {name} is {value} at epoch {epoch}"
    return None
