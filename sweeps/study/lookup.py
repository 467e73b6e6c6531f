"""What a name on the command line means: an experiment, a run, a study."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from paribus.core.config.experiment import catalogue, find_experiment, load_experiment
from paribus.core.config.schema import Configuration
from paribus.core.errors import DamagedError, Faults, RequestError, did_you_mean, nearest, shown
from paribus.core.fileio import user_path
from paribus.core.inference.load_run import check_trusted, with_places
from paribus.core.records.record import RunRecord
from paribus.core.records.run_dir import RECORD, RunFolder
from paribus.sweeps.study.request import Request
from paribus.sweeps.study.results_dir import ResultsDir, split_seed
from paribus.sweeps.study.settings import BASELINE, Requested
from paribus.sweeps.study.study import Study


def find_run(root: ResultsDir, text: str) -> RunFolder:
    """Return a finished run by id, the beginning of one, its folder, or ``STUDY/LABEL-sSEED``."""
    study, slash, rest = text.partition("/")
    if slash and study in root.study_names() and (pair := split_seed(rest)):
        label, seed = pair
        setting = Study.load(root, study).find(label)
        if seed not in setting.runs:
            seeds = ", ".join(str(s) for s in setting.runs)
            raise RequestError(
                f"{study}/{label} has no seed {seed}.", f"It has {seeds}.", "unknown-run"
            )
        folder = root.run(setting.runs[seed])
        if not folder.folder.is_dir():
            raise RequestError(
                f"{shown(text, 200)} is planned but not trained.",
                "Train it by running its sweep again.",
                "unknown-run",
            )
        return folder
    if "/" in text or text.startswith((".", "~")):
        place = user_path(text)
        if (place / RECORD).is_file():
            return RunFolder(place.absolute())
    ids = root.run_ids()
    fitting = [name for name in ids if name == text] or [n for n in ids if n.startswith(text)]
    if len(fitting) == 1:
        return root.run(fitting[0])
    if text in root.study_names():
        hint = f"Name one of its runs, such as {text}/baseline-s0."
        if final := Study.load(root, text).final_of():
            hint = f"Its final model is of {final.id}."
        raise RequestError(f"{shown(text)} is a study.", hint, "unknown-run")
    if len(fitting) > 1:
        raise RequestError(
            f"'{shown(text)}' is the beginning of {len(fitting)} runs.",
            f"Such as {fitting[0]} and {fitting[1]}; write more of it.",
            "ambiguous-run",
        )
    close = nearest(text, ids)
    raise RequestError(
        f"There is no run '{shown(text)}' in {root.path}.",
        f"Did you mean '{close}'?" if close else "See: paribus runs",
        "unknown-run",
    )


def find_subject(root: ResultsDir, text: str) -> RunFolder | Study:
    """Return the study of this name, or the finished run that it means."""
    if text in root.study_names():
        return Study.load(root, text)
    try:
        return find_run(root, text)
    except RequestError as error:
        if error.kind != "unknown-run" or "/" in text:
            raise
        if unfinished := [run for run in root.interrupted() if text and run.startswith(text)]:
            raise RequestError(
                f"{unfinished[0]} is not finished, so there is nothing to draw yet.",
                "Give the command that trained it again; it continues.",
            ) from None
        known = [*root.study_names(), *root.run_ids()]
        raise RequestError(
            f"There is no run or study '{shown(text)}' in {root.path}.",
            did_you_mean(text, known) if nearest(text, known) else
            "See: paribus studies, and paribus runs"
        ) from None  # fmt: skip


def find_trained_run(root: ResultsDir, text: str, purpose: str) -> tuple[RunFolder, RunRecord]:
    """Return a run that has a model, and its record, after its files were checked.

    `purpose` is what the model is for, as a message names it.
    """
    folder = find_run(root, text)
    record = folder.verified_record()
    if record.status != "complete":
        raise RequestError(
            f"{folder.id} failed, so it has no model to {purpose}: {record.reason}.",
            "Name a complete run; paribus runs lists them.",
        )
    if record.weights_sha256 is None:
        raise RequestError(
            f"{folder.id} is of a function, which keeps its model to itself: there is none to "
            f"{purpose}.",
            "There are compare, plot and reproduce for it.",
        )
    return folder, record


def request_for(
    root: ResultsDir,
    experiment: str,
    overrides: tuple[Requested, ...] = (),
    axes: tuple[Requested, ...] | None = None,
    engine: str = "auto",
    *,
    trust: bool = False,
    faults: Faults | None = None,
) -> Request:
    """Return the request for an experiment's name, its file, or a run that is the baseline.

    What a run names beyond its own file takes `trust`. `faults` are those of the command's options,
    to report with this one.
    """
    here, faults = Path.cwd(), faults or Faults()
    with faults.collecting():
        try:
            path = find_experiment(experiment)
        except RequestError as error:
            try:
                folder = find_run(root, experiment)
            except RequestError as second:
                # An experiment's name that was not typed to its end is no run's beginning.
                of_catalogue = experiment.startswith(tuple(catalogue()))
                if second.kind == "ambiguous-run" and of_catalogue:
                    raise
                raise error from None
            record = folder.verified_record()
            start = Configuration.parse(with_places(record.requested, record), folder.id)
            if not trust:
                check_trusted(folder, record, start)
            path = folder.experiment_file(record)
            return Request(path, overrides, axes, engine, (path.parent, here), start)
        return Request(path, overrides, axes, engine, (here,))
    raise RequestError.of(faults.found)


def start_of(study: Study) -> str:
    """Return what a command names to begin at a study's baseline: the experiment, or its run."""
    path = catalogue().get(study.experiment)
    if path and load_experiment(path).baseline.to_dict() == study.requested.baseline:
        return study.experiment
    return f"{study.name}/{BASELINE}-s{min(study.find(BASELINE).runs, default=0)}"


def study_command(study: Study, options: Sequence[str] = ()) -> Callable[[str, str, str], str]:
    """Return what makes the command that sweeps from a study with another level as the baseline.

    It takes the key, the baseline's level and the new one; `options` are what every command needs,
    such as ``--root DIR``.
    """
    in_catalogue, start = study.experiment in catalogue(), start_of(study)

    def paste(key: str, before: str, level: str) -> str:
        axes = [] if in_catalogue else [f"{key}={before}"]  # other files' axes are not known here
        return shlex.join(["paribus", "sweep", start, *axes, "--set", f"{key}={level}", *options])

    return paste


def studies_of(root: ResultsDir) -> dict[str, list[str]]:
    """Return run ids with the names of the studies they are planned in."""
    found: dict[str, list[str]] = {}
    for name in root.study_names():
        try:
            runs = Study.load(root, name).run_ids
        except DamagedError:  # named by what shows studies
            continue
        for run in runs:
            found.setdefault(run, []).append(name)
    return found
