"""What a rule of the linter has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seen:
    """What a rule saw in a study.

    Attributes:
        sentence: What was seen, with numbers, and what to do about it; why, where it is not judged.
        about: The label of a setting or the key of an axis; None: several, or the whole study.
        judged: False where the rule could not be evaluated.
    """

    sentence: str
    about: str | None = None
    judged: bool = True


@dataclass(frozen=True)
class Finding:
    """What a rule saw, with its name and why that matters."""

    rule: str
    sentence: str
    reason: str
    about: str | None
    judged: bool = True

    def document(self) -> dict[str, Any]:
        """An entry of ``linter`` in the `compare` document."""
        return {
            "rule": self.rule,
            "about": self.about,
            "sentence": self.sentence,
            "reason": self.reason,
            "judged": self.judged,
        }


def not_judged(why: str, about: str | None = None) -> list[Seen]:
    """The answer of a rule that cannot be evaluated."""
    return [Seen(f"cannot be judged: {why}", about, judged=False)]
