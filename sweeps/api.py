"""The Python API: what the commands do, for notebooks and scripts; `import paribus` gives it.

study = paribus.sweep("digits", {"optimizer.lr": [1e-3, 1e-2]}, seeds=3)
for setting in paribus.compare(study).settings:
    print(setting.label, setting.mean, setting.interval, setting.verdict)

What cannot be done as requested raises a `RequestError` that names all faults of the request; a
file that does not hold what was written, a `DamagedError`.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, get_args

from paribus.core.config.experiment import dotted_name, refuse_while_loading
from paribus.core.config.schema import Direction
from paribus.core.config.values import as_plain
from paribus.core.errors import Faults, RequestError, inert, many, rewording, shown
from paribus.core.records.record import Best, RunRecord
from paribus.core.records.run_dir import RunFolder
from paribus.core.sources.cells import is_of_cell, write_cells
from paribus.sweeps.analysis.compare import (
    Comparison,
    checked_comparison,
    compare_and_lint,
    compare_study,
    html_table,
    run_document,
)
from paribus.sweeps.analysis.imported_results import ResultsComparison, compare_results, load_table
from paribus.sweeps.analysis.read_results import is_results
from paribus.sweeps.execution.executor import Placement
from paribus.sweeps.execution.gpus import GpuOptions
from paribus.sweeps.formatting import number
from paribus.sweeps.progress.progress import train_watched
from paribus.sweeps.study.lookup import find_run, find_subject, request_for
from paribus.sweeps.study.request import SEEDS, read_option, refuse_for_studies, study_options
from paribus.sweeps.study.results_dir import ResultsDir, open_root, root_words
from paribus.sweeps.study.settings import Requested
from paribus.sweeps.study.study import Study, latest_study
from paribus.sweeps.sweep import planned_final, planned_run, planned_sweep
from paribus.sweeps.tracking.tracker import read_trackers

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from paribus.core.inference.evaluate import Evaluation
    from paribus.core.inference.new_inputs import Given
    from paribus.core.inference.predict import Predictions
    from paribus.sweeps.evaluate import EvaluationComparison, Split
    from paribus.sweeps.report.figure import StyledFigure
    from paribus.sweeps.report.page import Report
    from paribus.sweeps.reproduce import Reproduced, ReproducedSetting

# Decorates what names arguments of Python in its errors, where a command names options.
_for_python = rewording(
    lambda fault: replace(fault, message=in_python(fault.message), hint=in_python(fault.hint))
)


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run, in its folder."""

    folder: RunFolder

    @property
    def id(self) -> str:
        return self.folder.id

    @cached_property
    def record(self) -> RunRecord:
        """Everything recorded about it: configuration, identity, environment, result."""
        return self.folder.record()

    @property
    def best(self) -> Best | None:
        """The best epoch: ``epoch``, ``metrics`` and ``confusion_matrix``; None if it failed."""
        return self.record.best

    @property
    def history(self) -> DataFrame:
        """One row per epoch: metrics, learning rate, hashes of order and weights, seconds."""
        from pandas import DataFrame

        lines = [epoch.to_json() | epoch.metrics for epoch in self.folder.history()]
        frame = DataFrame(lines, columns=None if lines else ["epoch"])
        return frame.drop(columns="metrics", errors="ignore").set_index("epoch")

    @property
    def document(self) -> dict[str, Any]:
        """The document that ``paribus run --json`` prints."""
        return run_document(self.folder, self.record)

    def __repr__(self) -> str:
        record = self.record
        if record.best is None:
            return f"<run {self.id}: failed: {shown(record.reason)}>"
        if record.final_epoch:
            return f"<final run {self.id}: {many(record.epochs, 'epoch')}, no validation part>"
        epoch = f"epoch {record.best.epoch} of {record.epochs}"
        return f"<run {self.id}: {record.metric} {number(record.value)} at {epoch}>"

    def _repr_html_(self) -> str:
        epochs = {"best": self.record.best, "last": self.record.last}
        columns = {name: epoch.metrics for name, epoch in epochs.items() if epoch}
        names = dict.fromkeys(key for column in columns.values() for key in column)
        rows = [[name, *(number(c.get(name)) for c in columns.values())] for name in names]
        return html_table(repr(self), ["metric", *columns], rows)

    @_for_python
    def plot(self, *, trust: bool = False) -> StyledFigure:
        """Draw its curves, its confusion matrix and its model's answers.

        Args:
            trust: Whether whatever the record names may be imported and executed.
        """
        from paribus.sweeps.report.figure import figure_of
        from paribus.sweeps.report.page import picture_of

        # The warning names the line that called `plot`.
        warn = partial(warnings.warn, stacklevel=5)
        return figure_of(picture_of(self.folder, warn, trust=trust))

    @_for_python
    def model(self, *, trust: bool = False) -> nn.Module:
        """Return the model with the best epoch's weights, on the CPU and in evaluation mode.

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
        _, call = trained_model(run, self.folder.weights())
        return call.attached()


@dataclass(frozen=True, repr=False)
class StudyResult:
    """A study and what happened in it."""

    study: Study

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def document(self) -> dict[str, Any]:
        """The document that ``paribus compare --json`` prints."""
        return compare_and_lint(self.study).to_dict()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict per setting: label, changed, derived, seeds, values, mean, std, delta, …"""
        return compare_study(self.study).to_dict()["settings"]

    def to_frame(self) -> DataFrame:
        """Return one row per setting, with the keys of `rows` as columns."""
        return compare_study(self.study).to_frame()

    def __repr__(self) -> str:
        found = [one for one in compare_study(self.study).settings if one.mean is not None]
        means = [
            f"{one.label} {one.mean:.4g}" + (f" ({one.verdict})" if one.verdict else "")
            for one in found
        ]
        what = ", ".join(means) or "nothing yet"
        return f"<study {self.name}: mean best {self.study.metric} of {what}>"

    def _repr_html_(self) -> str:
        return compare_study(self.study)._repr_html_()

    @_for_python
    def plot(self) -> StyledFigure:
        """Draw the learning curves, and the metric over each axis."""
        from paribus.sweeps.report.figure import figure_of
        from paribus.sweeps.report.page import picture_of

        return figure_of(picture_of(self.study, partial(warnings.warn, stacklevel=5)))

    @_for_python
    def run(self, label: str, seed: int) -> Run:
        """Return a run of a setting."""
        return Run(find_run(self.study.root, f"{self.name}/{label}-s{seed}"))


