"""Real studies in which nothing was changed: how often are they called better or worse?

    python tests/benchmarks/aa.py [--runs 6300] [--root DIR]

Trains the baseline of digits with as many seeds, and with a learning rate that is 1 % higher. A
study of k settings and n seeds takes (k + 1) * n of the baseline's runs, each used once: setting
and baseline are the same but for their seeds, so every *better* and *worse* is wrong. For the
higher learning rate the same seeds are paired, as a sweep does. Some minutes on two cores; with
--root a second call trains nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from paribus.sweeps.analysis.judge import judge_observed, standard_for  # noqa: E402
from paribus.sweeps.analysis.observed import Observed, observed  # noqa: E402
from paribus.sweeps.study.results_dir import ResultsDir  # noqa: E402
from paribus.sweeps.study.study import Study  # noqa: E402

SIZES = ((1, 3), (1, 5), (1, 10), (5, 3), (5, 5), (5, 10), (20, 3))
SWEEP = ("sweep", "digits", "optimizer.lr=1.01e-3", "--study", "aa", "--no-wandb")
VERDICTS = ("better", "worse", "equivalent", "undecided")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=6300)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = asked.root or Path(folder)
        command = ["paribus", *SWEEP, "--seeds", str(asked.runs), "--root", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        study = Study.load(ResultsDir(root), "aa")
        print("share of studies with a better or worse setting, and of settings by verdict, in %")
        print("pairing      metric        k   n  studies   false: this part, new data   "
              + "  ".join(f"{verdict:>10}" for verdict in VERDICTS))  # fmt: skip
        for metric in ("val/accuracy", "val/loss"):
            baseline, higher = (observed(study, r, metric) for r in study.results(metric=metric))
            examples = study.outcomes.record(study.settings[0].runs[0]).data.val
            for k, n in SIZES:
                report("independent", metric, k, n, independent(baseline, k, n), examples)
            for n in (3, 5, 10):
                report("lr + 1 %", metric, 1, n, shared(baseline, higher, n), examples)


def independent(runs, k, n):
    """Studies of which every run has a seed of its own."""
    seeds = list(runs.values)
    size = (k + 1) * n
    for first in range(0, len(seeds) - size + 1, size):
        arms = [seeds[first + arm * n : first + (arm + 1) * n] for arm in range(k + 1)]
        baseline, *settings = [part(runs, arm, str(i)) for i, arm in enumerate(arms)]
        yield baseline, settings


def shared(baseline, setting, n):
    """Studies of one setting, paired by seed."""
    seeds = list(baseline.values)
    for first in range(0, len(seeds) - n + 1, n):
        arm = seeds[first : first + n]
        yield part(baseline, arm, "baseline"), [part(setting, arm, "setting")]


def part(runs, seeds, label):
    """Some runs, as if their seeds were 0, 1, 2, …"""
    return Observed(
        label,
        {place: runs.values[seed] for place, seed in enumerate(seeds)},
        metric=runs.metric,
        read=lambda place: runs.read(seeds[place]),
    )


def report(pairing, metric, k, n, studies, examples):
    false = {"this part": 0, "new data": 0}
    counts = dict.fromkeys(VERDICTS, 0)
    number = 0
    for baseline, settings in studies:
        direction = "maximize" if metric == "val/accuracy" else "minimize"
        standard = standard_for(
            metric, direction, [*baseline.values.values()], k, examples=examples
        )
        judged = judge_observed(baseline, settings, standard).by_label.values()
        number += 1
        for question, answers in (
            ("this part", [one.validation for one in judged]),
            ("new data", [one.new_data for one in judged]),
        ):
            false[question] += any(one.verdict in ("better", "worse") for one in answers)
        for one in judged:
            counts[one.verdict] += 1
    rates = "  ".join(f"{100 * counts[v] / number / k:10.1f}" for v in VERDICTS)
    shares = [100 * count / number for count in false.values()]
    print(
        f"{pairing:12} {metric:12} {k:2} {n:3} {number:8} {shares[0]:14.1f} {shares[1]:9.1f}"
        f"    {rates}",
        flush=True,
    )


if __name__ == "__main__":
    main()
