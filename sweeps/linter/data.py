"""Rules on the data."""

from __future__ import annotations

from collections.abc import Sequence

from paribus.sweeps.linter.evidence import NO_BASELINE, Evidence
from paribus.sweeps.linter.finding import Seen, not_judged
from paribus.sweeps.linter.words import figure, sweep_again

_OF_TWO = 2.0  # times as frequent, from which on guessing the same class always looks good
_OF_MANY = 3.0


def accuracy_alone(evidence: Evidence) -> list[Seen]:
    """Accuracy chooses the best epoch and the winner, and the classes are unbalanced.

    The validation examples are counted by the rows of the baseline's confusion matrix. Of two
    classes one must be more than twice as frequent as the other, of more the most frequent more
    than three times as the rarest. Of several labels, yes and no are counted over all of them.
    """
    if evidence.metric.split("/")[-1] != "accuracy":
        return []
    if evidence.baseline is None:
        return not_judged(NO_BASELINE)
    counts = _counts(evidence.confusion_matrix)
    if counts is None:
        return not_judged("the runs do not say how many examples each class has")
    most, least = max(counts), min(counts)
    if most <= (_OF_TWO if len(counts) == 2 else _OF_MANY) * least:
        return []
    share = most / sum(counts)
    again = sweep_again(evidence, [None], "--set", "select.metric=val/f1")
    return [Seen(
        f"{evidence.metric} chooses, and the classes are unbalanced: {most} validation examples "
        f"of the most frequent, {least} of the rarest. Always naming the most frequent gives "
        f"{figure(share)}. Choose by F1, as a study of its own: {again}"
    )]  # fmt: skip


def _counts(matrix: Sequence[Sequence[object]] | None) -> list[int] | None:
    """Validation examples of each class; of several labels those of no and of yes."""
    if not matrix or not matrix[0]:
        return None
    if isinstance(matrix[0][0], Sequence):
        rows: list[list[int]] = [[_sum(row) for row in label] for label in matrix]  # type: ignore[arg-type]
        counts = [sum(column) for column in zip(*rows, strict=True)]
    else:
        counts = [_sum(row) for row in matrix]
    return counts if len(counts) > 1 and sum(counts) else None


def _sum(row: Sequence[object]) -> int:
    return sum(int(count) for count in row)  # type: ignore[call-overload]
