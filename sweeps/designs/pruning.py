"""Whether a setting that has some of its seeds gets more: Optuna's pruners, asked between seeds."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from paribus.core.config import Direction
from paribus.sweeps.designs.design import Ended

# One-sided, on pairs: four seeds that all lose are the first that can fall below it (1/16).
_WILCOXON_P = 0.1


@cache
def loses(
    pruner: str, direction: Direction, others: tuple[Ended, ...], values: tuple[float, ...]
) -> bool:
    """Whether a setting's first seeds lose to those that have ended.

    Steps are the places of the seeds, so that values are paired by seed.

    Args:
        pruner: ``wilcoxon`` compares with the best of the others, ``median`` with their median
            from the fifth on.
        direction: ``maximize`` or ``minimize``.
        others: The baseline, and the settings of the rounds before.
        values: The selection metric of the setting's first seeds.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental
        study = optuna.create_study(direction=direction, pruner=_pruner(pruner))
        for other in others:
            if other.state == "complete":
                study.add_trial(
                    optuna.trial.create_trial(
                        value=other.mean, intermediate_values=dict(enumerate(other.values))
                    )
                )
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(value, step)
        return trial.should_prune()


def _pruner(name: str) -> Any:
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner()
    return pruners.WilcoxonPruner(p_threshold=_WILCOXON_P)
