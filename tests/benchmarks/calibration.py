"""How often verdicts are wrong, on simulated studies of which the truth is known.

    python tests/benchmarks/calibration.py [--studies 2000] [--seed 0]

Prints for each scenario the largest share over studies of 5 settings and 3 seeds, 20 and 3, 20 and
5: of studies without any effect those in which a setting was called better or worse (at most 5 % is
promised); of the settings called so in studies of which half have an effect those that have none,
on average (at most 5 %); the intervals of those called so without the truth; 95 % intervals with
the truth (the smallest share); settings called equivalent that differ by just the margin. Power is
of 20 settings with 5 seeds. Then seeds added until it is decided.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from simulations import FOLDS, LATENT, SKEWED, VALUES, false_equivalence, rates, until_decided  # noqa: E402

SIZES = ((5, 3), (20, 3), (20, 5))
HEAD = "null, any better/worse | wrong of called | power | not covered | coverage | equivalent"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print(f"{asked.studies} studies a cell, in %\n\n| plain numbers | {HEAD} |\n|{'---|' * 7}")
    for scenario in (*VALUES, SKEWED):
        line(rng, scenario.name, scenario, asked.studies)
    studies = max(20, asked.studies // 4)
    print(f"\n{studies} studies a cell, in %\n\n| outcomes by example | {HEAD} |\n|{'---|' * 7}")
    for scenario in LATENT:
        for folds in (1, FOLDS):
            where = f"{folds} folds" if folds > 1 else "one part"
            line(rng, f"{scenario.name}, {where}", scenario, studies, folds=folds)
    sequential(rng, studies)


def line(rng, name, scenario, studies, **how):
    null, mixed, equal = [], [], []
    for k, n in SIZES:
        null.append(rates(rng, scenario, k, n, studies=studies, **how))
        mixed.append(rates(rng, scenario, k, n, studies=studies, mixed=True, **how))
        few = max(10, studies // 10)
        equal.append(false_equivalence(rng, scenario, k, n, studies=few, **how))
    cells = (
        max(one.any_wrong for one in null),
        max(one.false for one in mixed),
        mixed[-1].found,
        max(one.uncovered for one in mixed),
        min(one.coverage for one in (*null, *mixed)),
        max(equal),
    )
    print(f"| {name} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |", flush=True)


def sequential(rng, studies):
    head = "null, any better/worse | wrong of called | power | equivalent | seeds"
    print(f"\nlooks after 3, 5, 10, 15 seeds, {studies} studies a cell, in %\n")
    print(f"| until decided, 20 settings | {head} |\n|{'---|' * 6}")
    for scenario in (VALUES[0], VALUES[2], LATENT[0], LATENT[1]):
        how = {"folds": FOLDS} if scenario in LATENT else {}
        null = until_decided(rng, scenario, 20, studies=studies, **how)
        real = until_decided(rng, scenario, 20, studies=studies, mixed=True, **how)
        cells = (null.wrong, real.false, real.found, null.equivalent)
        shares = " | ".join(f"{100 * cell:.1f}" for cell in cells)
        print(f"| {scenario.name} | {shares} | {real.seeds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