@_for_python
def train(
    experiment: str | Path,
    overrides: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    seed: int = 0,
    root: str | Path | None = None,
    track: str = "wandb",
    wandb: bool = True,
    engine: str = "auto",
    trust: bool = False,
) -> Run:
    """Train one run, or take it from the root if it is there.

    A terminal and a notebook show a progress bar; a script prints warnings only.

    Args:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        overrides: Hyperparameter to value, such as ``{"optimizer.lr": 0.01}``, or ``KEY=VALUE``.
        seed: The run's seed.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        track: Trackers with commas between: ``wandb,tensorboard``; or ``none``.
        wandb: Whether W&B may be one of them.
        engine: ``auto``, ``loop`` or ``cohort``.
        trust: Whether whatever the record of a run names may be imported and executed.
    """
    refuse_while_loading("train")
    place, faults = _root(root), Faults()
    names = read_trackers(track, faults, wandb=wandb)
    seed = read_option("seed", seed, faults)
    requested = _requested(overrides, place), None, engine
    request = request_for(place, str(experiment), *requested, trust=trust, faults=faults)
    with planned_run(place, request, seed, faults) as planned:
        train_watched(planned, track=names, warn=_warn)
    planned.finished("Once its cause is gone, call train again.")
    return Run(place.run(planned.run.id))


