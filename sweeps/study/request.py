"""What a command asks for, before and after it was checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paribus.core.config.schema import Configuration, Direction
from paribus.core.errors import Faults, did_you_mean, shown

if TYPE_CHECKING:
    from paribus.sweeps.study.axes import Axis, Requested


@dataclass(frozen=True)
class RawRequest:
    """What was typed, before any of it was looked up.

    Attributes:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        overrides: ``KEY=VALUE`` of the baseline, or (key, value).
        axes: ``KEY=LEVELS``, ``KEY`` or (key, levels); none takes the experiment's own. None: no
            axes at all.
        engine: ``auto`` or an engine's name.
        trust: Whether whatever the record of a run names may be imported and executed.
    """

    experiment: str
    overrides: tuple[Requested, ...] = ()
    axes: tuple[Requested, ...] | None = None
    engine: str = "auto"
    trust: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked of an experiment's file.

    Attributes:
        path: The experiment's file.
        overrides: ``KEY=VALUE`` of the baseline, or (key, value).
        axes: ``KEY=LEVELS``, ``KEY`` or (key, levels); none takes the experiment's own. None: no
            axes at all.
        engine: ``auto`` or an engine's name.
        import_paths: Folders appended to the import path.
        start: A run's recorded configuration, in place of the file's `BASELINE`.
    """

    path: Path
    overrides: tuple[Requested, ...] = ()
    axes: tuple[Requested, ...] | None = None
    engine: str = "auto"
    import_paths: tuple[Path, ...] = ()
    start: Configuration | None = None


@dataclass(frozen=True)
class StudySpec:
    """A request that holds: the baseline and the axes, checked.

    Attributes:
        experiment: Its name.
        question: The first line of its docstring.
        baseline: The baseline's configuration as asked.
        axes: What to try.
        metric: The selection metric.
        direction: Which way of it is better.
        request: The same as it was asked, with full keys.
    """

    experiment: str
    question: str
    baseline: Configuration
    axes: tuple[Axis, ...]
    metric: str
    direction: Direction
    request: Request


# What options take: the command line's and the API's are read by the same types.


class Number(click.FloatRange):
    """A finite number of at least `min`; of seconds where it is a duration."""

    def __init__(self, min: float = 0.0, unit: str = "") -> None:
        super().__init__(min=min)
        self.wanted = f"a number{unit}, {min:.0f} or more"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail("not finite")
        return number


class Whole(click.IntRange):
    """A whole number from `min` to `max`."""

    def __init__(self, min: int, max: int) -> None:
        super().__init__(min=min, max=max)
        self.wanted = f"a whole number from {min} to {max}"


class Seeds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """``3`` is the seeds 0, 1, 2; ``3,7,11`` just those."""

    name = "seeds"
    wanted = "how many seeds (1 to 10000), or different seeds from 0 to 999999999"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[int]:  # noqa: ARG002
        words = [word.strip() for word in str(value).split(",")]
        if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
            self.fail("not seeds")
        seeds = [int(word) for word in words]
        if len(seeds) == 1 and 1 <= seeds[0] <= 10_000:
            return list(range(seeds[0]))
        if len(seeds) == 1 or len(set(seeds)) < len(seeds):
            self.fail("not seeds")
        return seeds


_FEWEST, _USUAL, _MOST = 3, 20, 10_000
SAMPLERS = ("tpe", "random", "gp", "qmc")
PRUNERS = ("wilcoxon", "median")
# Name of an option: its type, and an example.
OPTIONS: dict[str, tuple[click.ParamType[Any], str]] = {
    "seed": (Whole(0, 999_999_999), "42"),
    "seeds": (Seeds(), "3, or 3,7,11"),
    "trials": (Whole(1, 1000), "8"),
    "sampler": (click.Choice(SAMPLERS), ""),
    "pruner": (click.Choice(("none", *PRUNERS)), ""),
    "margin": (Number(), "0.005 for half a point of accuracy"),
    "max-seeds": (Whole(_FEWEST, _MOST), "20; no verdict rests on fewer than 3"),
    "workers": (Whole(1, 1024), "4; or leave it out for all cores"),
    "run-timeout": (Number(1, " of seconds"), "600"),
    "checkpoint-every": (Number(0, " of seconds"), "5; 0: after each epoch"),
    "loader-workers": (Whole(0, 1024), "2; 0 for none"),
}


def read_option(name: str, value: Any, faults: Faults) -> Any:
    """Return an option's value as its type takes it; None where it is not given, or at fault."""
    kind, example = OPTIONS[name]
    if value is None:
        return None
    try:
        return kind.convert(str(value), None, None)
    except click.BadParameter:
        text = shown(value, 40)
        if isinstance(kind, click.Choice):
            message = f"There is no {name} '{text}'."
            faults.add(message, did_you_mean(str(value), kind.choices), f"unknown-{name}")
        else:
            wanted = getattr(kind, "wanted", "")
            faults.add(
                f"--{name} {text}: must be {wanted}.", f"Such as --{name} {example}.", "bad-value"
            )
        return None


def read_seeds(seeds: str) -> list[int]:
    """Return what ``--seeds`` means.

    Raises:
        RequestError: If it is neither a number of seeds nor a list of them.
    """
    faults = Faults()
    found: list[int] = read_option("seeds", seeds, faults)
    faults.check()
    return found


def check_margin(margin: float | None) -> float | None:
    """Refuse a margin that is not a size.

    Raises:
        RequestError: If it is negative or not finite.
    """
    faults = Faults()
    read_option("margin", margin, faults)
    faults.check()
    return margin


def seed_words(seeds: list[int]) -> list[str]:
    """``--seeds`` for a command to paste; nothing for the usual ones."""
    if seeds == [0, 1, 2]:
        return []
    if seeds == list(range(len(seeds))):
        return ["--seeds", str(len(seeds))]
    return ["--seeds", ",".join(map(str, seeds))] if len(seeds) > 1 else []


# How levels are proposed and settings pruned: `--trials`, `--sampler` and `--pruner`.


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


# What a sweep is to decide: `--margin`, `--until-decided` and `--max-seeds`.


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
        from paribus.sweeps.stats.verdicts import ALPHA

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


def decision_of(
    margin: float | None,
    search: Search,
    *,
    until_decided: bool,
    max_seeds: int | None,
    seeds_given: bool,
    faults: Faults,
) -> Decision:
    """Check the options of a decision against each other.

    Args:
        margin: ``--margin``.
        search: How settings are pruned.
        until_decided: ``--until-decided``.
        max_seeds: ``--max-seeds``; None where it is not given.
        seeds_given: Whether ``--seeds`` is given too.
        faults: Takes all that is wrong with them.
    """
    if max_seeds is not None and not until_decided:
        faults.add("--max-seeds is for --until-decided.", "Add that, or say --seeds N.", "seeds")
    if until_decided and seeds_given:
        faults.add("--until-decided chooses the number of seeds itself.",
                   "Leave --seeds out; --max-seeds N says when to give up.", "seeds")  # fmt: skip
    if until_decided and search.pruner is not None:
        faults.add(
            f"--until-decided and --pruner {search.pruner} both decide which settings get seeds.",
            "Name one of them.",
            "options",
        )
    from paribus.sweeps.stats.sequential import looks

    return Decision(margin, looks(max_seeds or _USUAL) if until_decided else ())
