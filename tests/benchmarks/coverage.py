"""Whether the intervals of differences hold the truth, on data that no one tuned on.

    python tests/benchmarks/coverage.py [--sets 40] [--far] [DATA…]

Draws independent data sets of one size from wine and cancer (rows with replacement) and a mixture
of Gaussians, and trains a study of seven settings and five seeds over five folds on each: settings
that are much like the baseline or, with --far, much worse. The truth of a setting is its mean
difference over all data sets. Prints the share of 95 % intervals that hold it, for accuracy, F1,
AUROC and loss, and the worst single setting. One to three minutes for ten data sets on two cores.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

import paribus
from paribus.sweeps.analysis.judge import judge_study
from paribus.sweeps.study.results_dir import ResultsDir
from paribus.sweeps.study.study import Study

SIZES = {"wine": 90, "cancer": 240, "gaussians": 600}
METRICS = ("val/accuracy", "val/f1", "val/auroc", "val/loss")
EXPERIMENT = '''"""What helps on a data set that is drawn anew?"""

import numpy as np
from sklearn import datasets


def drawn(of: str, number: int, rows: int):
    rng = np.random.default_rng(number)
    if of == "gaussians":
        centers = np.random.default_rng(0).normal(size=(6, 20))
        kind = rng.integers(0, 6, rows)
        return centers[kind] * 0.9 + rng.normal(size=(rows, 20)), kind
    x, y = {"wine": datasets.load_wine, "cancer": datasets.load_breast_cancer}[of](
        return_X_y=True
    )
    some = rng.integers(0, len(y), rows)  # without replacement sets would not be independent
    return x[some], y[some]


BASELINE = {
    "task": "multiclass",
    "data": {"name": drawn, "of": "OF", "number": 0, "rows": ROWS},
    "model": {"name": "mlp", "hidden_dim": 32},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 3e-3},
    "split": {"test_fraction": 0.0},
    "train": {"epochs": 15, "batch_size": 32},
    "metrics": ["AUROC"],
}
AXES = {
    "optimizer.lr": [1e-3, 1e-2],
    "model.hidden_dim": [16, 64],
    "model.num_layers": [0],
    "model.dropout": [0.2],
    "optimizer": ["rmsprop"],
}
if FAR:
    AXES = {
        "optimizer.lr": [1e-4, 3e-4, 1e-3],
        "model.hidden_dim": [2, 4],
        "train.epochs": [2],
        "optimizer": ["sgd"],
    }
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="*", default=[*SIZES])
    parser.add_argument("--sets", type=int, default=40)
    parser.add_argument("--far", action="store_true")
    asked = parser.parse_args()
    print("| data | metric | coverage of 95 % intervals | worst setting | median width |")
    print("|---|---|---|---|---|")
    for name in asked.data:
        with tempfile.TemporaryDirectory() as place:
            text = EXPERIMENT.replace("OF", name).replace("ROWS", str(SIZES[name]))
            text = text.replace("if FAR:", f"if {asked.far}:")
            for metric, found in deltas(text, asked.sets, Path(place)).items():
                report(name, metric, found)


def deltas(text, sets, folder):
    """Metric to setting to (mean difference, half width) of each data set."""
    file = folder / "drawn.py"
    file.write_text(text)
    found = defaultdict(lambda: defaultdict(list))
    for number in range(sets):
        root = folder / f"results-{number}"
        study = paribus.sweep(
            file, overrides={"data.number": number}, wandb=False, root=root, study="s"
        )
        for metric in METRICS:
            own = Study.load(ResultsDir(root), study.name)
            judged = judge_study(own, own.results(metric=metric), metric)
            for label, one in judged.by_label.items():
                if one.headline:
                    half = one.headline.uncertainty.reach(0.05)
                    found[metric][label].append((one.pairs.mean, half))
    return found


def report(name, metric, found):
    shares, widths = [], []
    for pairs in found.values():
        means, halves = np.array(pairs).T
        shares.append(float((np.abs(means - means.mean()) <= halves).mean()))
        widths.extend(2 * halves)
    print(
        f"| {name} | {metric} | {100 * np.mean(shares):.1f} | {100 * min(shares):.1f} | "
        f"{np.median(widths):.4f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
