"""What a sweep says before and after, and the table of settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from paribus.core.config.schema import COMPONENTS, Configuration, flatten
from paribus.core.config.values import show_value
from paribus.core.errors import shortened
from paribus.core.run_spec import RunSpec
from paribus.sweeps.analysis import verdict_text
from paribus.sweeps.analysis.power_analysis import PowerAnalysis
from paribus.sweeps.analysis.verdict_text import NOT_PROVEN, Paste
from paribus.sweeps.cli import compare_command
from paribus.sweeps.cli.console import best_of_run, command, print_json, root_words, say, table
from paribus.sweeps.execution.driver import cost, length, schedule
from paribus.sweeps.formatting import duration, number
from paribus.sweeps.study.axes import Axis
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.settings import Setting
from paribus.sweeps.sweep import Sweep

_LONGEST_LEVEL = 120  # characters, in a list of them


def begin(sweep: Sweep) -> None:
    """The first lines: the baseline, each axis with its levels, settings × seeds = runs."""
    question = sweep.question
    say(f"study {sweep.study.name}: {question.question}")
    say(f"baseline: {short_configuration(question.baseline)}")
    for axis in question.axes:
        levels = _levels(sweep, axis)
        say(f"  {axis.key} = {levels}   (baseline {axis.baseline_text})")
        if len(axis.levels) == 1:
            fixed = shlex.quote(f"{axis.key}={levels}")
            say(f"    a single level; to change the baseline instead: --set {fixed}")
    say(
        f"{_how_many(sweep)}, compared by {sweep.study.metric} "
        f"({_better(sweep.study.direction)} is better)"
    )
    say(_power_text(sweep.power_analysis()))
    if sweep.replaces_verdicts:
        say("  what was said of this study at a fixed number of seeds counts no more")
    if sweep.search.pruner == "wilcoxon" and len(sweep.seeds) < 5:
        say("  wilcoxon can tell after four seeds at the earliest, so it prunes nothing here")


def _how_many(sweep: Sweep) -> str:
    """Settings × seeds = runs."""
    settings = _many(sweep.design.size, "setting")
    if looks := sweep.decision.looks:
        least, most = (sweep.design.size * n for n in (looks[0], looks[-1]))
        after = ", ".join(map(str, looks))
        return f"{settings} × seeds until decided (looks after {after}) = {least} to {most} runs"
    up_to = "" if sweep.search.pruner is None else "up to "
    runs = _many(sweep.most_runs(), "run")
    return f"{settings} × {_many(len(sweep.seeds), 'seed')} = {up_to}{runs}"


def _power_text(found: PowerAnalysis) -> str:
    """What so many seeds can tell from chance, and what they cannot."""
    if not found.settings:
        return "power: there is no setting to compare with the baseline"
    if found.in_std is None:
        return "power: one seed gives no verdict, --seeds 3 do"
    seeds, among = _many(found.seeds, "seed"), _many(found.settings, "setting")
    if found.difference is None or found.margin is None:
        return (
            f"power: {seeds} find a difference of {found.in_std:.1f} sd four times in five "
            f"({among}; sd: of setting minus baseline over seeds); smaller ones will mostly stay "
            "undecided"
        )
    margin, needed = number(found.margin), found.seeds_for_margin
    takes = f"takes {_many(needed, 'seed')}" if needed else "takes more than 1000 seeds"
    return (
        f"power: {seeds} find a difference of {number(found.difference)} on this validation part "
        f"four times in five ({among}); the margin, {margin}, {takes}"
    )


def _levels(sweep: Sweep, axis: Axis) -> str:
    """``0.1, 1.0``, or ``1e-05 to 0.1, log, 8 trials by tpe``."""
    levels = ", ".join(shortened(level.text, _LONGEST_LEVEL) for level in axis.levels)
    trials = sweep.search.trials_of(axis)
    if trials is None:
        return levels
    among = axis.range.text if axis.range else f"among {levels}"
    return f"{among}, {_many(trials, 'trial')} by {sweep.search.sampler}"


def dry_run(sweep: Sweep, as_json: bool) -> None:
    """Settings, runs and an estimate of the time."""
    runs = sweep.distinct_runs()
    left = [run for run in runs if not sweep.root.run(run.id).folder.is_dir()]
    later = sweep.most_runs() - len(runs)  # what is not proposed yet takes as long as what is
    seconds = _seconds(sweep, [*left, *runs[-1:] * later])
    document = sweep.document()
    if as_json:
        print_json({
            **document,
            "runs": {**document["runs"], "planned": sweep.most_runs(),
                     "reused": len(runs) - len(left)},
            "settings": [_planned(sweep, setting) for setting in sweep.settings],
            "best": None,
            "seconds": seconds,
        })  # fmt: skip
        return
    rows = [[s.label, verdict_text.derived_text(s.derived)] for s in sweep.settings]
    for axis in sweep.question.axes:
        known = sum(s.key == axis.key for s in sweep.settings)
        if trials := sweep.search.trials_of(axis):
            text = axis.range.text if axis.range else "its levels"
            more = trials - known
            rows.append([f"{axis.key}: {more} more in {text}, by {sweep.search.sampler}", ""])
    table(("setting", "derived"), rows)
    there = f" ({len(runs) - len(left)} are there already)" if len(left) < len(runs) else ""
    if document["sameness"] != "proven":
        say(NOT_PROVEN)
    time = "how long is not known" if seconds is None else f"about {duration(seconds)} of training"
    up_to = "" if sweep.search.pruner is None else "up to "
    first = " for the first look" if sweep.decision.looks else ""
    say(f"{up_to}{len(left) + later} runs to train{first}{there}: {time}")
    say("Nothing was created. Without --dry-run this is trained.")


def _seconds(sweep: Sweep, runs: Sequence[RunSpec]) -> float | None:
    """An estimate of the training of these runs; None where only their function knows."""
    if not runs:
        return 0.0
    if not all(run.facts["updates"] for run in runs):
        return None
    one, workers = runs[0], sweep.pool.workers
    update, validation = sweep.time_updates(one.requested)
    alone: float = one.facts["updates"] * update + one.facts["epochs"] * validation
    return round(alone * length(schedule(runs, workers), workers) / cost((one,)), 1)


def _planned(sweep: Sweep, setting: Setting) -> dict[str, Any]:
    """SETTING of the contract for what was not trained."""
    return {
        "label": setting.label,
        "changed": setting.changed,
        "derived": setting.derived,
        "runs": [run.id for (label, _), run in sweep.runs.items() if label == setting.label],
        "seeds": [seed for label, seed in sweep.runs if label == setting.label],
        "values": [],
        "mean": None,
        "std": None,
        "status": "planned",
        "reason": None,
    }


def end(sweep: Sweep, experiment: str) -> None:
    """The table, a sentence for each axis, where the best model lies, the next command."""
    say(f"{_counts(sweep.counts)}, in {duration(sweep.seconds)}")
    if cost := sweep.cost_of_deciding():
        most, saved = sweep.decision.most_seeds, cost["fixed"] - cost["runs"]
        runs = _many(cost["runs"], "run")
        say(
            f"until decided: these settings have {runs} of the {cost['fixed']} that {most} seeds "
            f"for each take; {saved} saved"
        )
    comparison = sweep.comparison()
    if comparison["sameness"] != "proven" and sweep.counts["reused"]:
        say("reused runs are of the files that they read then; paribus remove lets them go")
    compare_command.tell(comparison)
    paste = baseline_command(sweep, experiment)
    for axis in sweep.question.axes:
        for line in verdict_text.axis_lines(comparison, axis.key, paste):
            say(line)
        if others := sum(s.key == axis.key for s in sweep.study.settings) - sum(
            s.key == axis.key for s in sweep.settings
        ):
            say(f"  the study has {_many(others, 'other level')} of it; compare shows all")
    best = sweep.document()["best"]
    if best:
        result = next(r for r in sweep.results() if r.setting.label == best)
        sign = 1 if sweep.study.direction == "maximize" else -1
        seed = max(zip(result.seeds, result.values, strict=True), key=lambda p: sign * p[1])[0]
        folder = sweep.root.run(result.setting.runs[seed]).folder
        say(f"{best_of_run(folder)} ({best}, seed {seed})")
    if sweep.page:
        say(f"page: {sweep.page}")
    say(f"Next: {command('compare', sweep.study.name, *root_words(sweep.root))}")


def baseline_command(sweep: Sweep, experiment: str) -> Paste:
    """Makes the command that sweeps with another level as the baseline.

    What was asked for besides stays: other axes, other overrides, seeds and root.
    """
    asked = sweep.request.axes or ()

    def paste(key: str, before: str, level: str) -> str:
        left = [axis for axis in sweep.question.axes if not (asked and _within(axis.key, key))]
        explored = any(sweep.search.trials_of(axis) is not None for axis in left)
        seeds = [] if sweep.decision.looks else seed_words(list(sweep.seeds))
        options = [*seeds, *sweep.decision.words(), *root_words(sweep.root)]
        options += sweep.search.words() if explored else []
        axes = [text for text in asked if not _within(_key(text), key)]
        if asked and not axes:
            axes = [f"{key}={before}"]  # no axes would mean all of the file's
        kept = _kept_overrides(sweep, key, level)
        sets = [word for text in (*kept, f"{key}={level}") for word in ("--set", text)]
        return command("sweep", experiment, *axes, *sets, *options)

    return paste


def _kept_overrides(sweep: Sweep, key: str, level: str) -> list[str]:
    """The overrides that still say something once a level is the baseline.

    A changed component does not have all keywords of the old one, or brings its own values.
    """
    asked = next(s.asked for s in sweep.settings if s.label == f"{key}={level}")
    kept = []
    for text in sweep.request.overrides:
        name, _, inner = _key(text).partition(".")
        gone = name == key and (inner not in asked[key] or f"{inner}=" in level)
        if _key(text) != key and not gone:
            kept.append(text)
    return kept


def short_configuration(baseline: Mapping[str, Any]) -> str:
    """The components, the length, and whatever else is not as it usually is."""
    parts = [f"{kind} {show_value(baseline[kind])}" for kind in COMPONENTS if kind in baseline]
    train = baseline.get("train", {}).items()
    parts += [f"{k} {v}" for k, v in train if v not in (None, []) and "eval" not in k]
    needed = {kind: baseline[kind] for kind in (*COMPONENTS, "train") if kind in baseline}
    usual = flatten(Configuration.parse(needed, "baseline").to_dict())
    others = flatten({k: v for k, v in baseline.items() if k not in needed})
    return ", ".join(
        [*parts, *[f"{k} {show_value(v)}" for k, v in others.items() if v != usual[k]]]
    )


def _counts(counts: Mapping[str, int]) -> str:
    """``6 runs: 4 trained (1 of them failed), 2 not finished``"""
    left = counts["planned"] - counts["trained"] - counts["reused"]
    parts = [f"{counts[how]} {how}" for how in ("trained", "reused") if counts[how]]
    if counts["failed"]:
        parts.append(f"{counts['failed']} of them failed")
    if left:
        parts.append(f"{left} not finished")
    return f"{_many(counts['planned'], 'run')}: {', '.join(parts)}"


def _better(direction: str) -> str:
    return "higher" if direction == "maximize" else "lower"


def _many(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _key(text: str) -> str:
    return text.partition("=")[0].strip()


def _within(key: str, changed: str) -> bool:
    """Whether a key is the changed one, or a keyword that a changed component may not have."""
    return key == changed or key.startswith(f"{changed}.")