@_for_python
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
    strict: bool = False,
    until_decided: bool = False,
    max_seeds: int | None = None,
    study: str | None = None,
    root: str | Path | None = None,
    workers: int | None = None,
    gpus: str | None = None,
    per_gpu: int = 1,
    on: str | None = None,
    track: str = "wandb",
    wandb: bool = True,
    engine: str = "auto",
    storage: str | None = None,
    trust: bool = False,
) -> StudyResult:
    """Train a study: the baseline, and each level of each axis with all else left alone.

    A terminal shows a table of settings, a notebook a progress bar; a script prints warnings only.

    Args:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        axes: Hyperparameter to levels, or names of the experiment's own axes; None takes them all.
        overrides: Changes what the levels are compared with.
        seeds: How many (0, 1, …), or which; None: 5, or as many as it takes.
        trials: Levels proposed for each range without a number of points (None: 8), and for each
            list that is longer.
        sampler: ``tpe`` (None), ``random``, ``gp`` or ``qmc``.
        pruner: ``wilcoxon`` or ``median``, applied between seeds; None: every setting gets all.
        margin: Differences smaller than this do not matter; None: the metric's own.
        strict: Control the error rate over all settings together (Holm), for papers.
        until_decided: Whether seeds are added to undecided settings until they are decided.
        max_seeds: The most seeds that `until_decided` takes; None: 15.
        study: Its name; None: it follows from the request.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        workers: Processes; None: the machine's cores.
        gpus: Those that train: ``0,2``, ``all`` or ``none``; None: all of one kind.
        per_gpu: Runs at a time on each; a cohort has its GPU alone.
        on: ``ray`` or ``ray:HOST:PORT``: the nodes of a Ray cluster train; None: this machine.
        track: Trackers with commas between: ``wandb,tensorboard``; or ``none``.
        wandb: Whether W&B may be one of them.
        engine: ``auto``, ``loop`` or ``cohort``.
        storage: URL of the Optuna storage; None: a SQLite file under the root.
        trust: Whether whatever the record of a run names may be imported and executed.
    """
    refuse_while_loading("sweep")
    place, faults = _root(root), Faults()
    names = read_trackers(track, faults, wandb=wandb)
    options = study_options(
        faults,
        seeds=_seeds(SEEDS if seeds is None else seeds, faults),
        seeds_given=seeds is not None,
        trials=read_option("trials", trials, faults),
        sampler=read_option("sampler", sampler, faults),
        pruner=read_option("pruner", pruner, faults),
        margin=read_option("margin", margin, faults),
        strict=strict,
        until_decided=until_decided,
        max_seeds=read_option("max-seeds", max_seeds, faults),
        study=study,
        storage=storage,
    )
    workers = read_option("workers", workers, faults)
    gpus, per_gpu = read_option("gpus", gpus, faults), read_option("per-gpu", per_gpu, faults)
    where = Placement(workers, GpuOptions(gpus, per_gpu), read_option("on", on, faults))
    requested = _requested(overrides, place), _requested(axes, place, axes=True), engine
    request = request_for(place, str(experiment), *requested, trust=trust, faults=faults)
    with planned_sweep(place, request, options, faults, placement=where, track=names) as planned:
        train_watched(planned, track=names, warn=_warn)
    _warn(*planned.notes)
    return StudyResult(planned.study)


@_for_python
def finalize(
    study: StudyResult | str,
    label: str | None = None,
    *,
    root: str | Path | None = None,
    track: str = "wandb",
    wandb: bool = True,
    engine: str = "auto",
    trust: bool = False,
) -> Run:
    """Train a study's chosen setting once on all but the test part, or take it from the root.

    Training stops at the median of the best epochs of the setting's runs. There is no validation;
    `evaluate` with ``split="test"`` and `predict` are for it.

    Args:
        study: A study, or its name.
        label: The setting; None: the best one.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        track: Trackers with commas between: ``wandb,tensorboard``; or ``none``.
        wandb: Whether W&B may be one of them.
        engine: ``auto``, ``loop`` or ``cohort``.
        trust: Whether whatever the record of a run names may be imported and executed.

    Raises:
        RequestError: If there is no such study or setting, it has no complete run, or is a
            function's.
    """
    refuse_while_loading("finalize")
    faults = Faults()
    names = read_trackers(track, faults, wandb=wandb)
    faults.check()
    place, name = _named(study, root)
    with planned_final(place, name, label, engine, trust=trust) as planned:
        train_watched(planned, track=names, warn=_warn)
    planned.finished("Once its cause is gone, call finalize again.")
    return Run(place.run(planned.run.id))


