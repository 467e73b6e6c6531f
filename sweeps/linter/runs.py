"""Rules on the runs: how many, how many failed, and when the test part was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from paribus.sweeps.linter.evidence import Evidence, read_time
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import listed, many, sweep_again

_MANY = 1 / 5  # of the planned runs


def many_failures(evidence: Evidence) -> list[Seen]:
    """More than a fifth of the planned runs failed by themselves, non-finite ones among them."""
    planned = sum(len(setting.runs) for setting in evidence.settings)
    reasons = [reason for s in evidence.settings for reason in s.failures.values()]
    if len(reasons) <= _MANY * planned:
        return []
    not_finite = sum(reason.startswith("non-finite") for reason in reasons)
    which = "all" if not_finite == len(reasons) else not_finite
    kinds = f", {which} of them as numbers were not finite" if not_finite else ""
    where = [f"{s.label} ({len(s.failures)})" for s in evidence.settings if s.failures]
    at_baseline = any(s.failures for s in evidence.settings if s.key is None)
    remedy = (
        f"See what is wrong with the baseline: paribus check {evidence.start}"
        if at_baseline
        else "Take levels that can be trained, or mend what makes these fail"
    )
    return [Seen(f"{len(reasons)} of {many(planned, 'run')} failed{kinds}: {listed(where)}. "
                 f"{remedy}")]  # fmt: skip


def one_seed(evidence: Evidence) -> list[Seen]:
    """Settings of which no second seed is planned."""
    alone = [setting for setting in evidence.settings if len(setting.runs) == 1]
    if not alone:
        return []
    if len(alone) == len(evidence.settings):
        who = "every setting has"
    else:
        who = f"{listed([s.label for s in alone])} {'have' if len(alone) > 1 else 'has'}"
    keys = [setting.key for setting in alone]
    again = sweep_again(evidence, keys, "--seeds", "3", "--study", evidence.study)
    return [Seen(f"{who} one seed only. Give more: {again}")]


def reading_of_test(evidence: Evidence) -> list[Seen]:
    """The test part was read more than once, or before the study ended.

    Readings of one setting beside the baseline, each seed once, are one reading: nothing was
    chosen by them. So is a line that is of a whole study.
    """
    of_run = {run: s.label for s in evidence.settings for run in s.runs.values()}
    lines = [line for line in evidence.readings if _is_of(line, evidence.study, of_run)]
    seen = []
    times = _times_read(lines, of_run)
    if times > 1:
        seen.append(Seen(
            f"the test part was read {times} times. Report what was read first, and choose by "
            "the validation part alone"
        ))  # fmt: skip
    at = [time for line in lines if (time := read_time(line.get("at")))]
    if at and evidence.ended and min(at) < evidence.ended:
        seen.append(Seen(
            f"the test part was read at {min(at).isoformat(sep=' ')}, and runs were trained until "
            f"{evidence.ended.isoformat(sep=' ')}. Of what was decided in between it is no "
            "untouched test; say so, or keep other data for one"
        ))  # fmt: skip
    if lines and not at:
        return seen + not_judged("the readings of the test part bear no time")
    return seen


def _is_of(line: Any, study: str, of_run: Mapping[str, str]) -> bool:
    """Whether a line tells of a reading of this study's test part."""
    if not isinstance(line, dict) or line.get("split") != "test":
        return False
    runs = line.get("runs")
    named = [line.get("run"), *(runs if isinstance(runs, list) else ())]
    return line.get("study") == study or any(
        isinstance(run, str) and run in of_run for run in named
    )


def _times_read(lines: list[Any], of_run: Mapping[str, str]) -> int:
    whole = sum("runs" in line or "run" not in line for line in lines)
    counts = Counter(line["run"] for line in lines if line.get("run") in of_run)
    by_setting: dict[str, int] = {}
    for run, count in counts.items():
        by_setting[of_run[run]] = max(by_setting.get(of_run[run], 0), count)
    baseline = by_setting.pop("baseline", 0)
    return whole + max(baseline, sum(by_setting.values()))
