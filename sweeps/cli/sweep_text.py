"""What a sweep prints before training, at its end, and for a dry run."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from paribus.core.config.schema import COMPONENTS, Configuration, flatten
from paribus.core.config.values import show_value
from paribus.core.errors import inert, many
from paribus.core.run_spec import RunSpec
from paribus.sweeps.analysis.compare import Comparison, compare_study
from paribus.sweeps.analysis.linter.lint import lint_study
from paribus.sweeps.analysis.power_analysis import PowerAnalysis
from paribus.sweeps.analysis.verdict_text import (
    NOT_PROVEN,
    Paste,
    answer,
    axis_lines,
    derived_text,
    meaning,
    method_warnings,
)
from paribus.sweeps.cli.compare_command import (
    best_model,
    print_comparison,
    print_warnings,
    undecided_text,
)
from paribus.sweeps.cli.console import command, fitted, nearby, print_json, say, table, width
from paribus.sweeps.execution.driver import cost, length, schedule
from paribus.sweeps.formatting import cut, cut_middle, duration, number
from paribus.sweeps.study.axes import Axis
from paribus.sweeps.study.request import seed_words
from paribus.sweeps.study.results_dir import root_words
from paribus.sweeps.sweep import Sweep

_LONGEST_LEVEL = 120  # characters, in a list of them
_MOST_LINES = 8  # below the table


def begin(sweep: Sweep, *, verbose: bool = False) -> None:
    """Print study, settings × seeds = runs, the minimum detectable effect, and the baseline.

    If `verbose`, the whole baseline and each axis with its levels, too.
    """
    question, metric = sweep.question, sweep.study.metric
    better = "higher" if sweep.study.direction == "maximize" else "lower"
    for line in (
        f"study {sweep.study.name}: {question.question}",
        f"{_howmany(sweep)}, by {metric} ({better} is better)",
        _power_text(sweep.power_analysis(), sweep.folds),
        f"baseline: {short_configuration(question.baseline.to_dict())}",
    ):
        say(line if verbose else cut(inert(line), width(), items=line.startswith("baseline")))
    texts = [str(text) for text in sweep.request.axes or ()]
    typed = {_key(text) for text in texts if "=" in text and "," not in text}
    for axis in question.axes:
        if verbose:
            say(f"  {axis.key} = {_levels(sweep, axis)}   (baseline {axis.baseline_text})")
        if len(axis.levels) == 1 and (verbose or axis.key in typed):
            start = "    a" if verbose else f"{axis.key} has a"
            fixed = shlex.quote(axis.levels[0].label)
            say(f"{start} single level; to change the baseline instead: --set {fixed}")
    if sweep.replaces_verdicts:
        say("  verdicts at a fixed number of seeds are replaced by those of the looks")
    if sweep.search.pruner == "wilcoxon" and len(sweep.seeds) < 5:
        say("  the wilcoxon pruner needs four seeds for a decision, so it prunes nothing here")


def _howmany(sweep: Sweep) -> str:
    """Return ``settings × seeds = runs``."""
    settings, folds = many(sweep.design.size, "setting"), sweep.folds
    if looks := sweep.decision.looks:
        least, most = (sweep.design.size * n for n in (looks[0], looks[-1]))
        after = ", ".join(map(str, looks))
        return f"{settings} × seeds until decided (looks after {after}) = {least} to {most} runs"
    up_to = "" if sweep.search.pruner is None else "up to "
    runs = many(sweep.most_runs(), "run")
    seen = len({seed % folds for seed in sweep.seeds})
    which = f"{folds}" if seen == folds else f"{seen} of {folds}"
    over = f" over {which} folds" if folds > 1 else ""
    return f"{settings} × {many(len(sweep.seeds), 'seed')}{over} = {up_to}{runs}"


def _power_text(found: PowerAnalysis, folds: int) -> str:
    """Return the smallest difference that is detected with a probability of 80 %."""
    if not found.settings:
        return "minimum detectable effect: there is no setting to compare with the baseline"
    if found.in_std is None:
        return "minimum detectable effect: none, one seed gives no verdict; --seeds 5 does"
    effect = number(found.difference)
    if found.difference is None:
        effect = f"{found.in_std:.1f} sd of the differences"
    here = "" if folds > 1 else ", on this validation part"  # examples are not drawn anew
    text = f"minimum detectable effect: {effect} ({many(found.seeds, 'seed')}, 80 % power{here})"
    return text if found.margin is None else f"{text}; margin {number(found.margin)}"


def _levels(sweep: Sweep, axis: Axis) -> str:
    """``0.1, 1.0``, or ``1e-05 to 0.1, log, 8 trials by tpe``."""
    levels = ", ".join(cut_middle(level.text, _LONGEST_LEVEL) for level in axis.levels)
    trials = sweep.search.trials_of(axis)
    if trials is None:
        return levels
    among = axis.range.text if axis.range else f"among {levels}"
    return f"{among}, {many(trials, 'trial')} by {sweep.search.sampler}"


def dry_run(sweep: Sweep, as_json: bool) -> None:
    """Print settings, runs and an estimate of the time."""
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
            "settings": [
                {
                    "label": setting.label,
                    "changed": setting.changed,
                    "derived": setting.derived,
                    "runs": [run.id for (label, _), run in sweep.runs.items()
                             if label == setting.label],
                    "seeds": [seed for label, seed in sweep.runs if label == setting.label],
                    "values": [], "mean": None, "std": None, "status": "planned", "reason": None,
                }
                for setting in sweep.settings
            ],
            "best": None,
            "seconds": seconds,
        })  # fmt: skip
        return
    rows = [[s.label, derived_text(s.derived)] for s in sweep.settings]
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
    say(
        f"{up_to}{len(left) + later} runs to train{first}{there}: {time}",
        *sweep.pool.summary(left),
        *sweep.study.what_changed(sweep.runs),
        "Nothing was created. Without --dry-run this is trained.",
    )


def _seconds(sweep: Sweep, runs: Sequence[RunSpec]) -> float | None:
    """Estimate the training of these runs; None where only their function knows."""
    if not runs:
        return 0.0
    if not all(run.facts["updates"] for run in runs):
        return None
    sweep.pool.resize_for(runs)
    one, workers = runs[0], sweep.pool.size
    update, validation = sweep.time_updates(one.requested)
    alone: float = one.facts["updates"] * update + one.facts["epochs"] * validation
    return round(alone * length(schedule(runs, workers), workers) / cost((one,)), 1)


def end(sweep: Sweep, experiment: str, again: str = "", *, verbose: bool = False) -> None:
    """Print the table and, in eight lines at most, what it means and what comes next.

    The experiment is named as it was typed; `again` is the command that goes on with the next look,
    where seeds are added. If `verbose`, also all that the verdicts rest on, a sentence for each
    axis, and all warnings.
    """
    say(f"{_counts(sweep.counts)}, in {duration(sweep.seconds)}")
    if cost := sweep.cost_of_deciding():
        runs, saved = many(cost["runs"], "run"), cost["fixed"] - cost["runs"]
        say(f"until decided: {runs} instead of {cost['fixed']} ({saved} saved)")
    comparison = sweep.comparison()
    if comparison.sameness != "proven":
        say(NOT_PROVEN)
        if sweep.counts["reused"]:
            say("reused runs are of the files as they were then; paribus remove deletes them")
    print_comparison(comparison, verbose=verbose)
    root = root_words(sweep.root)
    findings = lint_study(sweep.study, None, root)
    if verbose:
        _print_all(sweep, experiment, comparison)
        print_warnings(findings)
    overrides = [word for text in sweep.request.overrides for word in ("--set", str(text))]
    undecided = undecided_text(comparison, sweep.study, again, [experiment, *overrides])
    said = answer(comparison)
    if len(sweep.study.settings) > len(sweep.settings):  # of earlier commands
        others = many(len(sweep.study.settings) - 1, "setting")
        said = f"{sweep.name}, {others}: {answer(compare_study(sweep.study))}"
    first = [said, *([undecided] if undecided else [])]
    last = best_model(sweep.study, sweep.study.results())
    if sweep.page:
        last.append(f"page: {nearby(sweep.page)}")
    left = _MOST_LINES - sum(fitted(line).count("\n") + 1 for line in (*first, *last))
    warned = [] if verbose else method_warnings(comparison, findings)[: min(2, max(0, left))]
    then = f"Next: {command('compare', sweep.study.name, *root)}"
    if sweep.page and cell_len(f"{last[-1]}; {then}") <= width():
        last[-1] += f"; {then}"
    elif verbose or len(warned) < left:
        last.append(then)
    say(*first, *[cut(line, width()) for line in warned], *last)


def _print_all(sweep: Sweep, experiment: str, comparison: Comparison) -> None:
    """Print what `compare` prints of the settings of this command."""
    say(*meaning(comparison))
    paste = baseline_command(sweep, experiment)
    for axis in sweep.question.axes:
        say(*axis_lines(comparison, axis.key, paste))
        if others := sum(s.key == axis.key for s in sweep.study.settings) - sum(
            s.key == axis.key for s in sweep.settings
        ):
            say(f"  the study has {many(others, 'other level')} of it; compare shows all")


def baseline_command(sweep: Sweep, experiment: str) -> Paste:
    """Return what makes the command that sweeps with another level as the baseline.

    What was requested besides stays: other axes, other overrides, seeds and root.
    """
    asked = [text for text in sweep.request.axes or () if isinstance(text, str)]

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
    """Return the overrides that still have a meaning once a level is the baseline.

    A changed component does not have all keywords of the old one, or brings its own values.
    """
    asked = next(s.configuration.to_dict() for s in sweep.settings if s.label == f"{key}={level}")
    kept = []
    for text in map(str, sweep.request.overrides):
        name, _, inner = _key(text).partition(".")
        gone = name == key and (inner not in asked[key] or f"{inner}=" in level)
        if _key(text) != key and not gone:
            kept.append(text)
    return kept


def short_configuration(baseline: Mapping[str, Any]) -> str:
    """Return the components, the length, and what else differs from the defaults."""
    parts = [f"{kind} {show_value(baseline[kind])}" for kind in COMPONENTS if kind in baseline]
    train = baseline.get("train", {}).items()
    parts += [f"{k} {v}" for k, v in train if v not in (None, []) and "eval" not in k]
    needed = {kind: baseline[kind] for kind in (*COMPONENTS, "train") if kind in baseline}
    usual = flatten(Configuration.parse(needed, "baseline").to_dict())
    others = flatten({k: v for k, v in baseline.items() if k not in needed})
    return ", ".join(
        [*parts, *[f"{k} {show_value(v)}" for k, v in others.items() if v != usual.get(k)]]
    )


def _counts(counts: Mapping[str, int]) -> str:
    """``6 runs: 4 trained, 1 of them failed, 2 not finished``, or ``6 runs: all failed``"""
    if counts["failed"] == counts["planned"] > 1:
        return f"{counts['planned']} runs: all failed"
    left = counts["planned"] - counts["trained"] - counts["reused"]
    parts = [f"{counts[how]} {how}" for how in ("trained", "reused") if counts[how]]
    if counts["failed"]:
        parts.append(f"{counts['failed']} of them failed")
    if left:
        parts.append(f"{left} not finished")
    return f"{many(counts['planned'], 'run')}: {', '.join(parts)}"


def _key(text: str) -> str:
    return text.partition("=")[0].strip()


def _within(key: str, changed: str) -> bool:
    """Return whether a key is the changed one, or a keyword of the changed component."""
    return key == changed or key.startswith(f"{changed}.")
