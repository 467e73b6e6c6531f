"""The script engine: an experiment's function or command, each dict of which is an epoch."""

import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from paribus.core.components.metrics import checked_direction, is_better
from paribus.core.config.experiment import load_experiment, read_metrics
from paribus.core.config.registry import build, check_components, resolve_component, with_defaults
from paribus.core.config.schema import DIRECTIONS, SCRIPT, Configuration, get
from paribus.core.data.prepare import PartName
from paribus.core.errors import Faults, RequestError
from paribus.core.rng import globals_now, put_globals, seeded_globals
from paribus.core.run_spec import RunSpec
from paribus.core.sources.reads import Reads
from paribus.core.training.command import run_command
from paribus.core.training.engine import Best, Evaluation, Job, Report, State
from paribus.core.training.resolve import Probe, Resolver, choose_device


class ScriptResolver(Resolver):
    """Resolves what is known of a function: its keywords. It is not called to learn more."""

    def configuration(self, requested: Configuration, seed: int) -> dict[str, Any]:  # noqa: ARG002
        faults = Faults()
        full = with_defaults(check_components(requested, self.experiment, faults), self.experiment)
        metric, direction = get(full, "select.metric"), None
        with faults.collecting():
            if metric is None:
                raise RequestError("select.metric is missing.", "Give it in SELECT.")
            known = DIRECTIONS.get(metric.split("/")[-1])
            direction = checked_direction(metric, get(full, "select.direction"), known)
        faults.check()
        device = choose_device("auto")
        return {**full, "select": {"metric": metric, "direction": direction}, "device": device}

    def data_record(self, requested: Configuration, seed: int) -> dict[str, Any]:  # noqa: ARG002
        return {"fingerprint": None, "val": 0, "preprocessing": {"class_names": None}}

    def _missing_classes(self, requested: Configuration, seed: int) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def _probe(self, requested: Configuration, seed: int) -> Probe:  # noqa: ARG002
        facts = {"epochs": 0, "updates": 0, "parameters": 0}
        return Probe(facts, None, self.reads.trace(requested, Reads()), SCRIPT)


class Script:
    """Trains a job's one run by calling its function.

    Nothing is known of its model, data and order of examples: there are no weights, no hashes and
    no resume state.
    """

    name = SCRIPT

    def train(self, job: Job, states: Mapping[str, State]) -> Iterator[list[Report]]:  # noqa: ARG002
        def refuse_changed() -> None:
            """Refuse a run whose command may have read what is not what was planned."""
            if job.resolver.experiment.command:
                job.resolver.refuse_changed(job.runs[0], ended=True)

        last: Report | None = None  # yielded when the next one shows that it was not the last
        try:
            for report in epochs_of(job):
                if last is not None:
                    yield [last]
                last = report
                if report.failure is not None:
                    break
        except (Exception, SystemExit):
            if last is not None:
                yield [last]
            refuse_changed()
            raise
        refuse_changed()
        if last is None:
            raise RequestError(f"{job.runs[0].configuration[SCRIPT]['name']} yielded nothing.")
        yield [replace(last, finished=True)]

    def evaluate(self, job: Job, weights: Mapping[str, Tensor], split: PartName) -> Evaluation:  # noqa: ARG002
        raise RequestError(f"{job.runs[0].id} is a function's: it has no weights to evaluate.")


def epochs_of(job: Job) -> Generator[Report, None, None]:
    """Yield one report for each dict that the function yields."""
    (run,) = job.runs
    metric, direction = (run.configuration["select"][key] for key in ("metric", "direction"))
    best: Best | None = None
    for epoch, (item, seconds) in enumerate(_timed(run, job.folders), 1):
        try:
            metrics = read_metrics(item, metric)
        except RequestError as error:
            name = run.configuration[SCRIPT]["name"]
            raise RequestError(f"{name}, epoch {epoch}: {error.message}", error.hint) from error
        failure = None
        if not math.isfinite(metrics[metric]):
            failure = f"non-finite: {metric} is {metrics[metric]} at epoch {epoch}"
        elif best is None or is_better(direction, metrics[metric], best.metrics[metric]):
            best = Best(epoch, {**metrics}, None, {}, torch.empty(0))
        line = {
            "epoch": epoch,
            "metrics": metrics,
            "order_sha256": None,
            "weights_sha256": None,
            "seconds": seconds,
        }
        yield Report(run.id, line, best, failure is not None, failure, {}, None)


def _timed(run: RunSpec, folders: Mapping[str, Path]) -> Iterator[tuple[Any, float]]:
    """Yield what the function yields, with the seconds it took.

    The global generators are its own: what others draw between its epochs does not reach it.
    """
    # What earlier runs left in the user's modules is gone: each run imports them anew.
    try:
        experiment = load_experiment(run.path, run.import_paths)
    except RequestError as error:  # it was loaded when the run was planned
        raise RequestError(error.message, error.hint, "changed") from error
    keywords = dict(run.configuration[SCRIPT])
    component = resolve_component(SCRIPT, keywords.pop("name"), experiment)
    done = object()
    with seeded_globals(run.seed, "script"), TemporaryDirectory() as scratch:
        if run.configuration["device"] == "cuda":
            torch.cuda.manual_seed_all(run.seed)
        if experiment.command:
            folder = folders.get(run.id, Path(scratch))
            metric = run.configuration["select"]["metric"]
            items = run_command(experiment.command, keywords, run.seed, folder, metric)
        else:
            items = build(component, {**keywords, "seed": run.seed})
        while True:
            started = time.perf_counter()
            item = next(items, done)
            if item is done:
                return
            drawn = globals_now()
            yield item, time.perf_counter() - started
            put_globals(drawn)
