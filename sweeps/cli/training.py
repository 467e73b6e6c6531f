"""`run` and `sweep`: what trains."""

from __future__ import annotations

from typing import Any

import rich_click as click

from core.errors import Faults
from core.values import show_value
from sweeps.cli.common import (
    clean_stop,
    command,
    json_option,
    number,
    print_json,
    read_seconds,
    read_seed,
    read_workers,
    root_option,
    root_words,
    say,
    training_options,
    warn,
)
from sweeps.root import Root


@click.command("run")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--seed", default="0", metavar="N", show_default=True, help="The run's seed.")
@training_options
@root_option
@json_option
@click.pass_context
def run_command(
    context: click.Context,
    experiment: str,
    overrides: tuple[str, ...],
    seed: str,
    engine: str,
    checkpoint_every: str,
    no_wandb: bool,
    root: Root,
    as_json: bool,
) -> None:
    """Train one tracked run of an EXPERIMENT: a name, a .py file, or a run."""
    from sweeps.early import early_request

    faults, number_of_seed, seconds = Faults(), 0, 0.0
    with faults.collecting():
        number_of_seed = read_seed(seed)
    with faults.collecting():
        seconds = read_seconds(checkpoint_every)
    with faults.collecting():
        root.check_writable()
    request = early_request(
        root, experiment, overrides=overrides, axes=None, engine=engine, faults=faults
    )
    from sweeps.cli.progress import Display
    from sweeps.documents import run_document
    from sweeps.lookup import studies_of
    from sweeps.single import plan_one, train_one
    from sweeps.sweep import Workplace
    from sweeps.tracking import open_tracker

    workplace = Workplace(request.path, 1)
    reused, stopped, record = False, None, None
    try:
        with faults.collecting():
            run = plan_one(request, number_of_seed, root, workplace)
        faults.check()
        select = run.configuration["select"]
        tracker = open_tracker(root.path, enabled=not no_wandb, warn=warn)
        with (
            clean_stop() as stop,
            Display([run], select["metric"], select["direction"], quiet=as_json) as display,
        ):
            try:
                for step in train_one(
                    run, root, workplace, tracker, checkpoint_every=seconds, stop=stop
                ):
                    display.show(step)
                    reused, record = step.reused, step.record
                    if step.progress and step.progress.ended == "attempt":
                        stopped = step.progress.reason
            finally:
                tracker.close()
            interrupted = stop()
    finally:
        workplace.close()
    folder = root.run(run.id)
    again = command(*context.obj)
    if record is None:
        if interrupted:
            warn(f"Stopped; to continue: {again}")
            context.exit(130)
        raise _unfinished(run.id, stopped, again)
    document = run_document(folder, record, studies=studies_of(root).get(run.id, ()), reused=reused)
    if as_json:
        print_json(document)
    else:
        _tell_run(document, folder, root)
    context.exit(0 if document["status"] == "complete" else 1)


@click.command("sweep")
@click.argument("experiment")
@click.argument("axes", nargs=-1, metavar="[KEY=LEVELS | KEY]...")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change the baseline that levels are compared with.")  # fmt: skip
@click.option("--seeds", default="3", metavar="N|A,B,C", show_default=True,
              help="How many seeds, or which.")  # fmt: skip
