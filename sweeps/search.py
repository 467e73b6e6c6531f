"""How levels are proposed and settings pruned: `--trials`, `--sampler` and `--pruner`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paribus.core.errors import Faults, did_you_mean, shown
from paribus.sweeps.axes import Axis

SAMPLERS = ("tpe", "random", "gp", "qmc")
PRUNERS = ("wilcoxon", "median")
_USUAL_TRIALS = 8


@dataclass(frozen=True)
class Search:
    """What a command says of it.

    Attributes:
        trials: Levels that a sampler proposes for each axis; None: 8 of a range, all of a list.
        asked_sampler: One of `SAMPLERS`, as asked; None: tpe.
        pruner: One of `PRUNERS`; None: every setting gets all its seeds.
    """

    trials: int | None = None
    asked_sampler: str | None = None
    pruner: str | None = None

    @property
    def sampler(self) -> str:
        return self.asked_sampler or SAMPLERS[0]

    @property
    def trials_of_a_range(self) -> int:
        return self.trials or _USUAL_TRIALS

    def trials_of(self, axis: Axis) -> int | None:
        """How many levels of an axis the sampler proposes; None where all are tried."""
        if axis.range is None:
            few = self.trials is not None and self.trials < len(axis.levels)
            return self.trials if few else None
        if not axis.range.whole:
            return self.trials_of_a_range
        levels = range(int(axis.range.low), int(axis.range.high) + 1)
        return min(self.trials_of_a_range, len(levels) - (axis.baseline in levels))

    def words(self) -> list[str]:
        """The options, for a command to paste."""
        pairs = {"--trials": self.trials, "--sampler": self.asked_sampler, "--pruner": self.pruner}
        return [word for key, value in pairs.items() if value for word in (key, str(value))]


USUAL_SEARCH = Search()


def read_search(trials: str | None, sampler: str | None, pruner: str | None) -> Search:
    """``--trials``, ``--sampler`` and ``--pruner``; None where an option is not given.

    Raises:
        RequestError: With the faults of all three.
    """
    faults = Faults()
    number = None
    if trials is not None:
        if trials.isascii() and trials.isdigit() and len(trials) < 9 and 1 <= int(trials) <= 1000:
            number = int(trials)
        else:
            faults.add(
                f"--trials {shown(trials, 40)}: must be a whole number from 1 to 1000.",
                "It counts the levels that are proposed for each axis.",
                "trials",
            )
    if sampler is not None and sampler not in SAMPLERS:
        message = f"There is no sampler '{shown(sampler, 40)}'."
        faults.add(message, did_you_mean(sampler, SAMPLERS), "unknown-sampler")
    choices = ("none", *PRUNERS)
    if pruner is not None and pruner not in choices:
        message = f"There is no pruner '{shown(pruner, 40)}'."
        faults.add(message, did_you_mean(pruner, choices), "unknown-pruner")
    faults.check()
    return Search(number, sampler, None if pruner == "none" else pruner)


def check_search(search: Search, axes: Sequence[Axis]) -> None:
    """Holds the options to the axes.

    Raises:
        RequestError: If there is nothing to explore, or the sampler cannot explore an axis.
    """
    explored = [axis for axis in axes if search.trials_of(axis) is not None]
    faults = Faults()
    given = {"--trials": search.trials, "--sampler": search.asked_sampler}
    words = [f"{option} {value}" for option, value in given.items() if value is not None]
    if words and not explored:
        faults.add(
            f"{' '.join(words)}: no axis is explored, every level that was named is tried.",
            "Give a range without a number of points, such as optimizer.lr=1e-5:1e-1:log, or fewer "
            "trials than an axis has levels.",
            "not-explored",
        )
    categories = [axis.key for axis in explored if axis.range is None]
    if search.sampler == "qmc" and categories:
        faults.add(
            f"--sampler qmc cannot choose among the levels of {', '.join(categories)}: it needs a "
            "range of numbers.",
            "Take --sampler tpe, random or gp.",
            "sampler",
        )
    faults.check()
