"""What the benchmarks share: ways measured in turn, their medians as a table, the surroundings."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from importlib.metadata import version

Way = Callable[[int], float]  # the number of the repeat to what it took


def in_turn(ways: Mapping[str, Way], repeats: int) -> dict[str, list[float]]:
    """What each way took, repeat by repeat; to and fro, so that none always follows another."""
    if repeats < 3:
        raise SystemExit("--repeats: at least 3")
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            found[name].append(ways[name](repeat))
    return found


def table(found: Mapping[str, list[float]], unit: str, times: str) -> str:
    """Median, least and most of each way, and how many times it takes what the way `times` does."""
    reference = statistics.median(found[times])
    lines = [f"{'way':<14}{'median ' + unit:>12}{'min':>10}{'max':>10}{'× ' + times:>16}"]
    for name, values in found.items():
        median = statistics.median(values)
        lines.append(
            f"{name:<14}{median:>12.2f}{min(values):>10.2f}{max(values):>10.2f}"
            f"{median / reference:>16.2f}"
        )
    return "\n".join(lines)


def surroundings() -> str:
    """What machine and what versions this was measured with."""
    from paribus.core.fingerprint import cpu_model

    names = ("torch", "numpy", "optuna", "wandb", "torchmetrics")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, 1 thread each; "
        f"Python {platform.python_version()}, {versions}"
    )