@click.option("--study", metavar="NAME", help="The study's name; else it follows from the request.")
@click.option("--workers", metavar="N", help="Processes; default: the machine's cores.")
@click.option("--storage", metavar="URL", help="Optuna storage; default: SQLite under the root.")
@click.option("--dry-run", is_flag=True, help="Print settings, runs and time; create nothing.")
@training_options
@root_option
@json_option
@click.pass_context
def sweep_command(
    context: click.Context,
    experiment: str,
    axes: tuple[str, ...],
    overrides: tuple[str, ...],
    seeds: str,
    study: str | None,
    workers: str | None,
    storage: str | None,
    dry_run: bool,
    engine: str,
    checkpoint_every: str,
    no_wandb: bool,
    root: Root,
    as_json: bool,
) -> None:
    """Train a study: the baseline, and each level of each axis with all else left alone.

    KEY=LEVELS is something to try, one at a time: a,b,c or low:high[:log]:n. KEY takes the
    experiment's own levels, no axis at all takes all of the experiment's.
    """
    from sweeps.early import early_request
    from sweeps.study import check_study_name
    from sweeps.sweep import read_seeds

    faults, numbers, processes, seconds = Faults(), [0], None, 0.0
    with faults.collecting():
        numbers = read_seeds(seeds)
    name = None
    with faults.collecting():
        name = study and check_study_name(study)
    with faults.collecting():
        processes = read_workers(workers)
    with faults.collecting():
        seconds = read_seconds(checkpoint_every)
    with faults.collecting():
        root.check_writable()
    with faults.collecting():
        if storage:
            from sweeps.storage import absolute_storage, check_storage

            storage = absolute_storage(storage)
            check_storage(storage)
    request = early_request(
        root, experiment, overrides=overrides, axes=axes, engine=engine, faults=faults
    )
    from sweeps.cli import reports
    from sweeps.cli.progress import Display
    from sweeps.sweep import Sweep, Workplace
    from sweeps.tracking import open_tracker

    workplace = Workplace(request.path, processes)
    again = command(*context.obj)
    interrupted = False
    try:
        if not dry_run:
            workplace.begin()
        with faults.collecting():
            sweep = Sweep(request, numbers, root, workplace, name=name, storage=storage)
        faults.check()
        if not as_json:
            reports.begin(sweep)
        if dry_run:
            reports.dry_run(sweep, as_json)
            return
        tracker = open_tracker(root.path, enabled=not no_wandb, warn=warn)
        with (
            clean_stop() as stop,
            Display(
                sweep.distinct_runs(), sweep.study.metric, sweep.study.direction, quiet=as_json
            ) as display,
        ):
            try:
                for step in sweep.train(tracker, checkpoint_every=seconds, stop=stop):
                    display.show(step)
                    if step.progress and step.progress.ended == "attempt":
                        warn(f"{step.run.id} stopped: {step.progress.reason}")
            finally:
                tracker.close()
            interrupted = stop()
    finally:
        workplace.close()
    for note in sweep.notes:
        warn(note)
    document = sweep.document()
    if as_json:
        print_json(document)
    else:
        reports.end(sweep, experiment)
    if interrupted:
        warn(f"Stopped; to continue: {again}")
        context.exit(130)
    unfinished = [s["label"] for s in document["settings"] if s["status"] == "interrupted"]
    if unfinished:
        warn(f"Not finished: {', '.join(unfinished)}. To try again: {again}")
    failed = [s for s in document["settings"] if s["status"] == "failed"]
    for setting in failed:
        warn(f"{setting['label']} failed: {setting['reason']}")
    context.exit(1 if failed or unfinished else 0)


def _unfinished(run: str, reason: str | None, again: str) -> Exception:
    from core.errors import ParibusError

    return ParibusError(
        f"{run} was not finished: {reason or 'no reason is known'}.", f"To try again: {again}"
    )


def _tell_run(document: dict[str, Any], folder: Any, root: Root) -> None:
    say(f"run {document['run']}" + (" (was there already)" if document["reused"] else ""))
    if document["status"] == "failed":
        warn(f"failed: {document['reason']}")
        say(f"record: {document['dir']}/run.json")
        return
    best = document["best"]
    metrics = ", ".join(
        f"{name} {number(value)}" for name, value in best["metrics"].items() if name[:4] == "val/"
    )
    say(f"best epoch {best['epoch']} of {document['epochs']}: {metrics}")
    for name, value in _few_parameters(folder):
        say(f"  {name} = {value}")
    say(f"best model: {document['dir']}/best.safetensors")
    say(f"Next: {command('evaluate', document['run'], '--split', 'test', *root_words(root))}")


def _few_parameters(folder: Any) -> list[tuple[str, str]]:
    """The learned parameters of a model with fewer than ten."""
    if folder.record()["facts"]["parameters"] >= 10:
        return []
    return [
        (name, show_value([round(x, 4) for x in tensor.flatten().tolist()]))
        for name, tensor in folder.weights().items()
    ]


COMMANDS = (run_command, sweep_command)
