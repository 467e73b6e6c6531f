"""How `compare` shows what the linter found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from sweeps.cli.common import root_words, say
from sweeps.linter.evidence import evidence_of, margin_of
from sweeps.linter.lint import lint
from sweeps.study import Study


def linter_document(study: Study) -> list[dict[str, Any]]:
    """What the rules see in a study: ``linter`` of the `compare` document."""
    results = study.results()
    mean = next((result.mean for result in results if result.setting.key is None), None)
    margin = margin_of(study.metric, mean)
    return [f.document() for f in lint(evidence_of(study, results, margin, root_words(study.root)))]


def tell_linter(findings: Sequence[Mapping[str, Any]]) -> None:
    """A line for each finding, below those of a rule the reason, and a line of what is unknown."""
    judged = [finding for finding in findings if finding["judged"]]
    if judged:
        say("warnings of method:")
    for (rule, reason), group in groupby(judged, key=lambda f: (f["rule"], f["reason"])):
        for finding in group:
            say(f"  {rule}: {finding['sentence']}")
        say(f"    why: {reason}")
    unknown: dict[str, list[str]] = {}
    for finding in findings:
        if not finding["judged"]:
            unknown.setdefault(finding["sentence"], []).append(finding["rule"])
    for why, rules in unknown.items():
        say(f"{', '.join(rules)} {why}")
