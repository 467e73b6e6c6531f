"""What a command asks for, before and after it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paribus.core.config import Direction
from paribus.core.errors import RequestError, shown
from paribus.sweeps.axes import Axis


@dataclass(frozen=True)
class Asked:
    """What was typed, before any of it was looked up.

    Attributes:
        experiment: A name of the catalogue, a ``.py`` file, or a run.
        overrides: ``KEY=VALUE`` of the baseline.
        axes: ``KEY=LEVELS`` or ``KEY``; none takes the experiment's own. None: no axes at all.
        engine: ``auto`` or an engine's name.
        trust: Whether whatever the record of a run names may be imported and executed.
    """

    experiment: str
    overrides: tuple[str, ...] = ()
    axes: tuple[str, ...] | None = None
    engine: str = "auto"
    trust: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked of an experiment's file.

    Attributes:
        path: The experiment's file.
        overrides: ``KEY=VALUE`` of the baseline.
        axes: ``KEY=LEVELS`` or ``KEY``; none takes the experiment's own. None: no axes at all.
        engine: ``auto`` or an engine's name.
        import_paths: Folders appended to the import path.
        asked: A run's recorded configuration, in place of the file's `BASELINE`.
    """

    path: Path
    overrides: tuple[str, ...] = ()
    axes: tuple[str, ...] | None = None
    engine: str = "auto"
    import_paths: tuple[Path, ...] = ()
    asked: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Question:
    """A request that holds: the baseline and the axes, checked.

    Attributes:
        experiment: Its name.
        question: The first line of its docstring.
        baseline: The baseline's configuration as asked.
        axes: What to try.
        metric: The selection metric.
        direction: Which way of it is better.
    """

    experiment: str
    question: str
    baseline: Mapping[str, Any]
    axes: tuple[Axis, ...]
    metric: str
    direction: Direction


def read_seeds(text: str) -> list[int]:
    """``--seeds``: ``3`` is 0, 1, 2; ``3,7,11`` just those.

    Raises:
        RequestError: If it is neither.
    """
    words = [word.strip() for word in text.split(",")]
    hint = "Write a number of seeds (3), or the seeds themselves (3,7,11)."
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise RequestError(
            f"--seeds {shown(text, 40)}: neither a number of seeds nor a list of them.",
            hint,
            "seeds",
        )
    if len(words) == 1:
        if not 1 <= int(words[0]) <= 10_000:
            raise RequestError(f"--seeds {words[0]}: must be 1 to 10000 seeds.", hint, "seeds")
        return list(range(int(words[0])))
    seeds = [int(word) for word in words]
    if len(set(seeds)) < len(seeds):
        raise RequestError(f"--seeds {shown(text, 40)}: a seed stands twice.", hint, "seeds")
    return seeds


def seed_words(seeds: list[int]) -> list[str]:
    """``--seeds`` for a command to paste; nothing for the usual ones."""
    if seeds == [0, 1, 2]:
        return []
    if seeds == list(range(len(seeds))):
        return ["--seeds", str(len(seeds))]
    return ["--seeds", ",".join(map(str, seeds))] if len(seeds) > 1 else []
