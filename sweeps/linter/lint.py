"""The rules, and what they see in a study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paribus.sweeps.linter.data import accuracy_alone
from paribus.sweeps.linter.design import derived_quantity, not_tuned_again
from paribus.sweeps.linter.evidence import Evidence, evidence_of
from paribus.sweeps.linter.finding import Finding, Seen
from paribus.sweeps.linter.forms import different_curves
from paribus.sweeps.linter.levels import edge_of_axis
from paribus.sweeps.linter.runs import many_failures, one_seed, reading_of_test
from paribus.sweeps.linter.training import overfitting, still_improving
from paribus.sweeps.study import Study
from paribus.sweeps.verdicts.observed import standard_of


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
        "the verdict is on both changes together; which of them did it cannot be told.",
        derived_quantity,
    ),
    Rule(
        "not-tuned-again",
        "a learning rate chosen for the baseline favours the baseline.",
        not_tuned_again,
    ),
)


def lint(evidence: Evidence) -> list[Finding]:
    """All that the rules see, in their order; what cannot be judged is among it."""
    return [
        Finding(rule.name, seen.sentence, rule.reason, seen.about, seen.judged)
        for rule in RULES
        for seen in rule.look(evidence)
    ]


def linter_document(
    study: Study, margin: float | None = None, options: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """``linter`` of the `compare` document.

    Args:
        study: What is looked at, by its selection metric.
        margin: Differences of it smaller than this do not matter; None: the study's, or else the
            metric's own.
        options: For commands to paste, such as ``--root DIR``.
    """
    results = study.results()
    if any(result.values for result in results if result.setting.key is None):
        margin = standard_of(study, results, study.metric, study.direction, margin).margin
    return [found.document() for found in lint(evidence_of(study, results, margin, options))]
