"""The Python API: what the commands call, for notebooks and scripts.

from paribus.core.records.record import RunRecord
from paribus.sweeps.api import sweep, train, load_run, load_study

study = sweep("digits", {"optimizer.lr": [1e-3, 1e-2]}, seeds=3)
for row in study.rows():
    print(row["label"], row["mean"], row["interval"])
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.core.config.experiment import refuse_while_loading
from paribus.core.config.values import as_plain
from paribus.core.errors import Faults, RequestError, inert, shown
from paribus.core.records.record import Best, Epoch, RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.sweeps.analysis.compare import compare_document, run_document, study_document
from paribus.sweeps.progress.progress import train_watched
from paribus.sweeps.study.axes import Requested
from paribus.sweeps.study.lookup import find_run
from paribus.sweeps.study.request import (
    RawRequest,
    Search,
    decision_of,
    read_option,
    read_seeds,
)
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study, latest_study
from paribus.sweeps.sweep import planned_run, planned_sweep

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it lies.
    """

    folder: RunFolder

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def record(self) -> RunRecord:
        """Everything recorded about it: configuration, identity, environment, result."""
        return self.folder.record()

    @property
    def best(self) -> Best | None:
        """The best epoch: ``epoch``, ``metrics`` and ``confusion_matrix``; None if it failed."""
        return self.record.best

    def history(self) -> list[Epoch]:
        """Its epochs: metrics and hashes."""
        return self.folder.history()

    def model(self, *, trust: bool = False) -> nn.Module:
        """The model with the best epoch's weights, on the CPU and in evaluation mode.

        The training data need not be there. It takes inputs as the training did: see
        ``record.data.preprocessing``.

        Args:
            trust: Whether whatever the record names may be imported and executed.

        Raises:
            DamagedError: If a file is not what was written.
            RequestError: If the run failed, or names something that only `trust` allows.
        """
        from paribus.core.inference.evaluate import trained_model
        from paribus.core.inference.load_run import recorded_run

        run = recorded_run(self.folder, self.folder.verified_record(), trust=trust)
        _, model = trained_model(run, self.folder.weights())
        return model

    def document(self) -> dict[str, Any]:
        """The document that ``paribus run --json`` prints."""
        return run_document(self.folder, self.record)


@dataclass(frozen=True, repr=False)
class StudyResult:
    """A study and what happened in it.

    Attributes:
        study: The study.
    """

    study: Study

    @property
    def name(self) -> str:
        return self.study.name

    def __repr__(self) -> str:
        document = self._comparison()
        metric = document["metric"]
        rows = [row for row in document["settings"] if row["mean"] is not None]
        means = ", ".join(f"{row['label']} {row['mean']:.4g}" for row in rows)
        return f"<study {self.name}: mean best {metric['name']} of {means or 'nothing yet'}>"

    def document(self) -> dict[str, Any]:
        """The document that ``paribus compare --json`` prints."""
        return study_document(self.study)

    def rows(self) -> list[dict[str, Any]]:
        """One dict per setting: label, changed, derived, seeds, values, mean, std, delta, …"""
        rows: list[dict[str, Any]] = self._comparison()["settings"]
        return rows

    def run(self, label: str, seed: int) -> Run:
        """A run of a setting.

        Raises:
            RequestError: If there is no such setting, seed or finished run.
        """
        return Run(find_run(self.study.root, f"{self.name}/{label}-s{seed}"))

    def _comparison(self) -> dict[str, Any]:
        return compare_document(self.study, self.study.results())


def train(
    experiment: str | Path,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    seed: int = 0,
    root: str | Path | None = None,
    wandb: bool = True,
    engine: str = "auto",
    trust: bool = False,
) -> Run:
    """Trains one run, or takes it from the root if it is there.

    A terminal shows how far it is; elsewhere, as in a notebook, only warnings are printed.

    Args:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        overrides: Hyperparameter to value, such as ``{"optimizer.lr": 0.01}``, or ``KEY=VALUE``.
        seed: The run's seed.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        wandb: Whether W&B follows.
        engine: ``auto``, ``loop`` or ``cohort``.
        trust: Whether whatever the record of a run names may be imported and executed.

    Raises:
        RequestError: With all faults of the request.
    """
    refuse_while_loading("train")
    place, faults = _root(root), Faults()
    with faults.collecting():
        _seeds([seed])
    asked = RawRequest(str(experiment), _pairs(overrides), None, engine, trust)
    with planned_run(place, asked, seed, faults) as planned:
        train_watched(planned, wandb=wandb, warn=_warn)
    planned.finished("Once its cause is gone, call train again.")
    return Run(place.run(planned.run.id))


