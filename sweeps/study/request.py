"""What a command requests, before and after it was checked; its options."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paribus.core.config.schema import Configuration, Direction
from paribus.core.errors import Faults, did_you_mean, shown

if TYPE_CHECKING:
    from paribus.sweeps.study.axes import Axis
    from paribus.sweeps.study.settings import Requested


@dataclass(frozen=True)
class Request:
    """What a command asks of an experiment, as typed: nothing but its file is looked up yet."""

    path: Path
    overrides: tuple[Requested, ...] = ()  # ``KEY=VALUE`` of the baseline, or (key, value)
    # ``KEY=LEVELS``, ``KEY`` or (key, levels); none: the experiment's own. None: no axes at all.
    axes: tuple[Requested, ...] | None = None
    engine: str = "auto"  # or an engine's name
    import_paths: tuple[Path, ...] = ()  # folders appended to the import path
    start: Configuration | None = None  # a run's recorded one, in place of the file's `BASELINE`


@dataclass(frozen=True)
class StudySpec:
    """A request that is valid, with full keys: the baseline as requested and the axes, checked.

    The experiment's `question` is the first line of its docstring.
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
    """A finite number of at least `min`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail("not finite")
        return number


class Seeds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """``3`` is the seeds 0, 1, 2; ``3,7,11`` just those."""

    name = "seeds"

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


class Matching(click.ParamType):  # type: ignore[type-arg]
    """Text of a form."""

    name = "text"

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def convert(self, value: Any, param: Any, ctx: Any) -> str:  # noqa: ARG002
        return str(value) if re.fullmatch(self.pattern, str(value)) else self.fail("another form")


class GpuNumbers(click.ParamType):  # type: ignore[type-arg]
    """``0,2``, ``all`` or ``none``."""

    name = "gpus"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:  # noqa: ARG002
        words = [word.strip() for word in str(value).split(",")]
        if words not in (["all"], ["none"]) and (
            len({*words}) < len(words) or not all(re.fullmatch("[0-9]{1,3}", w) for w in words)
        ):
            self.fail("not GPUs")
        return ",".join(words)


_FEWEST, _USUAL, _MOST = 3, 15, 10_000
SEEDS = 5  # of a sweep: each example that is not for testing validates once
SAMPLERS = ("tpe", "random", "gp", "qmc")
PRUNERS = ("wilcoxon", "median")
_WHOLE, _SECONDS = "a whole number from {min} to {max}", "a number of seconds, {min} or more"
_SEEDS = "how many seeds (1 to 10000), or different seeds from 0 to 999999999"
# Name of an option: its type, what it must be, and an example.
OPTIONS: dict[str, tuple[click.ParamType[Any], str, str]] = {
    "seed": (click.IntRange(0, 999_999_999), _WHOLE, "42"),
    "seeds": (Seeds(), _SEEDS, "3, or 3,7,11"),
    "trials": (click.IntRange(1, 1000), _WHOLE, "8"),
    "sampler": (click.Choice(SAMPLERS), "", ""),
    "pruner": (click.Choice(("none", *PRUNERS)), "", ""),
    "margin": (Number(0), "a number, {min} or more", "0.005 for half a point of accuracy"),
    "max-seeds": (
        click.IntRange(_FEWEST, _MOST), _WHOLE, "15; no verdict rests on fewer than 3"
    ),
    "workers": (click.IntRange(1, 1024), _WHOLE, "4; or leave it out for all cores"),
    "gpus": (GpuNumbers(), "all, none, or different numbers of GPUs from 0", "0,2"),
    "on": (Matching(r"ray(:[^:\s]+:[0-9]{1,5})?"), "ray, or ray:HOST:PORT", "ray:10.0.0.1:6379"),
    "per-gpu": (click.IntRange(1, 64), _WHOLE, "2"),
    "run-timeout": (Number(1), _SECONDS, "600"),
    "checkpoint-every": (Number(0), _SECONDS, "5; 0: after each epoch"),
    "loader-workers": (click.IntRange(0, 1024), _WHOLE, "2; 0 for none"),
}  # fmt: skip


def read_option(name: str, value: Any, faults: Faults) -> Any:
    """Return an option's value as its type takes it; None if it is not given, or is a fault."""
    if value is None:
        return None
    kind, wanted, example = OPTIONS[name]
    try:
        return kind.convert(str(value), None, None)
    except click.BadParameter:
        text = shown(value, 40)
        if isinstance(kind, click.Choice):
            hint = did_you_mean(str(value), kind.choices)
            faults.add(f"There is no {name} '{text}'.", hint)
        else:
            message = f"--{name} {text}: must be {wanted.format_map(vars(kind))}."
            faults.add(message, f"Such as --{name} {example}.")
        return None


def refuse_for_studies(faults: Faults, of_results: bool, **options: Any) -> None:
    """Add a fault for options that another tool's results have and a study has not."""
    given = [f"--{name}" for name, value in options.items() if value and not of_results]
    if given:
        message = f"{', '.join(given)}: for another tool's results; a study knows its own."
        faults.add(message, "Leave it out." if len(given) == 1 else "Leave them out.")


