"""What the page of a study is made from: its comparison, and what its runs recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paribus.core.config.values import show_value
from paribus.core.records.record import RunRecord
from paribus.sweeps.report.study_figure import looks_of
from paribus.sweeps.study.results import SettingResult
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A study as its page looks at it.

    Attributes:
        study: The study.
        comparison: Its `compare` document, with ``linter``.
        results: What happened with each setting, in the study's order.
    """

    study: Study
    comparison: Mapping[str, Any]
    results: Sequence[SettingResult]
    _curves: dict[str, dict[str, list[Numbers]]] = field(default_factory=dict, init=False)

    @cached_property
    def looks(self) -> dict[str, dict[str, Any]]:
        """Label to the colour and dashes that a setting has in every plot."""
        return looks_of(self.results)

    @cached_property
    def by_label(self) -> dict[str, SettingResult]:
        return {result.setting.label: result for result in self.results}

    @cached_property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """SETTING of the `compare` document by label."""
        return {row["label"]: row for row in self.comparison["settings"]}

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.study.direction == "maximize" else -1

    @cached_property
    def chosen(self) -> str | None:
        """The label shown beside the baseline: of those that are better the best, else the best.

        None where no level is complete.
        """
        levels = [
            row
            for label, row in self.rows.items()
            if label != BASELINE and row["delta"] is not None
        ]
        better = [row for row in levels if row["verdict"] == "better"]  # a seed may have failed
        levels = [row for row in levels if row["status"] == "complete"]
        best = max(better or levels, key=lambda row: self.sign * row["delta"], default=None)
        return None if best is None else str(best["label"])

    def level(self, label: str) -> str:
        """The level of a setting as it is typed."""
        return show_value(self.by_label[label].setting.level)

    def seeds(self) -> str:
        """``5 seeds``, or ``3 to 5 seeds``, of the settings that have any."""
        counts = sorted({len(result.seeds) for result in self.results if result.seeds})
        if len(counts) > 1:
            return f"{counts[0]} to {counts[-1]} seeds"
        return "1 seed" if counts == [1] else f"{counts[0]} seeds" if counts else "no seed"

    def curves(self, label: str, metric: str) -> list[Numbers]:
        """A metric in each epoch `[E]`, for each complete seed; NaN where it is not defined."""
        if label not in self._curves:  # each history is read once: there may be thousands
            setting = self.by_label[label].setting
            runs = [self.study.root.run(setting.runs[seed]) for seed in self.by_label[label].seeds]
            wanted = ("val/loss", "train/loss", self.study.metric, self.training_metric)
            self._curves[label] = {name: [] for name in wanted}
            for history in (run.history() for run in runs):
                for name, curves in self._curves[label].items():
                    values = [line.metrics.get(name) for line in history]
                    curves.append(np.array(values, dtype=np.float64))
        return self._curves[label][metric]

    @property
    def training_metric(self) -> str:
        """The selection metric on the training part, if it is one of validation."""
        return self.study.metric.replace("val/", "train/", 1)

    def record(self, label: str, seed: int) -> RunRecord:
        """The record of a setting's complete run."""
        record = self.study.outcomes.record(self.by_label[label].setting.runs[seed])
        assert record is not None  # a value of it is in the result
        return record
