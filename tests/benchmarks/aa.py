"""Real studies in which nothing was changed: how often are they called better or worse?

    python tests/benchmarks/aa.py [--runs 10500] [--root DIR]

Trains the baseline of digits with as many seeds. A study of k settings takes 5 (k + 1) runs, each
used once: setting and baseline are the same but for their seeds, which validate on the same five
folds, so every *better* and *worse* is wrong. Twenty minutes on two cores; with --root a second
call trains nothing.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from paribus.core.config.experiment import find_experiment  # noqa: E402
from paribus.core.errors import Faults  # noqa: E402
from paribus.sweeps.analysis.judge import judge_observed, standard_for  # noqa: E402
from paribus.sweeps.analysis.observed import Observed, observed  # noqa: E402
from paribus.sweeps.execution.driver import USUAL  # noqa: E402
from paribus.sweeps.study.request import Request, StudyOptions  # noqa: E402
from paribus.sweeps.study.results_dir import ResultsDir  # noqa: E402
from paribus.sweeps.sweep import planned_sweep  # noqa: E402
from paribus.sweeps.tracking.tracker import Tracker  # noqa: E402

SETTINGS = (1, 5, 20)
FOLDS = 5
VERDICTS = ("better", "worse", "equivalent", "undecided")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_500)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = trained(ResultsDir(asked.root or Path(folder)), asked.runs)
        print("share of studies with a better or worse setting, and of settings by verdict, in %")
        print("metric        k  studies   any better or worse   coverage of 95 % intervals   "
              + "  ".join(f"{verdict:>10}" for verdict in VERDICTS))  # fmt: skip
        for metric in ("val/accuracy", "val/f1", "val/loss"):
            (baseline,) = (observed(study, r, metric) for r in study.results(metric=metric))
            examples = study.outcomes.record(study.settings[0].runs[0]).data.val
            for k in SETTINGS:
                report(metric, k, independent(baseline, k), examples)


def trained(root, runs):
    """The study of a baseline alone."""
    request = Request(find_experiment("digits"), axes=None)
    options = StudyOptions(range(runs), name="aa")
    with planned_sweep(root, request, options, Faults()) as sweep:
        for _ in sweep.train(Tracker(), USUAL):
            pass
    return sweep.study


def independent(runs, k):
    """Studies of which every run has a seed of its own; all arms have the same folds."""
    seeds = list(runs.values)
    size = (k + 1) * FOLDS
    for first in range(0, len(seeds) - size + 1, size):
        arms = [seeds[first + arm * FOLDS :][:FOLDS] for arm in range(k + 1)]
        baseline, *settings = [part(runs, arm, str(i)) for i, arm in enumerate(arms)]
        yield baseline, settings


def part(runs, seeds, label):
    """Some runs, as if their seeds were 0 to 4."""
    return Observed(
        label,
        {place: runs.values[seed] for place, seed in enumerate(seeds)},
        metric=runs.metric,
        read=lambda place: runs.read(seeds[place]),
        folds=FOLDS,
    )


def report(metric, k, studies, examples):
    false = number = inside = 0
    counts = dict.fromkeys(VERDICTS, 0)
    for baseline, settings in studies:
        direction = "minimize" if metric == "val/loss" else "maximize"
        standard = standard_for(
            metric, direction, [*baseline.values.values()], k, examples=examples
        )
        judged = judge_observed(baseline, settings, standard).by_label.values()
        number += 1
        false += any(one.verdict in ("better", "worse") for one in judged)
        for one in judged:
            counts[one.verdict] += 1
            inside += abs(one.pairs.mean) <= one.headline.uncertainty.reach(0.05)
    rates = "  ".join(f"{100 * counts[v] / number / k:10.1f}" for v in VERDICTS)
    print(
        f"{metric:12} {k:2} {number:8} {false:8} = {100 * false / number:4.1f} %"
        f" {100 * inside / number / k:20.1f}          {rates}",
        flush=True,
    )


if __name__ == "__main__":
    main()
