"""`run` and `sweep`: what trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.core import ParameterSource

from paribus.core.config.command import TYPED
from paribus.core.config.values import show_value
from paribus.core.errors import RequestError
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import BEST
from paribus.sweeps.cli.compare_command import failures
from paribus.sweeps.cli.completion import complete_key, complete_study
from paribus.sweeps.cli.console import (
    INTERRUPTED,
    best_of_run,
    checked_option,
    clean_stop,
    command,
    experiment_argument,
    faults_of,
    nearby,
    overrides_argument,
    print_json,
    run_options,
    say,
    strict_option,
    training_options,
    verbose_option,
    warn,
    warn_stopped,
    watch,
)
from paribus.sweeps.execution.driver import RunnerOptions
from paribus.sweeps.execution.executor import Placement
from paribus.sweeps.execution.gpus import GpuOptions
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir, root_words

if TYPE_CHECKING:
    from paribus.sweeps.sweep import SingleRun, Sweep

_COMMAND = "paribus.command"  # where click's context keeps the words after `--`


class _WithCommand(click.RichCommand):
    """A command that may end with ``-- COMMAND...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            return super().parse_args(ctx, args)
        args, words = args[: args.index("--")], args[args.index("--") + 1 :]
        example = "python train.py --lr {lr} --seed {seed}"
        if not words:
            text = "No command stands behind --."
            raise RequestError(text, f"Such as: paribus sweep lr=1e-3,1e-2 -- {example}")
        ctx.meta[_COMMAND] = words
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            text = "What is to be tried is missing: KEY=LEVELS before -- COMMAND."
            raise RequestError(text, f"Such as: paribus sweep lr=1e-3,1e-2 -- {example}") from None


