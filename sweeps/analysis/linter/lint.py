"""Rules on the runs: how many, how many failed, and when the test part was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paribus.sweeps.analysis.judge import standard_of
from paribus.sweeps.analysis.linter.curve_rules import (
    different_curves,
    overfitting,
    still_improving,
)
from paribus.sweeps.analysis.linter.design_rules import (
    accuracy_alone,
    derived_quantity,
    edge_of_axis,
    not_tuned_again,
)
from paribus.sweeps.analysis.linter.evidence import (
    Evidence,
    Finding,
    Seen,
    evidence_of,
    listed,
    many,
    not_judged,
    read_time,
    sweep_again,
)
from paribus.sweeps.study.study import Study

_MANY = 1 / 5  # of the planned runs


def many_failures(evidence: Evidence) -> list[Seen]:
    """Find that more than a fifth of the planned runs failed, non-finite ones among them."""
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
        else "Take levels that can be trained, or repair what makes these fail"
    )
    return [Seen(f"{len(reasons)} of {many(planned, 'run')} failed{kinds}: {listed(where)}. "
                 f"{remedy}")]  # fmt: skip


def one_seed(evidence: Evidence) -> list[Seen]:
    """Find settings of which no second seed is planned."""
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
    """Find that the test part was read more than once, or before the study ended.

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
    """Return whether a line tells of a reading of this study's test part."""
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


# The rules, and what they see in a study.


class Rule(NamedTuple):
    """A rule: its name, why it matters, and what it looks at."""

    name: str
    reason: str
    look: Callable[[Evidence], list[Seen]]


RULES = (
    Rule(
        "edge-of-axis",
        "the best value may lie beyond the levels that were tried.",
        edge_of_axis,
    ),
    Rule(
        "many-failures",
        "what is left is a selection: runs that fail are seldom those that would have done well.",
        many_failures,
    ),
    Rule(
        "still-improving",
        "the comparison is of how fast settings learn, and may turn round with longer training.",
        still_improving,
    ),
    Rule(
        "overfitting",
        "from there on the model learns its training examples by heart; a fair comparison needs "
        "each setting at its best.",
        overfitting,
    ),
    Rule(
        "one-seed",
        "with one seed nothing tells a difference from chance.",
        one_seed,
    ),
    Rule(
        "test-read",
        "a test part that choices can have been made by no longer tells how well a model does on "
        "new data.",
        reading_of_test,
    ),
    Rule(
        "accuracy-alone",
        "a model that never finds the rare class can still have a high accuracy.",
        accuracy_alone,
    ),
    Rule(
        "different-curves",
        "the best of many epochs is partly luck, and a curve that jumps has more of it than a "
        "smooth one.",
        different_curves,
    ),
    Rule(
        "derived-quantity",
        "the verdict is on both changes together; which of them did it is not known.",
        derived_quantity,
    ),
    Rule(
        "not-tuned-again",
        "a learning rate chosen for the baseline favours the baseline.",
        not_tuned_again,
    ),
)


def lint(evidence: Evidence) -> list[Finding]:
    """Return all that the rules see, in their order; what cannot be judged is among it."""
    return [
        Finding(rule.name, seen.about, seen.sentence, rule.reason, seen.judged)
        for rule in RULES
        for seen in rule.look(evidence)
    ]


def lint_study(
    study: Study, margin: float | None = None, options: Sequence[str] = ()
) -> list[Finding]:
    """Return what the rules see in a study.

    Args:
        study: What is looked at, by its selection metric.
        margin: Differences of it smaller than this do not matter; None: the study's, or else the
            metric's own.
        options: For commands to paste, such as ``--root DIR``.
    """
    results = study.results()
    if any(result.values for result in results if result.setting.key is None):
        margin = standard_of(study, results, study.metric, study.direction, margin).margin
    return lint(evidence_of(study, results, margin, options))
