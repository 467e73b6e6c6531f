"""How `compare` shows what the linter found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from paribus.sweeps.cli.common import say


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
