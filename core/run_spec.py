"""What passes between the driver and its workers: runs out, events back. Needs no torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paribus.core.config.schema import Configuration
from paribus.core.errors import RequestError, shown
from paribus.core.sources.reads import Observed

ENGINES = ("auto", "loop", "cohort", "script")


@dataclass(frozen=True)
class RunSpec:
    """One run, ready to be trained: what a worker is sent.

    Attributes:
        id: From the content of `identity`.
        path: The experiment's file.
        requested: The configuration as it was requested; `configuration` is the resolved one.
        engine: ``loop`` or ``cohort``; ``script`` for a function as an experiment.
        identity: All that decides the numbers, by name.
        facts: What follows: epochs, updates, updates_per_epoch, parameters; 0: not known.
        sources: Path inside the record's ``source/`` to the file's bytes as they were planned.
        observed: What planning saw the user's code read.
        group: Runs that share it can be trained together; None: this one alone.
        import_paths: Folders appended to the import path.
        noted: What is no part of the identity: git, the folder that relative paths begin at, and
            where sources and files lie that were read.
    """

    id: str
    experiment: str
    path: Path
    requested: Configuration
    configuration: Mapping[str, Any]
    seed: int
    engine: str
    identity: Mapping[str, Any]
    facts: Mapping[str, Any]
    sources: Mapping[str, bytes] = field(repr=False)
    observed: Observed = field(default_factory=Observed)
    group: str | None = None
    import_paths: tuple[Path, ...] = ()
    noted: Mapping[str, Any] = field(default_factory=dict)


Ended = Literal["complete", "failed", "attempt"]


@dataclass(frozen=True)
class WorkerEvent:
    """What a worker reports of a run after an epoch, or when it ended."""

    run: str
    epochs: int  # how many it will have; 0: only its function knows
    line: dict[str, Any] | None = None  # the epoch's line of the history, if one ended
    ended: Ended | None = None  # ``attempt``: it was stopped from outside, else finished
    reason: str | None = None  # why it failed or stopped
    message: str | None = None  # something a person should know; then nothing else
    advice: str | None = None  # what may help, should it stop for this reason again


def unfinished(runs: Iterable[RunSpec], reason: str) -> list[WorkerEvent]:
    """Return the end of runs that were stopped by something other than themselves."""
    return [WorkerEvent(run.id, int(run.facts["epochs"]), None, "attempt", reason) for run in runs]


def choose_engine(engine: str, own: str | None = None, why: str | None = None) -> str:
    """Return the engine that trains a run.

    Args:
        engine: What was requested.
        own: The engine that trains it by default; None: not known yet.
        why: Why a cohort cannot train it, if that is so.

    Raises:
        RequestError: If there is no such engine, or it cannot train this.
    """
    if engine not in ENGINES:
        raise RequestError(f"There is no engine '{shown(engine)}'.", "Choose auto, loop or cohort.")
    if engine == "cohort" and why is not None:
        raise RequestError(
            f"The engine 'cohort' does not train this: {why}.", "Choose auto or loop."
        )
    if own == "cohort" and engine == "loop":
        return engine
    if own is not None and engine not in ("auto", own):
        raise RequestError(
            f"The engine '{engine}' does not train this experiment.", f"Choose {own}."
        )
    return own or engine
