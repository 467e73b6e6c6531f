"""What a sweep is to decide: `--margin`, `--until-decided` and `--max-seeds`."""

from __future__ import annotations

from dataclasses import dataclass

from paribus.core.errors import Faults, RequestError
from paribus.sweeps.effects.looks import looks
from paribus.sweeps.effects.verdicts import ALPHA
from paribus.sweeps.search import Search

_FEWEST, _USUAL, _MOST = 3, 20, 10_000


@dataclass(frozen=True)
class Decision:
    """How settings are decided on.

    Attributes:
        margin: Differences smaller than this do not matter; None: the metric's own.
        looks: Seeds are added until it is decided, and looked at after so many; none where their
            number is fixed.
    """

    margin: float | None = None
    looks: tuple[int, ...] = ()

    @property
    def most_seeds(self) -> int:
        return self.looks[-1]

    @property
    def alpha(self) -> float:
        """What the test of the last look, or the only one, may err by."""
        if len(self.looks) < 2:
            return ALPHA
        return ALPHA * (self.looks[-1] - self.looks[-2]) / self.most_seeds

    def words(self) -> list[str]:
        """The options, for a command to paste."""
        margin = [] if self.margin is None else ["--margin", repr(self.margin)]
        until = ["--until-decided"] if self.looks else []
        most = ["--max-seeds", str(self.most_seeds)] if until and self.most_seeds != _USUAL else []
        return [*margin, *until, *most]


USUAL_DECISION = Decision()


def read_decision(
    margin: float | None,
    search: Search,
    *,
    until_decided: bool,
    max_seeds: int | None,
    seeds_given: bool,
) -> Decision:
    """Holds the options to each other.

    Args:
        margin: ``--margin``.
        search: How settings are pruned.
        until_decided: ``--until-decided``.
        max_seeds: ``--max-seeds``; None where it is not given.
        seeds_given: Whether ``--seeds`` is given too.

    Raises:
        RequestError: With all that is wrong with them.
    """
    faults = Faults()
    with faults.collecting():
        check_margin(margin)
    if max_seeds is not None and not until_decided:
        faults.add("--max-seeds is for --until-decided.", "Add that, or say --seeds N.", "seeds")
    elif max_seeds is not None and not _FEWEST <= max_seeds <= _MOST:
        faults.add(
            f"--max-seeds {max_seeds}: must be {_FEWEST} to {_MOST}; no verdict rests on fewer.",
            f"The usual is {_USUAL}.",
            "seeds",
        )
    if until_decided and seeds_given:
        faults.add("--until-decided chooses the number of seeds itself.",
                   "Leave --seeds out; --max-seeds N says when to give up.", "seeds")  # fmt: skip
    if until_decided and search.pruner is not None:
        faults.add(
            f"--until-decided and --pruner {search.pruner} both decide which settings get seeds.",
            "Name one of them.",
            "options",
        )
    faults.check()
    return Decision(margin, looks(max_seeds or _USUAL) if until_decided else ())


def check_margin(margin: float | None) -> float | None:
    """Refuses a margin that is no size.

    Raises:
        RequestError: If it is negative or not finite.
    """
    if margin is not None and not 0 <= margin < float("inf"):
        raise RequestError(
            f"--margin {margin}: must be 0 or more, in the metric's own units.",
            "Such as 0.005 for half a point of accuracy.",
            "margin",
        )
    return margin
