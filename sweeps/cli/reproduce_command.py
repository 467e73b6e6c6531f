"""`reproduce`: train a run again and compare."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import rich_click as click

from paribus.core.config.values import show_value
from paribus.sweeps.cli.completion import complete_subject
from paribus.sweeps.cli.console import (
    INTERRUPTED,
    clean_stop,
    command,
    plain_option,
    print_json,
    run_options,
    say,
    warn,
    watch,
)
from paribus.sweeps.formatting import number
from paribus.sweeps.study.results_dir import ResultsDir

if TYPE_CHECKING:
    from paribus.sweeps.reproduce import Again, Reproduced, ReproducedSetting


# What can be installed at the version it had, by the name it is recorded under.
_PACKAGES = ("torch", "numpy")
_HOW = {
    "bit-exact": "bit for bit (batch order, losses, metrics and weights of every epoch)",
    "agrees": "within the spread over seeds, not bit for bit",
}
_MACHINE = ("cpu", "cpu_capability", "gpu", "driver", "cuda", "cudnn")  # of the machine


@click.command("reproduce")
@click.argument("run", metavar="RUN | STUDY/LABEL", shell_complete=complete_subject)
@plain_option
@run_options
@click.pass_context
def reproduce_command(
    context: click.Context, run: str, trust: bool, root: ResultsDir, as_json: bool
) -> None:
    """Train a RUN again from its record and compare bit for bit; exit 0 only if identical.

    STUDY/LABEL trains all seeds of a setting again. Nothing in the root is changed.
    """
    from paribus.sweeps.reproduce import ReproducedSetting, planned_reproduction

    again, show = command(*context.obj), warn if as_json else say
    with clean_stop() as stop, planned_reproduction(root, run, trust=trust) as reproduction:
        for planned in reproduction.planned:
            record = planned.record
            show(f"run {record.run}: {record.experiment}, seed {record.seed}, "
                 f"{record.epochs} epochs")  # fmt: skip
            for sentence in planned.damaged:
                show(f"  damaged: {sentence}")
            for name, (then, now) in planned.differs.items():
                show(f"  {_what(name, planned)} was {_short(then)}, is {_short(now)}")
        for seed in reproduction.missing:
            warn(f"{run}: seed {seed} has no finished run, so it is not compared.")
        watch(reproduction, stop, quiet=as_json)
        if stop():
            warn(f"Stopped; to begin again: {again}")
            context.exit(INTERRUPTED)
        results = reproduction.results()
    setting = ReproducedSetting(run, results)
    if as_json:
        print_json((results[0] if len(results) == 1 else setting).to_dict())
    else:
        for result in results:
            _print_result(result)
        if len(results) > 1:
            exact = sum(result.identical for result in results)
            then, now = (f"{number(mean)} ± {number(std)}" for mean, std in setting.statistics)
            say(f"{run}: {exact} of {len(results)} seeds bit-exact; mean {then} then, {now} now")
        if setting.grade != "differs" and setting.statistics[1][0] is not None:
            say(f"  {_for_a_paper(setting, again)}")
    context.exit(0 if setting.identical and not reproduction.missing else 1)


def _what(name: str, again: Again) -> str:
    if name == "data":
        return "the data's fingerprint"
    if name == "initial_weights":
        return "the initial weights' fingerprint"
    then, now, later = again.record.identity, again.run.identity, again.record.read_later
    for part, what in (("sources", "the source of "), ("files", "the file "), ("variables", "$")):
        if name in {**then.get(part, {}), **now[part], **getattr(later, part, {})}:
            return f"{'the names in ' if name.endswith('/') else what}{name}"
    return name


def _print_result(result: Reproduced) -> None:
    """Print whether a run is the same again; else where it differs, and what to install."""
    record, metric = result.again.record, result.again.record.metric
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
    """Return what to install for the bits."""
    libraries = {**again.record.identity["distributions"]}
    packages = [
        f"{name}=={re.split('[+,]', then)[0]}"  # a local version (+cu132) names the build
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


def _for_a_paper(setting: ReproducedSetting, again: str) -> str:
    """Return a sentence for a paper: what was trained again, how far it agrees, and where."""
    from paribus.sweeps.cli.sweep_text import short_configuration

    one, *others = setting.runs
    record, place = one.again.record, one.again.run.identity["environment"]
    how = _HOW[setting.grade]
    if setting.grade == "bit-exact" and not record.weights_sha256:
        how = "bit for bit (metrics of every epoch; of a function nothing more is known)"
    seeds = ", ".join(str(result.again.record.seed) for result in setting.runs)
    were = "seed {}, was trained again and agrees"
    were = "seeds {}, were trained again and agree" if others else were
    hashes = {
        "weights": [result.record and result.record.weights_sha256 for result in setting.runs],
        "data": [record.identity["data"]],
    }
    known = "".join(
        f"{name} sha256 {', '.join(f'{str(digest)[:16]}…' for digest in digests)}, "
        for name, digests in hashes.items()
        if any(digests)
    )
    return (
        f"For a paper: {record.experiment} ({short_configuration(record.requested)}), "
        f"{were.format(seeds)} {how}: {'mean ' if others else ''}{record.metric} "
        f"{_exact(setting.statistics[1][0])}, {known}torch {place['torch']}, {place['python']}, "
        f"{place['cpu']}; {again}."
    )


def _exact(value: float | None) -> str:
    return "none" if value is None else number(value, 6)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else show_value(value)
    return text if len(text) <= 60 else f"{text[:12]}…"