@_for_python
def load_study(name: str | None = None, *, root: str | Path | None = None) -> StudyResult:
    """Return a study by name; None: the latest."""
    place = _root(root)
    return StudyResult(Study.load(place, name or latest_study(place)))


@_for_python
def load_run(run: str, *, root: str | Path | None = None) -> Run:
    """Return a finished run by id, the beginning of one, its folder, or ``STUDY/LABEL-sSEED``."""
    return Run(find_run(_root(root), run))


@_for_python
def compare(
    study_or_results: StudyResult | str | Path | None = None,
    *,
    metric: str | None = None,
    margin: float | None = None,
    strict: bool = False,
    direction: Direction | None = None,
    setting: str | Sequence[str] = (),
    seed: str | None = None,
    baseline: str | None = None,
    root: str | Path | None = None,
) -> Comparison:
    """Compare every setting of a study, or of another tool's results, with the baseline.

    Args:
        study_or_results: A study, its name, or results as the command ``compare`` takes them; None:
            the latest study.
        metric: Of a study, another metric of each run's best epoch; None: the selection metric. Of
            results the column of values.
        margin: Differences smaller than this do not matter; None: the study's, or the metric's own.
        strict: Control the error rate over all settings together (Holm), for papers.
        direction: Of results, which way is better; None: as the metric's name says.
        setting: Of results, the columns of hyperparameters; empty: as the command takes them.
        seed: Of results, the column of seeds; None: the one called ``seed``.
        baseline: Of results, such as ``lr=0.001``; None: the most frequent configuration.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
    """
    place, name = _named(study_or_results, root)
    of_results = name not in place.study_names() and is_results(name)
    faults, table = Faults(), None
    margin = read_option("margin", margin, faults)
    _check_choice("direction", direction, (None, *get_args(Direction)), faults)
    own = {"direction": direction, "setting": setting, "seed": seed, "baseline": baseline}
    refuse_for_studies(faults, of_results, **own)
    with faults.collecting():
        if of_results:
            columns = [setting] if isinstance(setting, str) else setting
            table = load_table(name, columns, seed, metric)
    faults.check()
    if table:
        return compare_results(table, direction, margin, baseline, strict=strict)
    study = Study.load(place, name or latest_study(place))
    comparison = checked_comparison(study, metric, margin, root_words(place), strict=strict)
    for run, damage in study.outcomes.damaged.items():
        _warn(f"{run} is left out, as it is damaged: {damage}")
    return comparison


@_for_python
def evaluate(
    run_or_study: Run | StudyResult | str | Path,
    split: Split = "val",
    *,
    labels: str | Sequence[str] = (),
    root: str | Path | None = None,
    trust: bool = False,
) -> Evaluation | EvaluationComparison:
    """Evaluate the best checkpoint of a run, or of a study's chosen settings.

    Readings of the test part are counted.

    Args:
        run_or_study: A run or a study, or what `load_run` and `load_study` take.
        split: ``val`` or ``test``.
        labels: A setting of the study beside the baseline, or several; none takes those that are
            better, or where none is, the best one.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        trust: Whether whatever the record of a run names may be imported and executed.

    Raises:
        DamagedError: If a file of the run, or the data, is not what it was.
        RequestError: If there is no such run or study, it has no model, or the part is empty.
    """
    from paribus.sweeps.evaluate import Split, evaluate_named

    faults = Faults()
    _check_choice("split", split, get_args(Split), faults)
    faults.check()
    labels = [labels] if isinstance(labels, str) else labels
    place, name = _named(run_or_study, root)
    return evaluate_named(place, name, split, labels, trust)