@click.command("run")
@click.option_panel("What to try", options=["--seed"])
@experiment_argument
@overrides_argument
@checked_option("seed", default="0", metavar="N", show_default=True, help="The run's seed.")
@training_options
@run_options
def run_command(
    context: click.Context,
    experiment: str,
    overrides: tuple[str, ...],
    seed: int,
    engine: str,
    trust: bool,
    options: RunnerOptions,
    track: Sequence[str],
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Train one tracked run of an EXPERIMENT: a name, a .py file, or a run."""
    from paribus.sweeps.analysis.compare import run_document
    from paribus.sweeps.study.lookup import request_for, studies_of
    from paribus.sweeps.sweep import planned_run

    faults = faults_of(context)
    request = request_for(root, experiment, overrides, None, engine, trust=trust, faults=faults)
    planned = planned_run(root, request, seed, faults)
    single, record = _train_one(context, planned, options, track=track, as_json=as_json)
    document = run_document(
        root.run(single.run.id),
        record,
        studies=studies_of(root).get(single.run.id, ()),
        reused=single.reused,
    )
    if as_json:
        print_json(document)
    else:
        _print_run(document, root.run(single.run.id), root)
    context.exit(0 if document["status"] == "complete" else 1)


@click.command("sweep", cls=_WithCommand)
@click.option_panel("What to try", options=["--set", "--seeds", "--metric", "--direction",
                    "--metrics-from"])  # fmt: skip
@click.option_panel("How to search", options=["--trials", "--sampler", "--pruner", "--margin",
                    "--strict", "--until-decided", "--max-seeds"])  # fmt: skip
@experiment_argument
@click.argument("axes", nargs=-1, metavar="[KEY=LEVELS | KEY]...", shell_complete=complete_key)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", shell_complete=complete_key,
              help="Change the baseline that levels are compared with.")  # fmt: skip
@checked_option("seeds", default="5", metavar="N|A,B,C", show_default=True,
                help="How many seeds, or which.")  # fmt: skip
@click.option("--metric", metavar="NAME", help="Of a COMMAND: what chooses its best epoch.")
@click.option("--direction", metavar="minimize|maximize", help="Of a COMMAND: what is better.")
@click.option("--metrics-from", metavar="PATH|REGEX",
              help="Of a COMMAND: the file {out}/… that it writes metrics to, or a regular "
              "expression for what it prints.")  # fmt: skip
@checked_option("trials", metavar="N",
                help="Levels that a sampler proposes for each range without a number of points; "
                "default: 8. If given, it also chooses N levels of longer lists.")  # fmt: skip
@checked_option("sampler", metavar="tpe|random|gp|qmc",
                help="What proposes levels; default: tpe.")  # fmt: skip
@checked_option("pruner", metavar="none|wilcoxon|median",
                help="What ends a setting whose first seeds lose; default: none. wilcoxon needs "
                "four seeds for it.")  # fmt: skip
@checked_option("margin", metavar="SIZE",
                help="Differences smaller than this do not matter; default: half a point of "
                "accuracy, F1 and the like, 0.01 of R², 2 % of a loss or error.")  # fmt: skip
@strict_option
@click.option("--until-decided", is_flag=True,
              help="Add seeds to undecided settings until they are decided.")  # fmt: skip
@checked_option("max-seeds", metavar="N",
                help="Where --until-decided gives up; default: 15.")  # fmt: skip
@click.option("--study", metavar="NAME", shell_complete=complete_study,
              help="The study's name; default: it follows from the request.")  # fmt: skip
@checked_option("workers", metavar="N", help="Processes; default: the machine's cores.")
@checked_option("gpus", metavar="0,2|all|none",
                help="GPUs that train; default: all of one kind, one run on each.")  # fmt: skip
@checked_option("per-gpu", default="1", metavar="K", show_default=True,
                help="Runs at a time on each GPU; a cohort has it alone.")  # fmt: skip
@checked_option("on", metavar="ray[:HOST:PORT]",
                help="Train on all nodes of a Ray cluster: docs/clusters.md.")  # fmt: skip
@click.option("--strict-class", is_flag=True,
              help="Refuse a cluster whose nodes are of several kinds.")  # fmt: skip
@click.option("--storage", metavar="URL", help="Optuna storage; default: SQLite under the root.")
@click.option("--dry-run", is_flag=True, help="Print settings, runs and time; create nothing.")
@checked_option("run-timeout", metavar="S",
                help="Seconds without an epoch after which a worker is ended and its run tried "
                "once more; default: ten times the median epoch, at least 60.")  # fmt: skip
@training_options
@verbose_option
@run_options
def sweep_command(
    context: click.Context,
    /,
    experiment: str,
    axes: tuple[str, ...],
    overrides: tuple[str, ...],
    workers: int | None,
    gpus: str | None,
    per_gpu: int,
    on: str | None,
    strict_class: bool,
    metric: str | None,
    direction: str | None,
    metrics_from: str | None,
    dry_run: bool,
    run_timeout: float | None,
    verbose: bool,
    engine: str,
    trust: bool,
    options: RunnerOptions,
    track: Sequence[str],
    root: ResultsDir,
    as_json: bool,
    **of_study: Any,
) -> None:
    """Train a study: the baseline, and each level of each axis with all else left alone.

    KEY=LEVELS is something to try, one at a time: a,b,c or low:high[:log][:n], where a sampler
    proposes the levels if n is left out. KEY takes the experiment's own levels, no axis at all
    takes all of the experiment's. The last part of a KEY is enough where it fits one: lr=1e-3,1e-2.

    KEY=LEVELS... -- COMMAND... sweeps any script: python train.py --lr {lr} --seed {seed}, with
    --metric NAME. The first level is the baseline.
    """
    from paribus.sweeps.cli import sweep_text
    from paribus.sweeps.study.lookup import request_for
    from paribus.sweeps.study.request import study_options
    from paribus.sweeps.sweep import planned_sweep

    faults = faults_of(context)
    if verbose and as_json:
        faults.add("--verbose is for what is read; --json prints all.", "Leave it out.")
    given = context.get_parameter_source("seeds") is not ParameterSource.DEFAULT
    asked = study_options(faults, seeds_given=given, **of_study)
    words = context.meta.get(_COMMAND)
    of_command = {"metric": metric, "direction": direction, "metrics-from": metrics_from}
    for name in [name for name, value in of_command.items() if value and not words]:
        faults.add(f"--{name} is for a command, which stands behind --: -- python train.py.",
                   "An experiment's file has SELECT and METRICS.")  # fmt: skip
    with ExitStack() as undo, clean_stop() as stop, ExitStack() as planning:
        if words:
            from paribus.sweeps.scaffold.script_experiment import for_command

            select, axes = {"metric": metric, "direction": direction}, (experiment, *axes)
            file = for_command(
                words, axes, overrides, select, metrics_from, root.path / TYPED, faults, undo
            )
            experiment, overrides = str(file), ()
        request = request_for(root, experiment, overrides, axes, engine, trust=trust, faults=faults)
        sweep = planning.enter_context(
            planned_sweep(
                root,
                request,
                asked,
                faults,
                placement=Placement(workers, GpuOptions(gpus, per_gpu), on, strict_class),
                track=track,
            )
        )
        if not as_json:
            sweep_text.begin(sweep, verbose=verbose or dry_run)
        if dry_run:
            sweep_text.dry_run(sweep, as_json)
            return
        undo.pop_all()  # runs name the experiment's file from now on
        how = replace(options, run_timeout=run_timeout)
        watch(sweep, stop, quiet=as_json, track=track, options=how, lines=True)
        interrupted = stop()
    warn(*sweep.notes)
    any_finished = any(result.runs for result in sweep.results())
    if as_json:
        print_json(sweep.document())
    elif any_finished:
        sweep_text.end(sweep, experiment, command(*context.obj), verbose=verbose)
    if interrupted:
        warn_stopped(command(*context.obj), any_finished=any_finished)
        context.exit(INTERRUPTED)
    context.exit(_answer(sweep, command(*context.obj)))


@click.command("finalize")
@click.option_panel("What to do", options=["--test"])
@click.argument("study", shell_complete=complete_study)
@click.argument("label", required=False)
@click.option("--test", is_flag=True, help="Then evaluate it on the test part; a counted reading.")
@training_options
@run_options
def finalize_command(
    context: click.Context,
    study: str,
    label: str | None,
    test: bool,
    engine: str,
    trust: bool,
    options: RunnerOptions,
    track: Sequence[str],
    root: ResultsDir,
    as_json: bool,
) -> None:
    """Train a STUDY's chosen setting once more, on all but the test part: the model to use.

    LABEL is the setting; default: the best one. Its schedule has the full length, and training
    stops at the median of the best epochs of its runs. No example is left to validate on: evaluate
    --split test and predict are for the model.
    """
    from paribus.sweeps.analysis.compare import run_document
    from paribus.sweeps.cli.inference_commands import print_evaluation
    from paribus.sweeps.evaluate import evaluate_named
    from paribus.sweeps.sweep import planned_final

    faults_of(context).check()
    planned = planned_final(root, study, label, engine, test=test, trust=trust)
    final, record = _train_one(context, planned, options, track=track, as_json=as_json)
    folder = root.run(final.run.id)
    read: Any = None  # an `Evaluation`
    if test and record.best:
        read = evaluate_named(root, folder.id, "test", trust=trust)
    if as_json:
        document = run_document(folder, record, studies=[study], reused=final.reused)
        print_json({**document, "test": read and read.to_dict()})
    else:
        say(f"run {folder.id}" + (" (was there already)" if final.reused else ""))
        if not record.best:
            warn(f"failed: {record.reason}")
        else:
            say(f"final model: {nearby(folder.folder.absolute() / BEST)}")
            words = root_words(root)
            if read:
                print_evaluation(read)
            elif not any(line.get("study") == study or line.get("run") == folder.id
                         for line in root.readings()):  # fmt: skip
                test_words = command("evaluate", folder.id, "--split", "test", *words)
                say(f"Next, once: {test_words}")
            say(f"To use it: {command('predict', folder.id, 'INPUT', *words)}")
    context.exit(0 if record.best else 1)


def _train_one(
    context: click.Context,
    planned: AbstractContextManager[SingleRun],
    options: RunnerOptions,
    *,
    track: Sequence[str],
    as_json: bool,
) -> tuple[SingleRun, RunRecord]:
    """Train a planned run, watched; a stop before it is finished ends the command."""
    again = command(*context.obj)
    with clean_stop() as stop, planned as single:
        say(*([] if as_json else single.summary()))
        watch(single, stop, quiet=as_json, track=track, options=options)
        interrupted = stop()
    if interrupted and single.record is None:
        warn_stopped(again)
        context.exit(INTERRUPTED)
    return single, single.finished(f"To try again: {again}")


def _answer(sweep: Sweep, again: str) -> int:
    """Print what is not finished and what failed; return the exit code."""
    results = sweep.results()
    unfinished = [r.setting.label for r in results if r.status == "interrupted"]
    if unfinished:
        warn(
            f"Not finished: {', '.join(unfinished)}. Finished runs are kept. To try again: {again}"
        )
    failed = failures(results, sweep.root)
    warn(*failed)
    return 1 if failed or unfinished else 0


def _print_run(document: dict[str, Any], folder: Any, root: ResultsDir) -> None:
    say(f"run {document['run']}" + (" (was there already)" if document["reused"] else ""))
    if document["status"] == "failed":
        warn(f"failed: {document['reason']}")
        say(f"record: {document['dir']}/run.json")
        return
    best = document["best"]
    names = [name for name in best["metrics"] if name[:4] == "val/"] or best["metrics"]
    metrics = ", ".join(f"{name} {number(best['metrics'][name])}" for name in names)
    say(f"best epoch {best['epoch']} of {document['epochs']}: {metrics}")
    if 0 < folder.record().facts.parameters < 10:
        for name, tensor in folder.weights().items():
            say(f"  {name} = {show_value([round(x, 4) for x in tensor.flatten().tolist()])}")
    say(best_of_run(folder.folder.absolute()))
    next_words = ["reproduce", document["run"]]
    if document["weights_sha256"]:
        next_words = ["evaluate", document["run"], "--split", "test"]
    say(f"Next: {command(*next_words, *root_words(root))}")