def seed_words(seeds: list[int]) -> list[str]:
    """Return ``--seeds`` for a command to paste; nothing for the usual ones."""
    if seeds == list(range(SEEDS)):
        return []
    if seeds == list(range(len(seeds))):
        return ["--seeds", str(len(seeds))]
    return ["--seeds", ",".join(map(str, seeds))] if len(seeds) > 1 else []


_USUAL_TRIALS = 8


@dataclass(frozen=True)
class Search:
    """How levels are proposed and settings pruned: `--trials`, `--sampler` and `--pruner`."""

    trials: int | None = None  # levels proposed for each axis; None: 8 of a range, all of a list
    asked_sampler: str | None = None  # of `SAMPLERS`; None: tpe
    pruner: str | None = None  # of `PRUNERS`; None: every setting gets all its seeds

    @property
    def sampler(self) -> str:
        return self.asked_sampler or SAMPLERS[0]

    @property
    def trials_of_a_range(self) -> int:
        return self.trials or _USUAL_TRIALS

    def trials_of(self, axis: Axis) -> int | None:
        """Return how many levels of an axis the sampler proposes; None where all are tried."""
        if axis.range is None:
            few = self.trials is not None and self.trials < len(axis.levels)
            return self.trials if few else None
        if not axis.range.whole:
            return self.trials_of_a_range
        levels = range(int(axis.range.low), int(axis.range.high) + 1)
        return min(self.trials_of_a_range, len(levels) - (axis.baseline in levels))

    def words(self) -> list[str]:
        pairs = {"--trials": self.trials, "--sampler": self.asked_sampler, "--pruner": self.pruner}
        return [word for key, value in pairs.items() if value for word in (key, str(value))]


def check_search(search: Search, axes: Sequence[Axis]) -> None:
    """Refuse a search with nothing to explore, or that the sampler cannot explore."""
    explored = [axis for axis in axes if search.trials_of(axis) is not None]
    faults = Faults()
    given = {"--trials": search.trials, "--sampler": search.asked_sampler}
    words = [f"{option} {value}" for option, value in given.items() if value is not None]
    if words and not explored:
        faults.add(
            f"{' '.join(words)}: no axis is explored, every level that was named is tried.",
            "Give a range without a number of points, such as optimizer.lr=1e-5:1e-1:log, or fewer "
            "trials than an axis has levels.",
        )
    categories = [axis.key for axis in explored if axis.range is None]
    if search.sampler == "qmc" and categories:
        faults.add(
            f"--sampler qmc cannot choose among the levels of {', '.join(categories)}: it needs a "
            "range of numbers.",
            "Take --sampler tpe, random or gp.",
        )
    faults.check()


@dataclass(frozen=True)
class Decision:
    """How settings are decided on: `--margin`, `--strict`, `--until-decided` and `--max-seeds`.

    Where seeds are added until it is decided, `looks` are the numbers of seeds after which it is
    looked at; without `--max-seeds` a study goes on with the looks it has.
    """

    margin: float | None = None  # smaller differences do not matter; None: the metric's own
    looks: tuple[int, ...] = ()
    strict: bool = False  # verdicts control the error rate over all settings together
    named_most: bool = True  # `--max-seeds` is given

    @property
    def most_seeds(self) -> int:
        return self.looks[-1]

    @property
    def alpha(self) -> float:
        """The error rate of the test of the last look, or the only one."""
        from paribus.sweeps.stats.power import spending
        from paribus.sweeps.stats.verdicts import ALPHA

        return spending(self.looks)[-1] if self.looks else ALPHA

    def words(self) -> list[str]:
        margin = [] if self.margin is None else ["--margin", repr(self.margin)]
        until = ["--until-decided"] if self.looks else []
        most = ["--max-seeds", str(self.most_seeds)] if until and self.most_seeds != _USUAL else []
        return [*margin, *(["--strict"] if self.strict else []), *until, *most]


@dataclass(frozen=True)
class StudyOptions:
    """What a command says of a study besides its baseline and axes."""

    seeds: Sequence[int]  # of each setting, where none are added until it is decided
    search: Search = Search()
    decision: Decision = Decision()
    name: str | None = None  # the study's; None: it follows from the request
    storage: str | None = None  # URL of Optuna's, with its secrets; None: the study's own


def study_options(
    faults: Faults,
    *,
    seeds: Sequence[int],
    seeds_given: bool,
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    margin: float | None = None,
    strict: bool = False,
    until_decided: bool = False,
    max_seeds: int | None = None,
    study: str | None = None,
    storage: str | None = None,
) -> StudyOptions:
    """Check the options of `sweep` against each other; `faults` takes what is wrong."""
    search = Search(trials, sampler, None if pruner == "none" else pruner)
    if max_seeds is not None and not until_decided:
        faults.add("--max-seeds is for --until-decided.", "Add that, or write --seeds N.")
    if until_decided and seeds_given:
        faults.add("--until-decided chooses the number of seeds itself.",
                   "Leave --seeds out; --max-seeds N says when to give up.")  # fmt: skip
    if until_decided and search.pruner is not None:
        faults.add(
            f"--until-decided and --pruner {search.pruner} both decide which settings get seeds.",
            "Name one of them.",
        )
    from paribus.sweeps.stats.power import looks

    named = looks(max_seeds or _USUAL) if until_decided else ()
    decision = Decision(margin, named, strict, max_seeds is not None)
    return StudyOptions(seeds, search, decision, study, storage)
