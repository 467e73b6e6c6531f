"""How far is a cohort's step from the products that nobody can do without?

    python tests/benchmarks/floor.py [--settings 4] [--seeds 5] [--repeats 9]

Digits, 64-128-10 with dropout 0.2, Adam with as many learning rates as settings, batches of 64, in
one process with one thread:

1. step: an epoch of `Program` by its steps: order, gathering, dropout's draws,
   forward, loss, accuracy, backward, Adam.
2. products: the five batched matrix products of the network, not padded, and nothing else.

It prints microseconds for a step of one member. A few seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from measure import in_turn, surroundings, table  # noqa: E402

from paribus.core.runtime import restart_pinned, settle  # noqa: E402

BATCH_SIZE, INPUTS, HIDDEN_DIM, CLASSES = 64, 64, 128, 10


def main() -> None:
    """Measures both in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--settings", type=int, default=4, help="learning rates")
    parser.add_argument("--seeds", type=int, default=5, help="of each; both make the members")
    parser.add_argument("--repeats", type=int, default=9, help="of each, >= 3")
    options = parser.parse_args()
    restart_pinned()
    settle()
    ways = {
        "step": step(options.settings, options.seeds),
        "products": products(options.settings * options.seeds),
    }
    print(table(in_turn(ways, options.repeats), "us", "products"))
    print(surroundings())


def step(settings: int, seeds: int) -> Callable[[int], float]:
    """An epoch of a cohort, in µs for a member's step."""
    from paribus.core.config.experiment import find_experiment, load_experiment
    from paribus.core.training.cohort.cohort_engine import programs_of
    from paribus.core.training.engine import Job
    from paribus.core.training.resolve import Resolver
    from paribus.sweeps.study.settings import apply_overrides

    experiment = load_experiment(find_experiment("digits"))
    resolver = Resolver(experiment)
    rates = [1e-3 * (1 + setting) for setting in range(settings)]
    runs = tuple(
        resolver.specify(
            apply_overrides(
                experiment.baseline, (f"optimizer.lr={lr}", "model.dropout=0.2"), experiment
            ),
            seed,
        )
        for lr in rates
        for seed in range(seeds)
    )
    (program,) = programs_of(Job(runs, resolver))
    steps = -(-len(program.train) // BATCH_SIZE)

    def epoch(_: int) -> float:
        started = time.perf_counter()
        program.train_epoch()
        return 1e6 * (time.perf_counter() - started) / steps / len(runs)

    epoch(0)
    return epoch


def products(members: int, times: int = 50) -> Callable[[int], float]:
    """Forward and backward without anything but the products, in µs for a member's step."""
    import torch

    def some(*shape: int) -> Any:
        return torch.randn(members, *shape)

    x, hidden, outputs = some(BATCH_SIZE, INPUTS), some(BATCH_SIZE, HIDDEN_DIM), some(64, CLASSES)
    first, last = some(HIDDEN_DIM, INPUTS), some(CLASSES, HIDDEN_DIM)
    bias, last_bias = some(1, HIDDEN_DIM), some(1, CLASSES)
    gradients = torch.empty_like(last), torch.empty_like(hidden), torch.empty_like(first)

    @torch.inference_mode()
    def several(_: int) -> float:
        started = time.perf_counter()
        for _step in range(times):
            torch.baddbmm(bias, x, first.transpose(1, 2), out=hidden)
            torch.baddbmm(last_bias, hidden, last.transpose(1, 2), out=outputs)
            torch.bmm(outputs.transpose(1, 2), hidden, out=gradients[0])
            torch.bmm(outputs, last, out=gradients[1])
            torch.bmm(gradients[1].transpose(1, 2), x, out=gradients[2])
        return 1e6 * (time.perf_counter() - started) / times / members

    several(0)
    return several


if __name__ == "__main__":
    main()
