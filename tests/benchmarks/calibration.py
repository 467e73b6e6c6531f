"""How often verdicts are wrong, on simulated studies of which the truth is known.

    python tests/benchmarks/calibration.py [--studies 4000] [--seed 0]

Prints, for each scenario, the share of studies without any effect in which a setting was called
better or worse (at most 5 % is promised), coverage of the intervals, false equivalence at a true
difference of just the margin, and power; for the own paired t test and for half-pooled variances
(G). About ten minutes with 4000 studies a cell.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from simulations import (  # noqa: E402
    SCENARIOS,
    Scenario,
    coverage,
    false_equivalence,
    false_verdicts,
    found_effects,
    new_data,
    until_decided,
)

SIZES = ((1, 3), (1, 5), (5, 3), (20, 3), (20, 5))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    fixed(rng, asked.studies)
    print()
    on_new_data(rng, max(50, asked.studies // 4))
    print()
    sequential(rng, max(50, asked.studies // 4))


def fixed(rng, studies):
    print(f"fixed number of seeds, {studies} studies a cell, in %")
    print(f"{'':22}  k   n   false better/worse   coverage   false equivalent   power, effect")
    print(f"{'':22}            own t      G      own t    G    own t      G      own t      G")
    for scenario in SCENARIOS:
        for k, n in SIZES:
            row = [both(rng, f, scenario, k, n, studies) for f in (false_verdicts, coverage)]
            row.append(both(rng, false_equivalence, scenario, k, n, studies // 4))
            effect = 3.0 if n == 3 else 2.0
            power = ""
            if not scenario.examples:
                one, other = both(rng, found_effects, scenario, k, n, studies // 4, effect=effect)
                power = f"{one:6.0f} {other:6.0f}   {effect:.0f} sd"
            cells = "   ".join(f"{own:6.1f} {pooled:6.1f}" for own, pooled in row)
            print(f"{scenario.name:22} {k:2} {n:3}    {cells}   {power}", flush=True)


def both(rng, measure, scenario, k, n, studies, **keywords):
    """In percent, for the own t test and for half-pooled variances."""
    return [
        100 * measure(rng, scenario, k, n, pooled=pooled, studies=studies, **keywords)
        for pooled in (False, True)
    ]


def on_new_data(rng, studies):
    print(f"coverage of 95 % intervals of one setting, {studies} studies a cell, in %")
    print("                                n     m   on new data   on this part, held to new data")
    for gaussian, name in ((False, "accuracy, difficulties"), (True, "examples dominate")):
        for n in (3, 5, 10):
            for m in (100, 270, 1000):
                new, here = 100 * new_data(rng, n, m, studies=studies, gaussian=gaussian)
                print(f"{name:28} {n:4} {m:5} {new:13.1f} {here:14.1f}", flush=True)


def sequential(rng, studies):
    print(f"seeds added until it is decided, at most 20, {studies} studies a cell")
    print("                         k   effect   margin   false %   found %   equivalent %   seeds")
    normal, het = SCENARIOS[0], SCENARIOS[2]
    accuracy = Scenario("accuracy .95, m=270", examples=270)
    single = [(normal, 1, effect, 0.0) for effect in (0, 0.75, 1, 2, 3)]
    several = [(scenario, k, 0, margin) for scenario in (normal, het) for k in (5, 20)
               for margin in (0.5, 1.0, 2.0)]  # fmt: skip
    counted = [(accuracy, k, 0, 0.007) for k in (5, 20)]
    for scenario, k, effect, margin in (*single, *several, *counted):
        pooled = k > 1
        found = until_decided(
            rng, scenario, k, pooled=pooled, studies=studies, effect=effect, margin=margin
        )
        print(
            f"{scenario.name:22} {k:3} {effect:8.2f} {margin:8.3g} {100 * found.wrong:9.1f} "
            f"{100 * found.found:9.1f} {100 * found.equivalent:14.1f} {found.seeds:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
