"""What a sweep says before and after, and the table of settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from core.config import COMPONENTS
from core.values import show_value
from sweeps.cli.common import number, print_json, say, signed, table
from sweeps.sweep import Sweep


def begin(sweep: Sweep, experiment: str) -> None:
    """The first lines: the baseline, each axis with its levels, settings × seeds = runs."""
    question = sweep.question
    say(f"study {sweep.study.name}: {question.question}")
    say(f"baseline: {_short_baseline(question.baseline)}")
    for axis in question.axes:
        levels = ", ".join(level.text for level in axis.levels)
        say(f"  {axis.key} = {levels}   (baseline {axis.baseline_text})")
        if len(axis.levels) == 1:
            fixed = shlex.quote(f"{axis.key}={levels}")
            say(f"    to change the baseline instead: paribus sweep {experiment} --set {fixed}")
    runs = len(sweep.distinct_runs())
    say(
        f"{len(sweep.settings)} settings × {len(sweep.seeds)} seeds = {runs} runs, "
        f"compared by {sweep.study.metric} ({sweep.study.direction})"
    )


def dry_run(sweep: Sweep, as_json: bool) -> None:
    """Settings, runs and an estimate of the time."""
    from sweeps.planning import time_updates

    runs = sweep.distinct_runs()
    update, validation = sweep.workplace.plan(time_updates, sweep.request, sweep.question.baseline)
    left = [run for run in runs if not sweep.root.run(run.id).folder.is_dir()]
    work = sum(r.facts["updates"] * update + r.facts["epochs"] * validation for r in left)
    seconds = work / max(1, min(sweep.workplace.workers, len(left)))
    if as_json:
        print_json({
            "study": sweep.study.name,
            "experiment": sweep.study.experiment,
            "metric": {"name": sweep.study.metric, "direction": sweep.study.direction},
            "runs": {"planned": len(runs), "reused": len(runs) - len(left)},
            "settings": [
                {"label": s.label, "changed": s.changed, "derived": s.derived}
                for s in sweep.settings
            ],
            "seconds": round(seconds, 1),
        })  # fmt: skip
        return
    table(("setting", "derived"), [[s.label, derived_text(s.derived)] for s in sweep.settings])
    there = f" ({len(runs) - len(left)} are there already)" if len(left) < len(runs) else ""
    say(f"{len(left)} runs to train{there}: about {duration(seconds)} of training")
    say("Nothing was created. Without --dry-run this is trained.")


def end(sweep: Sweep, experiment: str) -> None:
    """The table, a sentence for each axis, where the best model lies, the next command."""
    counts = sweep.counts
    say(
        f"{counts['planned']} runs: {counts['trained']} trained, {counts['reused']} reused, "
        f"{counts['failed']} failed, in {duration(sweep.seconds)}"
    )
    comparison = sweep.comparison()
    settings_table(comparison)
    overrides = " ".join(f"--set {shlex.quote(text)}" for text in sweep.request.overrides)
    for axis in sweep.question.axes:
        say(axis_sentence(comparison, axis.key, f"paribus sweep {experiment} {overrides}".strip()))
    best = sweep.document()["best"]
    if best:
        result = next(r for r in sweep.results() if r.setting.label == best)
        sign = 1 if sweep.study.direction == "maximize" else -1
        seed = max(zip(result.seeds, result.values, strict=True), key=lambda p: sign * p[1])[0]
        folder = sweep.root.run(result.setting.runs[seed]).folder
        say(f"best model: {folder}/best.safetensors ({best}, seed {seed})")
    say(f"Next: paribus compare {sweep.study.name}")


def settings_table(comparison: Mapping[str, Any]) -> None:
    """One row per setting: mean ± standard deviation, difference to the baseline, interval."""
    metric = comparison["metric"]["name"]
    rows = []
    for setting in comparison["settings"]:
        low, high = setting["interval"] or (None, None)
        interval = "–" if low is None else f"{signed(low)} to {signed(high)}"
        spread = f" ± {number(setting['std'])}" if setting["std"] is not None else ""
        value = "failed" if setting["status"] == "failed" and setting["mean"] is None else (
            "not finished" if setting["mean"] is None else number(setting["mean"]) + spread
        )  # fmt: skip
        rows.append([
            setting["label"],
            value,
            signed(setting["delta"]),
            interval,
            str(len(setting["seeds"])),
            derived_text(setting["derived"]),
        ])  # fmt: skip
    headings = ("setting", f"{metric} mean ± sd", "difference", "95 % interval", "seeds", "derived")
    table(headings, rows, right=(1, 2, 3, 4))


def axis_sentence(comparison: Mapping[str, Any], key: str, command: str) -> str:
    """What was best on an axis, by how much, how sure, and how to make it the baseline."""
    metric, direction = comparison["metric"]["name"], comparison["metric"]["direction"]
    on_axis = [s for s in comparison["settings"] if key in s["changed"] and s["mean"] is not None]
    if not on_axis or comparison["settings"][0]["mean"] is None:
        return f"{key}: nothing to compare yet."
    sign = 1 if direction == "maximize" else -1
    best = max(on_axis, key=lambda s: sign * s["mean"])
    before, level = best["changed"][key]
    base = comparison["settings"][0]
    if best["delta"] is None:
        return f"{key}: no seed is shared with the baseline."
    if sign * best["delta"] <= 0:
        return (
            f"{key}: the baseline's {show_value(before)} was best ({metric} "
            f"{number(base['mean'])}); the nearest, {show_value(level)}, differs by "
            f"{signed(best['delta'])}{_how_sure(best)}."
        )
    setting = shlex.quote(f"{key}={show_value(level)}")
    return (
        f"{key}: {show_value(level)} was best: {metric} {number(best['mean'])}, "
        f"{signed(best['delta'])} against the baseline's {show_value(before)}{_how_sure(best)}. "
        f"To make it the baseline: {command} --set {setting}"
    )


def derived_text(derived: Mapping[str, Sequence[Any]], limit: int = 3) -> str:
    """What else changed, in short; keywords that came or went without effect are counted only."""
    telling = {
        k: pair for k, pair in derived.items() if pair[0] is not None and pair[1] is not None
    }
    texts = [f"{_last(k)} {show_value(a)} → {show_value(b)}" for k, (a, b) in telling.items()]
    new = [f"{_last(k)} {show_value(b)}" for k, (a, b) in derived.items() if a is None]
    gone = [_last(k) for k, (a, b) in derived.items() if b is None]
    texts += [f"new: {', '.join(new[:limit])}{_more(new, limit)}"] if new else []
    texts += [f"dropped: {', '.join(gone[:limit])}{_more(gone, limit)}"] if gone else []
    return "; ".join(texts)


def duration(seconds: float) -> str:
    """Seconds as a person says it."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _how_sure(setting: Mapping[str, Any]) -> str:
    pairs = setting["pairs"]
    if setting["interval"] is None:
        return f" ({pairs} seed: no interval)"
    low, high = setting["interval"]
    clear = "" if low > 0 or high < 0 else ", which includes no difference"
    return f" (95 % interval {signed(low)} to {signed(high)}, {pairs} seeds{clear})"


def _short_baseline(baseline: Mapping[str, Any]) -> str:
    parts = [f"{kind} {show_value(baseline[kind])}" for kind in COMPONENTS]
    train = {k: v for k, v in baseline["train"].items() if v is not None and "eval" not in k}
    return ", ".join([*parts, *[f"{key} {value}" for key, value in train.items()]])


def _last(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _more(items: Sequence[Any], limit: int) -> str:
    return f" and {len(items) - limit} more" if len(items) > limit else ""
