"""A run over its epochs: what every engine reports of it, whichever made the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from paribus.core.components.metrics import is_better
from paribus.core.components.models import tensor_hashes, weights_hash
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
        """Build a run of a job, at its first step."""
        train_state = job.resolver.train_state(spec.requested, spec.seed)
        return cls(spec, train_state, tensor_hashes(train_state.model.state_dict()))

    def resume(self, state: State) -> None:
        """Go on from what `report` put into a resume state."""
        best: Any = state["best"]
        self.initial, self.epoch = state["initial_weights"], state["epoch"]
        self.best = best and Best(**best)

    @property
    def seed(self) -> int:
        return self.spec.seed

    @property
    def examples(self) -> int:
        """How many the next epoch visits: all, or fewer in the last of a number of updates."""
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
        """End an epoch: decide whether it is the best, the last or a failure, and report it.

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
        failure, metric = None, train_state.metric
        for name in (metric, "val/loss", "train/loss"):
            value = metrics[name]
            if value is not None and not math.isfinite(value):
                failure = f"non-finite: {name} is {value} at epoch {epoch}"
        best = self.best
        if failure is None and (
            best is None or is_better(train_state.direction, metrics[metric], best.metrics[metric])
        ):
            kept = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            best = Best(epoch, metrics, found.confusion_matrix, kept, found.outputs)
        self.best, initial = best, self.initial
        patience = train_state.configuration["train"]["patience"]
        since = epoch - (best.epoch if best else 0)  # epochs without a better one
        line = {
            "epoch": epoch,
            "metrics": metrics,
            "order_sha256": order_sha256,
            "weights_sha256": weights_hash(weights),
        }
        return Report(
            run=self.spec.id,
            line=line,
            best=best,
            finished=failure is not None
            or epoch == train_state.epochs
            or (patience is not None and since >= patience),
            failure=failure,
            initial_weights=initial,
            state=lambda: {
                **state(),
                "epoch": epoch,
                "best": None if best is None else vars(best),
                "initial_weights": initial,
            },
        )


def evaluate_outputs(
    train_state: TrainState, loss: float, outputs: Tensor, targets: Tensor
) -> Evaluation:
    """Return the metrics of a part's outputs.

    Args:
        train_state: Has the task and the further metrics.
        loss: The part's mean loss.
        outputs: float `[N, …]`; may be a view of more.
        targets: As the part has them.
    """
    outputs, targets = outputs.cpu().clone(), targets.cpu()
    metrics: dict[str, float | None] = {"loss": loss, **train_state.task.measure(outputs, targets)}
    for extra in train_state.extra_metrics:
        metrics[extra.key] = extra.measure(outputs, targets)
    matrix = train_state.task.confusion_matrix(outputs, targets)
    return Evaluation(metrics, outputs, targets, matrix)