@_for_python
def predict(
    run: Run | str | Path, inputs: Any, *, root: str | Path | None = None, trust: bool = False
) -> Predictions:
    """Predict new data with the best checkpoint of a run.

    Args:
        run: A run, or what `load_run` takes.
        inputs: What the run was trained on: an array, a data frame, a dict of arrays, a list of
            rows (numbers, or dicts by column), texts, images by path, or the path of a file of
            them.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        trust: Whether whatever the record of the run names may be imported and executed.

    Raises:
        DamagedError: If a file of the run is not what it was.
        RequestError: If there is no such run, it has no model, or an input is not as its training
            data were.
    """
    from paribus.sweeps.evaluate import predict_named

    def read_given() -> Given:
        from paribus.core.inference.new_inputs import Given

        items = [inputs] if isinstance(inputs, str | Path) else _rows(inputs)
        texts = [str(item) for item in items if isinstance(item, str | Path)]
        return Given(texts) if len(texts) == len(items) else Given(rows=items)

    place, name = _named(run, root)
    found = predict_named(place, name, read_given, trust)
    _warn(*found.notes)
    return found


@_for_python
def reproduce(
    run: Run | str | Path,
    *,
    workers: int | None = None,
    root: str | Path | None = None,
    trust: bool = False,
) -> Reproduced | ReproducedSetting:
    """Train a run again from its record alone, and compare every epoch bit for bit.

    Nothing in the root is changed.

    Args:
        run: A run, what `load_run` takes, or ``STUDY/LABEL`` for all seeds of a setting.
        workers: Processes; None: the machine's cores.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        trust: Whether whatever the record names may be imported and executed.

    Raises:
        DamagedError: If its record cannot be read, or its sources are not what they were.
        RequestError: If there is no such run, or it cannot be trained here.
    """
    refuse_while_loading("reproduce")
    from paribus.sweeps.reproduce import ReproducedSetting, planned_reproduction

    (place, name), faults = _named(run, root), Faults()
    workers = read_option("workers", workers, faults)
    faults.check()
    with planned_reproduction(place, name, workers=workers, trust=trust) as planned:
        for seed in planned.missing:
            _warn(f"{name}: seed {seed} has no finished run, so it is not compared.")
        train_watched(planned, warn=_warn, track=())
        results = planned.results()
    return results[0] if len(results) == 1 else ReproducedSetting(name, results)


@_for_python
def report(
    study_or_run: StudyResult | Run | ResultsComparison | str | Path | None = None,
    *,
    output: str | Path | None = None,
    root: str | Path | None = None,
    trust: bool = False,
) -> Report:
    """Write a page on a study or a run: one self-contained HTML file.

    Args:
        study_or_run: A study, a run, or the name of one, or what `compare` returns of another
            tool's results; None: the latest study.
        output: The file; None: ``report.html`` in the study's folder, ``RUN.html`` in this one.
        root: Where results live; None: ``PARIBUS_ROOT``, else ``./results``.
        trust: Whether whatever a run's record names may be imported and executed.
    """
    from paribus.sweeps.report.page import Subject, report_file, write_report

    subject: Subject
    if isinstance(study_or_run, ResultsComparison):
        subject = study_or_run
    else:
        place, name = _named(study_or_run, root)
        subject = find_subject(place, name or latest_study(place))
    file = report_file(subject, output)
    assert file
    return write_report(subject, file, _warn, trust=trust)


def _named(
    what: StudyResult | Run | str | Path | None, root: str | Path | None
) -> tuple[ResultsDir, str]:
    """Return the root and the name of a study or run; the name is empty for None."""
    if isinstance(what, StudyResult):
        return _root(root or what.study.root.path), what.name
    if isinstance(what, Run):
        return _root(root or what.folder.folder.parent.parent), str(what.folder.folder)
    return _root(root), "" if what is None else str(what)


def _rows(inputs: Any) -> list[Any]:
    """Return an array, a data frame or a sequence as a list of rows fit for JSON."""
    if hasattr(inputs, "to_dict"):  # a data frame; its empty cells are NaN
        inputs = inputs.astype(object).where(inputs.notna(), None).to_dict("records")
    if isinstance(inputs, Mapping):  # of arrays: a row is a dict
        each = zip(*(values.tolist() for values in inputs.values()), strict=True)
        return [dict(zip(inputs, row, strict=True)) for row in each]
    rows = inputs.tolist() if hasattr(inputs, "tolist") else list(inputs)
    return [row.tolist() if hasattr(row, "tolist") else row for row in rows]


def _root(root: str | Path | None) -> ResultsDir:
    return open_root(root or os.environ.get("PARIBUS_ROOT") or "results")


