"""From a request to what will be trained: the one validation of requests.

These functions are called in a process that runs could be trained in. Torch is imported by the
functions and not by the module, so that a driver can name them without it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from paribus.core.config.registry import check_components, known_keys, with_defaults
from paribus.core.config.schema import COMPONENTS, Configuration, ModelConfiguration, flatten
from paribus.core.config.values import show_value
from paribus.core.errors import Fault, Faults, RequestError, rewording
from paribus.core.records.record import RunRecord, folds_of
from paribus.core.run_spec import RunSpec, choose_engine
from paribus.sweeps.study.axes import Axis, only_the_baseline, read_axes
from paribus.sweeps.study.controls import prove_one_change, refuse_other_examples, refuse_overridden
from paribus.sweeps.study.request import Request, StudySpec
from paribus.sweeps.study.settings import (
    BASELINE,
    Setting,
    apply_overrides,
    baseline_setting,
    with_full_keys,
)

if TYPE_CHECKING:
    from paribus.core.checks.runner import Check
    from paribus.core.training.resolve import Resolver


def _resolver(request: Request) -> Resolver:
    from paribus.core.training.job import resolver_for_file

    resolver = resolver_for_file(request.path, request.import_paths, as_it_is_now=True)
    if "final_epoch" in (request.start or resolver.experiment.baseline).to_dict():
        raise RequestError(
            "This is the configuration of a final run, which has no validation part to compare by.",
            "Name a run of its study, or the experiment; final_epoch is set by paribus finalize.",
        )
    return resolver


def read_request(request: Request, found: Sequence[Fault] = ()) -> StudySpec:
    """Check a request against the experiment, its components and its data.

    Faults of keys, names and values are raised together, with those `found` in the command's
    options, before data are loaded; then those that only data, model and loss show.
    """
    faults = Faults(list(found))
    with faults.collecting():
        choose_engine(request.engine)
    axes: list[Axis] = []
    with faults.collecting():
        resolver = _resolver(request)
        experiment = resolver.experiment
        start = request.start or experiment.baseline
        with faults.collecting():
            start = apply_overrides(start, request.overrides, experiment)
            # Full names and the parameters' own types, as levels have them.
            start = check_components(start, experiment, faults)
        if request.axes is not None:
            axes = read_axes(request.axes, start, experiment, faults)
    faults.check()
    select = resolver.configuration(start, 0)["select"]
    metric, direction = select["metric"], select["direction"]
    given = start.to_dict()["select"]
    if given["metric"] not in (None, metric):  # a short name; the full one is recorded
        chosen = {**given, "metric": metric}
        start = start.replace("select", chosen)
        axes = [
            replace(axis, levels=tuple(
                replace(level, configuration=level.configuration.replace("select", chosen))
                for level in axis.levels
            ))
            for axis in axes
        ]  # fmt: skip
    folds = folds_of(resolver.specify(start, 0, request.engine).configuration)
    for seed in range(1, folds if request.axes is not None else 1):
        resolver.configuration(start, seed)  # seeds added later meet no fault of their folds
    axes = [_against_resolved(axis, start, resolver) for axis in axes]
    for axis in axes:
        if axis.range is not None:  # its ends; what lies between is checked as it is proposed
            for end in (axis.range.low, axis.range.high):
                with faults.collecting(), _labelled(f"{axis.key}={show_value(end)}"):
                    resolver.specify(start.replace(axis.key, end), 0, request.engine)
        elif not axis.levels:
            if request.axes:
                faults.found += only_the_baseline(axis).faults
            continue
        if metric == "val/loss" and axis.key.split(".")[0] == "loss":
            faults.add(
                f"The axis {axis.key} changes the units of val/loss, by which epochs are chosen.",
                "Choose by another metric: --set select.metric=val/accuracy, or val/mae.",
            )
    faults.check()
    for axis in axes:
        if axis.range is not None:
            low, high = (start.replace(axis.key, end) for end in (axis.range.low, axis.range.high))
            with faults.collecting():
                refuse_overridden(axis.key, f"The axis {axis.key}", low, high, resolver)
    faults.check()
    axes = [axis for axis in axes if axis.levels or axis.range]
    known = known_keys(with_defaults(start, experiment), experiment)
    request = replace(
        request,
        overrides=with_full_keys(request.overrides, known),
        axes=None if request.axes is None else with_full_keys(request.axes, known),
    )
    return StudySpec(
        experiment.name, experiment.question, start, tuple(axes), metric, direction, request
    )


def _against_resolved(axis: Axis, baseline: Configuration, resolver: Resolver) -> Axis:
    """Return the axis with the baseline's level as it is trained, without levels that equal it.

    `standardize=true` for a table, or `device=cpu` without a GPU, is what the baseline has anyway.
    """
    resolved = resolver.configuration(baseline, 0)
    if axis.key not in COMPONENTS and axis.baseline is None:
        value = flatten(resolved).get(axis.key)
        levels = (replace(s, changed={axis.key: [value, s.level]}) for s in axis.levels)
        axis = replace(axis, baseline=value, baseline_text=show_value(value), levels=tuple(levels))

    def is_the_baseline(setting: Setting) -> bool:
        try:
            return resolver.configuration(setting.configuration, 0) == resolved
        except RequestError:  # reported with its label when its runs are planned
            return False

    return replace(axis, levels=tuple(s for s in axis.levels if not is_the_baseline(s)))


def plan_runs(
    request: Request,
    baseline: Configuration,
    wanted: Sequence[tuple[Setting, Sequence[int]]],
) -> tuple[list[Setting], dict[tuple[str, int], RunSpec]]:
    """Return settings with what is derived, and their runs, by label and seed.

    Each setting, wanted with some seeds, is proved to differ from the baseline in one key; the
    faults of all are raised together.
    """
    resolver = _resolver(request)
    noted = {"git": git_state(request.path.parent), "folder": str(Path.cwd())}
    faults = Faults()
    planned: list[Setting] = []
    runs: dict[tuple[str, int], RunSpec] = {}
    seed = wanted[0][1][0]  # any one: of a single seed's runs only what is not its is compared
    base = resolver.specify(baseline, seed, request.engine)
    for setting, seeds in wanted:
        with faults.collecting():
            requested = setting.configuration
            if setting.label != BASELINE:
                with _labelled(setting.label):
                    first = resolver.specify(requested, seed, request.engine)
                derived = prove_one_change(setting, base, first)
                refuse_other_examples(setting, base, first, seeds, resolver)
                assert setting.key is not None
                refuse_overridden(setting.key, setting.label, baseline, requested, resolver)
                setting = replace(setting, derived=derived)
            planned.append(setting)
            for each in seeds:
                run = resolver.specify(requested, each, request.engine)
                runs[setting.label, each] = replace(
                    run, import_paths=request.import_paths, noted={**noted, **run.noted}
                )
    faults.check()
    return planned, runs


def plan_run(request: Request, seed: int, found: Sequence[Fault] = ()) -> RunSpec:
    """Return the run of a request's baseline with one seed; the rest as `read_request`."""
    baseline = read_request(request, found).baseline
    _, runs = plan_runs(request, baseline, [(baseline_setting(baseline), [seed])])
    return runs[BASELINE, seed]


