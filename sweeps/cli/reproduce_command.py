"""`reproduce`: is it the same again?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.config.values import show_value
from paribus.sweeps.cli.console import INTERRUPTED, clean_stop, command, print_json, say, warn
from paribus.sweeps.cli.options import json_option, root_option, trust_option
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.reproduce import Again, Reproduced


# What can be installed at the version it had, by the name it is recorded under.
_PACKAGES = ("torch", "numpy")
_HOW = {
    "bit-exact": "bit for bit (batch order, losses, metrics and weights of every epoch)",
    "agrees": "within the spread over seeds, not bit for bit",
}
_MACHINE = ("cpu", "cpu_capability", "gpu", "driver", "cuda", "cudnn")  # of the machine


@click.command("reproduce")
@click.argument("run", metavar="RUN | STUDY/LABEL")
@trust_option
@root_option
@json_option
@click.pass_context
def reproduce_command(
    context: click.Context, run: str, trust: bool, root: ResultsDir, as_json: bool
) -> None:
    """Train a RUN again from its record and compare bit for bit; exit 0 only if identical.

    STUDY/LABEL trains all seeds of a setting again. Nothing in the root is changed.
    """
    from paribus.sweeps.progress.progress import train_watched
    from paribus.sweeps.reproduce import planned_reproduction

    tell = warn if as_json else say
    with clean_stop() as stop, planned_reproduction(root, run, trust=trust) as reproduction:
        for again in reproduction.planned:
            for line in _announced(again):
                tell(line)
        for seed in reproduction.missing:
            warn(f"{run}: seed {seed} has no finished run, so it is not compared.")
        train_watched(reproduction, warn=warn, wandb=False, stop=stop, quiet=as_json)
        if stop():
            warn(f"Stopped; to begin again: {command(*context.obj)}")
            context.exit(INTERRUPTED)
        results = reproduction.results()
    documents = [result.document() for result in results]
    if as_json:
        print_json(documents[0] if len(documents) == 1 else _of_setting(run, results))
    else:
        for result in results:
            _tell(result)
        if len(results) > 1:
            _tell_setting(run, results, command(*context.obj))
        elif results[0].grade != "differs" and results[0].values[1] is not None:
            say(f"  {_sentence(results[0], command(*context.obj))}")
    identical = all(result.identical for result in results) and not reproduction.missing
    context.exit(0 if identical else 1)


def _announced(again: Again) -> list[str]:
    """What is trained, and what could make it differ; before it is trained."""
    record = again.record
    what = f"{record.experiment}, seed {record.seed}, {record.epochs} epochs"
    lines = [f"run {record.run}: {what}"]
    lines += [f"  damaged: {sentence}" for sentence in again.damaged]
    for name, (then, now) in again.differs.items():
        lines.append(f"  {_what(name, again)} was {_short(then)}, is {_short(now)}")
    return lines


def _what(name: str, again: Again) -> str:
    if name == "data":
        return "the data's fingerprint"
    if name == "initial_weights":
        return "the initial weights' fingerprint"
    sources = {**again.record.identity["sources"], **again.run.identity["sources"]}
    return f"the source of {name}" if name in sources else name


def _tell(result: Reproduced) -> None:
    """The last lines: for a reviewer, and to paste into a paper."""
    record, metric = result.again.record, result.again.metric
    then, now = result.values
    if result.record is None:
        say(f"{record.run}: was not finished, so there is nothing to compare.")
        return
    if result.identical:
        say(f"{record.run}: bit-exact")
    else:
        say(f"{record.run}: {_why_not(result)}")
        say(f"  {metric}: {_exact(then)} then, {_exact(now)} now; {_where(result)}")
        if install := _install(result.again):
            say(f"  {install}")


def _why_not(result: Reproduced) -> str:
    found, again = result.difference, result.again
    if result.record and result.record.status != again.record.status:
        now = result.record
        return f"{again.record.status} then, {now.status} now: {now.reason or ''}"
    if found is None:
        return "the numbers are equal bit for bit, but its record is damaged (above)"
    where = "before the first step" if found.epoch == 0 else f"at epoch {found.epoch}"
    values = "" if found.then is found.now is None else (
        f" ({_short(found.then)} then, {_short(found.now)} now)"
    )  # fmt: skip
    first = f"not bit-exact: first difference {where}: {found.quantity}{values}"
    if again.damaged:
        return f"{first}. Its record is damaged (above)."
    if again.differs:
        names = ", ".join(_what(name, again) for name in again.differs)
        return (
            f"{first}. Equal bits are promised for equal environments only; here differ: {names}."
        )
    return f"{first}. The environment is the recorded one: is there a draw that no seed decides?"


def _where(result: Reproduced) -> str:
    if result.spread is None:
        return f"too few seeds ({result.seeds}) to know the spread"
    low, high = (number(value) for value in result.spread)
    inside = "inside" if result.grade == "agrees" else "outside"
    return f"{inside} what another seed would give ({low} to {high}, 95 %, {result.seeds} seeds)"


def _install(again: Again) -> str:
    """What to install for the bits."""
    libraries = {**again.record.identity["distributions"]}
    packages = [
        f"{name}=={then.partition('+')[0]}"  # a local version (+cu132) names the build
        for name, (then, _) in again.differs.items()
        if (name in _PACKAGES or name in libraries) and then
    ]
    words = [f"pip install {' '.join(packages)}"] if packages else []
    words += [
        f"{name} {_short(then)}"
        for name, (then, _) in again.differs.items()
        if name == "python" or name in _MACHINE
    ]
    return f"for the bits: {', '.join(words)}" if words else ""


def _sentence(result: Reproduced, command: str) -> str:
    """A sentence for a paper."""
    again = result.again
    assert result.record is not None
    return (
        f"For a paper: {again.record.experiment} ({_configuration(again)}), seed "
        f"{again.record.seed}, was trained again and agrees {_how(again, result.grade)}: "
        f"{again.metric} {_exact(result.values[1])}, {_hashes([result])}"
        f"{_place(again)}; {command}."
    )


def _configuration(again: Again) -> str:
    from paribus.sweeps.cli.sweep_text import short_configuration

    return short_configuration(again.record.requested)


def _how(again: Again, grade: str) -> str:
    if grade == "bit-exact" and not again.record.weights_sha256:
        return "bit for bit (metrics of every epoch; of a function nothing more is known)"
    return _HOW[grade]


def _hashes(results: Sequence[Reproduced]) -> str:
    """The beginnings of the hashes of weights and data as they are now, where there are any."""
    weights = [result.record and result.record.weights_sha256 for result in results]
    found = {"weights": weights, "data": [results[0].again.record.identity["data"]]}
    parts = [f"{name} sha256 {_and_so_on(known)}, " for name, known in found.items() if any(known)]
    return "".join(parts)


def _and_so_on(digests: Sequence[str | None]) -> str:
    return ", ".join(f"{str(digest)[:16]}…" for digest in digests)


def _place(again: Again) -> str:
    place = again.run.identity["environment"]
    return f"torch {place['torch']}, {place['python']}, {place['cpu']}"


def _of_setting(name: str, results: Sequence[Reproduced]) -> dict[str, Any]:
    """The document of ``STUDY/LABEL``."""
    grades = [result.grade for result in results]
    worst = next(g for g in ("differs", "agrees", "bit-exact") if g in grades)
    then, now = ([r.values[i] for r in results] for i in (0, 1))
    differing = [result for result in results if result.difference]
    return {
        "run": name,
        "identical": all(result.identical for result in results),
        "grade": worst,
        "first_difference": vars(differing[0].difference) if differing else None,
        "environment": {k: pair for result in results for k, pair in result.again.differs.items()},
        "mean": [_mean(then), _mean(now)],
        "std": [_std(then), _std(now)],
        "runs": [result.document() for result in results],
    }


def _tell_setting(name: str, results: Sequence[Reproduced], command: str) -> None:
    document = _of_setting(name, results)
    exact = sum(result.identical for result in results)
    (m1, m2), (s1, s2) = document["mean"], document["std"]
    say(
        f"{name}: {exact} of {len(results)} seeds bit-exact; mean {number(m1)} ± {number(s1)} "
        f"then, {number(m2)} ± {number(s2)} now"
    )
    if document["grade"] != "differs" and m2 is not None:
        again = results[0].again
        seeds = ", ".join(str(result.again.record.seed) for result in results)
        say(
            f"  For a paper: {again.record.experiment} ({_configuration(again)}), seeds "
            f"{seeds}, were trained again and agree {_how(again, document['grade'])}: mean "
            f"{again.metric} {_exact(m2)}, {_hashes(results)}{_place(again)}; {command}."
        )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _std(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None


def _exact(value: float | None) -> str:
    return "none" if value is None else number(value, 6)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else show_value(value)
    return text if len(text) <= 60 else f"{text[:12]}…"


COMMANDS = (reproduce_command,)
