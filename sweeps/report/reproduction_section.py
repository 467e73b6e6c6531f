"""How to get a study again, for the page: command, commit, versions, data, hashes, folders."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from paribus.core.config.values import show_value
from paribus.core.records.record import RecordedData, RunRecord
from paribus.sweeps.formatting import duration, number
from paribus.sweeps.report.view import View
from paribus.sweeps.study.lookup import start_of
from paribus.sweeps.study.optuna_storage import without_credentials
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.settings import BASELINE
from paribus.sweeps.study.study import Study

_SHORT = 12  # characters of a hash that tell runs apart


@dataclass(frozen=True)
class RunLine:
    """A run of the study.

    Attributes:
        run: Its id.
        link: Its folder, as seen from the page's.
        label: The setting's label.
        seed: Its seed.
        status: What became of it.
        best: Its best epoch, or nothing.
        weights: The beginning of its last weights' sha256.
        time: How long it trained.
    """

    run: str
    link: str
    label: str
    seed: int
    status: str
    best: str
    weights: str
    time: str


@dataclass(frozen=True)
class Reproduction:
    """What another person needs.

    Attributes:
        sweep: The command that trains the study; None if it begins at a run that is not there.
        check: The command that trains the baseline again and compares bit for bit; None likewise.
        needs_root: Whether the first is given in a root that holds the study.
        facts: Name and value: commit, versions, processor, data.
        runs: Every finished run.
    """

    sweep: str | None
    check: str | None
    needs_root: bool
    facts: list[tuple[str, str]]
    runs: list[RunLine]


def reproduction(view: View, file: Path) -> Reproduction:
    """What the page says of how to get the same again.

    Args:
        view: The study.
        file: Where the page will lie: links start there.
    """
    study, start = view.study, start_of(view.study)
    records = list(_records(view))
    has_baseline = any(label == BASELINE for label, _, _ in records)
    needs_root = start != study.experiment
    return Reproduction(
        sweep=_command(study, start) if has_baseline or not needs_root else None,
        check=shlex.join(["paribus", "reproduce", f"{study.name}/{BASELINE}"])
        if has_baseline
        else None,
        needs_root=needs_root,
        facts=facts_of([record for _, _, record in records]),
        runs=[_line(view, file, *found) for found in records],
    )


def _command(study: Study, start: str) -> str | None:
    """One `sweep` that asks for all that the study was asked for; None where no command can."""
    seeds = sorted({seed for setting in study.settings for seed in setting.runs})
    if len(seeds) == 1 and seeds != [0]:  # from Python one may ask for seed 7 alone
        return None
    axes = [
        f"{axis['key']}={','.join(show_value(level) for level in axis['levels'])}"
        for axis in study.asked["axes"]
    ]
    looks = study.asked.get("looks")
    options = ["--until-decided", "--max-seeds", str(looks[-1])] if looks else seed_words(seeds)
    if study.asked.get("margin") is not None:
        options += ["--margin", str(study.asked["margin"])]
    if study.asked["storage"]:
        options += ["--storage", without_credentials(study.asked["storage"])]
    words = ["paribus", "sweep", start, *axes, *options, "--study", study.name]
    return shlex.join(words)


def _records(view: View) -> Iterator[tuple[str, int, RunRecord]]:
    """Label, seed and record of every finished run."""
    for result in view.results:
        for seed, run in sorted(result.setting.runs.items()):
            if run in result.runs and (record := view.study.outcomes.record(run)):
                yield result.setting.label, seed, record


def facts_of(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """What all runs share; where they do not, all values there are."""
    if not records:
        return []
    environments = [record.identity["environment"] for record in records]
    facts: dict[str, list[Any]] = {
        "commit": [_commit(record) for record in records],
        "data fingerprint": [record.data.fingerprint for record in records],
        "examples": [_examples(record.data) for record in records],
        "engine": [record.engine for record in records],
        "device": [record.configuration["device"] for record in records],
        **{key: [env.get(key) for env in environments] for key in environments[0]},
    }  # fmt: skip
    return [
        (name, ", ".join(dict.fromkeys(show_value(value) for value in values)))
        for name, values in facts.items()
        if any(value is not None for value in values)
    ]


def _examples(data: RecordedData) -> str | None:
    """How many of each part; a function keeps its data to itself."""
    if data.train is None:
        return None
    return f"{data.train} training, {data.val} validation, {data.test or 0} test"


def _commit(record: RunRecord) -> str | None:
    git = (record.noted or {}).get("git") or {}
    if not git.get("commit"):
        return None
    return f"{git['commit']}{' with changes that were not committed' if git.get('dirty') else ''}"


def _line(view: View, file: Path, label: str, seed: int, record: RunRecord) -> RunLine:
    folder = view.study.root.run(record.run).folder.absolute()
    best, weights = record.best, record.weights_sha256
    value = record.metrics.get(view.study.metric)
    return RunLine(
        run=record.run,
        link=_link(folder, file),
        label=label,
        seed=seed,
        status=record.status,
        best="–" if value is None or best is None else f"{number(value)} at epoch {best.epoch}",
        weights=weights[:_SHORT] if weights else "–",
        time=duration(record.seconds),
    )


def _link(folder: Path, file: Path) -> str:
    """From a page to a folder, whatever characters their names have."""
    path = Path(os.path.relpath(folder, file.absolute().parent)).as_posix()
    return f"{quote(path if path.startswith('../') else f'./{path}')}/"