def plan_final(
    request: Request, runs: Sequence[RunRecord], origin: Mapping[str, Any]
) -> tuple[RunSpec, dict[str, Any]]:
    """Return the final run of a setting with the first seed, and the sizes of its data.

    It stops at the median of the best epochs, as a share of the schedule's length: the same epoch
    unless that is given in updates, of which an epoch has more without a validation part.

    The setting is the `start` of the request; `runs` are all its complete ones in order of seed.
    The record notes `origin` as where it comes from.
    """
    from paribus.core.training.train_state import length, updates_per_epoch

    resolver, first = _resolver(request), runs[0]
    assert isinstance(request.start, ModelConfiguration)
    train = request.start.train.model_dump()
    data = resolver.data(request.start.replace("final_epoch", 1), first.seed)
    epochs, _ = length(train, updates_per_epoch(train, len(data.train)))
    middle = median(record.best.epoch for record in runs if record.best)
    stop = max(1, round(middle * epochs / first.facts.epochs))
    if data.fingerprint != first.data.fingerprint:
        raise RequestError(
            f"The data is not what {first.run} was trained on (its fingerprint differs).",
            "Bring it back, or sweep again on what is there now.",
        )
    setting = baseline_setting(request.start.replace("final_epoch", stop))
    planned = plan_runs(request, setting.configuration, [(setting, [first.seed])])[1]
    run = planned[BASELINE, first.seed]
    noted = {**run.noted, "finalized": {**origin, "schedule": epochs}}
    return replace(run, noted=noted), data.sizes()


def describe_request(request: Request) -> dict[str, Any]:
    """Return what `show` prints: configuration, model, data and the experiment's own axes."""
    question = read_request(replace(request, axes=None))
    resolver = _resolver(request)
    own, faults = resolver.experiment, Faults()
    axes = read_axes((), question.baseline, own, faults) if own.axes else []
    faults.check()
    return {
        "experiment": question.experiment,
        "question": question.question,
        **resolver.summary(question.baseline, request.engine),
        "axes": {
            axis.key: [axis.range.text] if axis.range else [s.text for s in axis.levels]
            for axis in axes
        },
    }


def time_updates(request: Request, whole: Configuration) -> tuple[float, float]:
    """Return seconds per update and per validation, from one short epoch here; write nothing."""
    from paribus.core.sources.reads import refusing
    from paribus.core.training.engine import Job
    from paribus.core.training.job import engine_of
    from paribus.core.training.loop import measure

    resolver = _resolver(request)
    updates = min(20, resolver.specify(whole, 0, request.engine).facts["updates"])
    short = whole.replace("train.updates", updates)
    run = resolver.specify(short, 0, request.engine)
    train_state = resolver.train_state(short, 0)
    started = time.perf_counter()
    with refusing("The first updates fail", ""):
        measure(train_state, "val")
        validation = time.perf_counter() - started
        epochs = engine_of(run.engine).train(Job((run,), resolver), {})
        lines = [report.line for (report,) in epochs]
    seconds = sum(line["seconds"] for line in lines) - validation * len(lines)
    return max(seconds, 1e-6) / updates, validation


@cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that a folder lies in, and whether it has changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _labelled(label: str) -> AbstractContextManager[None]:
    """Put a setting's label before the faults of the block."""
    return rewording(lambda fault: replace(fault, message=f"{label}: {fault.message}"))


def check_request(request: Request) -> tuple[str, list[Check]]:
    """Return the experiment's name and what `check` finds; imports scikit-learn."""
    from paribus.core.checks.runner import check

    resolver = _resolver(request)
    experiment = resolver.experiment
    start = request.start or experiment.baseline
    requested = apply_overrides(start, request.overrides, experiment)
    with redirect_stdout(sys.stderr):  # standard output is the command's own
        return experiment.name, list(check(resolver, requested))