def _check_choice(name: str, value: Any, choices: Sequence[Any], faults: Faults) -> None:
    if value not in choices:
        words = " or ".join(repr(choice) for choice in choices if choice is not None)
        faults.add(f"{name}={shown(repr(value), 40)}: must be {words}.")


def _seeds(seeds: int | Sequence[int], faults: Faults) -> list[int]:
    """Return how many seeds, or which, as a list; add a fault where it is neither."""
    if isinstance(seeds, int):
        return read_option("seeds", seeds, faults) or []
    wanted = [] if isinstance(seeds, str) else list(seeds)
    are_seeds = all(type(seed) is int and 0 <= seed < 10**9 for seed in wanted)
    if not wanted or not are_seeds or len(set(wanted)) < len(wanted):
        faults.add(
            f"seeds={shown(repr(seeds), 40)}: must be different whole numbers from 0 to 999999999.",
            "Write how many (3), or which ([3, 7, 11]).",
        )
    return wanted


def _requested(
    words: Mapping[str, Any] | Sequence[str] | None, root: ResultsDir, *, axes: bool = False
) -> tuple[Requested, ...]:
    """Return ``KEY=VALUE`` as typed, and a mapping's values as configurations hold them.

    Of axes these are levels: as typed, a list, or a value that is one level.
    """

    def read(key: str, value: Any) -> Any:
        if not axes:
            return _plain(value, key, root)
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping) or not isinstance(value, Iterable):
            value = [value]
        return [_plain(level, key, root) for level in value]

    if isinstance(words, Mapping):
        return tuple((key, read(key, value)) for key, value in words.items())
    return (words,) if isinstance(words, str) else tuple(words or ())


def _plain(value: Any, key: str, root: ResultsDir) -> Any:
    """Return a value as a configuration holds it; a class or function by a name it is found by.

    Raises:
        RequestError: If it is another object, or uses one that lives in the notebook only.
    """
    if isinstance(value, Mapping) and "name" in value:
        return {**as_plain({**value, "name": ""}, key), "name": _plain(value["name"], key, root)}
    if isinstance(value, type | FunctionType):
        if is_of_cell(value):
            return write_cells(value, root.path / "cells")
        if found := dotted_name(value):
            return found
        raise RequestError(
            f"{key}: {shown(repr(value))} has no name at the top level of a module or cell.",
            "Define it there with def or class.",
        )
    if callable(value) and not isinstance(value, BuiltinFunctionType):
        kind = type(value).__name__
        raise RequestError(
            f"{key} is a {kind} that was made already; each run makes its own, by its seed.",
            f'Name the class, and its keywords beside it: {{"name": {kind}, "KEYWORD": VALUE}}.',
        )
    return as_plain(value, key)


def _warn(*messages: str) -> None:
    for message in messages:
        print(inert(in_python(message)), file=sys.stderr)


_ARGUMENTS = {
    name
    for function in (sweep, train, finalize, compare, evaluate, predict, reproduce, report)
    for name in signature(function).parameters
}
_FLAGS = ("trust", "strict", "until_decided")
_OPTION = re.compile(
    r"paribus [a-z]+ .*"  # a command to paste stays as it is
    r"|(?P<overrides>--set [^\s,]*[^\s,.](?: --set [^\s,]*[^\s,.])*)"
    r"|--(?P<name>[a-z][a-z-]*)(?P<value> (?=['\dA-Z-]))?"  # a quoted text, a number or NAME
)


def in_python(text: str) -> str:
    """Return a message with arguments of Python in place of the command line's options.

    ``--max-seeds 9`` becomes ``max_seeds=9``, ``--set optimizer.lr=0.1`` becomes
    ``overrides=['optimizer.lr=0.1']``. Options that no function has stay.
    """

    def argument(match: re.Match[str]) -> str:
        if match["overrides"]:
            return f"overrides={match['overrides'].split()[1::2]}"
        name = (match["name"] or "").replace("-", "_")
        if name not in _ARGUMENTS:
            return match[0]
        return f"{name}=True" if name in _FLAGS else f"{name}=" if match["value"] else name

    return _OPTION.sub(argument, text)