def sweep(
    experiment: str | Path,
    axes: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    margin: float | None = None,
    until_decided: bool = False,
    max_seeds: int | None = None,
    study: str | None = None,
    root: str | Path | None = None,
    workers: int | None = None,
    wandb: bool = True,
    engine: str = "auto",
    storage: str | None = None,
    trust: bool = False,
) -> StudyResult:
    """Trains a study: the baseline, and each level of each axis with all else left alone.

    A terminal shows how its settings stand; elsewhere, as in a notebook, only warnings are printed.

    Args:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        axes: Hyperparameter to levels, or names of the experiment's own axes; None takes them all.
        overrides: Changes what the levels are compared with.
        seeds: How many (0, 1, …), or which; None: 3, or as many as it takes.
        trials: Levels proposed for each range without a number of points (None: 8), and for each
            list that is longer.
        sampler: ``tpe`` (None), ``random``, ``gp`` or ``qmc``.
        pruner: ``wilcoxon`` or ``median``, asked between seeds; None: every setting gets all.
        margin: Differences smaller than this do not matter; None: the metric's own.
        until_decided: Whether seeds are added to undecided settings until they are decided.
        max_seeds: Where that gives up; None: after 20.
        study: Its name; None: it follows from the request.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        workers: Processes; None: the machine's cores.
        wandb: Whether W&B follows.
        engine: ``auto``, ``loop`` or ``cohort``.
        storage: URL of the Optuna storage; None: a SQLite file under the root.
        trust: Whether whatever the record of a run names may be imported and executed.

    Raises:
        RequestError: With all faults of the request.
    """
    refuse_while_loading("sweep")
    place, faults, wanted = _root(root), Faults(), [0]
    with faults.collecting():
        wanted = _seeds(3 if seeds is None else seeds)
    search = Search(
        read_option("trials", trials, faults),
        read_option("sampler", sampler, faults),
        read_option("pruner", None if pruner == "none" else pruner, faults),
    )
    decision = decision_of(
        read_option("margin", margin, faults),
        search,
        until_decided=until_decided,
        max_seeds=read_option("max-seeds", max_seeds, faults),
        seeds_given=seeds is not None,
        faults=faults,
    )
    asked = RawRequest(str(experiment), _pairs(overrides), _axes(axes), engine, trust)
    with planned_sweep(
        place,
        asked,
        wanted,
        faults,
        search=search,
        decision=decision,
        study=study,
        workers=read_option("workers", workers, faults),
        storage=storage,
        wandb=wandb,
    ) as planned:
        train_watched(planned, wandb=wandb, warn=_warn)
    for note in planned.notes:
        _warn(note)
    return StudyResult(planned.study)


def load_study(name: str | None = None, *, root: str | Path | None = None) -> StudyResult:
    """A study by name; None: the latest.

    Raises:
        RequestError: If there is none.
    """
    place = _root(root)
    return StudyResult(Study.load(place, name or latest_study(place)))


def load_run(run: str, *, root: str | Path | None = None) -> Run:
    """A finished run by id, the beginning of one, its folder, or ``STUDY/LABEL-sSEED``.

    Raises:
        RequestError: If there is none.
    """
    return Run(find_run(_root(root), run))


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    """How many seeds, or which, as a list.

    Raises:
        RequestError: If there is none, one stands twice, or one is no whole number from 0 on.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return read_seeds(str(seeds))
    wanted = [] if isinstance(seeds, str | bool) else list(seeds)
    if not wanted or len(set(wanted)) < len(wanted) or not all(map(_is_seed, wanted)):
        raise RequestError(
            f"seeds={shown(repr(seeds), 40)}: must be different whole numbers from 0 to 999999999.",
            "Write how many (3), or which ([3, 7, 11]).",
            "seeds",
        )
    return wanted


def _is_seed(seed: object) -> bool:
    return isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 10**9


def _root(root: str | Path | None) -> ResultsDir:
    place = ResultsDir(Path(root or os.environ.get("PARIBUS_ROOT") or "results"))
    place.lend_data_folder()
    return place


def _pairs(overrides: Mapping[str, Any] | Sequence[str] | None) -> tuple[Requested, ...]:
    if isinstance(overrides, str):
        return (overrides,)
    if overrides is not None and not isinstance(overrides, Mapping):
        return tuple(overrides)
    return tuple((key, as_plain(value, key)) for key, value in (overrides or {}).items())


def _axes(axes: Mapping[str, Any] | Sequence[str] | None) -> tuple[Requested, ...]:
    if axes is None:
        return ()
    if isinstance(axes, str):
        return (axes,)
    if not isinstance(axes, Mapping):
        return tuple(axes)
    return tuple((key, _levels(key, levels)) for key, levels in axes.items())


def _levels(key: str, levels: Any) -> str | list[Any]:
    """Return LEVELS as they are typed, or a list of values; one value is a list of one."""
    if isinstance(levels, str):
        return levels
    if isinstance(levels, Mapping) or not isinstance(levels, Iterable):
        levels = [levels]
    return [as_plain(level, key) for level in levels]


def _warn(message: str) -> None:
    print(inert(message), file=sys.stderr)
